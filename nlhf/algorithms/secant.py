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

from dataclasses import dataclass

from nlhf.algorithms.base import ConfigError, Prox, ProximalAlgorithm, State, Tensor, TrainablePolicy
from nlhf.algorithms.secant_model import Path, smallest_game
from nlhf.equilibria import metrics
from nlhf.numerics import simplex
from nlhf.policies.tabular import TabularPolicy

CREDIT = 10  # queries for the model before its gain must show
DOUBLINGS = 36  # of the step that is always accepted, for the values of lambda' that are tried
MODEL, ANCHOR, HALF = 0.0, 1.0, 2.0  # the query is about: the model's solution; the two policies of a Nash-MP step


@dataclass(frozen=True)
class SecantState(State):
    """The policy, all answers, and two proved bounds on KL: exp(log_contraction) KL_0 and `remainder`."""

    questions: Tensor  # probabilities (S, X, m, Y), the newest first
    answers: Tensor
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

    sources = ("2505.19731",)
    needs = frozenset({"exact"})

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.memory < 2:
            raise ConfigError(f"algorithm.memory={self.memory} is too small: give 2 or more.")

    def check(self, beta: float) -> None:
        if beta == 0:
            raise ConfigError(
                "beta=0 leaves the secant method no contraction: set beta > 0, or algorithm=proximal_point."
            )

    def init(self, policy: TrainablePolicy) -> SecantState:
        seeds, contexts, actions = policy.log_probabilities.shape
        none = policy.log_probabilities.new_zeros(seeds, contexts, min(self.memory, 2 * actions), actions)
        zero = none[:, :, 0, :1] * 0
        step = zero + self.step_size
        return SecantState(policy, none, none, policy.per_seed(), zero, step, log_contraction=zero, remainder=1 / zero)

    def update(self, state: SecantState, prox: Prox) -> SecantState:
        anchor, reference, beta = state.policy.log_probabilities, prox.reference.log_probabilities, prox.beta
        half = simplex.proximal_step(anchor, reference, state.answers[:, :, 0], beta, self.theory_step(beta))
        solution, tried = self.model(state, reference, beta)
        subject = state.subject
        query = TabularPolicy(solution.where(subject == MODEL, anchor.where(subject == ANCHOR, half)))
        answer = prox.advantage(query)
        answer = answer - (query.probabilities * answer).sum(-1, keepdim=True)  # pi.A pi = 0
        policy, taken, log_contraction, remainder = self.step(state, query.log_probabilities, answer, reference, beta)
        step = tried.where(taken > tried / 4, (tried * self.shrink).clamp(min=1.0))
        step = (tried * self.grow).clamp(max=1e8).where(taken >= tried, step)
        behind = log_contraction > -(state.queries + 1 - CREDIT) * (2 * beta).log1p() / 3
        following = (beta * 0 + ANCHOR).where(behind, MODEL)
        following = (beta * 0 + HALF).where((subject == ANCHOR) & (taken == 0), following)
        return SecantState(
            TabularPolicy(policy),
            questions=pushed(query.probabilities, state.questions),
            answers=pushed(answer, state.answers),
            queries=state.queries + 1,
            subject=following,
            step_size=step.where(subject == MODEL, state.step_size),
            log_contraction=log_contraction,
            remainder=remainder,
        )

    def model(self, state: SecantState, reference: Tensor, beta: Tensor) -> tuple[Tensor, Tensor]:
        """The solution of the model's problem, (S, X, Y), and its step, (S, X, 1); one batch per query count."""
        solution, step = state.policy.log_probabilities.clone(), state.step_size.clone()
        contexts, rows, n = state.questions.shape[1:]
        for count in set(state.queries.flatten().tolist()) - {0.0}:
            seeds, stored = (state.queries == count)[:, 0, 0], min(int(count), rows)

            def flat(values: Tensor, seeds: Tensor = seeds) -> Tensor:
                return values.expand(len(seeds), contexts, *values.shape[2:])[seeds].flatten(0, 1)

            questions, answers = flat(state.questions[:, :, :stored]), flat(state.answers[:, :, :stored])
            anchor, strength = flat(state.policy.log_probabilities), flat(beta)
            weights = (questions.sum(1) + anchor.exp()) / (stored + 1)
            game = smallest_game(questions, answers, weights)
            path = Path(*game, anchor, flat(reference), strength, flat(state.step_size), questions[:, 0].log())
            log_policy, length = path.follow()
            solution[seeds], step[seeds] = log_policy.view(-1, contexts, n), length.view(-1, contexts, 1)
        return solution, step

    def step(
        self, state: SecantState, query: Tensor, answer: Tensor, reference: Tensor, beta: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The next policy, the step that was taken, log_contraction and remainder."""
        anchor, zero = state.policy.log_probabilities, state.step_size * 0
        moved, noise = kl(query, anchor), rounding(query, reference, beta)
        steps = [zero + self.theory_step(beta) * 2.0**doublings for doublings in range(-1, DOUBLINGS)]
        excesses, lower_bound = [], zero
        for step in steps:
            new = simplex.proximal_step(anchor, reference, answer, beta, step)
            excesses.append((1 + step * beta) * (kl(query, new) + noise) + noise - moved)
            lower_bound = lower_bound.maximum(-excesses[-1])  # of KL(pi* || pi)
        response = simplex.proximal_step(anchor, reference, answer, beta, 1 / zero)
        bound = kl(query, response) + noise
        taken, contraction, remainder = zero, zero + 1, state.remainder
        for step, excess in zip(steps, excesses, strict=True):
            worse, growth = excess.clamp(min=0.0), 1 + step * beta
            factor = (1 + (worse / lower_bound).where(worse > 0, 0.0)) / growth
            better = factor < contraction
            taken, contraction = step.where(better, taken), factor.where(better, contraction)
            remainder = ((state.remainder + worse) / growth).where(better, remainder)
        jump = bound < contraction * lower_bound
        policy = simplex.proximal_step(anchor, reference, answer, beta, taken).where(taken > 0, anchor)
        contraction = (bound / lower_bound).where(jump, contraction)
        return (
            response.where(jump, policy),
            (1 / zero).where(jump, taken),
            state.log_contraction + contraction.log(),
            bound.where(jump, remainder),
        )

    def theory_step(self, beta: Tensor) -> Tensor:
        return 2 * beta + 2 * (1 + beta**2).sqrt()

    def current_step(self, state: SecantState, beta: Tensor) -> Tensor:
        return state.step_size.mean(1, keepdim=True)

    def kl_bound(self, state: SecantState, iteration: Tensor, beta: Tensor, initial: Tensor) -> Tensor:
        contraction = state.log_contraction.amax(1, keepdim=True).exp()
        return (contraction * initial).minimum(state.remainder.mean(1, keepdim=True))


def pushed(new: Tensor, old: Tensor) -> Tensor:
    """Rows (S, X, m, Y) with `new` (S, X, Y) in front and without the last row."""
    rows = old.roll(1, 2)
    rows[:, :, 0] = new
    return rows


def kl(first: Tensor, second: Tensor) -> Tensor:
    """KL of log-probabilities (S, X, Y), shape (S, X, 1)."""
    return simplex.kl(first, second)[..., None]


def rounding(policy: Tensor, reference: Tensor, beta: Tensor) -> Tensor:
    """The rounding error of KL(policy || best response), (S, X, 1)."""
    return metrics.exploitability_floor(policy, reference, beta[..., 0])[..., None] / beta
