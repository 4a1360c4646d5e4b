"""Proximal point on the game that all answers so far define, one query an iteration.

    h = prox(opponent = h, anchor = pi_k, lambda) in the smallest skew-symmetric game that gives every answer so far
    n(lambda') = prox(opponent = h, anchor = pi_k, lambda') in the game itself: one query for all lambda'

By identity (M), which holds for any h, with the excess e = (1 + lambda' beta) KL(h || n) - KL(h || pi_k):

    (1 + lambda' beta) KL(pi* || n) <= KL(pi* || pi_k) + e,  KL(pi* || pi_k) >= -e,  KL(pi* || BR(h)) <= KL(h || BR(h))

So every lambda' has a factor by which KL(pi* || pi) is proved to contract, 1/(1 + lambda' beta) where e <= 0, and the
best response to h, lambda' = inf, another. The best of them gives pi_{k+1}; where none is below one pi_k stays, and the
answer still teaches the model. Whenever the product of the factors is above (1 + 2 beta)^(-(N-10)/3), two queries go to
a step of Nash-MP, which (M) covers: never more than 3/2 of Nash-MP's proved queries and a few. Each context alone.
Source: ours, upon arXiv:2505.19731.
"""

from __future__ import annotations

from dataclasses import dataclass

from nlhf.algorithms.base import ConfigError, Prox, ProximalAlgorithm, State, Tensor, TrainablePolicy
from nlhf.algorithms.secant_model import Path, smallest_game
from nlhf.equilibria import metrics
from nlhf.numerics import simplex
from nlhf.policies.tabular import TabularPolicy

CREDIT = 10  # queries that may be spent on the model before its gain shows
DOUBLINGS = 36  # of the step that is always accepted: the lambda' that are tried
MODEL, ANCHOR, HALF = 0.0, 1.0, 2.0  # what is asked about: the model's solution; two queries of a step of Nash-MP


@dataclass(frozen=True)
class SecantState(State):
    """The policy, what is known, and two bounds that are proved, exp(log_contraction) KL_0 and `remainder`."""

    questions: Tensor  # probabilities (S, X, m, Y), the newest first
    answers: Tensor
    asked: Tensor  # queries so far (S, 1, 1)
    asking: Tensor  # MODEL, ANCHOR or HALF, (S, X, 1), as the others
    step_size: Tensor
    log_contraction: Tensor
    remainder: Tensor


@dataclass(frozen=True)
class Secant(ProximalAlgorithm):
    """Proximal point whose inner problems are solved in a model of the game.

    Args:
        memory: answers that are kept.
        grow, shrink: the model is asked for steps longer by `grow` than the last one taken, or shorter by `shrink`.
    """

    memory: int
    grow: float
    shrink: float

    sources = ("2505.19731",)
    needs = frozenset({"exact"})

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.memory < 2:
            raise ConfigError(f"algorithm.memory={self.memory} holds no model: give at least 2 answers.")

    def check(self, beta: float) -> None:
        if beta == 0:
            raise ConfigError("beta=0 leaves nothing that contracts: set beta > 0, or algorithm=proximal_point.")

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
        asking = state.asking
        asked = TabularPolicy(solution.where(asking == MODEL, anchor.where(asking == ANCHOR, half)))
        answer = prox.advantage(asked)
        answer = answer - (asked.probabilities * answer).sum(-1, keepdim=True)  # pi.A pi = 0: no constant matters
        policy, taken, log_contraction, remainder = self.step(state, asked.log_probabilities, answer, reference, beta)
        step = tried.where(taken > tried / 4, (tried * self.shrink).clamp(min=1.0))
        step = (tried * self.grow).clamp(max=1e8).where(taken >= tried, step)
        behind = log_contraction > -(state.asked + 1 - CREDIT) * (2 * beta).log1p() / 3
        following = (beta * 0 + ANCHOR).where(behind, MODEL)
        following = (beta * 0 + HALF).where((asking == ANCHOR) & (taken == 0), following)
        return SecantState(
            TabularPolicy(policy),
            questions=pushed(asked.probabilities, state.questions),
            answers=pushed(answer, state.answers),
            asked=state.asked + 1,
            asking=following,
            step_size=step.where(asking == MODEL, state.step_size),
            log_contraction=log_contraction,
            remainder=remainder,
        )

    def model(self, state: SecantState, reference: Tensor, beta: Tensor) -> tuple[Tensor, Tensor]:
        """The solution of the model's problem, (S, X, Y), and for which step, (S, X, 1), a seed with its like."""
        solution, step = state.policy.log_probabilities.clone(), state.step_size.clone()
        contexts, rows, n = state.questions.shape[1:]
        for count in set(state.asked.flatten().tolist()) - {0.0}:
            seeds, kept = (state.asked == count)[:, 0, 0], min(int(count), rows)

            def flat(values: Tensor, seeds: Tensor = seeds) -> Tensor:
                return values.expand(len(seeds), contexts, *values.shape[2:])[seeds].flatten(0, 1)

            questions, answers = flat(state.questions[:, :, :kept]), flat(state.answers[:, :, :kept])
            anchor, here = flat(state.policy.log_probabilities), flat(beta)
            weights = (questions.sum(1) + anchor.exp()) / (kept + 1)
            game = smallest_game(questions, answers, weights)
            path = Path(*game, anchor, flat(reference), here, flat(state.step_size), questions[:, 0].log())
            found, length = path.follow()
            solution[seeds], step[seeds] = found.view(-1, contexts, n), length.view(-1, contexts, 1)
        return solution, step

    def step(self, state: SecantState, asked: Tensor, answer: Tensor, reference: Tensor,
             beta: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
        """The next policy, the step that was taken, log_contraction and remainder."""
        anchor, zero = state.policy.log_probabilities, state.step_size * 0
        moved, noise = kl(asked, anchor), rounding(asked, reference, beta)
        steps = [zero + self.theory_step(beta) * 2.0**doublings for doublings in range(-1, DOUBLINGS)]
        excesses, least = [], zero
        for step in steps:
            new = simplex.proximal_step(anchor, reference, answer, beta, step)
            excesses.append((1 + step * beta) * (kl(asked, new) + noise) + noise - moved)
            least = least.maximum(-excesses[-1])  # KL(pi* || pi) is no less
        response = simplex.proximal_step(anchor, reference, answer, beta, 1 / zero)
        bound = kl(asked, response) + noise
        taken, contraction, remainder = zero, zero + 1, state.remainder
        for step, excess in zip(steps, excesses, strict=True):
            worse, growth = excess.clamp(min=0.0), 1 + step * beta
            factor = (1 + (worse / least).where(worse > 0, 0.0)) / growth
            better = factor < contraction
            taken, contraction = step.where(better, taken), factor.where(better, contraction)
            remainder = ((state.remainder + worse) / growth).where(better, remainder)
        jump = bound < contraction * least
        policy = simplex.proximal_step(anchor, reference, answer, beta, taken).where(taken > 0, anchor)
        contraction = (bound / least).where(jump, contraction)
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
    """A row (S, X, Y) in front of rows (S, X, m, Y), the last of which is dropped."""
    rows = old.roll(1, 2)
    rows[:, :, 0] = new
    return rows


def kl(first: Tensor, second: Tensor) -> Tensor:
    """KL of log-probabilities (S, X, Y), (S, X, 1)."""
    return simplex.kl(first, second)[..., None]


def rounding(policy: Tensor, reference: Tensor, beta: Tensor) -> Tensor:
    """What rounding may take from KL(policy || best response), (S, X, 1)."""
    return metrics.exploitability_floor(policy, reference, beta[..., 0])[..., None] / beta
