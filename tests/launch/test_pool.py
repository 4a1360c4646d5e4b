"""The pool: as many workers as asked for, results as without it, and nothing lost whatever dies."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from nlhf.launch import pool, worker
from nlhf.launch import workers as pool_workers
from nlhf.launch.compose import composed, plain
from nlhf.launch.job import Job
from nlhf.launch.pool import Pool
from nlhf.launch.worker import StartError, Worker
from nlhf.runner.specification import specify
from tests.launch.commands import GAME, SLOW, command, ended, process, results, rows, until, workers
from tests.launch.plugins import no_worker

pytestmark = pytest.mark.usefixtures("one_thread")
DEADLY = "algorithm._target_=tests.launch.plugins.Deadly"


@pytest.fixture
def study(tmp_path):
    """A sweep's folder and the arguments that put it there, by the pool."""
    return tmp_path / "runs" / "s", ["-m", *GAME, f"runs_dir={tmp_path / 'runs'}", "study=s", "hydra/launcher=pool"]


@pytest.fixture(scope="module")
def configs(tmp_path_factory):
    """Makes jobs of a study, without Hydra."""
    with composed([*GAME, f"runs_dir={tmp_path_factory.mktemp('runs')}", "algorithm=nash_mp", *SLOW]) as config:
        base = plain(config)

    def jobs(study, changes):
        made = []
        for beta, queries in changes:
            config = base | {"study": study, "beta": beta, "budget": base["budget"] | {"queries": queries}}
            made.append(Job((f"beta={beta}", f"budget.queries={queries}"), config, specify(config)))
        return made

    return jobs


# --- the same as without it ------------------------------------------------------------------------------------------


def test_results_are_those_of_the_basic_launcher_to_the_bit(study, tmp_path):
    folder, arguments = study
    arguments += ["algorithm=nash_mp,sppo,adaptive_nash_mp", "beta=0.1,0.3", "seeds=3"]
    assert command(*arguments).code == 0
    assert command(*arguments, "hydra/launcher=basic", f"runs_dir={tmp_path / 'basic'}").code == 0
    assert results(folder) == results(tmp_path / "basic" / "s")
    assert len(results(folder)) == 6


def test_every_run_is_told_once_with_its_result(study):
    _, arguments = study
    done = command(*arguments, "beta=0.1,0.2,0.3")
    assert done.code == 0
    told = [line for line in done.out.splitlines() if line.startswith("[")]
    assert [line.partition("]")[0] for line in told] == ["[1/3", "[2/3", "[3/3"]
    assert len({line.split()[1] for line in told}) == 3
    assert all("  completed  exploitability " in line for line in told)


def test_the_longest_run_comes_first(configs):
    jobs = configs("order", [(0.1, 20), (0.2, 400), (0.3, 100)])
    assert [job.config["beta"] for (job,) in Pool(jobs, 1, None, 5).queue] == [0.2, 0.3, 0.1]


def test_values_come_in_the_order_of_the_jobs_whatever_came_first(configs):
    jobs = configs("values", [(0.3, 20), (0.1, 60), (0.2, 40), (0.2, 40), (0.2, 80)])
    values = Pool(jobs, 2, 1, 5).run()
    assert values[2] == values[3]  # the same run twice, which is what a search may ask for
    finals = [json.loads((job.run.folder / "summary.json").read_text())["final"]["exploitability"] for job in jobs]
    assert [10**value for value in (*values[:2], values[4])] == pytest.approx([*finals[:2], finals[4]])


def test_progress_says_how_many_are_done_run_and_failed_and_how_long_it_may_take(configs, monkeypatch, capsys):
    ready = pool_workers.wait
    monkeypatch.setattr(
        pool_workers, "wait", lambda pipes, timeout: ready(pipes, timeout)[:1]
    )  # one run ends at a time
    monkeypatch.setattr(pool, "REPORT_EVERY", 0.0)
    monkeypatch.setattr(pool, "REPORT_SHARE", 0.0)
    Pool(configs("said", [(0.1, 20), (0.2, 20), (0.3, 20)]), 2, 1, 5).run()
    lines = [line for line in capsys.readouterr().err.splitlines() if " done, " in line]
    assert any(line.startswith("1 done, 2 running, 0 failed, about ") for line in lines)
    assert lines[-1] == "3 done, 1 running, 0 failed, about 0 s left"


