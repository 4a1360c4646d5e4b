"""What `nlhf status` says of a study, from its files alone."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

import pytest

from nlhf.cli.status import GROUPS, main
from nlhf.io.json_files import read_json, write_json
from nlhf.launch import status
from nlhf.launch.compose import CONF
from nlhf.launch.status import RunState
from tests.launch.commands import GAME, MAIN, SLOW, command, ended, process, until

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Two completed runs and one that failed; read only."""
    runs = tmp_path_factory.mktemp("runs")
    failing = "algorithm._target_=tests.launch.plugins.Failing"
    command("-m", *GAME, f"runs_dir={runs}", "study=s", "beta=0.05,0.2,0.3", failing)
    return runs / "s"


@pytest.fixture
def said(capsys):
    """Runs the command; exit code, output and errors."""

    def run(*arguments):
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return run


def test_completed_and_failed_runs_are_counted_and_failures_told_with_their_last_line(finished, said):
    code, out, err = said("status", finished)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert set(lines[0].removeprefix(f"{finished}: ").split(", ")) == {"1 failed", "2 completed"}
    (failed,) = lines[1:]
    assert re.fullmatch(r"  failed       random_tournament-nash_mp-\w{12}  ArithmeticError: beta is below 0\.1", failed)


def test_the_same_comes_as_json(finished, said):
    code, out, _ = said("status", finished, "--json")
    told = json.loads(out)
    assert (code, told["study"], told["counts"]) == (0, str(finished), {"failed": 1, "completed": 2})
    assert {run["name"] for run in told["runs"]} == {path.name for path in finished.iterdir()}
    assert [run["detail"] for run in told["runs"] if run["state"] == "failed"] == ["ArithmeticError: beta is below 0.1"]


def test_a_running_run_is_shown_with_its_progress_then_stopped_then_killed(tmp_path, said, monkeypatch):
    study = tmp_path / "s"
    slow = [*GAME, *SLOW, f"runs_dir={tmp_path}", "study=s", "budget.queries=20000", "beta=0.2"]
    for number, state, stand in ((signal.SIGTERM, "interrupted", "10"), (signal.SIGKILL, "interrupted", "20")):
        with monkeypatch.context() as patch:
            patch.setenv("STAND_AT", stand)
            running = process(*slow)
        told = until(lambda: [run for run in json.loads(said("status", study, "--json")[1])["runs"] if run["share"]]
                     if study.is_dir() else [])  # fmt: skip
        (run,) = told
        assert (run["state"], run["detail"]) == ("running", f"process {running.pid} on {socket.gethostname()}")
        assert 0 < run["share"] < 1
        assert run["seconds_left"] > 0
        before = time.time()
        out = said("status", study)[1].splitlines()
        assert out[0] == f"{study}: 1 running"
        assert re.fullmatch(
            rf"  running      {run['name']}  \d+%, about \d+ s left, exploitability \S+  {run['detail']}", out[1]
        )
        at = out[2].removeprefix("all may be done at ")
        assert time.mktime(time.strptime(at, "%Y-%m-%d %H:%M:%S")) > before - 1
        running.send_signal(number)
        ended(running)
        assert said("status", study)[1].startswith(f"{study}: 1 {state}")
    assert "killed: it goes on when the command is repeated" in said("status", study)[1]


def test_a_run_whose_process_was_killed_is_what_its_summary_says(tmp_path, said):
    """It may have been killed with a larger budget, or when it was complete, before it removed its lock."""
    command(*GAME, f"runs_dir={tmp_path}", "study=s")
    (folder,) = (tmp_path / "s").iterdir()
    owner = {"host": socket.gethostname(), "pid": 2**22 + 1, "token": "t", "heartbeat": int(time.time())}
    (folder / "lock").write_text(json.dumps(owner))
    assert said("status", tmp_path / "s")[1].startswith(f"{tmp_path / 's'}: 1 completed")
    write_json(folder / "summary.json", read_json(folder / "summary.json") | {"status": "running"})
    assert said("status", tmp_path / "s")[1].startswith(f"{tmp_path / 's'}: 1 interrupted")


@pytest.mark.parametrize(("silence", "state"), [(10, "running"), (61, "interrupted")])
def test_a_process_elsewhere_runs_as_long_as_it_is_heard_of(tmp_path, said, silence, state):
    folder = tmp_path / "s" / "game-algorithm-0"
    folder.mkdir(parents=True)
    owner = {"host": "elsewhere", "pid": 5, "token": "t", "heartbeat": int(time.time()) - silence}
    (folder / "lock").write_text(json.dumps(owner))
    assert said("status", tmp_path / "s")[1].startswith(f"{tmp_path / 's'}: 1 {state}")


