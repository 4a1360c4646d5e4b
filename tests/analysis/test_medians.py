"""Intervals of medians against the binomial distribution."""

from __future__ import annotations

import itertools
from math import comb

import numpy as np
import pytest

from nlhf.stats.medians import median_interval


def coverage(low_rank: int, high_rank: int, n: int) -> float:
    """The chance that the median lies between two order statistics: the share of the 2^n signs that allow it."""
    return sum(comb(n, below) for below in range(low_rank + 1, high_rank + 1)) / 2**n


@pytest.mark.parametrize("n", [5, 6, 7, 8, 9, 12, 20, 33, 100, 1000])
def test_the_interval_of_a_median_is_the_shortest_symmetric_one_with_its_coverage(n: int) -> None:
    low, high = (int(end) for end in median_interval(np.random.default_rng(n).permutation(n)))
    assert low + high == n - 1
    assert coverage(low, high, n) >= (0.9375 if n == 5 else 0.95)
    assert n == 5 or coverage(low + 1, high - 1, n) < 0.95


def test_the_coverage_at_nine_values_is_that_of_all_signs() -> None:
    """The true median is 0; the signs of the nine values are equally likely."""
    magnitudes = np.array([1.0, 2, 3, 5, 8, 13, 21, 34, np.inf])
    covered = [
        low <= 0 <= high
        for signs in itertools.product((-1, 1), repeat=9)
        for low, high in [median_interval(magnitudes * signs)]
    ]
    assert np.mean(covered) == 1 - 2 * 10 / 512


def test_infinite_and_equal_values_are_values() -> None:
    assert median_interval(np.full(10, np.inf)) == (np.inf, np.inf)
    assert median_interval(np.full(7, 3.0)) == (3, 3)
    assert median_interval(np.array([-np.inf, 1, 2, 3, np.inf])) == (-np.inf, np.inf)
    assert median_interval(np.array([1.0] * 9 + [np.inf])) == (1, 1)


def test_fewer_than_five_values_give_no_interval() -> None:
    assert np.isnan(median_interval(np.arange(4.0))).all()
    assert np.isnan(median_interval(np.array([]))).all()
    assert median_interval(np.arange(5.0)) == (0, 4)
