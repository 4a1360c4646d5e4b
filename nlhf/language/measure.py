"""Measurements of a language model's policy on test prompts, which no policy is trained on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from nlhf.budget import SPARSE, Schedule
from nlhf.equilibria.metrics import Grades
from nlhf.language.estimates import estimates, win_rates
from nlhf.language.game import TextGame
from nlhf.language.policy import CausalLMPolicy
from nlhf.numerics.streams import stream

if TYPE_CHECKING:
    from nlhf.language.completions import Completions
    from nlhf.policies.base import Policy

UNUSED = 10**9  # a position of a random stream that training never reaches


class _Grades(NamedTuple):
    """Advantage over the reference, KL divergence to it, and entropy of every completion, (X, samples) each."""

    advantage: np.ndarray
    divergence: np.ndarray
    entropy: np.ndarray


@dataclass(frozen=True)
class TextMeasure(Grades):
    """Measures a policy by completions of test prompts, drawn with the same random numbers at every row.

    Args:
        game: of the test prompts.
        base: the reference policy.
        samples: completions of each prompt.
        seed: of the run.
    """

    game: TextGame
    base: CausalLMPolicy
    samples: int
    seed: int

    watched: ClassVar[str] = "test_kl_to_reference"
    schedule: ClassVar[Schedule] = SPARSE

    def initial_kl(self, policy: Policy) -> Tensor:
        """NaN, as the equilibrium is unknown."""
        return torch.full((1,), float("nan"), dtype=torch.float64, device=self.game.model.device)

    def __call__(self, policy: Policy, average: Tensor | None) -> dict[str, Tensor]:
        """The columns of a row, each (1)."""
        samples, grades = self.completions(policy), self._graded(policy)
        model, game = self.game.model, self.game
        numbers = samples.flatten().tolist()
        values = {
            **estimates(grades.advantage, grades.divergence),
            "test_entropy": float(grades.entropy.mean()),
            "tokens": float(np.mean([sum(map(len, model.answers(number))) for number in numbers])),
            "finished": float(np.mean([model.finished(number) for number in numbers])),
            "distinct_2": distinct([model.text(number) for number in numbers], 2),
            "judge_calls": float(game.judge.question_count),
            "sampled_tokens": float(model.sampled_tokens),
        }
        return {name: torch.tensor([value], dtype=torch.float64) for name, value in values.items()}

    def by_prompt(self, policy: Policy) -> tuple[list[float], list[float]]:
        """The share of completions that win and the KL divergence to the reference, on every test prompt."""
        grades = self._graded(policy)
        return win_rates(grades.advantage).tolist(), grades.divergence.mean(-1).tolist()

    def _graded(self, policy: Policy) -> _Grades:
        if policy not in self._grades:
            samples = self.completions(policy)
            advantage = self.game.compare(self._contexts, samples, self.reference)
            sums = self.at_test_prompts(policy).at(None).divergence_and_entropy(samples)
            self._grades[policy] = _Grades(*(values[0].cpu().numpy() for values in (advantage, *sums)))
        return self._grades[policy]

    @cached_property
    def _grades(self) -> WeakKeyDictionary[Policy, _Grades]:
        return WeakKeyDictionary()

    def snapshot(self) -> dict[str, Any]:
        judge, sampled_tokens = self.game.judge, self.game.model.sampled_tokens
        return {"judge": judge.snapshot(), "verdicts": judge.verdicts.snapshot(), "sampled_tokens": sampled_tokens}

    def restore(self, snapshot: dict[str, Any]) -> None:
        count_alone = {"earlier": snapshot.get("judge_calls", 0)}  # checkpoints of older versions hold no more
        self.game.judge.restore(snapshot.get("judge", count_alone))
        self.game.judge.verdicts.restore(snapshot.get("verdicts", {}))
        self.game.model.sampled_tokens = snapshot.get("sampled_tokens", 0)

    def at_test_prompts(self, policy: Policy) -> CausalLMPolicy:
        """The policy with the test prompts as its contexts."""
        assert isinstance(policy, CausalLMPolicy)
        return replace(policy, turns=self.game.turns)

    def completions(self, policy: Policy) -> Tensor:
        """Completions of the test prompts, (1, X, samples); drawn once for each policy."""
        if policy not in self._drawn:
            self._drawn[policy] = self._draw(self.at_test_prompts(policy), "game")
        return self._drawn[policy]

    @cached_property
    def _drawn(self) -> WeakKeyDictionary[Policy, Tensor]:
        return WeakKeyDictionary()

    @cached_property
    def reference(self) -> Tensor:
        """The base model's completions, from other random numbers."""
        return self._draw(self.base, "reference")

    @property
    def _contexts(self) -> Tensor:
        """The numbers of all test prompts, (1, X)."""
        return torch.arange(len(self.game.turns))[None]

    def _draw(self, policy: CausalLMPolicy, use: str, position: int = 0, count: int | None = None) -> Tensor:
        return self._untrained(policy.at(None), self._numbers(use, position, count))

    def _numbers(self, use: str, position: int, count: int | None = None) -> Tensor:
        """Random numbers of `count` completions of every test prompt, (1, X, count)."""
        shape = (1, len(self.game.turns), count or self.samples)
        return torch.from_numpy(stream(self.seed, use, position).random(shape))

    def _untrained(self, distribution: Completions, numbers: Tensor) -> Tensor:
        """Completions whose tokens are not counted as sampled in training."""
        in_training = self.game.model.sampled_tokens
        drawn = distribution.sample(numbers)
        self.game.model.sampled_tokens = in_training
        return drawn

    def gains(self, first: Policy, second: Policy, beta: float, count: int) -> tuple[np.ndarray, np.ndarray]:
        """P_beta(first > second) - 1/2 and P(first > second) on every test prompt, (X) each.

        Both are unbiased estimates from `count` completions of each policy. No row uses their random numbers.
        """
        policies = [self.at_test_prompts(policy) for policy in (first, second)]
        samples = [
            self._draw(policy, "feedback", UNUSED * number, count) for number, policy in enumerate(policies, start=1)
        ]
        advantage = self.game.compare(self._contexts, *samples)
        first_divergence, second_divergence = (
            policy.at(None).divergence_and_entropy(drawn)[0].cpu()
            for policy, drawn in zip(policies, samples, strict=True)
        )
        regularised = advantage.double() - beta * first_divergence + beta * second_divergence
        return regularised[0].mean(-1).numpy(), (advantage[0] + 0.5).mean(-1).numpy()

    def final_texts(self, policy: Policy) -> list[dict[str, Any]]:
        """What is measured of the final policy for every prompt; by default the texts of the last row."""
        return self.texts(policy)

    def texts(self, policy: Policy) -> list[dict[str, Any]]:
        """What the last row measures, for every prompt.

        Prompt, first completion of the reference and of the policy, the judge's preference between these two, and the
        share of all completions that win.
        """
        samples, text, advantage = self.completions(policy), self.game.text, self._graded(policy).advantage
        firsts = (tensor[0, :, 0].tolist() for tensor in (self.reference, samples))
        columns = (*firsts, (advantage[:, 0] + 0.5).tolist(), win_rates(advantage).tolist())
        return [
            {
                "prompt": turn.text,
                "reference": text(context, reference_number),
                "policy": text(context, policy_number),
                "preference": preference,
                "win_rate": win_rate,
            }
            for context, (turn, reference_number, policy_number, preference, win_rate) in enumerate(
                zip(self.game.turns, *columns, strict=True)
            )
        ]


def distinct(texts: list[str], n: int) -> float:
    """The share of distinct n-grams among all n-grams of words (arXiv:1510.03055)."""
    grams = [gram for text in texts for gram in zip(*(text.lower().split()[k:] for k in range(n)), strict=False)]
    return len(set(grams)) / len(grams) if grams else float("nan")