def test_progress_shows_each_new_row_of_a_running_run_once(configs, monkeypatch, capsys):
    monkeypatch.setattr(pool, "REPORT_EVERY", 0.0)
    jobs = configs("rows", [(0.1, 20), (0.2, 40)])
    Pool(jobs[:1], 1, 1, 5).run()
    monkeypatch.setattr(pool, "REPORT_SHARE", 0.0)
    running = Pool(jobs, 2, 1, 5)
    running.started -= 100.0
    capsys.readouterr()
    for _ in range(2):
        running._report(jobs)  # the second run has no row
    row, *counts = capsys.readouterr().err.splitlines()
    assert row.startswith(f"{jobs[0].run.name}  100%, about 0 s left, exploitability ")
    weights = [job.weight for job in jobs]
    assert counts[0].startswith("0 done, 2 running, 0 failed, about ")
    assert float(counts[1].split()[-3]) == pytest.approx(100 * weights[1] / weights[0], rel=0.1)


# --- options ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "value"),
    [("workers", "0"), ("workers", "-1"), ("workers", "1.5"), ("workers", "true"), ("threads", "0"), ("threads", "two"),
     ("deaths", "0"), ("deaths", "null")],
)  # fmt: skip
def test_an_option_out_of_range_is_refused_in_a_sentence(study, option, value):
    folder, arguments = study
    done = command(*arguments, "beta=0.1,0.2", f"hydra.launcher.{option}={value}")
    given = {"true": "True", "null": "None"}.get(value, value)
    assert done.code == 2
    assert done.err == f"error: hydra.launcher.{option}={given} is out of range: give a whole number >= 1.\n"
    assert not list(folder.iterdir())


def test_an_unknown_option_is_refused_with_the_one_that_is_meant(study):
    _, arguments = study
    done = command(*arguments, "beta=0.1,0.2", "hydra.launcher.wokers=2")
    assert (done.code, done.out) == (2, "")
    assert done.err == "error: hydra.launcher.wokers is not a key: did you mean hydra.launcher.workers=2.\n"


def test_workers_share_the_cores_and_take_the_threads_that_are_given(configs, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(8), raising=False)
    jobs = configs("threads", [(beta / 10, 10) for beta in range(1, 6)])
    options = ((None, None), (2, None), (3, None), (4, 7), (100, None))
    pools = [Pool(jobs, count, threads, 5).workers for count, threads in options]
    shares = [(pool.count, pool.threads) for pool in pools]
    assert shares == [(5, 1), (2, 4), (3, 2), (4, 7), (5, 1)]
    Pool(jobs[:1], None, 2, 5).run()
    assert json.loads((jobs[0].run.folder / "summary.json").read_text())["threads"] == 2
    assert torch.get_num_threads() == 1  # ours are as they were


# --- workers that die ------------------------------------------------------------------------------------------------


def test_a_run_that_always_takes_its_worker_along_ends_as_failed_and_the_others_complete(study):
    folder, arguments = study
    targets = f"{DEADLY},nlhf.algorithms.nash_mp.NashMP"
    done = command(*arguments, targets, "beta=0.1", "hydra.launcher.deaths=2")
    assert done.code == 1
    assert "1 completed, 1 failed" in done.out or "1 failed, 1 completed" in done.out
    reason = "its worker died 2 times (exit code -9): memory may be short, use fewer workers"
    assert sum(reason in line for line in done.out.splitlines()) == 2  # at once, and in the table
    states = {json.loads(path.read_text())["status"]: path for path in folder.glob("*/summary.json")}
    assert states.keys() == {"completed", "failed"}
    assert reason in json.loads(states["failed"].read_text())["stop_reason"]
    assert reason in (states["failed"].parent / "run.log").read_text()
    assert not list(folder.glob("*/lock"))


