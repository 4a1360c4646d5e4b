"""Win rates at equal divergence and at equal length, against numbers by hand and independent fits."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize, special

from nlhf.stats.bootstrap import redrawn
from nlhf.stats.equal_divergence import Curve, at_equal_divergence, win_rate_at
from nlhf.stats.equal_length import rate_at_equal_length

PROMPTS = 40


def curve(*rows, prompts=PROMPTS):
    """Rows (divergence, win rate), equal on all prompts."""
    divergences, wins = np.array(rows).T[:, :, None] * np.ones(prompts)
    return Curve(divergences, wins)


def random_curve(rng, gain, divergences, prompts=PROMPTS):
    sizes = rng.exponential(size=prompts)
    wins = rng.random((len(divergences), prompts)) < 0.5 + gain * np.sqrt(divergences)[:, None]
    return Curve(np.outer(divergences, sizes), wins.astype(float))


# --- equal divergence ------------------------------------------------------------------------------------------------


def test_rates_are_interpolated_in_the_root_of_the_divergence():
    """The second run reaches 0.25, whose root is halfway between those of 0 and 1."""
    result = at_equal_divergence([curve((0, 0.5), (1, 0.9))], [curve((0, 0.5), (0.04, 0.5), (0.25, 0.6))])
    assert result.divergence == pytest.approx(0.25)
    assert result.rates == pytest.approx((0.7, 0.6))
    assert result.difference.value == pytest.approx(0.1)


def test_the_first_time_that_a_run_reaches_a_divergence_counts():
    wins = np.array([[0.5, 0.7, 0.6, 0.9]])
    assert win_rate_at(np.array([[0.0, 0.36, 0.16, 0.49]]), wins, np.array([0.36])) == pytest.approx(0.7)
    assert win_rate_at(np.array([[0.0, 0.36, 0.16, 0.49]]), wins, np.array([0.09])) == pytest.approx(0.6)
    assert win_rate_at(np.array([[0.0, 0.36, 0.16, 0.49]]), wins, np.array([0.49])) == pytest.approx(0.9)


def test_seeds_are_averaged_at_the_divergence_that_all_runs_reach():
    first = [curve((0, 0.5), (1, 0.9)), curve((0, 0.5), (0.25, 0.5))]
    result = at_equal_divergence(first, [curve((0, 0.5), (4, 0.5))])
    assert result.divergence == pytest.approx(0.25)
    assert result.rates == pytest.approx((0.6, 0.5))


def test_runs_that_stay_at_the_reference_are_not_compared():
    assert at_equal_divergence([curve((0, 0.5), (1, 0.9))], [curve((0, 0.5), (0, 0.4))]) is None


def test_few_prompts_have_no_interval():
    sides = [[curve((0, 0.5), (1, rate), prompts=19)] for rate in (0.9, 0.5)]
    result = at_equal_divergence(*sides)
    assert result.difference.value == pytest.approx(0.4)
    assert np.isnan([result.difference.low, result.p]).all()


def test_the_interval_is_that_of_prompts_drawn_again_for_the_whole_computation():
    """An independent bootstrap copies prompts instead of weighing them, and interpolates with numpy."""
    rng = np.random.default_rng(3)
    sides = random_curve(rng, 0.3, np.array([0, 0.1, 0.5, 1.2])), random_curve(rng, 0.1, np.array([0, 0.3, 0.8]))
    result = at_equal_divergence(*([side] for side in sides))
    drawn = []
    for counts in redrawn(PROMPTS, 400):
        chosen = np.repeat(np.arange(PROMPTS), counts.astype(int))
        points = [(side.divergences[:, chosen].mean(1), side.wins[:, chosen].mean(1)) for side in sides]
        reached = min(divergence.max() for divergence, _ in points)
        rates = [np.interp(reached**0.5, divergence**0.5, wins) for divergence, wins in points]
        drawn.append(rates[0] - rates[1])
    ends = result.difference.low, result.difference.high
    assert ends == pytest.approx(tuple(np.quantile(drawn, [0.021, 0.979])), abs=0.03)
    swapped = at_equal_divergence(*([side] for side in sides[::-1]))
    assert swapped.p == pytest.approx(result.p)
    assert swapped.difference.value == pytest.approx(-result.difference.value)


@pytest.mark.parametrize("seed", range(12))
def test_p_is_below_its_level_where_the_interval_excludes_zero(seed):
    rng = np.random.default_rng(seed)
    sides = [random_curve(rng, gain, np.array([0, 0.2, 1.0])) for gain in (0.28, 0.1)]
    result = at_equal_divergence(*([side] for side in sides))
    assert (result.p < 0.05) == (result.difference.low > 0 or result.difference.high < 0)


def test_equal_curves_have_no_evidence():
    same = random_curve(np.random.default_rng(0), 0.2, np.array([0, 0.4, 0.9]))
    result = at_equal_divergence([same], [same])
    assert (result.difference.value, result.p) == (0, 1)


# --- equal length ----------------------------------------------------------------------------------------------------


def votes(rng, theta, phi, n=300, mean=20.0):
    lengths = np.rint(rng.normal(mean, 40, n))
    chance = special.expit(theta + phi * np.tanh(lengths / lengths.std()))
    return (rng.random(n) < chance).astype(float), lengths


def test_a_rate_at_equal_length_is_the_prediction_of_a_logistic_regression():
    wins, lengths = votes(np.random.default_rng(0), 0.3, 1.0)
    covariate = np.tanh(lengths / lengths.std())

    def loss(fit):
        logits = fit[0] + fit[1] * covariate
        return -np.sum(wins * special.log_expit(logits) + (1 - wins) * special.log_expit(-logits))

    best = optimize.minimize(loss, [0, 0], method="BFGS", options={"gtol": 1e-8})
    rate = rate_at_equal_length(wins, lengths, np.arange(len(wins)))
    assert rate.value == pytest.approx(special.expit(best.x[0]), abs=1e-6)
    half = 1.968 * best.hess_inv[0, 0] ** 0.5  # of Student's t with 299 degrees of freedom
    assert rate.high == pytest.approx(special.expit(best.x[0] + half), abs=5e-3)


def test_wins_that_length_explains_are_no_wins_at_equal_length():
    wins, lengths = votes(np.random.default_rng(1), 0.0, 3.0, mean=60.0)
    rate = rate_at_equal_length(wins, lengths, np.arange(len(wins)))
    assert wins.mean() > 0.75
    assert rate.low < 0.5 < rate.high


def test_sides_swap():
    wins, lengths = votes(np.random.default_rng(2), 0.5, 1.0)
    rate, other = (rate_at_equal_length(*pair, np.arange(300)) for pair in ((wins, lengths), (1 - wins, -lengths)))
    assert (1 - other.value, 1 - other.high) == pytest.approx((rate.value, rate.low))


def test_copies_of_a_prompt_are_no_further_evidence():
    wins, lengths = votes(np.random.default_rng(3), 0.5, 1.0)
    once = rate_at_equal_length(wins, lengths, np.arange(300))
    twice = rate_at_equal_length(*(np.tile(values, 2) for values in (wins, lengths, np.arange(300))))
    assert (twice.value, twice.low) == pytest.approx((once.value, once.low))


@pytest.mark.parametrize(
    ("wins", "lengths"),
    [
        (np.ones(40), np.arange(40.0)),
        (np.arange(40) % 2, np.zeros(40)),
        (np.arange(40) > 20, np.arange(40) - 20.5),
        (np.zeros(0), np.zeros(0)),
        (np.array([0.0, 1.0, 1.0]), np.array([1.0, 2.0, -1.0])),
    ],
    ids=["always won", "no difference of lengths", "separated by length", "none", "three"],
)
def test_pairs_that_do_not_determine_a_rate_have_none(wins, lengths):
    assert np.isnan(rate_at_equal_length(wins.astype(float), lengths, np.arange(len(wins))).value)
