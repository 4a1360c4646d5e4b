"""The distributions of completions or dialogues at prompts, from one language model or a mixture of several."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np

from nlhf.config import ConfigError
from nlhf.language.reading import following, turns_of

if TYPE_CHECKING:
    from torch import Tensor

    from nlhf.language.model import LanguageModel, Mixture
    from nlhf.language.reading import Answers, Tokens, Turn

BELOW_ONE = 1 - 2**-53  # the largest number of a random stream


class Completions:
    """The distributions of completions at some prompts: a `Categorical` whose actions cannot be listed.

    Args:
        model: evaluates the weights.
        mixture: weights with exponents; several are a token-wise geometric mixture.
        turns: B prompts; with a script, an action is a dialogue, and its log-probability that of all its answers.
    """

    def __init__(self, model: LanguageModel, mixture: Mixture, turns: Sequence[Turn]) -> None:
        self.model, self.mixture, self.turns = model, mixture, turns
        self._values: dict[tuple[int, int], Tensor] = {}  # log-probabilities by prompt and action, with their graph
        self._announced: list[tuple[int, int]] = []
        self._origin: Completions | None = None

    def log_prob(self, actions: Tensor) -> Tensor:
        """log pi(y | x) of completions (1, B, k), float32; each is evaluated once.

        For a mixture it is the log-probability of the mixture of sequences, which a KL term needs, up to a constant for
        each prompt, which matters to the loss `sppo` only. Draws are from the mixture of tokens.
        """
        if self._origin is not None:
            return self._origin.log_prob(actions).detach()
        import torch

        keys = _keys(actions)
        if missing := [key for key in dict.fromkeys(keys + self._announced) if key not in self._values]:
            with torch.set_grad_enabled(torch.is_grad_enabled() and self._learns):
                self._values |= zip(missing, self._evaluated(missing).unbind(), strict=True)
        return torch.stack([self._values[key] for key in keys]).view(actions.shape)

    def announce(self, *actions: Tensor) -> None:
        """Evaluate all these actions in one pass once the log-probability of any action is asked."""
        (self._origin or self)._announced += [key for tensor in actions for key in _keys(tensor)]

    def _evaluated(self, keys: Sequence[tuple[int, int]]) -> Tensor:
        """The log-probabilities of actions at prompts, (n)."""
        import torch

        rows = self._rows(keys)
        terms = [exponent * self.model.log_prob(weights, *rows) for weights, exponent in self.mixture]
        return torch.stack(terms).sum(0).view(-1, len(keys)).sum(0)

    @property
    def _learns(self) -> bool:
        """True if gradients reach some of the weights."""
        return any(value.requires_grad for weights, _ in self.mixture for value in (weights or {}).values())

    def divergence_and_entropy(self, actions: Tensor) -> tuple[Tensor, Tensor]:
        """KL to the base model and entropy, summed over the steps of completions (1, B, k), float64 (1, B, k) each."""
        ((weights, exponent),) = self.mixture
        assert exponent == 1
        sums = self.model.divergence_and_entropy(weights, *self._rows(_keys(actions)))
        divergence, entropy = sums.view(2, -1, *actions.shape).sum(1)
        return divergence, entropy

    def _rows(self, keys: Sequence[tuple[int, int]]) -> tuple[list[Tokens], list[Tokens]]:
        """What the model reads before the answers of actions at prompts, and the answers: n rows of each turn."""
        drawn = [(self.turns[row], self.model.answers(number)) for row, number in keys]
        turns = zip(*(turns_of(self.model, turn, answers) for turn, answers in drawn), strict=True)
        prompts = [turn.tokens for row in turns for turn in row]
        return prompts, [answer for row in zip(*(answers for _, answers in drawn), strict=True) for answer in row]

    def sample(self, uniforms: Tensor) -> Tensor:
        """Completions (1, B, k) from numbers (1, B, k) on [0, 1); all are drawn together, turn by turn.

        Where the log-probabilities of the draws are those of the actions, no further forward pass computes them.
        """
        turns = [turn for turn in self.turns for _ in range(uniforms.shape[-1])]
        levels = uniforms.flatten().cpu().numpy()
        drawn: list[Answers] = [()] * len(turns)
        scores: list[Tensor | None] = []
        script = turns[0].script
        for number in range(1 if script is None else script.turns):
            if number > 0:
                turns = [following(self.model, turn, answers[-1]) for turn, answers in zip(turns, drawn, strict=True)]
            prompts = [turn.tokens for turn in turns]
            new, values = self.model.scored_sample(self.mixture, prompts, _of_turn(levels, number))
            scores.append(values)
            drawn = [(*answers, answer) for answers, answer in zip(drawn, new, strict=True)]
        numbers = [self.model.number(*answers) for answers in drawn]
        actions = uniforms.new_tensor(numbers).long().view(uniforms.shape)
        sums = [value for value in scores if value is not None]
        if self._is_constant and len(sums) == len(scores):
            self._values |= zip(_keys(actions), sum(sums[1:], sums[0]).unbind(), strict=True)
        return actions

    @property
    def _is_constant(self) -> bool:
        """True for a single model without gradients: the log-probabilities of its draws are those of its actions."""
        return len(self.mixture) == 1 and self.mixture[0][1] == 1 and not self._learns and self._origin is None

    def at_rows(self, rows: Sequence[int]) -> Completions:
        """The same distributions at some of the prompts, by their positions."""
        return Completions(self.model, self.mixture, [self.turns[row] for row in rows])

    def detached(self) -> Completions:
        """The same distributions without gradients; they share the computed log-probabilities."""
        constant = [
            (weights and {name: value.detach() for name, value in weights.items()}, exponent)
            for weights, exponent in self.mixture
        ]
        copy = Completions(self.model, constant, self.turns)
        copy._origin = self
        return copy

    def mixed(self, partner: Completions, weight: Tensor) -> Completions:
        """The token-wise geometric mixture with another model; weight (1, 1, 1), any number."""
        share = float(weight)
        mixture = [(weights, exponent * (1 - share)) for weights, exponent in self.mixture]
        mixture += [(weights, exponent * share) for weights, exponent in partner.mixture]
        return Completions(self.model, [part for part in mixture if part[1] != 0], self.turns)

    def averaged(self, others: Sequence[Completions], weights: Sequence[Tensor]) -> Average:
        parts = zip((self, *others), map(float, weights), strict=True)
        return Average(tuple((part, weight) for part, weight in parts if weight > 0))


@dataclass(frozen=True, eq=False)
class Average:
    """The distribution that draws each completion from one of several distributions.

    Args:
        parts: the distributions with their weights, which are positive and sum to 1.
    """

    parts: tuple[tuple[Completions, float], ...]

    def log_prob(self, actions: Tensor) -> Tensor:
        """The logarithm of the mean probability of completions (1, B, k)."""
        import torch

        return torch.stack([part.log_prob(actions) + math.log(weight) for part, weight in self.parts]).logsumexp(0)

    def announce(self, *actions: Tensor) -> None:
        for part, _ in self.parts:
            part.announce(*actions)

    def sample(self, uniforms: Tensor) -> Tensor:
        """Completions (1, B, k); a number chooses the part, and its position within the part's share the completion."""
        actions = uniforms.new_zeros(uniforms.shape).long()
        ends = [*accumulate(weight for _, weight in self.parts[:-1]), math.inf]
        for (part, weight), start, end in zip(self.parts, [0.0, *ends], ends, strict=False):
            chosen = (uniforms >= start) & (uniforms < end)
            if prompts := chosen[0].nonzero()[:, 0].tolist():
                levels = ((uniforms[chosen] - start) / weight).clamp(max=BELOW_ONE)
                actions[chosen] = part.at_rows(prompts).sample(levels[None, :, None])[0, :, 0]
        return actions

    def detached(self) -> Average:
        return Average(tuple((part.detached(), weight) for part, weight in self.parts))

    def mixed(self, partner: Average, weight: Tensor) -> Average:
        raise ConfigError("the algorithm mixes averages of language models token by token: mix single policies.")

    def averaged(self, others: Sequence[Average], weights: Sequence[Tensor]) -> Average:
        parts = zip((self, *others), map(float, weights), strict=True)
        return Average(tuple((part, share * weight) for average, share in parts for part, weight in average.parts))


def _keys(actions: Tensor) -> list[tuple[int, int]]:
    """Actions (1, B, k) as pairs of the position of their prompt and their number."""
    return [(row, number) for row, numbers in enumerate(actions[0].tolist()) for number in numbers]


def _of_turn(levels: np.ndarray, number: int) -> np.ndarray:
    """Numbers on [0, 1) for the answers of one turn, from one for each dialogue, which is that of its first answer."""
    if number == 0:
        return levels
    return np.array([np.random.default_rng([int(level * 2**53), number]).random() for level in levels])
