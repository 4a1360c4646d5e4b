"""Analysis reads what runs left behind, unfinished and failed ones too, and draws medians over seeds."""

from __future__ import annotations

import contextlib
import json
import os
import runpy
import signal
import statistics
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import nlhf
from nlhf.algorithms.nash_mp import NashMP
from nlhf.analysis.figures import convergence, over_seeds, save
from nlhf.analysis.load import NothingToAnalyseError, load
from nlhf.launch.compose import composed, plain
from nlhf.launch.run import run_one, unwatched
from nlhf.policies.tabular import TabularPolicy

pytestmark = pytest.mark.usefixtures("one_thread")

GAME = ["game=random_tournament", "game.actions=4", "beta=0.1", "seeds=4"]


def run(folder, *overrides, watch=unwatched):
    with composed([*GAME, f"runs_dir={folder}", "progress=false", *overrides]) as config:
        return run_one(plain(config), watch).folder


@contextlib.contextmanager
def stopped(_):
    """Stops the run after five iterations."""

    def tick(progress):
        if progress.iterations.max() == 5:
            os.kill(os.getpid(), signal.SIGUSR1)

    yield tick


def diverge(self, state, prox):
    return replace(state, policy=TabularPolicy(state.policy.log_probabilities * float("nan")))


@pytest.fixture(scope="module")
def study(tmp_path_factory, one_thread):
    """A study with a run of every status, by name: what became of it and its folder."""
    runs = tmp_path_factory.mktemp("runs")
    folders = {
        "nash_mp": run(runs, "budget.iterations=33", "budget.target=1e-6"),
        "omd": run(runs, "algorithm=omd", "budget.iterations=60"),
        "nash_md": run(runs, "algorithm=nash_md", "budget.iterations=60", watch=stopped),
        "self_play": run(runs, "algorithm=self_play", "budget.iterations=5"),
    }
    (folders["self_play"] / "summary.json").unlink()  # as if killed
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(NashMP, "update", diverge)
        folders["failed"] = run(runs, "study=other", "algorithm.step_size=1")
    return runs, folders


@pytest.fixture(scope="module")
def data(study):
    return load(study[0] / "default")


# --- loading ---------------------------------------------------------------------------------------------------------


def test_all_rows_of_all_runs_below_a_folder_are_loaded(study):
    runs, folders = study
    everything = load(runs)
    assert set(everything["folder"]) == {str(folder) for folder in folders.values()}
    lines = sum(len((folder / "metrics.csv").read_text().splitlines()) - 1 for folder in folders.values())
    assert len(everything) == lines
    assert set(load(folders["omd"])["algorithm"]) == {"omd"}
    assert len(load(str(folders["omd"]))) == len(load(folders["omd"]))


def test_every_run_brings_its_status(study):
    runs, folders = study
    status = load(runs).drop_duplicates("folder").set_index("folder")["status"]
    assert {name: status[str(folder)] for name, folder in folders.items()} == {
        "nash_mp": "completed",
        "omd": "completed",
        "nash_md": "interrupted",
        "self_play": "unfinished",
        "failed": "failed",
    }


def test_config_columns_are_joined_by_dots_and_metrics_keep_theirs(study):
    runs, folders = study
    everything = load(runs).set_index("folder")
    assert (everything["beta"] == 0.1).all()
    assert (everything["game.actions"] == 4).all()
    assert (everything.loc[str(folders["failed"]), "algorithm.step_size"] == 1).all()
    assert (everything.loc[str(folders["omd"]), "algorithm.step_size"] == "theory").all()
    assert (everything.loc[str(folders["failed"]), "study"] == "other").all()
    assert set(everything["algorithm"]) == {"nash_mp", "omd", "nash_md", "self_play"}
    assert everything["step_size"].dtype == float  # the column of metrics.csv


def test_numbers_are_loaded_to_the_bit(study):
    folder = study[1]["omd"]
    written = [line.split(",") for line in (folder / "metrics.csv").read_text().splitlines()]
    column = written[0].index("average_exploitability")
    assert load(folder)["average_exploitability"].tolist() == [float(cells[column]) for cells in written[1:]]


def test_a_failed_run_keeps_its_rows_and_nan_where_nothing_was_measured(study):
    failed = load(study[1]["failed"])
    assert failed.query("iteration == 0")["exploitability"].notna().all()
    assert failed.query("iteration == 1")["exploitability"].isna().all()


