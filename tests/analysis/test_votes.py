"""Cycles in votes: against numbers that were measured without nlhf, least squares, brute force, and known models."""

from __future__ import annotations

import csv
import itertools
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from scipy import optimize

from nlhf.numerics.bradley_terry import bradley_terry_scores, sigmoid
from nlhf.stats.cyclic import Diagnosis, cyclic_share, cyclic_triples, diagnose

DATA = Path(__file__).resolve().parents[1] / "data"
CYCLE = np.array([[0.5, 0.9, 0.1], [0.1, 0.5, 0.9], [0.9, 0.1, 0.5]])


@cache
def read(name):
    with (DATA / name).open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def counted(name, drop=(), **where):
    """P, and the votes and ties behind it, of the rows of a file in tests/data."""
    rows = [row for row in read(name) if all(row[key] == value for key, value in where.items())]
    rows = [row for row in rows if not {row["item_a"], row["item_b"]} & set(drop)]
    items = sorted({row[key] for row in rows for key in ("item_a", "item_b")})
    wins, ties = np.zeros((2, len(items), len(items)))
    for row in rows:
        i, j = items.index(row["item_a"]), items.index(row["item_b"])
        a, b = float(row["wins_a"]), float(row["wins_b"])
        wins[i, j] += a
        wins[j, i] += b
        tie = a == b == 0.5
        ties[i, j] += tie
        ties[j, i] += tie
    number = wins + wins.T
    return np.divide(wins, number, out=np.full(wins.shape, 0.5), where=number > 0), np.stack([number, ties])


def random_preference(n, rng):
    upper = np.triu(rng.random((n, n)), 1)
    return upper + np.tril(1 - upper.T, -1) + np.eye(n) / 2


# --- published and independently measured numbers (tests/data/README.md) --------------------------------------------


@pytest.mark.parametrize(
    ("name", "where", "drop", "comparisons", "triples", "cyclic", "rejected"),
    [
        ("gambles.csv", {"study": "tversky1969"}, (), 1600, 4, 0.923, True),
        ("gambles.csv", {"study": "tversky1969", "subject": "1"}, (), 200, 5, 0.983, True),
        ("consumer.csv", {"domain": "Beer"}, (), 401, 3, 0.207, True),
        ("consumer.csv", {"domain": "Films"}, (), 401, 2, 0.396, True),
        ("vicuna80.csv", {"judge": "human"}, (), 6720, 1, 0.024, False),
        ("vicuna80.csv", {"judge": "human"}, ("gpt4",), 5040, 1, 0.066, False),
        ("mtbench.csv", {"judge": "human"}, (), 3355, 0, 0.028, True),
    ],
    ids=["tversky", "subject 1", "beer", "films", "vicuna", "vicuna without gpt4", "mtbench"],
)
def test_real_votes_have_the_published_cycles(name, where, drop, comparisons, triples, cyclic, rejected):
    preference, number = counted(name, drop, **where)
    diagnosis = diagnose(preference, number)
    assert number[0].sum() / 2 == comparisons
    assert len(diagnosis.triples) == triples
    assert diagnosis.cyclic == pytest.approx(cyclic, abs=6e-4)
    assert (diagnosis.p < 0.05) == rejected
    assert diagnosis.sentence.endswith("if votes are independent.")


def test_the_votes_of_each_prompt_are_cyclic_as_published():
    preferences = [counted("vicuna80.csv", judge="human", question_id=str(number))[0] for number in range(1, 81)]
    assert np.mean([len(cyclic_triples(preference)) for preference in preferences]) == pytest.approx(4.2, abs=0.05)
    assert np.mean([cyclic_share(preference) for preference in preferences]) == pytest.approx(0.44, abs=0.005)


# --- the split -------------------------------------------------------------------------------------------------------


def least_squares_share(preference):
    """The residual of the best potential on all pairs, over the whole."""
    n = len(preference)
    pairs = list(itertools.combinations(range(n), 2))
    design = np.zeros((len(pairs), n))
    for row, (i, j) in enumerate(pairs):
        design[row, i], design[row, j] = 1, -1
    values = np.array([preference[i, j] - 0.5 for i, j in pairs])
    potential = np.linalg.lstsq(design, values)[0]
    return ((values - design @ potential) ** 2).sum() / (values**2).sum()


@pytest.mark.parametrize("n", [3, 4, 7, 20])
def test_the_cyclic_share_is_the_residual_of_least_squares(n):
    rng = np.random.default_rng(n)
    several = np.stack([random_preference(n, rng) for _ in range(5)])
    assert cyclic_share(several) == pytest.approx([least_squares_share(one) for one in several], rel=1e-10)


def test_the_cyclic_share_of_known_games():
    assert cyclic_share(CYCLE) == pytest.approx(1, rel=1e-15)
    linear = 0.5 + 0.1 * (np.arange(5)[:, None] - np.arange(5))
    assert cyclic_share(linear) == pytest.approx(0, abs=1e-28)
    chain = np.triu(np.ones((5, 5)), 1) + np.eye(5) / 2
    assert cyclic_share(chain) == pytest.approx(0.2, rel=1e-14)  # tests/data/README.md
    assert cyclic_share(np.full((4, 4), 0.5)) == 0
    assert cyclic_share(np.array([[0.5, 0.9], [0.1, 0.5]])) == 0


