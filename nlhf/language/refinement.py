"""Measurements of a language model that is a leader and, after another prompt, the follower that sees its answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from nlhf.language.completions import Completions
from nlhf.language.estimates import win_rates
from nlhf.language.measure import UNUSED, TextMeasure
from nlhf.stats.clusters import clustered_mean

if TYPE_CHECKING:
    from torch import Tensor

    from nlhf.policies.base import Policy

ANSWERS = 4  # in a series: the leader's and three refinements, or as many samples of the leader


@dataclass(frozen=True)
class LeaderMeasure(TextMeasure):
    """Measures also what the follower makes of the leader's completions.

    Args:
        beta, follower_beta: the strengths of the KL terms of leader and follower.
    """

    beta: float
    follower_beta: float

    def __call__(self, policy: Policy, average: Tensor | None) -> dict[str, Tensor]:
        row = super().__call__(policy, average)
        answers = self.completions(policy)
        follower = self._after(policy, answers)
        replies = self._refined(follower, answers, 1)
        lost = self.game.compare(self._contexts, replies, answers)[0].cpu().numpy() + 0.5
        divergence = follower.divergence_and_entropy(replies.view(1, -1, 1))[0].mean().item()
        rate = clustered_mean(lost.mean(-1), np.ones(len(lost)))
        penalties = self.follower_beta * divergence - self.beta * float(row["test_kl_to_reference"])
        columns = {
            "leader_value": 1 - rate.value + penalties,
            "refinement_win_rate": rate.value,
            "refinement_low": rate.low,
            "refinement_high": rate.high,
            "follower_kl_to_reference": divergence,
        }
        return row | {name: torch.tensor([value], dtype=torch.float64) for name, value in columns.items()}

    def final_texts(self, policy: Policy) -> list[dict[str, Any]]:
        """The texts, the first refinement of each first completion, and win rates of series of answers.

        Win rates are against the reference's completions, of 1 to ANSWERS answers: `refined` of the last answer of a
        chain, in which the follower improves the answer before; `best_refined` of the best one of it; `best_sampled` of
        the best one of as many answers of the leader. The judge chooses the best one, without the reference.
        """
        chain, samples = [self.completions(policy)], [self.completions(policy)]
        for number in range(1, ANSWERS):
            chain.append(self._refined(self._after(policy, chain[-1]), chain[-1], number))
            samples.append(self._draw(self.at_test_prompts(policy), "game", UNUSED * number))
        first = [self.game.text(context, number) for context, number in enumerate(chain[1][0, :, 0].tolist())]
        series = {"refined": chain, "best_refined": self._best(chain), "best_sampled": self._best(samples)}
        rates = {name: np.transpose([self._wins(answers) for answers in group]) for name, group in series.items()}
        return [
            entry | {"refinement": text} | {name: rates[name][context].tolist() for name in rates}
            for context, (entry, text) in enumerate(zip(self.texts(policy), first, strict=True))
        ]

    def _after(self, policy: Policy, answers: Tensor) -> Completions:
        return self.at_test_prompts(policy).after(self._contexts, answers)

    def _refined(self, follower: Completions, answers: Tensor, number: int) -> Tensor:
        """The follower's answer to each answer (1, X, k), from the random numbers of the refinement of this number."""
        numbers = self._numbers("reference", UNUSED * number).view(1, -1, 1)
        return self._untrained(follower, numbers).view(answers.shape)

    def _best(self, series: list[Tensor]) -> list[Tensor]:
        """The best answer so far, (1, X, k) each: an answer replaces the best one if the judge prefers it."""
        best = series[:1]
        for answers in series[1:]:
            better = self.game.compare(self._contexts, answers, best[-1]) > 0
            best.append(answers.where(better, best[-1]))
        return best

    def _wins(self, answers: Tensor) -> np.ndarray:
        """The win rate of answers (1, X, k) against the reference's completions on every prompt, (X)."""
        return win_rates(self.game.compare(self._contexts, answers, self.reference)[0].cpu().numpy())
