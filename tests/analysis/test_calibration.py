"""The calibration error, its interval and its floor, against hand computation and other simulations."""

from __future__ import annotations

import numpy as np
import pytest

from nlhf.stats.calibration import calibration, calibration_error


def study(seed: int, pairs: int, votes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    probability, number = rng.uniform(0.05, 0.95, pairs), np.full(pairs, float(votes))
    return probability, rng.binomial(votes, probability) / votes, number


@pytest.mark.parametrize("pairs", [1, 4, 39, 200])
def test_the_error_is_that_of_the_bins(pairs: int) -> None:
    probability, share, votes = study(0, pairs, 3)
    error = calibration_error(probability, share, votes, np.arange(pairs))
    assert error.value == pytest.approx(calibration(probability, share, votes)[0], abs=1e-12)
    assert np.isnan(error.low) == (pairs < 5)


def test_the_floor_is_the_mean_error_of_judges_whose_probabilities_are_true() -> None:
    probability, share, votes = study(0, 39, 1)
    rng = np.random.default_rng(1)
    errors = [calibration(probability, (rng.random(39) < probability).astype(float), votes)[0] for _ in range(400)]
    error = calibration_error(probability, share, votes, np.repeat(np.arange(13), 3))
    assert error.floor == pytest.approx(np.mean(errors), abs=0.01)
    assert error.floor > 0.08
    many, _, _ = study(0, 4000, 1)
    assert calibration_error(many, many, np.full(4000, 100.0), np.arange(4000)).floor < 0.005


def test_the_interval_of_a_judge_that_is_too_sure_excludes_calibration() -> None:
    probability, share, votes = study(2, 600, 3)
    sure = np.where(probability > 0.5, 0.99, 0.01)
    error = calibration_error(sure, share, votes, np.repeat(np.arange(200), 3))
    assert error.low > error.floor
    calibrated = calibration_error(probability, share, votes, np.repeat(np.arange(200), 3))
    assert calibrated.low == 0 < calibrated.value < calibrated.high


def test_votes_that_all_agree_leave_doubt() -> None:
    error = calibration_error(np.full(30, 0.9), np.ones(30), np.ones(30), np.arange(30))
    assert error.value == pytest.approx(0.1)
    assert error.high > 0.15
