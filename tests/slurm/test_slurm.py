"""Sweeps on a real SLURM: in arrays, killed, out of time, preempted, cancelled; the results are those of a pool.

A task to which something is to happen is stopped (SIGSTOP) until it has, so that short runs suffice.
"""

from __future__ import annotations

import contextlib
import csv
import functools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from nlhf.io.json_files import read_json
from tests.slurm.cluster import ARRAY, CORES, cluster, why_not

CHECKOUT = Path(__file__).resolve().parents[2]
PATIENCE = 600.0  # seconds
SMALL = ["game=random_tournament", "game.actions=5", "budget.queries=100"]
LONG = ["game=random_tournament", "algorithm=nash_md", "budget.queries=40000", "checkpoint_seconds=0.2"]  # 2 s each
SLURM = ["hydra/launcher=slurm", "hydra.launcher.mem_gb=1", "study=study"]
HELD = [*SLURM, "+hydra.launcher.additional.hold=true"]  # until it is released
POOL = ["hydra/launcher=pool", "hydra.launcher.threads=1", "study=study"]

NAMES = ["accounting", "no accounting"]
with_accounting = pytest.mark.parametrize("nodes", [True], indirect=True, ids=NAMES[:1])
with_and_without_accounting = pytest.mark.parametrize("nodes", [True, False], indirect=True, ids=NAMES)


@pytest.fixture(scope="session", params=[True, pytest.param(False, marks=pytest.mark.long)], ids=NAMES)
def nodes(request):
    """A cluster with a database of accounts, and one without."""
    if reason := why_not(accounting=request.param):
        pytest.skip(reason)
    with cluster(accounting=request.param):
        yield


@pytest.fixture
def slurm(nodes):
    """A cluster whose queue is empty."""
    yield
    said("scancel", "--user=root")
    until_all_left_the_queue()


@pytest.fixture
def study(tmp_path):
    """Where the sweeps of a test go."""
    return tmp_path / "runs" / "study"


@pytest.fixture(scope="session")
def local(tmp_path_factory):
    """What a sweep leaves behind when workers of this machine run it."""

    @functools.cache
    def run_here(*words):
        study = tmp_path_factory.mktemp("local") / "runs" / "study"
        sweep(study, *words, *POOL)
        return left_behind(study)

    return run_here


def sweep(study, *words, code=0, **environment):
    """The output of `python main.py -m WORDS`, with one thread of torch as a task has."""
    folder = study.parents[1]
    done = subprocess.run([sys.executable, CHECKOUT / "main.py", "-m", *words, "progress=false"], cwd=folder,
                          env=os.environ | {"OMP_NUM_THREADS": "1"} | environment, capture_output=True, text=True,
                          timeout=PATIENCE)  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def rows(folder):
    with (folder / "metrics.csv").open(newline="") as stream:
        return [{name: cell for name, cell in row.items() if name != "seconds"} for row in csv.DictReader(stream)]


def left_behind(study):
    """The rows of every run but for their seconds; all runs are completed."""
    summaries = {path.parent: read_json(path) for path in study.glob("*/summary.json")}
    assert {summary["status"] for summary in summaries.values()} == {"completed"}
    return {folder.name: rows(folder) for folder in summaries}


def launch(*words):
    """The output of `nlhf WORDS`."""
    done = subprocess.run([sys.executable, "-m", "nlhf", *words], cwd=CHECKOUT, capture_output=True, text=True,
                          timeout=PATIENCE, check=True)  # fmt: skip
    return done.stdout


def counts(study):
    return json.loads(launch("status", "--json", str(study)))["counts"]


def said(*words):
    """The output of a command of SLURM."""
    return subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE, check=True).stdout


def queued_arrays():
    """How many tasks of each job are in the queue."""
    tasks = said("squeue", "--noheader", "--array", "--format=%F").split()
    return {job: tasks.count(job) for job in tasks}


