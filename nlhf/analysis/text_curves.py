"""Language models compared at equal KL divergence to the reference, along the rows of their runs."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import pandas as pd

from nlhf.analysis.text_pairs import ALPHA, difference_cell, difference_with_interval, pair_cells
from nlhf.stats.equal_divergence import Curve, at_equal_divergence
from nlhf.stats.significance import holm
from nlhf.stats.text import number, shown_p

COLUMNS = ("setting", "first", "second", "prompts", "seeds", "divergence", "first_rate", "second_rate", "difference",
           "difference_low", "difference_high", "p", "p_holm")  # fmt: skip


def at_equal_kl(curves: Mapping[tuple[str, str, int], Curve]) -> pd.DataFrame:
    """A row per (setting, pair of methods), the method that wins more at the largest common divergence first.

    The columns are those of `paired_differences`, and `divergence`. Seeds that both methods ran count.
    """
    table = []
    for setting in sorted({setting for setting, _, _ in curves}):
        methods = sorted({method for played_on, method, _ in curves if played_on == setting})
        for pair in combinations(methods, 2):
            seeds = [{seed for *key, seed in curves if key == [setting, method]} for method in pair]
            common = sorted(seeds[0] & seeds[1])
            sides = [[curves[setting, method, seed] for seed in common] for method in pair]
            if row := _row(*sides):
                names = pair if row["difference"] >= 0 else pair[::-1]
                table.append({"setting": setting, "first": names[0], "second": names[1], **_oriented(row)})
    corrected = holm([row["p"] for row in table])
    listed = [row | {"p_holm": p} for row, p in zip(table, corrected, strict=True)]
    return pd.DataFrame(listed, columns=list(COLUMNS))


def _row(first: list[Curve], second: list[Curve]) -> dict[str, Any] | None:
    prompts = {curve.wins.shape[1] for curve in (*first, *second)}
    result = at_equal_divergence(first, second) if len(prompts) == 1 else None
    if result is None:
        return None
    difference = result.difference
    return {
        "prompts": prompts.pop(),
        "seeds": len(first),
        "divergence": result.divergence,
        "first_rate": result.rates[0],
        "second_rate": result.rates[1],
        "difference": difference.value,
        "difference_low": difference.low,
        "difference_high": difference.high,
        "p": result.p,
    }


def _oriented(row: dict[str, Any]) -> dict[str, Any]:
    """The row with the method that wins more first."""
    if row["difference"] >= 0:
        return row
    return row | {
        "first_rate": row["second_rate"],
        "second_rate": row["first_rate"],
        "difference": -row["difference"],
        "difference_low": -row["difference_high"],
        "difference_high": -row["difference_low"],
    }


def sentence(table: pd.DataFrame) -> str:
    """The clearest pair at equal divergence; empty without a tested pair."""
    tested = table.dropna(subset="p_holm").sort_values("p_holm", kind="stable")
    if tested.empty:
        return ""
    row = tested.to_dict("records")[0]
    several = f", Holm over {len(tested)} pairs" if len(tested) > 1 else ""
    scope = f"At equal KL divergence, {number(row['divergence'])}, the largest that both reach,"
    difference = difference_with_interval(row)
    p = f"({shown_p(row['p_holm'])}{several})"
    if row["p_holm"] < ALPHA:
        return f"{scope} {row['first']} wins {difference} more of the pairs than {row['second']} {p}."
    if len(tested) > 1:
        return f"At equal KL divergence no two methods are distinguishable {p}."
    return f"{scope} {row['first']} and {row['second']} are not distinguishable: a difference of {difference} {p}."


def shown_rows(table: pd.DataFrame) -> list[list[str]]:
    """The rows of the report's table."""
    return [
        [
            *pair_cells(row),
            number(row["divergence"]),
            f"{row['first_rate']:.3f}",
            f"{row['second_rate']:.3f}",
            difference_cell(row),
            number(row["p"]),
            number(row["p_holm"]),
        ]
        for row in table.to_dict("records")
    ]
