"""The strongest cycle of a preference matrix: of all cycles of strict majorities, one whose weakest win is largest.

The wins of at least t contain a cycle if and only if they connect some items strongly, which is monotone in t: a binary
search over the values of P finds the largest t, exactly. Every cycle of these wins has a weakest win of t. The shortest
one is returned, the first of them in the order of items.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components


def strongest_cycle(preference: np.ndarray) -> list[int] | None:
    """The items in the order in which each beats the next and the last beats the first; None without a cycle."""
    levels = np.unique(preference[preference > 0.5])
    low, high = -1, len(levels) - 1  # the largest level with a cycle has an index in low..high, -1 for none
    while low < high:
        middle = (low + high + 1) // 2
        if len(_connected(preference >= levels[middle])):
            low = middle
        else:
            high = middle - 1
    return _shortest_cycle(preference >= levels[low]) if low >= 0 else None


def cycle_in_words(cycle: list[int], preference: np.ndarray, items: tuple[str, ...]) -> str:
    """`A beats B 62:38, B beats C 55:45, C beats A 70:30`, in per cent."""
    pairs = zip(cycle, [*cycle[1:], cycle[0]], strict=True)
    return ", ".join(f"{items[i]} beats {items[j]} {_ratio(float(preference[i, j]))}" for i, j in pairs)


def _ratio(share: float) -> str:
    """A share above 1/2 and its complement in per cent, with as many digits as show that they differ."""
    for digits in range(4):
        if round(100 * share, digits) > 50:
            return f"{100 * share:.{digits}f}:{100 - round(100 * share, digits):.{digits}f}"
    return "narrowly"


def _connected(beats: np.ndarray) -> np.ndarray:
    """The items that lie on some cycle of the wins (n, n)."""
    count, component = connected_components(csr_array(beats), connection="strong")
    return np.flatnonzero(np.bincount(component, minlength=count)[component] > 1)


def _shortest_cycle(beats: np.ndarray) -> list[int]:
    """The shortest cycle of the wins (n, n), which contain one."""
    cycles = [cycle for item in _connected(beats) if (cycle := _cycle_through(beats, int(item)))]
    return min(cycles, key=len)


def _cycle_through(beats: np.ndarray, first: int) -> list[int] | None:
    """A shortest cycle through an item, by breadth-first search."""
    before: dict[int, int] = {}
    queue = deque([first])
    while queue:
        item = queue.popleft()
        for beaten in np.flatnonzero(beats[item]).tolist():
            if beaten == first:
                cycle = [item]
                while cycle[-1] != first:
                    cycle.append(before[cycle[-1]])
                return cycle[::-1]
            if beaten not in before:
                before[beaten] = item
                queue.append(beaten)
    return None