def until(happened):
    """Wait for it; what it gave."""
    deadline = time.monotonic() + PATIENCE
    while not (found := happened()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
    return found


def until_all_left_the_queue():
    until(lambda: time.sleep(0.2) or not queued_arrays())


@contextlib.contextmanager
def stopped(study):
    """A process that stands still in the middle of a run, behind its first checkpoint, and the id of its job."""

    def at_work():
        for folder in (path.parent for path in study.glob("*/checkpoint.pt")):
            if not (folder / "summary.json").exists() and (owner := read_json(folder / "lock")):
                return owner["pid"]
        return None

    process = until(at_work)
    os.kill(process, signal.SIGSTOP)
    environment = Path(f"/proc/{process}/environ").read_text().split("\0")
    try:
        yield process, dict(entry.split("=", 1) for entry in environment if entry)["SLURM_JOB_ID"]
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGCONT)


def is_warned(process):
    """Does the signal wait for it with which SLURM announces the end, or was it taken (SLURM sends CONT as well)?"""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except FileNotFoundError:
        return True
    fields = dict(line.split(":\t", 1) for line in lines)
    waiting = int(fields["SigPnd"], 16) | int(fields["ShdPnd"], 16)
    return bool(waiting >> (signal.SIGUSR2 - 1) & 1) or fields["State"][0] != "T"


def stop_reasons(study):
    return [read_json(path)["stop_reason"] for path in study.glob("*/summary.json")]


def restarts(job):
    return int(said("scontrol", "show", "job", job).partition("Restarts=")[2].split()[0])


# --- with and without accounting -------------------------------------------------------------------------------------


def test_sixty_runs_are_submitted_once_in_an_array_and_end_as_those_of_a_pool(slurm, study, local):
    runs = [*SMALL, "seeds=2", "algorithm=nash_mp,omd,sppo", "beta=" + ",".join(f"0.{k:02}" for k in range(1, 21))]
    assert "submitted 60 runs in 3 tasks" in sweep(study, *runs, *HELD)
    assert counts(study) == {"pending": 60}
    assert "60 runs are in SLURM's queue already" in sweep(study, *runs, *HELD)
    ((job, tasks),) = queued_arrays().items()
    assert tasks == 3
    said("scontrol", "release", job)
    expected = local(*runs)
    until_all_left_the_queue()
    assert counts(study) == {"completed": 60}
    assert "60 completed" in launch("status", str(study))
    assert left_behind(study) == expected
    assert "60 skipped" in sweep(study, *runs, *HELD)


@with_and_without_accounting
def test_a_killed_task_is_finished_by_repeating_the_command(slurm, study, local):
    runs = [*LONG, "beta=0.1,0.2", "hydra.launcher.runs_per_task=1"]
    sweep(study, *runs, *SLURM)
    with stopped(study) as (process, _):
        os.kill(process, signal.SIGKILL)
    until_all_left_the_queue()
    assert counts(study) == {"interrupted": 1, "completed": 1}
    assert "submitted 1 runs in 1 tasks" in sweep(study, *runs, *SLURM)
    expected = local(*LONG, "beta=0.1,0.2")
    until_all_left_the_queue()
    assert left_behind(study) == expected


def test_a_task_at_its_time_limit_goes_on_by_itself(slurm, study, local):
    sweep(study, *LONG, "beta=0.1,0.2", *SLURM)
    with stopped(study) as (process, job):
        said("scontrol", "update", f"JobId={job}", "TimeLimit=1")  # a minute, the shortest that SLURM knows
        expected = local(*LONG, "beta=0.1,0.2")
        until(lambda: is_warned(process))  # it looks every 30 s
        said("scontrol", "update", f"JobId={job}", "TimeLimit=10")
    until(lambda: "SIGUSR2" in stop_reasons(study) or restarts(job))  # a quick restart overwrites the reason
    until_all_left_the_queue()
    assert restarts(job) == 1
    assert left_behind(study) == expected


def test_a_preempted_task_goes_on_by_itself(slurm, study, local):
    sweep(study, *LONG, "beta=0.1,0.2", *SLURM, "hydra.launcher.runs_per_task=1")
    with stopped(study) as (process, job):
        said("sbatch", "--partition=urgent", f"--cpus-per-task={CORES}", "--mem=1G", "--output=none", "--wrap=true")
        until(lambda: is_warned(process))
    until(lambda: "SIGUSR2" in stop_reasons(study) or restarts(job))
    expected = local(*LONG, "beta=0.1,0.2")
    until_all_left_the_queue()
    assert restarts(job) == 1
    assert left_behind(study) == expected


