"""Groups of items that votes compare, directly or through other items."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence

from nlhf.io.tables import listed

log = logging.getLogger(__name__)
MOST_NAMES = 5  # of a group in a message


def groups_of(items: Sequence[str], pairs: Iterable[tuple[str, str]]) -> list[list[str]]:
    """The groups of items that are connected by pairs, the largest first.

    Example:
        >>> groups_of(["a", "b", "c", "d"], [("a", "c"), ("c", "d")])
        [['a', 'c', 'd'], ['b']]
    """
    above: dict[str, str] = {}

    def root(item: str) -> str:
        while (parent := above.get(item, item)) != item:
            above[item] = above.get(parent, parent)
            item = parent
        return item

    for first, second in pairs:
        above[root(first)] = root(second)
    groups: dict[str, list[str]] = {}
    for item in items:
        groups.setdefault(root(item), []).append(item)
    return sorted(groups.values(), key=len, reverse=True)


def warn_of_groups(source: str, items: Sequence[str], pairs: Mapping[str, set[tuple[str, str]]]) -> None:
    """Log a warning if the items of a context fall into several groups.

    Args:
        source: name of the file.
        items: all items.
        pairs: pairs with votes, by context.
    """
    groups_by_context = {context: groups_of(items, compared) for context, compared in pairs.items()}
    apart = {context: groups for context, groups in groups_by_context.items() if len(groups) > 1}
    if not apart:
        return
    context, groups = next(iter(apart.items()))
    names = " and ".join(f"({listed(group, MOST_NAMES)})" for group in groups[:2])
    rest_of_groups = f" and {len(groups) - 2} more" if len(groups) > 2 else ""
    where = f"in {len(apart)} of {len(pairs)} contexts, first in {context}, " if len(pairs) > 1 else ""
    log.warning(
        "%s: %sthe votes never compare items of different groups, not even indirectly, and all such pairs count as "
        "even: %s%s",
        source,
        where,
        names,
        rest_of_groups,
    )


def natural_key(name: str) -> list[tuple[int, float, str]]:
    """A sort key: numbers by value and before texts; the parts between slashes one by one."""
    return [(0, float(p), p) if p.replace(".", "", 1).isdecimal() else (1, 0.0, p) for p in name.split("/")]