def test_workers_killed_at_random_lose_no_row_tear_no_file_and_change_no_bit(configs, monkeypatch):
    changes, rng, killed = [(beta / 20, 300) for beta in range(2, 10)], random.Random(5), []
    undisturbed, disturbed = configs("undisturbed", changes), configs("killed", changes)
    Pool(undisturbed, 2, 1, 5).run()
    listen = Pool._listen

    def kill_and_listen(self):
        if len(killed) < 10 and (found := workers(os.getpid())):
            time.sleep(rng.uniform(0.02, 0.15))
            with suppress(ProcessLookupError):
                os.kill(pid := rng.choice(found), signal.SIGKILL)
                killed.append(pid)
        listen(self)

    monkeypatch.setattr(Pool, "_listen", kill_and_listen)
    Pool(disturbed, 2, 1, 1000).run()
    assert len(killed) == 10
    assert results(disturbed[0].run.folder.parent) == results(undisturbed[0].run.folder.parent)


def test_a_worker_that_dies_as_it_is_born_is_replaced(configs, monkeypatch):
    born, start = [], Worker.start

    def stillborn(threads):
        worker = start(threads)
        if len(born) < 2:
            worker.process.kill()
            worker.process.join()
        born.append(worker)
        return worker

    monkeypatch.setattr(Worker, "start", stillborn)
    jobs = configs("born", [(0.1, 100), (0.2, 100)])
    Pool(jobs, 1, 1, 3).run()
    assert len(born) == 3
    assert {json.loads(path.read_text())["status"] for path in
            jobs[0].run.folder.parent.glob("*/summary.json")} == {"completed"}  # fmt: skip


@pytest.mark.parametrize("error", ["ImportError", "OSError"])  # the fork server ignores the first one only
def test_a_sweep_whose_workers_cannot_import_torch_ends_with_one_sentence(study, tmp_path, error):
    folder, arguments = study
    (tmp_path / "first" / "torch").mkdir(parents=True)
    (tmp_path / "first" / "torch" / "__init__.py").write_text(f"raise {error}('no libtorch')")
    done = ended(process(*arguments, "beta=0.1,0.2", first=tmp_path / "first"))
    assert (done.code, done.err) == (
        1,
        f"error: hydra/launcher=pool cannot start a worker ({error}: no libtorch): repair the installation or free "
        "memory, and repeat the command.\n",
    )
    assert "2 unfinished" in done.out
    assert not list(folder.glob("*/summary.json"))  # no run is to blame
    assert command(*arguments, "beta=0.1,0.2").code == 0


def test_workers_that_end_at_once_end_the_pool(configs, monkeypatch):
    monkeypatch.setattr(worker, "work", no_worker)
    with pytest.raises(pool_workers.NoWorkerError, match=r"cannot start a worker \(exit code 3\): repair"):
        Pool(configs("none", [(0.1, 20)]), 1, 1, 5).run()


def test_a_pool_goes_on_with_the_workers_that_could_start(configs, monkeypatch, capsys):
    start, started = Worker.start, []

    def only_one(threads):
        if started:
            raise StartError("OSError: no more processes")
        started.append(start(threads))
        return started[0]

    monkeypatch.setattr(Worker, "start", only_one)
    jobs = configs("one", [(0.1, 20), (0.2, 20), (0.3, 20)])
    waiting = Pool(jobs, 2, 1, deaths=1)
    waiting.workers.take(waiting.queue.pop(0))
    while not list(waiting.workers.returned()):
        pass
    waiting.run()
    assert capsys.readouterr().err == "a worker cannot start (OSError: no more processes): the sweep goes on with 1.\n"
    assert len(list(jobs[0].run.folder.parent.glob("*/summary.json"))) == 3


