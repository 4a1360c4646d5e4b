"""Gradient steps on a surrogate, with expectations that are sampled or enumerated."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from nlhf.config import ConfigError
from nlhf.games.feedback import Judge
from nlhf.numerics.streams import Uniforms
from nlhf.policies.base import TrainablePolicy
from nlhf.prox.base import Parts, ProximalProblem
from nlhf.prox.draws import Draws, Enumerated, Sampled
from nlhf.prox.engine import ProxEngine
from nlhf.prox.leading import followed, led
from nlhf.prox.ledger import as_mask
from nlhf.prox.optimiser import Optimiser, clipped, learning_rate
from nlhf.prox.problem import Problem, evaluated
from nlhf.prox.surrogates import SURROGATES

if TYPE_CHECKING:
    from torch import Tensor

    from nlhf.games.protocol import FiniteGame, PairGame
    from nlhf.policies.base import Policy
    from nlhf.policies.distributions import Distribution
    from nlhf.prox.gradient import GradientProx

BASELINE_RATE = 0.1  # of the running mean that is the learned baseline


class GradientSteps(ProxEngine):
    """Solves problems approximately, by gradient steps."""

    def __init__(self, parts: Parts[PairGame], options: GradientProx) -> None:
        super().__init__(parts)
        self.options, self.loss = options, SURROGATES[options.surrogate].loss
        self.uniforms = Uniforms(parts.seeds, parts.beta.device)
        self.steps = np.zeros(1, np.int64)  # of the optimiser so far; views of this engine share the count
        self.value = parts.beta.new_zeros(len(parts.seeds), len(parts.game.contexts))  # the learned baseline, (S, X)
        self.everywhere = self.value.new_tensor(range(self.value.shape[1])).long().expand_as(self.value)

    @abstractmethod
    def draws(self, problem: Problem, opponent: Policy, contexts: Tensor) -> Draws:
        """The source of the surrogate's expectations at contexts (S, B)."""

    def solve(self, problem: ProximalProblem) -> TrainablePolicy:
        opponent, anchor = problem.opponent, problem.anchor
        start = self._checked(problem.start or self.current or anchor)
        constants = opponent, problem.partner or opponent, anchor, self.reference
        made = self.problems(start, problem.step_size)
        cache: dict[Policy, Distribution] = {}

        def losses(learned: Mapping[str, Tensor], step: int) -> Tensor:
            contexts = self.batch_contexts()
            learner = start.at(contexts, learned)
            if contexts is not None:
                cache.clear()
            if step == 0:
                cache[start] = learner.detached()
            with torch.no_grad():
                fixed = evaluated(constants, contexts, cache)
            batch = made(learner, *fixed)
            return self.charged(batch, self.draws(batch, opponent, self.everywhere if contexts is None else contexts))

        return self.descended(start, losses)

    def problems(self, start: TrainablePolicy, step_size: Tensor) -> Callable[..., Problem]:
        """Makes the problem of a batch from its five distributions, in the precision of the parameters of `start`."""
        parameter = next(iter(start.parameters.values()))
        scales = self.beta, 1 / step_size, self.options.beta_dpo * self.beta
        beta, inverse_step, beta_dpo = (scale.to(parameter) for scale in scales)
        weighs = (True, True) if start.listed else (bool(beta.any()), bool(inverse_step.any()))  # waits for a device
        made = partial(Problem, beta=beta, inverse_step=inverse_step, beta_dpo=beta_dpo, alpha=self.options.alpha)
        return partial(made, regulariser=self.regulariser, weighs_reference=weighs[0], weighs_anchor=weighs[1])

    def charged(self, batch: Problem, draws: Draws) -> Tensor:
        """The loss of every seed, (S); its queries are charged."""
        losses = self.loss(batch, draws)
        self.ledger.charge(draws.queries, self.active)
        return losses

    def descended(
        self, start: TrainablePolicy, losses: Callable[[Mapping[str, Tensor], int], Tensor]
    ) -> TrainablePolicy:
        """The policy after `inner_steps` steps along gradients of the losses (S) of its parameters at each step."""
        optimiser = Optimiser(self.options, start)
        for step in range(self.options.inner_steps):
            self._descend(optimiser, losses(optimiser.learned, step))
        trained = {name: value.detach() for name, value in optimiser.learned.items()}
        return start.trained(trained, optimiser.memory if self.options.carry else None)

    def _checked(self, start: Policy) -> TrainablePolicy:
        """`start`, which must be of the class that the run trains.

        Raises: ConfigError.
        """
        foreign = self.current is not None and type(start) is not type(self.current)
        if not isinstance(start, TrainablePolicy) or not start.parameters or foreign:
            raise ConfigError(
                f"the algorithm calls prox with a start that this run cannot train (a {type(start).__name__} without "
                "the run's parameters): give start=state.policy, or leave start out."
            )
        return start

    def batch_contexts(self) -> Tensor | None:
        """Contexts (S, B) of a batch, or None for all."""
        if (count := self.options.contexts) is None:
            return None
        return (self.uniforms(count, active=self.active) * self.value.shape[1]).long()

    def _descend(self, optimiser: Optimiser, losses: Tensor) -> None:
        """One step of every seed along the gradient of its loss; losses (S)."""
        gradients = torch.autograd.grad(losses.sum(), list(optimiser.learned.values()))
        if self.options.clip is not None:
            gradients = clipped(gradients, self.options.clip)
        optimiser.step(gradients, learning_rate(self.options, int(self.steps[0])))
        self.steps += 1

    def snapshot(self) -> dict[str, Any]:
        state = {"uniforms": self.uniforms.snapshot(), "steps": self.steps.tolist(), "value": self.value}
        return super().snapshot() | state

    def restore(self, snapshot: dict[str, Any]) -> None:
        super().restore(snapshot)
        self.uniforms.restore(snapshot["uniforms"])
        self.steps, self.value = np.array(snapshot["steps"], np.int64), snapshot["value"]


