"""The policy of a causal language model: actions are completions, contexts are prompts.

Training changes LoRA matrices, or all weights. The other policies of a run (opponent, anchor, moving target) are other
sets of these weights, and the reference is the base model. An action is the number of a completion, so losses, judges
and random streams work as for every other policy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from nlhf.config import ConfigError
from nlhf.io.files import replacing_folder
from nlhf.io.links import make_folder
from nlhf.language.completions import Completions
from nlhf.language.reading import continued
from nlhf.models.content import InputModel
from nlhf.policies.base import Memory, Policy, PolicyFamily, TrainablePolicy

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from nlhf.games.protocol import FiniteGame
    from nlhf.language.model import LanguageModel
    from nlhf.language.reading import Answers, Turn


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
        micro_batch: completions that the model scores at once; null sets no limit. Results are the same up to rounding.
        micro_batch_tokens: tokens that the model scores at once, with padding; a prompt counts once, however many
            completions it has. null sets no limit.
        dtype: of the base model; `auto` is float32 on a CPU and bfloat16 elsewhere.
        trust_remote_code: let the hub's model run its own code here.
        shard: spread the frozen base model over the processes of torchrun: true, false (each has a copy), or `auto`
            (if a copy does not fit on one GPU).
        recompute: save only the inputs of each layer, and compute its activations again in the backward pass, which
            takes a third more time and much less memory (arXiv:1604.06174). Results are the same.
    """

    model: InputModel
    lora: bool | Literal["auto"]
    lora_rank: int
    lora_targets: tuple[str, ...] | list[str]
    max_new_tokens: int
    temperature: float
    top_p: float
    micro_batch: int | None
    dtype: Literal["auto", "float32", "bfloat16"]
    trust_remote_code: bool
    shard: bool | Literal["auto"] = "auto"  # missing in configs of older runs
    micro_batch_tokens: int | None = None  # missing in configs of older runs
    recompute: bool = False  # missing in configs of older runs

    provides: ClassVar[frozenset[str]] = frozenset({"gradient", "sample", "sees", "text"})
    needs: ClassVar[frozenset[str]] = frozenset({"prompts"})
    random: ClassVar[bool] = True
    averaged: ClassVar[bool] = False
    few_iterations: ClassVar[int] = 20
    spares_memory: ClassVar[str] = (
        "a smaller policy.micro_batch or policy.recompute=true, with which the run goes on, or a smaller "
        "policy.max_new_tokens"
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "lora_targets", tuple(self.lora_targets))
        for key in ("lora_rank", "max_new_tokens", "micro_batch", "micro_batch_tokens"):
            value = getattr(self, key)
            if value is not None and value < 1:
                raise ConfigError(f"policy.{key}={value} is too small: give 1 or more.")
        if not 0 < self.temperature < float("inf"):
            raise ConfigError(f"policy.temperature={self.temperature} is out of range: give a finite number > 0.")
        if not 0 < self.top_p <= 1:
            raise ConfigError(f"policy.top_p={self.top_p} is out of range: give a number in (0, 1].")
        if self.shard is True and self.recompute:
            raise ConfigError(
                "policy.shard=true and policy.recompute=true do not work together: set policy.recompute=false and a "
                "smaller policy.micro_batch."
            )
        if self.shard is True and self.lora is False:
            raise ConfigError(
                "policy.shard=true spreads a base model that is not trained, but policy.lora=false trains all weights: "
                "set policy.lora=true."
            )

    @property
    def caveat(self) -> str | None:
        if self.top_p == 1:
            return None
        return f"completions are drawn with policy.top_p={self.top_p}, so KL divergences and gradients are biased"

    def initial(self, log_reference: Tensor, game: FiniteGame, held_out: tuple[Tensor, Tensor] | None,
                seeds: list[int]) -> TrainablePolicy:  # fmt: skip
        raise ConfigError("policy=causal_lm needs prompts to complete: set game=text.")


@dataclass(frozen=True, eq=False)
class CausalLMPolicy(TrainablePolicy):
    """A set of weights of a language model at some prompts.

    Args:
        weights: one set by name, each (1, ...), or None for the base model.
        memory: of the optimiser.
        model: evaluates the weights; checkpoints do not hold it.
        turns: the prompts; checkpoints do not hold them.
        refine: the user's sentence that makes the model a follower: after it the same weights improve an answer.
            Checkpoints do not hold it.
    """

    weights: dict[str, Tensor] | None
    memory: Memory | None = None
    model: LanguageModel | None = field(default=None, repr=False)
    turns: tuple[Turn, ...] = field(default=(), repr=False)
    refine: str | None = None

    listed: ClassVar[bool] = False

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

    @property
    def follower(self) -> CausalLMPolicy:
        """The policy itself: leader and follower share the weights and differ in their prompts."""
        return self

    def with_follower(self, follower: TrainablePolicy | None = None) -> TrainablePolicy:
        return follower or self

    def after(self, contexts: Tensor, answers: Tensor, parameters: Mapping[str, Tensor] | None = None) -> Completions:
        """Completions of the chats in which `refine` follows each of the answers."""
        assert self.model is not None
        assert self.refine is not None
        turns = [
            continued(self.model, self.turns[context], self.model.answers(number)[-1], self.refine)
            for context, row in zip(contexts[0].tolist(), answers[0].tolist(), strict=True)
            for number in row
        ]
        return Completions(self.model, [(parameters or self.weights, 1.0)], turns)

    def at_work(self, template: Policy) -> CausalLMPolicy:
        assert isinstance(template, CausalLMPolicy)
        return replace(self, model=template.model, turns=template.turns, refine=template.refine)

    def stored(self, actions: Tensor) -> list[list[Answers]]:
        """The tokens of completions (1, n)."""
        assert self.model is not None
        return [[self.model.answers(number) for number in row] for row in actions.tolist()]

    def loaded(self, content: list[list[Answers]]) -> Tensor:
        import torch

        assert self.model is not None
        return torch.tensor([[self.model.number(*answers) for answers in row] for row in content])

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
        return {"weights": self.weights, "memory": self.memory, "model": None, "turns": (), "refine": None}
