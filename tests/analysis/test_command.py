"""`nlhf compare`: what it prints and writes, and a sentence with a remedy for every input it cannot use."""

from __future__ import annotations

import runpy
import shutil
import subprocess
import sys

import pandas as pd
import pytest

import nlhf
from nlhf.cli.compare import main
from tests.analysis.synthetic import geometric, write_run

SCHEDULE = [0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 60, 80, 100]


@pytest.fixture
def study(tmp_path):
    """Two methods, two games, two betas."""
    for number, name in enumerate(("nash_mp", "omd")):
        for game in ("circle", "votes"):
            for beta in (0.05, 0.1):
                curves = {seed: geometric(0.1 + seed / 50, 0.5 + number / 5, SCHEDULE, 1 + number) for seed in range(6)}
                write_run(tmp_path / "study", name, game, beta, curves=curves)
    return tmp_path / "study"


def run(*arguments):
    return main([str(argument) for argument in arguments])


# --- what it writes --------------------------------------------------------------------------------------------------


def test_it_prints_a_table_and_a_sentence_and_writes_figures_and_a_report(study, capsys):
    for folder in study.glob("votes-*"):
        shutil.rmtree(folder)
    assert run(study) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert printed.out.startswith("4 completed\n")
    assert "nash_mp on all 2" in printed.out
    assert printed.out.splitlines()[-1] == str(study / "report.html")
    assert (study / "report.html").stat().st_size > 50_000
    figures = {path.name for path in (study / "figures").iterdir()}
    assert {"convergence.pdf", "convergence.png", "heatmap.pdf", "profile.pdf", "seconds.png"} <= figures
    assert max(len(line) for line in printed.out.splitlines()[:-1]) <= 100


def test_out_is_where_files_go_and_nothing_is_written_beside_the_runs(study, tmp_path, capsys):
    before, folder = sorted(study.rglob("*")), min(study.iterdir())
    assert run(folder, "--out", tmp_path / "new" / "place") == 0
    assert sorted(study.rglob("*")) == before
    assert (tmp_path / "new" / "place" / "report.html").exists()
    assert str(tmp_path / "new" / "place" / "report.html") in capsys.readouterr().out


def test_without_a_report_nothing_is_written(study, capsys):
    before = sorted(study.rglob("*"))
    assert run(study, "--no-report") == 0
    assert sorted(study.rglob("*")) == before
    assert "nash_mp on all 4" in capsys.readouterr().out


def test_by_says_what_is_compared_apart(study, capsys):
    run(study, "--no-report", "--by", "game")
    printed = capsys.readouterr().out
    assert "circle (6 seeds x 2 settings)" in printed
    assert "beta = " not in printed
    run(study, "--no-report", "--by", "game,beta")
    assert "votes, beta = 0.1 (6 seeds)" in capsys.readouterr().out


def test_x_metric_and_target_are_asked_for(study, capsys):
    assert run(study, "--no-report", "--x", "iteration", "--metric", "kl_to_equilibrium", "--target", "1e-2") == 0
    printed = capsys.readouterr().out
    assert "iterations to 0.01" in printed
    assert "The fewest iterations to KL to the equilibrium 0.01" in " ".join(printed.split())


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_all_rows_are_exported(study, tmp_path, capsys, ending):
    target = tmp_path / "a" / f"rows.{ending}"
    assert run(study, "--no-report", "--export", target) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(target)
    rows = pd.read_csv(target) if ending == "csv" else pd.read_parquet(target)
    loaded = nlhf.analysis.load(study)
    assert len(rows) == len(loaded)
    assert rows["exploitability"].sum() == pytest.approx(loaded["exploitability"].sum(), rel=1e-12)


def test_a_run_alone_is_a_study_and_so_is_a_tree_of_studies(study, capsys):
    folder = next(study.iterdir())
    assert run(folder, "--no-report") == 0
    assert "1 completed" in capsys.readouterr().out
    assert run(study.parent, "--no-report") == 0
    assert "8 completed" in capsys.readouterr().out


def test_a_folder_of_metrics_alone_is_analysed_and_reported(study, tmp_path, capsys):
    """Somebody sent the CSV files and nothing else."""
    for number, folder in enumerate(sorted(study.iterdir())[:1]):
        (tmp_path / "sent" / str(number)).mkdir(parents=True)
        shutil.copy(folder / "metrics.csv", tmp_path / "sent" / str(number))
    assert run(tmp_path / "sent") == 0
    assert "1 unfinished" in capsys.readouterr().out
    assert (tmp_path / "sent" / "report.html").exists()


