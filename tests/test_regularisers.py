"""Regularisers of docs/mathematics.md, "Other regularisers": steps, divergences, equilibria, (M) and rates."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
import yaml
from scipy.optimize import minimize
from scipy.special import wrightomega

import nlhf
from nlhf.algorithms.adaptive import Adaptive
from nlhf.algorithms.nash_mp import NashMP
from nlhf.algorithms.omd import OnlineMirrorDescent
from nlhf.algorithms.optimistic import Optimistic
from nlhf.analysis.figures.presets.regularisers import config_name
from nlhf.config import ConfigError
from nlhf.equilibria.solve import solve
from nlhf.games.feedback import Feedback
from nlhf.numerics import simplex
from nlhf.numerics.wright_omega import wright_omega
from nlhf.policies.tabular import TabularPolicy
from nlhf.prox.base import Parts
from nlhf.prox.exact import ExactProx
from nlhf.regularisers.chi_square import ChiSquare
from nlhf.regularisers.mixed import ForwardKL, Mixed
from nlhf.regularisers.reverse_kl import ReverseKL
from nlhf.runner.chosen import CONF
from tests.adversarial import FAMILIES, log_policy, matrix_game

pytestmark = pytest.mark.usefixtures("one_thread")

INF = math.inf
OTHERS = [ForwardKL(), Mixed(0.3), ChiSquare()]
ALL = [ReverseKL(), *OTHERS]
PLAIN = Feedback(votes_per_pair=None, orders="given", flip=0.0, position_bias=0.0)


def table(*rows):
    return torch.tensor(rows, dtype=torch.float64)


def scalar(value):
    return torch.tensor([value], dtype=torch.float64)


def stepped(regulariser, anchor, reference, gain, beta, step_size):
    """The proximal step of log-probabilities (n)."""
    return regulariser.step(anchor, reference, gain, *regulariser.weights(scalar(beta), scalar(step_size)), None)


def drawn(rng, spread_of_anchor=2.0, spread_of_reference=2.0, n=5):
    """Anchor, reference and gains of one problem, (n) each."""
    gain = torch.from_numpy(rng.uniform(-0.5, 0.5, n))
    return log_policy(spread_of_anchor, (n,), rng), log_policy(spread_of_reference, (n,), rng), gain


# --- formulas --------------------------------------------------------------------------------------------------------


def test_wrights_omega_is_that_of_scipy():
    u = torch.cat([torch.linspace(-690, 800, 20_001), torch.linspace(-5, 8, 20_001), torch.logspace(0, 15, 101)])
    u = u.double()
    expected = torch.from_numpy(wrightomega(u.numpy()).real)
    rounding = 4e-16 * (1 + u.abs().clamp(max=-u.clamp(max=0) + 4))  # a rounded u changes v by (1 + |u|) eps below 0
    assert ((wright_omega(u) / expected - 1).abs() <= rounding).all()
    assert wright_omega(scalar(-1e9)) < 1e-300


def polished(regulariser, anchor, reference, gain, beta, inverse_step, start):
    """The step to 40 digits, by Newton's method on log pi and nu from `start`, and the first residual."""
    mp = pytest.importorskip("mpmath")
    mp.mp.dps = 40
    anchor, reference, gain, point = ([mp.mpf(float(x)) for x in v] for v in (anchor, reference, gain, start))
    beta, inverse_step, share = mp.mpf(beta), mp.mpf(inverse_step), mp.mpf(getattr(regulariser, "share", 1.0))

    def conditions(point, nu):
        for t, base, a, g in zip(point, reference, anchor, gain, strict=True):
            ratio = mp.e ** (base - t)
            value, slope = share * (t - base) - (1 - share) * ratio, share + (1 - share) * ratio
            if isinstance(regulariser, ChiSquare):
                value, slope = 1 / ratio - 1, 1 / ratio
            yield beta * value + inverse_step * (t - a) - g + nu, beta * slope + inverse_step

    nu = -sum(value for value, _ in conditions(point, 0)) / len(point)
    for _ in range(6):
        pairs, mass = list(conditions(point, nu)), [mp.e**t for t in point]
        weight = sum(p / slope for p, (_, slope) in zip(mass, pairs, strict=True))
        gap = sum(-p * value / slope for p, (value, slope) in zip(mass, pairs, strict=True))
        move = (gap - (1 - sum(mass))) / weight
        point = [t - (value + move) / slope for t, (value, slope) in zip(point, pairs, strict=True)]
        nu += move
    return torch.tensor([float(t) for t in point], dtype=torch.float64)


