"""Preference probabilities from the numbers of wins and ties on every pair."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from nlhf.config import ConfigError
from nlhf.games.preference import PreferenceTable

Unseen = Literal["half", "drop_item", "refuse"]


@dataclass(frozen=True)
class Counts:
    """Votes on n items in X contexts.

    Args:
        wins: of the row's item, ties as halves, (X, n, n).
        ties: (X, n, n).
        items, contexts: names.
    """

    wins: np.ndarray
    ties: np.ndarray
    items: tuple[str, ...]
    contexts: tuple[str, ...]

    def preferences(self, unseen: Unseen, pseudo_count: float, source: str) -> PreferenceTable:
        """The table of P, with the rule for pairs without votes.

        Args:
            pseudo_count: votes added to both sides of every pair with votes.
            source: the file in messages.

        Raises: ConfigError.
        """
        total = self.wins + self.wins.swapaxes(1, 2)
        missing = (total == 0) & ~np.eye(len(self.items), dtype=bool)
        if missing.any() and unseen == "refuse":
            x, i, j = np.argwhere(missing)[0]
            raise ConfigError(
                f"{source} has no vote on {self.items[i]} against {self.items[j]} in context {self.contexts[x]} "
                f"(such pairs: {int(missing.sum()) // 2}): set game.unseen=half or game.unseen=drop_item."
            )
        kept_items = self._with_all_pairs(missing) if unseen == "drop_item" else np.arange(len(self.items))
        with np.errstate(invalid="ignore"):
            preference = (self.wins + pseudo_count) / (total + 2 * pseudo_count)
        preference = np.where(total == 0, 0.5, preference)
        counted = np.where(total > 0, self.wins + pseudo_count, 0.0)
        preference, counted, total, ties = (
            table[:, kept_items][:, :, kept_items] for table in (preference, counted, total, self.ties)
        )
        names = tuple(self.items[k] for k in kept_items)
        return PreferenceTable(preference, names, self.contexts, votes=np.stack([total, ties]), wins=counted)

    def _with_all_pairs(self, missing: np.ndarray) -> np.ndarray:
        """The items that are left when those with the most pairs without votes are dropped one by one."""
        remaining = np.arange(len(self.items))
        while missing[:, remaining][:, :, remaining].any():
            number = missing[:, remaining][:, :, remaining].sum((0, 2))
            remaining = np.delete(remaining, number.argmax())
            if len(remaining) < 2:
                raise ConfigError("game.unseen=drop_item leaves fewer than two items: set game.unseen=half.")
        return remaining
