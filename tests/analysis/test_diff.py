"""What differs between two runs: their configs, what they were made with, and the first row, by seed and iteration."""

from __future__ import annotations

import pytest

from nlhf.analysis import AnalysisError
from nlhf.analysis.diff import diff, shown
from nlhf.cli.diff import main
from nlhf.records import COLUMNS
from tests.analysis.synthetic import geometric, write_run

SCHEDULE = [0, 1, 2, 3, 4, 5]
CURVES = {seed: geometric(0.1 + seed / 10, 0.5, SCHEDULE) for seed in (0, 1)}
MADE = {"commit": "abc", "results_version": 1, "threads": 1, "versions": {"torch": "2.9", "numpy": "2.0"}}


def changed(seed, place, value):
    """CURVES with another value in one row."""
    curves = {key: list(rows) for key, rows in CURVES.items()}
    curves[seed][place] = (*curves[seed][place][:2], value)
    return curves


def pair(root, first=None, second=None):
    """Two runs, by the options of `write_run` in which they differ from a common one."""
    common = {"curves": CURVES, "summary": MADE}
    return [write_run(root / name, **(common | (options or {}))) for name, options in (("a", first), ("b", second))]


def test_two_equal_runs_do_not_differ(tmp_path):
    configs, versions, rows = diff(*pair(tmp_path))
    assert (configs, versions) == ([], [])
    assert rows == "All 12 shared rows are exactly equal."


def test_entries_of_configs_that_differ_or_are_missing_are_listed(tmp_path):
    first = {"algorithm__step_size": 1, "game__actions": 10, "reference__path": "a.csv"}
    configs, _, _ = diff(*pair(tmp_path, first, {"algorithm__step_size": "theory", "game__actions": 10}))
    assert configs == [("algorithm.step_size", "1", "theory"), ("reference.path", "a.csv", "-")]


def test_versions_commit_and_status_that_differ_are_listed(tmp_path):
    other = MADE | {"commit": "def-dirty", "versions": {"torch": "2.10", "numpy": "2.0"}}
    _, versions, _ = diff(*pair(tmp_path, None, {"summary": other, "status": "interrupted"}))
    assert versions == [
        ("commit", "abc", "def-dirty"),
        ("status", "completed", "interrupted"),
        ("torch", "2.9", "2.10"),
    ]


def test_the_first_differing_row_is_the_earliest_iteration_of_any_seed(tmp_path):
    curves = changed(1, 2, 0.07)
    curves[0] = changed(0, 4, 0.05)[0]
    _, _, rows = diff(*pair(tmp_path, None, {"curves": curves}))
    assert rows == (
        f"The first differing row is iteration 2 of seed 1: exploitability is {CURVES[1][2][2]} and 0.07; 2 of 12 "
        "shared rows differ."
    )


def test_a_difference_in_the_last_bit_is_one(tmp_path):
    value = CURVES[0][3][2]
    _, _, rows = diff(*pair(tmp_path, None, {"curves": changed(0, 3, value * (1 + 2**-52))}))
    assert rows.startswith("The first differing row is iteration 3 of seed 0: exploitability is ")


def test_cells_that_are_empty_in_both_runs_are_equal_and_in_one_alone_not(tmp_path):
    nan = float("nan")
    empty = {"entropy": {seed: [nan] * 6 for seed in (0, 1)}}
    filled = {"entropy": {0: [nan, nan, 0.5, nan, nan, nan], 1: [nan] * 6}}
    _, _, rows = diff(*pair(tmp_path / "1", {"extra": empty}, {"extra": empty}))
    assert rows.startswith("All 12 shared rows are exactly equal")
    _, _, rows = diff(*pair(tmp_path / "2", {"extra": empty}, {"extra": filled}))
    assert rows.startswith("The first differing row is iteration 2 of seed 0: entropy is nan and 0.5;")


def test_training_time_and_the_name_of_the_run_are_no_difference(tmp_path):
    slow = {"seconds": {seed: [float(k) for k in range(6)] for seed in (0, 1)}}
    assert diff(*pair(tmp_path, None, {"extra": slow, "name": "another"}))[2] == "All 12 shared rows are exactly equal."


def test_rows_and_seeds_of_one_run_alone_are_counted(tmp_path):
    longer = CURVES | {0: geometric(0.1, 0.5, [*SCHEDULE, 6, 8]), 2: geometric(1, 0.5, SCHEDULE)}
    _, _, rows = diff(*pair(tmp_path, {"curves": longer}))
    assert rows == "All 12 shared rows are exactly equal, with 8 more in the first."
    both = {0: CURVES[0], 3: CURVES[1]}
    _, _, rows = diff(*pair(tmp_path / "both", None, {"curves": both}))
    assert rows == "All 6 shared rows are exactly equal, with 6 more in the first and 6 more in the second."


def test_runs_of_other_seeds_share_no_row(tmp_path):
    _, _, rows = diff(*pair(tmp_path, None, {"curves": {7: CURVES[0]}}))
    assert rows == "The runs share no row: their seeds differ."


def test_other_algorithms_and_columns_can_be_compared(tmp_path):
    columns = [name for name in COLUMNS if name != "entropy"]
    first, second = pair(tmp_path, {"columns": columns}, {"algorithm": "omd"})
    configs, _, rows = diff(first, second)
    assert ("names.algorithm", "nash_mp", "omd") in configs
    assert rows == "All 12 shared rows are exactly equal."


def test_a_folder_of_several_runs_or_of_none_is_refused(tmp_path):
    first, _ = pair(tmp_path, None, {"beta": 0.3})
    with pytest.raises(AnalysisError, match=r"holds 2 runs: give the folder of one run, runs/STUDY/RUN\."):
        diff(first, tmp_path)
    with pytest.raises(AnalysisError, match="nowhere holds no run"):
        diff(first, tmp_path / "nowhere")


def test_entries_are_shown_in_columns():
    assert shown([], "config") == ["config: no difference"]
    assert shown([("beta", "0.05", "1"), ("game.actions", "3", "-")], "config") == [
        "config:",
        "  beta          0.05  1",
        "  game.actions  3     -",
    ]


def test_the_command_prints_all_three_and_ends_with_0(tmp_path, capsys):
    first, second = pair(tmp_path, None, {"curves": changed(0, 1, 0.5), "algorithm__step_size": 2})
    assert main([str(first), str(second)]) == 0
    config, entry, made, rows = capsys.readouterr().out.splitlines()
    assert (config, entry.split()) == ("config:", ["algorithm.step_size", "-", "2"])
    assert made == "made with: no difference"
    assert rows.startswith("The first differing row is iteration 1 of seed 0: exploitability is 0.05 and 0.5;")


@pytest.mark.parametrize("arguments", [[], ["a"], ["a", "b", "c"]])
def test_the_command_wants_two_folders(arguments, capsys):
    assert main([*arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert line.endswith("see nlhf diff --help.")
