"""A causal language model: actions are completions, contexts are prompts, and the base model is the reference.

What training changes are LoRA matrices, or all weights; every other policy of a run (opponent, anchor, moving target)
is another set of them, and the reference is the base model itself. Actions are numbers of completions, so that the
losses, the judge and the random streams are those of every other policy.
"""

from __future__ import annotations

from collections.abc import Mapping
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
    from nlhf.language.model import LanguageModel, Turn, Weights


@dataclass(frozen=True)
class CausalLM(PolicyFamily):
    """Which model, what of it is trained, and how completions are drawn.

    Args:
        model: a folder that transformers loads, a name on the hub, or `bundled`.
        lora: train LoRA matrices: true, false (all weights), or `auto` (above 200M parameters).
        lora_rank, lora_targets: rank of the matrices; the linear layers that get them, [] for all.
        max_new_tokens: where a completion is cut.
        temperature, top_p: of the draws; other values than 1 draw from another policy than the one that is trained.
        micro_batch: completions that go through the model at once; the results are the same up to rounding.
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

    def initial(self, log_reference: Tensor, game: FiniteGame, held_out: tuple[Tensor, Tensor] | None,
                seeds: list[int]) -> TrainablePolicy:  # fmt: skip
        raise ConfigError("policy=CausalLM needs prompts to complete: set game=text.")


@dataclass(frozen=True, eq=False)
class CausalLMPolicy(TrainablePolicy):
    """One set of weights (1, ...) by name, or None for the base model; the model and the prompts are shared.

    Args:
        weights, memory: what a checkpoint holds.
        model: evaluates them.
        turns: the prompts that are trained on.
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
        raise ConfigError("algorithm.step_size=theory depends here on the number of actions, and completions are not "
                          "counted: give a number.")  # fmt: skip

    def per_seed(self) -> Tensor:
        return next(iter(self.parameters.values())).new_zeros(1, 1, 1).double()

    def trained(self, parameters: Mapping[str, Tensor], memory: Memory | None) -> CausalLMPolicy:
        return replace(self, weights=dict(parameters), memory=memory)

    def at(self, contexts: Tensor | None, parameters: Mapping[str, Tensor] | None = None) -> Completions:
        assert self.model is not None
        chosen = range(len(self.turns)) if contexts is None else contexts[0].tolist()
        return Completions(self.model, ((parameters or self.weights, 1.0),), [self.turns[index] for index in chosen])

    def at_work(self, template: Policy) -> CausalLMPolicy:
        assert isinstance(template, CausalLMPolicy)
        return replace(self, model=template.model, turns=template.turns)

    def save(self, folder: Path) -> None:
        """`policy/`: an adapter that peft loads, or a model that transformers loads, and the tokenizer."""
        import torch

        assert self.model is not None
        module, own = self.model.module, dict(self.model.module.named_parameters())
        before = {name: own[name].detach().clone() for name in self.parameters}
        make_folder(folder)
        with replacing_folder(folder / "policy") as made, torch.no_grad():
            for name, value in self.parameters.items():
                own[name].copy_(value[0])
            try:
                module.save_pretrained(made)  # type: ignore[operator]
            finally:
                for name, value in before.items():
                    own[name].copy_(value)
            self.model.tokenizer.save_pretrained(made)

    def __getstate__(self) -> dict[str, Any]:
        return {"weights": self.weights, "memory": self.memory, "model": None, "turns": ()}


class Completions:
    """The completions of some prompts, of one model or of a token-wise geometric mixture: a `Categorical` whose actions
    cannot be listed.

    Args:
        model: shared.
        parts: sets of weights with their exponents.
        turns: B prompts.
    """

    def __init__(
        self, model: LanguageModel, parts: tuple[tuple[Weights | None, float], ...], turns: list[Turn]
    ) -> None:
        self.model, self.parts, self.turns = model, parts, turns
        self._known: list[tuple[Tensor, Tensor]] = []  # actions and their log-probabilities, with their graph
        self._origin: Completions | None = None

    def log_prob(self, actions: Tensor) -> Tensor:
        """log pi(y | x) of completions (1, B, k), float32; asked again about the same tensor, it says the same.

        Of a mixture, that of the mixture of sequences (what a KL term means), up to a number that depends on the prompt
        alone, which no loss but `sppo` sees; draws are from the mixture of tokens.
        """
        if self._origin is not None:
            return self._origin.log_prob(actions).detach()
        for seen, value in self._known:
            if seen is actions:
                return value
        import torch

        numbers = actions[0].tolist()
        prompts = [turn.tokens for turn, row in zip(self.turns, numbers, strict=True) for _ in row]
        completions = [self.model.completions[number] for row in numbers for number in row]
        shares = [share * self.model.log_prob(weights, prompts, completions) for weights, share in self.parts]
        value = torch.stack(shares).sum(0).view(actions.shape)
        self._known.append((actions, value))
        return value

    def sample(self, uniforms: Tensor) -> Tensor:
        """Completions (1, B, k) from numbers (1, B, k) on [0, 1), all drawn at once."""
        count = uniforms.shape[-1]
        prompts = [turn.tokens for turn in self.turns for _ in range(count)]
        drawn = self.model.sample(self.parts, prompts, uniforms.flatten().cpu().numpy())
        numbers = [self.model.number(tokens) for tokens in drawn]
        return uniforms.new_tensor(numbers).long().view(uniforms.shape)

    def detached(self) -> Completions:
        """The same, constant; what was computed for one is known to the other."""
        constant = tuple(
            (weights and {name: v.detach() for name, v in weights.items()}, w) for weights, w in self.parts
        )
        twin = Completions(self.model, constant, self.turns)
        twin._origin = self
        return twin

    def mixed(self, partner: Completions, weight: Tensor) -> Completions:
        """The token-wise geometric mixture with another one; weight (1, 1, 1) in [0, 1]."""
        share = float(weight)
        parts = [(own, w * (1 - share)) for own, w in self.parts] + [(own, w * share) for own, w in partner.parts]
        return Completions(self.model, tuple(part for part in parts if part[1] > 0), self.turns)
