"""The rules that all games of an arena share, and when a pair has played enough."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nlhf.stats.clusters import clustered_mean

FEWEST_PROMPTS = 20  # prompts on which a pair must have played before it may stop


@dataclass(frozen=True)
class Rules:
    """What all games of an arena share.

    Args:
        prompts: texts or lists of messages.
        completions: of every contestant for each prompt.
        seed: of the draws.
        judge: the configuration that decides the judge's answers.
    """

    prompts: Sequence[Any]
    completions: int
    seed: int
    judge: Any

    @property
    def card(self) -> dict[str, Any]:
        """The rules as arena.json holds them."""
        card = {"prompts": list(self.prompts), "completions": self.completions, "seed": self.seed, "judge": self.judge}
        plain: dict[str, Any] = json.loads(json.dumps(card))
        return plain

    @property
    def judge_name(self) -> str:
        """The class of the judge."""
        target = self.judge.get("_target_", "?") if isinstance(self.judge, dict) else self.judge
        return str(target).rpartition(".")[2]


def is_precise(won: Mapping[int, Sequence[float]], precision: float | None) -> bool:
    """True if the interval of a pair's win rate is narrow enough; `won` is what one side won, by prompt.

    It is the interval that the page shows. It never shrinks to a point, so a pair does not stop because its first
    verdicts happen to be equal.
    """
    if precision is None or len(won) < FEWEST_PROMPTS:
        return False
    values = np.array([np.mean(wins) for wins in won.values()])
    estimate = clustered_mean(values, np.ones(len(values)))
    return (estimate.high - estimate.low) / 2 <= precision