def test_names_in_brackets_are_printed_as_they_are(tmp_path, capsys):
    for drop in ("[gpt4]", "[bold]"):
        write_run(tmp_path, curves={0: geometric(0.1, 0.5, SCHEDULE)}, game__drop=drop)
    run(tmp_path, "--no-report")
    printed = capsys.readouterr().out
    assert "drop = [gpt4]" in printed
    assert "nash_mp on all 2" in printed


def test_python_m_ends_with_the_exit_code(study, monkeypatch, capsys):
    for arguments, code in (([study, "--no-report"], 0), ([study, "--x", "euros"], 2)):
        monkeypatch.setattr(sys, "argv", ["nlhf.analysis", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            runpy.run_module("nlhf.analysis", run_name="__main__")
        assert ended.value.code == code
    capsys.readouterr()


def test_a_reader_who_stops_reading_ends_the_command_quietly(study):
    script = f"{sys.executable} -m nlhf compare {study} --no-report | head -1"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=600, check=False)
    assert done.stdout == "8 completed\n"
    assert "Traceback" not in done.stderr


# --- bad input -------------------------------------------------------------------------------------------------------


def refused(capsys, *arguments):
    """The one sentence on the standard error."""
    assert run(*arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert line.startswith("error: ")
    assert line.endswith(".")
    return line.removeprefix("error: ")


def test_a_folder_that_is_not_there_or_empty_is_refused(tmp_path, capsys):
    for folder in (tmp_path, tmp_path / "nowhere"):
        said = refused(capsys, folder)
        assert said == f"{folder} holds no run (no metrics.csv): give the folder of a study, runs/STUDY."
    assert list(tmp_path.iterdir()) == []


def test_a_study_without_rows_is_refused(tmp_path, capsys):
    write_run(tmp_path, curves={})
    assert refused(capsys, tmp_path).startswith(f"no run below {tmp_path} has rows yet: wait")


def test_other_peoples_csv_is_refused(tmp_path, capsys):
    (tmp_path / "metrics.csv").write_text("epoch,loss\n1,0.5\n")
    said = refused(capsys, tmp_path)
    assert str(tmp_path / "metrics.csv") in said
    assert "lacks the column run: remove it" in said


@pytest.mark.parametrize(
    ("arguments", "value", "remedy"),
    [
        (["--metric", "loss"], "--metric=loss", "give one of exploitability, "),
        (
            ["--metric", "span_to_equilibrium"],
            "--metric=span_to_equilibrium",
            "give one of exploitability, kl_to_equilibrium.",
        ),
        (["--x", "euros"], "--x=euros", "give one of queries, iteration, seconds"),
        (["--target", "0"], "--target=0", "give a number > 0"),
        (["--target", "-1"], "--target=-1", "give a number > 0"),
        (["--target", "nan"], "--target=nan", "give a number > 0"),
        (["--target", "inf"], "--target=inf", "give a number > 0"),
        (["--target", "small"], "'small'", "--help"),
        (["--by", "colour"], "--by=colour", "give game, beta, or a key of the configs"),
        (["--by", "game,colour"], "--by=colour", "give game, beta"),
        (["--export", "rows.xlsx"], "--export=rows.xlsx", "give FILE.csv or FILE.parquet"),
        (["--tensorboard", "events", "--x", "seconds"], "--x=seconds", "give --x queries or iteration"),
        (["--colour", "red"], "--colour red", "--help"),
    ],
)
def test_an_unknown_option_is_refused_by_name_and_value_with_a_remedy(
    study, capsys, arguments, value, remedy, monkeypatch
):
    monkeypatch.chdir(study.parent)
    before = sorted(study.parent.rglob("*"))
    said = refused(capsys, study, *arguments)
    assert value in said
    assert remedy in said
    assert sorted(study.parent.rglob("*")) == before  # nothing was begun


def test_no_folder_at_all_is_refused(capsys):
    assert "the following arguments are required: STUDY" in refused(capsys)


def test_a_file_where_a_folder_is_wanted_is_refused(study, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    for arguments in (["--out", tmp_path / "file"], ["--export", tmp_path / "file" / "rows.csv"]):
        said = refused(capsys, study, *arguments)
        assert said.startswith(f"{tmp_path / 'file'}")
        assert "give another path" in said


def test_the_same_seed_twice_is_refused_with_both_folders(study, capsys):
    folder = min(study.iterdir())
    shutil.copytree(folder, study / "copy")
    said = refused(capsys, study)
    assert f"{study / 'copy'}" in said
    assert f"{folder}" in said
    assert "remove one of them" in said
