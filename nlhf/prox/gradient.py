"""The gradient engine: steps of a torch optimiser on a surrogate of the problem, for any differentiable policy.

Each inner step draws contexts, actions and answers anew. The steps begin at `start`, by default at the policy with
which the iteration began. Sampled, one query is one pair that is put to the judge; with `samples` null expectations are
enumerated, and one query is one evaluation of y -> P(y > opponent).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from nlhf.config import ConfigError
from nlhf.games.feedback import Judge
from nlhf.numerics.streams import Uniforms
from nlhf.policies.base import Categorical, Memory
from nlhf.prox.base import Parts, ProxEngine, ProxFamily, as_mask
from nlhf.prox.draws import Enumerated, Problem, Sampled, seen
from nlhf.prox.surrogates import SURROGATES

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from nlhf.policies.base import Policy

BASELINE_RATE = 0.1  # by which the learned baseline follows the gains that were seen


@dataclass(frozen=True)
class GradientProx(ProxFamily):
    """Inner steps of an optimiser on a surrogate loss.

    Args:
        surrogate: the loss, see nlhf/prox/surrogates.py.
        inner_steps: optimiser steps for each problem.
        contexts: contexts in a batch, drawn with replacement; null takes all of them.
        samples: actions drawn in each context of the batch; null enumerates all actions.
        baseline: of the policy gradient: `half` (b = 1/2), `leave_one_out` (the mean gain of the other samples in the
            context), or `learned` (a running mean of the gain in each context).
        beta_dpo: of the logistic loss, in units of beta.
        optimiser: `adam`, `rmsprop` or `sgd`.
        learning_rate: of the first steps; at step t it is learning_rate/sqrt(1 + t/decay_steps).
        decay_steps: null keeps the learning rate.
        momentum: beta_1 of adam, momentum of the others.
        clip: largest norm of a seed's gradient, or null.
        carry: does the optimiser's memory go on from problem to problem, with the policy that it belongs to?
    """

    surrogate: Literal["policy_gradient", "pair", "ipo", "sppo", "logistic"]
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

    remedy = "a smaller prox.learning_rate, prox.clip=1, or more prox.samples may help"

    def __post_init__(self) -> None:
        for key, least in (("inner_steps", 1), ("contexts", 1), ("samples", 1)):
            value = getattr(self, key)
            if value is not None and value < least:
                raise ConfigError(f"prox.{key}={value} is too small: give {least} or more.")
        for key in ("learning_rate", "decay_steps", "clip", "beta_dpo"):
            value = getattr(self, key)
            if value is not None and not 0 < value < float("inf"):
                raise ConfigError(f"prox.{key}={value} is out of range: give a finite number > 0.")
        if not 0 <= self.momentum < 1:
            raise ConfigError(f"prox.momentum={self.momentum} is out of range: give a number in [0, 1).")
        if self.samples is not None and SURROGATES[self.surrogate].paired and self.samples % 2:
            raise ConfigError(f"prox.samples={self.samples} is odd, and prox.surrogate={self.surrogate} takes pairs: "
                              "give an even number.")  # fmt: skip
        if self.surrogate == "policy_gradient" and self.baseline == "leave_one_out" and self.samples == 1:
            raise ConfigError("prox.samples=1 leaves no other sample for prox.baseline=leave_one_out: give 2 or more.")

    @property
    def random(self) -> bool:  # type: ignore[override]
        """Does the seed draw the feedback, or the contexts of a batch?"""
        return self.samples is not None or self.contexts is not None

    @property
    def needs(self) -> frozenset[str]:
        answers = {"pairs", "sample"} if self.samples is not None else {"advantage", "enumerate"}
        alone = {"self-play"} if SURROGATES[self.surrogate].self_play else set()
        return frozenset({"gradient"} | answers | alone)

    @property
    def provides(self) -> frozenset[str]:
        return frozenset({self.surrogate} | ({"answers"} if self.samples is None else set()))

    @property
    def sources(self) -> tuple[str, ...]:
        return SURROGATES[self.surrogate].sources

    def caveat(self, beta: float) -> str | None:
        return SURROGATES[self.surrogate].caveat

    def engine(self, parts: Parts) -> ProxEngine:
        return GradientSteps(parts, self)


class GradientSteps(ProxEngine):
    """Solves problems approximately, by gradient steps."""

    def __init__(self, parts: Parts, options: GradientProx) -> None:
        super().__init__(parts)
        self.options, self.loss = options, SURROGATES[options.surrogate].loss
        self.uniforms = Uniforms(parts.seeds, parts.beta.device)
        self.judge = Judge(parts.game, parts.feedback, self.uniforms)
        self.steps = np.zeros(1, np.int64)  # of the optimiser, so far; views of this engine count on
        self.value = parts.beta.new_zeros(len(parts.seeds), len(parts.game.contexts))  # the learned baseline, (S, X)
        self.everywhere = self.value.new_tensor(range(self.value.shape[1])).long().expand_as(self.value)

    def __call__(self, *, opponent: Policy, anchor: Policy, step_size: Tensor, start: Policy | None = None) -> Policy:
        import torch

        start = self._checked(start or self.current or anchor)
        learned = {name: value.detach().clone().requires_grad_() for name, value in start.parameters.items()}
        optimiser = self._optimiser(learned, start.memory)
        like = next(iter(learned.values()))
        weights = [weight.to(like) for weight in (self.beta, 1 / step_size, self.options.beta_dpo * self.beta)]
        known: dict[Policy, Categorical] = {}
        for step in range(self.options.inner_steps):
            contexts = self._contexts()
            learner = start.at(contexts, learned)
            if contexts is not None:
                known.clear()
            if step == 0:
                known[start] = learner.detached()
            with torch.no_grad():
                others = seen((opponent, anchor, self.reference), contexts, known)
            problem = Problem(learner, *others, *weights)  # type: ignore[arg-type]
            self._descend(optimiser, learned, self._losses(problem, opponent, contexts))
        done = {name: value.detach() for name, value in learned.items()}
        return start.trained(done, self._memory(optimiser, learned) if self.options.carry else None)

    def _checked(self, start: Policy) -> Policy:
        """`start`, which must be of the class that the run trains.

        Raises: ConfigError.
        """
        trained = self.current
        if trained is not None and (type(start) is not type(trained) or not start.trainable):
            raise ConfigError(
                f"the algorithm calls prox with a start that this run cannot train (a {type(start).__name__} without "
                "the run's parameters): give start=state.policy, or leave start out."
            )
        return start

    def ask(self, policy: Policy, asking: np.ndarray) -> tuple[Tensor, int]:
        return self.game.payoff(policy.probabilities), 1

    def _contexts(self) -> Tensor | None:
        """Contexts (S, B) of a batch, or None for all."""
        if (count := self.options.contexts) is None:
            return None
        return (self.uniforms(count, active=self.active) * self.value.shape[1]).long()

    def _losses(self, problem: Problem, opponent: Policy, contexts: Tensor | None) -> Tensor:
        """The surrogate of every seed, (S)."""
        draws: Sampled | Enumerated
        where = self.everywhere if contexts is None else contexts
        if (samples := self.options.samples) is None:
            draws = Enumerated(self.game, lambda: self.advantage(opponent), where)
        else:
            draws = Sampled(self.judge, self.uniforms, problem.opponent, where, samples, self.active, self._centred)
        losses = self.loss(problem, draws)
        self.queries += draws.queries * self.active
        return losses

    def _centred(self, gain: Tensor, contexts: Tensor) -> Tensor:
        """Gains (S, B, m) less the baseline; the gain is P - 1/2 - m(y), so that b = 1/2 is none."""
        if self.options.baseline == "half":
            return gain
        if self.options.baseline == "leave_one_out":
            return (gain - gain.mean(-1, keepdim=True)) * (gain.shape[-1] / (gain.shape[-1] - 1))
        centred = gain - self.value.gather(1, contexts)[..., None]
        met = self.value.new_zeros(self.value.shape).scatter_add_(1, contexts, self.value.new_ones(contexts.shape))
        moved = self.value.new_zeros(self.value.shape).scatter_add_(1, contexts, centred.mean(-1).to(self.value))
        self.value += BASELINE_RATE * (moved / met.clamp(min=1)) * as_mask(self.active, self.value)[:, None]
        return centred

    def _descend(self, optimiser: torch.optim.Optimizer, learned: dict[str, Tensor], losses: Tensor) -> None:
        """One step along the gradient; a seed's gradient is that of its own loss."""
        import torch

        gradients = torch.autograd.grad(losses.sum(), list(learned.values()))
        if self.options.clip is not None:
            square = sum(gradient.flatten(1).square().sum(1) for gradient in gradients)
            shrink = (self.options.clip / square.sqrt()).clamp(max=1.0)  # type: ignore[union-attr]
            gradients = tuple(gradient * shrink.view(-1, *[1] * (gradient.ndim - 1)) for gradient in gradients)
        for value, gradient in zip(learned.values(), gradients, strict=True):
            value.grad = gradient
        if (decay := self.options.decay_steps) is not None:
            optimiser.param_groups[0]["lr"] = self.options.learning_rate / math.sqrt(1 + self.steps[0] / decay)
        optimiser.step()
        self.steps += 1

    def _optimiser(self, learned: dict[str, Tensor], memory: Memory | None) -> torch.optim.Optimizer:
        """A torch optimiser that goes on from what `memory` holds."""
        import torch

        rate, momentum = self.options.learning_rate, self.options.momentum
        optimiser: torch.optim.Optimizer
        if self.options.optimiser == "adam":
            optimiser = torch.optim.Adam(learned.values(), lr=rate, betas=(momentum, 0.999))
        else:
            kind = torch.optim.SGD if self.options.optimiser == "sgd" else torch.optim.RMSprop
            optimiser = kind(learned.values(), lr=rate, momentum=momentum)
        if memory is not None:
            for name, value in learned.items():
                moments = {key: moment.clone() for key, moment in memory.moments[name].items()}
                optimiser.state[value] = {**moments, "step": torch.tensor(float(memory.step))}
        return optimiser

    def _memory(self, optimiser: torch.optim.Optimizer, learned: dict[str, Tensor]) -> Memory:
        """What the optimiser has come to remember; its step count is one number for the batch."""
        states = {name: optimiser.state[value] for name, value in learned.items()}
        steps = [int(state["step"]) for state in states.values() if "step" in state]
        moments = {
            name: {key: moment for key, moment in state.items() if key != "step" and hasattr(moment, "ndim")}
            for name, state in states.items()
        }
        return Memory(max(steps, default=0), moments)

    def snapshot(self) -> dict[str, Any]:
        own = {"uniforms": self.uniforms.snapshot(), "steps": self.steps.tolist(), "value": self.value}
        return super().snapshot() | own

    def restore(self, snapshot: dict[str, Any]) -> None:
        super().restore(snapshot)
        self.uniforms.restore(snapshot["uniforms"])
        self.steps, self.value = np.array(snapshot["steps"], np.int64), snapshot["value"]
