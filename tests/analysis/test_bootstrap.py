"""Intervals against other implementations and against the share of studies in which they hold the truth."""

from __future__ import annotations

import itertools
from functools import partial

import numpy as np
import pytest
from scipy import stats

from nlhf.stats import bootstrap
from nlhf.stats.bootstrap import (
    DRAWS,
    interquartile_mean,
    interval,
    mean_interval,
    median,
    redrawn,
    resamples,
)
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


@pytest.mark.parametrize("n", [4, 8, 40])
def test_the_interquartile_mean_is_the_mean_trimmed_by_a_quarter(n):
    values = RNG.standard_normal((6, n))
    assert interquartile_mean(values) == pytest.approx(stats.trim_mean(values, 0.25, axis=-1), rel=1e-13)


@pytest.mark.parametrize(
    ("values", "expected"),
    [([7], 7), ([1, 3], 2), ([0, 1, 5], (1 + 0.25 * 5) / 1.5), ([0, 1, 2, 3, 50], (0.75 + 2 + 0.75 * 3) / 2.5),
     ([3, 1, np.inf, 2, 0, -5, 4, np.inf], 2.5), ([1, 1, np.inf, np.inf, np.inf], np.inf)],
)  # fmt: skip
def test_the_interquartile_mean_counts_a_part_of_the_observations_at_its_ends(values, expected):
    assert interquartile_mean(np.array(values, float)) == pytest.approx(expected, rel=1e-14)


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


# --- resampling ------------------------------------------------------------------------------------------------------


def test_seeds_are_drawn_within_their_setting_with_replacement():
    strata = np.array([3, 1, 3, 3, 1, 7])
    drawn = resamples(strata, draws=3000)
    assert drawn.shape == (3000, 6)
    assert (strata[drawn] == strata).all()
    for place, stratum in enumerate(strata):
        members = np.flatnonzero(strata == stratum)
        shares = [(drawn[:, place] == member).mean() for member in members]
        assert shares == pytest.approx([1 / len(members)] * len(members), abs=0.04)  # four standard errors
    assert abs(np.corrcoef(drawn[:, 0], drawn[:, 2])[0, 1]) < 0.08


def test_intervals_are_the_same_at_every_call():
    values = RNG.standard_normal(20)
    for make in (mean_interval, partial(interval, statistic=median)):
        assert make(values) == make(values.copy())
    assert resamples(np.zeros(9, int), 50).tolist() == resamples(np.zeros(9, int), 50).tolist()
    assert resamples(np.zeros(9, int), 50, seed=1).tolist() != resamples(np.zeros(9, int), 50).tolist()


def test_thousands_of_observations_are_resampled_a_part_at_a_time(monkeypatch):
    values = RNG.standard_normal(400)
    at_once = mean_interval(values)
    largest = []
    monkeypatch.setattr(bootstrap, "BLOCK", 100_000)

    def seen(drawn):
        largest.append(drawn.size)
        return drawn.mean(-1)

    in_parts = interval(values, seen)
    assert (max(largest), sum(largest)) == (100_000, DRAWS * 400)
    assert in_parts == pytest.approx(at_once, abs=0.1 * (at_once[1] - at_once[0]))


@pytest.mark.parametrize("make", [mean_interval, partial(interval, statistic=median)])
def test_an_interval_needs_five_observations_of_one_setting(make):
    assert np.isnan(make(np.arange(4.0))).all()
    assert np.isnan(make(np.array([]))).all()
    assert np.isnan(make(np.arange(8.0), strata=np.repeat([0, 1], 4))).all()
    assert not np.isnan(make(np.arange(5.0))).any()
    assert not np.isnan(make(np.arange(8.0), strata=np.array([0] * 5 + [1, 2, 3]))).any()


def test_equal_observations_leave_no_doubt_and_infinite_ones_have_no_mean():
    assert mean_interval(np.full(10, 3.0)) == (3, 3)
    assert interval(np.full(10, np.inf), median) == (np.inf, np.inf)
    assert interval(np.array([1.0] * 5 + [np.inf] * 5), median) == (1, np.inf)
    assert np.isnan(mean_interval(np.array([1.0] * 9 + [np.inf]))).all()


def test_a_percentile_interval_is_scipys():
    values = np.random.default_rng(5).standard_normal(40)
    theirs = stats.bootstrap((values,), np.median, n_resamples=20_000, method="percentile", vectorized=True,
                             rng=np.random.default_rng(6)).confidence_interval  # fmt: skip
    assert interval(values, median) == pytest.approx(tuple(theirs), abs=0.05)  # the spread of the medians is 0.2
    assert interval(values, lambda drawn: drawn.mean(-1)) == pytest.approx(
        (values.mean() - 1.96 * values.std() / np.sqrt(40), values.mean() + 1.96 * values.std() / np.sqrt(40)), abs=0.02
    )


