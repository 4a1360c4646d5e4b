"""What an answer costs, who pays, and what is remembered."""

from __future__ import annotations

import math
import pickle
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from nlhf.algorithms.nash_md import NashMD
from nlhf.algorithms.nash_mp import NashMP
from nlhf.algorithms.omd import OnlineMirrorDescent
from nlhf.budget import Budget
from nlhf.equilibria.metrics import Measure
from nlhf.policies.average import TableAverage
from nlhf.policies.tabular import TabularPolicy
from nlhf.runner.trainer import Trainer
from tests.adversarial import Arena, exact, log_policy, matrix_game, uniform

pytestmark = pytest.mark.usefixtures("one_thread")

SEEDS = 3


@dataclass
class Fickle:
    """A game that answers every question with the number of questions so far."""

    asked: int = 0
    items: tuple[str, ...] = ("a", "b")
    contexts: tuple[str, ...] = ("all",)
    tree: None = None

    def payoff(self, probabilities):
        self.asked += 1
        return torch.full_like(probabilities, self.asked)


@pytest.fixture
def prox():
    beta = torch.full((SEEDS, 1, 1), 0.1, dtype=torch.float64)
    return exact(Fickle(), policy(), beta)


def policy():
    return TabularPolicy(torch.zeros(SEEDS, 1, 2, dtype=torch.float64).log_softmax(-1))


def answers(prox, asked):
    """The number of the question that every seed was answered by."""
    return prox.advantage(asked)[:, 0, 0].tolist()


def seeds(*mask):
    return torch.tensor(mask, dtype=torch.bool)


def test_a_policy_is_asked_about_once(prox):
    asked = policy()
    assert answers(prox, asked) == answers(prox, asked) == [1, 1, 1]
    assert prox.queries.tolist() == [1, 1, 1]


def test_equal_policies_are_charged_apart(prox):
    """A policy is its object: that two tables are equal, no algorithm may profit from."""
    first, second = policy(), policy()
    assert (answers(prox, first), answers(prox, second)) == ([1, 1, 1], [2, 2, 2])
    assert prox.queries.tolist() == [2, 2, 2]


def test_only_active_seeds_pay(prox):
    prox.active = np.array([True, False, True])
    answers(prox, policy())
    assert prox.queries.tolist() == [1, 0, 1]


def test_a_seed_that_was_not_active_pays_when_it_asks_and_the_others_keep_their_answer(prox):
    asked = policy()
    prox.active = np.array([True, False, False])
    answers(prox, asked)
    prox.active = np.array([True, True, False])
    assert answers(prox, asked)[:2] == [1, 2]
    assert prox.queries.tolist() == [1, 1, 0]
    assert answers(prox, asked)[:2] == [1, 2]
    assert prox.queries.tolist() == [1, 1, 0]


def test_a_step_costs_the_answer_about_its_opponent(prox):
    opponent, step = policy(), torch.ones(SEEDS, 1, 1, dtype=torch.float64)
    for _ in range(2):  # the second time the answer is known
        prox(opponent=opponent, anchor=policy(), step_size=step)
        assert prox.queries.tolist() == [1, 1, 1]


def test_select_keeps_the_answers_seed_by_seed(prox):
    first, second = policy(), policy()
    answers(prox, first)
    answers(prox, second)
    chosen = prox.select(seeds(True, False, True), first, second)
    assert answers(prox, chosen) == [1, 2, 1]
    assert prox.queries.tolist() == [2, 2, 2]


def test_select_by_context_keeps_an_answer_where_all_contexts_were_asked_about(prox):
    known, other = policy(), policy()
    answers(prox, known)
    mask = torch.zeros(SEEDS, known.log_probabilities.shape[1], 1, dtype=torch.bool)
    mask[0], mask[1, 0] = True, True  # all of the first seed; one context of the second, which is all if it has one
    chosen = prox.select(mask, other, known)
    assert chosen.log_probabilities[0].equal(other.log_probabilities[0])
    assert chosen.log_probabilities[2].equal(known.log_probabilities[2])
    assert answers(prox, chosen) == [2, 2, 1]


