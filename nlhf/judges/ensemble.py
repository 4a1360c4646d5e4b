"""Several judges as one. Together they can prefer in cycles (Condorcet)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from nlhf.config import ConfigError
from nlhf.judges.agreement import VOTERS, Agreement
from nlhf.judges.base import Pair, TextJudge


@dataclass(frozen=True)
class Ensemble(TextJudge):
    """P(a > b) is the mean over judges of their P(a > b), or of their votes.

    Args:
        judges: name -> judge.
        rule: `mean` of the probabilities, or `majority`: each judge casts one vote.
    """

    judges: dict[str, TextJudge]
    rule: Literal["mean", "majority"]

    def __post_init__(self) -> None:
        if len(self.judges) < 2:
            raise ConfigError(
                f"game.judge.judges has {len(self.judges)} judges, and an ensemble needs two: add one with "
                "+judge@game.judge.judges.NAME=JUDGE."
            )

    def preference(self, pairs: Sequence[Pair]) -> np.ndarray:
        chances = np.stack([judge.preference(pairs) for judge in self.judges.values()])
        self._agreement.add_votes(pairs, np.sign(chances - 0.5))
        if self.rule == "majority":
            chances = np.sign((np.sign(chances - 0.5)).sum(0, keepdims=True)) / 2 + 0.5
        return np.asarray(chances.mean(0))

    @cached_property
    def _agreement(self) -> Agreement:
        """Between couples of judges."""
        return Agreement(VOTERS)

    def refused(self, pairs: Sequence[Pair]) -> np.ndarray:
        return np.asarray(np.any([judge.refused(pairs) for judge in self.judges.values()], axis=0))

    @property
    def calls(self) -> int:
        return sum(judge.calls for judge in self.judges.values())

    @property
    def question_count(self) -> int:
        return self._earlier + sum(judge.question_count for judge in self.judges.values())

    def snapshot(self) -> dict[str, Any]:
        judges = {name: judge.snapshot() for name, judge in self.judges.items()}
        return {"earlier": self._earlier, "judges": judges}

    def restore(self, snapshot: dict[str, Any]) -> None:
        super().restore(snapshot)
        for name, judge in self.judges.items():
            judge.restore(snapshot.get("judges", {}).get(name, {}))

    def use_device(self, device: str) -> None:
        for judge in self.judges.values():
            judge.use_device(device)

    @property
    def decides(self) -> dict[str, Any]:
        """The rule, and what decides each judge's answers."""
        return {"rule": self.rule, "judges": {name: judge.decides or judge for name, judge in self.judges.items()}}

    @property
    def account(self) -> dict[str, Any]:
        return {
            "calls": self.calls,
            **self._agreement.account,
            "judges": {name: judge.account for name, judge in self.judges.items()},
        }
