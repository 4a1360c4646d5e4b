"""The tables of report.html: cells as texts, with the keys by which the page sorts them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from nlhf.analysis.comparison import inverse
from nlhf.analysis.figures.style import marked
from nlhf.analysis.ranking_table import cost_of, spread, tenths
from nlhf.analysis.results import Results
from nlhf.analysis.tuning import is_tuned, tuned
from nlhf.analysis.wording import distinct
from nlhf.stats.text import number

MOST_COMPARISONS = 400
Cell = tuple[str, float | str]  # the text, and its sort key


def result_columns(results: Results) -> list[str]:
    """The titles of the large table."""
    criterion = results.criterion
    return [
        "setting", "rank", "method", "mean rank", "possible ranks", "seeds",
        f"{criterion.cost} to {number(criterion.target)}", "reached the target", "within the horizon",
        f"log10 of the final {criterion.title}", f"mean log10 {criterion.title} over the curve", "rate of the tail",
        "rate of the theorem", "configurations tried",
    ]  # fmt: skip


def result_rows(results: Results) -> Iterator[dict[str, Any]]:
    """Rows of the large table: cells, and the games and betas by which the page filters."""
    of_group = {
        str(group): (different(rows["game"]), different(rows["beta"]))
        for group, rows in results.observations.groupby("group")
    }
    short = distinct(list(of_group))
    for row in results.summary.to_dict("records"):
        name = _marked(row, results)
        remarks = "".join(f", {row[state]} {state}" for state in ("failed", "unfinished") if row[state])
        group = str(row["group"])
        cells: list[Cell] = [
            (short[group], group),
            (number(row["rank"]), _sortable(row["rank"])),
            (name + remarks, name),
            (number(row["mean_rank"]), _sortable(row["mean_rank"])),
            (possible(row), _sortable(row["rank_high"])),
            (_seeds(row), row["seeds"]),
            (cost_of(row), _sortable(row["cost"])),
            (f"{row['reached']:.0%}", row["reached"]),
            (f"{row['hit']:.0%}", row["hit"]),
            (tenths(row["final"], row["final_low"], row["final_high"]), _sortable(row["final"])),
            (tenths(row["area"], row["area_low"], row["area_high"]), _sortable(row["area"])),
            (spread(row["rate"], row["rate_low"], row["rate_high"]), _sortable(row["rate"])),
            (number(row["bound_rate"]), _sortable(row["bound_rate"])),
            (str(row["tried"]), row["tried"]),
        ]
        games, betas = of_group[group]
        yield {"cells": cells, "game": "|".join(games), "beta": "|".join(betas)}


def _marked(row: dict[Any, Any], results: Results) -> str:
    return marked([row["method"]], results.caveats)[row["method"]]


def shared_parts(groups: list[str]) -> str:
    """The parts of the names that all groups share, which the table leaves out."""
    short = distinct(groups)
    return ", ".join(part for part in groups[0].split(", ") if part not in short[groups[0]].split(", "))


def _sortable(value: float) -> float:
    """The value as a sort key: missing values come after infinite ones."""
    return 1e308 if math.isnan(value) else 1e307 if value == math.inf else value


def different(values: pd.Series) -> list[str]:
    """The different values of a column as texts, sorted."""
    return [f"{value:g}" if isinstance(value, float) else str(value) for value in sorted(values.dropna().unique())]


def overall_rows(results: Results) -> list[list[str]]:
    """Rows of the table over all settings; none for a single setting."""
    judged = results.judged
    if judged.summary["group"].nunique() < 2:
        return []
    return [
        [
            _marked(row, results),
            str(row["wins"]),
            f"{row['hit']:.0%}",
            number(row["mean_rank"]),
            possible(row),
            _ratio(row["ratio"], row["ratio_low"], row["ratio_high"]),
            number(row["p"]),
            tenths(row["area"], row["area_low"], row["area_high"]),
        ]
        for row in judged.overall.to_dict("records")
    ]


def possible(row: Mapping[Any, Any]) -> str:
    """The ranks that the seeds allow: `1 to 3`; `-` without a rank."""
    if math.isnan(row["rank"]):
        return "-"
    low, high = int(row["rank_low"]), int(row["rank_high"])
    return str(low) if low == high else f"{low} to {high}"


def tuned_rows(results: Results) -> list[list[str]]:
    """The configuration that each algorithm chooses on the first third of the seeds, judged on the others."""
    if not is_tuned(results.observations):
        return []
    return [
        [
            row["group"],
            row["method"],
            str(row["tried"]),
            number(row["tuning_cost"]),
            str(row["seeds"]),
            number(row["mean_rank"]),
            f"{row['hit']:.0%}",
            cost_of(row),
            tenths(row["final"], row["final_low"], row["final_high"]),
        ]
        for row in tuned(results.observations).to_dict("records")
    ]


def comparison_rows(table: pd.DataFrame) -> list[list[Cell]]:
    """Rows of the table of pairs, the method with the lower mean rank first."""
    rows: list[list[Cell]] = []
    for row in table.head(MOST_COMPARISONS).to_dict("records"):
        first, second = row["first"], row["second"]
        ratio = [row["ratio"], row["ratio_low"], row["ratio_high"]]
        better = [row["better"], row["better_low"], row["better_high"]]
        if row["rank_difference"] > 0:
            first, second = second, first
            ratio = [inverse(value) for value in (ratio[0], ratio[2], ratio[1])]
            better = [1 - better[0], 1 - better[2], 1 - better[1]]
        rows.append([
            (row["group"], row["group"]), (first, first), (second, second),
            ("cost" if row["quantity"] == "cost" else "value",) * 2, (_seeds(row), row["seeds"]),
            (number(abs(row["rank_difference"])), abs(row["rank_difference"])),
            (_ratio(*ratio), _sortable(ratio[0])), (_share(*better), _sortable(better[0])),
            *((number(row[name]), _sortable(row[name])) for name in ("p", "p_holm", "p_study")),
        ])  # fmt: skip
    return rows


def _seeds(row: Mapping[Any, Any]) -> str:
    """`20`, or `8 x 5 settings`."""
    return f"{row['seeds']} x {row['settings']} settings" if row["settings"] > 1 else str(row["seeds"])


def _ratio(value: float, low: float, high: float) -> str:
    """A ratio of costs or values; 0 and infinity mean that only one method reached the target."""
    names = {0.0: "only the first", math.inf: "only the second"}
    middle = names.get(value, number(value))
    return middle if math.isnan(low) or low == high else f"{middle} [{number(low)}, {number(high)}]"


def _share(value: float, low: float, high: float) -> str:
    return "-" if math.isnan(value) else f"{value:.0%}" if math.isnan(low) else f"{value:.0%} [{low:.0%}, {high:.0%}]"