@pytest.mark.parametrize("first_is_known", [True, False])
def test_select_charges_the_seeds_whose_policy_was_not_asked_about(prox, first_is_known):
    known, unknown = policy(), policy()
    answers(prox, known)
    pair = (known, unknown) if first_is_known else (unknown, known)
    chosen = prox.select(seeds(first_is_known, first_is_known, not first_is_known), *pair)
    assert answers(prox, chosen) == [1, 1, 2]
    assert prox.queries.tolist() == [1, 1, 2]


def test_select_of_policies_that_were_not_asked_about(prox):
    chosen = prox.select(seeds(True, False, True), policy(), policy())
    assert prox.queries.tolist() == [0, 0, 0]
    assert answers(prox, chosen) == [1, 1, 1]


def test_a_view_of_the_regularised_game_shares_answers_and_bill(prox):
    asked = policy()
    view = prox.regularised(prox.beta * 2, policy())
    assert answers(view, asked) == answers(prox, asked) == [1, 1, 1]
    assert prox.queries.tolist() == view.queries.tolist() == [1, 1, 1]


def test_a_snapshot_keeps_answers_and_bill(prox):
    asked = policy()
    prox.active = np.array([True, True, False])
    answers(prox, asked)
    state, snapshot = pickle.loads(pickle.dumps((asked, prox.snapshot())))
    resumed = exact(Fickle(asked=10), policy(), prox.beta)
    resumed.restore(snapshot)
    assert resumed.queries.tolist() == [1, 1, 0]
    assert answers(resumed, state) == [1, 1, 11]
    assert resumed.queries.tolist() == [1, 1, 1]


def test_a_policy_that_is_gone_is_forgotten(prox):
    for _ in range(5):
        answers(prox, policy())
    assert prox.snapshot()["answers"] == []


# --- algorithms ------------------------------------------------------------------------------------------------------

COSTS = {
    "nash_mp": (NashMP("theory"), 2),
    "omd": (OnlineMirrorDescent("theory"), 1),
    "self_play": (OnlineMirrorDescent(math.inf), 1),
    "nash_md": (NashMD("theory"), 1),
}
every_algorithm = pytest.mark.parametrize(("algorithm", "cost"), COSTS.values(), ids=COSTS)


@dataclass
class Rows:
    """A recorder in memory."""

    rows: list = field(default_factory=list)

    def row(self, seed, values, policy):
        self.rows.append((seed, values))

    def checkpoint(self, content):
        pass


def trained(algorithm, **limits):
    rng = np.random.default_rng(0)
    preference = np.stack([uniform(6, rng)[None] for _ in range(SEEDS)])
    games = Arena(matrix_game(preference), log_policy(1.0, (SEEDS, 1, 6), rng), (0.7, 0.7, 3.0))
    none = {"queries": None, "iterations": None, "seconds": None, "target": None}
    recorder, prox = Rows(), games.prox()
    measure = Measure(games.game, games.log_reference, games.beta)
    start = TabularPolicy(games.log_reference)
    Trainer(
        algorithm.bind(games.beta), prox, start, TableAverage(start), measure, Budget(**(none | limits)), recorder
    ).run()
    return recorder.rows, prox


@every_algorithm
def test_queries_of_an_iteration(algorithm, cost):
    rows, prox = trained(algorithm, iterations=20)
    assert [values["queries"] - cost * values["iteration"] for _, values in rows] == [0] * len(rows)
    assert prox.queries.tolist() == [20 * cost] * SEEDS


@every_algorithm
def test_a_seed_that_reached_the_target_asks_no_more(algorithm, cost):
    rows, prox = trained(algorithm, target=1e-4)
    last = dict(rows)
    assert len({values["iteration"] for values in last.values()}) > 1
    for seed, values in last.items():
        assert values["exploitability"] <= 1e-4
        assert prox.queries[seed] == values["queries"] == cost * values["iteration"]


@every_algorithm
def test_a_budget_of_queries_finishes_the_iteration_that_has_begun(algorithm, cost):
    _, prox = trained(algorithm, queries=7)
    assert prox.queries.tolist() == [7 if cost == 1 else 8] * SEEDS
