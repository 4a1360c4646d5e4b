"""Gradient steps of a leader and of a follower that sees the leader's answer, from sampled answers.

Both are the policy gradient of their objective, with the reverse KL:

    follower  E_{y ~ pi} [P(omega(.|y) > y) - tau KL(omega(.|y) || ref(.|y)) - KL(omega(.|y) || anchor(.|y))/lambda_F]
    leader    E_{y ~ pi} [V^omega(y)] - beta KL(pi || ref) - KL(pi || anchor)/lambda
    V^omega(y) = E_{y' ~ omega(.|y)} [P(y > y') + tau log(omega(y'|y)/ref(y'|y))]

A follower's step draws one answer of the leader in each context of the batch, and the follower's answers to it. A
leader's step estimates V^omega without bias, from the follower's answers to each of the leader's. Leader and follower
may share parameters: each step differentiates one of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from nlhf.prox.draws import Sampled

if TYPE_CHECKING:
    from torch import Tensor

    from nlhf.policies.base import TrainablePolicy
    from nlhf.policies.distributions import Distribution
    from nlhf.prox.gradient_steps import SampledGradient


class AgainstAnswers(Sampled):
    """Draws of the follower's problem: the opponent is one answer of the leader in each context.

    Args:
        answers: (S, B, 1).
    """

    def __init__(self, engine: SampledGradient, opponent: Distribution, contexts: Tensor, answers: Tensor) -> None:
        super().__init__(*_inputs(engine, opponent, contexts))
        self.answers = answers

    def against_opponent(self, actions: Tensor) -> Tensor:
        return self.duel(actions, self.answers.expand_as(actions))


class AgainstFollower(Sampled):
    """Draws of the leader's problem: each answer is worth V^omega - 1/2.

    Args:
        policy: the leader with its follower.
        reference: of both.
        follower_beta: tau, (S, 1, 1).
    """

    def __init__(
        self, engine: SampledGradient, opponent: Distribution, contexts: Tensor, policy: TrainablePolicy
    ) -> None:
        super().__init__(*_inputs(engine, opponent, contexts))
        self.policy, self.reference, self.follower_beta = policy, engine.reference, _tau(engine)

    @torch.no_grad()
    def against_opponent(self, actions: Tensor) -> Tensor:
        follower, reference = (policy.after(self.contexts, actions) for policy in (self.policy, self.reference))
        numbers = self.uniforms(actions[0].numel(), self.comparators, active=self.active)
        replies = follower.sample(numbers)  # (S, B k, comparators)
        ratios = follower.log_prob(replies) - reference.log_prob(replies)
        wins = self.duel(actions.repeat_interleave(self.comparators, -1), replies.view(*actions.shape[:2], -1))
        gains = wins + self.follower_beta * ratios.to(wins).view(wins.shape)
        return gains.view(*actions.shape, self.comparators).mean(-1)


def _tau(engine: SampledGradient) -> Tensor:
    assert engine.follower_beta is not None
    return engine.follower_beta


def _inputs(engine: SampledGradient, opponent: Distribution, contexts: Tensor) -> tuple[Any, ...]:
    """The arguments of `Sampled`."""
    options = engine.options
    rules = engine.samples, options.comparators, engine.active, engine.without_baseline
    return engine.judge, engine.uniforms, opponent, contexts, *rules


def followed(engine: SampledGradient, policy: TrainablePolicy, step_size: Tensor) -> TrainablePolicy:
    """The policy after steps of its follower."""
    start = policy.follower
    made = engine.regularised(_tau(engine), engine.reference).problems(start, step_size)

    def losses(learned: Mapping[str, Tensor], step: int) -> Tensor:
        contexts = engine.batch_contexts()
        contexts = engine.everywhere if contexts is None else contexts
        with torch.no_grad():
            numbers = engine.uniforms(contexts.shape[1], 1, active=engine.active)
            answers = policy.at(contexts).sample(numbers)
        learner = policy.after(contexts, answers, learned)
        anchor = learner.detached() if step == 0 else policy.after(contexts, answers)
        reference = engine.reference.after(contexts, answers)
        batch = made(learner, anchor, anchor, anchor, reference)
        return engine.charged(batch, AgainstAnswers(engine, anchor, contexts, answers))

    return policy.with_follower(engine.descended(start, losses))


def led(engine: SampledGradient, policy: TrainablePolicy, step_size: Tensor) -> TrainablePolicy:
    """The policy after steps of the leader against its follower."""
    made = engine.problems(policy, step_size)

    def losses(learned: Mapping[str, Tensor], step: int) -> Tensor:
        contexts = engine.batch_contexts()
        learner = policy.at(contexts, learned)
        anchor = learner.detached() if step == 0 else policy.at(contexts)
        batch = made(learner, anchor, anchor, anchor, engine.reference.at(contexts))
        where = engine.everywhere if contexts is None else contexts
        return engine.charged(batch, AgainstFollower(engine, anchor, where, policy))

    return engine.descended(policy, losses)
