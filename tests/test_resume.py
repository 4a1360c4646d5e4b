"""A run that was stopped, killed or given a larger budget ends as an undisturbed one, to the bit but for `seconds`."""

from __future__ import annotations

import contextlib
import csv
import functools
import gc
import io
import itertools
import json
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import nlhf
from nlhf.algorithms.nash_mp import NashMP
from nlhf.config import ConfigError
from nlhf.io.arrays import read_arrays
from nlhf.io.checksums import damaged, sealed
from nlhf.io.json_files import read_json
from nlhf.launch.choices import BUNDLED
from nlhf.launch.compose import composed, plain
from nlhf.policies.tabular import TabularPolicy
from nlhf.runner.fingerprint import RESULTS_VERSION
from nlhf.runner.lock import BusyError, locked
from nlhf.runner.run_one import run_one, unwatched
from nlhf.runner.specification import specify
from nlhf.runner.stop import SIGNALS, StopRequest, stop_on_signal
from tests.composing import ASKING, OTHER_SOLUTIONS
from tests.selection import mostly_long

pytestmark = pytest.mark.usefixtures("one_thread")  # the number of threads is part of "bit for bit"

MAIN = Path(__file__).resolve().parents[1] / "main.py"
ALGORITHMS = BUNDLED.groups["algorithm"]
GAME = ["game=random_tournament", "game.actions=5", "game.contexts=2", "reference=random", "beta=0.2"]
ENDLESS = ["budget.queries=null", "budget.iterations=1000000000", "budget.target=null", "checkpoint_seconds=0"]
SEVERAL = ("nash_mp", "optimistic", "secant", "proximal_point", "sppo", "nash_prox", "predictive_regret_matching",
           "restarted_gradient", "restarted_optimistic")  # fmt: skip
MANY = mostly_long(ALGORITHMS, SEVERAL)
LENGTH = 41  # off the schedule
SHORT = 9  # also off it, for rules that ask, whose steps are slow
FORGETFUL = {"keep_checkpoint": False}


@pytest.fixture(autouse=True)
def no_signal_escapes():
    """A signal that no handler of the run takes fails the test instead of ending pytest; handlers must be put back."""

    def refuse(number, frame):
        raise AssertionError(f"signal {number} was not handled")

    before = {number: signal.signal(number, refuse) for number in SIGNALS}
    yield
    left = {number: signal.signal(number, handler) for number, handler in before.items()}
    assert set(left.values()) == {refuse}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """One runs_dir for the module, so that every equilibrium is computed once."""
    return tmp_path_factory.mktemp("runs")


@functools.cache
def base(algorithm):
    """The config of three seeds of a small game, regularised where the algorithm allows it; composed once.

    Of the rules that ask, one is regularised, as their regularised certificates are slow.
    """
    prox = ["prox=votes", *["beta=0"] * (algorithm != "asking")] if algorithm in ASKING else []
    prox += [f"solution={algorithm}"] * (algorithm in OTHER_SOLUTIONS)
    with composed(
        [*GAME, *prox, f"algorithm={algorithm}", "seeds=[4,0,9]", "log_policy=true", "progress=false"]
    ) as config:
        regularised = plain(config)
    try:
        specify(regularised)
    except ConfigError:
        return regularised | {"beta": 0}
    return regularised


def run(folder, study, algorithm="nash_mp", watch=unwatched, options=None, **limits):
    """`run_one` with these limits and no others."""
    config = base(algorithm)
    budget = config["budget"] | {"queries": None, "iterations": None, "seconds": None, "target": None} | limits
    place = {"runs_dir": str(folder), "study": study}
    return run_one(config | {"budget": budget} | place | (options or {}), watch)


def signalling(at, number=signal.SIGUSR1, times=1):
    """A watch that sends this process a signal after the iteration `at`."""

    @contextlib.contextmanager
    def watch(_):
        def tick(progress, row):
            if progress.iterations.max() == at:
                for _ in range(times):
                    os.kill(os.getpid(), number)

        yield tick

    return watch


def table(path):
    with path.open(newline="") as stream:
        return [{name: cell for name, cell in row.items() if name != "seconds"} for row in csv.DictReader(stream)]


def place(row):
    return row["seed"], int(row["iteration"])


