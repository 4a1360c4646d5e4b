"""Intervals against other implementations and against the share of studies in which they hold the truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from nlhf.stats.bootstrap import expanded_tail, median, redrawn
from nlhf.stats.proportions import wilson
from nlhf.stats.survival import censored_median, censored_median_interval

RNG = np.random.default_rng(0)


# --- statistics ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 3, 8, 33])
def test_the_median_is_numpys_and_infinite_values_are_values(n):
    values = RNG.standard_normal((5, n))
    assert median(values).tolist() == np.median(values, axis=-1).tolist()
    assert median(np.full((2, n), np.inf)).tolist() == [np.inf, np.inf]
    assert median(np.array([-np.inf, 1, 2, np.inf])) == 1.5
    assert median(np.array([1, 2, np.inf, np.inf])) == np.inf
    assert np.isnan(median(np.array([-np.inf, np.inf])))  # any number would do


# --- the censored median ---------------------------------------------------------------------------------------------


def kaplan_meier(costs, reached):
    """Where scipy's estimate of the survival function crosses one half, the middle on the logarithmic scale where it
    runs along it."""
    if not reached.any():
        return np.inf
    sample = stats.CensoredData(uncensored=costs[reached], right=costs[~reached])
    survival = stats.ecdf(sample).sf
    first, second = (
        min(survival.quantiles[survival.probabilities <= height], default=np.inf) for height in (0.5 + 1e-9, 0.5 - 1e-9)
    )
    return first if first == second else 10 ** ((np.log10(first) + np.log10(second)) / 2)


def test_the_censored_median_is_that_of_kaplan_and_meier():
    rng = np.random.default_rng(1)
    infinite = between = 0
    for _ in range(300):
        n = int(rng.integers(1, 25))
        costs = rng.integers(1, 12, n).astype(float)  # many ties
        reached = rng.random(n) < rng.choice([0.3, 0.6, 0.9, 1])
        found = censored_median(costs, reached)
        assert found.shape == (1,)
        assert found[0] == pytest.approx(kaplan_meier(costs, reached), rel=1e-14)
        infinite += np.isinf(found[0])
        between += found[0] not in (*costs, np.inf)
    assert 20 < infinite < 200
    assert 20 < between < 200


@pytest.mark.parametrize("n", [1, 2, 5, 6, 31, 32])
def test_where_all_reach_the_target_it_is_the_median_of_the_logarithms(n):
    costs = np.exp(3 * np.random.default_rng(n).standard_normal(n))
    found = censored_median(costs, np.ones(n, bool))[0]
    assert found == pytest.approx(np.exp(np.median(np.log(costs))), rel=1e-14)
    assert censored_median(1000 * costs, np.ones(n, bool))[0] == pytest.approx(1000 * found, rel=1e-14)  # of any unit


def test_counts_mean_the_same_as_copies():
    rng = np.random.default_rng(2)
    costs, reached = rng.integers(1, 9, 12).astype(float), rng.random(12) < 0.6
    drawn = rng.integers(12, size=(200, 12))
    counts = np.array([np.bincount(row, minlength=12) for row in drawn])
    expected = [kaplan_meier(costs[row], reached[row]) for row in drawn]
    assert censored_median(costs, reached, counts).tolist() == pytest.approx(expected, rel=1e-14)
    assert sorted(set(expected)) == pytest.approx([3, np.sqrt(3 * 4), 4, np.sqrt(4 * 7), 7, np.inf])


@pytest.mark.parametrize(
    ("costs", "reached", "expected"),
    [
        ([10, 20, 30], [1, 1, 1], 20),
        ([10, 20, 30, 40], [1, 1, 1, 1], np.sqrt(20 * 30)),  # half have reached it from 20 to 30
        ([10, 20, 20, 30], [1, 1, 1, 1], 20),
        ([10, 20, 25, 40], [1, 1, 0, 1], np.sqrt(20 * 40)),  # the end at 25 changes nothing
        ([10, 20, 25, 30, 40, 50], [1, 1, 0, 1, 1, 1], 30),  # 4/6 survive 20, 2/3 of them 30
        ([10, 20, 100, 100], [1, 1, 0, 0], np.inf),  # half, and no other ever
        ([0, 0, 8, 9], [1, 1, 1, 1], 0),
        ([10, 20, 100, 100, 100], [1, 1, 0, 0, 0], np.inf),  # three of five ran out of budget
        ([10, 20, 30, 100, 100], [1, 1, 1, 0, 0], 30),
        ([5, 10, 20, 30], [0, 1, 1, 1], 20),  # ended before any reached: as if it were not there
        ([10, 20, np.inf, np.inf, np.inf], [1, 1, 0, 0, 0], np.inf),  # failed: never
        ([10, 10, 10], [1, 0, 0], np.inf),  # at equal costs, reaching comes first: 2/3 survive
        ([10], [0], np.inf),
    ],
)
def test_a_censored_median_by_hand(costs, reached, expected):
    assert censored_median(np.array(costs, float), np.array(reached, bool))[0] == pytest.approx(expected, rel=1e-14)


def test_an_early_end_is_not_taken_for_the_target():
    """Half of the seeds end at random before they get there: the estimate finds the median, the naive one does not."""
    rng = np.random.default_rng(3)
    cost, end = rng.exponential(1, 40_000), rng.exponential(1, 40_000)
    reached = cost <= end
    observed = np.minimum(cost, end)
    assert censored_median(observed, reached)[0] == pytest.approx(np.log(2), rel=0.02)
    assert np.median(observed) == pytest.approx(np.log(2) / 2, rel=0.02)


def test_the_interval_of_a_censored_median_is_that_of_copies():
    """Ten seeds with two settings each: copies of whole seeds."""
    rng = np.random.default_rng(4)
    costs, reached, seeds = rng.integers(1, 30, 20).astype(float), rng.random(20) < 0.7, np.tile(range(10), 2)
    expected = []
    for counts in redrawn(10)[:, seeds].astype(int):
        row = np.repeat(np.arange(20), counts)
        expected.append(kaplan_meier(costs[row], reached[row]))
    found = censored_median_interval(costs, reached, seeds)
    assert found == pytest.approx(tuple(np.quantile(expected, [0.025, 0.975], method="nearest")), rel=1e-14)
    assert np.isnan(censored_median_interval(costs, reached, np.tile(range(4), 5))).all()
    low, high = censored_median_interval(np.array([1.0, 2, 3, 9, 9, 9]), np.array([1, 1, 1, 0, 0, 0], bool))
    assert (low, high) == pytest.approx((np.sqrt(2), np.inf), rel=1e-14)
    more, half = stats.binom.sf(3, 6, 1 / 6), stats.binom.pmf(3, 6, 1 / 6)  # of six are the 1
    assert more < 0.025 < more + half * (1 - (4 / 5) ** 3)  # with half of them 1 and a 2, it lies between them


# --- resampling and shares -------------------------------------------------------------------------------------------


def test_clusters_are_drawn_with_replacement_and_the_same_at_every_call():
    counts = redrawn(10, 4000)
    assert (counts.sum(1) == 10).all()
    assert counts.mean(0) == pytest.approx(np.ones(10), abs=0.06)
    assert counts.var(0) == pytest.approx(np.full(10, 0.9), rel=0.15)
    assert (counts == redrawn(10, 4000)).all()


def test_the_expanded_tail_is_hesterbergs():
    """At n = 10 the normal distribution at -2.262 sqrt(10/9), Student's quantile."""
    assert expanded_tail(10, 9) == pytest.approx(stats.norm.cdf(-2.262157 * np.sqrt(10 / 9)), abs=1e-6)


