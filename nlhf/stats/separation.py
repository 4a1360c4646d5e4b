"""Items whose Bradley-Terry score is infinite because they won every vote, or lost every one.

The likelihood has a maximum if, within each part of items that votes connect, every item can be reached from every
other one along wins (L. R. Ford, 1957). Otherwise the scores are finite within the largest set of items that can reach
each other, the core. An item that reaches the core and is not reached from it has the score infinity.

An infinite score needs an interval too. For its finite end, each item outside the core gets one further vote, half a
win and half a loss against the other items of its part (half a vote is what J. Haldane, 1956, and F. Anscombe, 1956,
add to the cells of a two by two table). Votes in clusters get a further cluster of the mean size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse.csgraph import connected_components

from nlhf.numerics.bradley_terry import connected_parts


@dataclass(frozen=True)
class Separation:
    """Which of n scores are finite.

    Args:
        parts: the connected part of each item, (n).
        core: True for the items with finite scores, (n).
        extreme: 0 for the core, infinity or minus infinity for items that are always above or below it, nan for items
            whose score the votes leave open, (n).
    """

    parts: np.ndarray
    core: np.ndarray
    extreme: np.ndarray

    @property
    def anchors(self) -> np.ndarray:
        """Weights (n, n) whose rows average the core of each item's part, or the whole part if it has no core."""
        same = self.parts[:, None] == self.parts
        chosen = same & self.core
        chosen = np.where(chosen.any(1)[:, None], chosen, same)
        return np.asarray(chosen / chosen.sum(1)[:, None])


def separation(wins: np.ndarray, parts: np.ndarray | None = None) -> Separation:
    """The separation of votes W (n, n); `parts` (n) by default are those that the votes connect."""
    parts = connected_parts(wins) if parts is None else parts
    beats = wins > 0
    count, labels = connected_components(beats, connection="strong")
    if count == len(np.unique(parts)) and (np.bincount(labels) > 1).all():
        return Separation(parts, np.ones(len(wins), dtype=bool), np.zeros(len(wins)))
    size, votes = np.bincount(labels), np.bincount(labels, (wins + wins.T).sum(1))
    core, extreme = np.zeros(len(wins), dtype=bool), np.full(len(wins), np.nan)
    for part in np.unique(parts):
        members = np.flatnonzero(parts == part)
        if len(members) == 1:
            continue
        best = max(np.unique(labels[members]), key=lambda label: (size[label], votes[label]))
        if size[best] > 1:
            core[labels == best] = True
            above, below = _reached(beats.T, labels == best), _reached(beats, labels == best)
        else:  # the votes order the items without a contradiction
            above, below = np.logical_not(beats.any(0)), np.logical_not(beats.any(1))
        extreme[members[above[members] & ~below[members]]] = np.inf
        extreme[members[below[members] & ~above[members]]] = -np.inf
    extreme[core] = 0.0
    return Separation(parts, core, extreme)


def _reached(beats: np.ndarray, start: np.ndarray) -> np.ndarray:
    """The items (n) that a path of wins reaches from the items that are True in `start`."""
    reached = start
    while (farther := reached | beats[reached].any(0)).sum() > reached.sum():
        reached = farther
    return reached


def further_votes(separated: Separation, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The further votes of the items outside the core: their number on each pair, and its square per unit, (n, n).

    Args:
        separated: the separation.
        sizes: the size of the cluster that each item gets, (n); 1 for independent votes.
    """
    same = separated.parts[:, None] == separated.parts
    opponents = same.sum(1) - 1
    outside = ~separated.core & (opponents > 0)
    share = np.where(same & ~np.eye(len(sizes), dtype=bool), 1 / np.maximum(opponents, 1)[:, None], 0.0)
    number, square = (share * (outside * power)[:, None] for power in (sizes, sizes**2))
    return number + number.T, square + square.T
