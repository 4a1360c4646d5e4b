"""Nash-MD-PG against the Nash-MD trainer of TRL 1.13.0, its last release: seconds and memory of a step.

    python -m benchmarks.lm_peer PEER_PYTHON

PEER_PYTHON is the interpreter of an environment of its own: pip install trl==1.13.0 peft, beside the same torch and
transformers. Both take the same folders of a policy (SmolLM2-135M-Instruct) and of a tiny reward model, as many prompts
and new tokens, LoRA of the same rank, float32, two threads; they take turns, a process each.

The peer's mixture means to turn the cache off. transformers 5 makes one all the same, and both of its models write
into it: each token is seen twice, and what is drawn is of neither model. So the peer runs twice: `peer`, with the cache
off as it means to, is what the limits are about; `shared`, as it is installed, is printed beside it with the number of
positions that its cache holds for a sequence.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

PROMPTS, NEW, RANK, ROUNDS = 4, 64, 16, 3
SPEED_LIMIT, MEMORY_LIMIT = 3.0, 1.0
HELD = [0]  # positions in the cache of the peer's mixture at its last token


def ours(policy: str, reward: str) -> Callable[[], Any]:
    """A step of this package."""
    from benchmarks.lm import endless

    held = endless(policy, f"prox.contexts={PROMPTS}", "prox.samples=1", f"policy.max_new_tokens={NEW}",
                   f"policy.lora_rank={RANK}", "judge@game.judge=reward_model",
                   f"game.judge.model={reward}")  # fmt: skip
    return held.__enter__()._iterate


def peer(policy: str, reward: str, cached: bool = False) -> Callable[[], Any]:
    """A step of the peer, optimiser included; its mixture with the cache that both models write into, or without."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
    from trl.experimental.nash_md import NashMDConfig, NashMDTrainer
    from trl.experimental.nash_md.nash_md_trainer import GeometricMixtureWrapper

    tokenizer = AutoTokenizer.from_pretrained(policy)
    tokenizer.pad_token = "<|endoftext|>"
    tokenizer.padding_side = "left"
    options = NashMDConfig(output_dir=tempfile.mkdtemp(), per_device_train_batch_size=PROMPTS, max_new_tokens=NEW,
                           max_length=512, mixture_coef=0.125, report_to=[], use_cpu=True, bf16=False,
                           disable_dropout=True, gradient_checkpointing=False,
                           generation_kwargs={"min_new_tokens": NEW})  # fmt: skip
    topics = ("bread", "tea", "bees", "the sea")
    prompts = [[{"role": "user", "content": f"Write one sentence about {topic}."}] for topic in topics]
    trainer = NashMDTrainer(
        model=AutoModelForCausalLM.from_pretrained(policy, dtype=torch.float32),
        reward_funcs=AutoModelForSequenceClassification.from_pretrained(reward, num_labels=1, dtype=torch.float32),
        args=options, processing_class=tokenizer, train_dataset=Dataset.from_dict({"prompt": prompts}),
        peft_config=LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules="all-linear", task_type="CAUSAL_LM"),
    )  # fmt: skip
    trainer.create_optimizer()
    if not cached:
        generate = GeometricMixtureWrapper.generate
        GeometricMixtureWrapper.generate = lambda *args, **options: generate(*args, use_cache=False, **options)
    plain, held = GeometricMixtureWrapper.forward, []

    def forward(self: Any, *args: Any, **options: Any) -> Any:
        said, past = plain(self, *args, **options), options.get("past_key_values")
        held.append(0 if past is None else past.get_seq_length())
        return said

    GeometricMixtureWrapper.forward = forward

    def step() -> None:
        trainer.training_step(trainer.model, {"prompt": prompts[:PROMPTS]})
        trainer.optimizer.step()
        trainer.optimizer.zero_grad()
        HELD.append(held[-1])

    return step


