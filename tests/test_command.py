"""The command `nlhf`: its help, its subcommands, and the names of former commands."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

import nlhf
from nlhf.__main__ import COMMANDS
from tests.launch.commands import MAIN


def ended(*arguments):
    """The exit code of `python -m ARGUMENTS` and what it wrote."""
    environment = os.environ | {"PYTHONPATH": str(MAIN.parent), "COLUMNS": "80"}
    words = [sys.executable, "-m", *arguments]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False, timeout=600)
    return done.returncode, done.stdout, done.stderr


def test_the_help_fits_on_one_screen_and_names_every_subcommand():
    code, out, err = ended("nlhf", "--help")
    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    assert all(any(line.startswith(f"  {name} ") for line in lines) for name in COMMANDS)
    assert ended("nlhf") == (code, out, err)


@pytest.mark.parametrize("name", [*COMMANDS, "votes show", "judge train", "judge grade"])
def test_the_help_of_a_subcommand_has_an_example(name):
    code, out, _ = ended("nlhf", *name.split(), "--help")
    assert code == 0
    assert re.search(rf"\n  nlhf {name}( |$)", out, re.MULTILINE)


def test_the_version():
    assert ended("nlhf", "--version") == (0, f"nlhf {nlhf.__version__}\n", "")


@pytest.mark.parametrize(("words", "meant"), [
    (["compar", "runs/a b"], "nlhf compare 'runs/a b'"), (["beta=1", "seeds=2"], "nlhf run beta=1 seeds=2"),
    (["xyz"], "nlhf --help"),
])  # fmt: skip
def test_an_unknown_subcommand_is_refused_with_the_likely_one(words, meant):
    assert ended("nlhf", *words) == (2, "", f"error: {words[0]} is not a command: did you mean {meant}\n")


@pytest.mark.parametrize(("former", "words"), [("judges", "nlhf judge"), ("arena", "nlhf arena"), ("launch", "nlhf"),
                                               ("exploit", "nlhf exploit")])  # fmt: skip
def test_a_former_command_names_the_new_one(former, words):
    sentence = f"error: python -m nlhf.{former} is now {words}: write {words} x 'a b'\n"
    assert ended(f"nlhf.{former}", "x", "a b") == (2, "", sentence)


@pytest.mark.parametrize(("words", "new"), [(["x"], ["compare", "x"]), (["diff", "x", "y"], ["diff", "x", "y"]),
                                            (["votes", "x"], ["votes", "show", "x"])])  # fmt: skip
def test_the_former_command_of_analysis_is_an_alias(words, new):
    assert ended("nlhf.analysis", *words) == ended("nlhf", *new)


@pytest.mark.parametrize(("line", "completions"), [
    ("nlhf co", ["compare"]), ("nlhf judge ", ["train", "grade"]), ("nlhf votes s", ["show"]),
    ("nlhf run algorithm=nash_md", ["algorithm=nash_md", "algorithm=nash_md_pg"]),
    ("nlhf run algorithm=omd pro", ["prox=", "prox."]),
])  # fmt: skip
def test_bash_completes_subcommands_and_overrides(line, completions):
    script = """
nlhf() { "$PYTHON" -m nlhf "$@"; }
eval "$(nlhf --completion bash)"
read -ra COMP_WORDS <<< "$COMP_LINE"
[[ "$COMP_LINE" == *" " ]] && COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_nlhf
printf "%s\\n" "${COMPREPLY[@]}"
"""
    environment = os.environ | {"PYTHONPATH": str(MAIN.parent), "PYTHON": sys.executable, "COMP_LINE": line}
    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert set(completions) <= set(done.stdout.split())
    assert all(word.startswith(line.rpartition(" ")[2]) for word in done.stdout.split())
