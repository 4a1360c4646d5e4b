"""Log-probability algebra against high precision, against formulas written by hand, and against what defines it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from mpmath import mp, mpf

from nlhf.equilibria import metrics
from nlhf.numerics import simplex
from tests.adversarial import EPS, log_policy

pytestmark = pytest.mark.usefixtures("one_thread")

SEED = st.integers(0, 2**32 - 1)
SETTINGS = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True, max_examples=60)


def exactly(log_probabilities):
    """The distribution that doubles (n) stand for, normalised in mpmath's precision: logarithms and masses."""
    logs = [mpf(entry) for entry in log_probabilities.flatten().tolist()]
    total = mp.log(sum(mp.exp(entry) for entry in logs))
    return [entry - total for entry in logs], [mp.exp(entry - total) for entry in logs]


def exact_kl(p, q):
    """sum p log(p/q) with 60 digits."""
    with mp.workdps(60):
        (log_p, mass), (log_q, _) = exactly(p), exactly(q)
        return sum((m * (a - b) for m, a, b in zip(mass, log_p, log_q, strict=True) if m > 0), mpf(0))


def scalar(*values):
    return [torch.full((1, 1, 1), value, dtype=torch.float64) for value in values]


# --- KL, entropy, span -----------------------------------------------------------------------------------------------


@SETTINGS
@given(SEED, st.integers(2, 30), st.floats(-13, 0), st.sampled_from([0.0, 1.0, 30.0]))
def test_kl_keeps_its_digits_near_zero(seed, n, exponent, scale):
    rng = np.random.default_rng(seed)
    p, size = log_policy(scale, (n,), rng), 10**exponent
    q = (p + size * torch.from_numpy(rng.choice([-1.0, 1.0], n))).log_softmax(-1)
    exact = exact_kl(p, q)
    if exact > 1e-3 * size**2:  # unless nearly all the mass moved together, and the differences are rounding
        assert abs(simplex.kl(p, q).item() / exact - 1) < 1e-14 + 3 * EPS / size


@SETTINGS
@given(SEED, st.integers(2, 30), st.sampled_from([1.0, 10.0, 100.0]), st.sampled_from([1.0, 10.0, 100.0]))
def test_kl_of_distant_policies(seed, n, scale_p, scale_q):
    rng = np.random.default_rng(seed)
    p, q = log_policy(scale_p, (n,), rng), log_policy(scale_q, (n,), rng)
    assert simplex.kl(p, q).item() == pytest.approx(float(exact_kl(p, q)), rel=1e-14)


@pytest.mark.parametrize("seed", range(5))
def test_kl_where_actions_have_probability_zero(seed):
    rng = np.random.default_rng(seed)
    p, q = log_policy(3.0, (9,), rng), log_policy(3.0, (9,), rng)
    p[:3], q[:2] = -math.inf, -math.inf
    p, q = p.log_softmax(-1), q.log_softmax(-1)
    assert simplex.kl(p, q).item() == pytest.approx(float(exact_kl(p, q)), rel=1e-14)
    assert simplex.kl(q, p).item() == math.inf


def test_kl_of_certainties():
    first, second = torch.eye(2, dtype=torch.float64).log()
    assert simplex.kl(first, second).item() == math.inf
    assert simplex.kl(first, torch.full_like(first, 0.5).log()).item() == pytest.approx(math.log(2), rel=1e-15)
    unlikely = torch.tensor([0.0, -1e6], dtype=torch.float64)
    assert simplex.kl(torch.tensor([-1e6, 0.0], dtype=torch.float64), unlikely).item() == 1e6


@SETTINGS
@given(SEED, st.integers(2, 30), st.sampled_from([0.0, 1.0, 1e3]))
def test_kl_of_a_policy_to_itself_is_zero_to_the_bit(seed, n, scale):
    p = log_policy(scale, (n,), np.random.default_rng(seed))
    assert simplex.kl(p, p).item() == 0


