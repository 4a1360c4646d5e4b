"""`status` notices files whose size or number of rows differs from the summary, and no file can make it fail."""

from __future__ import annotations

import json
import os
import socket
import time

import pytest

from nlhf.cli.status import main
from nlhf.io.json_files import write_json
from nlhf.launch.status import RESTORE, measured_seconds, states
from tests.analysis.synthetic import geometric, write_run

CURVES = {0: geometric(0.5, 0.5, range(10))}


def state_of(folder):
    (run,) = [run for run in states(folder.parent) if run.name == folder.name]
    return run.state, run.detail


def same_size(path, old, new):
    content = path.read_bytes()
    assert old in content
    assert len(old) == len(new)
    path.write_bytes(content.replace(old, new, 1))


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_text(""),
        lambda path: path.unlink(),
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: same_size(path, b"\n", b" "),
    ],
    ids=["empty", "missing", "one byte shorter", "a row less in as many bytes"],
)
def test_a_completed_run_with_a_damaged_table_is_not_completed(tmp_path, damage):
    folder = write_run(tmp_path, curves=CURVES)
    assert state_of(folder) == ("completed", "")
    damage(folder / "metrics.csv")
    assert state_of(folder) == ("damaged", f"metrics.csv is damaged: {RESTORE}")


def test_sizes_of_the_other_files_are_checked_too(tmp_path):
    folder = write_run(tmp_path, curves=CURVES, status="interrupted")
    (folder / ".hydra" / "config.yaml").write_text("beta: 1\n")
    assert state_of(folder) == ("damaged", f".hydra/config.yaml is damaged: {RESTORE}")


@pytest.mark.parametrize("content", [
    {"status": None}, {"status": ["completed"]}, {"status": "done"}, {"status": {}}, {"status": 1}, {},
    {"status": "completed", "files": []}, {"status": "completed", "files": {"metrics.csv": 3}},
    {"status": "completed", "files": {"metrics.csv": {"bytes": "x", "rows": []}}},
])  # fmt: skip
def test_a_summary_with_wrong_types_is_damaged(tmp_path, content):
    folder = write_run(tmp_path, curves=CURVES)
    write_json(folder / "summary.json", content)
    assert state_of(folder)[0] == ("completed" if content.get("files") == [] else "damaged")


def test_a_failed_run_without_a_reason_is_failed(tmp_path):
    assert state_of(write_run(tmp_path, curves=CURVES, status="failed")) == ("failed", "None")


@pytest.mark.parametrize("name", ["metrics.csv", ".hydra/config.yaml"])
@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe\x00", b"a: [", b"seed\n1,2\n", b"- 1\n", b"seeds: 3\nbudget: no\n"]
)
def test_a_running_run_with_damaged_files_is_running(tmp_path, capsys, name, content):
    folder = write_run(tmp_path, curves=CURVES, status=None, budget__queries=1000)
    owner = {"host": socket.gethostname(), "pid": os.getpid(), "token": "t", "heartbeat": int(time.time())}
    (folder / "lock").write_text(json.dumps(owner))
    (folder / name).write_bytes(content)
    assert main(["status", str(tmp_path)]) == 0
    assert f"process {os.getpid()} on {socket.gethostname()}" in capsys.readouterr().out


def test_times_are_measured_on_sound_summaries_of_runs_that_were_not_moved_aside(tmp_path):
    name = "circle-omd-0123456789ab"
    for place, (folder, content) in enumerate({
        name: {"status": "completed", "run": name, "wall_seconds": 2.0},
        f"{name}.1": {"status": "completed", "run": name, "wall_seconds": 100.0},
        "circle-omd-1": {"status": "completed", "run": name, "wall_seconds": "x"},
        "circle-omd-2": {"status": "completed", "wall_seconds": 1.0, "run": ["circle"]},
        "circle-omd-3": {"status": "completed", "run": name},
        "circle-omd-4": {"status": "running", "run": name, "wall_seconds": 7.0},
    }.items()):  # fmt: skip
        (tmp_path / folder).mkdir()
        write_json(tmp_path / folder / "summary.json", content | {"place": place})
    assert measured_seconds([tmp_path])["circle", "omd"] == 2.0
