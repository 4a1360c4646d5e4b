"""Short names and notes of methods and groups, shared by headlines, tables and figures."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nlhf.analysis.comparison import Against
from nlhf.analysis.ranks import ALPHA
from nlhf.stats.text import number, shown_p

MARK = " †"  # follows the name of a method with a caveat


def listed(names: Sequence[str]) -> str:
    """The names as `a, b and c`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def notes(caveats: Mapping[str, str], methods: Iterable[Any]) -> list[str]:
    """A line per caveat of the methods shown; three or more methods go by their algorithms' names."""
    of_text: dict[str, list[str]] = {}
    for name in sorted(set(methods) & set(caveats)):
        of_text.setdefault(caveats[name], []).append(name)
    lines = []
    for text, names in of_text.items():
        algorithms = list(dict.fromkeys(name.partition(", ")[0] for name in names))
        lines.append(f"† {listed(names if len(names) <= 2 else algorithms)}: {text}.")
    return lines


def distinct(groups: Sequence[str]) -> dict[str, str]:
    """Names of groups without the parts that all of them share.

    `a, beta = 1` and `b, beta = 1` become `a` and `b`. If two short names would be the same, all groups keep their
    full names.
    """
    parts = {group: group.split(", ") for group in groups}
    shared = set.intersection(*map(set, parts.values())) if len(parts) > 1 else set()
    short = {group: ", ".join(part for part in names if part not in shared) or group for group, names in parts.items()}
    return short if len(set(short.values())) == len(short) else {group: group for group in groups}


def spread_over(groups: list[str], total: int) -> str:
    """The names of a few groups, or how many of all groups they are."""
    if len(groups) == total > 1:
        return f"all {total}"
    if total == 1 or (len(groups) <= 2 and total > 2):
        return listed(groups)
    return f"{len(groups)} of {total}"


def bounded(cost: float, spent: float) -> str:
    """A median cost, or `> budget` if half of the observations ended without reaching the target."""
    return f"> {number(spent)}" if cost == float("inf") else number(cost)


def times(ratio: float) -> str:
    """A factor as `1.02 times`, `4.7 times`, `120 times`."""
    return f"{ratio:.2f} times" if ratio < 2 else f"{number(ratio, 2)} times"


def needs_phrase(pair: Against) -> str:
    """The ratio of costs with its interval."""
    return f"needs {times(pair.ratio)} as much ({median_phrase(pair)})"


def median_phrase(pair: Against) -> str:
    """That a ratio is a median, with its interval."""
    return f"{'median' if pair.seeds > 1 else 'one seed'}{interval_phrase(pair.ratio_low, pair.ratio_high, pair.seeds)}"


def interval_phrase(low: float, high: float, seeds: int) -> str:
    """The 95% interval; of one seed the numbers that the rows around the target allow."""
    if math.isnan(low) or low == high:
        return ""
    if seeds == 1:
        return f", the rows around the target allow {number(low)} to {number(high)}"
    return f", 95% interval {number(low)} to {number(high)}"


def chance_phrase(p: float) -> str:
    """The corrected p-value in words; empty without a test."""
    if math.isnan(p):
        return ""
    return f"{'' if p < ALPHA else '; the difference is not significant'} ({shown_p(p)}, Holm)"
