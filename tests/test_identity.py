"""Identity (M) of docs/mathematics.md, section 3, on which all rates rest, and the inequalities of sections 2 and 3.

It relates proximal step, KL and equilibrium: an error of any of them shows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from nlhf.equilibria import metrics
from nlhf.equilibria import solve as reference_equilibrium
from nlhf.games.matrix import MatrixGame
from nlhf.numerics import simplex
from tests.adversarial import FAMILIES, log_policy, matrix_game

pytestmark = pytest.mark.usefixtures("one_thread")


@dataclass(frozen=True)
class Problem:
    """A game with reference, beta and step size, and arbitrary policies h and a; policies are (1, 1, n)."""

    game: MatrixGame
    reference: Tensor
    h: Tensor
    a: Tensor
    beta: float
    step: float

    @cached_property
    def equilibrium(self) -> Tensor:
        advantage = self.game.dense()[0]
        return reference_equilibrium.solve(advantage, self.reference[0], self.beta).log_policy[None]

    @property
    def growth(self) -> float:
        return 1 + self.step * self.beta

    def prox(self, opponent: Tensor) -> Tensor:
        """With a as its anchor."""
        beta, step = (torch.full((1, 1, 1), value, dtype=torch.float64) for value in (self.beta, self.step))
        return simplex.proximal_step(self.a, self.reference, self.game.payoff(opponent.exp()), beta, step)

    def exploitability(self, policy: Tensor) -> float:
        beta = torch.tensor(self.beta, dtype=torch.float64)
        return metrics.exploitability_of(policy, self.game.payoff(policy.exp()), self.reference, beta).item()


def kl(p, q):
    return simplex.kl(p, q).item()


@st.composite
def problems(draw, strengths):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = draw(st.integers(2, 50))
    preference = FAMILIES[draw(st.sampled_from(list(FAMILIES)))](n, rng)
    reference = log_policy(draw(st.sampled_from([0.0, 1.0, 5.0, 30.0])), (1, 1, n), rng)
    h = log_policy(draw(st.sampled_from([0.1, 1.0, 10.0, 100.0])), (1, 1, n), rng)
    if draw(st.integers(0, 9)) == 0:
        h = torch.eye(n, dtype=torch.float64)[rng.integers(n)].log()[None, None]  # certain of one action
    a = log_policy(draw(st.sampled_from([0.1, 1.0, 10.0, 100.0])), (1, 1, n), rng)
    step = 10 ** draw(st.floats(-3, 3)) if draw(st.integers(0, 9)) else 1e9
    return Problem(matrix_game(preference), reference, h, a, draw(strengths), step)


REGULARISED = problems(st.floats(np.log10(1e-2), np.log10(5)).map(lambda exponent: 10**exponent))
UNREGULARISED = problems(st.just(0.0))
SETTINGS = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True, max_examples=100)


@SETTINGS
@given(REGULARISED)
def test_identity(problem):
    star, h, a, growth = problem.equilibrium, problem.h, problem.a, problem.growth
    n = problem.prox(opponent=h)
    left = growth * kl(star, n), problem.step * problem.beta * kl(h, star)
    right = kl(star, a), -kl(h, a), growth * kl(h, n)
    assert abs(sum(left) - sum(right)) < 1e-12 * max(map(abs, left + right))


@SETTINGS
@given(UNREGULARISED)
def test_identity_is_an_inequality_for_an_unregularised_equilibrium(problem):
    star, h, a = problem.equilibrium, problem.h, problem.a
    n = problem.prox(opponent=h)
    terms = kl(star, a), -kl(h, a), kl(h, n)
    slack = 1e-12 * (max(map(abs, terms)) + problem.step)  # the linear programme is exact to 1e-12, in payoff
    assert kl(star, n) <= sum(terms) + slack


@SETTINGS
@given(st.one_of(REGULARISED, UNREGULARISED))
def test_a_second_proximal_step_moves_less_than_opponents_differ(problem):
    half = problem.prox(opponent=problem.h)
    distance = (half.exp() - problem.h.exp()).abs().sum().item()
    bound = (problem.step * distance / problem.growth) ** 2 / 8
    assert kl(half, problem.prox(opponent=half)) <= bound * (1 + 1e-9) + 1e-24


@SETTINGS
@given(REGULARISED)
def test_exploitability_lies_between_divergences_from_the_equilibrium(problem):
    star, h, beta = problem.equilibrium, problem.h, problem.beta
    value, divergence = problem.exploitability(h), kl(h, star)
    assert beta * divergence * (1 - 1e-12) <= value <= (beta + 1 / (4 * beta)) * divergence * (1 + 1e-12)
    span = simplex.span(h, star).item()
    assert value <= (beta / 8 * span**2 + kl(star, h) / (4 * beta)) * (1 + 1e-12)


@SETTINGS
@given(REGULARISED)
def test_exploitability_is_what_the_best_response_gains(problem):
    policy, beta = problem.a, problem.beta
    answer = problem.game.payoff(policy.exp())
    response = metrics.best_response(answer, problem.reference, torch.tensor(beta, dtype=torch.float64))
    gain = (response.exp() * answer).sum().item() - beta * (kl(response, problem.reference))
    gain += beta * kl(policy, problem.reference)
    size = 1 + beta * (kl(response, problem.reference) + kl(policy, problem.reference))
    assert problem.exploitability(policy) == pytest.approx(gain, rel=0, abs=1e-13 * size)


@SETTINGS
@given(REGULARISED)
def test_the_equilibrium_is_close_to_the_reference(problem):
    distance = kl(problem.equilibrium, problem.reference)
    assert distance <= min(1 / (2 * problem.beta), 1 / (8 * problem.beta**2))