@SETTINGS
@given(SEED, st.integers(2, 30), st.sampled_from([0.0, 1.0, 10.0, 1e3]))
def test_entropy_is_what_a_uniform_policy_has_more_of(seed, n, scale):
    p = log_policy(scale, (n,), np.random.default_rng(seed))
    uniform = torch.zeros(n, dtype=torch.float64).log_softmax(-1)
    assert simplex.entropy(p).item() == pytest.approx(math.log(n) - float(exact_kl(p, uniform)), rel=1e-13, abs=1e-13)


def test_entropy_of_a_certainty_is_zero():
    assert simplex.entropy(torch.eye(3, dtype=torch.float64).log()).tolist() == [0, 0, 0]


@SETTINGS
@given(SEED, st.integers(2, 30), st.floats(-100, 100))
def test_span_is_twice_the_distance_up_to_constants(seed, n, shift):
    rng = np.random.default_rng(seed)
    p, q = log_policy(3.0, (n,), rng), log_policy(3.0, (n,), rng)
    middle = ((p - q).max() + (p - q).min()) / 2
    assert simplex.span(p, q).item() == pytest.approx(2 * (p - q - middle).abs().max().item(), rel=1e-14)
    assert simplex.span(p + shift, q).item() == pytest.approx(simplex.span(p, q).item(), rel=1e-12)


# --- the proximal step -----------------------------------------------------------------------------------------------


def a_problem(seed, n, scale=3.0):
    """Anchor, reference and advantage against a random opponent in a random game, (1, 1, n)."""
    rng = np.random.default_rng(seed)
    anchor, reference = log_policy(scale, (1, 1, n), rng), log_policy(scale, (1, 1, n), rng)
    return anchor, reference, torch.from_numpy(rng.random((1, 1, n)) - 0.5), rng


BETA = st.sampled_from([0.0, 1e-6, 1e-3, 0.1, 1.0, 30.0, 1e6])
STEP = st.floats(-6, 6).map(lambda exponent: 10**exponent)


@SETTINGS
@given(SEED, st.integers(2, 12), st.sampled_from([0.0, 1.0, 100.0]), BETA, STEP)
def test_proximal_step_is_the_closed_form(seed, n, scale, beta, step):
    anchor, reference, advantage, _ = a_problem(seed, n, scale)
    found = simplex.proximal_step(anchor, reference, advantage, *scalar(beta, step)).flatten().tolist()
    with mp.workdps(60):
        rows = zip(*(tensor.flatten().tolist() for tensor in (anchor, reference, advantage)), strict=True)
        b, s = mpf(beta), mpf(step)
        by_hand = [(mpf(a) + s * b * mpf(r) + s * mpf(u)) / (1 + s * b) for a, r, u in rows]
        log_z = mp.log(sum(mp.exp(entry) for entry in by_hand))
        error = max(abs(entry - log_z - x) for entry, x in zip(by_hand, found, strict=True))
    size = 1 + anchor.abs().max().item() + reference.abs().max().item() + float(max(map(abs, by_hand)))
    assert error < 8 * EPS * size


def objective(policy, anchor, reference, advantage, beta, step):
    """P(pi > mu) - 1/2 - beta KL(pi || ref) - KL(pi || anchor)/lambda (docs/mathematics.md, section 3.1)."""
    kl_to_reference = (policy * (policy.log() - reference)).sum().item()
    kl_to_anchor = (policy * (policy.log() - anchor)).sum().item()
    return (policy * advantage).sum().item() - beta * kl_to_reference - kl_to_anchor / step


