"""Commands that cannot work: one sentence on the standard error with the remedy, an exit code, never a traceback."""

from __future__ import annotations

import json
import os
import shutil

import pytest

import nlhf
from nlhf.cli.arena import main as arena
from nlhf.cli.compare import main as compare
from nlhf.cli.diff import main as diff
from nlhf.cli.exploit import main as exploit
from nlhf.cli.judge import main as judge
from nlhf.cli.status import main as status
from nlhf.cli.votes import main as votes
from nlhf.config import ConfigError
from tests.launch.commands import command

pytestmark = pytest.mark.usefixtures("one_thread")
LONG = "x" * 300
COMMANDS = {"arena": arena, "compare": compare, "diff": diff, "exploit": exploit, "judge": judge, "status": status,
            "votes": votes}  # fmt: skip

# overrides, exit code, words of the sentence; RUNS and FILE stand for a folder and a file
SINGLE = [
    ([f"study={LONG}"], 2, "study=xxxxxxxxxxxxxxxxxxxx... has a name of 300 bytes: give at most 255."),
    ([f"study=a/{LONG}/b"], 2, "has a name of 300 bytes"),
    ([f"study={'x/' * 2000}x"], 2, "bytes: give at most 3900."),
    ([f"runs_dir={LONG}"], 2, "runs_dir=xxxxxxxxxxxxxxxxxxxx... has a name of 300 bytes"),
    ([f"names.game={LONG}"], 2, "has a name of 321 bytes"),
    ([f"names.algorithm='{'é' * 150}'"], 2, "bytes: give at most 255."),
    (['study="a\nb"'], 2, "study=a?b holds the control character U+000A, shown as ?: leave it out."),
    (['runs_dir="a\x1b[2Jb"'], 2, "runs_dir=a?[2Jb holds the control character U+001B"),
    (["runs_dir=FILE"], 1, "cannot be written (Not a directory): make room or choose another place"),
    (["runs_dir=FILE/x"], 1, "cannot be written (Not a directory)"),
    (["runs_dir=RUNS/loop"], 1, "cannot be written (Too many levels of symbolic links)"),
    (["runs_dir=/proc/x"], 1, "cannot be written (No such file or directory)"),
    (["game=votes", "game.path=RUNS"], 2, "is not a file"),
    (["game=votes", "game.path=RUNS/loop"], 2, "is not a file"),
    (["game=matrix", "game.path=/dev/null"], 2, "is not a file"),
    (["game=null"], 2, "game=null names no choice of game: choose one of annotators"),
    (["budget=null"], 2, "budget=null names no choice of budget: choose one of default"),
    (["=1"], 2, "=1 is not an override: write KEY=VALUE"),
    (["hydra.run.dir=/proc/x"], 2, "No such file or directory: '/proc/x'): correct its overrides."),
    (["-m", "hydra.sweep.dir=/proc/x", "beta=0.1,0.2"], 2, "No such file or directory: '/proc/x'"),
    (["-m", "beta=interval(0,1)"], 2, "beta=interval(0,1) gives no values to run one by one: list them as beta=A,B"),
    (["-m", "beta=tag(t, interval(0,1))"], 2, "or let a search choose them with hydra/sweeper=optuna."),
    (["-m", "beta=interval(0,1)", "hydra/launcher=pool"], 2, "gives no values to run one by one"),
    (["-m", "beta=interval(0,1)", "hydra/sweeper=basic"], 2, "BasicSweeper does not support sweep type"),
    (["-m", "beta=glob(*)"], 2, "beta=glob(*) matches nothing, so there is no run"),
    (["-m", "hydra/launcher=pool", "hydra.launcher.workers=x", "beta=0.1,0.2"], 2, "hydra.launcher.workers=x"),
    (["-m", f"study=RUNS,{LONG}"], 1, "give a relative name"),
    (["dry_run=true", f"study={LONG}"], 2, "has a name of 300 bytes"),
]
OTHERS = [
    ("status", ["status", "/nowhere"], "is not a folder"),
    ("status", ["status", "FILE"], "is not a folder"),
    ("status", ["status", LONG], "cannot be used (File name too long): give another path."),
    ("status", ["logs", "RUNS"], "has no run.log"),
    ("status", ["cancel", "/nowhere"], "is not a folder"),
    ("compare", ["/nowhere"], "/nowhere"),
    ("compare", ["FILE"], "FILE"),
    ("compare", [LONG], "xxx"),
    ("diff", ["RUNS", "RUNS"], "RUNS"),
    ("votes", ["show", "FILE"], "FILE"),
    ("votes", ["show", LONG], "cannot be read (File name too long)"),
    ("compare", [], "required"),
    ("arena", ["/nowhere"], "/nowhere"),
    ("arena", ["RUNS", "nope=1"], "nope"),
    ("arena", ["RUNS", f"out={LONG}"], "RUNS"),
    ("judge", ["train"], ""),
    ("judge", ["nope"], ""),
    ("judge", ["train", f"out={LONG}"], ""),
    ("exploit", ["/nowhere"], "has no readable .hydra/config.yaml"),
    ("exploit", [LONG], "has no readable .hydra/config.yaml"),
    ("exploit", ["RUNS", "--steps", "0"], "--steps=0"),
]


