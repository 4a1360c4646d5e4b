"""The race against other tools: its judge, and what it reports of contestants that miss a target."""

import time

import numpy as np
import pytest

import nlhf
from benchmarks.race.contestants import Contestant
from benchmarks.race.game import Game, looped, tournament
from benchmarks.race.process import race


@pytest.mark.parametrize("beta", [0.0, 0.05])
def test_the_judge_agrees_with_the_package(beta):
    game, rng = Game(tournament(7), beta, 1.0), np.random.default_rng(0)
    equilibrium = np.exp(nlhf.equilibrium(game.advantage + 0.5, beta=beta).log_policy)
    assert game.exploitability(equilibrium) < 1e-15
    for policy in (np.full(7, 1 / 7), rng.dirichlet(np.ones(7)), rng.dirichlet(np.full(7, 0.05))):
        expected = nlhf.exploitability(game.advantage + 0.5, np.log(policy), beta=beta)
        assert game.exploitability(policy) == pytest.approx(expected, rel=1e-9)
        assert game.exploitability(3 * policy) == pytest.approx(expected, rel=1e-9)
    assert game.exploitability(np.full(7, np.nan)) == game.exploitability(np.zeros(7)) == np.inf


def test_a_policy_on_the_boundary_has_a_finite_exploitability():
    game = Game(tournament(5), 0.05, 1.0)
    one = np.eye(5)[0]
    gain = game.advantage[:, 0]
    assert game.exploitability(one) == pytest.approx(0.05 * (np.log(np.exp(gain / 0.05).sum())), rel=1e-12)


def uniform(game):
    yield 0.0, np.ones(len(game.advantage))


def endless(game):
    yield from looped(lambda: time.sleep(0.001), lambda: np.ones(len(game.advantage)))


def stuck(game):
    if len(game.advantage) > 5:
        time.sleep(60)
    yield 0.0, np.ones(len(game.advantage))


def broken(game):
    raise SystemExit(3)
    yield


@pytest.mark.parametrize(
    ("looks", "loop", "reason"),
    [
        (uniform, False, "never (reached "),
        (endless, True, "> 1 s (reached "),
        (stuck, False, "> 1 s"),
        (broken, False, "failed, exit code 3"),
    ],
)
def test_a_miss_is_reported_with_its_reason(looks, loop, reason):
    outcome = race(Contestant("one", looks, (0.0,), loop=loop), Game(tournament(6), 0.0, 1.0), (0.5, 1e-8))
    assert outcome.cell(1e-8).startswith(reason)
    assert outcome.cell(1e-4) == "-"
    assert (0.5 in outcome.seconds) == (looks in (uniform, endless))
