"""A configuration is chosen on some seeds and judged on the others."""

from __future__ import annotations

import numpy as np
import pytest

from nlhf.analysis import AnalysisError, Criterion, load, observations, tuned
from nlhf.analysis.tuning import is_tuned, judged
from nlhf.stats.medians import median_interval

from .synthetic import write_run

SEEDS = 15


def study(root, values):
    """Runs that end at values[algorithm][step](seed)."""
    for algorithm, steps in values.items():
        for step, last in steps.items():
            curves = {seed: [(0, 0, 0.1), (1, 2, 0.01), (2, 4, last(seed))] for seed in range(SEEDS)}
            write_run(root, algorithm, curves=curves, algorithm__step_size=step)
    return observations(load(root))


def test_the_lowest_mean_rank_on_the_tuning_seeds_is_chosen_and_judged_on_the_others(tmp_path):
    observed = study(
        tmp_path,
        {
            "nash_mp": {1.0: lambda seed: 1e-8 if seed < 5 else 1e-3, 2.0: lambda seed: 10.0 ** -(4 + seed % 5)},
            "omd": {1.0: lambda _: 1e-5, 2.0: lambda _: 1e-4},
        },
    )
    table = tuned(observed).set_index("algorithm")
    assert table["method"].to_dict() == {"nash_mp": "nash_mp, step_size = 1", "omd": "omd, step_size = 1"}
    assert table.loc["nash_mp", "final"] == pytest.approx(-3)  # it was lucky where it was chosen, and is not here
    assert table.loc["omd", "final"] == pytest.approx(-5)
    assert table.index.tolist() == ["omd", "nash_mp"]
    assert table["reached"].tolist() == [0, 0]
    assert table["score"].tolist() == pytest.approx([np.log10(4)] * 2)  # what they spent in vain
    assert table["tried"].tolist() == [2, 2]
    assert table["tuning_seeds"].tolist() == [5, 5]
    assert table["seeds"].tolist() == [1, 1]  # ten equal ones
    assert table["tuning_cost"].tolist() == [2 * 5 * 4] * 2


def test_the_seeds_that_judge_have_medians_with_intervals(tmp_path):
    observed = study(tmp_path, {"nash_mp": {1.0: lambda seed: 10.0 ** -(6 + seed / 5)}})
    (row,) = tuned(observed).itertuples()
    final = -(6 + np.arange(5, 15) / 5)
    cost = 2 + 2 * 4 / (-final - 2)  # from 1e-2 to 1e-6, two queries on the way to the last value
    assert (row.reached, row.tried, row.seeds) == (1, 1, 10)
    assert row.final == pytest.approx(np.median(final), rel=1e-12)
    assert row.score == pytest.approx(np.median(np.log10(cost)), rel=1e-12)
    assert (row.final_low, row.final_high) == pytest.approx(median_interval(final), rel=1e-12)
    assert (row.score_low, row.score_high) == pytest.approx(median_interval(np.log10(cost)), rel=1e-12)


def test_who_reaches_the_target_sooner_is_chosen_whatever_came_after(tmp_path):
    for step, (middle, last) in {1.0: (1e-2, 1e-12), 2.0: (1e-7, 1e-7), 3.0: (1e-5, 1e-5)}.items():
        ends = [(2, 2, middle), (3, 4, last)]
        curves = {seed: [(0, 0, 1.0), (1, 1, 0.1 + seed / 100), *ends] for seed in range(SEEDS)}
        write_run(tmp_path, curves=curves, algorithm__step_size=step)
    (row,) = tuned(observations(load(tmp_path))).itertuples()
    assert (row.method, row.tried, row.reached) == ("nash_mp, step_size = 2", 3, 1)
    starts = np.log10(0.1 + np.arange(5, SEEDS) / 100)
    cost = 1 + (starts + 6) / (starts + 7)  # on the way from the second row to the third
    assert row.score == pytest.approx(np.median(np.log10(np.maximum(cost, 1))), rel=1e-12)
    (row,) = tuned(observations(load(tmp_path), Criterion(target=1e-20))).itertuples()
    assert (row.method, row.reached) == ("nash_mp, step_size = 1", 0)  # none gets there: the lowest last value


