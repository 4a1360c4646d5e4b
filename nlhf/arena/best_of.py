"""A contestant that draws n completions of another one and plays the one that the judge prefers to most of the others.

For a judge with a scalar reward and no ties, it is preferred to a single completion with probability n/(n+1). The KL
divergence to the other contestant is at most log n - (n-1)/n (arXiv:2401.01879), whatever the judge: the choice is a
function of the n draws.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from nlhf.models.prompts import prompt_text

if TYPE_CHECKING:
    from nlhf.arena.contestants import Contestant
    from nlhf.judges.base import TextJudge

SEED_STEP = 1_000_003  # between the seeds of different n, so that no completion is also one of the other contestant's


@dataclass(frozen=True)
class BestOf:
    """The best of several completions of a contestant.

    Args:
        name: in tables.
        contestant: draws the completions.
        count: n, how many are drawn for each one that plays.
        judge: chooses, by the mean preference over the other n - 1; of equal ones, the first.
        rules: the configuration that decides the judge's answers.
    """

    name: str
    contestant: Contestant
    count: int
    judge: TextJudge
    rules: Any

    @cached_property
    def identity(self) -> str:
        """A digest of all that decides its completions."""
        parts = [self.contestant.identity, self.count, self.rules]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def lacking(self, prompts: Sequence[Any], samples: int) -> dict[int, str]:
        """Those of the other contestant."""
        return self.contestant.lacking(prompts, samples * self.count)

    def wrote(self, prompt: Any, texts: Sequence[str]) -> bool:
        """False: completions are drawn."""
        return False

    def complete(self, prompts: Sequence[Any], samples: int, seed: int, first: int) -> list[list[str] | None]:
        """The best of every n completions."""
        drawn = self.contestant.complete(prompts, samples * self.count, seed + SEED_STEP * self.count, first)
        return [
            None if texts is None else [self._best(prompt_text(prompt), texts[k::samples]) for k in range(samples)]
            for prompt, texts in zip(prompts, drawn, strict=True)
        ]

    def _best(self, prompt: str, texts: Sequence[str]) -> str:
        """The completion with the largest sum of preferences over the others."""
        indices = list(combinations(range(len(texts)), 2))
        if not indices:
            return texts[0]
        chances = self.judge.verdicts([(prompt, texts[first], texts[second]) for first, second in indices])
        wins = np.zeros(len(texts))
        for (first, second), chance in zip(indices, chances, strict=True):
            wins[first] += chance - 0.5
            wins[second] -= chance - 0.5
        return texts[int(wins.argmax())]


def kl_bound(count: int) -> float:
    """The largest KL divergence of the best of n draws to a single draw, log n - (n-1)/n.

    Example:
        >>> round(kl_bound(4), 3)
        0.636
    """
    return math.log(count) - (count - 1) / count