def test_after_a_cancelled_sweep_only_what_is_missing_is_run(slurm, study, local):
    runs = [*LONG, "beta=0.1,0.2,0.3"]
    sweep(study, *runs, *SLURM)
    summary = until(lambda: next(study.glob("*/summary.json"), None))
    with stopped(study) as (process, _):
        assert "cancelled 1 tasks" in launch("cancel", str(study))
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGSTOP)  # as scancel has woken it
        until_all_left_the_queue()
    assert counts(study) == {"completed": 1, "interrupted": 1, "missing": 1}
    before = {path: path.stat().st_mtime_ns for path in summary.parent.rglob("*")}
    assert "submitted 2 runs in 1 tasks" in sweep(study, *runs, *SLURM)
    expected = local(*runs)
    until_all_left_the_queue()
    assert left_behind(study) == expected
    assert {path: path.stat().st_mtime_ns for path in summary.parent.rglob("*")} == before


RANKS = ["experiment=language_model_1b", "algorithm=online_ipo", "device=cpu", "policy.dtype=float32",
         "policy.max_new_tokens=6", "policy.shard=true", "prox.contexts=3", "prox.samples=4", "game.test_prompts=8",
         "prox.learning_rate=0.01", "game.judge.criteria=[diversity,length]", "budget.seconds=null",
         "budget.iterations=40", "checkpoint_seconds=0.2", "study=study"]  # fmt: skip
ON_RANKS = [*RANKS, "hydra.launcher.processes=2", "hydra.launcher.gpus_per_node=0", "hydra.launcher.cpus_per_task=2",
            "hydra.launcher.mem_gb=4", "hydra.launcher.timeout_min=30"]  # fmt: skip


@with_accounting
@pytest.mark.parametrize("how", ["killed", "preempted"])
def test_a_language_model_on_two_processes_goes_on_by_itself(slurm, study, tmp_path, tiny_model, how):
    """torchrun starts the processes of a killed one again; a preempted task writes a checkpoint and is requeued."""
    model = f"policy.model={tiny_model}"
    sweep(study, *ON_RANKS, model)
    with stopped(study) as (process, job):
        assert iterations(study) < 40
        if how == "killed":
            os.kill(process, signal.SIGKILL)
        else:
            said("sbatch", "--partition=urgent", f"--cpus-per-task={CORES}", "--mem=1G", "--output=none", "--wrap=true")
            until(lambda: is_warned(process))
    until_all_left_the_queue()
    assert restarts(job) == (how == "preempted")
    (again,) = left_behind(study).values()
    whole = tmp_path / "alone" / "runs" / "study"
    whole.parents[1].mkdir()
    sweep(whole, *RANKS, model, "policy.shard=false", "hydra/launcher=pool")
    (expected,) = left_behind(whole).values()
    assert [row["iteration"] for row in again] == [row["iteration"] for row in expected]
    for name in ("test_kl_to_reference", "test_win_rate_vs_reference"):
        values = [[float(row[name]) for row in table] for table in (again, expected)]
        assert values[0] == pytest.approx(values[1], abs=2e-4)
    assert float(again[-1]["test_kl_to_reference"]) > 0


def iterations(study):
    """The iteration of the last row of the only run."""
    (path,) = study.glob("*/metrics.csv")
    return int(rows(path.parent)[-1]["iteration"])


# --- once ------------------------------------------------------------------------------------------------------------


@with_accounting
def test_an_array_is_as_long_as_the_cluster_allows(slurm, study):
    runs = [*SMALL, "beta=" + ",".join(f"0.{k}" for k in range(1, ARRAY + 3)), "hydra.launcher.runs_per_task=1"]
    assert f"submitted {ARRAY + 2} runs in {ARRAY + 2} tasks" in sweep(study, *runs, *HELD)
    assert list(queued_arrays().values()) == [2, ARRAY]  # squeue shows the last first
    assert f"cancelled {ARRAY + 2} tasks" in launch("cancel", str(study))
    assert not queued_arrays()


@with_accounting
def test_a_search_that_waits_reads_the_values(slurm, study):
    search = ["hydra/sweeper=optuna", "hydra.sweeper.n_trials=2", "hydra.sweeper.n_jobs=2", "hydra.launcher.wait=true"]
    sweep(study, *SMALL, "beta=interval(0.1,0.2)", *search, *SLURM)
    best = yaml.safe_load((study / "optimization_results.yaml").read_text())["best_value"]
    finals = [read_json(path)["final"]["exploitability"] for path in study.glob("*/summary.json")]
    assert len(finals) == 2
    assert 10**best == pytest.approx(min(finals))


