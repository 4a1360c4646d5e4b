"""Maximum-likelihood Bradley-Terry scores of counted votes, against choix and against closed forms."""

from __future__ import annotations

import choix
import numpy as np
import pytest

from nlhf.config import ConfigError
from nlhf.games.random_tournament import RandomTournament
from nlhf.numerics.bradley_terry import bradley_terry_scores, connected_parts, likelihood_scores, unbounded
from nlhf.references.base import BradleyTerryFit
from tests.test_games import HEAD, votes, written

pytestmark = pytest.mark.usefixtures("one_thread")


def counts(rng, n, most=9):
    """Random counts with a maximum of the likelihood."""
    while True:
        wins = rng.integers(0, most, (n, n)).astype(float) * (rng.random((n, n)) < 0.6)
        np.fill_diagonal(wins, 0)
        if unbounded(wins) is None and connected_parts(wins).max() == 0:
            return wins


@pytest.mark.parametrize("n", [2, 3, 5, 9, 20])
def test_scores_are_those_of_choix(n):
    wins = counts(np.random.default_rng(n), n)
    expected = choix.ilsr_pairwise_dense(wins, max_iter=10_000, tol=1e-12)
    assert likelihood_scores(wins) == pytest.approx(expected - expected.mean(), abs=1e-8)


@pytest.mark.parametrize("prior", [0.01, 1.0, 30.0])
def test_scores_with_a_prior_are_those_of_choix(prior):
    wins = np.random.default_rng(3).integers(0, 4, (6, 6)) * np.triu(np.ones((6, 6)), 1)  # the first one wins all
    pairs = [(i, j) for i, j in np.ndindex(6, 6) for _ in range(int(wins[i, j]))]
    expected = choix.opt_pairwise(6, pairs, alpha=prior / 2, tol=1e-12)
    scores = likelihood_scores(wins, prior)
    assert scores == pytest.approx(expected, abs=1e-5)  # choix stops where its objective no longer changes
    lost = (wins + wins.T) / (1 + np.exp(scores[:, None] - scores))
    assert np.abs(lost.sum(1) - wins.sum(0) - prior * scores).max() < 1e-12


def test_at_the_maximum_every_item_won_as_often_as_the_model_expects():
    wins = counts(np.random.default_rng(0), 30)
    scores = likelihood_scores(wins)
    expected = (wins + wins.T) / (1 + np.exp(scores - scores[:, None]))
    assert np.abs(wins.sum(1) - expected.sum(1)).max() < 1e-12 * wins.sum()
    assert abs(scores.sum()) < 1e-12


@pytest.mark.parametrize(("won", "lost"), [(7, 3), (2**53, 1), (1e-9, 3e-9), (1, 1), (1e12, 0.5)])
def test_two_items_have_the_odds_of_their_votes(won, lost):
    scores = likelihood_scores(np.array([[0.0, won], [lost, 0.0]]))
    assert scores[0] - scores[1] == pytest.approx(np.log(won) - np.log(lost), rel=1e-13, abs=1e-15)


def test_the_votes_of_a_tree_are_fitted_exactly_however_long_it_is():
    wins = np.zeros((60, 60))
    for k in range(59):
        wins[k, k + 1], wins[k + 1, k] = 1e6, 1
    assert np.diff(likelihood_scores(wins)) == pytest.approx(np.full(59, -np.log(1e6)), rel=1e-12)


@pytest.mark.parametrize(
    ("wins", "items", "won"),
    [
        ([[0, 1], [0, 0]], [0], True),
        ([[0, 1, 1], [2, 0, 1], [0, 0, 0]], [2], False),
        ([[0, 0, 0], [3, 0, 1], [1, 0, 0]], [1], True),
        ([[0, 1, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]], [0, 1], True),
        ([[0, 1, 0], [0, 0, 1], [1, 0, 0]], None, None),
        ([[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]], None, None),  # two parts, each with a maximum
        ([[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0]], [2], True),
        ([[0, 0], [0, 0]], None, None),
    ],
)
def test_who_keeps_the_likelihood_from_a_maximum(wins, items, won):
    found = unbounded(np.array(wins, dtype=float))
    assert (found and (found[0].tolist(), found[1])) == (items and (items, won))


def policy(path, seeds=(0,), reference=None, **options):
    """The reference's probabilities (S, X, n), and the game."""
    game = votes(path, **options).build(list(seeds))
    return np.exp((reference or BradleyTerryFit(1e-3, 0.0)).build(game, list(seeds)).numpy()), game


def test_the_reference_is_the_likelihood_fit_of_the_counts(tmp_path, caplog):
    pi, _ = policy(written(tmp_path, HEAD + "a,b,7,3\nc,d,6,4\n"))
    a, b, c, d = pi[0, 0]
    assert (a / b, c / d) == (pytest.approx(7 / 3, rel=1e-12), pytest.approx(1.5, rel=1e-12))
    assert a * b == pytest.approx(c * d, rel=1e-12)  # each part has mean 0
    of_the_game, of_the_reference = (record.getMessage() for record in caplog.records)
    assert "all such pairs count as even: (a, b) and (c, d)" in of_the_game
    assert "never compared" in of_the_reference
    assert "1 of 1 tables" in of_the_reference