def left_behind(folder):
    """All results of a run but times."""
    with np.load(folder / "policy.npz") as saved:
        policy = {name: saved[name].tolist() for name in saved}
    summary = json.loads((folder / "summary.json").read_text())
    del summary["progress"]["seconds"]
    kept = ("status", "stop_reason", "fingerprint", "seeds", "final", "queries_to_exploitability", "progress")
    return {
        "metrics": sorted(table(folder / "metrics.csv"), key=place),
        "policies": sorted(table(folder / "policies.csv"), key=place) if (folder / "policies.csv").exists() else None,
        "policy": policy,
        "summary": {name: summary[name] for name in kept},
    }


def iterations(folder, seed="4"):
    return [int(row["iteration"]) for row in table(folder / "metrics.csv") if row["seed"] == seed]


# --- every algorithm -------------------------------------------------------------------------------------------------


def length(algorithm):
    return SHORT if algorithm in ASKING else LENGTH


@pytest.fixture(scope="module")
def whole(runs):
    """Undisturbed runs, one per algorithm."""
    done = {}

    def undisturbed(algorithm):
        if algorithm not in done:
            try:
                outcome = run(runs, "whole", algorithm, iterations=length(algorithm))
            except ConfigError as error:
                pytest.skip(f"{algorithm} does not run here: {error}")
            assert outcome.status == "completed"
            done[algorithm] = left_behind(outcome.folder)
        return done[algorithm]

    return undisturbed


@pytest.mark.parametrize("algorithm", MANY)
def test_a_budget_that_grows_ends_where_a_large_one_does(runs, whole, algorithm):
    undisturbed = whole(algorithm)
    for budget in (0, 1, 7, 12, 13, LENGTH):
        outcome = run(runs, "growing", algorithm, iterations=budget)
        assert (outcome.status, outcome.skipped, iterations(outcome.folder)[-1]) == ("completed", False, budget)
    assert left_behind(outcome.folder) == undisturbed


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_run_that_is_stopped_thrice_ends_where_an_undisturbed_one_does(runs, whole, algorithm):
    undisturbed, iterations_due = whole(algorithm), length(algorithm)
    for at, number in zip((1, 3, 7) if algorithm in ASKING else (3, 11, 26), SIGNALS, strict=True):
        outcome = run(runs, "stopped", algorithm, signalling(at, number), iterations=iterations_due)
        assert (outcome.status, outcome.signal) == ("interrupted", number)
        assert outcome.summary["stop_reason"] == number.name
        assert iterations(outcome.folder)[-1] == at
        assert not (outcome.folder / "lock").exists()
    outcome = run(runs, "stopped", algorithm, iterations=iterations_due)
    assert left_behind(outcome.folder) == undisturbed


@pytest.mark.parametrize("algorithm", MANY)
def test_seeds_that_stop_at_different_times_resume_bit_for_bit(runs, whole, algorithm):
    reached: dict[str, float] = {}
    for row in whole(algorithm)["metrics"]:
        if int(row["iteration"]) <= 25:
            reached[row["seed"]] = min(reached.get(row["seed"], math.inf), float(row["exploitability"]))
    target = math.exp(np.mean(np.log(list(reached.values()))))  # some seeds are below it by iteration 25, some are not
    undisturbed = left_behind(run(runs, "target", algorithm, iterations=LENGTH, target=target).folder)
    first, last = (choose(undisturbed["summary"]["progress"]["iterations"]) for choose in (min, max))
    assert first <= 25 < last
    for at in (2, first, first + 1, last - 1):
        run(runs, "target_stopped", algorithm, signalling(at), iterations=LENGTH, target=target)
    resumed = run(runs, "target_stopped", algorithm, iterations=LENGTH, target=target)
    assert left_behind(resumed.folder) == undisturbed
    further = run(runs, "target_stopped", algorithm, iterations=LENGTH)  # the seeds that had stopped go on
    assert left_behind(further.folder) == whole(algorithm)


def test_a_checkpoint_older_than_the_rows_cuts_them(runs, whole):
    outcome = run(runs, "older", iterations=10)
    older = (outcome.folder / "checkpoint.pt").read_bytes()
    run(runs, "older", iterations=25)
    (outcome.folder / "checkpoint.pt").write_bytes(older)  # as if killed between rows and checkpoint
    (outcome.folder / "summary.json").unlink()
    run(runs, "older", iterations=LENGTH)
    assert left_behind(outcome.folder) == whole("nash_mp")


# --- commands, signals and kills -------------------------------------------------------------------------------------


