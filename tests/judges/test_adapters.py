"""Reward models that peft has saved: an adapter with its head, or merged, gives the rewards that peft itself gives."""
# ruff: noqa: E402 (the extra may be missing)

from __future__ import annotations

import json

import numpy as np
import pytest

transformers = pytest.importorskip("transformers")
peft = pytest.importorskip("peft")
import torch

from nlhf.config import ConfigError
from nlhf.models.content import InputModel
from tests.judges.test_judged_text import TEMPLATE, reward_model, tokenizer_of

pytestmark = pytest.mark.usefixtures("one_thread")
PAIRS = [("why tea", "the sea", "a moon is good"), ("write about bread", "kind", "old bird")]


def trained(folder, task="SEQ_CLS", labels=1, **options):
    """A base model without a head, and on it a LoRA adapter with a head, all of its weights random; (base, adapter)."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(vocab_size=30, hidden_size=16, intermediate_size=32, num_hidden_layers=1,
                                      num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=64,
                                      pad_token_id=0, num_labels=labels, initializer_range=0.5)  # fmt: skip
    base, adapter = folder / "base", folder / "adapter"
    transformers.LlamaForCausalLM(config).save_pretrained(base)
    tokenizer = tokenizer_of(chat_template=TEMPLATE)
    tokenizer.save_pretrained(base)
    headed = transformers.AutoModelForSequenceClassification.from_pretrained(base, num_labels=labels)
    lora = peft.LoraConfig(task_type=task, r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False, **options)
    model = peft.get_peft_model(headed, lora).eval()
    model.save_pretrained(adapter)
    tokenizer.save_pretrained(adapter)
    return model, adapter


def of_folder(folder):
    return reward_model(InputModel(str(folder), "game.judge.model"))


def logits(judge):
    chances = judge.preference(PAIRS)
    return np.log(chances / (1 - chances))


def difference(model, tokenizer, pair):
    """The difference of the rewards of two answers, read one at a time."""
    prompt, *texts = pair
    scores = []
    for text in texts:
        chat = [{"role": "user", "content": prompt}, {"role": "assistant", "content": text}]
        ids = tokenizer(tokenizer.apply_chat_template(chat, tokenize=False), add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            scores.append(float(model(input_ids=torch.tensor([ids])).logits))
    return scores[0] - scores[1]


@pytest.mark.filterwarnings("ignore")
def test_an_adapter_gives_the_rewards_of_peft_and_so_does_the_merged_model(tmp_path):
    model, adapter = trained(tmp_path)
    tokenizer = transformers.AutoTokenizer.from_pretrained(adapter)
    expected = [difference(model, tokenizer, pair) for pair in PAIRS]
    assert np.ptp(expected) > 1e-3
    assert logits(of_folder(adapter)) == pytest.approx(expected, abs=1e-5)
    with model.disable_adapter():  # also without its head
        assert difference(model, tokenizer, PAIRS[0]) != pytest.approx(expected[0], abs=1e-3)
    model.merge_and_unload().save_pretrained(tmp_path / "merged")
    tokenizer.save_pretrained(tmp_path / "merged")
    assert logits(of_folder(tmp_path / "merged")) == pytest.approx(expected, abs=1e-5)
    digest = InputModel(str(adapter), "model").digest
    config = json.loads((tmp_path / "base" / "config.json").read_text())
    (tmp_path / "base" / "config.json").write_text(json.dumps(config | {"rope_theta": 5.0}))
    assert InputModel(str(adapter), "model").digest != digest, "the base model is part of the fingerprint"


@pytest.mark.filterwarnings("ignore")
def test_an_adapter_that_is_no_reward_model_is_refused_in_a_sentence(tmp_path):
    _, several = trained(tmp_path / "several", labels=3)
    with pytest.raises(ConfigError, match="has 3 labels: give a model with one, its score"):
        of_folder(several).preference(PAIRS)
    _, headless = trained(tmp_path / "headless", task=None)
    with pytest.raises(ConfigError, match="its adapter is for the task None, not SEQ_CLS"):
        of_folder(headless).preference(PAIRS)
    card = json.loads((headless / "adapter_config.json").read_text())
    (headless / "adapter_config.json").write_text(json.dumps(card | {"task_type": "SEQ_CLS"}))
    with pytest.raises(ConfigError, match=r"nor its base model has 1 weights, such as score\.weight"):
        of_folder(headless).preference(PAIRS)
