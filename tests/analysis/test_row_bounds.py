"""A measured metric reaches a target where its confidence bound does, corrected for the number of rows."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from nlhf.analysis.criterion import OF_TEXTS, Criterion
from nlhf.analysis.observations import observations
from nlhf.analysis.results import analyse
from nlhf.analysis.row_bounds import ESTIMATED, FEW_PROMPTS, upper_bounds
from nlhf.analysis.study import load
from nlhf.stats.curves import cost_to_target
from nlhf.stats.proportions import wilson
from nlhf.stats.simultaneous import simultaneous_upper
from tests.analysis.synthetic import write_run

PROMPTS = 64


@pytest.mark.parametrize("lost", [0, 1, 20, 32, 63])
def test_bounds_solve_the_equation_of_the_score_test(lost):
    """One-sided at 5% / 12: the score test of the bound rejects at exactly this level."""
    share, upper = lost / PROMPTS, wilson(lost, PROMPTS)[1]
    (bound,) = simultaneous_upper(np.array([share]), np.array([upper]), 12)
    z = (bound - share) / np.sqrt(bound * (1 - bound) / PROMPTS)
    assert stats.norm.sf(z) == pytest.approx(0.05 / 12)


def test_bounds_of_no_row_and_of_all_pairs_lost():
    bounds = simultaneous_upper(np.array([np.nan, 1.0]), np.array([np.nan, 1.0]), 3)
    assert np.isnan(bounds[0])
    assert bounds[1] == 1


def test_with_two_rows_a_bound_is_the_end_of_the_row_s_own_interval():
    assert simultaneous_upper(np.array([0.3]), np.array([0.42]), 2) == pytest.approx(0.42)


def run_of_losses(root, losses, **options):
    """A run whose rows lose so many of 64 pairs, ten queries apart."""
    curve = [(k, 10 * k, 1.0) for k in range(len(losses))]
    ends = [wilson(PROMPTS - lost, PROMPTS) for lost in losses]
    extra = {
        "exploitability": [float("nan")] * len(losses),
        OF_TEXTS: [lost / PROMPTS for lost in losses],
        "win_rate_low": [low for low, _ in ends],
        "win_rate_high": [high for _, high in ends],
    }
    write_run(root, curves={0: curve}, extra={name: {0: values} for name, values in extra.items()}, **options)


def reached(root, target=0.4):
    (row,) = observations(load(root), Criterion(metric=OF_TEXTS, target=target)).itertuples()
    return row.cost if row.reached else None


def test_a_row_below_the_target_is_no_passage_without_its_bound(tmp_path):
    """22 of 64 are 0.34; the bound for 5 rows is 0.49."""
    run_of_losses(tmp_path, [32, 28, 22, 22, 22])
    assert reached(tmp_path) is None
    assert reached(tmp_path, target=0.5) == 20


def test_the_first_row_whose_bound_is_below_the_target_counts_without_interpolation(tmp_path):
    """14 of 64 are 0.22, and the bound for 5 rows is 0.36; later rows do not take it back."""
    run_of_losses(tmp_path, [32, 20, 14, 14, 30])
    assert reached(tmp_path) == 20


def test_more_rows_need_more_evidence(tmp_path):
    """17 of 64: the bound is 0.396 among three rows and 0.448 among thirty."""
    run_of_losses(tmp_path / "few", [32, 17, 32])
    run_of_losses(tmp_path / "many", [32, 17] + 28 * [32])
    assert reached(tmp_path / "few") == 10
    assert reached(tmp_path / "many") is None


def test_each_run_is_corrected_for_its_own_rows(tmp_path):
    run_of_losses(tmp_path, [32, 17, 32])
    run_of_losses(tmp_path, [32, 17] + 28 * [32], algorithm="omd")
    table = observations(load(tmp_path), Criterion(metric=OF_TEXTS, target=0.4)).set_index("method")
    assert table["reached"].to_dict() == {"nash_mp": True, "omd": False}


def test_rows_without_an_interval_reach_nothing(tmp_path):
    run_of_losses(tmp_path, [32, 0, 0])
    data = load(tmp_path).drop(columns="win_rate_low")
    assert np.isnan(upper_bounds(data, OF_TEXTS)).all()
    assert not observations(data, Criterion(metric=OF_TEXTS, target=0.4))["reached"].any()


def test_exact_metrics_are_interpolated_as_before(tmp_path):
    run_of_losses(tmp_path, [32, 0])
    assert upper_bounds(load(tmp_path), "exploitability") is None
    assert cost_to_target(np.array([0.0, 1.0]), np.array([1.0, 0.01]), 0.1) == pytest.approx(0.5)


def test_the_report_says_what_reaching_means(tmp_path):
    run_of_losses(tmp_path, [32, 14])
    sentences = analyse(tmp_path, Criterion()).cautions
    assert ESTIMATED in sentences
    assert FEW_PROMPTS not in sentences
    run_of_losses(tmp_path, [32, 14], game__test_prompts=16, algorithm="omd")
    assert FEW_PROMPTS in analyse(tmp_path, Criterion()).cautions
    assert ESTIMATED not in analyse(tmp_path, Criterion(metric="kl_to_equilibrium")).cautions