def test_what_is_faster_on_most_tuning_seeds_is_chosen(tmp_path):
    """One is faster on four tuning seeds of five, and misses the target on the fifth; one misses it on all."""
    for step, sooner, misses in ((1.0, 1, {2}), (2.0, 2, set()), (3.0, 1, {0, 1, 2, 3, 4})):
        curves = {
            seed: [
                (0, 0, 1.0),
                (1, sooner, 1e-2 if seed in misses else 1e-6),
                (2, 1000, 1e-2 if seed in misses else 1e-6),
            ]
            for seed in range(SEEDS)
        }
        write_run(tmp_path, curves=curves, algorithm__step_size=step)
    (row,) = tuned(observations(load(tmp_path))).itertuples()
    assert row.method == "nash_mp, step_size = 1"
    assert row.tuning_cost == 3 * 5 * 1000


def test_a_configuration_that_fails_on_most_tuning_seeds_is_not_chosen(tmp_path):
    """Where none reaches the target; where some do, it has missed it at those seeds."""
    for step, last in ((1.0, 1e-5), (2.0, 1e-4)):
        for seeds, status in ((range(3), "failed" if step == 1 else "completed"), (range(3, SEEDS), "completed")):
            curves = {seed: [(0, 0, 0.1), (1, 2, 0.01), (2, 400, last)] for seed in seeds}
            write_run(tmp_path, curves=curves, status=status, algorithm__step_size=step)
    assert tuned(observations(load(tmp_path)))["method"].tolist() == ["nash_mp, step_size = 2"]
    easy = observations(load(tmp_path), Criterion(target=0.05))
    assert easy.loc[easy["status"] == "failed", "hit"].all()  # it failed after the target, which is no harm
    assert tuned(easy)["method"].tolist() == ["nash_mp, step_size = 1"]


def test_results_are_tuned_where_several_algorithms_had_a_choice(tmp_path):
    one = study(tmp_path / "one", {"omd": {1.0: lambda _: 1e-5, 2.0: lambda _: 1e-4}})
    assert not is_tuned(one)  # the configurations themselves are compared
    two = study(tmp_path / "two", {"omd": {1.0: lambda _: 1e-5, 2.0: lambda _: 1e-4}, "mpo": {1.0: lambda _: 1e-3}})
    assert is_tuned(two)
    assert not is_tuned(two[two["seed"] < 2])
    table = judged(two)
    assert set(table["method"]) == {"omd, step_size = 1", "mpo"}
    assert set(table["seed"]) == set(range(5, SEEDS))


def test_copies_judge_without_an_interval(tmp_path):
    """A deterministic game has the same curve at every seed, and the seeds of one run share their clock."""
    observed = study(tmp_path / "copies", {"omd": {1.0: lambda _: 1e-5}})
    (row,) = tuned(observed).itertuples()
    assert (row.final, row.score) == pytest.approx((-5, np.log10(4)))
    assert np.isnan([row.final_low, row.final_high, row.score_low, row.score_high]).all()
    study(tmp_path / "clock", {"omd": {1.0: lambda seed: 10.0 ** -(6 + seed / 5)}})
    (row,) = tuned(observations(load(tmp_path / "clock"), Criterion(x="seconds"))).itertuples()
    assert np.isnan([row.final_low, row.final_high, row.score_low, row.score_high]).all()


def test_a_configuration_that_did_not_end_has_no_rank(tmp_path):
    for step in (1.0, 2.0):
        curves = {seed: [(0, 0, 0.1), (1, 2, 0.01)] for seed in range(SEEDS)}
        write_run(tmp_path, curves=curves, status=None, algorithm__step_size=step)
    (row,) = tuned(observations(load(tmp_path))).itertuples()
    assert np.isnan(row.rank)
    assert row.unranked == "10 of its 10 seeds did not end"


def test_one_seed_cannot_choose_and_judge(tmp_path):
    write_run(tmp_path, curves={3: [(0, 0, 0.1), (1, 1, 0.01)]})
    with pytest.raises(AnalysisError, match="two seeds or more"):
        tuned(observations(load(tmp_path)))
