"""Every documented command that trains on a game ends with a lower exploitability than it starts with.

Sweeps and experiments are expanded over their games and algorithms, and shortened. Exempt are methods whose last
iterate can cycle, as their caveat says, and experiments that show which learning rates fail.
"""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
import yaml

from nlhf.launch.compose import CONF
from nlhf.runner.assemble import assemble
from nlhf.runner.specification import specify
from tests import votes_files
from tests.composing import configured
from tests.documents import TABLE_PAGES, VOTES, commands
from tests.test_contract import Recorder

pytestmark = pytest.mark.usefixtures("one_thread")

VARIED = ("game", "algorithm")  # keys of sweeps of which all values are run; of others, the last one
ADVICE = ("hydra", "study", "dry_run")


def overrides_of_commands():
    """The overrides of every `nlhf run` of README.md and docs/, without language models."""
    for words in itertools.chain.from_iterable(map(commands, TABLE_PAGES)):
        if words[0] == "run" and "--help" not in words:
            yield [word for word in words[1:] if word != "-m" and not word.startswith(ADVICE)]


def runs():
    """The overrides of single runs."""
    expanded = {}
    for overrides in overrides_of_commands():
        choices = dict(word.split("=", 1) for word in overrides)
        if "experiment" in choices:
            preset = yaml.safe_load((CONF / "experiment" / f"{choices['experiment']}.yaml").read_text())
            sweeper = preset["hydra"]["sweeper"]
            choices |= {key: str(values) for key, values in sweeper.get("params", {}).items()}
            choices |= {key: str(values).split(",")[-1] for key, values in sweeper.get("together", {}).items()}
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


def shortened(words, folder):
    """The run in a few seconds or less, on the files in a folder."""
    short = ["equilibrium=never", "budget.iterations=300"]
    short += ["seeds=2"] * any(word.startswith(("seeds=", "experiment=")) for word in words)
    short += ["game.actions=500"] * any(word.startswith("game.actions=") and len(word) > 16 for word in words)
    return [re.sub("game.path=(?!embedded:)", f"game.path={folder}/", word) for word in words] + short


@pytest.mark.parametrize("words", runs())
def test_a_documented_command_ends_below_its_start(words, tmp_path):
    (tmp_path / "votes.csv").write_text(VOTES)
    votes_files.write_documented(tmp_path)
    run = specify(configured(*shortened(words, tmp_path)))
    recorder = Recorder()
    assemble(run).trainer(run, recorder).run()
    start = [values["exploitability"] for _, values, _ in recorder.rows if values["iteration"] == 0]
    end = {seed: values["exploitability"] for seed, values, _ in recorder.rows}
    at_equilibrium = max(start) < 1e-15  # where the reference is one
    assert "cycle" in (run.method["caveat"] or "") or at_equilibrium or np.mean([*end.values()]) < np.mean(start)
