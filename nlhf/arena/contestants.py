"""Who plays: the final policies and the kept checkpoints of runs, model folders, and files of completions.

A contestant of a run is called by its method and its iteration, `nash_prox_fast@76`: when the run goes on, what it
becomes is another contestant, and what it was stays.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from nlhf.arena.completion_file import Writer
from nlhf.config import ConfigError, build
from nlhf.io.files import is_moved_aside
from nlhf.io.inputs import InputFile
from nlhf.io.json_files import read_json
from nlhf.models.content import InputModel, in_memory
from nlhf.runner.trust import NOTHING, Trust, untrusted_config

if TYPE_CHECKING:
    from nlhf.language.model import LanguageModel, Turn
    from nlhf.language.policy import CausalLM

log = logging.getLogger("nlhf")
REFERENCE = "reference"
WEIGHTS = ("adapter_model.safetensors", "model.safetensors", "adapter_config.json", "config.json")


class Contestant(Protocol):
    """Something that completes prompts."""

    @property
    def name(self) -> str:
        """What tables call it."""

    @property
    def identity(self) -> str:
        """What decides its completions, as a digest."""

    def lacking(self, prompts: Sequence[Any], samples: int) -> dict[int, str]:
        """The places of prompts of which it is known beforehand that it cannot complete them, each with the reason."""

    def wrote(self, prompt: Any, texts: Sequence[str]) -> bool:
        """Are these its completions of a prompt, as far as it can be told without drawing them?"""

    def complete(self, prompts: Sequence[Any], samples: int, seed: int, first: int) -> list[list[str] | None]:
        """`samples` completions of every prompt; None for a prompt that it cannot complete.

        `first` is the number of the first of these prompts in the arena, so that a prompt's completions do not depend
        on which others are asked for.
        """


@dataclass(frozen=True)
class Model:
    """A model, or an adapter beside its base model, that transformers and peft load.

    Args:
        model: what is loaded.
        options: how it is drawn from.
        device: where.
    """

    name: str
    model: InputModel
    options: CausalLM
    device: str

    @cached_property
    def identity(self) -> str:
        drawn = {key: getattr(self.options, key) for key in ("max_new_tokens", "temperature", "top_p")}
        return hashlib.sha256(json.dumps([drawn, self.model.digest]).encode()).hexdigest()

    def lacking(self, prompts: Sequence[Any], samples: int) -> dict[int, str]:
        """Nothing, as far as is known before the model is loaded."""
        return {}

    def wrote(self, prompt: Any, texts: Sequence[str]) -> bool:
        return False

    def complete(self, prompts: Sequence[Any], samples: int, seed: int, first: int) -> list[list[str] | None]:
        import numpy as np

        model, identity = self._model(), int(self.identity[:8], 16)  # contestants draw independently of each other
        turns = [self._turn(model, prompt, first + place) for place, prompt in enumerate(prompts)]
        tokens = [turn.tokens for turn in turns if turn is not None for _ in range(samples)]
        streams = [np.random.default_rng([seed, identity, first + place]) for place, turn in enumerate(turns) if turn]
        uniforms = np.array([stream.random(samples) for stream in streams]).ravel()
        drawn: list[str] = []
        size = self.options.micro_batch
        for start in range(0, len(tokens), size):
            sampled = model.sample([(None, 1.0)], tokens[start : start + size], uniforms[start : start + size])
            drawn += [model.text(model.number(completion)) for completion in sampled]
        texts = iter([drawn[start : start + samples] for start in range(0, len(drawn), samples)])
        return [None if turn is None else next(texts) for turn in turns]

    def _turn(self, model: LanguageModel, prompt: Any, number: int) -> Turn | None:
        """A prompt as the model reads it; None, with a warning, where it is too long."""
        from nlhf.language.model import OverlongPromptError

        try:
            return model.turn(prompt)
        except OverlongPromptError as problem:
            log.warning("%s does not play on prompt %d: %s", self.name, number + 1, problem.fact)
            return None

    def _model(self) -> LanguageModel:
        """The model, its adapter merged into it."""
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        from nlhf.language.loading import wrapped
        from nlhf.models.bundled import bundled_model

        code: dict[str, Any] = {"trust_remote_code": self.options.trust_remote_code}
        with self.model.loading() as source:
            path = str(bundled_model()) if source == "bundled" else source
            tokenizer = AutoTokenizer.from_pretrained(path, **code)
            if (Path(path) / "adapter_config.json").exists():
                from peft import AutoPeftModelForCausalLM

                adapted: Any = AutoPeftModelForCausalLM.from_pretrained(path, dtype=torch.float32, **code)
                module: Any = adapted.merge_and_unload()
            else:
                module = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, use_safetensors=True, **code)
            module = in_memory(module)
        return wrapped(replace(self.options, lora=False), module.to(self.device), tokenizer, 0)


def gathered(
    places: Sequence[str], options: CausalLM, reference: bool, device: str, trust: Trust = NOTHING
) -> list[Contestant]:
    """The contestants of studies, runs, model folders and files.

    Args:
        places: paths.
        options: how models are drawn from; those of a run are drawn from as the run does.
        reference: does the base model of each run play too?
        device: where models are.
        trust: what the configs of runs may ask for.

    Raises: ConfigError where a place has none.
    """
    found: list[Contestant] = []
    for place in places:
        path = Path(place).expanduser()
        runs = [
            summary.parent
            for summary in sorted([*path.glob("summary.json"), *path.glob("*/summary.json")])
            if summary.parent == path or not is_moved_aside(summary.parent.name)
        ]
        mine: list[Contestant] = []
        if path.is_file() and path.suffix == ".jsonl":
            mine = [Writer(path.stem, InputFile(place))]
        elif any((path / name).exists() for name in WEIGHTS):
            mine = [Model(path.parent.name if path.name == "policy" else path.name, _saved(path), options, device)]
        elif runs:
            mine = [contestant for run in runs for contestant in _of_run(run, reference, device, trust)]
        if not mine:
            raise ConfigError(
                f"{place} has no policy: give a study or a run of language models, a folder that "
                "transformers loads, or a jsonl file with prompt and completion."
            )
        found += mine
    return _named(found)


def _of_run(run: Path, reference: bool, device: str, trust: Trust) -> Iterator[Contestant]:
    """The base model, the checkpoints that were kept, and the final policy of a run."""
    from nlhf.language.policy import CausalLM

    config, summary = untrusted_config(run), read_json(run / "summary.json") or {}
    if config is None or "policy" not in config or not (run / "policy").is_dir():
        return
    trust.check({"policy": config["policy"]}, run)
    policy: CausalLM = build(config["policy"], "policy", CausalLM)
    if reference:
        yield Model(REFERENCE, policy.model, policy, device)
    seeds = summary.get("seeds") or [0]
    method = str((config.get("names") or {}).get("algorithm", run.name)) + (f"-s{seeds[0]}" if seeds != [0] else "")
    last = max((summary.get("progress") or {}).get("iterations") or [0])
    kept = sorted(int(place.name) for place in (run / "policies").glob("[0-9]*") if (place / "policy").is_dir())
    for iteration in kept:
        if 0 < iteration < last:
            yield Model(f"{method}@{iteration}", _saved(run / "policies" / str(iteration) / "policy"), policy, device)
    yield Model(f"{method}@{last}", _saved(run / "policy"), policy, device)


def _saved(folder: Path) -> InputModel:
    return InputModel(str(folder), "contestant")


def _named(found: Sequence[Any]) -> list[Contestant]:
    """Each policy once, and names that are different."""
    once = list({contestant.identity: contestant for contestant in reversed(found)}.values())[::-1]
    count = Counter(contestant.name for contestant in once)
    return [
        replace(contestant, name=f"{contestant.name}-{contestant.identity[:4]}")
        if count[contestant.name] > 1
        else contestant
        for contestant in once
    ]
