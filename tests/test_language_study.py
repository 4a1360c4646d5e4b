"""The study of benchmarks/language_study.py: its prompts, its rule, and what it skips."""

from __future__ import annotations

import json
import os

import pytest

from benchmarks.language_study import METHODS, PRESETS, SEEDS, TRAINING, Study, chosen_rate
from nlhf.launch.choices import CONF
from nlhf.models.prompts import bundled_prompts
from tests.composing import configured


def texts(path):
    return [json.loads(line)["prompt"] for line in path.read_text().splitlines()]


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A study whose commands write what runs and exploiters write, and are listed in `commands`."""
    commands = []

    def finish(study, *words):
        commands.append(words)
        if words[0] == "exploit":
            path = f"{words[1]}/exploiter.json"
            with open(path, "w") as stream:
                json.dump({"steps": int(words[3]), "lower_bound": 0.1}, stream)
            return
        values = dict(word.partition("=")[::2] for word in words[2:])
        prompts = int(values["game.test_prompts"])
        for rate in values["prox.learning_rate"].split(","):
            for seed in values["seeds"].split(","):
                folder = tmp_path / values["study"] / f"{values['algorithm']}-{rate}-{seed}"
                (folder / ".hydra").mkdir(parents=True, exist_ok=True)
                config = {"names": {"algorithm": values["algorithm"]}, "prox": {"learning_rate": float(rate)},
                          "seeds": json.loads(seed), "game": {"test_prompts": prompts}}  # fmt: skip
                (folder / ".hydra" / "config.yaml").write_text(json.dumps(config))
                final = {"test_win_rate_vs_reference": 1 - abs(float(rate) - 0.0003)}
                if not (folder / "summary.json").exists():
                    (folder / "summary.json").write_text(json.dumps({"status": "completed", "final": final}))

    monkeypatch.setattr(Study, "nlhf", finish)
    made = Study(tmp_path, 0.5, 8, 16, 3, 1, ("policy.max_new_tokens=4",))
    return made, commands


def test_prompts_for_training_validation_and_test_are_disjoint(study):
    parts = {part: texts(study[0].prompts(part)) for part in ("training", "validation", "test")}
    assert (len(parts["validation"]), len(parts["test"])) == (8, 16)
    assert parts["training"] + parts["validation"] + parts["test"] == bundled_prompts()
    assert len(set(bundled_prompts())) == len(bundled_prompts())


def test_the_largest_win_rate_at_validation_prompts_is_chosen():
    assert chosen_rate([(0.001, 0.6), (0.0001, 0.7), (0.0003, 0.7)]) == 0.0001
    with pytest.raises(SystemExit, match="no tuning run is complete"):
        chosen_rate([])


def test_a_method_is_tuned_and_trained_and_its_policies_are_exploited_once(study):
    made, commands = study
    runs = made.of_method("cyclic", "online_ipo")
    tuning, training, *exploits = commands
    assert "budget.seconds=150" in tuning
    assert "budget.seconds=300" in training
    assert "prox.learning_rate=0.0003" in training
    assert any(word.endswith("validation-8-16.jsonl") for word in tuning)
    assert any(word.endswith("test-8-16.jsonl") for word in training)
    assert not any("test-8-16.jsonl" in word for word in tuning)
    assert [run.config["seeds"] for run in runs] == [[seed] for seed in SEEDS]
    assert len(exploits) == len(SEEDS)
    commands.clear()
    made.of_method("cyclic", "online_ipo")
    assert [words[0] for words in commands] == ["run", "run"]  # `nlhf run` skips complete runs itself
    summary = runs[0].folder / "summary.json"
    later = (runs[0].folder / "exploiter.json").stat().st_mtime + 10
    os.utime(summary, (later, later))  # as where the run went on
    commands.clear()
    made.of_method("cyclic", "online_ipo")
    assert [words[0] for words in commands] == ["run", "run", "exploit"]


@pytest.mark.parametrize("preset", PRESETS.values())
def test_the_presets_train_as_long_as_the_script(preset):
    config = configured(f"experiment={preset}")
    assert config["budget"]["seconds"] == TRAINING
    assert (CONF / "experiment" / f"{preset}.yaml").read_text().count(",".join(METHODS)) == 1
