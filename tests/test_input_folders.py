"""Folders of models and datasets: their content is in the fingerprint, and what is loaded is what was digested."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

pytest.importorskip("transformers")
pytest.importorskip("peft")

from nlhf.config import ConfigError
from nlhf.io import checksums
from nlhf.language import loading
from nlhf.launch.compose import composed, plain
from nlhf.models import content
from nlhf.models.content import InputDataset, InputModel, in_memory
from nlhf.runner.run_one import run_one
from nlhf.runner.specification import specify

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def folder(tiny_model, tmp_path):
    """A copy of the tiny model."""
    return shutil.copytree(tiny_model, tmp_path / "model")


def reward_model(folder: Path, bias: float) -> Path:
    """A tiny reward model, saved with the tokenizer that is there."""
    import torch
    import transformers

    torch.manual_seed(0)
    config = transformers.LlamaConfig(vocab_size=22, hidden_size=8, intermediate_size=8, num_hidden_layers=1,
                                      num_attention_heads=1, num_labels=1, pad_token_id=0)  # fmt: skip
    model = transformers.LlamaForSequenceClassification(config)
    with torch.no_grad():
        model.score.weight += bias
    model.save_pretrained(folder)
    return folder


def judged_by(judge: Path):
    """The specification of a run with a reward model."""
    words = ["game=text", "policy=causal_lm", "prox=gradient", "judge@game.judge=reward_model"]
    with composed([*words, f"game.judge.model={judge}"]) as config:
        return specify(plain(config))


def change_weights(folder: Path) -> None:
    """Negate the weights in place, without touching the size."""
    from safetensors.torch import load, save

    path = folder / "model.safetensors"
    weights = {name: -value for name, value in load(path.read_bytes()).items()}
    with path.open("r+b") as stream:
        stream.write(save(weights, {"format": "pt"}))


def test_other_weights_in_the_folder_are_another_run(folder, text_config):
    words = [f"policy.model={folder}", "budget.iterations=1"]
    first = run_one(text_config(*words))
    assert first.summary["inputs"]["policy.model"] == content.model_digest(str(folder))
    assert run_one(text_config(*words)).skipped
    change_weights(folder)
    second = run_one(text_config(*words))
    assert not second.skipped
    assert second.folder != first.folder
    texts = [(outcome.folder / "completions.jsonl").read_text() for outcome in (first, second)]
    assert texts[0] != texts[1]


def test_a_folder_is_the_same_run_however_it_is_named(folder, text_config, monkeypatch, tmp_path):
    (tmp_path / "link").symlink_to(folder)
    shutil.copytree(folder, tmp_path / "copy")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    names = [str(folder), "model", "./model/", "~/model", "link", "copy"]
    assert len({specify(text_config(f'policy.model="{name}"')).fingerprint for name in names}) == 1
    outcome = run_one(text_config('policy.model="~/model"', "budget.iterations=1"))
    assert outcome.status == "completed"


def test_bundled_and_names_on_the_hub_stand_for_themselves():
    for name in ("bundled", "somebody/some-model"):
        with composed(["game=text", "policy=causal_lm", "prox=gradient", f"policy.model={name}"]) as config:
            run = specify(plain(config))
        assert run.policy.model.identity == name
        assert run.inputs == {}


def test_a_reward_models_content_is_in_the_fingerprint(folder, tmp_path):
    judge = shutil.copytree(folder, tmp_path / "judge")
    reward_model(judge, 0.0)
    first = judged_by(judge)
    assert first.inputs["game.judge.model"] == content.model_digest(str(judge))
    reward_model(judge, 1.0)
    assert judged_by(judge).fingerprint != first.fingerprint


def test_a_judge_that_changes_after_its_digest_was_taken_is_refused(folder, tmp_path):
    judge = shutil.copytree(folder, tmp_path / "judge")
    reward_model(judge, 0.0)
    run = judged_by(judge)
    reward_model(judge, 1.0)
    with pytest.raises(ConfigError, match=rf"^game.judge.model={judge} changed while it was being loaded: repeat"):
        run.game.judge.preference([("why", "the sea", "tea")])


@pytest.mark.parametrize("moment", ["before", "during"])
def test_a_model_that_changes_while_it_is_loaded_is_refused(folder, text_config, monkeypatch, moment):
    from transformers import AutoTokenizer

    run = specify(text_config(f"policy.model={folder}"))
    loading.load.cache_clear()
    if moment == "before":
        change_weights(folder)
    else:
        load = AutoTokenizer.from_pretrained

        def changing(*words, **options):
            change_weights(folder)
            return load(*words, **options)

        monkeypatch.setattr(AutoTokenizer, "from_pretrained", changing)
    with pytest.raises(ConfigError, match=rf"^policy.model={folder} changed while it was being loaded: repeat the"):
        loading.load(run.policy, 0, "cpu")


def test_a_loaded_model_does_not_see_later_changes_of_its_files(folder, text_config):
    run = specify(text_config(f"policy.model={folder}"))
    model = loading.load(run.policy, 0, "cpu")
    before = {name: value.clone() for name, value in model.base.state_dict().items()}
    change_weights(folder)
    assert all(value.equal(before[name]) for name, value in model.base.state_dict().items())
    again = loading.load(specify(text_config(f"policy.model={folder}")).policy, 0, "cpu")
    assert again is not model  # the cache of loaded models goes by content
    assert not again.base.state_dict()["lm_head.weight"].equal(before["lm_head.weight"])


def test_tied_weights_stay_tied_in_memory():
    import torch

    first, second = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    second.weight = first.weight
    module = in_memory(torch.nn.Sequential(first, second))
    assert module[0].weight is module[1].weight


def test_an_adapter_counts_with_its_base_and_one_that_names_itself_ends(folder, tmp_path):
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(folder)}))
    before = content.model_digest(str(adapter))
    change_weights(folder)
    assert content.model_digest(str(adapter)) != before
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(adapter)}))
    assert len(content.model_digest(str(adapter))) == 64


def test_code_in_a_models_folder_counts(folder):
    before = content.model_digest(str(folder))
    (folder / "modeling_own.py").write_text("scale = 1\n")
    assert content.model_digest(str(folder)) != before


def test_every_file_of_a_dataset_counts(tmp_path):
    (tmp_path / "data").mkdir()
    file = tmp_path / "data" / "train.jsonl"
    file.write_text('{"prompt": "why"}\n')
    before = InputDataset(str(tmp_path), "game.dataset")
    digest = before.digest
    file.write_text('{"prompt": "how"}\n')
    assert InputDataset(str(tmp_path)).digest != digest
    with pytest.raises(ConfigError, match=r"^game.dataset=.* changed while it was being loaded"), before.unchanged():
        pass
    assert InputDataset("somebody/prompts").identity == "somebody/prompts"


def test_a_settled_file_is_digested_once(folder, monkeypatch):
    monkeypatch.setattr(checksums, "SETTLED", -(10**18))  # as if it were old
    first = InputModel(str(folder)).digest

    def refuse(*_):
        raise AssertionError

    monkeypatch.setattr(checksums.hashlib, "file_digest", refuse)
    assert InputModel(str(folder)).digest == first
    path = folder / "model.safetensors"
    status = path.stat()
    monkeypatch.undo()
    change_weights(folder)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # the time of its change still differs
    assert InputModel(str(folder)).digest != first
