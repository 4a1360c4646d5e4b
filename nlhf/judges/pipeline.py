"""From votes to the folder of a judge: fit it, grade it on held-out prompts, and write it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any

import numpy as np

from nlhf.config import ConfigError
from nlhf.environment import environment
from nlhf.io.files import writing
from nlhf.io.json_files import read_json
from nlhf.judges import folder as files
from nlhf.judges import grades, train
from nlhf.judges.encoder import Encoder
from nlhf.judges.reader import Reader
from nlhf.models.content import InputModel
from nlhf.numerics.bradley_terry import sigmoid
from nlhf.stats.calibration import Bin, calibration
from nlhf.terminal import say

if TYPE_CHECKING:
    from nlhf.judges.options import Training
    from nlhf.judges.text_votes import TextVotes

VERSION = 3  # of the folder; raise it when the same votes and options give another judge
ALL_VOTERS = " of all voters"  # suffix of a judge's name where it judges for all groups of voters together
Counter = Callable[..., Callable[[int], None]]  # makes a progress callback from a title


def train_judge(options: Training, votes: TextVotes, counter: Counter) -> None:
    """Train a judge, grade it on held-out prompts, and write its folder, unless the folder already holds this judge.

    Raises: ConfigError if the folder holds another judge, WriteError if it cannot be written.
    """
    start = InputModel(files.encoder_of(Path(options.out), {**asdict(options), "fine_tune": False}), "encoder")
    folder = Path(options.out)
    card = {"version": VERSION, "options": asdict(options), "data": _digest(votes), "encoder": start.digest}
    if _trained_before(folder, card):
        say(f"trained before: {folder}")
        return
    _check_writable(folder)
    encoder = Encoder(start, options.max_tokens, options.batch, options.device)
    voters = {name: number for number, name in enumerate(np.unique(votes.sources).tolist(), 1)}
    voters = voters if len(voters) > 1 else {}
    reader = Reader.of(options, votes, encoder, counter(f"reading {len(votes.answers)} completions"))
    logits = _held_out_logits(reader, voters, counter)
    judge = train.fit(reader, np.arange(len(votes)), voters)
    chances = {name: sigmoid(values) for name, values in logits.items()}
    rows = grades.table(chances, votes)
    curves = {row["source"]: _reliability(chances[options.judge], votes, row["source"]) for row in rows}
    files.write_predictions(folder, votes, logits)
    prompts = sorted({files.prompt_digest(prompt) for prompt, _ in votes.answers})
    files.save(folder, judge, {**card, "grades": rows, "reliability": curves, "prompts": prompts, **environment()})


def _held_out_logits(reader: Reader, voters: dict[str, int], counter: Counter) -> dict[str, np.ndarray]:
    """Held-out logits (n) of the judge and of a Bradley-Terry judge, by each pair's own voters and by all voters."""
    logits: dict[str, np.ndarray] = {}
    folds = reader.options.folds
    for name in dict.fromkeys((reader.options.judge, "bradley_terry")):
        judge_reader = replace(reader, options=replace(reader.options, judge=name))
        logits[name], by_all = train.grade(judge_reader, voters, counter(f"{name}: fold of {folds}", count=False))
        if voters:
            logits[f"{name}{ALL_VOTERS}"] = by_all
    return logits


def _trained_before(folder: Path, card: dict[str, Any]) -> bool:
    """True if the folder already holds this judge.

    Raises: ConfigError if it holds another one.
    """
    stored: Any = read_json(folder / files.CARD)
    if stored is None:
        return False
    ignored = {"batch": 0, "out": "", "data": "", "device": ""}
    same = all(stored.get(key) == card[key] for key in ("version", "data", "encoder"))
    if not same or {**stored["options"], **ignored} != {**card["options"], **ignored}:
        raise ConfigError(f"out={folder} holds a judge of other votes or options: give another folder, or remove it.")
    try:
        files.load(str(folder), 1)
    except ConfigError:
        return False  # a file is damaged or missing
    return True


def _check_writable(folder: Path) -> None:
    """Write a temporary file into the folder, which is needed only after some minutes.

    Raises: WriteError.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass


def _digest(votes: TextVotes) -> str:
    """SHA-256 of the votes."""
    content = (votes.answers, votes.pairs.tolist(), votes.votes.tolist(), votes.sources.tolist())
    return hashlib.sha256(repr(content).encode()).hexdigest()


def _reliability(chance: np.ndarray, votes: TextVotes, source: str) -> list[Bin]:
    """The bins of the reliability diagram of one source, or of `all`."""
    chosen = (votes.sources == source) | (source == "all")
    return calibration(chance[chosen], votes.share[chosen], votes.number[chosen])[1]
