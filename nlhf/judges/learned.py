"""A judge that `nlhf judge train` has learned, and the folder that it lives in.

judge.json         what was chosen, what it was graded, the options and the SHA-256 of the votes
head.safetensors   the head
encoder/           the encoder, where it was trained too
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nlhf.config import ConfigError
from nlhf.io.json_files import read_json
from nlhf.judges.base import Answer, Pair, TextJudge
from nlhf.models.bundled import bundled_embedder
from nlhf.models.content import InputFolder, InputModel, content
from nlhf.numerics.bradley_terry import sigmoid

if TYPE_CHECKING:
    from nlhf.judges.options import Training
    from nlhf.judges.text_votes import TextVotes
    from nlhf.judges.train import Learned

CARD, HEAD = "judge.json", "head.safetensors"


class LearnedModel(InputFolder):
    """The folder of a learned judge."""

    def _content(self) -> str:
        return digest(self.source)


@dataclass(frozen=True)
class LearnedJudge(TextJudge):
    """Reads an answer once, and compares two readings in O(1).

    Args:
        model: the folder.
        voters: as which of the groups of voters that it learned from it judges; null for all of
            them together.
        batch: texts that are read at once.
        kind: that it must be of, as it was called in training; any by default.
    """

    model: LearnedModel
    voters: str | None
    batch: int
    kind: str | None = None

    def preference(self, pairs: Sequence[Pair]) -> np.ndarray:
        import torch

        sides = [torch.from_numpy(np.array(self._known([(pair[0], pair[side]) for pair in pairs], self._readings)))
                 for side in (1, 2)]  # fmt: skip
        judge = self._loaded[0]
        with torch.no_grad():
            logits = judge.head.compare(*sides) / judge.temperatures[self._voters]
        if logits.isnan().any():
            raise ConfigError(f"game.judge.model={self.model} gives preferences that are no numbers: train it again.")
        return sigmoid(logits.numpy())

    def _readings(self, answers: list[Answer]) -> np.ndarray:
        """What the head reads in answers, float64 (n, 1 + dimensions)."""
        import torch

        from nlhf.judges.reader import features

        judge, options = self._loaded
        voters = torch.full((len(answers),), self._voters)
        with torch.no_grad():
            found = judge.head.read(features(answers, judge.encoder, options.surface).double(), voters)
        if not found.isfinite().all():
            raise ConfigError(f"game.judge.model={self.model} reads what is no number: train it again.")
        return np.asarray(found.numpy())

    @property
    def _voters(self) -> int:
        return self._loaded[0].voters[self.voters] if self.voters else 0

    @cached_property
    def _loaded(self) -> tuple[Learned, Training]:
        with self.model.unchanged() as folder:
            judge, options = load(folder, self.batch, self.run_device)
        if self.kind not in (None, options.judge):
            raise ConfigError(f"game.judge.model={self.model} is a {options.judge}, no {self.kind}: choose "
                              f"judge={options.judge}.")  # fmt: skip
        if self.voters is not None and self.voters not in judge.voters:
            known = ", ".join(judge.voters) or "none apart"
            raise ConfigError(f"game.judge.voters={self.voters}: {self.model} has learned from {known}.")
        return judge, options

    @property
    def account(self) -> dict[str, Any]:
        return {**super().account, "cut_texts": self._loaded[0].encoder.cutter.cut if "_loaded" in self.__dict__ else 0}

    @property
    def decides(self) -> dict[str, Any]:
        """What decides the judge's answers, for the fingerprint: not where the folder is, but what is in it."""
        return {"learned": self.model, "voters": self.voters}


def is_learned(folder: str) -> bool:
    """Is this the folder of a learned judge?"""
    return (Path(folder).expanduser() / CARD).is_file()


def learned_from(folder: str, votes: TextVotes) -> int:
    """On how many prompts of these votes was the judge of a folder, if there is one, learned?"""
    card: Any = read_json(Path(folder).expanduser() / CARD) if folder else None
    known = set((card or {}).get("prompts", ()))
    return len(known & {of_prompt(votes.answers[first][0]) for first, _ in votes.pairs.tolist()})


def of_prompt(prompt: str) -> str:
    """What judge.json knows a prompt by."""
    return hashlib.sha256(prompt.encode()).hexdigest()[:16]


def digest(folder: str) -> str:
    """SHA-256 of what decides a learned judge's answers: how, when, by which versions and with which grades it was
    learned does not."""
    path = _card(folder)
    card: Any = read_json(path)
    try:
        options = card["options"]
        known = [options[key] for key in ("judge", "max_tokens", "surface", "hidden", "dimensions")]
        deciding = json.dumps([known, card["voters"], card["temperatures"], content(encoder_of(path.parent, options))])
        return hashlib.sha256(deciding.encode() + path.with_name(HEAD).read_bytes()).hexdigest()
    except (KeyError, TypeError, OSError) as error:
        raise ConfigError(f"game.judge.model={folder} cannot be read ({error}): train it again.") from error


def encoder_of(folder: Path, options: dict[str, Any]) -> str:
    """The encoder of a judge: its own, or the one that was given."""
    if options["fine_tune"]:
        return str(folder / "encoder")
    return str(bundled_embedder()) if options["encoder"] == "bundled" else str(options["encoder"])


def save(folder: Path, judge: Learned, card: dict[str, Any]) -> None:
    """Write the judge; judge.json, which makes it one, comes last."""
    from safetensors.torch import save as as_bytes

    from nlhf.io.files import replacing
    from nlhf.io.json_files import write_json

    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / HEAD, "wb") as stream:
        stream.write(as_bytes({name: value.contiguous() for name, value in judge.head.state_dict().items()}))
    if card["options"]["fine_tune"]:
        judge.encoder.save(folder / "encoder")
    chosen = {"voters": judge.voters, "temperatures": judge.temperatures, "penalty": judge.penalty,
              "epochs": judge.epochs}  # fmt: skip
    write_json(folder / CARD, {**card, **chosen})


def load(folder: str, batch: int, device: str = "cpu") -> tuple[Learned, Training]:
    """The judge of a folder, in float64, and the options of its training. Its encoder is on `device`.

    Raises: ConfigError.
    """
    from safetensors.torch import load_file

    from nlhf.judges.encoder import Encoder
    from nlhf.judges.options import Training
    from nlhf.judges.train import Learned

    path = _card(folder)
    try:
        card: Any = read_json(path)
        options = Training(**card["options"])
        model = InputModel(encoder_of(path.parent, card["options"]), "game.judge.model")
        encoder = Encoder(model, options.max_tokens, batch, device)
        weights = load_file(path.with_name(HEAD))
        head = options.head(len(weights["mean"]), len(card["voters"]))
        head.load_state_dict(weights)
        if not all(0 < temperature < float("inf") for temperature in card["temperatures"]):
            raise ValueError("a temperature is no positive number")
        return Learned(head.double().eval(), encoder, card["voters"], card["temperatures"], card["penalty"],
                       card["epochs"]), options  # fmt: skip
    except ConfigError:
        raise
    except Exception as error:  # damaged files raise many types, of safetensors and tokenizers too
        raise ConfigError(f"game.judge.model={folder} cannot be read ({error}): train it again.") from error


def _card(folder: str) -> Path:
    path = Path(folder).expanduser() / CARD
    if not path.is_file():
        raise ConfigError(f"game.judge.model={folder} has no {CARD}: give a folder that nlhf judge train "
                          "has written.")  # fmt: skip
    return path
