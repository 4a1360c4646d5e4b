"""The README's example of an own algorithm runs as written, with every engine and policy."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from nlhf.config import ConfigError
from nlhf.records import read_rows
from nlhf.runner.run_one import run_one
from tests.composing import configured

README = (Path(__file__).parents[1] / "README.md").read_text()
LISTED = {
    "exact": ["game=rock_paper_scissors", "reference=random", "prox=exact"],
    "sampled": ["game=rock_paper_scissors", "prox=sampled"],
    "table": ["game=rock_paper_scissors", "prox=gradient"],
    "network": ["game=contextual", "game.contexts=4", "game.test_contexts=3", "policy=mlp", "policy.hidden=[8]",
                "prox=gradient"],
}  # fmt: skip


def block(language: str, start: str) -> str:
    """The text of the README's code block that begins with a line."""
    found = re.search(rf"```{language}\n({re.escape(start)}.*?)```", README, re.DOTALL)
    assert found is not None
    return found[1]


@pytest.fixture
def node(importable):
    """The README's algorithm, in a module of its own, and its yaml."""
    (importable / "my_algorithm.py").write_text(block("python", "# nlhf/algorithms/my_algorithm.py"))
    entries = yaml.safe_load(block("yaml", "# conf/algorithm/my_algorithm.yaml"))
    return entries | {"_target_": "my_algorithm.MyAlgorithm"}


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