@SETTINGS
@given(SEED, st.integers(2, 12), st.sampled_from([0.0, 0.01, 0.3, 5.0]), st.sampled_from([0.1, 2.0, 50.0]))
def test_the_objective_falls_from_the_proximal_step_in_every_direction(seed, n, beta, step):
    *problem, rng = a_problem(seed, n, scale=1.0)
    best = simplex.proximal_step(*problem, *scalar(beta, step)).exp()
    top = objective(best, *problem, beta, step)
    for size in (1e-3, 0.1, 0.9):
        inside = torch.from_numpy(rng.dirichlet(np.ones(n), (1, 1)))
        assert objective(best.lerp(inside, size), *problem, beta, step) < top


@SETTINGS
@given(SEED, st.integers(2, 12), st.sampled_from([0.0, 0.01, 0.3, 5.0]), st.sampled_from([0.1, 2.0, 50.0, math.inf]))
def test_a_policy_misses_the_maximum_by_its_kl_to_the_proximal_step(seed, n, beta, step):
    assume(beta > 0 or math.isfinite(step))
    *problem, rng = a_problem(seed, n)
    best = simplex.proximal_step(*problem, *scalar(beta, step))
    other = log_policy(3.0, (1, 1, n), rng)
    top, below = (objective(policy.exp(), *problem, beta, step) for policy in (best, other))
    assert top - below == pytest.approx((beta + 1 / step) * float(exact_kl(other, best)), rel=1e-12)


@pytest.mark.parametrize("beta", [1e-6, 0.01, 1.0, 1e6])
@pytest.mark.parametrize("scale", [0.0, 1.0, 1e3])
def test_an_infinite_step_is_the_best_response(beta, scale):
    anchor, reference, advantage, _ = a_problem(0, 20, scale)
    response = metrics.best_response(advantage, reference, *scalar(beta))
    stepped = simplex.proximal_step(anchor, reference, advantage, *scalar(beta, math.inf))
    assert (stepped - response).abs().max() < 4 * EPS * (reference.abs().max() + 1 / beta)
    assert stepped.equal(simplex.proximal_step(-anchor, reference, advantage, *scalar(beta, math.inf)))


@pytest.mark.parametrize("beta", [0.0, 1e-3, 1.0])
def test_a_vanishing_step_stays_at_the_anchor(beta):
    anchor, reference, advantage, _ = a_problem(0, 20)
    stepped = simplex.proximal_step(anchor, reference, advantage, *scalar(beta, 1e-300))
    assert (stepped - anchor).abs().max() < 1e-15


@pytest.mark.parametrize("beta", [0.0, 1e-6, 1.0])
def test_log_probabilities_of_minus_a_million_are_kept(beta):
    anchor, reference, advantage, _ = a_problem(1, 40, scale=3e5)
    stepped = simplex.proximal_step(anchor, reference, advantage, *scalar(beta, 2.0))
    for policy in (stepped, simplex.geometric_mixture(anchor, reference, *scalar(0.3))):
        assert policy.min() < -1e5
        assert policy.isfinite().all()
        assert policy.exp().sum().item() == pytest.approx(1, abs=1e-15)


# --- mixtures --------------------------------------------------------------------------------------------------------


@SETTINGS
@given(SEED, st.integers(2, 12), st.sampled_from([1.0, 100.0]), st.floats(0, 1))
def test_a_geometric_mixture_is_linear_in_logarithms(seed, n, scale, weight):
    first, second, _, _ = a_problem(seed, n, scale)
    mixed = simplex.geometric_mixture(first, second, *scalar(weight))
    by_hand = (1 - weight) * first + weight * second
    size = first.abs().max() + second.abs().max()
    assert simplex.span(mixed, by_hand).item() < 8 * EPS * size
    assert mixed.exp().sum().item() == pytest.approx(1, abs=1e-14)


@pytest.mark.parametrize("scale", [1.0, 1e5])
def test_mixtures_end_at_their_components(scale):
    first, second, _, _ = a_problem(2, 30, scale)
    for weight, component in ((0.0, first), (1.0, second)):
        assert (simplex.geometric_mixture(first, second, *scalar(weight)) - component).abs().max() < 1e-15 * scale
