"""`nlhf from-trl`: the settings of TRL's trainers as a command that composes and runs."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from nlhf.cli import from_trl
from nlhf.config import ConfigError
from nlhf.launch.compose import composed, plain
from nlhf.launch.trl import Translator
from nlhf.launch.trl_keys import KEYS
from nlhf.launch.trl_settings import read_settings, trainer_of
from tests.launch.commands import command

DEFAULTS = json.loads((Path(__file__).parent / "data" / "trl_losses.json").read_text())["defaults"]
SCRIPT = shlex.split(
    "examples/scripts/nash_md.py --model_name_or_path trl-lib/pythia-1b-deduped-tldr-sft "
    "--reward_model_path trl-lib/pythia-1b-deduped-tldr-rm --dataset_name trl-lib/tldr --learning_rate 5.0e-7 "
    "--output_dir pythia-1b-tldr-nash-md --per_device_train_batch_size 4 --gradient_accumulation_steps 32 "
    "--num_train_epochs 3 --max_new_tokens 64 --warmup_steps 0.1 --missing_eos_penalty 1.0 --push_to_hub"
)


def printed(capsys, *words):
    """The overrides of the printed command, and the comments below it."""
    assert from_trl.main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    comments = [line for line in lines if line.startswith("#")]
    text = "\n".join(line for line in lines if not line.startswith("#"))
    name, run, *overrides = shlex.split(text.replace("\\\n", ""))
    assert (name, run) == ("nlhf", "run")
    return overrides, comments


def translated(words):
    """The translation of a script's words."""
    operands, given = read_settings(words)
    return Translator(trainer_of(operands, given)[0], given).translate()


def composed_config(overrides):
    """The config that the overrides compose."""
    with composed(overrides) as config:
        return plain(config)


def test_the_table_has_the_keys_and_the_defaults_of_trl():
    defaults = {name: value for config in DEFAULTS.values() for name, value in config.items()}
    of_judges = {"judge", "use_transformers_paged"}  # of TRL 1.0.0
    assert {name: key.default for name, key in KEYS.items() if name not in of_judges} == defaults
    assert all(key.target or key.note for key in KEYS.values())


def test_a_script_of_trl_becomes_a_command_that_composes(capsys):
    overrides, comments = printed(capsys, *SCRIPT)
    config = composed_config(overrides)
    assert (config["beta"], config["algorithm"]["mixture"]) == (0.1, 0.5)
    assert config["algorithm"]["_target_"].endswith("MixturePlay")
    assert config["game"]["judge"]["model"] == "trl-lib/pythia-1b-deduped-tldr-rm"
    assert (config["game"]["dataset"], config["game"]["split"]) == ("trl-lib/tldr", "train")
    assert (config["policy"]["temperature"], config["policy"]["lora"]) == (0.9, False)
    expected = {"contexts": 128, "samples": 1, "learning_rate": 5e-7, "clip": 1.0, "baseline": "half"}
    assert expected.items() <= config["prox"].items()
    assert (config["seeds"], config["study"]) == ([42], "pythia-1b-tldr-nash-md")
    for setting in ("warmup_steps=0.1", "missing_eos_penalty=1.0", "push_to_hub=True", "num_train_epochs=3"):
        assert any(line.startswith(f"# {setting} has no counterpart: ") for line in comments)
    assert any(line.startswith("# temperature differs: ") for line in comments)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["xpo"], {"algorithm": "xpo", "beta": 0.025, "prox.beta_dpo": 4.0, "prox.alpha": 1e-5, "prox.clip": 5.0}),
        (["online_dpo", "--beta", "0.2"], {"algorithm": "online_dpo", "beta": 0.05, "prox.clip": 2.5}),
        (["--loss_type", "ipo"], {"algorithm": "online_ipo", "beta": 0.1, "prox.clip": 0.025}),
        (["online-dpo", "--loss_type=ipo", "--optim=sgd"], {"prox.learning_rate": 2e-5, "prox.optimiser": "sgd"}),
        (["--mixture_coef", "0.2"], {"algorithm": "nash_md_pg", "algorithm.mixture": 0.2, "prox.samples": 1}),
        (["--alpha", "1e-3", "1e-4"], {"algorithm": "xpo", "prox.alpha": 1e-4, "prox.samples": 2}),
        (["--use_peft", "--lora-r", "8"], {"policy.lora": True, "policy.lora_rank": 8, "policy.lora_targets": []}),
        (["--use_peft", "--lora_target_modules", "q", "v"], {"policy.lora_targets": ["q", "v"]}),
        (["--no_bf16", "--max_grad_norm", "0"], {"policy.dtype": "float32", "prox.clip": None}),
        (["--judge", "openai"], {"judge@game.judge": "openai", "game.judge.model": "gpt-4-turbo-preview"}),
        (["--judge=hf"], {"game.judge.base_url": "https://router.huggingface.co/v1"}),
        (["--weight_decay", "0.1", "--warmup_steps", "5"], {"prox.weight_decay": 0.1, "prox.warmup_steps": 5}),
        (["--max_steps", "50", "--warmup_steps", "0.1"], {"prox.warmup_steps": 5}),
        (["--max_steps", "7"], {"budget.iterations": 7, "budget.queries": None, "budget.target": None}),
    ],
)
def test_settings_are_translated(words, expected):
    overrides = translated(words).overrides
    for key, value in expected.items():
        assert overrides[key] == (pytest.approx(value) if isinstance(value, float) else value), key


