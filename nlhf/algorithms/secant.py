"""Proximal point on a model of the game that is fitted to all answers so far, one query per iteration.

    h = prox(opponent = h, anchor = pi_k, lambda) in the smallest skew-symmetric game that gives every answer so far
    n(lambda') = prox(opponent = h, anchor = pi_k, lambda') in the game itself: one query for all lambda'

By identity (M), which holds for any h, with the excess e = (1 + lambda' beta) KL(h || n) - KL(h || pi_k):

    (1 + lambda' beta) KL(pi* || n) <= KL(pi* || pi_k) + e,  KL(pi* || pi_k) >= -e,  KL(pi* || BR(h)) <= KL(h || BR(h))

So every lambda' has a proved contraction factor of KL(pi* || pi), 1/(1 + lambda' beta) if e <= 0, and the best response
to h, lambda' = inf, has another one. The best of them gives pi_{k+1}. If no factor is below one, pi_k stays, and the
answer still improves the model. Whenever the product of the factors is above (1 + 2 beta)^(-(N-10)/3), two queries go
to a step of Nash-MP, which (M) covers: the total is at most 3/2 of Nash-MP's proved queries plus a constant. Contexts
are independent. See docs/mathematics.md, "Secant". Source: ours, based on arXiv:2505.19731.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

from nlhf.algorithms.base import ConfigError, Prox, ProximalAlgorithm, State, Tensor, TrainablePolicy
from nlhf.algorithms.secant_model import Answers
from nlhf.algorithms.secant_path import Path
from nlhf.algorithms.secant_steps import Trials, rounding
from nlhf.numerics import simplex
from nlhf.policies.tabular import TabularPolicy

CREDIT = 10  # queries for the model before its gain must show
MODEL, ANCHOR, HALF = 0.0, 1.0, 2.0  # the query is about: the model's solution; the two policies of a Nash-MP step


@dataclass(frozen=True)
class SecantState(State):
    """The policy, all answers, and two proved bounds on KL: exp(log_contraction) KL_0 and `remainder`."""

    rows: Tensor  # all answers but the last one, see `Answers`
    question: Tensor  # log-probabilities of the last query, (S, X, Y)
    answer: Tensor  # about it
    average: Tensor  # of the queried policies, (S, X, Y)
    queries: Tensor  # so far, (S, 1, 1)
    subject: Tensor  # of the next query: MODEL, ANCHOR or HALF, (S, X, 1)
    step_size: Tensor
    log_contraction: Tensor
    remainder: Tensor


@dataclass(frozen=True)
class Secant(ProximalAlgorithm):
    """Proximal point whose inner problems are solved in a model of the game.

    Args:
        memory: number of stored answers.
        grow, shrink: factors of the model's step after a long, or a short, accepted step.
    """

    memory: int
    grow: float
    shrink: float
    trials: Trials = field(init=False, repr=False, compare=False)  # set by `bind`

    sources = ("2505.19731",)
    needs = frozenset({"bilinear", "exact", "one-turn", "reverse-kl"})

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.memory < 2:
            raise ConfigError(f"algorithm.memory={self.memory} is too small: give 2 or more.")

    def check(self, beta: float) -> None:
        if beta == 0:
            raise ConfigError(
                "beta=0 makes every factor 1/(1 + lambda beta) that secant could prove equal to 1, so no step would be "
                "accepted: set beta > 0, or algorithm=proximal_point."
            )

    def bind(self, beta: Tensor) -> Self:
        bound = super().bind(beta)
        object.__setattr__(bound, "trials", Trials.of(beta, self.theory_step(beta)))
        return bound

    def init(self, policy: TrainablePolicy) -> SecantState:
        start = policy.log_probabilities
        zero = start.new_zeros(*start.shape[:2], 1)
        return SecantState(
            policy,
            rows=Answers.none(start, self.memory).rows,
            question=start,
            answer=start * 0,
            average=policy.probabilities,
            queries=policy.per_seed(),
            subject=zero,
            step_size=zero + self.step_size,
            log_contraction=zero,
            remainder=zero.reciprocal(),
        )

    def update(self, state: SecantState, prox: Prox) -> SecantState:
        reference, beta, subject = prox.reference.log_probabilities, prox.beta, state.subject
        anchor = state.policy.log_probabilities
        pull = (reference - anchor) * beta
        rows, log_query, tried = self.model(state, pull, beta)
        nash_mp = bool(subject.any().item())
        if nash_mp:
            half = simplex.proximal_step(anchor, reference, state.answer, beta, self.theory_step(beta))
            log_query = log_query.where(subject == MODEL, anchor.where(subject == ANCHOR, half))
        query = TabularPolicy(log_query)
        answer = prox.advantage(query)
        answer = answer - (query.probabilities * answer).sum(-1, keepdim=True)  # pi.A pi = 0
        noise = rounding(log_query, reference, beta)
        policy, taken, contraction, remainder = self.trials.best(query, anchor, pull + answer, noise, state.remainder)
        log_contraction = state.log_contraction + contraction.log()
        shorter = tried.where(taken > tried / 4, tried * self.shrink)
        step_size = (tried * self.grow).where(taken >= tried, shorter).clamp(1.0, 1e8)
        queries = state.queries + 1
        following = (log_contraction > (queries - CREDIT) * self.trials.promise).to(answer)  # behind: ANCHOR
        if nash_mp:
            step_size = step_size.where(subject == MODEL, state.step_size)
            following = following + ((subject == ANCHOR) & (taken == 0)).to(answer) * following
        return SecantState(
            TabularPolicy(policy),
            rows=rows,
            question=log_query,
            answer=answer,
            average=state.average.lerp(query.probabilities, queries.clamp(max=self.memory).reciprocal()),
            queries=queries,
            subject=following,
            step_size=step_size,
            log_contraction=log_contraction,
            remainder=remainder,
        )

    def model(self, state: SecantState, pull: Tensor, beta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The rows of all answers, the solution of the model's problem, (S, X, Y), and its step, (S, X, 1)."""
        policy = state.policy.log_probabilities
        tables = (state.rows, policy, state.step_size, pull, beta, state.average, state.question, state.answer)
        counts = state.queries.flatten().tolist()
        if len(set(counts)) == 1:
            return self.modelled(int(counts[0]), *tables)
        rows, solution, step = state.rows.clone(), policy.clone(), state.step_size.clone()
        for count in set(counts):  # seeds that stopped and go on have fewer queries
            seeds = state.queries[:, 0, 0] == count
            part = (table.expand(len(counts), *table.shape[1:])[seeds] for table in tables)
            rows[seeds], solution[seeds], step[seeds] = self.modelled(int(count), *part)
        return rows, solution, step

    def modelled(
        self,
        queries: int,
        rows: Tensor,
        anchor: Tensor,
        step_size: Tensor,
        pull: Tensor,
        beta: Tensor,
        average: Tensor,
        question: Tensor,
        answer: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """`model` for seeds with the same number of queries."""
        if queries == 0:
            return rows, anchor, step_size

        def flat(values: Tensor) -> Tensor:
            return values.expand(*anchor.shape[:2], values.shape[-1]).flatten(0, 1)[:, None]

        weights = flat(average.lerp(anchor.exp(), 1 / (min(queries, self.memory) + 1)).clamp(min=1e-300))
        mass, last = flat(question.exp()), flat(answer)
        answers = Answers.after(rows, queries - 1).with_answer(mass, last, weights)
        features, form = answers.game(weights)
        start = mass.bmm(features.mT)
        lacking = last - start.bmm(form).bmm(features)  # in the model's answer about the last question
        solution, step = Path(
            features, form, flat(anchor), flat(pull) + lacking, flat(beta), flat(step_size), start
        ).result()
        return answers.rows, solution.view_as(anchor), step.view_as(step_size)

    def theory_step(self, beta: Tensor) -> Tensor:
        return 2 * beta + 2 * (1 + beta**2).sqrt()

    def current_step(self, state: SecantState, beta: Tensor) -> Tensor:
        return state.step_size.mean(1, keepdim=True)

    def kl_bound(self, state: SecantState, iteration: Tensor, beta: Tensor, initial: Tensor) -> Tensor:
        contraction = state.log_contraction.amax(1, keepdim=True).exp()
        return (contraction * initial).minimum(state.remainder.mean(1, keepdim=True))
