"""The interval of a mean of skewed values against the equation that defines it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from nlhf.stats.skewed import skewed_mean_interval


def test_symmetric_values_give_student_s_interval():
    values = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0])
    expected = stats.t.interval(0.95, 6, values.mean(), values.std(ddof=1) / 7**0.5)
    assert skewed_mean_interval(values) == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(10))
def test_the_transformed_statistic_of_each_end_is_a_quantile_of_student_s_t(seed):
    values = np.random.default_rng(seed).exponential(size=20)
    mean, error = values.mean(), values.std(ddof=1) / 20**0.5
    skewness = ((values - mean) ** 3).mean() / values.std(ddof=1) ** 3
    c = skewness / (3 * 20**0.5)
    for end, quantile in zip(skewed_mean_interval(values), (0.975, 0.025), strict=True):
        t = (mean - end) / error
        assert t + c * t**2 + c**2 * t**3 / 3 + c / 2 == pytest.approx(stats.t.ppf(quantile, 19))


def test_the_longer_side_is_the_one_of_the_tail_and_mirrors():
    values = np.random.default_rng(0).lognormal(size=30)
    low, high = skewed_mean_interval(values)
    assert high - values.mean() > values.mean() - low
    assert skewed_mean_interval(-values) == pytest.approx((-high, -low))


def test_few_equal_and_infinite_values():
    assert np.isnan(skewed_mean_interval(np.ones(4))).all()
    assert skewed_mean_interval(np.zeros(5)) == (0, 0)
    assert np.isnan(skewed_mean_interval(np.array([1.0, 2.0, 3.0, 4.0, np.inf]))).all()
