"""The README's commands, one after the other in a folder of their own, with small budgets and tiny models."""

from __future__ import annotations

import importlib
import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.launch.commands import command
from tests.test_input_folders import reward_model

pytestmark = pytest.mark.usefixtures("one_thread")

README = (Path(__file__).parents[1] / "README.md").read_text()
VOTES = """item_a,item_b,wins_a,wins_b,question_id,judge
x,y,3,1,1,human
y,z,2,1,1,human
z,x,2,1,1,human
x,y,1,4,2,human
y,z,3,1,2,human
z,x,1,2,2,human
z,gpt4,1,2,2,human
"""
SHORT = ["progress=false", "budget.iterations=3", "seeds=2"]
SHORT_TEXT = ["progress=false", "budget.iterations=2", "game.test_prompts=4", "policy.max_new_tokens=4"]
SHORTER = {  # of experiments, and of what a single command makes large
    "experiment=human_votes": ["algorithm=nash_mp,omd"],
    "experiment=neural": ["algorithm=nash_prox,online_ipo", "prox.learning_rate=0.001", "game.actions=6"],
    "experiment=action_space": ["game.actions=10,30", "algorithm=nash_mp"],
    "game.actions=10000": ["game.actions=500"],
}


def commands(first, last):
    """The README's commands for python, from one that begins with `first` to one that begins with `last`."""
    blocks = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    parts = [shlex.split(part, comments=True) for block in blocks for line in block.splitlines()
             for part in line.split("&&")]  # fmt: skip
    chosen = [words[1:] for words in parts if words[:1] == ["python"] and "..." not in words]
    starts = [" ".join(words).startswith for words in chosen]
    begin, end = (next(n for n, start in enumerate(starts) if start(text)) for text in (first, last))
    return chosen[begin : end + 1]


def run(words, capsys, short):
    """What a command printed; it must succeed without a word of an error."""
    if words[0] == "main.py":
        more = [override for key, overrides in SHORTER.items() if key in words for override in overrides]
        done = command(*words[1:], *short, *more)
        code, text = done.code, done.out + done.err
    else:
        code = importlib.import_module(f"{words[1]}.__main__").main(words[2:])
        text = "".join(capsys.readouterr())
    assert code == 0, f"{words}\n{text}"
    assert "error:" not in text
    assert "Traceback" not in text
    return text


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The folder in which the commands run, with a file of votes."""
    (tmp_path / "votes.csv").write_text(VOTES)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_commands_for_games_and_studies_work(place, capsys):
    for words in commands("main.py experiment=human_votes", "main.py experiment=neural"):
        run(words, capsys, SHORT)
    run(["-m", "nlhf.analysis", "runs/human_votes"], capsys, SHORT)
    assert (place / "runs" / "human_votes" / "report.html").exists()
    for words in commands("main.py -m experiment=action_space", "-m nlhf.analysis diff"):
        named = iter(sorted(path.parent.relative_to(place) for path in place.glob("runs/methods/*/metrics.csv")))
        run([str(next(named)) if "RUN_" in word else word for word in words], capsys, SHORT)
    assert (place / "elsewhere" / "report.html").exists()
    assert (place / "rows.parquet").exists()


def test_the_commands_for_language_models_and_judges_work(place, capsys, tiny_model, encoder):
    rng, words_known = np.random.default_rng(0), "the sea moon bread is good kind old bird tea".split()  # noqa: SIM905
    lines = []
    for _ in range(30):
        prompt, a, b = (" ".join(rng.choice(words_known, 5)) for _ in range(3))
        lines.append(json.dumps({"prompt": prompt, "a": a, "b": b, "votes": [2, 1, 0]}))
    (place / "votes.jsonl").write_text("\n".join(lines))
    (place / "prompts.jsonl").write_text("\n".join(json.dumps({"prompt": f"{n} the sea"}) for n in range(12)))
    judge = reward_model(Path(shutil.copytree(tiny_model, place / "judge")), 0.0)
    small = [*SHORT_TEXT, f"policy.model={tiny_model}"]
    folders = {
        "policy.model=FOLDER": f"policy.model={tiny_model}",
        "game.judge.model=FOLDER": f"game.judge.model={judge}",
    }
    for words in commands("main.py game=text", "-m nlhf.analysis runs/language_model"):
        run([folders.get(word, word) for word in words], capsys, small)
    for words in commands("-m nlhf.analysis votes", "-m nlhf.arena"):
        more = [f"encoder={encoder}", "epochs=2", "folds=2", "inner_folds=1"] if "train" in words else []
        run([*words, *more], capsys, [*small, "study=judged"] if "main.py" in words else small)
    assert (place / "runs" / "language_model" / "arena" / "report.html").exists()
