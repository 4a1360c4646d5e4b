"""The world of a language model: its prompts, its judge, and what is measured on prompts that nobody is trained on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from nlhf.budget import SPARSE, Schedule
from nlhf.equilibria.metrics import Grades
from nlhf.language.game import TextGame
from nlhf.language.policy import CausalLMPolicy
from nlhf.numerics.streams import stream
from nlhf.stats.proportions import clopper_pearson

if TYPE_CHECKING:
    from nlhf.policies.base import Policy

UNSEEN = 10**9  # a place in a random stream that no training comes to


@dataclass(frozen=True)
class TextMeasure(Grades):
    """Grades a policy by completions of test prompts, drawn with the same random numbers at every row.

    Args:
        game: of the test prompts.
        base: the reference.
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
        """Nobody knows the equilibrium."""
        return torch.full((1,), float("nan"), dtype=torch.float64, device=self.game.model.device)

    def __call__(self, policy: Policy, average: Tensor | None) -> dict[str, Tensor]:
        """The columns of a row, each (1)."""
        drawn = self.completions(policy)
        model, where = self.game.model, torch.arange(len(self.game.turns))[None]
        advantage = self.game.compare(where, drawn, self.reference)
        with torch.no_grad():
            log_prob, log_base = (p.at(None).log_prob(drawn).double() for p in (self.here(policy), self.base))
        numbers = drawn.flatten().tolist()
        # Completions of one prompt depend on each other, so a prompt is the unit of intervals and standard errors.
        ratio, won = ((log_prob - log_base).mean(-1).flatten(), (advantage.sign() / 2 + 0.5).mean(-1).flatten())
        wins, count = float(won.sum()), won.numel()
        lengths = [len(model.completions[number]) for number in numbers]
        values = {
            "test_kl_to_reference": float(ratio.mean()),
            "kl_standard_error": float(ratio.std() / count**0.5) if count > 1 else float("nan"),
            "test_entropy": float(-log_prob.mean()),
            "test_win_rate_vs_reference": wins / count,
            "test_loss_rate_vs_reference": 1 - wins / count,
            **dict(zip(("win_rate_low", "win_rate_high"), clopper_pearson(wins, count), strict=True)),
            "preference_vs_reference": float(advantage.mean()) + 0.5,
            "tokens": float(np.mean(lengths)),
            "finished": float(np.mean([model.finished(number) for number in numbers])),
            "distinct_2": distinct([model.text(number) for number in numbers], 2),
            "judge_calls": float(self.game.judge.question_count),
        }
        return {name: torch.tensor([value], dtype=torch.float64) for name, value in values.items()}

    def snapshot(self) -> dict[str, Any]:
        return {"judge": self.game.judge.snapshot()}

    def restore(self, snapshot: dict[str, Any]) -> None:
        before = {"earlier": snapshot.get("judge_calls", 0)}  # of an older version
        self.game.judge.restore(snapshot.get("judge", before))

    def here(self, policy: Policy) -> CausalLMPolicy:
        """The policy at the test prompts."""
        assert isinstance(policy, CausalLMPolicy)
        return replace(policy, turns=self.game.turns)

    def completions(self, policy: Policy) -> Tensor:
        """Completions of the test prompts, (1, X, samples); drawn once."""
        if policy not in self._drawn:
            self._drawn[policy] = self._draw(self.here(policy), "game")
        return self._drawn[policy]

    @cached_property
    def _drawn(self) -> WeakKeyDictionary[Policy, Tensor]:
        return WeakKeyDictionary()

    @cached_property
    def reference(self) -> Tensor:
        """The base model's, with other random numbers."""
        return self._draw(self.base, "reference")

    def _draw(self, policy: CausalLMPolicy, use: str, position: int = 0, count: int | None = None) -> Tensor:
        uniforms = stream(self.seed, use, position).random((1, len(self.game.turns), count or self.samples))
        return policy.at(None).sample(torch.from_numpy(uniforms))

    def gains(self, first: Policy, second: Policy, beta: float, count: int) -> tuple[np.ndarray, np.ndarray]:
        """P_beta(first > second) - 1/2 and P(first > second) on every test prompt, (X) each, estimated without bias by
        `count` completions of either, of random numbers that no row has used."""
        sides = [self.here(policy) for policy in (first, second)]
        drawn = [self._draw(side, "feedback", UNSEEN + place * UNSEEN, count) for place, side in enumerate(sides)]
        advantage = self.game.compare(torch.arange(len(self.game.turns))[None], *drawn)
        with torch.no_grad():
            mine, other = ((side.at(None).log_prob(y).double() - self.base.at(None).log_prob(y).double()).cpu()
                           for side, y in zip(sides, drawn, strict=True))  # fmt: skip
        regularised = advantage - beta * mine + beta * other
        return regularised[0].mean(-1).numpy(), (advantage[0] + 0.5).mean(-1).numpy()

    def texts(self, policy: Policy) -> list[dict[str, Any]]:
        """Prompt, both completions and the judge's preference, for every test prompt."""
        drawn = self.completions(policy)
        where = torch.arange(len(self.game.turns))[None]
        told = self.game.compare(where, drawn, self.reference) + 0.5
        return [
            {"prompt": turn.text, "reference": self.game.model.text(theirs[0]), "policy": self.game.model.text(own[0]),
             "preference": told[0, place, 0].item()}
            for place, (turn, own, theirs) in enumerate(
                zip(self.game.turns, drawn[0].tolist(), self.reference[0].tolist(), strict=True))
        ]  # fmt: skip


def distinct(texts: list[str], n: int) -> float:
    """Distinct n-grams of words, as a share of all (arXiv:1510.03055)."""
    grams = [gram for text in texts for gram in zip(*(text.lower().split()[k:] for k in range(n)), strict=False)]
    return len(set(grams)) / len(grams) if grams else float("nan")
