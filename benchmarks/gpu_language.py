"""Language models on a device: a training step, its memory, the throughput of the sampler, and the share of the peak.

    python -m benchmarks.gpu_language [--device cuda|cpu] [--tiny]

SmolLM2-135M and a random Llama model with a billion parameters, in float32 and bfloat16. `--tiny` takes a random model
of a few thousand weights and short texts instead, to try the script on a machine without a GPU. Memory is what torch
allocated on the GPU, or the process's largest resident set on a CPU, beside the estimate of `dry_run=true`.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from benchmarks.lm import endless
from nlhf.language.memory import Load, estimate, shape_of

BILLION = {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 32,
           "num_key_value_heads": 8}  # fmt: skip
TINY = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2}  # fmt: skip
CASES: tuple[tuple[dict[str, int], str], ...] = tuple(product(({}, BILLION), ("float32", "bfloat16")))
Timed = Callable[[Callable[[], object]], float]


def timed(call: Callable[[], object], device: torch.device) -> float:
    """Seconds of a call and of all the work that it queued on the device."""
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    wait()
    started = time.perf_counter()
    call()
    wait()
    return time.perf_counter() - started


def language_models(device: torch.device, index: int, short: bool, timed: Timed) -> None:
    """Print the line of one case: SmolLM2-135M or a random model with a billion parameters, in one precision."""
    size, dtype = CASES[index]
    measure(size, dtype, device, short, timed)


def measure(size: dict[str, int], dtype: str, device: torch.device, short: bool, timed: Timed) -> None:
    """Print the line of the bundled model (no sizes), or of a random model of these sizes."""
    prompts, new, n = (2, 4, 256) if short else (32, 64, 8192)
    peak = product_rate(n, device, timed)
    print(f"a large product runs at {peak / 1e12:.3g} TFLOP/s")
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
        need = estimated(language, Load(64, 2 * prompts, max(map(len, tokens)), new))
    read = sum(map(len, dict.fromkeys(tokens))) + prompts * new
    share = 4 * size * read / gradient / peak  # forward, and backward to the activations: LoRA trains no base weight
    used = torch.cuda.max_memory_allocated() if on_gpu else 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    memory = f"; {used / 1e9:.2f} GB at most, estimated {need / 1e9:.2f} GB"
    print(f"{size / 1e6:.0f}M {dtype}: a step of {2 * prompts} completions of {new} tokens {step:.2f} s; samples "
          f"{prompts * new / draw:.0f} tokens/s; a gradient {gradient:.3f} s, {share:.3f} of the product's FLOP/s"
          f"{memory}", flush=True)  # fmt: skip


def estimated(language: Any, load: Load) -> float:
    """The estimated bytes of a step of a language model with its options."""
    shape = shape_of(language.options, language.module.config._name_or_path)
    width = next(language.base.parameters()).itemsize
    load = replace(load, scored=min(load.scored, load.sampled))
    return estimate(shape, load, width=width, processes=1, spread=False).peak


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
    """Floating-point operations per second of a product of two large matrices, in bfloat16 on a GPU."""
    precision = torch.bfloat16 if device.type == "cuda" else torch.float32
    first, second = (torch.randn(n, n, device=device, dtype=precision) for _ in range(2))
    first @ second
    return 2 * n**3 / median([timed(lambda: first @ second) for _ in range(5)])


def main() -> None:
    """Print the lines of all cases."""
    parser = argparse.ArgumentParser(description="Speed and memory of language models on a device.")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args()
    device = torch.device(options.device)

    for size, dtype in product((TINY,), ("float32", "bfloat16")) if options.tiny else CASES:
        measure(size, dtype, device, options.tiny, lambda call: timed(call, device))


if __name__ == "__main__":
    main()
