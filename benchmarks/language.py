"""Language models: the cached sampler against a loop without caches and against `generate`; a step against its parts.

    python -m benchmarks.language [MODEL_FOLDER]

Tokens per second of the token-wise mixture of two policies, 64 new tokens, 4 prompts; ratios are medians over rounds in
which the contestants take turns. Needs the extra lm; without a folder the bundled SmolLM2-135M-Instruct is used.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import torch

from nlhf.language.model import LanguageModel, load
from nlhf.language.prompts import written
from nlhf.policies.causal_lm import CausalLM

NEW, PROMPTS, ROUNDS = 64, 4, 2


class Endless(LanguageModel):
    """Never stops, so that all contestants draw as many tokens."""

    def __init__(self, model: LanguageModel) -> None:
        super().__init__(model.options, model.module, model.base, model.tokenizer, model.initial)
        self.end = -1


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
    """`generate` of the module, twice: as of two models."""
    ids, mask, _ = model.padded(prompts)
    module: Any = model.module
    options = {"do_sample": True, "max_new_tokens": new, "min_new_tokens": new, "top_k": 0, "pad_token_id": 0}
    for _ in range(2):
        module.generate(input_ids=ids, attention_mask=mask, **options)


def alternating(contestants: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of every contestant in every round, one after the other."""
    found: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, run in contestants.items():
            started = time.perf_counter()
            run()
            found[name].append(time.perf_counter() - started)
    return found


def main() -> int:
    """Print the ratios; exit code 1 where one misses its limit."""
    torch.set_num_threads(2)
    options = CausalLM(model=sys.argv[1] if sys.argv[1:] else "bundled", lora=True, lora_rank=16, lora_targets=[],
                       max_new_tokens=NEW, temperature=1.0, top_p=1.0, micro_batch=PROMPTS, dtype="float32",
                       trust_remote_code=False)  # fmt: skip
    model = Endless(load(options, 0, "cpu"))
    prompts = [model.turn(prompt).tokens for prompt in written()[:PROMPTS]]
    parts = [(model.initial, 0.875), (None, 0.125)]
    uniforms = np.random.default_rng(0).random(PROMPTS)
    cached = lambda: model.sample(parts, prompts, uniforms)  # noqa: E731
    seconds = alternating({"ours": cached, "no cache": lambda: without_cache(model, parts, prompts, NEW),
                           "generate": lambda: generated(model, prompts, NEW)}, ROUNDS)  # fmt: skip
    print(f"{PROMPTS * NEW / median(seconds['ours']):.0f} tokens/s of the mixture, cached; ratios of speeds, median")
    missed = 0
    for name, limit in (("no cache", 5.0), ("generate", 0.8)):
        ratios = [other / own for own, other in zip(seconds["ours"], seconds[name], strict=True)]
        print(
            f"  against {name:9} {median(ratios):5.2f}  (limit {limit}; rounds {', '.join(f'{r:.2f}' for r in ratios)})"
        )
        missed += median(ratios) < limit
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
