"""A contestant whose completions are sampled from a model."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nlhf.models.content import InputModel, in_memory

if TYPE_CHECKING:
    from nlhf.language.model import LanguageModel
    from nlhf.language.policy import CausalLM
    from nlhf.language.reading import Turn

COMPLETIONS = 16  # drawn at once, unless policy.micro_batch is given
log = logging.getLogger("nlhf")


@dataclass
class Loaded:
    """Holds the model that was loaded last, so that its next completions need no further load.

    Args:
        identity: of the contestant; empty while no model is loaded.
        model: is in memory.
    """

    identity: str = ""
    model: Any = None

    def of(self, contestant: Model) -> LanguageModel:
        """The model of a contestant; another one is removed from memory first."""
        if contestant.identity != self.identity:
            self.identity, self.model = "", None
            self.model = contestant.load()
            self.identity = contestant.identity
        loaded: LanguageModel = self.model
        return loaded


@dataclass(frozen=True)
class Model:
    """A model, or an adapter with its base model, that transformers and peft load.

    Args:
        model: the files.
        options: how completions are sampled.
        device: the device of the model.
        loaded: shared by contestants of which one at a time is in memory.
    """

    name: str
    model: InputModel
    options: CausalLM
    device: str
    loaded: Loaded = field(default_factory=Loaded, compare=False, repr=False)

    @cached_property
    def identity(self) -> str:
        drawn = {key: getattr(self.options, key) for key in ("max_new_tokens", "temperature", "top_p")}
        return hashlib.sha256(json.dumps([drawn, self.model.digest]).encode()).hexdigest()

    def lacking(self, prompts: Sequence[Any], samples: int) -> dict[int, str]:
        """Nothing: prompts that are too long are found once the model is loaded."""
        return {}

    def wrote(self, prompt: Any, texts: Sequence[str]) -> bool:
        return False

    def complete(self, prompts: Sequence[Any], samples: int, seed: int, first: int) -> list[list[str] | None]:
        import numpy as np

        model, identity = (
            self.loaded.of(self),
            int(self.identity[:8], 16),
        )  # contestants draw independently of each other
        turns = [self._turn(model, prompt, first + index) for index, prompt in enumerate(prompts)]
        tokens = [turn.tokens for turn in turns if turn is not None for _ in range(samples)]
        streams = [np.random.default_rng([seed, identity, first + index]) for index, turn in enumerate(turns) if turn]
        uniforms = np.array([stream.random(samples) for stream in streams]).ravel()
        drawn: list[str] = []
        size = self.options.micro_batch or COMPLETIONS
        for start in range(0, len(tokens), size):
            sampled = model.sample([(None, 1.0)], tokens[start : start + size], uniforms[start : start + size])
            drawn += [model.decoded(completion) for completion in sampled]
        texts = iter([drawn[start : start + samples] for start in range(0, len(drawn), samples)])
        return [None if turn is None else next(texts) for turn in turns]

    def _turn(self, model: LanguageModel, prompt: Any, number: int) -> Turn | None:
        """A prompt as the model reads it; None, with a warning, if it is too long."""
        from nlhf.models.tokens import OverlongPromptError

        try:
            return model.turn(prompt)
        except OverlongPromptError as problem:
            log.warning("%s does not play on prompt %d: %s", self.name, number + 1, problem.fact)
            return None

    def load(self) -> LanguageModel:
        """The model with its adapter merged."""
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
        return wrapped(replace(self.options, lora=False, shard=False), module.to(self.device), tokenizer, 0)