def test_a_killed_run_without_its_config_is_still_loaded(tmp_path):
    folder = run(tmp_path, "budget.iterations=1")
    (folder / "summary.json").unlink()
    (folder / ".hydra" / "config.yaml").unlink()
    loaded = load(tmp_path)
    assert len(loaded) == 2 * 4
    assert set(loaded["status"]) == {"unfinished"}


@pytest.mark.parametrize("make", ["nothing", "empty"])
def test_a_folder_without_runs_is_refused_with_a_remedy(tmp_path, make):
    folder = tmp_path / "study"
    if make == "empty":
        folder.mkdir()
    with pytest.raises(NothingToAnalyseError, match=r"study holds no run .*: give runs/STUDY"):
        load(folder)


def test_runs_without_rows_are_refused_with_a_remedy(tmp_path):
    folder = run(tmp_path, "budget.iterations=1")
    header = (folder / "metrics.csv").read_text().splitlines()[0]
    (folder / "metrics.csv").write_text(header + "\n")
    with pytest.raises(NothingToAnalyseError, match="has rows yet: wait"):
        load(tmp_path)


# --- over seeds ------------------------------------------------------------------------------------------------------


def test_a_seed_keeps_its_last_value_between_rows_and_after_its_end():
    rows = [("f", 0, 1, 8.0), ("f", 0, 2, 4.0), ("f", 1, 1, 9.0), ("f", 1, 3, 3.0), ("g", 0, 2, 5.0)]
    table = over_seeds(pd.DataFrame(rows, columns=["folder", "seed", "queries", "value"]), "value")
    assert table.index.tolist() == [1, 2, 3]
    assert table["f", 0].tolist() == [8, 4, 4]
    assert table["f", 1].tolist() == [9, 9, 3]
    assert np.isnan(table["g", 0].iloc[0])
    assert table["g", 0].tolist()[1:] == [5, 5]


# --- figures ---------------------------------------------------------------------------------------------------------


def medians(data, algorithm, metric):
    """queries -> median over seeds of the last value known, by a loop."""
    rows = data[(data["algorithm"] == algorithm) & (data["queries"] > 0)]
    found = {}
    for queries in sorted(set(rows["queries"])):
        known = rows[rows["queries"] <= queries].groupby("seed")[metric].last().dropna()
        found[queries] = statistics.median(known)
    return found


def lines(axis, style):
    return [line for line in axis.lines if line.get_linestyle() == style]


def by_label(axis):
    return {line.get_label(): line for line in lines(axis, "-")}


@pytest.fixture(scope="module")
def figure(data):
    return convergence(data)


def test_each_algorithm_is_one_line_of_medians_against_queries(figure, data):
    exploitability, kl = figure.axes
    for axis, metric in ((exploitability, "exploitability"), (kl, "kl_to_equilibrium")):
        assert set(by_label(axis)) == {"nash_mp", "omd", "nash_md", "self_play"}
        for algorithm, line in by_label(axis).items():
            expected = medians(data, algorithm, metric)
            assert line.get_xdata().tolist() == list(expected)
            assert line.get_ydata() == pytest.approx(list(expected.values()), rel=1e-14)
        assert (axis.get_xscale(), axis.get_yscale(), axis.get_xlabel()) == ("log", "log", "preference queries")
    assert "random_tournament" in exploitability.get_title()


def test_the_bound_is_dashed_and_above_the_line(figure, data):
    exploitability, kl = figure.axes
    assert lines(exploitability, "--") == []
    colours = {line.get_color(): label for label, line in by_label(kl).items()}
    bounds = {colours[line.get_color()]: line for line in lines(kl, "--")}
    assert set(bounds) == {"nash_mp", "omd", "nash_md"}  # self-play at this beta has none
    for algorithm, line in bounds.items():
        promised, measured = medians(data, algorithm, "kl_bound"), medians(data, algorithm, "kl_to_equilibrium")
        assert len(line.get_xdata()) > 3
        for queries, value in zip(line.get_xdata(), line.get_ydata(), strict=True):
            assert value == pytest.approx(promised[queries], rel=1e-14)
            assert value >= measured[queries]


