"""The bounds of docs/mathematics.md, section 4, hold on random and adversarial games."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from nlhf.algorithms.adaptive import Adaptive
from nlhf.algorithms.nash_md import NashMD
from nlhf.algorithms.nash_mp import NashMP
from nlhf.algorithms.nash_rs import NashRS
from nlhf.algorithms.omd import OnlineMirrorDescent as MirrorDescent
from nlhf.algorithms.optimistic import Optimistic
from nlhf.algorithms.proximal_point import ProximalPoint
from nlhf.equilibria import metrics
from nlhf.numerics import simplex
from tests.adversarial import EPS, FAMILIES, Arena, arena, log_policy, matrix_game

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = (1e-2, 0.1, 0.45)  # beta; where the bounds decay slowly
LARGE = (0.55, 1.0, 4.0)
SCALES = (0.0, 2.0, 30.0)  # standard deviations of the reference's logits
PRECISIONS = (torch.float64, torch.float32)


def longest(beta):
    """The largest step of Nash-MP that identity (M) covers."""
    return 2 * beta + 2 * (1 + beta**2) ** 0.5


def eager(beta):
    """The largest step of optimistic mirror descent: its square is 1 + step beta."""
    return (beta + (beta**2 + 4) ** 0.5) / 2


def nash_rs(step):
    """Nash-RS with few samples, which only its count of calls depends on."""
    return NashRS(step, policy_samples=2, opponents=3, responses=4)


# name: an algorithm and its step (or the step for a beta); the proved bound on KL(pi* || pi_N) for N queries; betas
RATES = {
    "nash_mp, theory": (NashMP, "theory", lambda N, b, kl_0: (1 + 2 * b) ** (-N / 2) * kl_0, SMALL + LARGE),
    "nash_mp, .5": (NashMP, 0.5, lambda N, b, kl_0: (1 + b / 2) ** (-N / 2) * kl_0, SMALL + LARGE),
    "nash_mp, longest": (NashMP, longest, lambda N, b, kl_0: (-N * b.asinh()).exp() * kl_0, SMALL + LARGE),
    "omd, theory": (MirrorDescent, "theory", lambda N, b, kl_0: (1 + 4 * b**2) ** -N * kl_0, SMALL + LARGE),
    "omd, beta": (MirrorDescent, lambda b: b, lambda N, b, kl_0: (1 + b**2) ** -N * kl_0, SMALL + LARGE),
    "omd, 6 beta": (MirrorDescent, lambda b: 6 * b, lambda N, b, kl_0: (1 + 3 * b**2) ** -N * kl_0, SMALL + LARGE),
    "self_play": (MirrorDescent, math.inf, lambda N, b, kl_0: (4 * b**2) ** -N * kl_0, LARGE),
    "optimistic": (Optimistic, "theory", lambda N, b, kl_0: (1 + b * eager(b)) ** (1 - N) * kl_0, SMALL + LARGE),
    "nash_rs, theory": (nash_rs, "theory", lambda N, b, kl_0: (1 + 4 * b**2) ** (-N / 2) * kl_0, SMALL + LARGE),
    "nash_rs, beta": (nash_rs, lambda b: b, lambda N, b, kl_0: (1 + b**2) ** (-N / 2) * kl_0, SMALL + LARGE),
    "nash_md": (NashMD, "theory", lambda N, b, _: 1 / (2 * b**2 * (N + 1)), SMALL + LARGE),
}  # fmt: skip
LINEAR = ("nash_mp", "omd", "self_play", "nash_rs")  # every iteration contracts


def made(kind, step, beta):
    """An algorithm with a step that may depend on beta (S, 1, 1)."""
    return kind(step(beta) if callable(step) else step)


def graded(games, algorithm, iterations=40):
    """KL(pi* || pi_k), what is logged as its bound and what rounding may add, (K, S, X), and the queries (K, 1, 1)."""
    bound = algorithm.bind(games.beta)
    states, queries = zip(*games.states(bound, iterations), strict=True)
    policies = torch.stack([state.policy.log_probabilities for state in states])
    actual = simplex.kl(games.log_equilibrium, policies)
    counts = torch.arange(iterations + 1.0, dtype=torch.float64)[:, None, None, None].expand(-1, *games.beta.shape)
    logged = [bound.kl_bound(*each, games.beta, actual[0][..., None]) for each in zip(states, counts, strict=True)]
    asked = torch.tensor(queries, dtype=torch.float64)[:, None, None]
    return actual, torch.stack(logged)[..., 0], games.rounding(policies), asked


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", RATES)
def test_the_bound_of_theory_holds_and_is_the_one_that_is_logged(name, family, dtype):
    kind, step, promised, strengths = RATES[name]
    for n in (2, 13):
        games = arena(family, n, strengths, SCALES, dtype=dtype)
        actual, logged, rounding, queries = graded(games, made(kind, step, games.beta))
        by_hand = promised(queries[1:], games.beta[..., 0], actual[0])
        torch.testing.assert_close(logged[1:], by_hand, rtol=1e-12, atol=0)
        assert (actual <= logged * (1 + 1e-9) + rounding).all()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "name", [name for name in RATES if name.partition(",")[0] in ("nash_mp", "omd", "self_play", "nash_rs")]
)
def test_every_iteration_contracts_from_wherever_it_starts(name, family):
    kind, step, promised, strengths = RATES[name]
    games = arena(family, 13, strengths, SCALES)
    algorithm = made(kind, step, games.beta)
    for scale in (0.1, 1.0, 100.0):
        start = log_policy(scale, tuple(games.log_reference.shape), np.random.default_rng(7))
        *_, (state, queries) = games.states(algorithm, 1, start)
        before, after = (simplex.kl(games.log_equilibrium, p) for p in (start, state.policy.log_probabilities))
        assert (after <= promised(queries, games.beta[..., 0], before) * (1 + 1e-9)).all()


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("fraction", [0.02, 0.5, 0.9])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_constant_step_of_nash_md_contracts_to_its_noise(family, fraction, dtype):
    games = arena(family, 13, SMALL + LARGE, SCALES, dtype=dtype)
    actual, logged, rounding, _ = graded(games, NashMD(fraction / games.beta))
    assert (actual <= logged * (1 + 1e-9) + rounding).all()
    for before, after in itertools.pairwise(logged):  # equation (8) of docs/mathematics.md
        by_hand = (1 - fraction) * before + (fraction / games.beta[..., 0]) ** 2 / 8
        torch.testing.assert_close(after, by_hand, rtol=1e-12, atol=0)


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "algorithm",
    [
        Adaptive("theory", optimistic=False, grow=1.5, shrink=0.5),
        Adaptive("theory", optimistic=True, grow=1.2, shrink=0.5),
        ProximalPoint("theory", Adaptive("theory", optimistic=False, grow=1.5, shrink=0.5), None, 1.0, 1.0),
    ],
    ids=["adaptive_nash_mp", "adaptive_optimistic", "proximal_point"],
)
def test_contractions_that_are_proved_on_the_way_hold(algorithm, family, dtype):
    games = arena(family, 13, SMALL + LARGE, SCALES, dtype=dtype)
    actual, logged, rounding, _ = graded(games, algorithm)
    assert (actual <= logged * (1 + 1e-9) + rounding).all()
    assert (logged[-1] < actual[0] / 100).any()


def test_exploitability_and_squared_span_decay_at_the_rate_of_nash_mp():
    for family in FAMILIES:
        games = arena(family, 13, (1e-2, 0.1), (0.0, 2.0))
        policies = games.policies(NashMP("theory"), 200)
        early, late = (
            torch.stack([games.exploitability(p), simplex.span(p, games.log_equilibrium) ** 2, games.rounding(p)])
            for p in (policies[100], policies[200])
        )
        promised = (1 + 2 * games.beta[..., 0]) ** -100
        assert (late[:2] <= 2 * promised * early[:2] + 100 * late[2]).all()


# --- where the bounds end --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "last", "first_beyond"),
    [
        (NashMP, longest, lambda b: longest(b) * (1 + 1e-9)),
        (MirrorDescent, lambda b: 8 * b * (1 - 1e-9), lambda b: 8 * b),
        (Optimistic, eager, lambda b: eager(b) * (1 + 1e-9)),
    ],
    ids=["nash_mp", "omd", "optimistic"],
)
def test_no_bound_beyond_the_steps_that_are_covered(kind, last, first_beyond):
    beta, one = torch.tensor([1e-3, 0.1, 3.0], dtype=torch.float64)[:, None, None], torch.ones(3, 1, 1)
    for step, covered in ((last, True), (first_beyond, False)):
        bound = made(kind, step, beta).bind(beta).kl_bound(None, one, beta, one)
        assert (bound.isnan() != covered).all()


def test_no_bound_of_self_play_below_one_half():
    beta, one = torch.tensor([0.1, 0.5, 0.5 + 1e-9], dtype=torch.float64)[:, None, None], torch.ones(3, 1, 1)
    bound = MirrorDescent(math.inf).bind(beta).kl_bound(None, one, beta, one)
    assert bound.isnan().flatten().tolist() == [True, True, False]


def growth_of_a_wave(algorithm, beta, iterations):
    """By how much KL(pi* || pi) grows from 1e-12 of the slowest wave, on an odd cycle of certain preferences."""
    n = 101
    games = Arena(matrix_game(0.5 + 1.25 * (FAMILIES["cycle"](n, np.random.default_rng(0)) - 0.5)), UNIFORM, (beta,))
    wave = (2 * np.pi * torch.arange(n, dtype=torch.float64) / n).cos()
    policies = games.policies(algorithm, iterations, start=(UNIFORM + 1e-6 * wave).log_softmax(-1))
    first, last = (simplex.kl(UNIFORM, policies[k]).item() for k in (0, -1))
    return last / first


UNIFORM = torch.zeros(1, 1, 101, dtype=torch.float64).log_softmax(-1)
FREQUENCY = 1 / (202 * np.tan(np.pi / 202))  # of the wave: A pi turns it by this, 1/pi for many actions


@pytest.mark.parametrize(("factor", "grows"), [(0.9, False), (1.1, True)])
def test_online_mirror_descent_cycles_from_about_2_pi_squared_beta_on(factor, grows):
    beta = 0.02
    step = 2 * beta / (FREQUENCY**2 - beta**2)  # |1 + i step FREQUENCY| = 1 + step beta
    assert step == pytest.approx(2 * np.pi**2 * beta, rel=0.01)
    assert (growth_of_a_wave(MirrorDescent(factor * step), beta, 1000) > 1) is grows


@pytest.mark.parametrize(("factor", "grows"), [(1.05, False), (0.95, True)])
def test_self_play_cycles_below_one_over_pi(factor, grows):
    assert pytest.approx(1 / np.pi, rel=0.01) == FREQUENCY
    assert (growth_of_a_wave(MirrorDescent(math.inf), factor * FREQUENCY, 30) > 1) is grows


# --- where the algorithms rest ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("algorithm", [NashMP("theory"), MirrorDescent("theory"), MirrorDescent(math.inf)],
                         ids=["nash_mp", "omd", "self_play"])  # fmt: skip
def test_the_equilibrium_is_a_fixed_point(algorithm, family):
    games = arena(family, 13, SMALL + LARGE, SCALES)
    equilibrium = games.log_equilibrium
    after = games.policies(algorithm, 1, start=equilibrium)[-1]
    allowed = 4 * EPS * (equilibrium.abs().amax(-1) + games.log_reference.abs().amax(-1) + 1 / games.beta[..., 0])
    assert (simplex.span(after, equilibrium) <= allowed).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_nash_md_with_a_constant_step_is_online_mirror_descent_of_its_mixture_elsewhere(family):
    games, step = arena(family, 7, (0.3, 0.6), (0.0, 2.0)), 1.0
    other = Arena(games.game, games.log_reference, tuple(beta / (1 - step * beta) for beta in games.strengths))
    policies = torch.stack(games.policies(NashMD(step), 200))
    mixtures = simplex.geometric_mixture(policies, games.log_reference, step * games.beta)
    mirror_descent = torch.stack(other.policies(MirrorDescent(step), 200))
    torch.testing.assert_close(mixtures, mirror_descent, rtol=0, atol=1e-12)
    assert (simplex.span(mixtures[-1], other.log_equilibrium) < 1e-12).all()  # where it rests
    assert family == "near_half" or (simplex.span(policies[-1], games.log_equilibrium) > 1e-3).any()  # biased


@pytest.mark.parametrize("family", FAMILIES)
def test_nash_md_by_hand(family):
    """arXiv:2312.00886: pi_{k+1} ∝ mix exp(lambda P mix), mix ∝ pi_k^(1 - lambda beta) ref^(lambda beta)."""
    games = arena(family, 7, (0.3, 0.6), (0.0, 2.0))
    policy, beta = games.log_reference, games.beta
    preference = games.game.dense() + 0.5
    for k, (state, _) in enumerate(games.states(NashMD("theory"), 20)):
        torch.testing.assert_close(state.policy.log_probabilities, policy, rtol=0, atol=1e-12)
        step = 2 / (beta * (k + 2))
        torch.testing.assert_close(NashMD("theory").current_step(state, beta), step, rtol=1e-15, atol=0)
        mixture = ((1 - step * beta) * policy + step * beta * games.log_reference).log_softmax(-1)
        policy = (mixture + step * (preference @ mixture.exp()[..., None])[..., 0]).log_softmax(-1)


@pytest.mark.parametrize("family", FAMILIES)
def test_online_mirror_descent_with_an_infinite_step_answers_itself(family):
    games = arena(family, 13, LARGE, SCALES)
    policy = games.log_reference
    for stepped in games.policies(MirrorDescent(math.inf), 20):
        torch.testing.assert_close(stepped, policy, rtol=1e-12, atol=1e-12)
        policy = metrics.best_response(games.game.payoff(policy.exp()), games.log_reference, games.beta)