def test_a_pool_that_is_killed_leaves_no_worker_behind_and_goes_on(study, tmp_path, monkeypatch):
    folder, arguments = study
    arguments += [*SLOW, "beta=0.1,0.2,0.3", "budget.queries=600", "hydra.launcher.workers=2"]
    with monkeypatch.context() as patch:
        patch.setenv("STAND_AT", "10")
        running = process(*arguments)
    until(lambda: len(list(folder.glob("*/checkpoint.pt"))) == 2)
    left = workers(running.pid)
    running.kill()
    running.wait()
    until(lambda: not any(alive(pid) for pid in left))
    ended(running)
    assert not list(folder.glob("*/lock"))  # each wrote a checkpoint, and left
    assert command(*arguments).code == 0
    assert command(*arguments, f"runs_dir={tmp_path / 'whole'}").code == 0
    assert results(folder) == results(tmp_path / "whole" / "s")


def alive(pid):
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


# --- signals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, pytest.param(signal.SIGUSR1, marks=pytest.mark.long)]
)
def test_a_signal_ends_the_sweep_behind_checkpoints_and_repeating_it_finishes(study, tmp_path, monkeypatch, number):
    folder, arguments = study
    arguments += [*SLOW, "beta=0.1,0.2,0.3", "budget.queries=2000", "hydra.launcher.workers=2"]
    with monkeypatch.context() as patch:
        patch.setenv("STAND_AT", "10")
        running = process(*arguments)
    until(lambda: len(list(folder.glob("*/checkpoint.pt"))) == 2)
    assert running.poll() is None
    if number == signal.SIGINT:
        os.killpg(running.pid, number)  # as a terminal does
    else:
        running.send_signal(number)
    done = ended(running)
    assert done.code == 128 + number
    assert "Traceback" not in done.out + done.err
    assert f"stopped by signal {int(number)}: repeat the same command to go on." in done.err
    assert "2 interrupted, 1 unfinished" in done.out
    begun = sorted(path.name for path in folder.iterdir())
    assert len(begun) == 2
    for name in begun:
        summary = json.loads((folder / name / "summary.json").read_text())
        assert (summary["status"], summary["stop_reason"]) == ("interrupted", "SIGTERM")
        assert not (folder / name / "lock").exists()
        assert 0 < int(rows(folder / name)[-1]["queries"]) < 2000
    if number == signal.SIGINT:
        assert command(*arguments).code == 0
        assert command(*arguments, f"runs_dir={tmp_path / 'whole'}").code == 0
        assert results(folder) == results(tmp_path / "whole" / "s")


def test_a_second_interrupt_ends_at_once_and_nothing_is_lost(study, tmp_path, monkeypatch):
    folder, arguments = study
    arguments += ["algorithm._target_=tests.launch.plugins.Stuck", "checkpoint_seconds=0", "beta=0.1,0.2",
                  "hydra.launcher.workers=2"]  # fmt: skip
    with monkeypatch.context() as patch:
        patch.setenv("STUCK_AT", "10")
        running = process(*arguments)
    for _ in range(2):
        assert any("stuck" in line for line in running.stderr)  # a run that is not stuck yet would simply stop
    assert len(list(folder.glob("*/checkpoint.pt"))) == 2
    running.send_signal(signal.SIGINT)
    for _ in range(2):
        assert any("told to stop" in line for line in running.stderr)
    assert running.poll() is None  # the iterations do not end
    running.send_signal(signal.SIGINT)
    done = ended(running)
    assert done.code == 128 + signal.SIGINT
    assert "stopped at once: repeat the same command to go on from the last checkpoint." in done.err
    assert "Traceback" not in done.out + done.err
    assert command(*arguments).code == 0
    assert command(*arguments, f"runs_dir={tmp_path / 'whole'}").code == 0
    assert results(folder) == results(tmp_path / "whole" / "s")
