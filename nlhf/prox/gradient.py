"""The gradient engine: optimiser steps on a surrogate of the problem, for any differentiable policy.

Each inner step draws new contexts, actions and answers. One query is one compared pair; with `samples` null
expectations are enumerated, and one query evaluates y -> P(y > opponent).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from nlhf.config import ConfigError
from nlhf.prox.base import Parts, ProxFamily
from nlhf.prox.surrogates import SURROGATES

if TYPE_CHECKING:
    from nlhf.games.protocol import FiniteGame, PairGame
    from nlhf.prox.engine import ProxEngine


@dataclass(frozen=True)
class GradientProx(ProxFamily):
    """Inner steps of an optimiser on a surrogate loss.

    Args:
        surrogate: the loss, see nlhf/prox/surrogates.py.
        inner_steps: optimiser steps for each problem.
        contexts: contexts in a batch, drawn with replacement; null uses all of them.
        samples: actions drawn in each context of the batch; null enumerates all actions.
        baseline: of the policy gradient: `half` (b = 1/2), `leave_one_out` (the mean gain of the other samples in the
            context), or `learned` (a running mean of the gain in each context).
        beta_dpo: of the logistic loss, in units of beta.
        optimiser: `adam`, `rmsprop` or `sgd`.
        learning_rate: of the first step; at step t it is learning_rate/sqrt(1 + t/decay_steps).
        decay_steps: null for a constant learning rate.
        momentum: beta_1 of adam, momentum of the others.
        clip: largest norm of a seed's gradient, or null.
        carry: keep the optimiser's state from one problem to the next, together with its policy.
        alpha: weight of the log-likelihood term: exploration in `logistic` (XPO), damping in `enpo`.
        comparators: draws of the opponent that each action meets, where the loss compares actions with the opponent.
        weight_decay: every step multiplies the parameters by 1 - learning rate * weight_decay first, as AdamW does.
        recorded: take recorded pairs: a number of pairs that the reference draws and the judge compares once, or `file`
            for those of game.path or game.dataset; null draws new pairs in every step.
        warmup_steps: step t < warmup_steps has (t + 1)/warmup_steps times its learning rate.
    """

    surrogate: Literal["policy_gradient", "pair", "ipo", "uniform_pair", "sppo", "logistic", "likelihood", "enpo"]
    inner_steps: int
    contexts: int | None
    samples: int | None
    baseline: Literal["half", "leave_one_out", "learned"]
    beta_dpo: float
    optimiser: Literal["adam", "rmsprop", "sgd"]
    learning_rate: float
    decay_steps: float | None
    momentum: float
    clip: float | None
    carry: bool
    alpha: float = field(default=0.0, kw_only=True)
    comparators: int = field(default=1, kw_only=True)
    weight_decay: float = field(default=0.0, kw_only=True)
    warmup_steps: int = field(default=0, kw_only=True)
    recorded: int | Literal["file"] | None = field(default=None, kw_only=True)

    remedy = "a smaller prox.learning_rate, prox.clip=1, or more prox.samples may help"

    def __post_init__(self) -> None:
        for key, smallest in (("inner_steps", 1), ("contexts", 1), ("samples", 1), ("comparators", 1),
                              ("warmup_steps", 0)):  # fmt: skip
            value = getattr(self, key)
            if value is not None and value < smallest:
                raise ConfigError(f"prox.{key}={value} is too small: give {smallest} or more.")
        for key in ("learning_rate", "decay_steps", "clip", "beta_dpo"):
            value = getattr(self, key)
            if value is not None and not 0 < value < float("inf"):
                raise ConfigError(f"prox.{key}={value} is out of range: give a finite number > 0.")
        for key in ("alpha", "weight_decay"):
            if not 0 <= getattr(self, key) < float("inf"):
                raise ConfigError(f"prox.{key}={getattr(self, key)} is out of range: give a finite number >= 0.")
        if self.alpha > 0 and not SURROGATES[self.surrogate].likelihood:
            able = " or ".join(name for name, surrogate in SURROGATES.items() if surrogate.likelihood)
            raise ConfigError(
                f"prox.alpha={self.alpha} weighs a term that prox.surrogate={self.surrogate} does not have: set "
                f"prox.alpha=0, or prox.surrogate={able}."
            )
        self._check_recorded()
        if not 0 <= self.momentum < 1:
            raise ConfigError(f"prox.momentum={self.momentum} is out of range: give a number in [0, 1).")
        if self.samples is not None and SURROGATES[self.surrogate].paired and self.samples % 2:
            raise ConfigError(
                f"prox.samples={self.samples} is odd, and prox.surrogate={self.surrogate} takes pairs: "
                "give an even number."
            )
        if self.surrogate == "policy_gradient" and self.baseline == "leave_one_out" and self.samples == 1:
            raise ConfigError("prox.samples=1 leaves no other sample for prox.baseline=leave_one_out: give 2 or more.")

    def _check_recorded(self) -> None:
        """Refuse recorded pairs where the loss or the engine cannot use them, and losses that need them."""
        surrogate = SURROGATES[self.surrogate]
        if self.recorded is None:
            if not surrogate.online:
                raise ConfigError(
                    f"prox.surrogate={self.surrogate} needs recorded pairs: give prox.recorded=NUMBER, or file."
                )
            return
        if isinstance(self.recorded, int) and self.recorded < 1:
            raise ConfigError(f"prox.recorded={self.recorded} is too small: give 1 or more.")
        able = ", ".join(name for name, loss in SURROGATES.items() if loss.offline)
        if not surrogate.offline:
            raise ConfigError(
                f"prox.surrogate={self.surrogate} needs new answers, which recorded pairs do not have: set "
                f"prox.recorded=null, or one of {able}."
            )
        if self.samples is None:
            raise ConfigError(
                "prox.samples=null enumerates pairs instead of reading recorded ones: give prox.samples=2."
            )
        if self.alpha > 0:
            raise ConfigError(f"prox.alpha={self.alpha} rewards draws, and recorded pairs have none: set prox.alpha=0.")

    @property
    def random(self) -> bool:
        """True if the seed draws the feedback, or the contexts of a batch."""
        return self.samples is not None or self.contexts is not None

    @property
    def needs(self) -> frozenset[str]:
        answers = {"pairs", "sample"} if self.samples is not None else {"advantage", "enumerate"}
        surrogate = SURROGATES[self.surrogate]
        self_play = {"self-play"} if surrogate.self_play else set()
        reverse = set() if surrogate.any_regulariser else {"reverse-kl"}
        listed = {"enumerate"} if surrogate.listed else set()
        file = {"pair-file"} if self.recorded == "file" else set()
        return frozenset({"gradient", "one-turn"} | answers | self_play | reverse | listed | file)

    @property
    def provides(self) -> frozenset[str]:
        if self.samples is None:
            return frozenset({self.surrogate, "answers", "local"})
        recorded = {"recorded"} if self.recorded is not None else set()
        leads = self.surrogate == "policy_gradient" and self.baseline != "learned"
        return frozenset({self.surrogate} | ({"leads"} if leads else set()) | recorded)

    @property
    def cited(self) -> tuple[str, ...]:
        return SURROGATES[self.surrogate].sources

    def caveat(self, beta: float) -> str | None:
        if self.recorded is not None:
            return None  # the algorithm says where it rests
        surrogate = SURROGATES[self.surrogate]
        explores = self.alpha > 0 and surrogate.alpha_caveat
        return surrogate.caveat if not explores else "; ".join(filter(None, (surrogate.caveat, explores)))

    def engine(self, parts: Parts[FiniteGame]) -> ProxEngine:
        from nlhf.prox.gradient_steps import EnumeratedGradient  # torch

        return self.pair_engine(parts) if self.samples is not None else EnumeratedGradient(parts, self)

    def pair_engine(self, parts: Parts[PairGame]) -> ProxEngine:
        from nlhf.prox.gradient_steps import SampledGradient  # torch

        if self.samples is None:
            return super().pair_engine(parts)
        if self.recorded is None:
            return SampledGradient(parts, self, self.samples)
        from nlhf.prox.recorded import RecordedGradient

        return RecordedGradient(parts, self, self.samples)
