"""The lines of a dry run about the memory of language models on GPUs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nlhf.config import ConfigError
from nlhf.models.prompts import prompt_text

if TYPE_CHECKING:
    from nlhf.language.memory import Load
    from nlhf.launch.job import Job

CHARACTERS, TEMPLATE = 3, 64  # of a token, a low estimate; tokens of a chat template


def memory_lines(jobs: Sequence[Job], processes: int, gpu_gb: float | None) -> list[str]:
    """A line for each language model and its sizes; a second one if it does not fit on a GPU.

    Args:
        processes: of each run.
        gpu_gb: memory of a GPU; None looks for one on this machine.
    """
    lines = []
    for job in jobs:
        if "text" in job.run.policy.provides:
            lines += _lines(job, processes, gpu_gb)
    return list(dict.fromkeys(lines))


def _lines(job: Job, processes: int, gpu_gb: float | None) -> list[str]:
    try:
        from nlhf.language.memory import GB, estimate, shape_of
    except ImportError:
        return ["memory per GPU: unknown without the extra lm"]
    options: Any = job.run.policy
    try:
        shape = shape_of(options, _source(options))
    except ConfigError as error:
        return [f"memory per GPU: unknown, as {error}"]
    total = _gpu_bytes() if gpu_gb is None else gpu_gb * GB
    width = 4 if options.dtype == "float32" or (options.dtype == "auto" and job.run.options.device == "cpu") else 2
    load = _load(job, processes)
    whole_fits = total is None or shape.parameters * width < 2 / 3 * total
    may_spread = options.shard is True or (options.shard == "auto" and not whole_fits and not options.recompute)
    spread = processes > 1 and shape.lora and may_spread

    def needed(scored: int) -> Any:
        sizes = {"width": width, "processes": processes, "spread": spread, "recompute": options.recompute}
        return estimate(shape, replace(load, scored=scored), **sizes)

    need = needed(load.scored)
    unit = "GPU" if processes == 1 else f"GPU of {processes}"
    weights = "spread over the processes" if spread else "complete on every GPU"
    lines = [
        f"memory per {unit}, {shape.parameters / 1e9:.2f}B parameters {weights}, {shape.trained / 1e6:.1f}M trained, "
        f"prompts of {load.prompt} tokens: about {need.peak / GB:.3g} GB: {need}"
    ]
    if total is not None and need.peak > total:
        fitting = [size for power in range(12) if needed(size := 2**power).peak <= total and size < load.scored]
        remedy = f"policy.micro_batch={max(fitting)}" if fitting else _remedy(spread, processes)
        lines.append(
            f"policy.micro_batch={options.micro_batch} needs about {need.peak / GB:.3g} GB of a GPU's "
            f"{total / GB:.3g} GB: set {remedy}."
        )
    return lines


def _remedy(spread: bool, processes: int) -> str:
    """What helps where no micro-batch fits."""
    if not spread and processes > 1:
        return "policy.shard=true"
    return "a smaller model or policy.max_new_tokens, or give more GPUs (hydra.launcher.processes)"


def _load(job: Job, processes: int) -> Load:
    from nlhf.language.memory import Load

    run: Any = job.run
    prompts = [prompt_text(prompt) for prompt in (*run.game.training.prompts, *run.game.test.prompts)]
    longest = max(map(len, prompts)) // CHARACTERS + TEMPLATE
    trained, measured = run.prox.contexts * run.prox.samples, len(run.game.test) * run.game.completions
    learned, drawn = (-(-count // processes) for count in (trained, max(trained, measured)))
    scored = min(run.policy.micro_batch or learned, learned)
    return Load(scored, drawn, longest, run.policy.max_new_tokens, completions=run.prox.samples)


def _source(options: Any) -> str:
    from nlhf.models.bundled import bundled_model

    return str(bundled_model()) if options.model.source == "bundled" else options.model.source


def _gpu_bytes() -> float | None:
    """The memory of this machine's first GPU; None without one."""
    import torch

    return float(torch.cuda.get_device_properties(0).total_memory) if torch.cuda.is_available() else None
