"""A configuration is chosen on some seeds and judged on the others."""

from __future__ import annotations

import pytest

from nlhf.analysis import AnalysisError, load, tuned, units

from .synthetic import write_run

SEEDS = 15


def study(root, values):
    """Runs that end at values[algorithm][step](seed)."""
    for algorithm, steps in values.items():
        for step, last in steps.items():
            curves = {seed: [(0, 0, 0.1), (1, 2, 0.01), (2, 4, last(seed))] for seed in range(SEEDS)}
            write_run(root, algorithm, curves=curves, algorithm__step_size=step)
    return units(load(root))


def test_the_lowest_mean_on_the_tuning_seeds_is_chosen_and_judged_on_the_others(tmp_path):
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
    assert table["tried"].tolist() == [2, 2]
    assert table["tuning_seeds"].tolist() == [5, 5]
    assert table["seeds"].tolist() == [10, 10]
    assert table["tuning_cost"].tolist() == [2 * 5 * 4] * 2


def test_a_configuration_that_fails_on_a_tuning_seed_is_not_chosen(tmp_path):
    observed = study(tmp_path, {"omd": {1.0: lambda _: 1e-9, 2.0: lambda _: 1e-4}})
    failed = (observed["method"] == "omd, step_size = 1") & (observed["seed"] == 0)
    observed.loc[failed, "final"] = float("inf")
    assert tuned(observed)["method"].tolist() == ["omd, step_size = 2"]


def test_one_seed_cannot_choose_and_judge(tmp_path):
    write_run(tmp_path, curves={3: [(0, 0, 0.1), (1, 1, 0.01)]})
    with pytest.raises(AnalysisError, match="two seeds or more"):
        tuned(units(load(tmp_path)))
