"""From votes to the folder of a judge: it is learned, graded on prompts that were held out, and written."""

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
from nlhf.judges import grades, learned, train
from nlhf.judges.encoder import Encoder
from nlhf.judges.reader import Reader
from nlhf.models.content import InputModel
from nlhf.numerics.bradley_terry import sigmoid
from nlhf.records import Table
from nlhf.stats.calibration import Bin, calibration
from nlhf.terminal import say

if TYPE_CHECKING:
    from nlhf.judges.options import Training
    from nlhf.judges.text_votes import TextVotes

VERSION = 2  # of what is written, raised when the same votes and options give another judge
UNNAMED = " of all voters"  # what a judge is called that is not told whose votes it stands for


def learn(options: Training, votes: TextVotes, counter: Callable[..., Callable[[int], None]]) -> None:
    """Learn a judge, grade it on prompts that were held out, and write its folder, unless this very judge is there.

    Args:
        options: of the training.
        votes: what it is learned from.
        counter: makes of a title something that hears how far it has come.

    Raises: ConfigError where the folder holds another judge, WriteError where it cannot be written.
    """
    start = InputModel(learned.encoder_of(Path(options.out), {**asdict(options), "fine_tune": False}), "encoder")
    folder, card = Path(options.out), {"version": VERSION, "options": asdict(options), "data": _digest(votes),
                                       "encoder": start.digest}  # fmt: skip
    if _trained_before(folder, card):
        say(f"trained before: {folder}")
        return
    _try(folder)
    encoder = Encoder(start, options.max_tokens, options.batch, options.device)
    voters = {name: place for place, name in enumerate(np.unique(votes.sources).tolist(), 1)}
    voters = voters if len(voters) > 1 else {}
    reader = Reader.of(options, votes, encoder, counter(f"reading {len(votes.answers)} completions"))
    logits: dict[str, np.ndarray] = {}
    for kind in dict.fromkeys((options.judge, "bradley_terry")):
        mine = Reader(replace(options, judge=kind), votes, encoder, reader.table)
        own, shared = train.grade(mine, voters, counter(f"{kind}: fold of {options.folds}", count=False))
        logits |= {kind: own} | ({f"{kind}{UNNAMED}": shared} if voters else {})
    judge = train.fit(reader, np.arange(len(votes)), voters)
    chances = {method: sigmoid(values) for method, values in logits.items()}
    rows = grades.table(chances, votes)
    chance = chances[options.judge]
    curves = {row["source"]: _reliability(chance, votes, row["source"]) for row in rows}
    _write_predictions(folder / "predictions.csv", votes, logits)
    prompts = sorted({learned.of_prompt(prompt) for prompt, _ in votes.answers})
    learned.save(folder, judge, {**card, "grades": rows, "reliability": curves, "prompts": prompts, **environment()})


def _trained_before(folder: Path, card: dict[str, Any]) -> bool:
    """Is this very judge there?

    Raises: ConfigError where another one is.
    """
    known: Any = read_json(folder / learned.CARD)
    if known is None:
        return False
    spared = {"batch": 0, "out": "", "data": "", "device": ""}
    same = all(known.get(key) == card[key] for key in ("version", "data", "encoder"))
    if not same or {**known["options"], **spared} != {**card["options"], **spared}:
        raise ConfigError(f"out={folder} holds a judge of other votes or options: give another folder, or remove it.")
    try:
        learned.load(str(folder), 1)
    except ConfigError:
        return False  # a part of it is lost
    return True


def _try(folder: Path) -> None:
    """Write something into a folder that will be needed in some minutes.

    Raises: WriteError.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass


def _digest(votes: TextVotes) -> str:
    return hashlib.sha256(repr((votes.answers, votes.pairs.tolist(), votes.votes.tolist(),
                                votes.sources.tolist())).encode()).hexdigest()  # fmt: skip


def _reliability(chance: np.ndarray, votes: TextVotes, source: str) -> list[Bin]:
    """The bins of the reliability diagram of one source, or of all."""
    chosen = (votes.sources == source) | (source == "all")
    return calibration(chance[chosen], votes.share[chosen], votes.number[chosen])[1]


def _write_predictions(path: Path, votes: TextVotes, logits: dict[str, np.ndarray]) -> None:
    """A row for each pair: where it is from, its votes, and the logits of judges that knew nothing of its prompt."""
    names = {kind: f"logit_{kind}" for kind in logits}
    table = Table(path, ["source", "prompt", "a", "b", "votes_a", "votes_b", "ties", *names.values()])
    for place, (a, b) in enumerate(votes.pairs.tolist()):
        first, second, ties = votes.votes[place].tolist()
        table.add(source=votes.sources[place], prompt=votes.answers[a][0], a=votes.answers[a][1], b=votes.answers[b][1],
                  votes_a=first, votes_b=second, ties=ties,
                  **{name: float(logits[kind][place]) for kind, name in names.items()})  # fmt: skip
    table.flush()
