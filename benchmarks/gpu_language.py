"""Language models on a device: a training step, its memory and the throughput of the sampler."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from benchmarks.lm import endless

BILLION = {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 32,
           "num_key_value_heads": 8}  # fmt: skip
CASES: tuple[tuple[dict[str, int], str], ...] = tuple(product(({}, BILLION), ("float32", "bfloat16")))
Timed = Callable[[Callable[[], object]], float]


def language_models(device: torch.device, index: int, short: bool, timed: Timed) -> None:
    """Print the line of one case: SmolLM2-135M or a random model with a billion parameters, in one precision."""
    size, dtype = CASES[index]
    prompts, new, peak = (
        (2, 4, product_rate(256, device, timed)) if short else (32, 64, product_rate(8192, device, timed))
    )
    print(f"a large bf16 product runs at {peak / 1e12:.1f} TFLOP/s")
    with tempfile.TemporaryDirectory() as folder:
        model = random_model(Path(folder), size, device) if size else "bundled"
        report(model, dtype, peak, device, timed, prompts, new)


def report(model: str, dtype: str, peak: float, device: torch.device, timed: Timed, prompts: int, new: int) -> None:
    """Print the line of one model: its sampler, and a step of Nash-MD-PG on two completions of every prompt."""
    settings = [f"policy.dtype={dtype}", f"device={device.type}", f"prox.contexts={prompts}", "prox.samples=2",
                f"policy.max_new_tokens={new}", "policy.micro_batch=64"]  # fmt: skip
    on_gpu = device.type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    with endless(model, *settings) as training:
        language: Any = training.prox.game.model  # type: ignore[attr-defined]
        tokens = [turn.tokens for turn in training.prox.game.turns[:prompts]]  # type: ignore[attr-defined]
        uniforms = np.random.default_rng(0).random(prompts)
        training._iterate()
        step = median([timed(training._iterate) for _ in range(3)])
        draw = median([timed(lambda: language.sample([(None, 1.0)], tokens, uniforms)) for _ in range(3)])
        chosen = [tuple(range(100, 100 + new))] * prompts
        weights = {name: value.clone().requires_grad_() for name, value in language.initial.items()}

        def learn() -> None:
            torch.autograd.grad(language.log_prob(weights, tokens, chosen).sum(), list(weights.values()))

        learn()
        gradient = median([timed(learn) for _ in range(3)])
        size = sum(value.numel() for value in language.base.parameters())
    read = sum(map(len, dict.fromkeys(tokens))) + prompts * new
    share = 4 * size * read / gradient / peak  # forward, and backward to the activations: LoRA trains no base weight
    memory = f"; {torch.cuda.max_memory_allocated() / 1e9:.1f} GB at most" if on_gpu else ""
    print(f"{size / 1e6:.0f}M {dtype}: a step of {2 * prompts} completions of {new} tokens {step:.2f} s; samples "
          f"{prompts * new / draw:.0f} tokens/s; a gradient {gradient:.3f} s, {share:.3f} of the product's FLOP/s"
          f"{memory}", flush=True)  # fmt: skip


def random_model(folder: Path, size: dict[str, int], device: torch.device) -> str:
    """The folder of a random Llama model with the tokenizer of the bundled one."""
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    from nlhf.models.bundled import bundled_model

    tokenizer = AutoTokenizer.from_pretrained(bundled_model())
    ends = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    with device:
        module = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **size, **ends, tie_word_embeddings=True))
    module.cpu().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def product_rate(n: int, device: torch.device, timed: Timed) -> float:
    """Floating-point operations per second of a bfloat16 product of two large matrices."""
    first, second = (torch.randn(n, n, device=device, dtype=torch.bfloat16) for _ in range(2))
    first @ second
    return 2 * n**3 / median([timed(lambda: first @ second) for _ in range(5)])