@pytest.mark.parametrize("content", ["", "{", "[]", "{}"])
def test_a_damaged_summary_is_told_with_its_remedy(tmp_path, said, content):
    command(*GAME, f"runs_dir={tmp_path}", "study=s")
    (folder,) = (tmp_path / "s").iterdir()
    (folder / "summary.json").write_text(content)
    assert said("status", tmp_path / "s")[1].splitlines()[1:] == [
        f"  damaged      {folder.name}  summary.json is damaged: repeat the command, which restores it, or add "
        "force=true if there is no checkpoint"
    ]


def test_caveats_of_methods_are_counted(tmp_path, said):
    caveat = "completions are drawn with policy.top_p=0.9, so KL divergences and gradients are biased"
    for name, method in (("a", {"caveat": caveat}), ("b", {"caveat": caveat}), ("c", {"caveat": None}), ("d", None)):
        (tmp_path / name).mkdir()
        write_json(tmp_path / name / "summary.json", {"status": "completed", "method": method, "files": {}})
    code, out, err = said("status", tmp_path)
    assert (code, err) == (0, "")
    assert f"  note         {caveat} (2 runs)" in out.splitlines()


def test_a_study_without_runs_says_so(tmp_path, said):
    assert said("status", tmp_path) == (0, f"{tmp_path}: no run yet\n", "")


@pytest.mark.parametrize("asked", ["status", "logs", "cancel"])
def test_a_folder_that_is_not_there_is_told_in_a_sentence(tmp_path, said, asked):
    code, out, err = said(asked, tmp_path / "nope")
    assert (code, out) == (2, "")
    assert err == f"error: {tmp_path / 'nope'} is not a folder: give runs/STUDY (for logs runs/STUDY/RUN).\n"


def test_watching_says_it_again_until_it_is_stopped(finished):
    script = (
        "import signal, sys, nlhf.cli.status as m; m.WATCH = 0.1; "
        "signal.signal(signal.SIGINT, signal.default_int_handler); "  # a shell's background jobs ignore it
        "sys.exit(m.main(sys.argv[1:]))"
    )
    watching = subprocess.Popen([sys.executable, "-c", script, "status", str(finished), "--watch"], text=True,
                                env=os.environ | {"PYTHONPATH": str(MAIN.parent)}, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE)  # fmt: skip
    first = [watching.stdout.readline() for _ in range(4)]
    watching.send_signal(signal.SIGINT)
    _, err = watching.communicate(timeout=600)
    assert first[:2] == first[2:]
    assert "Traceback" not in err


def test_logs_are_those_of_the_run(finished, said):
    folder = next(path for path in finished.iterdir() if "Traceback" in (path / "run.log").read_text())
    assert said("logs", folder) == (0, (folder / "run.log").read_text(), "")
    code, _, err = said("logs", finished)
    assert (code, err) == (2, f"error: {finished} has no run.log: give the folder of a run, runs/STUDY/RUN.\n")


def test_cancel_finds_nothing_where_nothing_was_submitted(finished, said):
    assert said("cancel", finished) == (0, f"SLURM has no task of {finished}\n", "")


def test_list_shows_every_choice_with_a_line_on_it(said):
    code, out, _ = said("list")
    assert code == 0
    lines = out.splitlines()
    for group in GROUPS:
        assert group in lines
        for file in (CONF / group).glob("*.yaml"):
            described = [line.split(None, 1) for line in lines if line.startswith(f"  {file.stem} ")]
            assert described, file
            assert all(len(line) == 2 and len(line[1]) > 8 for line in described), file


def test_status_imports_no_torch(finished):
    script = "import sys; from nlhf.cli.status import main; main(sys.argv[1:]); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script, "status", str(finished)], capture_output=True, text=True,
                          env=os.environ | {"PYTHONPATH": str(MAIN.parent)}, check=True, timeout=600)  # fmt: skip
    assert done.stdout.splitlines()[-1] == "False"


def test_no_end_is_promised_while_a_run_has_no_pace(tmp_path, monkeypatch):
    runs = [RunState("a", "running", 0.5, 20.0), RunState("b", "running")]
    monkeypatch.setattr(status, "states", lambda _: iter(runs))
    not_begun = {"pending": 0, "missing": 0}
    assert not any("may be done" in line for line in status.show(tmp_path, not_begun))
    runs.pop()
    assert "may be done" in status.show(tmp_path, not_begun)[-1]