def command(folder, *arguments):
    """A process of `python main.py`, in a folder that is not the checkout."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, MAIN, *arguments], cwd=folder, env=environment, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip


@contextlib.contextmanager
def endless(folder, *arguments):
    """A command that runs until it is stopped, once its run has rows up to iteration 20; yields it and the run."""
    process = command(folder, *arguments, *GAME, *ENDLESS, f"runs_dir={folder / 'runs'}", "study=cut")
    try:
        deadline = time.monotonic() + 600
        while process.poll() is None and time.monotonic() < deadline:
            for path in folder.glob("runs/cut/*/metrics.csv"):
                if "20" in {row["iteration"] for row in table(path)}:
                    yield process, path.parent
                    return
            time.sleep(0.005)
        process.kill()
        pytest.fail(f"no rows came: {process.communicate()}")
    finally:
        process.kill()
        process.communicate()


def both(folder, length):
    """What the interrupted run and an undisturbed one leave behind after this many iterations."""
    limits = ["budget.queries=null", f"budget.iterations={length}", "budget.target=null"]
    continued, undisturbed = (
        nlhf.run([*GAME, *limits, f"runs_dir={folder / 'runs'}", f"study={study}"]) for study in ("cut", "undisturbed")
    )
    return left_behind(continued.folder), left_behind(undisturbed.folder)


def test_an_interrupted_command_says_how_to_go_on_and_goes_on_bit_for_bit(tmp_path):
    with endless(tmp_path) as (process, folder):
        assert json.loads((folder / "lock").read_text())["pid"] == process.pid
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=600)
    assert process.returncode == 128 + signal.SIGINT
    assert "repeat the same command to go on" in errors
    assert "Traceback" not in errors
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["status"], summary["stop_reason"]) == ("interrupted", "SIGINT")
    assert not (folder / "lock").exists()
    continued, undisturbed = both(tmp_path, summary["progress"]["iterations"][0] + 37)
    assert continued == undisturbed


def test_a_killed_command_goes_on_from_its_checkpoint_bit_for_bit(tmp_path):
    with endless(tmp_path) as (process, folder):
        process.kill()
        process.communicate()
    assert not (folder / "summary.json").exists()
    assert (folder / "lock").exists()
    reached = torch.load(folder / "checkpoint.pt", weights_only=False)["progress"]["iterations"][0]
    assert int(table(folder / "metrics.csv")[-1]["iteration"]) >= 20
    continued, undisturbed = both(tmp_path, reached + 37)
    assert continued == undisturbed
    assert not (folder / "lock").exists()


def test_an_interruption_stops_the_whole_sweep(tmp_path):
    with endless(tmp_path, "-m", "algorithm.step_size=1,2") as (process, folder):
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=600)
    assert process.returncode == 128 + signal.SIGINT
    assert "repeat the same command to go on" in errors
    assert list(folder.parent.glob("*/metrics.csv")) == [folder / "metrics.csv"]


def test_a_second_interrupt_stops_at_once_and_leaves_the_checkpoint_as_it_was(runs, whole):
    run(runs, "twice", iterations=5)
    with pytest.raises(KeyboardInterrupt):
        run(runs, "twice", iterations=LENGTH, watch=signalling(9, signal.SIGINT, times=2))
    outcome = run(runs, "twice", iterations=LENGTH)
    assert left_behind(outcome.folder) == whole("nash_mp")


def test_only_a_second_int_raises():
    request = StopRequest()
    request.handle(signal.SIGTERM, None)
    request.handle(signal.SIGTERM, None)
    request.handle(signal.SIGUSR1, None)
    assert (request(), request.received) == (True, signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        request.handle(signal.SIGINT, None)


def test_under_submitit_no_handler_is_installed(monkeypatch):
    monkeypatch.setenv("SUBMITIT_EXECUTOR", "slurm")
    before = {number: signal.getsignal(number) for number in SIGNALS}
    with stop_on_signal():
        assert {number: signal.getsignal(number) for number in SIGNALS} == before


# --- completed runs --------------------------------------------------------------------------------------------------


def contents(folder):
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}


def test_the_same_or_a_smaller_budget_finds_the_run_completed_and_touches_nothing(tmp_path):
    first = run(tmp_path, "s", iterations=20)
    before = contents(tmp_path)
    for limits in ({"iterations": 20}, {"iterations": 3}, {"queries": 40}, {"iterations": 30, "queries": 39}):
        again = run(tmp_path, "s", **limits)
        assert (again.skipped, again.status, again.summary) == (True, "completed", first.summary)
    assert contents(tmp_path) == before


def test_a_run_that_reached_its_target_is_completed_for_any_length(tmp_path):
    first = run(tmp_path, "s", iterations=1000, target=1e-3)
    assert first.summary["stop_reason"] == "target"
    assert run(tmp_path, "s", iterations=5000, target=1e-3).skipped
    assert run(tmp_path, "s", iterations=1000, target=1e-2).skipped
    assert not run(tmp_path, "s", iterations=1000, target=1e-5).skipped


def test_a_completed_run_is_skipped_without_torch(tmp_path):
    done = nlhf.run([f"runs_dir={tmp_path}", "budget.iterations=3"])
    script = (
        "import atexit, runpy, sys; atexit.register(lambda: print('torch' in sys.modules)); "
        f"runpy.run_path({str(MAIN)!r}, run_name='__main__')"
    )
    arguments = [f"runs_dir={tmp_path}", "budget.iterations=3"]
    environment = os.environ | {"PYTHONPATH": str(MAIN.parent)}
    result = subprocess.run([sys.executable, "-c", script, *arguments], cwd=tmp_path, env=environment,
                            capture_output=True, text=True, timeout=600, check=True)  # fmt: skip
    assert "completed before" in result.stdout
    assert str(done.folder) in result.stdout
    assert result.stdout.splitlines()[-1] == "False"


def test_a_run_without_its_checkpoint_is_skipped_or_begun_again(tmp_path, whole):
    outcome = run(tmp_path, "s", iterations=10, options=FORGETFUL)
    assert not (outcome.folder / "checkpoint.pt").exists()
    assert run(tmp_path, "s", iterations=10, options=FORGETFUL).skipped
    again = run(tmp_path, "s", iterations=LENGTH, options=FORGETFUL)
    assert left_behind(again.folder) == whole("nash_mp")
    assert not (outcome.folder / "checkpoint.pt").exists()


def test_an_interrupted_run_keeps_its_checkpoint_whatever_the_option(tmp_path):
    outcome = run(tmp_path, "s", iterations=10, options=FORGETFUL, watch=signalling(4))
    assert (outcome.folder / "checkpoint.pt").exists()


# --- folders that cannot be gone on with -----------------------------------------------------------------------------


def torn(path):
    path.write_bytes(path.read_bytes()[:-100])


DAMAGES = {
    "empty": lambda path: path.write_bytes(b""),
    "garbage": lambda path: path.write_bytes(b"garbage"),
    "torn": torn,
    "another list": lambda path: torch.save([1, 2], path),
    "another dict": lambda path: torch.save({"weights": torch.zeros(2)}, path),
    "an unknown class": lambda path: torch.save({"state": Path()}, path),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_refused_in_a_sentence_and_the_rows_stay(tmp_path, damage):
    outcome = run(tmp_path, "s", iterations=10)
    DAMAGES[damage](outcome.folder / "checkpoint.pt")
    before = table(outcome.folder / "metrics.csv")
    with pytest.raises(ConfigError) as refused:
        run(tmp_path, "s", iterations=20)
    message = str(refused.value)
    assert message.startswith(f"{outcome.folder / 'checkpoint.pt'} ")
    assert message.endswith(f"remove {outcome.folder / 'checkpoint.pt'} to start this run again.")
    assert "\n" not in message
    assert table(outcome.folder / "metrics.csv") == before
    assert not (outcome.folder / "lock").exists()
    (outcome.folder / "checkpoint.pt").unlink()
    assert run(tmp_path, "s", iterations=20).status == "completed"


def flip_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


LOSSES = {
    "removed": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "torn": torn,
    "one bit": flip_bit,
    "binary": lambda path: path.write_bytes(b"\xff\x00" * 50),
}
RESULT_FILES = ("metrics.csv", "policies.csv", "policy.npz", "game.npz", "summary.json", ".hydra/config.yaml")


@pytest.fixture(scope="module")
def undamaged(tmp_path_factory):
    """What undamaged runs of 13 and of 20 iterations leave."""
    root = tmp_path_factory.mktemp("undamaged")
    return {budget: left_behind(run(root, f"of_{budget}", iterations=budget).folder) for budget in (13, 20)}


@pytest.mark.parametrize("budget", [13, 20])
@pytest.mark.parametrize("name", RESULT_FILES)
@pytest.mark.parametrize("loss", LOSSES)
def test_a_damaged_file_of_a_completed_run_is_restored_from_the_checkpoint(tmp_path, undamaged, loss, name, budget):
    outcome = run(tmp_path, "s", iterations=13)
    game = read_arrays(outcome.folder / "game.npz")
    LOSSES[loss](outcome.folder / name)
    again = run(tmp_path, "s", iterations=budget)
    assert again.status == "completed"
    assert left_behind(outcome.folder) == undamaged[budget]
    assert damaged(outcome.folder, again.summary["files"]) == []
    assert {key: value.tolist() for key, value in read_arrays(outcome.folder / "game.npz").items()} == {
        key: value.tolist() for key, value in game.items()
    }
    assert yaml.safe_load((outcome.folder / ".hydra" / "config.yaml").read_text())["beta"] == 0.2
    assert run(tmp_path, "s", iterations=budget).skipped


@pytest.mark.parametrize("name", RESULT_FILES)
def test_damage_without_a_checkpoint_is_mended_or_refused_in_a_sentence(tmp_path, name):
    outcome = run(tmp_path, "s", iterations=13, options=FORGETFUL)
    undisturbed = left_behind(outcome.folder)
    flip_bit(outcome.folder / name)
    if name in ("game.npz", ".hydra/config.yaml"):
        assert run(tmp_path, "s", iterations=13, options=FORGETFUL).skipped
        assert left_behind(outcome.folder) == undisturbed
        assert damaged(outcome.folder, read_json(outcome.folder / "summary.json")["files"]) == []
        return
    for budget in (13, 20):
        with pytest.raises(ConfigError) as refused:
            run(tmp_path, "s", iterations=budget, options=FORGETFUL)
        assert str(refused.value).startswith(f"{outcome.folder / name} is missing or damaged, and there is no ch")
        assert "force=true" in str(refused.value)


def test_a_copied_folder_is_known_by_its_checksums(tmp_path):
    outcome = run(tmp_path, "s", iterations=13)
    shutil.copytree(outcome.folder, tmp_path / "copy" / outcome.folder.name)
    assert run(tmp_path, "copy", iterations=13).skipped
    flip_bit(tmp_path / "copy" / outcome.folder.name / "metrics.csv")
    assert not run(tmp_path, "copy", iterations=13).skipped


@pytest.mark.parametrize("keep_checkpoint", [True, False])
@pytest.mark.parametrize("length", [13, 20])
def test_rows_stay_until_an_extension_has_replaced_them(tmp_path, keep_checkpoint, length):
    """13 is off the schedule: its row is dropped when the longer run is complete, and not before."""
    options = {"keep_checkpoint": keep_checkpoint, "checkpoint_seconds": 0}
    first = run(tmp_path, "s", iterations=length, options=options)
    before = {name: table(first.folder / name) for name in ("metrics.csv", "policies.csv")}
    seen = []

    @contextlib.contextmanager
    def watch(_):
        def tick(progress, row):
            seen.append(read_json(first.folder / "summary.json")["status"])
            for name, rows in before.items():
                assert sorted(map(place, rows)) == [key for key in sorted(map(place, table(first.folder / name)))
                                                    if key in set(map(place, rows))]  # fmt: skip
            if progress.iterations.max() == 25:
                raise KeyboardInterrupt  # as if killed

        yield tick

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, "s", watch=watch, iterations=LENGTH, options=options)
    assert set(seen) == {"running"}
    assert read_json(first.folder / "summary.json")["status"] == "running"
    assert run(tmp_path, "s", iterations=LENGTH, options=options).status == "completed"
    whole = run(tmp_path, "whole", iterations=LENGTH, options=options)
    assert left_behind(first.folder) == left_behind(whole.folder)


@pytest.mark.parametrize("part", [0.001, 0.1, 0.3, 0.5, 0.7, 0.9, 0.999])
def test_a_flipped_bit_in_a_checkpoint_is_refused_in_a_sentence(tmp_path, part):
    outcome = run(tmp_path, "s", iterations=10)
    path = outcome.folder / "checkpoint.pt"
    content = bytearray(path.read_bytes())
    content[int(part * len(content))] ^= 4
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"checkpoint.pt cannot be read: remove .* to start this run again\.$"):
        run(tmp_path, "s", iterations=20)


def raise_version(monkeypatch):
    """The code of another time."""
    for name, module in list(sys.modules.items()):
        if name.startswith("nlhf.") and hasattr(module, "RESULTS_VERSION"):
            monkeypatch.setattr(module, "RESULTS_VERSION", 1_000_000)


@pytest.mark.parametrize("left", ["completed", "killed"])
def test_results_of_another_version_are_refused(tmp_path, monkeypatch, left):
    outcome = run(tmp_path, "s", iterations=10)
    if left == "killed":
        (outcome.folder / "summary.json").unlink()
    raise_version(monkeypatch)
    before = contents(tmp_path)
    for budget in (10, 20):
        with pytest.raises(
            ConfigError,
            match=rf"of version {RESULTS_VERSION}\b.*choose another study, or give force=true, which moves .*\.$",
        ):
            run(tmp_path, "s", iterations=budget)
    assert contents(tmp_path).keys() == before.keys()
    assert table(outcome.folder / "metrics.csv")[-1]["iteration"] == "10"


@pytest.mark.parametrize("left", ["completed", "killed"])
def test_a_folder_of_another_fingerprint_is_refused(tmp_path, left):
    outcome = run(tmp_path, "s", iterations=10)
    other = outcome.summary["fingerprint"][:12] + "0" * 52  # the same name, another run
    summary, checkpoint = outcome.folder / "summary.json", outcome.folder / "checkpoint.pt"
    summary.write_text(json.dumps(outcome.summary | {"fingerprint": other}))
    content = io.BytesIO()
    torch.save(torch.load(checkpoint, weights_only=False) | {"fingerprint": other}, content)
    checkpoint.write_bytes(sealed(content.getbuffer()))
    if left == "killed":
        summary.unlink()
    with pytest.raises(ConfigError, match=r"another config: choose another study, or give force=true, .*\.$"):
        run(tmp_path, "s", iterations=20)


def test_a_torn_file_among_the_cached_equilibria_is_computed_again(tmp_path):
    first = run(tmp_path, "a", iterations=5)
    cached = sorted((tmp_path / ".equilibria").iterdir())
    assert len(cached) == 3  # one per seed
    whole_file = cached[1].read_bytes()
    for content in (b"", b"garbage", whole_file[:200]):
        cached[1].write_bytes(content)
        second = run(tmp_path, f"b{len(content)}", iterations=5)
        gc.collect()  # a file that was left open would be warned of here
        assert left_behind(second.folder) == left_behind(first.folder)
    with np.load(cached[1]) as archive:
        assert "log_policy" in archive


# --- failures --------------------------------------------------------------------------------------------------------


def after(iteration, change):
    """Nash-MP's update, with the policy changed from this iteration of the process on."""
    original, calls = NashMP.update, itertools.count(1)

    def update(self, state, prox):
        new = original(self, state, prox)
        if next(calls) < iteration:
            return new
        return replace(new, policy=TabularPolicy(change(new.policy.log_probabilities)))

    return update


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_run_that_turns_non_finite_fails_at_the_next_row_and_keeps_its_rows(tmp_path, monkeypatch, value):
    sound = left_behind(run(tmp_path, "sound", iterations=40).folder)
    monkeypatch.setattr(NashMP, "update", after(7, lambda policy: policy * value))
    outcome = run(tmp_path, "s", iterations=40)
    assert outcome.status == "failed"
    assert outcome.log10_exploitability == math.inf
    assert "exploitability" in outcome.summary["stop_reason"]
    assert "step_size" in outcome.summary["stop_reason"]  # the remedy
    kept = sorted(table(outcome.folder / "metrics.csv"), key=place)
    before, since = ([row for row in kept if (int(row["iteration"]) > 6) == late] for late in (False, True))
    assert before == [row for row in sound["metrics"] if int(row["iteration"]) <= 6]
    assert {(row["iteration"], row["exploitability"]) for row in since} <= {("8", ""), ("8", "inf")}
    assert since
    assert "failed" in (outcome.folder / "run.log").read_text()
    assert not (outcome.folder / "lock").exists()


