"""report.html: one self-contained page of a study, to send to a colleague; and the figures as files beside it."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from nlhf.analysis import conclusions, page, provenance
from nlhf.analysis.figures.gallery import pictures
from nlhf.analysis.figures.preset import preset_of
from nlhf.analysis.figures.style import marked
from nlhf.analysis.ranking_table import cost_of, spread, tenths
from nlhf.analysis.results import Results
from nlhf.analysis.tuning import tuned
from nlhf.config import is_number
from nlhf.io.json_files import read_json, read_json_lines
from nlhf.stats.text import number
from nlhf.terminal import completion

MOST_COMPARISONS, SHOWN_TEXTS = 400, 12
Cell = tuple[str, float | str]  # what is read, and by what it is sorted


def write(results: Results, folder: Path) -> Path:
    """Write folder/report.html and folder/figures/*.pdf, *.png; returns the page's path.

    Raises: AnalysisError.
    """
    arena = results.study.root / "arena" / "report.html"
    link = Path(os.path.relpath(arena, folder)).as_posix() if arena.exists() else None
    return page.write(folder, "report.html.jinja", pictures(results), arena=link, **_context(results))


def _context(results: Results) -> dict[str, Any]:
    study, criterion, summary = results.study, results.criterion, results.summary
    runs = study.runs
    preset = preset_of(study.experiment)
    shared, varied = provenance.configs(runs)
    states = Counter(str(run["status"]) for run in runs)
    tested = results.comparisons.dropna(subset="p")
    return {
        "title": study.root.resolve().name,
        "question": preset.question if preset else f"Which method needs the fewest {criterion.cost}?",
        "headline": conclusions.headline(summary, results.comparisons, criterion),
        "cautions": results.cautions,
        "facts": _facts(results, states),
        "criterion": criterion,
        "target": number(criterion.target),
        "columns": _columns(results),
        "rows": list(_rows(results)),
        "everywhere": _everywhere([str(group) for group in summary["group"].unique()]),
        "choices": {name: _distinct(results.observations[name]) for name in ("game", "beta")},
        "notes": conclusions.notes(results.caveats, summary["method"]),
        "overall": _overall(results),
        "tuned": _tuned(results),
        "comparisons": _comparisons(tested),
        "left_out": max(0, len(tested) - MOST_COMPARISONS),
        "shared": shared,
        "varied": {
            key: ", ".join(values[:30]) + (" ..." if len(values) > 30 else "") for key, values in varied.items()
        },
        "versions": provenance.versions(runs),
        "commands": provenance.commands(runs),
        "texts": list(_texts(results)),
        "bad": [_bad(run) for run in runs if run["status"] != "completed"],
        "bibtex": "\n\n".join(provenance.citations(runs)),
    }


def _facts(results: Results, states: Counter[str]) -> str:
    seeds, rows = len(results.observations), len(results.study.rows)
    counts = ", ".join(f"{count} {status}" for status, count in states.items())
    return f"{len(results.study.runs)} runs ({counts}), {seeds:,} observations, {rows:,} rows"


def _columns(results: Results) -> list[str]:
    criterion = results.criterion
    return [
        "setting",
        "rank",
        "method",
        "seeds",
        f"{criterion.cost} to {number(criterion.target)}",
        "reached",
        "log10 last, median",
        "mean",
        "mean of curve",
        "rate",
        "theory",
        "tried",
    ]


def _rows(results: Results) -> Iterator[dict[str, Any]]:
    """Rows of the large table: cells with what they are sorted by, and the games and betas that a filter asks for."""
    of_group = {
        str(group): (_distinct(rows["game"]), _distinct(rows["beta"]))
        for group, rows in results.observations.groupby("group")
    }
    short = conclusions.distinct(list(of_group))
    for row in results.summary.to_dict("records"):
        name = marked([row["method"]], results.caveats)[row["method"]]
        remarks = "".join(f", {row[state]} {state}" for state in ("failed", "unfinished") if row[state])
        cost = cost_of(row)
        cells: list[Cell] = [
            (short[str(row["group"])], str(row["group"])),
            (str(row["rank"]), row["rank"]),
            (name + remarks, name),
            (str(row["seeds"]), row["seeds"]),
            (cost, _sortable(row["cost"])),
            (f"{row['reached']:.0%}", row["reached"]),
            (tenths(row["final"], row["final_low"], row["final_high"]), _sortable(row["final"])),
            (tenths(row["final_mean"], row["final_mean_low"], row["final_mean_high"]), _sortable(row["final_mean"])),
            (tenths(row["area"], math.nan, math.nan), _sortable(row["area"])),
            (spread(row["rate"], row["rate_low"], row["rate_high"]), _sortable(row["rate"])),
            (number(row["bound_rate"]), _sortable(row["bound_rate"])),
            (str(row["tried"]), row["tried"]),
        ]
        games, betas = of_group[str(row["group"])]
        yield {"cells": cells, "game": "|".join(games), "beta": "|".join(betas)}


def _everywhere(groups: list[str]) -> str:
    """The parts that all groups share, which the table leaves out."""
    short = conclusions.distinct(groups)
    return ", ".join(part for part in groups[0].split(", ") if part not in short[groups[0]].split(", "))


def _sortable(value: float) -> float:
    """Missing values come last, behind infinite ones."""
    return 1e308 if math.isnan(value) else 1e307 if value == math.inf else value


def _distinct(values: pd.Series) -> list[str]:
    known = sorted(values.dropna().unique())
    return [f"{value:g}" if isinstance(value, float) else str(value) for value in known]


def _overall(results: Results) -> list[list[str]]:
    if results.summary["group"].nunique() < 2:
        return []
    return [
        [
            marked([row["method"]], results.caveats)[row["method"]],
            str(row["wins"]),
            f"{row['reached']:.0%}",
            spread(*(10 ** row[name] for name in ("score", "score_low", "score_high"))),
            tenths(row["area"], row["area_low"], row["area_high"]),
        ]
        for row in results.overall.to_dict("records")
    ]


def _tuned(results: Results) -> list[list[str]]:
    """The configuration that each algorithm chooses on the first third of the seeds, judged on the others."""
    if results.summary["tried"].max() < 2 or results.observations["seed"].nunique() < 3:
        return []
    return [
        [
            row["group"],
            row["method"],
            str(row["tried"]),
            number(row["tuning_cost"]),
            str(row["seeds"]),
            f"{row['reached']:.0%}",
            spread(*(10 ** row[name] for name in ("score", "score_low", "score_high"))),
            tenths(row["final"], row["final_low"], row["final_high"]),
        ]
        for row in tuned(results.observations).to_dict("records")
    ]


def _comparisons(table: pd.DataFrame) -> list[list[Cell]]:
    """Rows of the table of pairs, the better method first."""
    shown = []
    for row in table.head(MOST_COMPARISONS).to_dict("records"):
        first, second = row["first"], row["second"]
        ratio = [row["ratio"], row["ratio_low"], row["ratio_high"]]
        better = [row["better"], row["better_low"], row["better_high"]]
        if row["better"] < 0.5 or (row["better"] == 0.5 and row["ratio"] > 1):
            first, second = second, first
            ratio = [1 / value if value else math.inf for value in (ratio[0], ratio[2], ratio[1])]
            better = [1 - better[0], 1 - better[2], 1 - better[1]]
        shown.append(
            [
                (row["group"], row["group"]),
                (first, first),
                (second, second),
                ("cost" if row["quantity"] == "cost" else "last value",) * 2,
                (str(row["pairs"]), row["pairs"]),
                (_ratio(*ratio), _sortable(ratio[0])),
                (_share(*better), _sortable(better[0])),
                (number(row["p"]), _sortable(row["p"])),
                (number(row["p_holm"]), _sortable(row["p_holm"])),
            ]
        )
    return shown


def _ratio(value: float, low: float, high: float) -> str:
    """A ratio of costs or values; 0 and infinity are those of pairs in which one method alone reached the target."""
    words_of = {0.0: "only the first", math.inf: "only the second"}
    middle = words_of.get(value, number(value))
    return middle if math.isnan(low) or low == high else f"{middle} [{number(low)}, {number(high)}]"


def _share(value: float, low: float, high: float) -> str:
    return "-" if math.isnan(value) else f"{value:.0%}" if math.isnan(low) else f"{value:.0%} [{low:.0%}, {high:.0%}]"


def _texts(results: Results) -> Iterator[dict[str, Any]]:
    """Completions of test prompts by every run of language models that has left some, a few of each."""
    named = results.study.rows.drop_duplicates("folder").set_index("folder")
    for run in results.study.runs:
        path = Path(run["folder"]) / "completions.jsonl"
        damaged = any(sentence.startswith(f"{path} ") for sentence in run["damage"])
        if path.exists() and not damaged and run["folder"] in named.index:
            entries = [_shown(entry) for entry in read_json_lines(path) if _is_text(entry)]
            bound: Any = (read_json(path.with_name("exploiter.json")) or {}).get("lower_bound")
            known = {name: named.at[run["folder"], name] for name in ("method", "seed")}
            yield {
                **known,
                "entries": entries[:SHOWN_TEXTS],
                "left_out": max(0, len(entries) - SHOWN_TEXTS),
                "bound": number(float(bound)) if is_number(bound) else None,
            }


def _shown(entry: dict[str, Any]) -> dict[str, Any]:
    """A line of completions.jsonl, in which empty completions are visible."""
    return {**entry, **{name: completion(entry[name]) for name in ("reference", "policy")}}


def _is_text(entry: dict[str, Any]) -> bool:
    """Does a line of completions.jsonl have what is shown of it?"""
    texts = all(isinstance(entry.get(name), str) for name in ("prompt", "reference", "policy"))
    return texts and is_number(entry.get("preference"))


def _bad(run: dict[str, Any]) -> dict[str, str]:
    """A row of the table of runs that are not completed."""
    reason = " ".join(run["damage"]) or run["summary"].get("stop_reason") or ""
    if run["status"] == "unfinished" and not reason:
        reason = f"{'' if run['summary'] else 'no summary.json: '}it is running, or was killed"
    return {"folder": run["folder"], "status": run["status"], "reason": str(reason), "rows": str(run["rows"])}
