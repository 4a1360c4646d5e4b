"""Every command of the README that trains on a game ends with a lower exploitability than it starts with.

Sweeps and experiments are expanded over their games and algorithms, and shortened. Exempt are methods whose last
iterate can cycle, as their caveat says, and experiments that show which learning rates fail.
"""

from __future__ import annotations

import itertools
import re
import shlex

import numpy as np
import pytest
import yaml

from nlhf.launch.compose import CONF
from nlhf.runner.assemble import assemble
from nlhf.runner.specification import specify
from tests.composing import configured
from tests.test_contract import README, Recorder

pytestmark = pytest.mark.usefixtures("one_thread")

VARIED = ("game", "algorithm")  # keys of sweeps of which all values are run; of others, the last one
ADVICE = ("hydra", "study", "dry_run")


def commands():
    """The overrides of every `python main.py` in the README's blocks of shell commands, without language models."""
    for block in re.findall(r"```sh\n(.*?)```", README.read_text(), re.DOTALL):
        for line in block.splitlines():
            words = shlex.split(line, comments=True)
            if words[:2] != ["python", "main.py"] or "..." in words or "--help" in words:
                continue
            end = words.index("&&") if "&&" in words else len(words)
            overrides = [word for word in words[2:end] if word != "-m"]
            if "policy=causal_lm" not in overrides and "experiment=language_model" not in overrides:
                yield [word for word in overrides if not word.startswith(ADVICE)]


def runs():
    """The overrides of single runs."""
    expanded = {}
    for command in commands():
        choices = dict(word.split("=", 1) for word in command)
        if "experiment" in choices:
            preset = yaml.safe_load((CONF / "experiment" / f"{choices['experiment']}.yaml").read_text())
            choices |= {key: str(values) for key, values in preset["hydra"]["sweeper"]["params"].items()}
        if "prox.learning_rate" in choices:
            continue
        values = {key: _values(key, value) for key, value in choices.items()}
        for chosen in itertools.product(*values.values()):
            words = [f"{key}={value}" for key, value in zip(values, chosen, strict=True)]
            expanded[" ".join(words)] = words
    return [pytest.param(words, id=text) for text, words in expanded.items()]


def _values(key, text):
    several = re.fullmatch(r"[^\[{]*,[^\[{]*", text)
    return [text] if not several else text.split(",") if key in VARIED else [text.split(",")[-1]]


def shortened(words, votes):
    """The run in a few seconds or less."""
    short = ["equilibrium=never", "budget.iterations=300"]
    short += ["seeds=2"] * any(word.startswith(("seeds=", "experiment=")) for word in words)
    short += ["game.actions=500"] * any(word.startswith("game.actions=") and len(word) > 16 for word in words)
    return [word.replace("votes.csv", str(votes)) for word in words] + short


@pytest.mark.parametrize("words", runs())
def test_a_command_of_the_readme_ends_below_its_start(words, tmp_path):
    votes = tmp_path / "votes.csv"
    votes.write_text("item_a,item_b,wins_a,wins_b,question_id,judge\n"
                     "x,y,3,1,1,human\ny,z,2,1,1,human\nz,x,2,1,1,human\nx,y,1,4,2,human\ny,z,3,1,2,human\n"
                     "z,gpt4,1,2,2,human\n")  # fmt: skip
    run = specify(configured(*shortened(words, votes)))
    recorder = Recorder()
    assemble(run).trainer(run, recorder).run()
    start = [values["exploitability"] for _, values, _ in recorder.rows if values["iteration"] == 0]
    end = {seed: values["exploitability"] for seed, values, _ in recorder.rows}
    at_equilibrium = max(start) == 0  # where the reference is one
    assert "cycle" in (run.method["caveat"] or "") or at_equilibrium or np.mean([*end.values()]) < np.mean(start)
