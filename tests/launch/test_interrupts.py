"""Ctrl-C, once or more often and at any time, ends a command with a line and code 130, never with a traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from tests.launch.commands import GAME, MAIN, SLOW, ended, process, until

INTERRUPT = "import os, signal; os.kill(os.getpid(), signal.SIGINT)"
LINE = "interrupted: repeat the same command."

# what a process does, and what it writes
SCRIPTS = {
    "imports of a module command": (
        f"import sys; sys.orig_argv = ['python', '-m', 'nlhf.analysis']; import nlhf; {INTERRUPT}; input()",
        LINE,
    ),
    "imports of the command": (
        f"import sys; sys.argv = sys.orig_argv = ['bin/nlhf']; import nlhf; {INTERRUPT}; input()",
        LINE,
    ),
    "a command": (f"from nlhf.cli.output import run\ndef main(_):\n    {INTERRUPT}\nrun(main, [])", LINE),
    "cleaning up in code of others": (
        "from nlhf.cli.output import run\ndef main(_):\n    try:\n        raise KeyboardInterrupt\n"
        "    finally:\n        unknown.close()\nrun(main, [])",
        LINE,
    ),
    "composing": (
        "from nlhf.cli.entry import start\ndef main():\n    try:\n        raise KeyboardInterrupt\n"
        "    finally:\n        int('x')\nstart(main)",
        "stopped at once: repeat the same command to go on from the last checkpoint.",
    ),
    "the end of a program": (
        f"import atexit\nfrom nlhf.cli.output import run\ndef end():\n    {INTERRUPT}\n    print('no')\n"
        "atexit.register(end)\nrun(lambda _: 0, [])",
        "",
    ),
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_an_interrupt_ends_a_program_with_one_line(script):
    code, words = SCRIPTS[script]
    done = subprocess.run([sys.executable, "-c", code], cwd=MAIN.parent, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr.strip() == words


def test_a_process_that_only_imports_nlhf_is_interrupted_as_before():
    code = f"import nlhf\ntry:\n    {INTERRUPT}\nexcept KeyboardInterrupt:\n    print('as before')"
    done = subprocess.run([sys.executable, "-c", code], cwd=MAIN.parent, capture_output=True, text=True, check=True)
    assert done.stdout == "as before\n"


@pytest.mark.parametrize("options", [(), ("-m", "beta=0.1,0.2", "hydra/launcher=pool")], ids=["run", "pool"])
def test_the_second_interrupt_of_a_run_ends_it_with_one_line(tmp_path, options):
    running = process(*options, *GAME, *SLOW, "budget.queries=1000000", f"runs_dir={tmp_path}", "progress=false")
    until(lambda: list(tmp_path.glob("*/*/checkpoint.pt")))
    for _ in range(3):
        os.killpg(running.pid, signal.SIGINT)
    done = ended(running)
    assert done.code in (130, -signal.SIGINT)  # the latter where Python has put its handlers away
    assert "Traceback" not in done.err + done.out
    lines = [line for line in done.err.splitlines() if line and " running, " not in line]  # reports every ten seconds
    assert len(lines) <= 1
    assert all("repeat the same command to go on" in line for line in lines)
