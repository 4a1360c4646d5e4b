"""The commands of README.md and docs/, page by page in a folder of their own, with small budgets and tiny models."""

from __future__ import annotations

import importlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from nlhf.__main__ import COMMANDS
from tests import case_files, votes_files
from tests.documents import PAGES, ROOT, TABLE_PAGES, TEXT_PAGES, VOTES, block, blocks, commands
from tests.launch.commands import command
from tests.test_input_folders import reward_model

pytestmark = pytest.mark.usefixtures("one_thread", "no_figure_files")

SHORT = ["progress=false", "budget.iterations=3", "seeds=2"]
SHORT_TEXT = ["progress=false", "budget.iterations=2", "game.test_prompts=4", "policy.max_new_tokens=4"]
SHORTER = {  # of experiments, and of what a single command makes large
    "experiment=human_votes": ["algorithm=nash_mp,omd"],
    "experiment=neural": ["algorithm=nash_prox,online_ipo", "prox.learning_rate=0.001", "game.actions=6"],
    "experiment=asking": ["algorithm=asking,asking_uniform", "game=top_cycle", "game.actions=4"],
    "experiment=multi_turn": ["algorithm=mtpo,nash_mp", "game.turns=2", "beta=0.1"],
    "experiment=regularisers": ["beta=0.1"],
    "experiment=egpo": ["algorithm=egpo,omd", "game.actions=5"],
    "experiment=egpo_neural": ["algorithm=extragradient", "game.actions=6", "prox.samples=null"],
    "experiment=egpo_sampled": ["algorithm=egpo,omd"],
    "experiment=munos": ["algorithm.mixture=0,1", "beta=0.1", "game=bradley_terry"],
    "experiment=nash_rs": ["beta=0.5", "game.actions=5"],
    "experiment=action_space": ["game.actions=10,30", "algorithm=nash_mp"],
    "game.actions=10000": ["game.actions=500"],
}


def run(words: list[str], capsys: pytest.CaptureFixture[str], short: list[str]) -> None:
    """Run a command; it must succeed without printing an error."""
    name, *rest = words
    if name == "run":
        more = [override for key, overrides in SHORTER.items() if key in rest for override in overrides]
        chosen = [override for override in short if "--help" not in rest]
        done = command(*rest, *chosen, *more)
        code, text = done.code, done.out + done.err
    else:
        main = importlib.import_module(f"nlhf.cli.{COMMANDS[name][0]}").main
        code = main(words if COMMANDS[name][0] == "status" else rest)
        text = "".join(capsys.readouterr())
    assert code == 0, f"{words}\n{text}"
    assert "error:" not in text
    assert "Traceback" not in text


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder in which the commands run, with a file of votes."""
    (tmp_path / "votes.csv").write_text(VOTES)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_page_with_commands_is_tested():
    assert [page for page in PAGES if blocks(page, "sh")] == sorted(ROOT / page for page in TABLE_PAGES + TEXT_PAGES)


@pytest.mark.parametrize("page", TABLE_PAGES)
def test_the_commands_for_games_work(folder, capsys, page):
    if page == "docs/tutorial.md":
        (folder / "votes.csv").write_text(block(page, "csv", "item_a,item_b,wins_a,wins_b,topic"))
    if page == "docs/guides/cases.md":
        case_files.write(folder)
    if page in ("docs/formats.md", "docs/guides/votes.md"):
        votes_files.write_documented(folder)
    if page == "docs/formats.md":
        (folder / "votes.csv").unlink()  # the page converts votes to this file
    for words in commands(page):
        runs = iter(sorted(path.parent.relative_to(folder) for path in folder.glob("runs/methods/*/metrics.csv")))
        run([str(next(runs)) if "RUN_" in word else word for word in words], capsys, SHORT)
    without_study = ("formats", "guides/votes", "guides/asking", "guides/cases", "guides/large", "guides/sweeps")
    assert page in [f"docs/{name}.md" for name in without_study] or [*folder.glob("runs/*/report.html")]


def test_the_commands_for_language_models_and_judges_work(folder, capsys, tiny_model, encoder):
    rng, vocabulary = np.random.default_rng(0), ["the", "sea", "moon", "bread", "is", "good", "kind", "old", "bird"]
    lines = []
    for _ in range(30):
        prompt, a, b = (" ".join(rng.choice(vocabulary, 5)) for _ in range(3))
        lines.append(json.dumps({"prompt": prompt, "a": a, "b": b, "votes": [2, 1, 0]}))
    (folder / "votes.jsonl").write_text("\n".join(lines))
    (folder / "prompts.jsonl").write_text("\n".join(json.dumps({"prompt": f"{n} the sea"}) for n in range(12)))
    pairs = [{"prompt": f"{n} the moon", "chosen": "is good", "rejected": "is old"} for n in range(12)]
    (folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, pairs)))
    judge = reward_model(Path(shutil.copytree(tiny_model, folder / "judge")), 0.0)
    small = [*SHORT_TEXT, f"policy.model={tiny_model}"]
    folders = {
        "policy.model=FOLDER": f"policy.model={tiny_model}",
        "game.judge.model=FOLDER": f"game.judge.model={judge}",
    }
    for words in commands(TEXT_PAGES[0]):
        run([folders.get(word, word) for word in words], capsys, small)
    for words in commands(TEXT_PAGES[1]):
        more = [f"encoder={encoder}", "epochs=2", "folds=2", "inner_folds=1"] if "train" in words else []
        short = SHORT if "game=votes" in words else [*small, "study=judged"]
        run([*words, *more], capsys, short)
    assert (folder / "runs" / "language_model" / "arena" / "report.html").exists()