@pytest.mark.parametrize(("wins", "of"), [(0, 10), (10, 10), (5, 10), (1, 7), (199, 200), (3, 4)])
def test_the_interval_of_a_share_is_wilsons(wins, of):
    theirs = stats.binomtest(wins, of).proportion_ci(method="wilson")
    assert wilson(wins, of) == pytest.approx(tuple(theirs), abs=1e-12)


def test_a_share_of_nothing_has_no_interval_and_ties_count_one_half():
    assert np.isnan(wilson(0, 0)).all()
    low, high = wilson(4.5, 9)
    assert low + high == pytest.approx(1, rel=1e-14)
    assert low == pytest.approx(np.mean([wilson(4, 9)[0], wilson(5, 9)[0]]), abs=0.01)


# --- coverage: how many of many studies have the truth in their interval ---------------------------------------------

STUDIES = 2000  # the standard error of a coverage of 95% is half a point


def test_the_interval_of_a_median_cost_covers_95_percent_of_censored_studies_to_two_points():
    """Log-normal costs with median 1; a third of the runs end before they get there."""
    rng = np.random.default_rng(2)
    hits = []
    for _ in range(STUDIES // 2):
        cost, end = np.exp(rng.standard_normal(32)), np.exp(0.7 + rng.standard_normal(32))
        low, high = censored_median_interval(np.minimum(cost, end), cost <= end)
        hits.append(low <= 1 <= high)
    assert np.mean(hits) == pytest.approx(0.95, abs=0.02)
