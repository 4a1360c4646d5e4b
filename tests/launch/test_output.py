"""A command whose output nobody can take ends without a traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import closing, contextmanager

import pytest

from nlhf.launch.compose import composed, plain
from nlhf.launch.job import Job
from nlhf.runner.specification import specify
from tests.launch.commands import GAME, MAIN

LIST = ("-m", "nlhf", "list")
FULL = "error: the output cannot be written (No space left on device): make room or choose another place, and repeat"


@contextmanager
def no_reader():
    """The end of a pipe that nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as stream:
        yield stream


@contextmanager
def full():
    """A device that is full."""
    with closing(open("/dev/full", "wb", buffering=0)) as stream:
        yield stream


def ended(*arguments, **streams):
    """The exit code of a command and what it wrote."""
    environment = os.environ | {"PYTHONPATH": str(MAIN.parent), "OMP_NUM_THREADS": "1"}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | streams
    done = subprocess.run([sys.executable, *arguments], env=environment, check=False, text=True, timeout=600, **streams)
    return done.returncode, done.stdout or "", done.stderr or ""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The arguments of a run that is completed."""
    runs = tmp_path_factory.mktemp("runs")
    arguments = (str(MAIN), *GAME, "algorithm=nash_mp", "progress=false", f"runs_dir={runs}")
    assert ended(*arguments)[0] == 0
    return arguments


@pytest.mark.parametrize("arguments", [LIST, (str(MAIN), "--help"), ("-m", "nlhf", "--help"),
                                       ("-m", "nlhf", "compare", "--help"), ("-m", "nlhf", "arena", "--help"),
                                       ("-m", "nlhf", "judge", "--help")], ids=" ".join)  # fmt: skip
def test_a_full_disk_is_told_in_a_sentence_and_a_lost_reader_in_none(arguments):
    with full() as stream:
        code, _, errors = ended(*arguments, stdout=stream)
    assert (code, errors.startswith(FULL), errors.count("\n")) == (1, True, 1)
    with no_reader() as stream:
        assert ended(*arguments, stdout=stream) == (128 + signal.SIGPIPE, "", "")


def test_the_result_of_a_run_goes_nowhere_in_a_sentence(run):
    with full() as stream:
        code, _, errors = ended(*run, stdout=stream)
    assert (code, errors.startswith(FULL), errors.count("\n")) == (1, True, 1)
    with no_reader() as stream:
        assert ended(*run, stdout=stream) == (128 + signal.SIGPIPE, "", "")


def test_a_pool_whose_output_nobody_reads_ends_and_leaves_no_worker(tmp_path):
    words = (str(MAIN), "-m", *GAME, "hydra/launcher=pool", "hydra.launcher.workers=1", "beta=0.1,0.2")
    with no_reader() as stream:
        assert ended(*words, f"runs_dir={tmp_path}", stdout=stream) == (128 + signal.SIGPIPE, "", "")
    assert list(tmp_path.glob("default/*/summary.json"))
    assert not list(tmp_path.glob("default/*/lock"))


def test_a_pool_that_cannot_tell_a_result_ends(tmp_path, monkeypatch):
    from nlhf.launch import pool

    def fail(*_):
        raise BrokenPipeError

    monkeypatch.setattr(pool.Pool, "_note", fail)
    with composed([*GAME, "progress=false", f"runs_dir={tmp_path}"]) as config:
        job = Job((), plain(config), specify(plain(config)))
    with pytest.raises(BrokenPipeError):
        pool.Pool([job], 1, 1, 5).run()


def test_an_error_that_cannot_be_printed_keeps_its_exit_code(run):
    with full() as stream:
        assert ended(*run, "beta=-1", stderr=stream) == (2, "", "")
        code, output, _ = ended(*run, stderr=stream)
        assert (code, "completed before" in output) == (0, True)
        assert ended(*run, stdout=stream, stderr=stream)[0] == 1


@pytest.mark.parametrize("number", [1, 2])
def test_a_closed_descriptor_is_not_taken_for_another_file(run, tmp_path, number):
    runs = next(word for word in run if word.startswith("runs_dir="))
    arguments = [word if word != runs else f"runs_dir={tmp_path}" for word in run]
    code, output, errors = ended(*arguments, preexec_fn=lambda: os.close(number))
    assert (code, errors) == (0, "")
    assert ("completed" in output) == (number == 2)
    (summary,) = tmp_path.glob("default/*/summary.json")
    assert '"status": "completed"' in summary.read_text()