@pytest.mark.parametrize("spreads", [(1, 0), (3, 2), (100, 5)])
@pytest.mark.parametrize(
    ("beta", "step_size"),
    [(0.05, 2.0), (1e-3, 2.0), (1.0, 0.1), (0.01, 1e4), (0.01, 1e9), (4.0, 1e-3), (0.1, INF)],
)
@pytest.mark.parametrize("regulariser", OTHERS, ids=str)
def test_a_step_is_exact_to_rounding(regulariser, beta, step_size, spreads):
    problem = drawn(np.random.default_rng(0), *spreads)
    step = stepped(regulariser, *problem, beta, step_size)
    if step.isinf().any():  # a best response outside the interior has its own test
        assert step_size == INF
        return
    expected = polished(regulariser, *problem, beta, 1 / step_size, step)
    assert ((step - expected).abs() <= 1e-13 * expected.abs().clamp(min=1)).all()


def gained(regulariser, anchor, reference, gain, beta, inverse_step, policy):
    """The objective of a proximal problem at a distribution (n), as numpy."""
    p, a, ref = policy, np.exp(anchor.numpy()), np.exp(reference.numpy())
    share = getattr(regulariser, "share", 1.0)
    penalty = share * np.sum(p * np.log(p / ref)) - (1 - share) * np.sum(ref * np.log(p / ref))
    if isinstance(regulariser, ChiSquare):
        penalty = np.sum((p - ref) ** 2 / (2 * ref))
    return p @ gain.numpy() - beta * penalty - inverse_step * np.sum(p * np.log(p / a))


@pytest.mark.parametrize("step_size", [0.5, 5.0, INF])
@pytest.mark.parametrize("regulariser", ALL, ids=str)
def test_a_step_is_where_a_general_minimiser_ends(regulariser, step_size):
    rng = np.random.default_rng(3)
    for beta in (0.1, 1.0):
        anchor, reference, gain = problem = drawn(rng, 1.0, 0.5)
        result = minimize(
            lambda p, problem=problem, beta=beta: -gained(regulariser, *problem, beta, 1 / step_size, p),
            np.full(5, 0.2),
            method="SLSQP",
            bounds=[(1e-12, 1.0)] * 5,
            constraints={"type": "eq", "fun": lambda p: p.sum() - 1},
            options={"ftol": 1e-15, "maxiter": 500},
        )
        step = stepped(regulariser, anchor, reference, gain, beta, step_size).exp().numpy()
        np.testing.assert_allclose(step, result.x, atol=2e-5)