@with_accounting
def test_waiting_for_a_larger_budget_does_not_end_with_the_smaller_one(slurm, study, local):
    sweep(study, *SMALL, "budget.queries=20", *POOL)
    assert "1 completed" in sweep(study, *SMALL, *SLURM, "hydra.launcher.wait=true")
    assert left_behind(study) == local(*SMALL)


@with_accounting
def test_force_moves_every_folder_once_when_the_sweep_is_submitted(slurm, study, local):
    runs = [*SMALL, "beta=0.1,0.2", *SLURM, "hydra.launcher.wait=true"]
    sweep(study, *runs)
    names = sorted(path.parent.name for path in study.glob("*/summary.json"))
    assert "submitted 2 runs" in sweep(study, *runs, "force=true")
    for name in names:
        (study / f"{name}.1").rename(study.parent / name)
    assert sorted(path.parent.name for path in study.glob("*/summary.json")) == names
    assert left_behind(study) == left_behind(study.parent) == local(*SMALL, "beta=0.1,0.2")


@with_accounting
def test_what_sbatch_refuses_is_said_in_its_words(slurm, study):
    assert "error: sbatch refuses (Batch job submission failed: Invalid partition name specified): change " in sweep(
        study, *SMALL, *SLURM, "hydra.launcher.partition=nowhere", code=2
    )


@with_accounting
def test_the_slurm_launcher_of_hydra_runs_our_runs(slurm, study, local):
    sweep(study, *SMALL, "beta=0.1,0.2", "hydra/launcher=submitit_slurm", "hydra.launcher.mem_gb=1",
          "hydra.launcher.cpus_per_task=1", "study=study")  # fmt: skip
    assert left_behind(study) == local(*SMALL, "beta=0.1,0.2")


def test_the_local_submitit_launcher_of_hydra_runs_our_runs(study, local):
    sweep(study, *SMALL, "beta=0.1,0.2", "hydra/launcher=submitit_local", "study=study")
    assert left_behind(study) == local(*SMALL, "beta=0.1,0.2")


# --- without SLURM ---------------------------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path):
    """A search path with an `sbatch` and a `squeue` that fail."""
    folder = tmp_path / "path"
    folder.mkdir()
    for name in ("sbatch", "squeue"):
        (folder / name).write_text("#!/bin/sh\necho Unable to contact slurm controller >&2\nexit 1\n")
        (folder / name).chmod(0o755)
    return str(folder)


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("hydra.launcher.timeout_min=9", "timeout_min=9 is out of range: give a whole number >= 10."),
        ("hydra.launcher.runs_per_task=1.5", "runs_per_task=1.5 is out of range: give a whole number >= 1."),
        ("hydra.launcher.mem_gb=0", "mem_gb=0 is out of range: give a number >= 0.1."),
        ("hydra.launcher.setup=module", "setup=module is not a list: see conf/hydra/launcher."),
        ("hydra/sweeper=optuna", "wait=false leaves OptunaSweeper without the values that it reads: set "),
    ],
)
def test_an_option_that_cannot_be_is_refused_in_a_sentence(study, path, option, words):
    answer = sweep(study, *SMALL, *SLURM, option, code=2, PATH=path)
    assert f"error: hydra.launcher.{words}" in answer
    assert "Traceback" not in answer
    assert not (study / ".slurm").exists()


def test_without_sbatch_the_launcher_is_refused(study, path):
    (Path(path) / "sbatch").unlink()
    assert "error: hydra/launcher=slurm finds no sbatch on the path: " in sweep(
        study, *SMALL, *SLURM, code=2, PATH=path
    )


def test_nothing_is_submitted_while_the_queue_cannot_be_read(study, path):
    (study / ".slurm").mkdir(parents=True)
    (study / ".slurm" / "1.json").write_text('{"tasks": {"1": ["a"]}}')
    assert "error: squeue fails (Unable to contact slurm controller): repeat " in sweep(
        study, *SMALL, *SLURM, code=2, PATH=path
    )
