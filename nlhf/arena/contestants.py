"""The contestants: final policies and checkpoints of runs, model folders, and files of completions.

A contestant from a run is named after its method and iteration, `nash_prox_fast@76`. When the run continues, its later
policies are new contestants, and the earlier ones stay.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from nlhf.arena.completion_file import CompletionFile
from nlhf.arena.model import Loaded, Model
from nlhf.config import ConfigError, build
from nlhf.io.files import is_moved_aside
from nlhf.io.inputs import InputFile
from nlhf.io.json_files import read_json
from nlhf.models.content import InputModel
from nlhf.runner.trust import NOTHING, Trust, untrusted_config

if TYPE_CHECKING:
    from nlhf.language.policy import CausalLM

REFERENCE = "reference"
WEIGHTS = ("adapter_model.safetensors", "model.safetensors", "adapter_config.json", "config.json")


class Contestant(Protocol):
    """Something that completes prompts."""

    @property
    def name(self) -> str:
        """The name in tables."""

    @property
    def identity(self) -> str:
        """A digest of all that decides its completions."""

    def lacking(self, prompts: Sequence[Any], samples: int) -> dict[int, str]:
        """The indices of prompts that it is already known to be unable to complete, each with the reason."""

    def wrote(self, prompt: Any, texts: Sequence[str]) -> bool:
        """True if these are its completions of a prompt, as far as that is known without drawing them."""

    def complete(self, prompts: Sequence[Any], samples: int, seed: int, first: int) -> list[list[str] | None]:
        """`samples` completions of every prompt; None for a prompt that it cannot complete.

        `first` is the number of the first prompt in the arena: a prompt's completions do not depend on which other
        prompts are completed in the same call.
        """


def gathered(
    paths: Sequence[str], options: CausalLM, reference: bool, device: str, trust: Trust = NOTHING
) -> list[Contestant]:
    """The contestants of studies, runs, model folders and files.

    Args:
        paths: of studies, runs, model folders and files.
        options: how completions of model folders are sampled; those of runs are sampled as in the run.
        reference: whether the base model of each run plays too.
        device: the device of the models.
        trust: what the configs of runs may load.

    Raises: ConfigError if a path has no contestant.
    """
    contestants: list[Contestant] = []
    loaded = Loaded()
    for name in paths:
        path = Path(name).expanduser()
        runs = [
            summary.parent
            for summary in sorted([*path.glob("summary.json"), *path.glob("*/summary.json")])
            if summary.parent == path or not is_moved_aside(summary.parent.name)
        ]
        new: list[Contestant] = []
        if path.is_file() and path.suffix == ".jsonl":
            new = [CompletionFile(path.stem, InputFile(name))]
        elif any((path / file).exists() for file in WEIGHTS):
            title = path.parent.name if path.name == "policy" else path.name
            new = [Model(title, _saved(path), options, device, loaded)]
        elif runs:
            new = [contestant for run in runs for contestant in _of_run(run, reference, device, trust, loaded)]
        if not new:
            raise ConfigError(
                f"{name} has no policy: give a study or a run of language models, a folder that "
                "transformers loads, or a jsonl file with prompt and completion."
            )
        contestants += new
    return _named(contestants)


def _of_run(run: Path, reference: bool, device: str, trust: Trust, loaded: Loaded) -> Iterator[Contestant]:
    """The base model, the stored checkpoints, and the final policy of a run."""
    from nlhf.language.policy import CausalLM

    config, summary = untrusted_config(run), read_json(run / "summary.json") or {}
    if config is None or "policy" not in config or not (run / "policy").is_dir():
        return
    trust.check({"policy": config["policy"]}, run)
    policy: CausalLM = build(config["policy"], "policy", CausalLM)
    if reference:
        yield Model(REFERENCE, policy.model, policy, device, loaded)
    seeds = summary.get("seeds") or [0]
    method = str((config.get("names") or {}).get("algorithm", run.name)) + (f"-s{seeds[0]}" if seeds != [0] else "")
    last = max((summary.get("progress") or {}).get("iterations") or [0])
    stored = (run / "policies").glob("[0-9]*")
    for iteration in sorted(int(folder.name) for folder in stored if (folder / "policy").is_dir()):
        if 0 < iteration < last:
            stored_policy = _saved(run / "policies" / str(iteration) / "policy")
            yield Model(f"{method}@{iteration}", stored_policy, policy, device, loaded)
    yield Model(f"{method}@{last}", _saved(run / "policy"), policy, device, loaded)


def _saved(folder: Path) -> InputModel:
    return InputModel(str(folder), "contestant")


def _named(contestants: Sequence[Any]) -> list[Contestant]:
    """Each policy once, under a name of its own."""
    once = list({contestant.identity: contestant for contestant in reversed(contestants)}.values())[::-1]
    count = Counter(contestant.name for contestant in once)
    return [
        replace(contestant, name=f"{contestant.name}-{contestant.identity[:4]}")
        if count[contestant.name] > 1
        else contestant
        for contestant in once
    ]
