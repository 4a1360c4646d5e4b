"""The sign-flip test against an enumeration of all signs, and its size."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from nlhf.stats.significance import sign_flip


def enumerated(differences):
    sums = np.array(list(itertools.product([1, -1], repeat=len(differences)))) @ differences
    return np.mean(np.abs(sums) >= abs(differences.sum()) - 1e-9)


@pytest.mark.parametrize("seed", range(10))
def test_p_values_count_all_signs(seed):
    rng = np.random.default_rng(seed)
    halves, real = rng.integers(-3, 4, 9) / 2, np.append(rng.integers(-720, 721, 9), 720) / 7
    assert sign_flip(halves) == pytest.approx(enumerated(halves), abs=1e-12)
    assert sign_flip(real) == pytest.approx(enumerated(real), abs=1e-12)


def test_sides_and_scale_do_not_matter():
    values = np.random.default_rng(0).normal(0.3, 1, 12)
    assert sign_flip(values) == pytest.approx(sign_flip(-values), rel=1e-12)
    assert sign_flip(values) == pytest.approx(sign_flip(1e-9 * values), rel=1e-12)


def test_too_few_differences_and_equal_methods_have_no_evidence():
    assert np.isnan(sign_flip(np.ones(4)))
    assert sign_flip(np.zeros(9)) == 1
    assert sign_flip(np.ones(6)) == 2 / 2**6


def test_the_normal_approximation_continues_the_exact_test():
    values = np.random.default_rng(1).normal(0.1, 1, 300)
    exact, approximate = sign_flip(values), sign_flip(np.append(values, 1e-2))
    assert approximate == pytest.approx(exact, rel=0.02)
