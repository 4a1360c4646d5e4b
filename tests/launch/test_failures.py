"""What goes wrong is told in a sentence, keeps its traceback in the run's folder, and loses nothing."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import socket
import subprocess
import time
from pathlib import Path

import pytest

from nlhf.config import ConfigError
from nlhf.io.files import WriteError
from nlhf.io.json_files import read_json, write_json
from nlhf.launch import sweep
from nlhf.launch.compose import composed, plain
from nlhf.runner import assemble, lock
from nlhf.runner.fingerprint import RESULTS_VERSION
from nlhf.runner.lock import BusyError, LostError, locked
from nlhf.runner.run_one import attempt, run_one
from tests.launch.commands import GAME, command, results, rows, until

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def base():
    with composed([*GAME, "algorithm=nash_mp", "study=s"]) as config:
        return plain(config)


@pytest.fixture
def config(base, tmp_path):
    return base | {"runs_dir": str(tmp_path / "runs")}


def failing(config):
    return config | {"algorithm": config["algorithm"] | {"_target_": "tests.launch.plugins.Failing"}}


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


# --- tracebacks ------------------------------------------------------------------------------------------------------


def test_a_failure_leaves_its_traceback_in_the_log_and_its_last_line_in_the_summary(config, capsys):
    outcome = run_one(failing(config))
    assert (outcome.status, outcome.log10_exploitability) == ("failed", float("inf"))
    assert summary(outcome.folder)["stop_reason"] == "ArithmeticError: beta is below 0.1"  # one line
    log = (outcome.folder / "run.log").read_text()
    assert f"ERROR {outcome.folder.name} failed: ArithmeticError: beta is below 0.1\nTraceback" in log
    assert "plugins.py" in log
    assert not any(capsys.readouterr())
    assert not logging.getLogger("nlhf").handlers


def test_a_failure_before_there_is_a_world_is_recorded_and_retried(config, monkeypatch):
    def refuse(run):
        raise MemoryError("no room for the game")

    with monkeypatch.context() as patch:
        patch.setattr(assemble, "assemble", refuse)
        outcome = run_one(config)
        assert run_one(config | {"retry_failed": False}).skipped
    assert summary(outcome.folder)["stop_reason"] == (
        "out of memory: give fewer seeds at once, or a smaller game (MemoryError: no room for the game)"
    )
    assert "in refuse" in (outcome.folder / "run.log").read_text()
    assert not (outcome.folder / "lock").exists()
    assert run_one(config).status == "completed"


@pytest.mark.parametrize("stage", ["TableWorld.trainer", "RunFolder.begin", "RunFolder.conclude", "Trainer.restore"])
def test_a_failure_anywhere_in_a_run_is_recorded(config, monkeypatch, stage):
    first = run_one(config | {"budget": config["budget"] | {"queries": 20}})
    before = rows(first.folder)
    from nlhf.runner import folder, table_world, trainer

    owner = {"TableWorld": table_world.TableWorld, "RunFolder": folder.RunFolder, "Trainer": trainer.Trainer}

    def fail(*arguments, **options):
        raise KeyError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(owner[stage.partition(".")[0]], stage.rpartition(".")[2], fail)
        outcome = run_one(config)
    assert (outcome.status, outcome.summary["stop_reason"]) == ("failed", "KeyError: 'gone'")
    assert "in fail" in (outcome.folder / "run.log").read_text()
    assert before[:-1] == rows(outcome.folder)[: len(before) - 1]
    assert run_one(config).status == "completed"


def test_an_error_of_the_system_inside_an_algorithm_is_a_failure_and_not_a_full_disk(config, monkeypatch):
    from nlhf.algorithms.nash_mp import NashMP

    monkeypatch.setattr(NashMP, "update", lambda *_: Path("/nowhere/at/all").read_text())
    outcome = run_one(config)
    assert outcome.summary["stop_reason"].startswith("FileNotFoundError: [Errno 2]")


def test_a_fault_of_our_own_ends_no_sweep(config, monkeypatch, capsys):
    def broken(config):
        raise ZeroDivisionError("ours")

    monkeypatch.setattr("nlhf.runner.run_one.specify", broken)
    ended = attempt(config, ["beta=1"])
    assert (ended.task, ended.state, ended.message) == ("beta=1", "failed", "ZeroDivisionError: ours")
    assert "in broken" in capsys.readouterr().err


# --- who may write ---------------------------------------------------------------------------------------------------


def taken_by(folder, host, silence, pid=1):
    """Write the lock of a process elsewhere that was heard of so many seconds ago."""
    folder.mkdir(parents=True, exist_ok=True)
    owner = {"host": host, "pid": pid, "token": "theirs", "heartbeat": int(time.time() - silence)}
    (folder / "lock").write_text(json.dumps(owner))


def losing(folder):
    """A watch by which, after ten iterations, another host takes the run over."""

    @contextlib.contextmanager
    def watch(_):
        def tick(progress, row):
            if progress.iterations.max() == 10:
                taken_by(folder, "elsewhere", 0)

        yield tick

    return watch


def test_an_owner_that_lost_its_token_stops_and_writes_nothing(config):
    first = run_one(config | {"budget": config["budget"] | {"queries": 2}})
    before = contents(first.folder)
    with pytest.raises(LostError, match=r"was taken over by another process .*: it writes nothing more; let the other"):
        run_one(config, losing(first.folder))
    after = contents(first.folder)
    theirs = after.pop(first.folder / "lock")
    assert json.loads(theirs)["token"] == "theirs"  # not removed either
    log = first.folder / "run.log"
    assert after.pop(log).startswith(before.pop(log))
    assert not any(path.suffix == ".tmp" for path in after)
    written_while_ours = {first.folder / "summary.json", *first.folder.glob(".hydra/*")}
    assert all(after[path] == before[path] for path in before.keys() - written_while_ours)
    assert read_json(first.folder / "summary.json")["status"] == "running"
    assert attempt(config, ["a"]).state == "refused"  # elsewhere is working on it
    taken_by(first.folder, "elsewhere", 61)
    assert run_one(config).status == "completed"


@pytest.mark.parametrize("silence", [0, 30])
def test_a_run_of_another_host_is_left_to_it_while_it_is_heard_of(config, silence):
    folder = run_one(config | {"budget": config["budget"] | {"queries": 2}}).folder
    taken_by(folder, "elsewhere", silence, pid=77)
    with pytest.raises(BusyError, match="is being worked on by process 77 on elsewhere: wait for it, or stop it"):
        run_one(config)
    assert json.loads((folder / "lock").read_text())["token"] == "theirs"


def test_a_run_of_another_host_is_taken_over_after_a_minute_of_silence(config):
    folder = run_one(config | {"budget": config["budget"] | {"queries": 2}}).folder
    taken_by(folder, "elsewhere", 61)
    assert run_one(config).status == "completed"
    assert not (folder / "lock").exists()


def test_a_silent_host_is_taken_over_even_where_the_file_system_keeps_its_lock(tmp_path):
    with locked(tmp_path) as owned:  # plays the other host: its kernel's lock is seen here
        owned.owner["host"] = "elsewhere"
        owned.beat()
        with pytest.raises(BusyError), locked(tmp_path):
            pass
        owner = (tmp_path / "lock").read_text()
        (tmp_path / "lock").write_text(re.sub(r'("heartbeat": )\d+', r"\g<1>1111111111", owner))
        with locked(tmp_path) as new:
            assert new.holds()
            assert not owned.holds()
            with pytest.raises(LostError):
                owned.check()
            owned.beat()  # by its own thread, late
            new.check()
    assert not (tmp_path / "lock").exists()


def test_a_lock_of_this_host_whose_process_is_dead_is_free_at_once(config):
    folder = run_one(config | {"budget": config["budget"] | {"queries": 2}}).folder
    taken_by(folder, socket.gethostname(), 0, pid=2**22 + 1)
    assert run_one(config).status == "completed"


def test_a_reader_never_finds_half_a_lock(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "BEAT", 1e-4)
    with locked(tmp_path) as owned:
        seen = {len((tmp_path / "lock").read_bytes()) for _ in range(300) if owned.holds()}
    assert len(seen) == 1


def test_a_heart_that_cannot_beat_beats_again_when_it_can(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "BEAT", 1e-3)
    beats, working = [], lock.Ownership.beat

    def beat(self):
        beats.append(1)
        if 1 < len(beats) < 4:
            raise OSError("the server is away")
        working(self)

    monkeypatch.setattr(lock.Ownership, "beat", beat)
    with locked(tmp_path):
        until(lambda: len(beats) > 6)


def test_two_processes_never_hold_one_lock(tmp_path):
    script = ("import sys, time\nfrom pathlib import Path\nfrom nlhf.runner.lock import BusyError, locked\n"
              "folder, done = Path(sys.argv[1]), 0\n"
              "while done < 40:\n"
              "    try:\n"
              "        with locked(folder):\n"
              "            (folder / 'inside').touch(exist_ok=False)\n"
              "            time.sleep(0.001)\n"
              "            (folder / 'inside').unlink()\n"
              "            done += 1\n"
              "    except BusyError:\n"
              "        time.sleep(0.0005)\n")  # fmt: skip
    environment = os.environ | {"PYTHONPATH": str(Path(sweep.__file__).parents[2])}
    racing = [subprocess.Popen(["python3", "-c", script, str(tmp_path)], env=environment) for _ in range(3)]
    assert [process.wait(timeout=600) for process in racing] == [0, 0, 0]


def test_a_process_that_finds_the_run_busy_leaves_it_and_a_sweep_goes_on(config, tmp_path):
    arguments = ["-m", *GAME, f"runs_dir={tmp_path / 'runs'}", "study=s", "algorithm=nash_mp"]
    folder = run_one(config | {"budget": config["budget"] | {"queries": 2}}).folder
    with locked(folder):
        done = command(*arguments, f"beta={config['beta']},0.3")
    assert done.code == 1
    assert f"error: {folder} is being worked on by process {os.getpid()} on {socket.gethostname()}" in done.err
    assert "1 refused, 1 completed" in done.out
    assert command(*arguments, f"beta={config['beta']},0.3").code == 0


# --- what is left by the killed --------------------------------------------------------------------------------------


def test_half_files_of_a_killed_process_are_cleared_away(config):
    folder = run_one(config | {"budget": config["budget"] | {"queries": 2}}).folder
    (folder / ".metrics.csv.123-abc.tmp").write_text("half")
    run_one(config)
    assert list(results(folder.parent)) == [folder.name]


# --- what cannot be written ------------------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path):
    """A file system of 300 kB."""
    place = tmp_path / "small"
    place.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", place], capture_output=True, check=False
    )
    if mount.returncode:
        pytest.skip("only root mounts file systems")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def fill(place, leave):
    """Fill a file system up to so many bytes."""
    free = os.statvfs(place).f_bavail * os.statvfs(place).f_bsize
    (place / "ballast").write_bytes(b"x" * max(0, free - leave))


@pytest.mark.parametrize("leave", [0, 4096, 8192, 12288])
def test_a_disk_that_is_full_is_told_in_a_sentence_and_the_run_finishes_when_there_is_room(config, small, leave):
    arguments = [
        *GAME,
        f"runs_dir={small}",
        "study=s",
        f"beta={config['beta']}",
        "algorithm=nash_mp",
        "log_policy=true",
    ]
    if leave:
        command(*arguments, "budget.queries=20")
    before = contents(small)
    fill(small, leave)
    done = command(*arguments)
    assert done.code == 1
    assert "Traceback" not in done.out + done.err
    (told,) = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert "cannot be written (No space left on device): make room or choose another place, and repeat" in told
    assert not list(small.glob("s/*/.*.tmp"))
    for path in before:
        if path.name == "summary.json":
            assert read_json(path)["status"] in ("completed", "running")
        if path.name == "metrics.csv":
            assert path.read_text().endswith("\n")
    (small / "ballast").unlink()
    assert command(*arguments).code == 0
    whole = run_one(config | {"runs_dir": str(small.parent / "whole"), "log_policy": True})
    assert rows(next(small.glob("s/*"))) == rows(whole.folder)


def test_a_sweep_on_a_full_disk_ends_with_a_table_and_goes_on_later(small):
    fill(small, 8192)
    arguments = ["-m", *GAME, f"runs_dir={small}", "study=s", "beta=0.1,0.2"]
    for launcher in ("basic", "pool"):
        done = command(*arguments, f"hydra/launcher={launcher}")
        assert done.code == 1
        assert "2 failed" in done.out
        assert "cannot be written (No space left on device)" in done.out
        assert "Traceback" not in done.out + done.err
    (small / "ballast").unlink()
    assert command(*arguments).code == 0
    assert len(results(small / "s")) == 2


@pytest.mark.parametrize("multi", [[], ["-m"], ["-m", "hydra/launcher=pool"]], ids=["alone", "basic", "pool"])
def test_a_runs_folder_that_cannot_be_made_is_told_in_a_sentence(tmp_path, multi):
    (tmp_path / "file").write_text("kept")
    done = command(*multi, *GAME, f"runs_dir={tmp_path / 'file'}", "study=s")
    assert done.code == 1
    (told,) = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert f"{tmp_path / 'file'}" in told
    assert "cannot be written (Not a directory): make room or choose another place" in told
    assert "Traceback" not in done.out + done.err
    assert (tmp_path / "file").read_text() == "kept"


def test_a_read_only_folder_is_told_in_a_sentence_and_its_completed_runs_are_read(config, small):
    arguments = ["-m", *GAME, f"runs_dir={small}", "study=s", "beta=0.1"]
    assert command(*arguments).code == 0
    subprocess.run(["mount", "-o", "remount,ro", small], check=True)
    assert "1 skipped" in command(*arguments).out
    done = command(*arguments, "budget.queries=400")
    assert done.code == 1
    assert "cannot be written (Read-only file system)" in done.out
    subprocess.run(["mount", "-o", "remount,rw", small], check=True)
    assert command(*arguments, "budget.queries=400").code == 0


def test_an_input_file_that_cannot_be_read_is_refused_in_a_sentence(tmp_path):
    done = command("-m", "game=votes", "game.path=/proc/self/mem", f"runs_dir={tmp_path}", "beta=0.1")
    assert (done.code, "Traceback" in done.err) == (1, False)
    assert done.err.startswith("error: game.path=/proc/self/mem cannot be read (")


# --- what was damaged ------------------------------------------------------------------------------------------------


def damage(folder, what):
    if what == "checkpoint":
        (folder / "checkpoint.pt").write_bytes(b"torn")
    elif what == "version":
        path = folder / "summary.json"
        write_json(path, read_json(path) | {"results_version": 0})
    else:
        (folder / "summary.json").write_text(what)


SENTENCES = {
    "checkpoint": "checkpoint.pt cannot be read: remove ",
    "version": f"holds results of version 0, this is version {RESULTS_VERSION}: choose another study, or give "
    "force=true, which moves the folder aside and runs again from the start.",
}


@pytest.mark.parametrize("launcher", ["basic", "pool"])
@pytest.mark.parametrize("what", SENTENCES)
def test_a_damaged_run_is_refused_in_a_sentence_nothing_is_lost_and_its_siblings_complete(
    config, tmp_path, what, launcher
):
    arguments = (*GAME, f"runs_dir={tmp_path / 'runs'}", "study=s", "algorithm=nash_mp", f"hydra/launcher={launcher}")
    folder = run_one(config | {"budget": config["budget"] | {"queries": 20}}).folder
    damage(folder, what)
    before = contents(folder)
    done = command("-m", *arguments, f"beta={config['beta']},0.3")
    assert done.code == 1
    assert "1 refused, 1 completed" in done.out or "1 completed, 1 refused" in done.out
    assert SENTENCES[what] in done.out
    assert "Traceback" not in done.out + done.err
    after = contents(folder)
    log = folder / "run.log"
    assert {path: after[path] for path in before if path != log} == {
        path: content for path, content in before.items() if path != log
    }


@pytest.mark.parametrize("launcher", ["basic", "pool"])
@pytest.mark.parametrize("what", ["", '{"status": ', "[]"])
def test_a_sweep_restores_a_damaged_summary_from_the_checkpoint(config, tmp_path, what, launcher):
    arguments = (*GAME, f"runs_dir={tmp_path / 'runs'}", "study=s", "algorithm=nash_mp", f"hydra/launcher={launcher}")
    folder = run_one(config | {"budget": config["budget"] | {"queries": 20}}).folder
    damage(folder, what)
    done = command("-m", *arguments, f"beta={config['beta']},0.3")
    assert done.code == 0
    assert rows(folder) == rows(run_one(config | {"study": "whole"}).folder)


@pytest.mark.parametrize("change", [{"status": None}, {"progress": {}}, {"progress": None}, {"files": None}])
def test_a_summary_with_something_missing_is_restored_or_refused(config, change):
    folder = run_one(config).folder
    expected = rows(folder)
    entries = {key: value for key, value in (summary(folder) | change).items() if value is not None}
    write_json(folder / "summary.json", {key: value for key, value in entries.items() if key != "checksum"})
    assert run_one(config).status == "completed"
    assert rows(folder) == expected
    assert summary(folder)["files"]
    write_json(folder / "summary.json", {key: value for key, value in entries.items() if key != "checksum"})
    (folder / "checkpoint.pt").unlink()
    with pytest.raises(ConfigError, match=r"summary.json is missing or damaged, and there is no checkpoint .*force=t"):
        run_one(config)


def test_a_write_error_is_an_error_of_the_system_too():
    assert issubclass(WriteError, OSError)
