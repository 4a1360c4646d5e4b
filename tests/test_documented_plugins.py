"""The plug-ins that README.md and docs/ show run as written."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

from nlhf.config import ConfigError, build
from nlhf.records import read_rows
from nlhf.runner.run_one import run_one
from tests.composing import configured
from tests.documents import block, blocks

LISTED = {
    "exact": ["game=rock_paper_scissors", "reference=random", "prox=exact"],
    "sampled": ["game=rock_paper_scissors", "prox=sampled"],
    "table": ["game=rock_paper_scissors", "prox=gradient"],
    "network": ["game=contextual", "game.contexts=4", "game.test_contexts=3", "policy=mlp", "policy.hidden=[8]",
                "prox=gradient"],
}  # fmt: skip


@pytest.fixture
def node(importable):
    """The yaml of the README's algorithm, whose module can be imported."""
    (importable / "my_algorithm.py").write_text(block("README.md", "python", "# my_algorithm.py"))
    return yaml.safe_load(block("README.md", "yaml", "# my_conf/algorithm/my_algorithm.yaml"))


def starting_at_the_reference(importable: Path) -> None:
    """Change the algorithm so that it names a start of the reference's class."""
    path = importable / "my_algorithm.py"
    path.write_text(path.read_text().replace("prox(", "prox(start=prox.reference, "))


def run(node, words, folder):
    config = configured(*words, "beta=1", "budget.queries=null", "budget.target=null", "budget.iterations=3",
                        "progress=false", f"runs_dir={folder}")  # fmt: skip
    return run_one(config | {"algorithm": node, "names": {"game": "a", "algorithm": "mine"}})


@pytest.mark.parametrize("engine", LISTED)
def test_the_example_runs_with_every_engine(node, tmp_path, engine):
    outcome = run(node, LISTED[engine], tmp_path)
    rows = read_rows(outcome.folder / "metrics.csv")
    assert [row["iteration"] for row in rows] == ["0", "1", "2", "3"]
    assert len({row["exploitability"] for row in rows}) > 1
    if engine == "network":
        assert (outcome.folder / "policy.safetensors").exists()
        assert all(row["test_exploitability"] for row in rows)


def test_the_example_trains_a_language_model(node, text_config, tmp_path):
    outcome = run_one(text_config("budget.iterations=2") | {"algorithm": node})
    rows = read_rows(outcome.folder / "metrics.csv")
    assert float(rows[0]["test_kl_to_reference"]) == 0 != float(rows[-1]["test_kl_to_reference"])


def test_a_start_of_another_class_is_refused(node, importable, text_config, tmp_path):
    starting_at_the_reference(importable)
    sentence = r"^the algorithm calls prox with a start that this run cannot train .*: give start=state\.policy, or"
    with pytest.raises(ConfigError, match=sentence):
        run(node, LISTED["network"], tmp_path)
    with pytest.raises(ConfigError, match=sentence):
        run_one(text_config("budget.iterations=2") | {"algorithm": node})
    assert run(node, LISTED["table"], tmp_path).summary["status"] == "completed"


def written(importable, page, name, group):
    """Write a module that a page shows; the content of its yaml."""
    (importable / f"{name}.py").write_text(block(page, "python", f"# {name}.py"))
    (shown,) = [text for text in blocks(page, "yaml") if f"_target_: {name}." in text]
    assert shown.startswith(f"# my_conf/{group}/")
    return yaml.safe_load(shown)


def test_the_mirror_prox_of_the_guide_is_nash_mp(importable, tmp_path):
    mine = written(importable, "docs/guides/algorithm.md", "my_mirror_prox", "algorithm")
    theirs = configured("algorithm=nash_mp")["algorithm"]
    rows = [read_rows(run(node, LISTED["exact"], tmp_path / name).folder / "metrics.csv")
            for name, node in (("mine", mine), ("theirs", theirs))]  # fmt: skip
    assert [row["exploitability"] for row in rows[0]] == [row["exploitability"] for row in rows[1]]


def test_the_game_of_the_guide_is_a_cycle(importable):
    game = build(written(importable, "docs/guides/game.md", "my_game", "game"), "game").build([0])
    uniform = torch.full((1, 1, 7), 1 / 7, dtype=torch.float64)
    assert game.payoff(uniform).abs().max() < 1e-15


def test_the_judge_of_the_guide_is_antisymmetric(importable):
    judge = build(written(importable, "docs/guides/outside.md", "my_judge", "judge"), "judge")
    there, back = judge.preference([("prompt", "short", "a long answer"), ("prompt", "a long answer", "short")])
    assert there > 0.5
    assert there + back == pytest.approx(1)


def test_the_experiment_of_the_guide_composes():
    text = block("docs/guides/outside.md", "yaml", "# @package _global_")
    values = yaml.safe_load(text)["hydra"]["sweeper"]["params"]
    for algorithm in values["algorithm"].split(","):
        for step in values["algorithm.step_size"].split(","):
            assert configured("game=random_tournament", f"algorithm={algorithm}", f"algorithm.step_size={step}")