def test_pairs_without_votes_carry_no_weight_and_counts_count(tmp_path, caplog):
    pi, _ = policy(written(tmp_path, HEAD + "a,b,7,3\nb,c,600,400\n"))
    a, b, c = pi[0, 0]
    assert (a / b, b / c) == (pytest.approx(7 / 3, rel=1e-12), pytest.approx(1.5, rel=1e-12))
    assert not caplog.records
    cycle = "a,b,7,3\nb,c,600,400\na,c,1,1\n"
    expected = choix.ilsr_pairwise_dense(np.array([[0, 7, 1], [3, 0, 600], [1, 400, 0]]), max_iter=10_000, tol=1e-12)
    assert np.log(policy(written(tmp_path, HEAD + cycle))[0][0, 0]) == pytest.approx(
        expected - np.log(np.exp(expected).sum()), abs=1e-8
    )


def test_a_tie_is_half_a_win_and_pseudo_votes_are_votes(tmp_path):
    pi, _ = policy(written(tmp_path, HEAD + "a,b,6,2\na,b,0.5,0.5\na,b,0.5,0.5\n"))
    assert pi[0, 0, 0] / pi[0, 0, 1] == pytest.approx(7 / 3, rel=1e-12)
    pi, game = policy(written(tmp_path, HEAD + "a,b,7,0\nc,b,1,1\n"), pseudo_count=1)
    assert pi[0, 0, 0] / pi[0, 0, 1] == pytest.approx(8, rel=1e-12)
    assert game.wins[0, 0].tolist() == [[0, 8, 0], [1, 0, 2], [0, 2, 0]]


def test_every_context_has_its_own_fit(tmp_path):
    path = written(tmp_path, "q," + HEAD + "1,a,b,7,3\n2,a,b,1,4\n")
    pi, _ = policy(path, context=["q"])
    assert (pi[0, :, 0] / pi[0, :, 1]) == pytest.approx([7 / 3, 1 / 4], rel=1e-12)


def test_every_seed_fits_its_own_resampled_votes(tmp_path):
    path = written(tmp_path, HEAD + "a,b,50,40\nb,c,30,20\nc,a,60,70\n")
    seeds = [3, 1, 4]
    pi, game = policy(path, seeds, bootstrap=True)
    assert len({table.tobytes() for table in game.wins}) == 3
    for k, seed in enumerate(seeds):
        table = votes(path, bootstrap=True).build([seed])
        assert (table.wins[0] == game.wins[k]).all()
        wins = table.wins[0, 0]
        assert wins == pytest.approx((table.dense()[0, 0].numpy() + 0.5) * (wins + wins.T), rel=1e-12, abs=1e-12)
        expected = choix.ilsr_pairwise_dense(wins, max_iter=10_000, tol=1e-12)
        assert np.log(pi[k, 0]) == pytest.approx(expected - np.log(np.exp(expected).sum()), abs=1e-8)


REFUSED = {
    "wins all": (HEAD + "a,b,2,0\na,c,1,0\nb,c,1,1\n", {}, "a won every vote, and", "reference.prior=0.1"),
    "loses all": (HEAD + "a,b,2,1\na,c,1,0\nb,c,1,0\n", {}, "c lost every vote, and", "game.pseudo_count"),
    "two win all": (HEAD + "a,b,2,1\na,c,1,0\nc,d,1,1\n", {}, "a, b won every vote against the other items, and"),
    "in a context": ("q," + HEAD + "1,a,b,1,1\n2,a,b,0,1\n", {"context": ["q"]}, "b won every vote in context 2,"),
    "of a seed": (HEAD + "a,b,1,1\n", {"bootstrap": True}, "won every vote in the votes of seed"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_scores_that_would_be_infinite_are_refused_by_name_and_a_prior_bounds_them(tmp_path, case):
    text, options, *words = REFUSED[case]
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as refused:
        policy(path, range(6), **options)
    assert all(word in str(refused.value) for word in words), str(refused.value)
    pi, _ = policy(path, range(6), BradleyTerryFit(1e-3, 0.1), **options)
    assert (pi > 0).all()
    assert pi.sum(-1) == pytest.approx(np.ones(pi.shape[:2]), rel=1e-12)


@pytest.mark.parametrize("name", ["tversky1969", "mtbench_human", "vicuna80_human"])
def test_the_embedded_votes_have_the_fit_of_choix(name, caplog):
    pi, game = policy(f"embedded:{name}.csv")
    expected = choix.ilsr_pairwise_dense(game.wins[0, 0], max_iter=10_000, tol=1e-12)
    assert np.log(pi[0, 0]) == pytest.approx(expected - np.log(np.exp(expected).sum()), abs=1e-8)
    assert not caplog.records


def test_games_without_votes_keep_the_fit_of_their_preferences():
    game = RandomTournament(4, 2).build([0, 1])
    scores = BradleyTerryFit(1e-3, 0.0).build(game, [0, 1]).numpy()
    for index in np.ndindex(2, 2):
        expected = bradley_terry_scores(game.dense()[index].numpy() + 0.5, 1e-3)
        assert scores[index] - scores[index].mean() == pytest.approx(expected, abs=1e-9)


def test_a_fit_that_does_not_converge_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("nlhf.numerics.bradley_terry.NEWTON_STEPS", 2)
    with pytest.raises(ConfigError, match=r"reference=bradley_terry finds no scores .*set reference\.prior=1"):
        policy(written(tmp_path, HEAD + "a,b,7,3\n"))