# --- triples ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_cyclic_triples_are_all_that_brute_force_finds_each_once_and_in_their_direction(seed):
    preference = np.round(random_preference(7, np.random.default_rng(seed)), 1)  # with draws
    preference = np.triu(preference, 1) + np.tril(1 - preference.T, -1) + np.eye(7) / 2
    found = cyclic_triples(preference)
    expected = {
        frozenset(triple)
        for triple in itertools.permutations(range(7), 3)
        if all(preference[triple[k], triple[(k + 1) % 3]] > 0.5 for k in range(3))
    }
    assert {frozenset(triple) for triple in found} == expected
    assert len(found) == len(expected) > 0
    for i, j, k in found:
        assert min(preference[i, j], preference[j, k], preference[k, i]) > 0.5


def test_a_draw_closes_no_cycle():
    assert cyclic_triples(CYCLE) == [(0, 1, 2)]
    assert cyclic_triples(CYCLE.T) == [(0, 2, 1)]
    open_ended = CYCLE.copy()
    open_ended[0, 1] = open_ended[1, 0] = 0.5
    assert cyclic_triples(open_ended) == []


# --- Bradley-Terry ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
def test_the_scores_maximise_the_likelihood(weighted):
    rng = np.random.default_rng(0)
    preference = random_preference(6, rng)
    number = rng.integers(0, 30, (6, 6)).astype(float)
    number = np.triu(number, 1) + np.triu(number, 1).T
    weight = number if weighted else np.ones((6, 6))

    def loss(scores):
        logits = scores[:, None] - scores
        return (weight * preference * np.logaddexp(0, -logits)).sum() + 0.01 * (scores @ scores) / 2

    theirs = optimize.minimize(loss, np.zeros(6), method="BFGS", options={"gtol": 1e-9}).x
    ours = bradley_terry_scores(preference, 0.01, number if weighted else None)
    assert ours == pytest.approx(theirs, abs=1e-5)  # as good as differences of the loss can tell
    assert loss(ours) <= loss(theirs)


def test_the_scores_of_a_bradley_terry_model_are_its_own():
    scores = np.array([2.0, 0.5, 0, -0.7, -1.8])
    found = bradley_terry_scores(sigmoid(scores[:, None] - scores), 1e-9)
    assert found - found.mean() == pytest.approx(scores - scores.mean(), abs=1e-7)


def test_the_winner_of_every_vote_has_a_finite_score():
    chain = np.triu(np.ones((5, 5)), 1) + np.eye(5) / 2
    scores = bradley_terry_scores(chain, 1e-3, np.full((5, 5), 1000.0))
    assert np.isfinite(scores).all()
    assert (np.diff(scores) < 0).all()
    assert np.isfinite(sigmoid(np.array([-1e308, 1e308]))).all()


# --- the null --------------------------------------------------------------------------------------------------------


def cast(preference, number, rng):
    """P of so many votes on every pair."""
    wins = rng.binomial(number, np.triu(preference, 1)) / number
    return np.triu(wins, 1) + np.tril(1 - wins.T, -1) + np.eye(len(preference)) / 2


def constant(n, number):
    return np.stack([number * (1 - np.eye(n)), np.zeros((n, n))])


def test_votes_of_a_cycle_are_called_cyclic():
    found = diagnose(cast(CYCLE, 400, np.random.default_rng(0)), constant(3, 400))
    assert found.p < 0.005
    assert "1 of 1 triples are cyclic by majority" in found.sentence
    assert "this rejects a Bradley-Terry model, but not every transitive model" in found.sentence


def test_few_votes_do_not_show_a_cycle_however_cyclic_they_are():
    found = diagnose(CYCLE.round(), constant(3, 1))
    assert found.cyclic == 1
    assert found.p > 0.05
    assert "these votes do not reject a Bradley-Terry model" in found.sentence


def test_without_numbers_of_votes_nothing_is_said_of_chance():
    for number in (None, np.zeros((2, 3, 3))):
        found = diagnose(CYCLE, number)
        assert np.isnan([found.null, found.p]).all()
        start = "1 of 1 triples are cyclic by majority; "
        assert found.sentence == f"{start}the votes are not known well enough to test this against chance."


def test_what_is_no_model_of_scores_is_not_called_cyclic_where_every_majority_is_transitive():
    """Each of a chain beats the next by little and the last by little too: no scores do that, and no cycle is there."""
    even = np.array([[0.5, 0.95, 0.55], [0.05, 0.5, 0.95], [0.45, 0.05, 0.5]])
    found = diagnose(even, constant(3, 400))
    assert found.triples == []
    assert found.p < 0.05
    assert "this rejects a Bradley-Terry model, although every majority is transitive" in found.sentence
    assert "more than chance" not in found.sentence


def test_two_items_make_no_cycle():
    found = diagnose(np.array([[0.5, 0.9], [0.1, 0.5]]), constant(2, 10))
    assert (found.cyclic, found.p, found.triples) == (0, 1, [])
    assert found.sentence.startswith("two items make no cycle; ")


def test_the_same_votes_have_the_same_p():
    preference = random_preference(5, np.random.default_rng(0))
    preference[np.triu_indices(5, 1)] = np.rint(7 * preference[np.triu_indices(5, 1)]) / 7
    preference = np.triu(preference, 1) + np.tril(1 - preference.T, -1) + np.eye(5) / 2
    one, two = (diagnose(preference, constant(5, 7)) for _ in range(2))
    assert (one.p, one.null, one.cyclic) == (two.p, two.null, two.cyclic)
    assert isinstance(one, Diagnosis)
    assert one.null != diagnose(preference, constant(5, 7), seed=1).null
