"""What a GPU changes: results equal to those of the CPU, seconds an iteration, and language models at two sizes.

    python -m benchmarks.gpu [agree] [exact] [lm]

* agree: every algorithm of the exact engine on two games. The largest difference of log10 exploitability between
  `device=cpu` and `device=cuda`, over all rows above 1e-12.
* exact: seconds an iteration on both devices, and on the GPU the share of the memory bandwidth that a copy reaches.
* lm: seconds of a training step, tokens per second and peak memory of SmolLM2-135M and of a random model with a billion
  parameters, in float32 and bfloat16, and the share of the arithmetic that a large matrix product reaches. Needs the
  extra lm.

Needs a GPU. Exit code 1 where results differ by more than the limit.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

import nlhf
from benchmarks.iteration import assembled
from benchmarks.lm import endless

AGREE_LIMIT, FLOOR = 1e-6, 1e-12
ALGORITHMS = (
    "adaptive_nash_mp", "adaptive_optimistic", "comal", "egpo", "inpo", "ipo_md", "mpo", "nash_ema_pg", "nash_md",
    "nash_mp", "nash_mp_ema", "nash_prox", "nash_prox_fast", "omd", "online_ipo", "optimistic", "proximal_point",
    "secant", "self_play", "sppo",
)  # fmt: skip
GAMES = {"tversky": ["game=tversky"], "50 actions": ["game=random_tournament", "game.actions=50", "seeds=4"]}
CASES = {
    "n=4096, one seed": ["game=random_tournament", "game.actions=4096"],
    "n=256, 64 seeds": ["game=random_tournament", "game.actions=256", "seeds=64"],
    "n=1000, 64 seeds": ["game=random_tournament", "game.actions=1000", "seeds=64"],
    "rank 8, 1,000,000 actions": ["game=low_rank", "game.actions=1000000", "game.rank=8"],
    "tversky": ["game=tversky"],
}
BILLION = {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 32,
           "num_key_value_heads": 8}  # fmt: skip
SIZES: tuple[dict[str, int], ...] = ({}, BILLION)


def agree() -> int:
    """Print the differences between the devices; how many algorithms are above the limit."""
    above = 0
    for name, game in GAMES.items():
        worst: dict[str, float] = {}
        for algorithm in ALGORITHMS:
            logs = []
            with tempfile.TemporaryDirectory() as folder:
                for device in ("cpu", "cuda"):  # in folders of their own: neither may return the other's run
                    run = nlhf.run([*game, f"algorithm={algorithm}", f"device={device}", "budget.queries=200",
                                    "progress=false", f"runs_dir={folder}/{device}"])  # fmt: skip
                    logs.append(run.metrics["exploitability"].to_numpy())
            count = min(map(len, logs))
            first, second = (np.log10(np.maximum(values[:count], FLOOR)) for values in logs)
            worst[algorithm] = float(np.abs(first - second).max())
        above += sum(value > AGREE_LIMIT for value in worst.values())
        listed = ", ".join(f"{algorithm} {value:.1e}" for algorithm, value in worst.items())
        print(f"{name}: {listed} (at most {AGREE_LIMIT:g})", flush=True)
    return above


def exact() -> int:
    """Print seconds an iteration on both devices."""
    rate = copy_rate()
    print(f"a copy moves {rate / 1e12:.2f} TB/s")
    for name, overrides in CASES.items():
        times = {device: iteration([*overrides, f"device={device}"]) for device in ("cpu", "cuda")}
        entries = entries_read(name)
        share = f", {entries * 8 / times['cuda'] / rate:.2f} of the bandwidth of a copy" if entries else ""
        print(f"{name:28} cpu {1e3 * times['cpu']:.3f} ms, cuda {1e3 * times['cuda']:.3f} ms, "
              f"ratio {times['cpu'] / times['cuda']:.1f}{share}", flush=True)  # fmt: skip
    return 0


def entries_read(name: str) -> int:
    """Numbers of the preference matrices that the two queries of an iteration read; 0 for games without a matrix."""
    return {"n=4096, one seed": 2 * 4096**2, "n=256, 64 seeds": 128 * 256**2, "n=1000, 64 seeds": 128 * 1000**2}.get(
        name, 0
    )


def iteration(overrides: list[str], least: float = 0.5) -> float:
    """Median seconds of an iteration of Nash Mirror Prox over blocks of ten, with the device's queue empty."""
    with tempfile.TemporaryDirectory() as folder:
        common = ["equilibrium=never", f"runs_dir={folder}"]
        with assembled([*common, *overrides]) as (trainer, _):
            trainer.prox.active[:] = True

            def block() -> None:
                for _ in range(10):
                    trainer._iterate()

            block()
            seconds, end = [], time.perf_counter() + least
            while time.perf_counter() < end or len(seconds) < 3:
                seconds.append(timed(block) / 10)
    return median(seconds)


def lm() -> int:
    """Print a step, its memory and the throughput of the sampler."""
    peak = product_rate()
    print(f"a large bf16 product runs at {peak / 1e12:.0f} TFLOP/s")
    for size in SIZES:
        for dtype in ("float32", "bfloat16"):
            with tempfile.TemporaryDirectory() as folder:
                model = random_model(Path(folder), size) if size else "bundled"
                report(model, dtype, peak)
    return 0


def report(model: str, dtype: str, peak: float, prompts: int = 32, new: int = 64) -> None:
    """Print the line of one model: its sampler, and a step of Nash-MD-PG on two completions of every prompt."""
    settings = [f"policy.dtype={dtype}", "device=cuda", f"prox.contexts={prompts}", "prox.samples=2",
                f"policy.max_new_tokens={new}", "policy.micro_batch=64"]  # fmt: skip
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
    print(f"{size / 1e6:.0f}M {dtype}: a step of {2 * prompts} completions of {new} tokens {step:.2f} s; samples "
          f"{prompts * new / draw:.0f} tokens/s; a gradient {gradient:.3f} s, {share:.3f} of the product's FLOP/s; "
          f"{torch.cuda.max_memory_allocated() / 1e9:.1f} GB at most", flush=True)  # fmt: skip


def random_model(folder: Path, size: dict[str, int]) -> str:
    """The folder of a random Llama model with the tokenizer of the bundled one."""
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    from nlhf.models.bundled import bundled_model

    tokenizer = AutoTokenizer.from_pretrained(bundled_model())
    ends = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    with torch.device("cuda"):
        module = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **size, **ends, tie_word_embeddings=True))
    module.cpu().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def timed(call: Callable[[], object]) -> float:
    """Seconds of a call and of all the work that it queued."""
    torch.cuda.synchronize()
    started = time.perf_counter()
    call()
    torch.cuda.synchronize()
    return time.perf_counter() - started


def copy_rate() -> float:
    """Bytes read and written per second by a copy of a gigabyte on the device."""
    source = torch.empty(2**27, dtype=torch.float64, device="cuda")
    target = torch.empty_like(source)
    target.copy_(source)
    return 2 * source.numel() * 8 / median([timed(lambda: target.copy_(source)) for _ in range(5)])


def product_rate(n: int = 8192) -> float:
    """Floating-point operations per second of a bfloat16 product of two large matrices."""
    first, second = (torch.randn(n, n, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    first @ second
    return 2 * n**3 / median([timed(lambda: first @ second) for _ in range(5)])


PARTS: dict[str, Callable[[], int]] = {"agree": agree, "exact": exact, "lm": lm}


if __name__ == "__main__":
    sys.exit(min(1, sum(PARTS[part]() for part in sys.argv[1:] or PARTS)))
