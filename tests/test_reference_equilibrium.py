"""The reference equilibrium against other methods, its certificates, and data whose equilibria are known."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from nlhf.algorithms.nash_mp import NashMP
from nlhf.equilibria.metrics import exploitability_floor
from nlhf.equilibria.solve import solve
from nlhf.games.votes import Votes
from nlhf.io.inputs import InputFile
from nlhf.numerics import simplex, threads
from tests.adversarial import FAMILIES, arena, log_policy, matrix_game

pytestmark = pytest.mark.usefixtures("one_thread")

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "tests" / "data"
every_family = pytest.mark.parametrize("family", FAMILIES)


def advantage_of(preference):
    """(B, n, n) or (n, n) to what `solve` takes."""
    return matrix_game(preference).dense()[0]


# --- beta > 0 --------------------------------------------------------------------------------------------------------


@every_family
def test_newton_finds_where_nash_mp_ends(family):
    games = arena(family, 11, (0.05, 0.5), (0.0, 2.0))
    *_, end = games.policies(NashMP("theory"), 1500)  # (1 + 2 * 0.05)^-1500: to rounding
    assert (simplex.kl(games.log_equilibrium, end) <= games.rounding(end)).all()
    assert (simplex.span(games.log_equilibrium, end) < 1e-12).all()


@every_family
@pytest.mark.parametrize(("n", "scales", "strengths"), [
    (2, (0.0, 3.0, 30.0), (1e-4, 1e-2, 1.0, 100.0)),
    (50, (0.0, 3.0, 30.0), (1e-4, 1e-3, 1e-1)),
    (200, (0.0, 30.0), (1e-4,)),
])  # fmt: skip
def test_newton_reaches_rounding(family, n, scales, strengths):
    rng = np.random.default_rng(n)
    advantage = advantage_of(np.stack([FAMILIES[family](n, rng) for _ in scales]))
    log_reference = torch.stack([log_policy(scale, (n,), rng) for scale in scales])
    for beta in strengths:
        found = solve(advantage, log_reference, beta)
        assert (found.exploitability <= 3 * exploitability_floor(found.log_policy, log_reference, beta)).all()
        assert found.certified.all()
        assert (found.log_policy.logsumexp(-1).abs() < 1e-14).all()


@every_family
def test_the_equilibrium_solves_its_equation_where_it_puts_no_mass(family):
    """log pi* = log ref + A pi*/beta + constant in every action; the certificate sees the support only."""
    rng = np.random.default_rng(9)
    game, log_reference, beta = matrix_game(FAMILIES[family](40, rng)), log_policy(10.0, (1, 1, 40), rng), 1e-3
    policy = solve(game.dense()[0], log_reference[0], beta).log_policy
    right = log_reference + game.payoff(policy[None].exp()) / beta
    size = right.abs().max() + log_reference.abs().max() + 1 / (2 * beta)
    assert simplex.span(policy[None], right).item() < 1e-15 * size


def test_solving_a_batch_is_solving_one_at_a_time():
    for beta in (1.0, 1e-3):
        rng = np.random.default_rng(4)
        advantage = advantage_of(np.stack([family(30, rng) for family in FAMILIES.values()]))
        log_reference = torch.stack([log_policy(scale, (30,), rng) for scale in (0, 1, 3, 30, 0, 1, 3, 30)])
        together = solve(advantage, log_reference, beta).log_policy
        alone = [solve(advantage[i : i + 1], log_reference[i : i + 1], beta).log_policy for i in range(8)]
        distance = (together - torch.cat(alone)).abs().amax(-1)
        assert (distance < 1e-15 * (log_reference.abs().amax(-1) + 1 / beta)).all()


BATCH_OF_LARGE_GAMES = """
import numpy as np, torch
from nlhf.equilibria.solve import solve
from tests.adversarial import uniform, matrix_game
torch.set_num_threads(2)
rng = np.random.default_rng(0)
advantage = matrix_game(np.stack([uniform(200, rng) for _ in range(4)])).dense()[0]
found = solve(advantage, torch.zeros(4, 200, dtype=torch.float64).log_softmax(-1), 0.1)
assert found.certified.all(), found.exploitability
"""


@pytest.mark.long
def test_a_batch_of_large_games_is_solved_on_two_threads():
    """With MKL, torch.linalg.solve of a batch fails or hangs from n = 150 on two threads (pytorch issue 142815)."""
    done = subprocess.run([sys.executable, "-c", BATCH_OF_LARGE_GAMES], cwd=ROOT, capture_output=True, timeout=600)
    assert done.returncode == 0, done.stderr[-500:].decode()


def test_a_problem_keeps_its_bits_whatever_its_neighbours_are():
    rng = np.random.default_rng(3)
    preference = np.stack([FAMILIES[name](32, rng) for name in ("uniform", "deterministic", "bradley_terry", "circle")])
    log_reference = torch.stack([log_policy(scale, (32,), rng) for scale in (1, 3, 30, 0)])
    advantage = advantage_of(preference)
    first, second = (solve(advantage[rows], log_reference[rows], 1e-3).log_policy for rows in ([0, 1, 2], [0, 3, 1]))
    assert first[0].equal(second[0])


# --- beta = 0 --------------------------------------------------------------------------------------------------------


def unregularised(preference):
    """The von Neumann winner found for P(row > column), (n), and whether it is certified unique."""
    found = solve(advantage_of(preference), torch.zeros(1, len(preference), dtype=torch.float64).log_softmax(-1), 0.0)
    assert found.method == "interior point"
    assert found.certified.all()
    return found.log_policy[0].exp(), bool(found.unique[0])


@every_family
@pytest.mark.parametrize("n", [2, 5, 60])
def test_a_von_neumann_winner_loses_to_nothing(family, n):
    preference = FAMILIES[family](n, np.random.default_rng(n))
    winner, _ = unregularised(preference)
    assert winner.sum().item() == pytest.approx(1, abs=1e-14)
    assert (winner.numpy() @ preference).min() >= 0.5 - 1e-12


@pytest.mark.parametrize("n", [3, 5, 21])
def test_odd_cycles_have_the_uniform_winner_alone(n):
    winner, unique = unregularised(FAMILIES["cycle"](n, np.random.default_rng(0)))
    torch.testing.assert_close(winner, torch.full((n,), 1 / n, dtype=torch.float64), rtol=1e-12, atol=0)
    assert unique


def test_a_condorcet_winner_is_alone():
    winner, unique = unregularised(FAMILIES["transitive"](6, np.random.default_rng(0)))
    assert winner.tolist() == [1, 0, 0, 0, 0, 0]
    assert unique


def test_a_game_without_preferences_has_many_winners():
    assert not unregularised(np.full((4, 4), 0.5))[1]


@pytest.mark.parametrize("family", ["cycle", "transitive", "uniform", "deterministic"])
def test_a_copied_action_of_the_support_makes_many_winners(family):
    preference = FAMILIES[family](5, np.random.default_rng(1))
    assert unregularised(preference)[1]
    best = int(unregularised(preference)[0].argmax())
    order = [*range(5), best]
    assert not unregularised(preference[order][:, order])[1]


@pytest.mark.parametrize("family", ["uniform", "deterministic", "circle", "cycle", "bradley_terry", "transitive"])
def test_regularised_equilibria_tend_to_the_only_winner(family):
    preference = FAMILIES[family](7, np.random.default_rng(2))
    winner, unique = unregularised(preference)
    assert unique
    uniform = torch.zeros(1, 7, dtype=torch.float64).log_softmax(-1)
    distances = [
        (solve(advantage_of(preference), uniform, beta).log_policy[0].exp() - winner).abs().max()
        for beta in (1e-2, 1e-3, 1e-4)
    ]
    assert distances[2] < 1e-2
    assert all(near <= far / 2 + 1e-12 for far, near in itertools.pairwise(distances))


# --- votes -----------------------------------------------------------------------------------------------------------


def winner_of_votes(path, where=None, drop=()):
    """Item -> probability in the von Neumann winner of pooled votes, of the items in its support."""
    votes = Votes(
        InputFile(str(path)), [], where or {}, list(drop), pseudo_count=0.0, unseen="half", cluster=[], bootstrap=False
    )
    table = votes.table(np.random.default_rng(0))
    winner, unique = unregularised(table.preference[0])
    assert unique
    return {item: p for item, p in zip(table.items, winner.tolist(), strict=True) if p > 1e-9}, len(table.items)


def test_tversky_1969_pooled():
    """tests/data/README.md."""
    winner, _ = winner_of_votes("embedded:tversky1969.csv")
    assert winner == pytest.approx({"a": 0.635, "d": 0.333, "e": 0.032}, abs=5e-4)


@pytest.mark.parametrize(
    ("path", "where"), [("embedded:vicuna80_human.csv", {}), (DATA / "vicuna80.csv", {"judge": "human"})]
)
def test_vicuna_without_gpt4(path, where):
    """An independent linear programme."""
    winner, items = winner_of_votes(path, where, drop=["gpt4"])
    assert winner == pytest.approx({"guanaco-33b": 0.412, "guanaco-7b": 0.353, "guanaco-65b": 0.235}, abs=5e-4)
    assert items == 7


@pytest.mark.parametrize(
    ("path", "where"), [("embedded:vicuna80_human.csv", {}), (DATA / "vicuna80.csv", {"judge": "human"})]
)
def test_vicuna_has_a_condorcet_winner(path, where):
    """tests/data/README.md."""
    assert winner_of_votes(path, where) == ({"gpt4": 1.0}, 8)


def test_programs_that_throw_rock_paper_scissors():
    """tests/data/README.md."""
    winner, items = winner_of_votes(DATA / "rrps_bots.csv")
    assert (items, len(winner)) == (43, 5)


@pytest.mark.parametrize(("large", "number"), [(threads.LARGE, 1), (70, 2)])
@pytest.mark.parametrize("beta", [0.0, 0.5])
def test_systems_are_factorised_by_one_thread_unless_they_are_large(monkeypatch, large, number, beta):
    used, actions = set(), 70
    monkeypatch.setattr(threads, "LARGE", large)

    def watched(function):
        def watch(*arguments):
            used.add(torch.get_num_threads())
            return function(*arguments)

        return watch

    before = torch.get_num_threads()
    for name in ("solve_ex", "lu_factor_ex"):
        monkeypatch.setattr(torch.linalg, name, watched(getattr(torch.linalg, name)))
    try:
        torch.set_num_threads(2)
        half = torch.rand(1, actions, actions, dtype=torch.float64).triu(1) - 0.5
        advantage = half.triu(1) - half.triu(1).mT
        solve(advantage, torch.full((1, actions), -np.log(actions), dtype=torch.float64), beta)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert used == {number}
