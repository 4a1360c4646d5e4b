"""Intervals of means over clusters, against the exact binomial ones and in the cases that a bootstrap gets wrong."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from nlhf.stats.clusters import clustered_mean, effective_number, grouped_mean, share_interval


def exact(wins: int, count: int) -> tuple[float, float]:
    return tuple(stats.binomtest(wins, count).proportion_ci(method="exact"))


@pytest.mark.parametrize(("wins", "count"), [(0, 8), (8, 8), (3, 8), (5, 5), (1, 50), (25, 50)])
def test_single_votes_have_the_exact_interval(wins: int, count: int) -> None:
    estimate = clustered_mean(np.repeat([1.0, 0.0], [wins, count - wins]), np.ones(count))
    assert (estimate.value, estimate.cases) == (wins / count, count)
    assert (estimate.low, estimate.high) == pytest.approx(exact(wins, count), abs=1e-12)


@pytest.mark.parametrize("size", [1, 8, 100])
def test_unanimous_clusters_count_once_each(size: int) -> None:
    sums = size * np.repeat([1.0, 0.0], [6, 2])
    estimate = clustered_mean(sums, np.full(8, float(size)))
    assert (estimate.low, estimate.high) == pytest.approx(exact(6, 8), abs=1e-12)
    agreed = clustered_mean(np.full(8, float(size)), np.full(8, float(size)))
    assert (agreed.low, agreed.high) == pytest.approx((0.025 ** (1 / 8), 1), abs=1e-12)


def test_votes_that_do_not_depend_on_their_cluster_count_nearly_once_each() -> None:
    rng = np.random.default_rng(0)
    sums, weights = rng.binomial(8, 0.6, 1000).astype(float), np.full(1000, 8.0)
    share = float(sums.sum() / weights.sum())
    assert effective_number(share, sums - share * weights, weights) == pytest.approx(8000, rel=0.1)
    low, high = share_interval(share, sums - share * weights, weights)
    assert (low, high) == pytest.approx(exact(int(sums.sum()), 8000), abs=0.001)


def test_unequal_unanimous_clusters_count_as_fewer() -> None:
    weights = np.array([10.0, 1, 1, 1, 1, 1, 1, 1, 1, 1])
    sums = weights * np.array([1, 0, 1, 1, 0, 1, 1, 0, 1, 1])
    share = float(sums.sum() / weights.sum())
    number = effective_number(share, sums - share * weights, weights)
    assert number <= weights.sum() ** 2 / (weights**2).sum() < 10


def test_other_bounds_scale_the_interval() -> None:
    rng = np.random.default_rng(1)
    sums, weights = rng.uniform(0, 3, 12), np.full(12, 3.0)
    plain, scaled = clustered_mean(sums, weights), clustered_mean(2 * sums - weights, weights, (-1.0, 1.0))
    assert (scaled.value, scaled.low, scaled.high) == pytest.approx(
        [2 * end - 1 for end in (plain.value, plain.low, plain.high)], abs=1e-12
    )


def test_groups_are_clusters_and_clusters_without_weight_do_not_count() -> None:
    values, weights = np.array([1.0, 0, 1, 1, 0, 1, 0.3]), np.array([2.0, 1, 1, 1, 1, 1, 0])
    groups = np.array(["a", "b", "a", "c", "d", "e", "f"])
    by_hand = clustered_mean(np.array([3.0, 0, 1, 0, 1]), np.array([3.0, 1, 1, 1, 1]))
    assert grouped_mean(values, weights, groups) == by_hand


def test_few_clusters_give_no_interval() -> None:
    assert np.isnan(clustered_mean(np.zeros(4), np.ones(4)).low)
    assert np.isnan(clustered_mean(np.zeros(0), np.zeros(0)).value)
    assert not np.isnan(clustered_mean(np.zeros(5), np.ones(5)).low)
    losses = np.random.default_rng(0).exponential(size=20)
    assert np.isnan(clustered_mean(losses[:19], np.ones(19), None).low)
    estimate = clustered_mean(losses, np.ones(20), None)
    assert estimate.low < losses.mean() < estimate.high