def test_what_is_not_completed_is_pale(figure):
    alpha = {label: line.get_alpha() for label, line in by_label(figure.axes[0]).items()}
    assert alpha["nash_mp"] == alpha["omd"] == 1
    assert alpha["nash_md"] < 0.5
    assert alpha["self_play"] < 0.5


def test_algorithms_differ_in_colour_and_marker(figure):
    looks = {(str(line.get_color()), line.get_marker()) for line in by_label(figure.axes[0]).values()}
    assert len({colour for colour, _ in looks}) == len({marker for _, marker in looks}) == 4


def test_the_legend_names_every_line_once(figure):
    (legend,) = figure.legends
    texts = [text.get_text() for text in legend.get_texts()]
    assert sorted(texts) == sorted({"nash_mp", "omd", "nash_md", "self_play", "theorem's bound"})


def test_other_steps_and_other_betas_are_not_pooled_and_more_seeds_are(tmp_path):
    limits = ["budget.iterations=6"]
    for step in (0.5, 1):
        run(tmp_path, f"algorithm.step_size={step}", *limits)
    run(tmp_path, "algorithm.step_size=1", "seeds=4-6", *limits)
    run(tmp_path, "algorithm.step_size=1", "beta=0.3", *limits)
    axes = convergence(load(tmp_path)).axes
    by_title = {axis.get_title(): axis for axis in axes if axis.get_ylabel() == "exploitability"}
    assert len(by_title) == 2
    first = next(axis for title, axis in by_title.items() if "0.1" in title)
    assert len(by_label(first)) == 2
    data = load(tmp_path).query("beta == 0.1")
    seven = data[data["algorithm.step_size"] == 1]
    assert seven["seed"].nunique() == 7
    expected = list(medians(seven, "nash_mp", "exploitability").values())
    assert any(line.get_ydata() == pytest.approx(expected, rel=1e-14) for line in by_label(first).values())


def test_a_study_of_first_rows_alone_is_drawn_empty(tmp_path):
    run(tmp_path, "budget.iterations=0", "equilibrium=never")
    for axis in convergence(load(tmp_path)).axes:
        assert lines(axis, "-") == []


def test_a_figure_is_saved_as_pdf_and_png(figure, tmp_path):
    paths = save(figure, tmp_path / "new" / "folder", "name")
    assert [path.name for path in paths] == ["name.pdf", "name.png"]
    assert paths[0].read_bytes().startswith(b"%PDF")
    assert paths[1].read_bytes().startswith(b"\x89PNG")


# --- the command -----------------------------------------------------------------------------------------------------


def command(monkeypatch, *arguments):
    """`python -m nlhf.analysis ARGUMENTS` in this process; returns the exit code."""
    monkeypatch.setattr(sys, "argv", ["nlhf.analysis", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("nlhf.analysis", run_name="__main__")
    return ended.value.code


def test_the_command_writes_both_files_and_says_where(study, tmp_path, monkeypatch, capsys):
    runs, _ = study
    assert command(monkeypatch, runs / "default", "--out", tmp_path / "out") == 0
    printed = capsys.readouterr().out
    for name in ("convergence.pdf", "convergence.png"):
        assert (tmp_path / "out" / name).stat().st_size > 5000
        assert str(tmp_path / "out" / name) in printed
    assert "2 completed" in printed
    assert "1 interrupted" in printed
    assert "1 unfinished" in printed


def test_figures_go_beside_the_runs_by_default(tmp_path, monkeypatch):
    run(tmp_path, "budget.iterations=2")
    assert command(monkeypatch, tmp_path / "default") == 0
    assert (tmp_path / "default" / "figures" / "convergence.png").exists()


def test_an_empty_folder_ends_with_a_sentence_and_code_2(tmp_path, monkeypatch, capsys):
    assert command(monkeypatch, tmp_path) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert line.startswith(f"error: {tmp_path} holds no run")
    assert "give runs/STUDY" in line
    assert list(tmp_path.iterdir()) == []


def test_a_run_of_the_interface_and_its_analysis_agree(tmp_path):
    done = nlhf.run([*GAME, f"runs_dir={tmp_path}", "budget.iterations=3"])
    loaded = nlhf.analysis.load(done.folder)
    assert loaded[list(done.metrics.columns)].equals(done.metrics)
    assert json.loads((done.folder / "summary.json").read_text())["status"] == loaded["status"].iloc[0]