def test_one_seed_that_turns_non_finite_fails_the_run(tmp_path, monkeypatch):
    def spoil_second(policy):
        policy = policy.clone()
        policy[1] = float("nan")
        return policy

    monkeypatch.setattr(NashMP, "update", after(3, spoil_second))
    outcome = run(tmp_path, "s", iterations=40)
    assert outcome.status == "failed"
    assert {row["seed"] for row in table(outcome.folder / "metrics.csv") if row["exploitability"] == ""} == {"0"}


def test_an_error_inside_an_algorithm_is_recorded_with_its_traceback(tmp_path, monkeypatch):
    def break_down(policy):
        raise ArithmeticError("broken")

    monkeypatch.setattr(NashMP, "update", after(4, break_down))
    outcome = run(tmp_path, "s", iterations=40)
    assert (outcome.status, outcome.summary["stop_reason"]) == ("failed", "ArithmeticError: broken")
    assert iterations(outcome.folder) == [0, 1, 2, 3]
    logged = (outcome.folder / "run.log").read_text()
    assert "Traceback" in logged
    assert "break_down" in logged


def test_a_failed_command_exits_with_code_1(tmp_path):
    script = (
        "import runpy, sys\nfrom nlhf.algorithms.nash_mp import NashMP, State\n"
        "from nlhf.policies.tabular import TabularPolicy\n"
        "NashMP.update = lambda self, state, prox: State(TabularPolicy(prox.advantage(state.policy) * float('nan')))\n"
        f"runpy.run_path({str(MAIN)!r}, run_name='__main__')"
    )
    environment = os.environ | {"PYTHONPATH": str(MAIN.parent)}
    result = subprocess.run([sys.executable, "-c", script, f"runs_dir={tmp_path}"], cwd=tmp_path, env=environment,
                            capture_output=True, text=True, timeout=600, check=False)  # fmt: skip
    assert result.returncode == 1
    assert "failed" in result.stdout
    assert "Traceback" not in result.stderr
    (summary,) = tmp_path.glob("default/*/summary.json")
    assert json.loads(summary.read_text())["status"] == "failed"