@pytest.mark.parametrize("regulariser", OTHERS, ids=str)
def test_steps_of_seeds_and_contexts_do_not_depend_on_their_neighbours(regulariser):
    rng = np.random.default_rng(1)
    anchor, reference = log_policy(2.0, (3, 2, 6), rng), log_policy(1.0, (3, 2, 6), rng)
    gain = torch.from_numpy(rng.uniform(-0.5, 0.5, (3, 2, 6)))
    beta, step_size = table([[0.1]], [[1.0]], [[0.01]]), table([[2.0]], [[INF]], [[1e3]])
    together = regulariser.step(anchor, reference, gain, *regulariser.weights(beta, step_size), None)
    for seed, context in itertools.product(range(3), range(2)):
        one = (values[seed, context] for values in (anchor, reference, gain))
        alone = stepped(regulariser, *one, float(beta[seed]), float(step_size[seed]))
        torch.testing.assert_close(together[seed, context], alone, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("regulariser", ALL, ids=str)
def test_slopes_curvatures_and_divergences_are_those_of_the_value(regulariser):
    rng = np.random.default_rng(2)
    p, q, reference = (log_policy(1.5, (6,), rng) for _ in range(3))
    mass = q.exp().requires_grad_()
    slope = regulariser.slope(mass.log(), reference)
    value = regulariser.value(q, reference) + (slope.detach() * (p.exp() - q.exp())).sum()
    expected = regulariser.value(p, reference) - value
    assert regulariser.divergence(p, q, reference).item() == pytest.approx(expected.item(), rel=1e-11)
    (curvature,) = torch.autograd.grad(slope.sum(), mass)
    torch.testing.assert_close(1 / regulariser.inverse_curvature(q, reference), curvature)
    finite = regulariser.finite_slope(mass.log(), reference)
    torch.testing.assert_close(slope - finite, -regulariser.barrier(reference) / mass)
    if finite.requires_grad:
        (curvature,) = torch.autograd.grad(finite.sum(), mass)
        torch.testing.assert_close(regulariser.finite_curvature(q, reference), curvature)


@pytest.mark.parametrize("regulariser", ALL, ids=str)
def test_a_divergence_of_near_policies_is_exact(regulariser):
    reference = log_policy(1.0, (6,), np.random.default_rng(5))
    nudge = table(1.0, -0.5, 0.3, 0.2, -0.8, 0.1) * 1e-11
    near, far = ((reference + nudge * size).log_softmax(-1) for size in (1.0, 1e4))
    small, large = (regulariser.divergence(policy, reference, reference) for policy in (near, far))
    assert (small * 1e8 / large).item() == pytest.approx(1, rel=1e-3)


@pytest.mark.parametrize("regulariser", ALL, ids=str)
def test_divergences_are_convex_relative_to_kl(regulariser):
    rng = np.random.default_rng(4)
    for spread in (0.1, 1.0, 5.0):
        p, q, reference = (log_policy(spread, (400, 5), rng) for _ in range(3))
        divergence, kl = regulariser.divergence(p, q, reference), simplex.kl(p, q)
        for sigma in (regulariser.convexity(reference), regulariser.convexity_at(q, reference)):
            least = sigma if isinstance(sigma, float) else sigma[:, 0]
            assert (divergence >= least * kl * (1 - 1e-9)).all()


@pytest.mark.parametrize("regulariser", ALL, ids=str)
def test_exploitability_is_the_gap_that_the_best_response_gains(regulariser):
    rng = np.random.default_rng(6)
    for beta in (0.02, 0.3, 2.0):
        policy, reference, _ = drawn(rng, 2.0, 1.0, n=7)
        advantage = torch.from_numpy(FAMILIES["uniform"](7, rng) - 0.5)
        gain = advantage @ policy.exp()
        response = regulariser.response(gain, reference, scalar(beta)).log_policy
        assert response.exp().sum().item() == pytest.approx(1, rel=1e-14)
        gap = response.exp() @ gain - beta * (
            regulariser.value(response, reference) - regulariser.value(policy, reference)
        )
        measured = regulariser.exploitability(policy, gain, reference, torch.tensor(beta, dtype=torch.float64))
        assert measured.item() == pytest.approx(gap.item(), rel=1e-11)
        for other in (policy, reference, log_policy(1.0, (7,), rng)):
            worse = other.exp() @ gain - beta * (
                regulariser.value(other, reference) - regulariser.value(policy, reference)
            )
            assert worse <= measured + 1e-15


# --- equilibria and identity (M) -------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("regulariser", OTHERS, ids=str)
def test_equilibria_are_certified(regulariser, family):
    rng = np.random.default_rng(7)
    for beta, spread in itertools.product((1.0, 0.01), (0.0, 5.0)):
        advantage = torch.from_numpy(np.stack([FAMILIES[family](9, rng) for _ in range(3)]) - 0.5)
        solved = solve(advantage, log_policy(spread, (3, 9), rng), beta, regulariser=regulariser)
        assert solved.certified.all()
        assert solved.method == "interior point"


def test_a_certificate_notices_a_wrong_equilibrium():
    from nlhf.equilibria.certificates import recertify

    advantage, reference = torch.zeros(1, 3, 3, dtype=torch.float64), log_policy(1.0, (1, 3), np.random.default_rng(0))
    wrong = (reference + 1e-4 * table([1.0, 0.0, -1.0])).log_softmax(-1)
    for regulariser in OTHERS:
        right, shifted = (recertify(advantage, p, reference, 0.1, regulariser=regulariser) for p in (reference, wrong))
        assert right.certified
        assert not shifted.certified


def test_chi_square_gives_up_actions_and_the_forward_kl_does_not():
    preference = [[0.5, 0.9, 0.9], [0.1, 0.5, 0.8], [0.1, 0.2, 0.5]]
    given_up = nlhf.equilibrium(preference, 0.05, regulariser="chi_square")
    assert given_up.certified
    np.testing.assert_array_equal(np.exp(given_up.log_policy), [1, 0, 0])
    forward = nlhf.equilibrium(preference, 0.05, regulariser="forward_kl")
    assert forward.certified
    assert (np.exp(forward.log_policy) > 0.01).all()
    assert nlhf.exploitability(preference, forward.log_policy, 0.05, regulariser="forward_kl") < 1e-20
    assert nlhf.exploitability(preference, forward.log_policy, 0.05) > 1e-3


@pytest.mark.parametrize("regulariser", ALL, ids=str)
def test_identity_m(regulariser):
    """An equation where the equilibrium is interior, an inequality elsewhere."""
    rng, equations = np.random.default_rng(8), 0
    for family, beta in itertools.product(FAMILIES, (0.02, 0.3, 2.0)):
        n = int(rng.integers(2, 12))
        advantage = torch.from_numpy(FAMILIES[family](n, rng) - 0.5)
        reference = log_policy(1.0, (n,), rng)
        star = solve(advantage[None], reference[None], beta, regulariser=regulariser).log_policy[0]
        for step_size in (0.1, 2.0, 50.0):
            h, anchor = log_policy(2.0, (n,), rng), log_policy(2.0, (n,), rng)
            new = stepped(regulariser, anchor, reference, advantage @ h.exp(), beta, step_size)
            strength = scalar(step_size * beta)
            of_star = regulariser.contraction(star, new, reference, strength)
            of_h = regulariser.contraction(h, new, reference, strength)
            left = of_star.total, strength * regulariser.divergence(h, star, reference)
            right = simplex.kl(star, anchor), -simplex.kl(h, anchor), of_h.total
            excess = (sum(left) - sum(right)).item()
            size = max(abs(term).max().item() for term in left + right)
            assert excess <= 1e-11 * size
            assert (of_star.total >= of_star.growth * of_star.kl * (1 - 1e-12)).all()
            if star.isfinite().all():
                equations += 1
                assert abs(excess) <= 1e-11 * size
    assert equations > 20


# --- rates -----------------------------------------------------------------------------------------------------------


def run(regulariser, algorithm, family, beta, iterations, n=6):
    """KL(pi* || pi_k) and its bound, (K, S)."""
    rng, seeds = np.random.default_rng(9), 3
    game = matrix_game(np.stack([FAMILIES[family](n, rng)[None] for _ in range(seeds)]))
    log_reference, strength = log_policy(0.7, (seeds, 1, n), rng), torch.full((seeds, 1, 1), beta, dtype=torch.float64)
    solved = solve(game.dense()[:, 0], log_reference[:, 0], beta, regulariser=regulariser)
    assert solved.certified.all()
    reference = TabularPolicy(log_reference)
    prox = ExactProx().engine(Parts(game, reference, strength, list(range(seeds)), PLAIN, regulariser))
    bound = algorithm.bind(prox.strength)
    state, measured, bounds = bound.init(reference), [], []
    initial = simplex.kl(solved.log_policy[:, None], log_reference)[..., None]
    for k in range(iterations + 1):
        measured.append(simplex.kl(solved.log_policy[:, None], state.policy.log_probabilities)[:, 0])
        count = torch.full((seeds, 1, 1), float(k), dtype=torch.float64)
        bounds.append(bound.kl_bound(state, count, prox.strength, initial)[:, 0, 0])
        state = bound.update(state, prox)
    return torch.stack(measured), torch.stack(bounds), prox.strength[:, 0, 0]


ALGORITHMS = {
    "nash_mp": NashMP("theory"),
    "optimistic": Optimistic("theory"),
    "omd": OnlineMirrorDescent("theory"),
    "adaptive_nash_mp": Adaptive("theory", optimistic=False, grow=1.5, shrink=0.5),
    "adaptive_optimistic": Adaptive("theory", optimistic=True, grow=1.2, shrink=0.5),
}


@pytest.mark.parametrize("family", ["uniform", "circle", "bradley_terry"])
@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize("regulariser", ALL, ids=str)
def test_the_bounds_hold_with_beta_sigma(regulariser, name, family):
    if name == "omd" and isinstance(regulariser, ChiSquare):
        return  # refused: sigma = 0 leaves it no step
    for beta in (0.05, 0.5):
        measured, bounds, _ = run(regulariser, ALGORITHMS[name], family, beta, 25)
        assert bounds.isfinite().all()
        assert (measured <= bounds * (1 + 1e-9) + 1e-26).all()


@pytest.mark.parametrize("regulariser", [ReverseKL(), ForwardKL(), Mixed(0.3)], ids=str)
def test_an_iteration_of_nash_mp_contracts_by_its_factor(regulariser):
    """By (1 + lambda beta sigma)^-1 or less."""
    for beta in (0.03, 0.3):
        measured, bounds, strength = run(regulariser, NashMP("theory"), "circle", beta, 20)
        factor = 1 / (1 + 2 * strength)
        torch.testing.assert_close(bounds[1:] / bounds[:-1], factor.expand(20, -1))
        above = measured[:-1] > 1e-20
        assert (measured[1:] / measured[:-1] <= factor * (1 + 1e-9))[above].all()


def test_no_step_of_nash_mp_up_to_2_lets_chi_square_rise():
    for family in FAMILIES:
        measured, bounds, _ = run(ChiSquare(), NashMP("theory"), family, 0.02, 30)
        assert (measured[1:] <= measured[:-1] * (1 + 1e-9) + 1e-20).all()
        assert (bounds == bounds[0]).all()


def test_the_acceptance_test_is_sharp_enough_to_reject():
    """With the divergence of another regulariser, steps that KL would accept are rejected."""
    for regulariser in OTHERS:
        long = Adaptive(500.0, optimistic=False, grow=1.5, shrink=0.5)
        measured, bounds, _ = run(regulariser, long, "circle", 0.05, 30)
        assert (measured <= bounds * (1 + 1e-9) + 1e-26).all()
        assert (bounds[1] == bounds[0]).any()


# --- the gradient engine ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("regulariser", ALL, ids=str)
def test_the_policy_gradient_is_unbiased(regulariser):
    from tests import test_unbiasedness as unbiasedness

    learner = unbiasedness.tabular(1)
    logits = learner.log_probabilities.clone().requires_grad_()
    log_pi = logits.log_softmax(-1)
    against = unbiasedness.GAME.payoff(unbiasedness.mixture(1).log_probabilities.exp())
    penalty = unbiasedness.BETA * regulariser.value(log_pi, unbiasedness.REFERENCE)
    distance = simplex.kl(log_pi, unbiasedness.ANCHOR) / unbiasedness.STEP
    objective = ((log_pi.exp() * against).sum(-1) - penalty - distance).mean()
    (expected,) = torch.autograd.grad(-objective, logits)

    def engine(seeds, **options):
        built = unbiasedness.engine("policy_gradient", seeds, unbiasedness.feedback(), **options)
        built.regulariser = regulariser
        return built

    exact = unbiasedness.step(engine(1), learner)[0]
    torch.testing.assert_close(exact, expected.flatten(), rtol=1e-9, atol=1e-12)
    seeds = 4000
    sample = unbiasedness.step(engine(seeds, contexts=6, samples=4), unbiasedness.tabular(seeds))
    entries, length = unbiasedness.scores(sample, exact)
    assert entries.abs().max() < 4.5
    assert abs(length) < 3.5


# --- refusals --------------------------------------------------------------------------------------------------------


def refusal(*overrides):
    from nlhf.launch.compose import composed, plain
    from nlhf.runner.specification import specify

    with composed(list(overrides)) as config, pytest.raises(ConfigError) as refused:
        specify(plain(config))
    return str(refused.value)


@pytest.mark.parametrize(
    "overrides",
    [
        ["algorithm=proximal_point"],
        ["algorithm=comal"],
        ["algorithm=secant"],
        ["algorithm=egpo"],
        ["algorithm=nash_md"],
        ["algorithm=mtpo"],
        ["algorithm=sppo"],
        ["algorithm=nash_md_pg"],
        ["algorithm=online_ipo", "prox=gradient"],
    ],
)
def test_what_relies_on_the_reverse_kl_refuses_others(overrides):
    sentence = refusal("regulariser=forward_kl", *overrides)
    assert "needs the reverse KL" in sentence
    assert "set regulariser=reverse_kl" in sentence


def test_other_combinations_that_cannot_work_are_refused():
    assert "no effect at beta=0" in refusal("regulariser=forward_kl", "beta=0")
    assert "one turn" in refusal("regulariser=mixed", "game=tree")
    assert "strongly convex relative to KL" in refusal("regulariser=chi_square", "algorithm=omd")
    assert "outside (0, 1)" in refusal("regulariser=mixed", "regulariser.weight=1.0")
    with pytest.raises(ConfigError, match="regulariser=l2 is unknown"):
        nlhf.equilibrium([[0.5, 0.5], [0.5, 0.5]], 0.1, regulariser="l2")
    with pytest.raises(ConfigError, match="no effect at beta=0"):
        nlhf.equilibrium([[0.5, 0.5], [0.5, 0.5]], 0.0, regulariser="chi_square")


def test_the_figure_names_regularisers_as_configs_do():
    targets = {
        path.stem: yaml.safe_load(path.read_text())["_target_"] for path in (CONF / "regulariser").glob("*.yaml")
    }
    assert len(targets) == 4
    assert {name: config_name(target) for name, target in targets.items()} == {name: name for name in targets}
