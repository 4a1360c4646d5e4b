"""The distributions of completions of prompts, from one language model or a mixture of several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from nlhf.language.model import LanguageModel, Mixture, Tokens, Turn


class Completions:
    """The distributions of completions at some prompts: a `Categorical` whose actions cannot be listed.

    Args:
        model: evaluates the weights.
        mixture: weights with exponents; several are a token-wise geometric mixture.
        turns: B prompts.
    """

    def __init__(self, model: LanguageModel, mixture: Mixture, turns: Sequence[Turn]) -> None:
        self.model, self.mixture, self.turns = model, mixture, turns
        self._computed: list[tuple[Tensor, Tensor]] = []  # actions and their log-probabilities, with their graph
        self._origin: Completions | None = None

    def log_prob(self, actions: Tensor) -> Tensor:
        """log pi(y | x) of completions (1, B, k), float32; cached for each tensor of actions.

        For a mixture it is the log-probability of the mixture of sequences, which a KL term needs, up to a constant for
        each prompt, which matters to the loss `sppo` only. Draws are from the mixture of tokens.
        """
        if self._origin is not None:
            return self._origin.log_prob(actions).detach()
        for tensor, value in self._computed:
            if tensor is actions:
                return value
        import torch

        rows = self._rows(actions)
        terms = [exponent * self.model.log_prob(weights, *rows) for weights, exponent in self.mixture]
        value = torch.stack(terms).sum(0).view(actions.shape)
        self._computed.append((actions, value))
        return value

    def divergence_and_entropy(self, actions: Tensor) -> tuple[Tensor, Tensor]:
        """KL to the base model and entropy, summed over the steps of completions (1, B, k), float64 (1, B, k) each."""
        ((weights, exponent),) = self.mixture
        assert exponent == 1
        divergence, entropy = self.model.divergence_and_entropy(weights, *self._rows(actions))
        return divergence.view(actions.shape), entropy.view(actions.shape)

    def _rows(self, actions: Tensor) -> tuple[list[Tokens], list[Tokens]]:
        """The prompts and the completions of actions (1, B, k), as B k rows."""
        numbers = actions[0].tolist()
        prompts = [turn.tokens for turn, row in zip(self.turns, numbers, strict=True) for _ in row]
        return prompts, [self.model.completions[number] for row in numbers for number in row]

    def sample(self, uniforms: Tensor) -> Tensor:
        """Completions (1, B, k) from numbers (1, B, k) on [0, 1); all are drawn together."""
        count = uniforms.shape[-1]
        prompts = [turn.tokens for turn in self.turns for _ in range(count)]
        drawn = self.model.sample(self.mixture, prompts, uniforms.flatten().cpu().numpy())
        numbers = [self.model.number(tokens) for tokens in drawn]
        return uniforms.new_tensor(numbers).long().view(uniforms.shape)

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