@pytest.fixture
def filled(tmp_path):
    """Replaces RUNS and FILE in arguments."""
    runs = tmp_path / "runs"
    runs.mkdir()
    (runs / "loop").symlink_to(runs / "loop")
    (tmp_path / "file").write_text("kept")
    yield lambda words: [word.replace("RUNS", str(runs)).replace("FILE", str(tmp_path / "file")) for word in words]
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.parametrize("case", SINGLE, ids=lambda case: " ".join(case[0])[:60])
def test_a_wrong_command_ends_in_one_sentence(tmp_path, filled, case):
    overrides, code, words = case
    runs = [] if any("runs_dir=" in word for word in overrides) else [f"runs_dir={tmp_path / 'runs'}"]
    multirun = [word for word in overrides if word == "-m"]
    done = command(*multirun, *runs, "budget.iterations=2", *filled([word for word in overrides if word != "-m"]))
    errors = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert "Traceback" not in done.err + done.out
    assert done.code == code
    assert any(words in line and line.endswith(".") for line in errors)
    assert len(errors) == 1 or multirun


@pytest.mark.parametrize("case", OTHERS, ids=lambda case: " ".join([case[0], *case[1]])[:60])
def test_a_wrong_command_of_the_package_ends_in_one_sentence(capsys, filled, case):
    name, arguments, words = case
    try:
        code = COMMANDS[name](filled(arguments))
    except SystemExit as end:  # argparse
        code = end.code
    output, errors = capsys.readouterr()
    assert code == 2
    assert "Traceback" not in output + errors
    assert filled([words])[0] in errors
    assert (
        len([line for line in errors.splitlines() if not line.startswith("usage:") and not line.startswith(" ")]) == 1
    )


@pytest.mark.parametrize("study", ["a\0b", "a\udc80b", "\x7f"], ids=ascii)
def test_names_that_no_command_line_can_hold_are_refused_from_python(tmp_path, study):
    with pytest.raises(ConfigError, match=r"^study.* (has|holds the control character) U\+.*: (leave|remove) it.*\.$"):
        nlhf.run([f"runs_dir={tmp_path}", f'study="{study}"', "budget.iterations=1"])
    assert not list(tmp_path.iterdir())


def test_a_run_that_fails_before_it_has_files_prints_its_sentence_alone(tmp_path):
    arguments = ("game=random_tournament", "game.actions=1000000", "equilibrium=never", f"runs_dir={tmp_path}")
    for _ in range(2):
        done = command(*arguments, "budget.iterations=2")
        assert done.code == 1
        assert "Traceback" not in done.out + done.err
        assert done.out.startswith("failed: out of memory: give fewer seeds at once, or a smaller game")


@pytest.mark.parametrize("lost", ["game.npz", "policy.npz"])
@pytest.mark.parametrize("content", [None, b"", b"garbage"])
def test_a_result_is_shown_without_a_file_that_is_lost_meanwhile(tmp_path, capsys, lost, content):
    from nlhf.runner.console import show_run

    run = nlhf.run(["budget.iterations=2", "progress=false", f"runs_dir={tmp_path}"])
    (run.folder / lost).unlink()
    if content is not None:
        (run.folder / lost).write_bytes(content)
    show_run(run.folder, run.summary, skipped=False)
    assert f"run   {run.folder}" in capsys.readouterr().out.replace("\n", "")


