"""Language models: the cached sampler against a loop without caches and against `generate`; a step against its parts.

    python -m benchmarks.lm [MODEL_FOLDER]

Tokens per second of the token-wise mixture of two policies, 64 new tokens, 4 prompts; then the step of Nash-MD-PG with
8 prompts against its parts, each by itself, and its peak memory. Ratios are medians over rounds in which they take
turns. Needs the extra lm; without a folder the bundled SmolLM2-135M-Instruct is used.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from benchmarks.iteration import assembled
from nlhf.language.loading import load
from nlhf.language.model import LanguageModel
from nlhf.language.policy import CausalLM
from nlhf.models.content import InputModel
from nlhf.models.prompts import bundled_prompts
from nlhf.runner.trainer import Trainer

NEW, PROMPTS, ROUNDS = 64, 4, 3
CACHE_LIMIT, GENERATE_LIMIT, STEP_LIMIT, MEMORY_LIMIT = 5.0, 0.8, 1.15, 1.6


class Endless(LanguageModel):
    """Never stops, so that all contestants draw as many tokens."""

    def __init__(self, model: LanguageModel) -> None:
        super().__init__(model.options, model.module, model.base, model.tokenizer, model.initial)
        self.end_tokens = (-1,)


def without_cache(model: LanguageModel, parts: Any, prompts: list[tuple[int, ...]], new: int) -> None:
    """The mixture, the whole prefix through both models for every token."""
    ids, mask, _ = model.padded(prompts)
    with torch.no_grad():
        for _ in range(new):
            places = (mask.cumsum(1) - 1).clamp(min=0)
            logits: Any = sum(
                share * model.forward(own, ids, mask, places, 1).logits[:, -1].log_softmax(-1) for own, share in parts
            )
            chosen = torch.multinomial(logits.softmax(-1), 1)
            ids, mask = torch.cat([ids, chosen], 1), torch.cat([mask, torch.ones_like(chosen)], 1)


def generated(model: LanguageModel, prompts: list[tuple[int, ...]], new: int) -> None:
    """`generate` of both modules, one after the other."""
    ids, mask, _ = model.padded(prompts)
    options = {"do_sample": True, "max_new_tokens": new, "min_new_tokens": new, "top_k": 0, "pad_token_id": 0}
    for module in (model.module, model.base):
        module.generate(input_ids=ids, attention_mask=mask, **options)  # type: ignore[operator]


def alternating(contestants: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of every contestant in every round, one after the other."""
    found: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, run in contestants.items():
            started = time.perf_counter()
            run()
            found[name].append(time.perf_counter() - started)
    return found


def sampler(folder: str) -> int:
    """Tokens per second; how many limits were missed."""
    options = CausalLM(
        model=InputModel(folder),
        lora=True,
        lora_rank=16,
        lora_targets=[],
        max_new_tokens=NEW,
        temperature=1.0,
        top_p=1.0,
        micro_batch=PROMPTS,
        dtype="float32",
        trust_remote_code=False,
    )
    model = Endless(load(options, 0, "cpu"))
    prompts = [model.turn(prompt).tokens for prompt in bundled_prompts(300)[:PROMPTS]]
    parts = [(model.initial, 0.875), (None, 0.125)]
    uniforms = np.random.default_rng(0).random(PROMPTS)
    cached = lambda: model.sample(parts, prompts, uniforms)  # noqa: E731
    cached()
    seconds = alternating({"ours": cached, "no cache": lambda: without_cache(model, parts, prompts, NEW),
                           "generate": lambda: generated(model, prompts, NEW)}, ROUNDS)  # fmt: skip
    print(f"{PROMPTS * NEW / median(seconds['ours']):.0f} tokens/s of the mixture, cached; ratios of speeds, median")
    missed = 0
    for name, limit in (("no cache", CACHE_LIMIT), ("generate", GENERATE_LIMIT)):
        ratios = [other / own for own, other in zip(seconds["ours"], seconds[name], strict=True)]
        print(f"  against {name:9} {median(ratios):5.2f}  (at least {limit}; rounds {listed(ratios)})", flush=True)
        missed += median(ratios) < limit
    return missed


