"""The rankings of voters, from their votes on all pairs, and the game of several competitors that they define."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from nlhf.config import ConfigError
from nlhf.games.protocol import FiniteGame
from nlhf.votes.clusters import values_of
from nlhf.votes.file import Vote

log = logging.getLogger(__name__)


def competition(
    cast: Sequence[Vote],
    items: Sequence[str],
    names: Sequence[str],
    competitors: int,
    streams: Sequence[np.random.Generator],
) -> FiniteGame:
    """The game against competitors, judged by all voters who have voted on every pair.

    Args:
        streams: draw the voters of an instance each, with replacement; without any, all voters count once.

    Raises: ConfigError if no voter has votes on all pairs.
    """
    from nlhf.games.competition import CompetitionGame

    scores, voters = voter_scores(cast, items, names)
    unit, used = ", ".join(names), len(scores)
    if not used:
        raise ConfigError(
            f"game.competitors={competitors}: none of {voters} values of {unit} has votes on all pairs: drop items, or "
            "set game.competitors=null."
        )
    if used < voters:
        log.warning("%d of %d values of %s have no vote on some pair and are not used", voters - used, voters, unit)
    drawn = [rng.integers(used, size=used) for rng in streams] or [np.arange(used)]
    weights = [np.bincount(voters_drawn, minlength=used) for voters_drawn in drawn]
    return CompetitionGame.of([scores] * len(weights), weights, competitors, items)


def voter_scores(cast: Sequence[Vote], items: Sequence[str], names: Sequence[str]) -> tuple[np.ndarray, int]:
    """How many items each item beats by majority, ties one half, for every voter who has voted on all pairs.

    The scores of a voter with a transitive preference give its ranking; items in a cycle may be tied.

    Args:
        cast: the votes.
        items: n names.
        names: the columns that name the voter.

    Returns: scores (T, n) of these voters, and the number of all voters.
    """
    index = {item: number for number, item in enumerate(items)}
    voters = {cells: number for number, cells in enumerate(dict.fromkeys(values_of(vote, names) for vote in cast))}
    wins = np.zeros((len(voters), len(items), len(items)))
    for vote in cast:
        voter, a, b = voters[values_of(vote, names)], index[vote.a], index[vote.b]
        wins[voter, a, b] += vote.wins_a
        wins[voter, b, a] += vote.wins_b
    total = wins + wins.swapaxes(1, 2)
    complete = ((total > 0) | np.eye(len(items), dtype=bool)).all((1, 2))
    beaten = (np.sign(wins - wins.swapaxes(1, 2)) / 2 + 0.5).sum(2) - 0.5
    return beaten[complete], len(voters)
