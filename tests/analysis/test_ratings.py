"""Ratings of `nlhf votes show`: against other programs, refits, numerical derivatives and closed forms."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from scipy import optimize, stats

from nlhf.leaderboard.ratings import ELO, ratings
from nlhf.leaderboard.summary import examine
from nlhf.numerics.bradley_terry import likelihood_scores, sigmoid
from nlhf.stats.left_out import left_out_residuals
from nlhf.stats.paired_votes import PairedVotes
from nlhf.stats.rank_ranges import rank_ranges
from nlhf.stats.resampled_scores import resampled_interval
from nlhf.stats.scores import fitted
from nlhf.stats.separation import separation

DATA = Path(__file__).resolve().parents[1] / "data"
ORACLES = json.loads((DATA / "ratings.json").read_text())["files"]


def independent(wins, ties=None):
    wins = np.array(wins, dtype=float)
    return PairedVotes.independent(wins, np.zeros_like(wins) if ties is None else ties)


def random_votes(rng, n=5, clusters=30, votes=12):
    """Votes of clusters with effects of their own on random pairs."""
    a = rng.integers(0, n, clusters * votes)
    b = (a + rng.integers(1, n, len(a))) % n
    cluster = np.repeat(np.arange(clusters), votes)
    scores = np.linspace(-0.8, 0.8, n) + rng.normal(0, 0.5, (clusters, n))
    won = (rng.random(len(a)) < sigmoid(scores[cluster, a] - scores[cluster, b])).astype(float)
    won[rng.random(len(a)) < 0.2] = 0.5
    return a, b, won, cluster


def clustered(a, b, won, cluster, n=5):
    return PairedVotes.clustered(n, a, b, np.stack([won, 1 - won]), cluster, "voter")


@pytest.mark.parametrize("name", ORACLES)
def test_scores_and_errors_are_those_of_other_programs(name):
    with (DATA / name).open(newline="", encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row["judge"] == ORACLES[name]["judge"]]
    items = ORACLES[name]["items"]
    wins, ties = np.zeros((2, len(items), len(items)))
    for row in rows:
        i, j, share = items.index(row["item_a"]), items.index(row["item_b"]), float(row["wins_a"])
        wins[i, j] += share
        wins[j, i] += 1 - share
        ties[i, j] += share == 0.5
        ties[j, i] += share == 0.5
    fit = fitted(independent(wins, ties))
    for package, scores in ORACLES[name]["scores"].items():
        assert fit.scores == pytest.approx(scores, abs=1e-9), package
    errors = np.array(ORACLES[name]["errors"]["arena-rank"])  # without leaving votes out
    assert fit.errors == pytest.approx(errors, rel=5e-3)
    assert (fit.errors > errors).all()


def test_the_covariance_is_that_of_numerical_derivatives_of_each_cluster():
    a, b, won, cluster = random_votes(np.random.default_rng(0), clusters=400, votes=6)

    def losses(free):
        """The negative log-likelihood of each cluster; the first score is 0."""
        s = np.concatenate([[0.0], free])
        logits = s[a] - s[b]
        return np.bincount(cluster, won * np.logaddexp(0, -logits) + (1 - won) * np.logaddexp(0, logits))

    best = optimize.minimize(lambda free: losses(free).sum(), np.zeros(4), tol=1e-12).x
    h, unit = 1e-4, np.eye(4)
    gradients = np.array([(losses(best + h * e) - losses(best - h * e)) / (2 * h) for e in unit])
    hessian = np.array(
        [
            [
                sum(p * q * losses(best + h * (p * e + q * f)).sum() for p in (1, -1) for q in (1, -1)) / (4 * h * h)
                for f in unit
            ]
            for e in unit
        ]
    )
    inverse = np.linalg.inv(hessian)
    free = np.zeros((5, 5))
    free[1:, 1:] = inverse @ (gradients @ gradients.T) @ inverse
    centre = np.eye(5) - 1 / 5
    fit = fitted(clustered(a, b, won, cluster))
    assert fit.scores - fit.scores[0] == pytest.approx(np.concatenate([[0], best]), abs=1e-5)
    assert fit.covariance == pytest.approx(centre @ free @ centre.T, rel=0.03, abs=2e-5)


@pytest.mark.parametrize("votes", [3, 40], ids=["few rows in a cluster", "many rows"])
def test_the_covariance_is_the_jackknife_of_refits(votes):
    a, b, won, cluster = random_votes(np.random.default_rng(1), votes=votes)
    fit = fitted(clustered(a, b, won, cluster))
    moves = []
    for number in range(30):
        rest = cluster != number
        moves.append(likelihood_scores(clustered(a[rest], b[rest], won[rest], cluster[rest]).wins) - fit.scores)
    jackknife = 29 / 30 * np.array(moves).T @ np.array(moves)
    assert fit.errors == pytest.approx(np.sqrt(np.diag(jackknife)), rel=0.03 if votes < 10 else 0.01)
    assert fit.freedom == 29


def test_residuals_without_a_cluster_solve_the_equations_of_its_refit():
    """Left-out residuals r~ satisfy (H - X^T D X)^-1 X^T V r = H^-1 X^T V r~ for few and many rows in a cluster."""
    a, b, won, cluster = random_votes(np.random.default_rng(2), clusters=8, votes=30)
    votes = clustered(a, b, won, np.where(cluster == 3, 2, cluster) * (cluster > 0))
    expected = sigmoid(np.subtract.outer(*[np.linspace(-1, 1, 5)] * 2))
    p = expected[votes.a, votes.b]
    rows = np.zeros((len(p), 5))
    rows[np.arange(len(p)), votes.a], rows[np.arange(len(p)), votes.b] = 1, -1
    information = rows.T @ np.diag(votes.votes * p * (1 - p)) @ rows + 1
    adjusted = left_out_residuals(votes, expected, np.linalg.inv(information))
    for number in np.unique(votes.cluster):
        here = votes.cluster == number
        x, d = rows[here], np.diag((votes.votes * p * (1 - p))[here])
        moved = np.linalg.solve(information - x.T @ d @ x, x.T @ (votes.votes * (votes.share - p))[here])
        assert np.linalg.solve(information, x.T @ (votes.votes * adjusted)[here]) == pytest.approx(moved, rel=0.01)


def test_copies_of_votes_within_a_cluster_change_nothing_and_independent_copies_do():
    a, b, won, cluster = random_votes(np.random.default_rng(3))
    once = fitted(clustered(a, b, won, cluster))
    copied = clustered(*(np.tile(values, 4) for values in (a, b, won, cluster)))
    assert fitted(copied).covariance == pytest.approx(once.covariance, rel=1e-9)
    assert fitted(clustered(b, a, 1 - won, cluster)).interval == pytest.approx(once.interval, abs=1e-12)
    wins, ties = copied.wins, np.zeros((5, 5))
    assert (fitted(independent(wins, ties)).errors < 0.6 * once.errors).all()
    interval = resampled_interval(copied, fitted(copied), 300)
    assert interval == pytest.approx(once.interval, abs=0.15)


def test_bootstrap_and_sandwich_agree_on_many_votes():
    wins = 2000 * sigmoid(np.subtract.outer(*[np.array([1.0, 0.3, -0.2, -1.1])] * 2)) * (1 - np.eye(4))
    votes = independent(np.rint(wins))
    fit = fitted(votes)
    assert resampled_interval(votes, fit, 1000) == pytest.approx(fit.interval, abs=0.25 * fit.errors.mean())


def test_bootstrap_scores_maximise_the_likelihood_of_each_sample():
    from nlhf.stats.resampled_scores import _samples, _scores

    votes = clustered(*random_votes(np.random.default_rng(4), clusters=20, votes=25))
    samples = np.array(list(_samples(votes, 30, np.random.default_rng(0))))
    assert samples.sum((1, 2)) == pytest.approx(np.full(30, 500))
    expected = np.array([likelihood_scores(sample) for sample in samples])
    scores = _scores(samples, fitted(votes))
    assert scores - scores.mean(1, keepdims=True) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize(
    ("wins", "scores"),
    [
        ([[0, 5, 5], [0, 0, 3], [0, 3, 0]], [np.inf, 0, 0]),
        ([[0, 0, 0], [5, 0, 3], [0, 3, 0]], [-np.inf, 0, 0]),
        ([[0, 5, 5], [0, 0, 5], [0, 0, 0]], [np.inf, np.nan, -np.inf]),  # an order without contradictions
        ([[0, 0, 0, 0], [1, 0, 0, 3], [1, 0, 0, 0], [0, 3, 0, 0]], [-np.inf, 0, np.nan, 0]),  # 1 and 2 beat 0 only
        ([[0, 5, 0, 0], [0, 0, 3, 0], [0, 1, 0, 0], [0, 0, 1, 0]], [np.inf, np.log(3) / 2, -np.log(3) / 2, np.inf]),
        ([[0, 3, 0, 0], [1, 0, 0, 0], [0, 0, 0, 2], [0, 0, 2, 0]], [np.log(3) / 2, -np.log(3) / 2, 0, 0]),  # two parts
    ],
)
def test_who_has_an_infinite_score(wins, scores):
    fit = fitted(independent(wins))
    assert fit.scores == pytest.approx(np.array(scores), abs=1e-12, nan_ok=True)
    assert np.isfinite(fit.finite).all()


def test_the_finite_end_of_an_infinite_score_is_that_of_half_a_vote_more():
    """Two items outside a core get a vote more each: the odds of 200 to 0 are 201 to 1, with the variance 1 + 1/201."""
    fit = fitted(independent([[0, 200], [0, 0]]))
    low, high = fit.interval[:, 0]
    assert high == np.inf
    assert 2 * fit.finite[0] == pytest.approx(np.log(201))
    assert 2 * low == pytest.approx(np.log(201) - stats.norm.ppf(0.975) * np.sqrt(1 + 1 / 201), abs=0.03)
    assert fit.interval[:, 1] == pytest.approx([-np.inf, -low])


def test_a_cluster_of_many_wins_is_no_more_evidence_than_one_vote():
    """A third item of even votes makes a core of two; item 0 wins 3,000 votes in clusters of equal size."""
    rng = np.random.default_rng(5)
    a = np.repeat([0, 1], 3000)
    b = np.concatenate([rng.integers(1, 3, 3000), np.full(3000, 2)])
    won = np.concatenate([np.ones(3000), np.arange(3000) % 2])
    for size in (1, 100):
        cluster = np.arange(6000) // size
        fit = fitted(PairedVotes.clustered(3, a, b, np.stack([won, 1 - won]), cluster, "voter"))
        odds = 2 * (3000 / size) + 1  # of item 0 against the others: half a cluster of losses in all
        assert fit.scores[0] == np.inf
        assert fit.finite[0] == pytest.approx(np.log(odds), abs=0.01)
        assert fit.errors[0] == pytest.approx(np.sqrt(2), abs=0.05)


def test_the_critical_value_is_that_of_tukey():
    """All pairs of k independent means: the quantile of the studentized range, over the square root of two."""
    for k in (2, 3, 6):
        wins = 1e6 * (1 - np.eye(k))
        fit = fitted(independent(wins))
        from nlhf.stats.rank_ranges import _critical

        precision = (1 - np.eye(k)) / np.sqrt(
            np.add.outer(*[np.diag(fit.covariance)] * 2) - 2 * fit.covariance + np.eye(k)
        )
        expected = stats.studentized_range.ppf(0.95, k, 1e9) / np.sqrt(2)
        assert _critical(fit, precision, 0) == pytest.approx(expected, rel=0.03)


def test_ranks_are_ranges_where_votes_do_not_decide():
    wins = np.array([[0, 500, 900, 900], [500, 0, 900, 900], [100, 100, 0, 900], [100, 100, 100, 0]])
    assert rank_ranges(fitted(independent(wins))).T.tolist() == [[1, 2], [1, 2], [3, 3], [4, 4]]
    assert rank_ranges(fitted(independent(wins / 100))).T.tolist() == [[1, 2], [1, 2], [3, 4], [3, 4]]
    apart = np.zeros((4, 4))
    apart[:2, :2], apart[2:, 2:] = [[0, 900], [100, 0]], [[0, 900], [100, 0]]  # two groups
    assert rank_ranges(fitted(independent(apart))).T.tolist() == [[1, 3], [2, 4], [1, 3], [2, 4]]


def test_items_with_few_votes_or_clusters_have_no_interval():
    wins = np.array([[0, 50, 1], [50, 0, 1], [1, 1, 0]])
    fit = fitted(independent(wins))
    assert np.isnan(fit.interval[:, 2]).all()
    assert np.isfinite(fit.interval[:, :2]).all()
    assert rank_ranges(fit).T.tolist() == [[1, 3]] * 3
    for clusters in (1, 5):
        votes = clustered(*random_votes(np.random.default_rng(6), clusters=clusters, votes=60))
        few = fitted(votes)
        assert np.isnan(few.interval).all()
        assert np.isnan(resampled_interval(votes, few)).all()
        assert rank_ranges(few).T.tolist() == [[1, 5]] * 5
    assert np.isfinite(few.scores).all()


def test_ratings_are_on_the_scale_of_elo():
    rated = ratings(("a", "b"), independent([[0, 1000], [100, 0]]))
    assert rated.ratings[0] - rated.ratings[1] == pytest.approx(400)
    assert rated.ratings.mean() == pytest.approx(1000)
    assert rated.high - rated.ratings == pytest.approx(ELO * stats.norm.ppf(0.975) * rated.fit.errors)
    assert rated.order == [0, 1]


def test_sentences_name_groups_and_infinite_ratings():
    wins = np.zeros((6, 6))
    wins[0, 1:3], wins[1, 2], wins[2, 1], wins[3, 4], wins[4, 3] = 9, 9, 9, 9, 9
    text = " ".join(ratings(tuple("abcdef"), independent(wins)).lines)
    assert "cannot be compared, as no votes connect them: (a, b, c) and (d, e) and (f)." in text
    assert "a: no finite rating, because other items lost every vote that connects them to it." in text
    assert "f: too few votes or clusters for an interval." in text
    assert "f: the votes leave the rating open" in text


def test_votes_show_has_ratings_of_real_votes():
    summary = examine(str(DATA / "mtbench.csv"), where={"judge": "human"})
    assert [summary.ratings.items[k] for k in summary.ratings.order][:3] == ["gpt-4", "claude-v1", "gpt-3.5-turbo"]
    assert summary.ratings.ranks[:, summary.ratings.items.index("claude-v1")].tolist() == [2, 3]
    by_voter = examine(str(DATA / "mtbench.csv"), where={"judge": "human"}, cluster=["annotator"]).ratings
    assert by_voter.fit.freedom == 64
    assert by_voter.assumption == "with votes clustered by annotator (65 clusters)"
    assert by_voter.ratings == pytest.approx(summary.ratings.ratings)
    drawn = examine(str(DATA / "mtbench.csv"), where={"judge": "human"}, intervals="bootstrap").ratings
    assert drawn.low == pytest.approx(summary.ratings.low, abs=3)
    assert "bootstrap samples" in next(iter(drawn.lines))


def test_the_separation_of_the_core_has_the_most_items():
    found = separation(
        np.array([[0, 1, 0, 0, 0], [1, 0, 1, 0, 0], [0, 0, 0, 1, 0], [0, 0, 0, 0, 1], [0, 0, 1, 0, 0.0]])
    )
    assert found.core.tolist() == [False, False, True, True, True]
    assert found.extreme[:2].tolist() == [np.inf, np.inf]
