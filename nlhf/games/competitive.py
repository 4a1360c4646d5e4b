"""The part that families of games against several competitors share."""

from __future__ import annotations

from dataclasses import dataclass, field

from nlhf.config import ConfigError
from nlhf.games.base import GameFamily


@dataclass(frozen=True)
class CompetitiveFamily(GameFamily):
    """Base of the families whose people can pick the best of k + 1 answers (nlhf/games/competition.py).

    Args:
        competitors: k; null compares pairs.
    """

    competitors: int | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if self.competitors is not None and self.competitors < 1:
            raise ConfigError(
                f"game.competitors={self.competitors} is too small: give 1 or more, or null to compare pairs."
            )

    @property
    def provides(self) -> frozenset[str]:
        return super().provides if self.competitors is None else super().provides - {"bilinear", "pairs"}

    @property
    def payoff_unit(self) -> float:
        """k: gains change k times as fast with the policy as those of pairs."""
        return super().payoff_unit if self.competitors is None else float(self.competitors)
