"""The pairs to vote on next, from a file of votes to a file of pairs, with a history that detects changed votes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from nlhf.config import ConfigError
from nlhf.io.files import writing
from nlhf.io.inputs import InputFile
from nlhf.leaderboard.counted import CountedVotes, count_votes
from nlhf.leaderboard.history import History, read_history, row_hashes
from nlhf.leaderboard.next_votes import NextVotes, suggest
from nlhf.leaderboard.pairs_file import check_answers, write_pairs
from nlhf.leaderboard.voters import PEOPLE
from nlhf.votes.hashed import write_hashed
from nlhf.votes.read import Selection


@dataclass(frozen=True)
class Request:
    """What a user asks for.

    Args:
        path: the file of votes.
        chosen: which votes are used.
        items: all items; empty for those that have votes.
        batch: the number of next votes; None for 3% of the votes so far, but at least 20.
        target: certified exploitability that is wanted.
        out: the file of pairs.
        seed: of the order of pairs and sides, and of the simulations.
        draws: simulated continuations.
        accept: go on although earlier votes were changed or removed.
    """

    path: str
    chosen: Selection
    items: tuple[str, ...]
    batch: int | None
    target: float
    out: Path
    seed: int
    draws: int
    accept: bool

    def __post_init__(self) -> None:
        if self.batch is not None and self.batch < 1:
            raise ConfigError(f"--batch {self.batch} is too small: ask for 1 vote or more.")
        if not 0 < self.target < 0.5:
            raise ConfigError(f"--target {self.target:g} is out of range: give an exploitability between 0 and 0.5.")
        if self.draws < 0:
            raise ConfigError(f"--simulations {self.draws} is negative: give 0 or more.")
        if self.seed < 0:
            raise ConfigError(f"--seed {self.seed} is negative: give 0 or more.")


def ask(request: Request) -> tuple[NextVotes, History]:
    """Choose the next votes, write the file of pairs, and bring the history beside it up to date.

    Raises: ConfigError for bad input, for earlier votes that were changed, and for answers that would be lost.
    """
    counted = count_votes(request.path, request.chosen, request.items)
    if request.out.resolve() == counted.source.file.location.resolve():
        raise ConfigError(f"--out {request.out} would replace the votes: give another name.")
    state = request.out.with_suffix(".state.json")
    before = read_history(state)
    now = _history(request, counted, before, state)
    check_answers(request.out, counted.cast[len(before.rows) if before else 0 :])
    rng = np.random.default_rng([request.seed, len(counted.cast)])
    suggestion = suggest(counted, request.batch, request.target, request.draws, rng)
    with writing(request.out):
        request.out.parent.mkdir(parents=True, exist_ok=True)
    write_pairs(request.out, counted, request.chosen, suggestion.numbers, rng)
    now.write(state)
    return suggestion, now


def _history(request: Request, counted: CountedVotes, before: History | None, state: Path) -> History:
    """The history with the present rows.

    Raises: ConfigError for changes that the user has not accepted.
    """
    chosen = request.chosen
    settings = {
        "--context": list(chosen.context),
        "--where": dict(sorted(chosen.where.items())),
        "--drop": sorted(chosen.drop),
        "--cluster": list(counted.cluster),
        "--both-bad": chosen.both_bad,
    }
    now = History(request.path, settings, counted.items, row_hashes(counted, chosen.context))
    if before is None:
        return now
    change = before.change(now)
    accepted = before.accepted
    if change and not request.accept:
        raise ConfigError(
            f"{request.path}: {change} since the last call ({state}); the bound holds while votes are only added, and "
            "fails if votes are changed or left out because of what they say: undo it, or add --accept-changes if "
            "the outcomes of votes played no part in it."
        )
    if change:
        accepted = (*accepted, change)
    return replace(now, accepted=accepted)


def items_of(text: str) -> tuple[str, ...]:
    """The items in a list with commas, or in a file with one in each line.

    Raises: ConfigError for items that are named twice.
    """
    lines = [line for _, line in InputFile(text, "--items").lines()] if Path(text).is_file() else text.split(",")
    items = [line.strip() for line in lines if line.strip()]
    if twice := [item for item in items if items.count(item) > 1]:
        raise ConfigError(f"--items names {twice[0]} twice: name each item once.")
    return tuple(items)


def write_voters(request: Request, columns: Sequence[str], counted: CountedVotes) -> Path:
    """Write a copy of the votes with hashed voters beside the file of pairs; returns its path.

    Args:
        columns: that name voters; empty for those whose names say so.

    Raises: ConfigError for a column that the votes lack, and if none names voters.
    """
    names = counted.cast[0].cells if counted.cast else {}
    voters = list(columns) or [name for name in names if name.casefold() in PEOPLE]
    if not voters:
        raise ConfigError(f"{request.path} has no column of voters: name it, as in --hash-voters annotator.")
    out = request.out.with_suffix(".hashed.csv")
    write_hashed(counted.cast, voters, out)
    return out
