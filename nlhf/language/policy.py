"""The policy of a causal language model: actions are completions, contexts are prompts.

Training changes LoRA matrices, or all weights. The other policies of a run (opponent, anchor, moving target) are other
sets of these weights, and the reference is the base model. An action is the number of a completion, so losses, judges
and random streams work as for every other policy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from nlhf.config import ConfigError
from nlhf.io.files import replacing_folder
from nlhf.io.links import make_folder
from nlhf.models.content import InputModel
from nlhf.policies.base import Memory, Policy, PolicyFamily, TrainablePolicy

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from nlhf.games.protocol import FiniteGame
    from nlhf.language.model import LanguageModel, Mixture, Turn


@dataclass(frozen=True)
class CausalLM(PolicyFamily):
    """The model, its trainable weights, and how completions are drawn.

    Args:
        model: a folder that transformers loads, a name on the hub, or `bundled`.
        lora: train LoRA matrices: true, false (all weights), or `auto` (above 200M parameters).
        lora_rank, lora_targets: rank of the matrices; the linear layers that get them, [] for all.
        max_new_tokens: limit of a completion.
        temperature: divides the logits of every policy, of the reference too.
        top_p: of the draws; below 1 they are not from the trained policy, and estimates of KL divergences are biased.
        micro_batch: completions that the model scores at once; the results are the same up to rounding.
        dtype: of the base model; `auto` is float32 on a CPU and bfloat16 elsewhere.
        trust_remote_code: let the hub's model run its own code here.
    """

    model: InputModel
    lora: bool | Literal["auto"]
    lora_rank: int
    lora_targets: tuple[str, ...] | list[str]
    max_new_tokens: int
    temperature: float
    top_p: float
    micro_batch: int
    dtype: Literal["auto", "float32", "bfloat16"]
    trust_remote_code: bool

    provides: ClassVar[frozenset[str]] = frozenset({"gradient", "sample", "text"})
    needs: ClassVar[frozenset[str]] = frozenset({"prompts"})
    random: ClassVar[bool] = True
    averaged: ClassVar[bool] = False
    few_iterations: ClassVar[int] = 20
    spares_memory: ClassVar[str] = "a smaller policy.micro_batch, with which the run goes on, or policy.max_new_tokens"

    def __post_init__(self) -> None:
        object.__setattr__(self, "lora_targets", tuple(self.lora_targets))
        for key in ("lora_rank", "max_new_tokens", "micro_batch"):
            if getattr(self, key) < 1:
                raise ConfigError(f"policy.{key}={getattr(self, key)} is too small: give 1 or more.")
        if not 0 < self.temperature < float("inf"):
            raise ConfigError(f"policy.temperature={self.temperature} is out of range: give a finite number > 0.")
        if not 0 < self.top_p <= 1:
            raise ConfigError(f"policy.top_p={self.top_p} is out of range: give a number in (0, 1].")

    @property
    def caveat(self) -> str | None:
        if self.top_p == 1:
            return None
        return f"completions are drawn with policy.top_p={self.top_p}, so KL divergences and gradients are biased"

    def initial(self, log_reference: Tensor, game: FiniteGame, held_out: tuple[Tensor, Tensor] | None,
                seeds: list[int]) -> TrainablePolicy:  # fmt: skip
        raise ConfigError("policy=CausalLM needs prompts to complete: set game=text.")


@dataclass(frozen=True, eq=False)
class CausalLMPolicy(TrainablePolicy):
    """A set of weights of a language model at some prompts.

    Args:
        weights: one set by name, each (1, ...), or None for the base model.
        memory: of the optimiser.
        model: evaluates the weights; checkpoints do not hold it.
        turns: the prompts; checkpoints do not hold them.
    """

    weights: dict[str, Tensor] | None
    memory: Memory | None = None
    model: LanguageModel | None = field(default=None, repr=False)
    turns: tuple[Turn, ...] = field(default=(), repr=False)

    @property
    def parameters(self) -> dict[str, Tensor]:
        return {} if self.weights is None else self.weights

    @property
    def actions(self) -> int:
        raise ConfigError(
            "algorithm.step_size=theory needs the number of actions, and completions cannot be counted: give a number."
        )

    def per_seed(self) -> Tensor:
        return next(iter(self.parameters.values())).new_zeros(1, 1, 1).double()

    def trained(self, parameters: Mapping[str, Tensor], memory: Memory | None) -> CausalLMPolicy:
        return replace(self, weights=dict(parameters), memory=memory)

    def at(self, contexts: Tensor | None, parameters: Mapping[str, Tensor] | None = None) -> Completions:
        assert self.model is not None
        turns = self.turns if contexts is None else [self.turns[context] for context in contexts[0].tolist()]
        return Completions(self.model, [(parameters or self.weights, 1.0)], turns)

    def at_work(self, template: Policy) -> CausalLMPolicy:
        assert isinstance(template, CausalLMPolicy)
        return replace(self, model=template.model, turns=template.turns)

    def save(self, folder: Path) -> None:
        """Write `policy/`: an adapter for peft, or a model for transformers, and the tokenizer."""
        import torch

        assert self.model is not None
        module: Any = self.model.module
        tensors = dict(module.named_parameters())
        previous = {name: tensors[name].detach().clone() for name in self.parameters}
        make_folder(folder)
        with replacing_folder(folder / "policy") as target, torch.no_grad():
            for name, value in self.parameters.items():
                tensors[name].copy_(value[0])
            try:
                module.save_pretrained(target)
            finally:
                for name, value in previous.items():
                    tensors[name].copy_(value)
            self.model.tokenizer.save_pretrained(target)

    def __getstate__(self) -> dict[str, Any]:
        return {"weights": self.weights, "memory": self.memory, "model": None, "turns": ()}


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

        numbers = actions[0].tolist()
        prompts = [turn.tokens for turn, row in zip(self.turns, numbers, strict=True) for _ in row]
        completions = [self.model.completions[number] for row in numbers for number in row]
        terms = [exponent * self.model.log_prob(weights, prompts, completions) for weights, exponent in self.mixture]
        value = torch.stack(terms).sum(0).view(actions.shape)
        self._computed.append((actions, value))
        return value

    def divergence_and_entropy(self, actions: Tensor) -> tuple[Tensor, Tensor]:
        """KL to the base model and entropy, summed over the steps of completions (1, B, k), float64 (1, B, k) each."""
        ((weights, exponent),) = self.mixture
        assert exponent == 1
        numbers = actions[0].tolist()
        prompts = [turn.tokens for turn, row in zip(self.turns, numbers, strict=True) for _ in row]
        completions = [self.model.completions[number] for row in numbers for number in row]
        divergence, entropy = self.model.divergence_and_entropy(weights, prompts, completions)
        return divergence.view(actions.shape), entropy.view(actions.shape)

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
