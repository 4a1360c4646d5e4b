"""Choices from a folder of the user's: an own algorithm, game and judge, from Python and from the commands."""

from __future__ import annotations

import json

import pytest

import nlhf
from nlhf.cli.arena import main as arena
from nlhf.cli.judge import main as judge
from nlhf.cli.votes import main as votes
from nlhf.config import ConfigError
from tests.launch.commands import command

pytestmark = pytest.mark.usefixtures("one_thread")
MODULE = '''
from dataclasses import dataclass

from nlhf.algorithms.nash_mp import NashMP


@dataclass(frozen=True)
class Mine(NashMP):
    """An own algorithm."""
'''
SMALL = ["budget.iterations=3", "progress=false"]


@pytest.fixture
def own(importable, monkeypatch):
    """The folder `conf` with an own choice in three groups, beside the module of the algorithm."""
    (importable / "own_module.py").write_text(MODULE)
    files = {
        "algorithm/mine.yaml": "defaults: [nash_mp]\n_target_: own_module.Mine\n",
        "game/pairs.yaml": "defaults: [votes]\npath: votes.csv\n",
        "judge/short.yaml": "defaults: [panel]\ncriteria: [length]\n",
    }
    for name, text in files.items():
        path = importable / "conf" / name
        path.parent.mkdir(parents=True)
        path.write_text(text)
    (importable / "votes.csv").write_text("item_a,item_b,wins_a,wins_b\nx,y,3,1\ny,z,3,1\nz,x,3,1\n")
    monkeypatch.chdir(importable)
    return importable / "conf"


def test_an_own_algorithm_and_game_run_from_python(own):
    done = nlhf.run(["algorithm=mine", "game=pairs", *SMALL], config_dir=own)
    assert done.folder.name.startswith("pairs-mine-")
    assert done.summary["status"] == "completed"
    grades = nlhf.evaluate(done.folder / "policy.npz", ["game=pairs"], config_dir="conf")
    assert grades["exploitability"] == pytest.approx(done.summary["final"]["exploitability"])


def test_they_run_from_the_command_one_by_one_and_in_a_sweep(own):
    words = ["--config-dir", str(own), "algorithm=mine", "game=pairs", *SMALL]
    assert command(*words).code == 0
    assert command("-m", *words, "beta=0.1,0.2", "study=swept").code == 0
    assert len(list((own.parent / "runs" / "swept").glob("pairs-mine-*"))) == 2


def test_an_own_judge_is_graded(own, capsys):
    lines = [{"prompt": f"p{k}", "a": "a b c", "b": "a", "votes": [2, 1, 0]} for k in range(4)]
    (own.parent / "votes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert judge(["grade", "data=votes.jsonl", "judge=short", "--config-dir", "conf"]) == 0
    assert "short" in capsys.readouterr().out


def test_a_folder_that_is_missing_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"config_dir=.*nowhere is not a folder: give one with folders such as"):
        nlhf.run([], config_dir=tmp_path / "nowhere")


def test_the_votes_of_an_own_game_are_described(own, capsys):
    assert votes(["show", "game=pairs", "--config-dir", "conf", "--out", "page"]) == 0
    assert "12 votes on 3 items" in capsys.readouterr().out
    assert (own.parent / "page" / "report.html").is_file()
    assert votes(["show", "game=circle"]) == 2
    assert "game=circle does not read a file of votes: give a file" in capsys.readouterr().err


def test_an_own_judge_judges_an_arena(own):
    for name in ("near", "far"):
        lines = [{"prompt": f"p{k}", "completion": f"{name} {k}"} for k in range(3)]
        (own.parent / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    words = ["near.jsonl", "far.jsonl", "judge=short", "redraws=5", "out=arena"]
    assert arena([*words, "--config-dir", "conf"]) == 0
    assert (own.parent / "arena" / "votes.csv").is_file()