def test_a_constant_learning_rate_means_the_same(capsys):
    words = ["--warmup_steps", "5", "--lr_scheduler_type"]
    assert "prox.warmup_steps" not in translated([*words, "constant"]).overrides
    assert translated([*words, "constant_with_warmup"]).overrides["prox.warmup_steps"] == 5
    for schedule, differs in (("constant", False), ("constant_with_warmup", False), ("cosine", True)):
        _, comments = printed(capsys, *words, schedule)
        assert any(line.startswith("# lr_scheduler_type differs") for line in comments) == differs


def test_epochs_become_iterations_where_the_number_of_prompts_is_given():
    overrides = Translator("nash_md", {"gradient_accumulation_steps": 2}, prompts=100).translate().overrides
    assert overrides["budget.iterations"] == 19  # 3 * 100 / (8 * 2)


def test_the_prompts_of_a_local_file_are_counted(capsys, tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text('{"prompt": "why", "chosen": "a", "rejected": "b"}\n' * 20)
    overrides, comments = printed(capsys, "nash_md", "--dataset_name", str(path), "--num_train_epochs", "2")
    assert {"budget.iterations=5", "budget.queries=null", f"game.path={path}"} <= set(overrides)  # 2 * 20 / 8
    assert not any("the number of prompts is unknown" in line for line in comments)


def test_words_override_the_file_and_every_setting_without_a_counterpart_is_named(tmp_path, capsys):
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"beta": 0.3, "betta": 1, "env": {"A": "b"}, "fsdp": "full_shard", "seed": 3}))
    overrides, comments = printed(capsys, "nash_md", "--config", str(file), "--seed", "5")
    assert composed_config(overrides)["beta"] == 0.3
    assert "seeds=[5]" in overrides
    assert "# betta=1 has no counterpart: no key of these configs: did you mean beta" in comments
    assert any(line.startswith("# fsdp=full_shard has no counterpart: ") for line in comments)


def test_all_defaults_of_trl_are_no_settings_without_a_counterpart(capsys, tmp_path):
    file = tmp_path / "args.json"
    file.write_text(json.dumps(DEFAULTS["XPOConfig"] | {"max_steps": 1, "bf16": True}))
    _, comments = printed(capsys, str(file))
    missing = [line.partition(" has no counterpart")[0] for line in comments if "has no counterpart" in line]
    assert missing == ["# model_name_or_path", "# reward_model_path", "# dataset_name"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nash_md", "--judge", "pair_rm"], "judge=pair_rm loads code of llm-blender"),
        (["xpo", "--loss_type", "ipo"], "loss_type=ipo has no counterpart for XPO"),
        (["training_args.bin"], "training_args.bin is a Python pickle"),
        (["grpo"], "grpo is neither a config file nor a trainer"),
        (["--alpha", "1", "--mixture_coef", "0.5"], "are of two trainers"),
        (["missing.yaml"], "missing.yaml cannot be read"),
        (["--beta", "0"], "beta=0 cannot be translated"),
        (["--beta", "much"], r"--beta \['much'\] has the wrong type: TRL's default is \[0.1\]"),
        (["--seed", "5", "nash_md"], r"--seed \[5, 'nash_md'\] has the wrong type"),
    ],
)
def test_what_cannot_be_translated_is_refused_in_a_sentence(words, message):
    with pytest.raises(ConfigError, match=message):
        translated(words)


@pytest.mark.parametrize("words", [["nash_md"], ["xpo"], ["online_dpo", "--loss_type", "ipo", "--use_peft"]])
def test_the_command_runs(capsys, words, tiny_model, tmp_path):
    short = ["--max_steps", "1", "--max_new_tokens", "3", "--per_device_train_batch_size", "2"]
    overrides, _ = printed(capsys, *words, *short, "--model_name_or_path", str(tiny_model), "--output_dir", "tiny")
    done = command(*overrides, f"runs_dir={tmp_path}", "game.test_prompts=4", "progress=false")
    assert done.code == 0, done.err
    assert [*tmp_path.glob("tiny/*/metrics.csv")]
