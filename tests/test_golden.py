"""Compared with numbers computed once in 60-digit arithmetic (tests/data/matrix_games.json)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from nlhf.algorithms.adaptive import Adaptive
from nlhf.algorithms.nash_md import NashMD
from nlhf.algorithms.nash_mp import NashMP
from nlhf.algorithms.omd import OnlineMirrorDescent
from nlhf.algorithms.optimistic import Optimistic
from nlhf.algorithms.secant import Secant
from nlhf.equilibria.metrics import Measure
from nlhf.numerics import simplex
from tests.adversarial import Arena, matrix_game

pytestmark = pytest.mark.usefixtures("one_thread")

GAMES = json.loads((Path(__file__).resolve().parent / "data" / "matrix_games.json").read_text())


@pytest.fixture(params=GAMES, ids=lambda game: game["name"])
def golden(request):
    return request.param


def tensor(digits):
    """Decimal strings as (1, 1, n)."""
    return torch.tensor([[[float(entry) for entry in digits]]], dtype=torch.float64)


def arena_of(golden, dtype=torch.float64):
    reference = tensor(golden["reference_weights"]).log().log_softmax(-1)
    return Arena(matrix_game(np.array(golden["preference"])), reference, (golden["beta"],), dtype)


def near_equilibrium(golden, size):
    """The golden file's perturbation of the equilibrium."""
    equilibrium = tensor(golden["log_equilibrium"])
    return (equilibrium + size * (torch.arange(equilibrium.shape[-1]) % 3 - 1)).log_softmax(-1)


def test_newton_finds_the_equilibrium(golden):
    assert arena_of(golden).log_equilibrium.sub(tensor(golden["log_equilibrium"])).abs().max() < 1e-12


def test_exploitability_and_divergence_of_the_reference(golden):
    arena = arena_of(golden)
    row = Measure(arena.game, arena.log_reference, arena.beta, arena.log_equilibrium).grade(arena.log_reference)
    assert row["exploitability"].item() == pytest.approx(float(golden["exploitability_of_reference"]), rel=1e-12)
    for measured in (row["kl_to_equilibrium"], simplex.kl(arena.log_equilibrium, arena.log_reference)):
        assert measured.item() == pytest.approx(float(golden["kl_equilibrium_to_reference"]), rel=1e-12)


@pytest.mark.parametrize(("size", "precision"), [("1e-8", 1e-6), ("1e-12", 1e-2)])
def test_distances_close_to_the_equilibrium(golden, size, precision):
    arena, policy = arena_of(golden), near_equilibrium(golden, float(size))
    row = Measure(arena.game, arena.log_reference, arena.beta, arena.log_equilibrium).grade(policy)
    expected = golden[f"exploitability_{size}_from_equilibrium"]
    assert row["exploitability"].item() == pytest.approx(float(expected["value"]), rel=precision, abs=0)
    for measured in (row["kl_to_equilibrium"], simplex.kl(tensor(golden["log_equilibrium"]), policy)):
        assert measured.item() == pytest.approx(float(expected["kl_from_equilibrium"]), rel=precision, abs=0)


@pytest.mark.parametrize(
    ("algorithm", "key"),
    [
        (NashMP(2.0), "nash_mp_5_iterations_step_2"),
        (NashMP("theory"), "nash_mp_5_iterations_step_2"),
        (OnlineMirrorDescent(2.0), "omd_5_iterations_step_2"),
        (NashMD("theory"), "nash_md_5_iterations_decreasing_step"),
        (Optimistic(1.0), "optimistic_5_iterations_step_1"),
    ],
    ids=lambda value: value if isinstance(value, str) else str(value.step_size),
)
@pytest.mark.parametrize(("dtype", "accuracy"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_five_iterations(golden, algorithm, key, dtype, accuracy):
    policy = arena_of(golden, dtype).policies(algorithm, 5)[-1]
    assert policy.sub(tensor(golden[key])).abs().max() < accuracy


@pytest.mark.parametrize(
    ("algorithm", "haste"),
    [
        (NashMP("theory"), 1.0),
        pytest.param(NashMP(0.1), 0.05, marks=pytest.mark.long),
        (Adaptive("theory", optimistic=False, grow=1.5, shrink=0.5), 1.0),
        (Adaptive("theory", optimistic=True, grow=1.2, shrink=0.5), 0.5),
        pytest.param(Secant("theory", memory=100, grow=4.0, shrink=0.25), 1.0, marks=pytest.mark.long),
    ],
    ids=["nash_mp", "short steps", "adaptive_nash_mp", "adaptive_optimistic", "secant"],
)
def test_answers_in_single_precision_lead_to_the_equilibrium_but_for_their_rounding(golden, algorithm, haste):
    arena = arena_of(golden, torch.float32)
    policy = arena.policies(algorithm, round(80 / np.log1p(2 * golden["beta"]) / haste))[-1]
    exact = tensor(golden["log_equilibrium"])
    assert (simplex.kl(exact, policy) <= arena.rounding(policy)).all()