# --- the lock --------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def held(folder):
    """Another process that holds a folder's lock until the block ends, when it is killed."""
    script = (
        "import sys\nfrom pathlib import Path\nfrom nlhf.runner.lock import locked\n"
        "with locked(Path(sys.argv[1])):\n    print('held', flush=True)\n    sys.stdin.read()"
    )
    environment = os.environ | {"PYTHONPATH": str(MAIN.parent)}
    with subprocess.Popen([sys.executable, "-c", script, str(folder)], env=environment, text=True,
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:  # fmt: skip
        try:
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def test_a_second_process_is_refused_while_one_works_and_takes_over_when_it_is_dead(tmp_path):
    outcome = run(tmp_path, "s", iterations=2)
    with held(outcome.folder) as process:
        while '"pid"' not in (outcome.folder / "lock").read_text():
            time.sleep(0.005)
        with pytest.raises(
            BusyError, match=f"process {process.pid} on {socket.gethostname()}: wait for it, or stop it"
        ):
            run(tmp_path, "s", iterations=4)
        assert run(tmp_path, "s", iterations=2).skipped  # nothing to do, nothing to wait for
    assert (outcome.folder / "lock").exists()  # its owner was killed
    assert run(tmp_path, "s", iterations=4).status == "completed"
    assert not (outcome.folder / "lock").exists()


def test_the_lock_names_its_owner_and_goes_with_the_work(tmp_path):
    begun = time.time()

    def fail():
        with locked(tmp_path):
            owner = {}
            while "token" not in owner:
                with contextlib.suppress(ValueError):
                    owner = json.loads((tmp_path / "lock").read_text())
            assert (owner["host"], owner["pid"]) == (socket.gethostname(), os.getpid())
            assert int(begun) <= owner["heartbeat"] <= time.time()
            with pytest.raises(BusyError), locked(tmp_path):
                pass
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        fail()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("age", "free"), [(5, False), (3600, True)])
def test_a_lock_of_another_host_counts_while_its_heart_beats(tmp_path, age, free):
    owner = {"host": "elsewhere.example", "pid": 1, "token": "t", "heartbeat": time.time() - age}
    (tmp_path / "lock").write_text(json.dumps(owner))
    expected = contextlib.nullcontext() if free else pytest.raises(BusyError, match=r"process 1 on elsewhere\.example")
    with expected, locked(tmp_path):
        pass
    assert (tmp_path / "lock").exists() != free


def test_wall_seconds_ignore_a_clock_that_is_set_back(tmp_path, monkeypatch):
    now = iter(range(10**9, 0, -3600))
    monkeypatch.setattr(time, "time", lambda: next(now))
    outcome = run(tmp_path, "s", iterations=2)
    assert 0 < outcome.summary["wall_seconds"] < 600