# --- models ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def adapter(tiny_model, tmp_path_factory):
    """An adapter of the tiny model, as peft saves it."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from nlhf.models.bundled import hushed

    folder = tmp_path_factory.mktemp("adapter")
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    with hushed():
        wrapped = get_peft_model(model, LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM"))
    wrapped.save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(folder)
    changed(folder / "adapter_config.json", base_model_name_or_path=str(tiny_model))
    return folder


def changed(path, **entries):
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


def without_a_weight(path):
    from safetensors.torch import load_file, save_file

    weights = load_file(path)
    del weights[min(weights)]
    save_file(weights, path, metadata={"format": "pt"})


ADAPTER, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
BROKEN = {
    "no JSON": lambda folder: (folder / ADAPTER).write_text("{garbage"),
    "no text": lambda folder: (folder / ADAPTER).write_bytes(b"\xff\xfe\x00"),
    "empty": lambda folder: (folder / ADAPTER).write_text("{}"),
    "a list": lambda folder: (folder / ADAPTER).write_text("[]"),
    "an unknown type": lambda folder: changed(folder / ADAPTER, peft_type="NOPE"),
    "a rank of text": lambda folder: changed(folder / ADAPTER, r="x"),
    "another rank": lambda folder: changed(folder / ADAPTER, r=9),
    "no such base": lambda folder: changed(folder / ADAPTER, base_model_name_or_path="/nowhere"),
    "no such layer": lambda folder: changed(folder / ADAPTER, target_modules=["nope"]),
    "no weights": lambda folder: (folder / WEIGHTS).unlink(),
    "weights of garbage": lambda folder: (folder / WEIGHTS).write_bytes(b"garbage"),
    "cut weights": lambda folder: os.truncate(folder / WEIGHTS, 500),
    "a weight less": lambda folder: without_a_weight(folder / WEIGHTS),
    "a tokenizer of nothing": lambda folder: (folder / "tokenizer.json").write_text("{}"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_adapter_is_refused_in_a_sentence(adapter, tmp_path, text_config, case):
    from nlhf.runner.run_one import run_one

    folder = tmp_path / "broken"
    shutil.copytree(adapter, folder)
    BROKEN[case](folder)
    with pytest.raises(
        ConfigError, match=r"^policy\.model=.*broken cannot be loaded \(.*\): give a folder that"
    ) as told:
        run_one(text_config(f"policy.model={folder}"))
    assert "\n" not in str(told.value)


def test_a_model_that_lacks_a_weight_is_refused_instead_of_drawing_it_at_random(tiny_model, tmp_path, text_config):
    from nlhf.runner.run_one import run_one

    shutil.copytree(tiny_model, tmp_path / "broken")
    without_a_weight(tmp_path / "broken" / "model.safetensors")
    with pytest.raises(ConfigError, match=r"its files lack 1 weights of LlamaForCausalLM, such as lm_head\.weight"):
        run_one(text_config(f"policy.model={tmp_path / 'broken'}"))


def test_a_language_model_without_a_score_is_no_reward_model(tiny_model, tmp_path):
    from nlhf.launch.compose import composed, plain
    from nlhf.runner.run_one import run_one

    changed_model = tmp_path / "model"
    shutil.copytree(tiny_model, changed_model)
    changed(changed_model / "config.json", num_labels=1, id2label={"0": "score"}, label2id={"score": 0})
    overrides = ["game=text", "policy=causal_lm", f"policy.model={tiny_model}", "prox=gradient", "algorithm=nash_prox",
                 "judge@game.judge=reward_model", f"game.judge.model={changed_model}", f"runs_dir={tmp_path}",
                 "budget.iterations=1", "policy.max_new_tokens=4"]  # fmt: skip
    with composed(overrides) as config, pytest.raises(ConfigError, match="lack 1 weights of LlamaForSequenceClass"):
        run_one(plain(config))
