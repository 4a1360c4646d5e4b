"""What certifies an equilibrium: its exploitability is at most what rounding explains, and at most 1e-12."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import nlhf
from nlhf.equilibria.certificates import CERTIFIED, recertify, rounding_floor
from nlhf.equilibria.solve import solve
from tests.adversarial import FAMILIES, log_policy, matrix_game

pytestmark = pytest.mark.usefixtures("one_thread")

EPS = float(np.finfo(float).eps)
ROCK = np.array([[0.5, 0.1, 0.9], [0.9, 0.5, 0.1], [0.1, 0.9, 0.5]])


def problems(n, scale):
    """Advantages (B, n, n) of every family and references (B, n)."""
    rng = np.random.default_rng(n)
    tables = np.stack([family(n, rng) for family in FAMILIES.values()])
    return matrix_game(tables).dense()[0], log_policy(scale, (len(tables), n), rng)


def exact_exploitability(matrix, policy, log_reference, beta, mpmath):
    """max_mu P_beta(mu > pi) - 1/2 in 60 digits, of log-probabilities that are normalised there."""
    with mpmath.workdps(60):
        weights = [mpmath.exp(mpmath.mpf(value)) for value in policy]
        total = mpmath.fsum(weights)
        pi = [weight / total for weight in weights]
        other = [mpmath.exp(mpmath.mpf(value)) for value in log_reference]
        reference = [weight / mpmath.fsum(other) for weight in other]
        gain = [mpmath.fsum(mpmath.mpf(entry) * p for entry, p in zip(row, pi, strict=True)) for row in matrix]
        if beta == 0:
            return max(gain)
        best, strength = max(gain), mpmath.mpf(beta)
        mass = mpmath.fsum(q * mpmath.exp((g - best) / strength) for q, g in zip(reference, gain, strict=True))
        divergence = mpmath.fsum(p * mpmath.log(p / q) for p, q in zip(pi, reference, strict=True) if p > 0)
        return best + strength * mpmath.log(mass) + strength * divergence


@pytest.mark.parametrize(("n", "strengths"), [
    (3, (1.0, 1e-2, 1e-4, 1e-6, 1e-8, 1e-10, 1e-20)), (10, (1.0, 1e-2, 1e-4, 1e-6, 1e-9)), (100, (1.0, 1e-3)),
])  # fmt: skip
@pytest.mark.parametrize("scale", [0.0, 30.0])
def test_certificates_are_neither_wrong_nor_needlessly_refused(n, strengths, scale):
    mpmath = pytest.importorskip("mpmath")
    advantage, log_reference = problems(n, scale)
    for beta in strengths:
        solved = solve(advantage, log_reference, beta)
        bound = solved.floor.clamp(max=CERTIFIED)
        assert solved.certified.equal(solved.exploitability <= bound)
        assert solved.certified.all() or beta < 1e-9, "Newton's method ends at rounding"
        for k in range(len(advantage) if n < 100 else 2):
            arguments = (advantage[k].tolist(), solved.log_policy[k].tolist(), log_reference[k].tolist())
            exact = float(exact_exploitability(*arguments, beta, mpmath))
            assert not solved.certified[k] or exact <= 4 * bound[k]
            if exact > 1e-11:
                assert not solved.certified[k]


@pytest.mark.parametrize("beta", [10.0**k for k in range(-20, 1)])
def test_what_is_far_from_the_equilibrium_is_refused_at_every_beta(beta):
    """An exploitability of 1e-11 was certified at beta = 1e-18, because the floor grew with 1/beta without bound."""
    rock, uniform = matrix_game(ROCK).dense()[0], torch.zeros(1, 3, dtype=torch.float64).log_softmax(-1)
    for wrong in (1e-11, 1e-9, 1e-3):
        shares = torch.tensor([[1 / 3 + wrong, 1 / 3, 1 / 3 - wrong]], dtype=torch.float64)
        assert not recertify(rock, shares.log(), uniform, beta).certified
    assert recertify(rock, uniform, uniform, beta).certified  # the equilibrium for every beta
    assert rounding_floor(uniform, uniform, beta) <= 20 * EPS * (0.5 + 3 * beta)


def test_the_floor_is_continuous_at_beta_0_and_bounded():
    policy = torch.zeros(1, 9, dtype=torch.float64).log_softmax(-1)
    floors = [rounding_floor(policy, policy, beta).item() for beta in (0.0, 5e-324, 1e-300, 1e-20, 1e-17)]
    assert floors == pytest.approx([11 * EPS] * 5)
    assert rounding_floor(policy, policy, 1.0).item() < 1e-27


def test_a_nan_is_never_certified():
    advantage, log_reference = problems(3, 0.0)
    broken = log_reference.clone()
    broken[0, 0] = float("nan")
    checked = recertify(advantage, broken, log_reference, 0.1)
    assert checked.log_policy.isfinite().all()
    assert checked.exploitability.isfinite().all()


@pytest.mark.parametrize("beta", [1e-12, 1e-15, 1e-18, 1e-20, 1e-300])
def test_columns_need_a_policy_that_is_close_to_the_equilibrium(tmp_path, beta, caplog):
    """Whatever is certified there, the KL to an equilibrium that rounding moves is not reported."""
    words = ["game=random_tournament", "game.actions=4", f"beta={beta}", "algorithm=adaptive_nash_mp", "seeds=1",
             "budget.iterations=3", f"runs_dir={tmp_path}", "progress=false"]  # fmt: skip
    run = nlhf.run(words)
    certificate = run.summary["equilibrium"]
    least = min(certificate["floor"], 1e-12)
    assert certificate["certified"] == (certificate["exploitability"] <= least)
    assert run.metrics.kl_to_equilibrium.isna().all() or certificate["exploitability"] <= 1e-6 * beta
    assert run.metrics.kl_to_equilibrium.isna().all() == ("KL columns stay empty" in caplog.text)


def test_the_interface_says_whether_an_equilibrium_is_certified():
    assert nlhf.equilibrium(ROCK, beta=0.1).certified
    assert nlhf.equilibrium(ROCK, beta=0).certified
    drawn = FAMILIES["uniform"](10, np.random.default_rng(0))
    found = nlhf.equilibrium(drawn, beta=1e-15)
    assert np.isfinite(found.log_policy).all()
    assert found.certified == (found.exploitability <= 1e-12)
