"""Secant: what (M) certifies of it holds, it is never behind its promise, and it needs a fifth of Nash-MP's queries."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path as File

import numpy as np
import pytest
import torch

from nlhf.algorithms.nash_mp import NashMP
from nlhf.algorithms.secant import ANCHOR, HALF, MODEL, Secant
from nlhf.algorithms.secant_model import Answers
from nlhf.algorithms.secant_path import Path
from nlhf.equilibria.solve import solve
from nlhf.games.circle import Circle
from nlhf.numerics import simplex
from nlhf.policies.tabular import TabularPolicy
from tests.adversarial import FAMILIES, Arena, arena, log_policy, matrix_game
from tests.selection import mostly_long

pytestmark = pytest.mark.usefixtures("one_thread")

STRENGTHS, SCALES = (1e-3, 1e-2, 0.1, 1.0), (0.0, 2.0, 10.0)


def secant(memory=100):
    return Secant("theory", memory=memory, grow=4.0, shrink=0.25)


def several(seeds, contexts, n, draw=0, strengths=(0.03, 0.1, 0.5)):
    """Games with contexts of different families."""
    rng = np.random.default_rng(draw)
    kinds = [kind for name, kind in FAMILIES.items() if name != "near_half"]
    preference = [[kinds[rng.integers(len(kinds))](n, rng) for _ in range(contexts)] for _ in range(seeds)]
    return Arena(matrix_game(np.array(preference)), log_policy(2.0, (seeds, contexts, n), rng), strengths[:seeds])


@pytest.mark.parametrize("memory", mostly_long([2, 6, 100], [100]))
@pytest.mark.parametrize("family", FAMILIES)
def test_it_contracts_as_certified_and_as_promised(family, memory):
    for n in (2, 13):
        games = arena(family, n, STRENGTHS, SCALES)
        algorithm = secant(memory).bind(games.beta)
        initial = simplex.kl(games.log_equilibrium, games.log_reference)
        for state, queries in games.states(algorithm, 60):
            policy = state.policy.log_probabilities
            actual, rounding = simplex.kl(games.log_equilibrium, policy), games.rounding(policy)
            bound = algorithm.kl_bound(state, games.beta, games.beta, initial[..., None])[..., 0]
            assert (actual <= bound * (1 + 1e-9) + rounding).all()
            promised = initial * (1 + 2 * games.beta[..., 0]) ** (-(queries - 12) / 3)
            assert (actual <= promised * (1 + 1e-9) + 10 * rounding).all()


@pytest.mark.parametrize("family", mostly_long(FAMILIES, ("uniform", "deterministic", "cycle", "near_half")))
def test_it_stays_where_it_has_arrived(family):
    games = arena(family, 7, (1e-2, 0.1, 1.0), SCALES)
    *_, (state, _) = games.states(secant(), 200)
    policy = state.policy.log_probabilities
    assert (simplex.kl(games.log_equilibrium, policy) <= 1e-16).all()


def test_contexts_are_certified_together():
    games = several(3, 5, 9)
    algorithm = secant().bind(games.beta)
    initial = simplex.kl(games.log_equilibrium, games.log_reference).mean(-1)[:, None, None]
    for state, _ in games.states(algorithm, 40):
        actual = simplex.kl(games.log_equilibrium, state.policy.log_probabilities).mean(-1)
        assert (actual <= algorithm.kl_bound(state, initial, games.beta, initial)[:, 0, 0] * (1 + 1e-9) + 1e-24).all()


def test_a_context_does_not_depend_on_the_others():
    games, alone = several(2, 4, 9), several(2, 4, 9)
    part = slice(2, 3)
    alone = Arena(type(games.game)(games.game.advantage[:, part].contiguous(), games.game.items, ("context2",)),
                  games.log_reference[:, part].contiguous(), games.strengths)  # fmt: skip
    together = torch.stack(games.policies(secant(), 12))[:, :, part]
    torch.testing.assert_close(together, torch.stack(alone.policies(secant(), 12)), rtol=0, atol=1e-6)


@pytest.mark.parametrize("beta", [0.1, 0.01, 0.001])
@pytest.mark.parametrize("family", ["uniform", "deterministic", "circle"])
def test_a_fifth_of_the_queries_of_nash_mp(family, beta):
    rng = np.random.default_rng(3)
    game = Circle(60).build([0]) if family == "circle" else matrix_game(FAMILIES[family](60, rng))
    games = Arena(game, log_policy(1.0, (1, 1, 60), rng), (beta,))
    promised = 2 * np.log(1e10) / np.log1p(2 * beta)  # Nash-MP's theorem, from KL_0 = 1
    plain = next((q for state, q in games.states(NashMP("theory"), int(promised)) if distance(games, state) <= 1e-10))
    fast = next(q for state, q in games.states(secant(), 200) if distance(games, state) <= 1e-10)
    assert fast <= plain / 5


def distance(games, state):
    return simplex.kl(games.log_equilibrium, state.policy.log_probabilities).item()


def test_a_step_of_nash_mp_is_taken_where_the_model_is_of_no_use(monkeypatch):
    def useless(self, state, pull, beta):
        return state.rows, games.log_reference.flip(-1), state.step_size

    monkeypatch.setattr(Secant, "model", useless)
    games = arena("circle", 13, (0.01, 0.1), (2.0,))
    algorithm = secant().bind(games.beta)
    asked = set()
    initial = simplex.kl(games.log_equilibrium, games.log_reference)
    for state, queries in games.states(algorithm, 200):
        asked |= set(state.subject.flatten().tolist())
        actual = simplex.kl(games.log_equilibrium, state.policy.log_probabilities)
        assert (actual <= initial * (1 + 2 * games.beta[..., 0]) ** (-(queries - 12) / 3) * (1 + 1e-9) + 1e-24).all()
    assert asked == {MODEL, ANCHOR, HALF}


# --- the model -------------------------------------------------------------------------------------------------------


def answered(n, m, draw=0, memory=100):
    """A, policies and their images (m, n), the answers, and G (1, n, 2m) and N of the last policy's weights."""
    rng = np.random.default_rng(draw)
    A = matrix_game(FAMILIES["uniform"](n, rng)).advantage[0]
    policies = log_policy(3.0, (m, n), rng).exp()
    answers = Answers.none(policies[None, :1].log(), memory)
    for number, policy in enumerate(policies):
        weights = policies[: number + 1].mean(0)[None, None]
        answers = answers.with_answer(policy[None, None], (A @ policy[:, None]).mT, weights)
    features, form = answers.game(weights)
    return A[0], policies, answers, features.mT, form.mT