def shared(policy: str, reward: str) -> Callable[[], Any]:
    """The peer as it is installed."""
    return peer(policy, reward, cached=True)


def work(side: str, policy: str, reward: str) -> None:
    """A step for every line that is read, its seconds in answer; at the end the most memory that was held, in MB."""
    import torch

    torch.set_num_threads(2)
    step = {"ours": ours, "peer": peer, "shared": shared}[side](policy, reward)
    print("ready", flush=True)
    for _ in sys.stdin:
        started = time.perf_counter()
        step()
        print(time.perf_counter() - started, flush=True)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, HELD[-1], sep="\n", flush=True)


def reward_model(policy: str, folder: str) -> None:
    """A tiny reward model with the policy's tokenizer."""
    from transformers import AutoTokenizer, LlamaConfig, LlamaForSequenceClassification

    tokenizer = AutoTokenizer.from_pretrained(policy)
    tokenizer.pad_token = "<|endoftext|>"
    config = LlamaConfig(vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
                         num_attention_heads=2, num_key_value_heads=1, num_labels=1,
                         pad_token_id=tokenizer.pad_token_id)  # fmt: skip
    LlamaForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def main(python: str) -> int:
    """Print both ratios; exit code 1 where one misses its limit."""
    from nlhf.models.bundled import bundled_model

    policy = str(bundled_model())
    here = Path(__file__).resolve()
    with tempfile.TemporaryDirectory() as folder:
        reward_model(policy, folder)
        theirs = [python, str(here)]
        commands = {"ours": [sys.executable, "-m", "benchmarks.lm_peer"], "peer": theirs, "shared": theirs}
        workers = {
            side: subprocess.Popen([*command, f"--{side}", policy, folder], cwd=here.parents[1], text=True,
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            for side, command in commands.items()
        }  # fmt: skip
        for worker in workers.values():
            _answer(worker)
        seconds: dict[str, list[float]] = {side: [] for side in workers}
        for number in range(ROUNDS + 1):
            for side, worker in workers.items():
                worker.stdin.write("step\n")  # type: ignore[union-attr]
                worker.stdin.flush()  # type: ignore[union-attr]
                if (told := float(_answer(worker))) and number:
                    seconds[side].append(told)
        memory, held = {}, {}
        for side, worker in workers.items():
            worker.stdin.close()  # type: ignore[union-attr]
            memory[side], held[side] = float(_answer(worker)), int(_answer(worker))
    print(f"{PROMPTS} prompts, {NEW} new tokens, a step:")
    for side, values in seconds.items():
        print(f"  {side:6} {median(values):5.1f} s, peak memory {memory[side]:.0f} MB")
    print(f"  the cache of `shared` holds {held['shared']} positions at the last of {NEW} tokens of its mixture")
    share = memory["ours"] / memory["peer"]
    print(f"memory {share:.2f} of the peer's (at most {MEMORY_LIMIT})")
    for side in ("shared", "peer"):
        ratios = [theirs / own for own, theirs in zip(seconds["ours"], seconds[side], strict=True)]
        print(f"{median(ratios):.2f} times as fast as {side} (rounds {', '.join(f'{ratio:.2f}' for ratio in ratios)})")
    print(f"  the last of these is to be at least {SPEED_LIMIT}")
    return int(median(ratios) < SPEED_LIMIT or share > MEMORY_LIMIT)


def _answer(worker: subprocess.Popen[str]) -> str:
    """The next line that a worker says, past what its libraries print."""
    for line in worker.stdout:  # type: ignore[union-attr]
        if line.strip() == "ready" or line.strip().replace(".", "").isdigit():
            return line
    raise RuntimeError(f"{worker.args} ended with exit code {worker.wait()}: run it by hand to see why.")


if __name__ == "__main__":
    if sys.argv[1:] and sys.argv[1].startswith("--"):
        work(sys.argv[1][2:], *sys.argv[2:])
    else:
        sys.exit(main(*sys.argv[1:]))
