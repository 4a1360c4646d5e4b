"""Damaged files: the run is left out and named with a remedy; no other run changes, and no number is invented."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from nlhf.analysis import row_cache
from nlhf.analysis.criterion import Criterion
from nlhf.analysis.results import analyse
from nlhf.analysis.study import load_study
from nlhf.cli.compare import main
from nlhf.cli.status import main as launch
from nlhf.io.json_files import read_json, write_json
from tests.analysis.synthetic import geometric, write_run

SEEDS = 6
REMEDY = "repeat the command of the run, which restores it, or add force=true if there is no checkpoint."


@pytest.fixture
def study(tmp_path):
    """Two methods, of which only the last row of the second one reaches 1e-3."""
    root = tmp_path / "study"
    write_run(root, "omd", curves={seed: geometric(0.5, 0.9, range(30)) for seed in range(SEEDS)}, name="omd")
    write_run(root, curves={seed: geometric(0.5, 0.5, range(10)) for seed in range(SEEDS)}, name="nash_mp")
    return root


def edited(path, old, new):
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, 1))


DAMAGE = {
    "empty": lambda path: path.write_text(""),
    "missing": lambda path: path.unlink(),
    "cut within a row": lambda path: path.write_bytes(path.read_bytes()[:-40]),
    "cut between two rows": lambda path: path.write_bytes(path.read_bytes().rpartition(b"nash_mp,random")[0]),
    "a digit changed": lambda path: edited(path, b",0.125,", b",0.225,"),
    "a row twice": lambda path: path.write_bytes(path.read_bytes() + path.read_bytes().splitlines(True)[-1]),
    "a bad byte": lambda path: edited(path, b"tournament", b"tourn\xffment"),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_completed_run_whose_rows_are_damaged_is_left_out_and_named(study, damage, capsys):
    path = study / "nash_mp" / "metrics.csv"
    whole = analyse(study, Criterion(target=1e-3)).summary.set_index("method")
    assert whole.loc["nash_mp", ["reached", "completed"]].tolist() == [1, 1]
    DAMAGE[damage](path)
    results = analyse(study, Criterion(target=1e-3))
    assert set(results.summary["method"]) == {"omd"}
    of_order = ["rank", "mean_rank", "rank_low", "rank_high", "best"]
    others = results.summary.set_index("method").drop(columns=of_order)
    assert others.loc["omd"].equals(whole.drop(columns=of_order).loc["omd"])
    assert [run["status"] for run in results.study.runs] == ["damaged", "completed"]
    sentence = f"{path} is damaged or missing, so the run is left out: {REMEDY}"
    assert results.cautions[:2] == [sentence, "Left out because of damaged files: 1 run."]
    assert main([str(study), "--no-report"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "1 damaged, 1 completed" in printed
    assert "nash_mp/metrics.csv is damaged or missing" in printed


def test_a_damaged_config_leaves_the_run_out_as_nobody_knows_its_setting(study):
    edited(study / "omd" / ".hydra" / "config.yaml", b"0.05", b"0.07")
    found = load_study(study)
    assert set(found.rows["method"]) == {"nash_mp"}
    (damage,) = [run["damage"] for run in found.runs if run["damage"]]
    assert damage == [f"{study}/omd/.hydra/config.yaml is damaged or missing, so the run is left out: {REMEDY}"]


def test_damaged_overrides_cost_the_commands_of_the_report_alone(study):
    edited(study / "omd" / ".hydra" / "overrides.yaml", b"[]", b"[x]")
    found = load_study(study)
    assert set(found.rows["method"]) == {"nash_mp", "omd"}
    assert [run["damage"] for run in found.runs][1] == [
        f"{study}/omd/.hydra/overrides.yaml is damaged or missing and not used: {REMEDY}"
    ]


def test_a_copied_study_is_as_sound_as_the_original(study, tmp_path):
    copied = shutil.copytree(study, tmp_path / "copied")  # other inodes and times, the same bytes
    found = load_study(copied)
    assert [run["damage"] for run in found.runs] == [[], []]
    assert found.rows.drop(columns="folder").equals(load_study(study).rows.drop(columns="folder"))


def test_damage_that_happens_after_the_rows_were_cached_is_seen(study, monkeypatch):
    monkeypatch.setattr(row_cache, "FEWEST", 1)
    load_study(study)
    edited(study / "omd" / "metrics.csv", b",0.45,", b",0.35,")
    for _ in range(2):
        assert set(load_study(study).rows["method"]) == {"nash_mp"}


def test_a_summary_that_says_running_is_that_of_a_run_that_was_killed(study, capsys):
    path = study / "nash_mp" / "summary.json"
    write_json(path, {key: value for key, value in (read_json(path) or {}).items() if key != "files"} |
               {"status": "running"})  # fmt: skip
    results = analyse(study, Criterion(target=1e-3))
    row = results.summary.set_index("method").loc["nash_mp"]
    assert (row["completed"], row["unfinished"]) == (0, 1)
    assert not results.cautions[0].startswith("Completed before")
    assert launch(["status", str(study), "--json"]) == 0
    states = {run["name"]: run["state"] for run in json.loads(capsys.readouterr().out)["runs"]}
    assert states == {"nash_mp": "interrupted", "omd": "completed"}


def test_runs_from_before_checksums_are_one_sentence(tmp_path, capsys):
    for place, name in enumerate(("omd", "mpo", "nash_mp")):
        curves = {seed: geometric(0.5, 0.5 + place / 10, range(10)) for seed in range(SEEDS)}
        write_run(tmp_path, name, curves=curves, checksums=name == "omd")
    sentence = (
        "Completed before files had checksums: 2 runs. Damage to these files would go unnoticed; repeat the commands "
        "with force=true to be sure."
    )
    assert analyse(tmp_path, Criterion()).cautions.count(sentence) == 1
    assert launch(["status", str(tmp_path)]) == 0
    assert "  2 completed before files had checksums: damage to them would go unnoticed" in capsys.readouterr().out


def test_many_damaged_files_are_counted(tmp_path):
    write_run(tmp_path, curves={0: geometric(0.5, 0.5, range(10))})
    for number in range(8):
        folder = write_run(tmp_path, "omd", curves={0: geometric(0.5, 0.5, range(10))}, algorithm__step_size=number)
        (folder / "metrics.csv").write_text("")
    cautions = analyse(tmp_path, Criterion()).cautions
    assert sum("is damaged or missing" in caution for caution in cautions) == 5
    assert cautions[5:7] == ["More files are damaged: 8 in all.", "Left out because of damaged files: 8 runs."]


def test_folders_that_force_moved_aside_are_ignored(tmp_path, capsys):
    folder = write_run(tmp_path, curves={0: geometric(0.5, 0.5, range(10))})
    aside = shutil.copytree(folder, folder.with_name(f"{folder.name}.1"))
    found = load_study(tmp_path)
    assert [run["folder"] for run in found.runs] == [str(folder)]
    assert launch(["status", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["counts"] == {"completed": 1}
    assert len(load_study(aside).runs) == 1  # unless one of them is what is asked for


def test_the_largest_seed_is_loaded(tmp_path):
    write_run(tmp_path, curves={2**63 - 1: geometric(0.5, 0.5, range(10))})
    assert load_study(tmp_path).rows["seed"].unique().tolist() == [2**63 - 1]
    assert np.isfinite(analyse(tmp_path, Criterion(target=0.1)).observations["cost"]).all()
