"""Architectures of transformers with random weights: the cache, padding and sampling change nothing.

The reference is a forward pass without a cache of each prompt and completion alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("transformers")
pytest.importorskip("peft")

from nlhf.language.loading import wrapped
from nlhf.language.model import LanguageModel
from nlhf.language.policy import CausalLM

pytestmark = pytest.mark.usefixtures("one_thread")

VOCABULARY, END, OTHER_END, WINDOW = 16, 0, 5, 4
SIZES = {"vocab_size": VOCABULARY, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3,
         "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 4, "max_position_embeddings": 64}  # fmt: skip
SLIDING = {"sliding_window": WINDOW}  # shorter than the longest prompt
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "llama": {},
    "mistral": SLIDING,
    "qwen2": SLIDING | {"use_sliding_window": True, "max_window_layers": 1},
    "qwen3": SLIDING | {"use_sliding_window": True, "max_window_layers": 1},
    "qwen3_moe": {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16},
    "gemma2": SLIDING,
    "gemma3_text": SLIDING,
    "phi3": SLIDING | {"pad_token_id": 0},
    "olmo2": {},
    "smollm3": {"no_rope_layers": [1, 1, 0]},
    "granite": {},
    "gpt2": {"n_embd": 16, "n_layer": 3, "n_head": 4, "n_positions": 64},
    "gpt_neox": {},
    "lfm2": {"layer_types": ["conv", "full_attention", "conv"], "block_auto_adjust_ff_dim": False},
}
PROMPTS = [(1, 2, 3, 4, 6, 7, 8), (2,), (1, 2, 3, 4, 6, 7, 8), (9, 1, 1)]
COMPLETIONS = [(3, 1, 2, 10, END), (6, 4), (OTHER_END,), (6, 7, 8, 11, 12)]


class Tokenizer:
    """A tokenizer without a token for padding."""

    eos_token_id, pad_token_id, chat_template = END, None, None


def made(kind: str, lora: bool, **options: Any) -> LanguageModel:
    """A model with random weights, large enough that probabilities differ."""
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    sizes = {name: value for name, value in SIZES.items() if kind != "gpt2" or name == "vocab_size"}
    specials = {"eos_token_id": END, "bos_token_id": None, "pad_token_id": None}
    config = AutoConfig.for_model(kind, **(sizes | specials | ARCHITECTURES[kind]))
    module = AutoModelForCausalLM.from_config(config).float()
    with torch.no_grad():
        for value in module.parameters():
            if value.ndim > 1:
                value.copy_(torch.randn_like(value) / 3)
    module.generation_config.eos_token_id = [END, OTHER_END]  # the end of a chat's turn
    chosen = {"lora_targets": [], "temperature": 1.0, "top_p": 1.0, "max_new_tokens": 8, "micro_batch": 3} | options
    family = CausalLM(model="tiny", lora=lora, lora_rank=2, dtype="auto", trust_remote_code=False, **chosen)
    return wrapped(family, module, Tokenizer(), 0)


def alone(model: LanguageModel, prompt: tuple[int, ...], completion: tuple[int, ...]) -> float:
    """log pi(y | x) from a forward pass without a cache."""
    tokens = torch.tensor([prompt + completion])
    logits = model.module(input_ids=tokens, use_cache=False).logits[0].double().log_softmax(-1)
    return sum(logits[len(prompt) - 1 + place, token].item() for place, token in enumerate(completion))


@pytest.mark.parametrize("lora", [True, False])
@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_log_probabilities_and_samples_are_those_without_a_cache(kind: str, lora: bool) -> None:
    model = made(kind, lora)
    assert model.end_tokens == (END, OTHER_END)
    weights = {name: value + 0.1 * torch.randn_like(value) for name, value in model.initial.items()}
    parameters = dict(model.module.named_parameters())
    with torch.no_grad():
        scores = model.log_prob(weights, PROMPTS, COMPLETIONS)
        for name, value in weights.items():
            parameters[name].copy_(value[0])
        expected = [alone(model, prompt, y) for prompt, y in zip(PROMPTS, COMPLETIONS, strict=True)]
        assert scores.tolist() == pytest.approx(expected, abs=2e-4)
        base = model.log_prob(None, PROMPTS, COMPLETIONS).tolist()
        assert base != pytest.approx(expected, abs=0.01) or not lora
        prompts, uniforms = PROMPTS * 6, np.random.default_rng(0).random(24)
        drawn = model.sample([(weights, 1.0)], prompts, uniforms)
        singly = [model.sample([(weights, 1.0)], [p], u[None])[0] for p, u in zip(prompts, uniforms, strict=True)]
        assert drawn == singly
        assert drawn == [without_cache(model, p, u) for p, u in zip(prompts, uniforms, strict=True)]
    assert len({len(tokens) for tokens in drawn}) > 1


def without_cache(model: LanguageModel, prompt: tuple[int, ...], uniform: float) -> tuple[int, ...]:
    """A completion by inversion, each token from a forward pass of all tokens before it."""
    levels, tokens = np.random.default_rng(int(uniform * 2**53)).random(model.options.max_new_tokens), ()
    for level in levels:
        logits = model.module(input_ids=torch.tensor([prompt + tokens]), use_cache=False).logits[0, -1]
        cumulative = logits.softmax(-1).double().cumsum(-1)
        tokens += (int(torch.searchsorted(cumulative, level * cumulative[-1], right=True)),)
        if tokens[-1] in model.end_tokens:
            break
    return tokens
