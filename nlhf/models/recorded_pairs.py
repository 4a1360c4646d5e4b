"""Pairs of completions that were compared before: the columns chosen and rejected of files and datasets."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass

from nlhf.config import ConfigError
from nlhf.io.frames import Frame
from nlhf.models.prompt_files import CHOSEN
from nlhf.votes.formats.pairs import chosen_rejected

log = logging.getLogger("nlhf")


@dataclass(frozen=True)
class RecordedPair:
    """Two completions of a prompt.

    Args:
        chosen, rejected: their texts.
        share: of the votes for the first one, 1/2 for a tie.
    """

    chosen: str
    rejected: str
    share: float


def read_pairs(table: Frame) -> dict[int, RecordedPair]:
    """The pairs of a table by line or row; rows without a pair are counted in a warning.

    Raises: ConfigError for a table without the columns, or without a pair.
    """
    if not set(CHOSEN) <= set(table.columns):
        raise ConfigError(
            f"{table.source} has no columns chosen and rejected, which prox.recorded=file reads: add them, or give "
            "prox.recorded=NUMBER."
        )
    pairs, reasons = {}, Counter[str]()
    for row, vote in chosen_rejected(table):
        reason = vote if isinstance(vote, str) else vote.reason("tie")
        if isinstance(vote, str) or reason is not None:
            reasons[str(reason)] += 1
        else:
            pairs[table.lines[row]] = RecordedPair(
                vote.a, vote.b, (vote.votes[0] + vote.votes[2] / 2) / sum(vote.votes)
            )
    for reason, count in reasons.items():
        log.warning("%s: %d rows are no pairs: they %s", table.source, count, reason)
    if not pairs:
        raise ConfigError(f"{table.source} has no pair of completions: give chosen and rejected answers.")
    return pairs