class EnumeratedGradient(GradientSteps):
    """Expectations are sums over all actions."""

    def __init__(self, parts: Parts[FiniteGame], options: GradientProx) -> None:
        super().__init__(parts, options)
        self.game = parts.game

    def ask(self, policy: Policy, active: np.ndarray) -> tuple[Tensor, int]:
        return self.game.payoff(policy.probabilities), 1

    def draws(self, problem: Problem, opponent: Policy, contexts: Tensor) -> Draws:
        return Enumerated(self.game, lambda: self.advantage(opponent), contexts)


class SampledGradient(GradientSteps):
    """Expectations are means over a few actions, which are compared in pairs.

    Args:
        samples: actions drawn in each context.
    """

    def __init__(self, parts: Parts[PairGame], options: GradientProx, samples: int) -> None:
        super().__init__(parts, options)
        self.game, self.samples = parts.game, samples
        self.judge = Judge(parts.game, parts.feedback, self.uniforms)

    def ask(self, policy: Policy, active: np.ndarray) -> tuple[Tensor, int]:
        raise ConfigError(
            "the algorithm queries whole policies, but prox=gradient with prox.samples compares pairs "
            "only: set prox.samples=null or prox=sampled."
        )

    def draws(self, problem: Problem, opponent: Policy, contexts: Tensor) -> Draws:
        return Sampled(
            self.judge,
            self.uniforms,
            problem.opponent,
            contexts,
            self.samples,
            self.options.comparators,
            self.active,
            self.without_baseline,
        )

    def follow(self, policy: TrainablePolicy, step_size: Tensor) -> TrainablePolicy:
        return followed(self, policy, step_size)

    def lead(self, policy: TrainablePolicy, step_size: Tensor) -> TrainablePolicy:
        return led(self, policy, step_size)

    def without_baseline(self, gain: Tensor, contexts: Tensor) -> Tensor:
        """Gains (S, B, m) minus the baseline; the gain is P - 1/2 - m(y), so that b = 1/2 subtracts nothing."""
        if self.options.baseline == "half":
            return gain
        if self.options.baseline == "leave_one_out":
            return (gain - gain.mean(-1, keepdim=True)) * (gain.shape[-1] / (gain.shape[-1] - 1))
        centred = gain - self.value.gather(1, contexts)[..., None]
        counts = self.value.new_zeros(self.value.shape).scatter_add_(1, contexts, self.value.new_ones(contexts.shape))
        sums = self.value.new_zeros(self.value.shape).scatter_add_(1, contexts, centred.mean(-1).to(self.value))
        self.value += BASELINE_RATE * (sums / counts.clamp(min=1)) * as_mask(self.active, self.value)[:, None]
        return centred