def step(folder: str) -> int:
    """A training step: its seconds against those of its parts, and its memory; how many limits were missed."""
    before = resident()
    with endless(folder, "prox.contexts=8", "prox.samples=1", "policy.max_new_tokens=32") as training:
        prox: Any = training.prox
        model, turns = prox.game.model, prox.game.turns[:8]
        weights = {name: value.clone() for name, value in model.initial.items()}
        base = sum(value.numel() * value.element_size() for value in model.base.parameters())
        prompts = [turn.tokens for turn in turns]
        uniforms = np.random.default_rng(0).random(len(prompts))
        mixture = [(weights, 0.875), (None, 0.125)]
        own, theirs = (model.sample(parts, prompts, uniforms) for parts in ([(weights, 1.0)], mixture))
        numbers = [torch.tensor([[[model.number(tokens)] for tokens in drawn]]) for drawn in (own, theirs)]
        where = torch.arange(len(turns))[None]

        def learn() -> None:
            values = {name: value.requires_grad_() for name, value in weights.items()}
            torch.autograd.grad(model.log_prob(values, prompts, own).sum(), list(values.values()))

        def adam() -> None:
            for value in weights.values():
                value.grad = torch.ones_like(value)
            torch.optim.Adam(weights.values()).step()

        @torch.no_grad()
        def reference() -> None:
            model.log_prob(None, prompts, own)

        def judge() -> None:
            prox.game.judge._read.clear()
            prox.game.compare(where, *numbers)

        parts: dict[str, Callable[[], object]] = {
            "draw own": lambda: model.sample([(weights, 1.0)], prompts, uniforms),
            "draw mixture": lambda: model.sample(mixture, prompts, uniforms),
            "judge": judge, "reference": reference, "learner": learn, "adam": adam,
        }  # fmt: skip
        for part in (*parts.values(), training._iterate):
            part()
        _, activations = peak(learn)
        _, whole = peak(training._iterate)
        seconds = alternating({**parts, "step": training._iterate}, ROUNDS)
    print("a step in seconds: " + ", ".join(f"{name} {median(values):.2f}" for name, values in seconds.items()))
    ratios = [row[-1] / sum(row[:-1]) for row in zip(*seconds.values(), strict=True)]
    print(f"  against the sum of its parts {median(ratios):.2f}  (at most {STEP_LIMIT}; rounds {listed(ratios)})")
    memory = (whole - before - activations) / base
    print(f"  memory beside activations {memory:.2f} of the base weights  (at most {MEMORY_LIMIT}; "
          f"{(whole - before) / 1e6:.0f} MB in all, activations {activations / 1e6:.0f}, "
          f"base {base / 1e6:.0f})")  # fmt: skip
    return (median(ratios) > STEP_LIMIT) + (memory > MEMORY_LIMIT)


@contextmanager
def endless(folder: str, *overrides: str) -> Iterator[Trainer]:
    """A trainer of Nash-MD-PG without rows, whose completions never end before their last token."""
    case = ["experiment=language_model", "algorithm=nash_md_pg", f"policy.model={folder}", "seeds=[0]", *overrides]
    with assembled(case) as (training, world):
        world.game.model.end_tokens = (-1,)  # type: ignore[attr-defined]
        training.prox.active = np.ones(1, bool)
        yield training


def resident(key: str = "VmRSS") -> int:
    """Bytes of memory of this process, now or (VmHWM) at most; Linux only."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) * 1024


def peak(call: Callable[[], object]) -> tuple[int, int]:
    """How many bytes a call takes at most on top of what there was, and in all."""
    Path("/proc/self/clear_refs").write_text("5")
    before = resident()
    call()
    return resident("VmHWM") - before, resident("VmHWM")


def listed(ratios: list[float]) -> str:
    """Ratios, rounded."""
    return ", ".join(f"{ratio:.2f}" for ratio in ratios)


def main() -> int:
    """Print the ratios; exit code 1 where one misses its limit."""
    torch.set_num_threads(2)
    folder = sys.argv[1] if sys.argv[1:] else "bundled"
    return int(step(folder) + sampler(folder) > 0)


if __name__ == "__main__":
    sys.exit(main())