def test_the_smallest_game_gives_every_answer_and_is_skew_symmetric():
    A, policies, _, features, form = answered(12, 5)
    model = (features @ form @ features.mT)[0]
    torch.testing.assert_close(model, -model.mT, rtol=0, atol=1e-12)
    torch.testing.assert_close(policies @ model.mT, policies @ A.mT, rtol=0, atol=1e-12)
    root = policies.mean(0).sqrt()
    assert (model * root[:, None] * root).norm() <= (A * root[:, None] * root).norm()


def test_as_many_answers_as_actions_are_the_game():
    A, _, _, features, form = answered(9, 12)
    torch.testing.assert_close((features @ form @ features.mT)[0], A, rtol=0, atol=1e-9)


def test_a_policy_that_was_asked_about_before_leaves_no_row():
    A, policies, answers, _, _ = answered(12, 5)
    again = answers.with_answer(policies[None, 2:3], policies[None, 2:3] @ A.mT, policies.mean(0)[None, None])
    assert again.count == 6
    assert (again.rows[0, 0, 5] == 0).all()
    features, form = (part.mT for part in again.game(policies.mean(0)[None, None]))
    torch.testing.assert_close((policies @ (features @ form @ features.mT)[0].mT), policies @ A.mT, rtol=0, atol=1e-12)


def test_the_newest_half_of_the_answers_remains_when_the_memory_is_full():
    A, policies, answers, features, form = answered(30, 9, memory=8)
    assert answers.count == Answers.after(answers.rows, 9).count == 5
    model = (features @ form @ features.mT)[0]
    torch.testing.assert_close(policies[4:] @ model.mT, policies[4:] @ A.mT, rtol=0, atol=1e-9)
    assert not torch.allclose(policies[:4] @ model.mT, policies[:4] @ A.mT, rtol=0, atol=1e-6)


@pytest.mark.parametrize("beta", [1e-3, 1e-2, 0.1])
def test_the_path_ends_at_the_equilibrium_of_a_game_that_the_answers_define(beta):
    A, _, _, features, form = answered(9, 12)
    reference = log_policy(2.0, (1, 1, 9), np.random.default_rng(1))
    strength, step = (torch.full((1, 1, 1), value, dtype=torch.float64) for value in (beta, 1e12))
    start = reference.exp().bmm(features)
    solution, length = Path(features.mT, form.mT, reference, reference * 0, strength, step, start).result()
    assert length.item() >= 1e8
    assert simplex.kl(solve(A[None], reference[0], beta).log_policy, solution[0]).item() < 1e-10


def test_constants_of_a_context_do_not_matter():
    """Answers that are shifted by a constant, as P pi instead of P pi - 1/2, give the same policies."""
    games = several(2, 3, 7)

    def states(shift):
        prox = games.prox()
        told = prox.game.payoff
        prox.game = type("Shifted", (), {"tree": None, "payoff": staticmethod(lambda policy: told(policy) + shift)})()
        algorithm = secant().bind(games.beta)
        state = algorithm.init(TabularPolicy(games.log_reference))
        for _ in range(8):
            state = algorithm.update(state, prox)
        return state.policy.log_probabilities

    torch.testing.assert_close(states(0.0), states(0.5), rtol=0, atol=1e-3)


def test_many_answers_of_several_seeds_need_one_thread(tmp_path):
    """On two threads, torch's batched solver hangs from 150 rows on, which 75 answers reach."""
    words = ["game=random_tournament", "game.actions=100", "algorithm=secant", "seeds=2", "beta=0.001",
             "budget.queries=110", "budget.target=null", "equilibrium=never", f"runs_dir={tmp_path}"]  # fmt: skip
    main = File(__file__).resolve().parents[1] / "main.py"
    environment = os.environ | {"OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"}
    done = subprocess.run([sys.executable, main, *words], env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert "oneMKL" not in done.stdout + done.stderr
