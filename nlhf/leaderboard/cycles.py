"""The top cycle of a preference matrix and its strongest cycle, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from nlhf.stats.smith import possible_smith, smith_set
from nlhf.stats.strongest_cycle import cycle_in_words, strongest_cycle
from nlhf.stats.vote_clusters import Clusters

NAMED = 12  # items that a sentence names


@dataclass(frozen=True)
class Cycles:
    """The cycles of n items.

    Args:
        items: their names.
        smith: the Smith set of the sample, the smallest set whose items beat every other item by majority.
        possible: items that contain the Smith set of the voters with 95% confidence; None without a test.
        strongest: the cycle whose weakest win is largest, each item before the one that it beats; None without a cycle.
        words: the strongest cycle, `a beats b 62:38, b beats c ...`; empty without a cycle.
    """

    items: tuple[str, ...]
    smith: list[int]
    possible: list[int] | None
    strongest: list[int] | None
    words: str

    @classmethod
    def of(
        cls, items: Sequence[str], preference: np.ndarray, votes: np.ndarray | None, clusters: Clusters | None
    ) -> Cycles:
        """From P (n, n), with votes and clusters as in `diagnose`."""
        names, strongest = tuple(items), strongest_cycle(preference)
        words = cycle_in_words(strongest, preference, names) if strongest else ""
        possible = possible_smith(preference, votes, clusters)
        return cls(names, smith_set(preference), possible, strongest, words)

    @property
    def excluded(self) -> list[int]:
        """The items that are outside the Smith set with 95% confidence."""
        return [] if self.possible is None else sorted(set(range(len(self.items))) - set(self.possible))

    def lines(self, assumption: str) -> Iterator[str]:
        """The sentences; `assumption` says which votes are taken as independent."""
        if len(self.smith) > 1:
            sentence = f"Smith set, the smallest set whose items beat all others: {self._names(self.smith)}"
            if self.possible is not None and len(self.smith) < len(self.items):
                without = f"exclude {self._names(self.excluded)}" if self.excluded else "exclude no item"
                sentence += f"; with 95% confidence, the votes {without}, {assumption}"
            yield f"{sentence}."
        if self.words:
            yield f"Strongest cycle: {self.words}."

    def _names(self, chosen: list[int]) -> str:
        names = [self.items[k] for k in chosen]
        further = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        return ", ".join(names[:NAMED]) + further