@pytest.mark.parametrize("n", [10, 20, 32])
def test_the_interval_of_a_mean_of_normal_data_is_students(n):
    """Symmetric data: the quantiles of a normal distribution, so that the expanded interval is the classical one."""
    values = stats.norm.ppf((np.arange(n) + 0.5) / n)
    theirs = stats.t.interval(0.95, n - 1, values.mean(), values.std(ddof=1) / np.sqrt(n))
    low, high = mean_interval(values)
    assert (high - low) / (theirs[1] - theirs[0]) == pytest.approx(1, abs=0.07)


def test_the_interval_of_a_mean_takes_hesterbergs_quantiles():
    """At n = 10 the normal distribution at -2.262 sqrt(10/9), Student's quantile: 0.0086 in place of 0.025."""
    values = np.random.default_rng(8).standard_normal(10)
    means = values[resamples(np.zeros(10, int))].mean(-1)
    tail = stats.norm.cdf(-2.262157 * np.sqrt(10 / 9))
    assert tail == pytest.approx(0.0086, abs=1e-4)
    assert mean_interval(values) == pytest.approx(tuple(np.quantile(means, [tail, 1 - tail])), abs=0.003)


def test_settings_are_no_part_of_the_doubt():
    """Two settings that lie far apart: only the spread within them counts."""
    values = np.random.default_rng(7).standard_normal(40)
    strata = np.repeat([0, 1], 20)
    low, high = mean_interval(values + 100 * strata, strata)
    alone = mean_interval(values - np.repeat([values[:20].mean(), values[20:].mean()], 20))
    assert high - low == pytest.approx(alone[1] - alone[0], rel=0.05)


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


def covered(make, n, truth, seed):
    """The share of studies of n log-normal metrics, looked at as log10, whose interval holds the truth."""
    logs = np.random.default_rng(seed).standard_normal((STUDIES, n)) - 6
    ends = np.array([make(row) for row in logs])
    return ((ends[:, 0] <= truth) & (truth <= ends[:, 1])).mean()


@pytest.fixture
def few_draws(monkeypatch):
    """A quarter of the resamples, drawn once as all calls draw the same ones: the studies are what is random."""
    monkeypatch.setattr(bootstrap, "DRAWS", 1000)
    drawn = {}

    def once(strata, draws=1000, seed=0):
        key = (len(strata), draws, seed)
        if key not in drawn:
            drawn[key] = resamples(np.zeros(len(strata), int), draws, seed)
        return drawn[key]

    monkeypatch.setattr(bootstrap, "resamples", once)


def plain(values):
    return interval(values, lambda drawn: drawn.mean(-1))


def test_the_plain_percentile_of_a_mean_covers_too_little_and_ours_does_not(few_draws):
    assert covered(plain, 10, -6, seed=0) < 0.92
    assert covered(mean_interval, 10, -6, seed=0) == pytest.approx(0.95, abs=0.02)


def test_at_32_seeds_the_intervals_of_mean_and_median_cover_95_percent_to_two_points(few_draws):
    assert covered(mean_interval, 32, -6, seed=1) == pytest.approx(0.95, abs=0.02)
    assert covered(partial(interval, statistic=median), 32, -6, seed=1) == pytest.approx(0.95, abs=0.02)


def test_the_interval_of_a_median_cost_covers_95_percent_of_censored_studies_to_two_points(few_draws):
    """Log-normal costs with median 1; a third of the runs end before they get there."""
    rng = np.random.default_rng(2)
    hits = []
    for _ in range(STUDIES // 2):
        cost, end = np.exp(rng.standard_normal(32)), np.exp(0.7 + rng.standard_normal(32))
        low, high = censored_median_interval(np.minimum(cost, end), cost <= end)
        hits.append(low <= 1 <= high)
    assert np.mean(hits) == pytest.approx(0.95, abs=0.02)


def test_where_nearly_all_seeds_agree_the_interval_stays_within_the_data():
    """Where a studentised interval reaches from 1e-15 to 1e+18."""
    logs = np.array([-15.0] * 9 + [-13.0])
    low, high = mean_interval(logs)
    assert -15 <= low < logs.mean() < high <= -14
    drawn = logs[resamples(np.zeros(10, int))]
    error = drawn.std(-1, ddof=1)
    studentised = (drawn.mean(-1) - logs.mean())[error > 0] / error[error > 0]
    assert len(studentised) < 0.7 * DRAWS  # in a third of the resamples it is not even defined


def test_every_kind_of_interval_holds_its_estimate():
    for n, seed in itertools.product((5, 9, 32), range(5)):
        values = np.exp(np.random.default_rng(seed).standard_normal(n))  # costs are not negative
        reached = np.random.default_rng(seed).random(n) < 0.8
        for (low, high), estimate in (
            (mean_interval(values), values.mean()),
            (interval(values, median), median(values)),
            (censored_median_interval(values, reached), censored_median(values, reached)[0]),
        ):
            assert low <= estimate <= high
