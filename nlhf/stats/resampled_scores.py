"""Bootstrap intervals of Bradley-Terry scores: votes or whole clusters are drawn with replacement.

In a sample where an item wins all its votes, it gets the further vote of `separation`, so that its score is finite.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np
from scipy import sparse

from nlhf.numerics.bradley_terry import likelihood_scores, sigmoid
from nlhf.stats.bootstrap import LEVEL, expanded_tail
from nlhf.stats.paired_votes import PairedVotes
from nlhf.stats.scores import Scores
from nlhf.stats.separation import further_votes, separation

DRAWS = 1000
FEWEST_DRAWS = 200
CELLS = 1 << 21  # of what is computed at once
MOST_CELLS = 1 << 25  # clusters times samples up to which all samples are drawn
STEPS = 30
ACCURACY = 1e-9


def resampled_interval(votes: PairedVotes, fit: Scores, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """The 95% bootstrap intervals of the scores, (2, n), as `Scores.interval`.

    Args:
        votes: the votes.
        fit: their scores.
        draws: the number of samples; fewer for very many clusters.
        seed: of the samples.
    """
    if not fit.measured.any():
        return np.full((2, votes.items), np.nan)
    samples = (_with_further_votes(wins, votes, fit) for wins in _samples(votes, draws, np.random.default_rng(seed)))
    blocks = []
    while block := list(islice(samples, max(1, CELLS // votes.items**2))):
        blocks.append(_scores(np.array(block), fit))
    scores = np.concatenate(blocks)
    tail = (1 - LEVEL) / 2
    if votes.cluster is not None:
        tail = expanded_tail(votes.units, votes.units - 1)
    return fit.ends(np.quantile(scores - scores @ fit.separation.anchors.T, [tail, 1 - tail], axis=0))


def _with_further_votes(wins: np.ndarray, votes: PairedVotes, fit: Scores) -> np.ndarray:
    """A sample W (n, n) with the further votes of its separation."""
    same = bool(((wins > 0) == (votes.wins > 0)).all())
    separated = fit.separation if same else separation(wins, fit.separation.parts)
    return wins if separated.core.all() else wins + further_votes(separated, votes.sizes)[0] / 2


def _scores(wins: np.ndarray, fit: Scores) -> np.ndarray:
    """The scores (B, n) of W (B, n, n), by Newton steps with the information of the fit, or else with their own."""
    scores, active = np.repeat(fit.finite[None], len(wins), 0), np.arange(len(wins))
    won, votes = wins.sum(2), wins + wins.swapaxes(1, 2)
    for _ in range(STEPS):
        s = scores[active]
        step = (won[active] - (votes[active] * sigmoid(s[:, :, None] - s[:, None])).sum(2)) @ fit.inverse
        scores[active] += step
        active = active[~(np.abs(step).max(1) <= ACCURACY)]
        if not len(active):
            break
    for number in active:
        scores[number] = likelihood_scores(wins[number])
    return scores


def _samples(votes: PairedVotes, draws: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Wins (n, n) of samples of all votes, or of all clusters."""
    n = votes.items
    keys = np.concatenate([votes.a * n + votes.b, votes.b * n + votes.a])
    wins = np.concatenate([votes.votes * votes.share, votes.votes * (1 - votes.share)])
    if votes.cluster is None:
        chance = votes.votes / votes.votes.sum()
        for _ in range(draws):
            number = np.tile(rng.multinomial(votes.units, chance) / votes.votes, 2)
            yield np.bincount(keys, wins * number, n * n).reshape(n, n)
        return
    units = votes.units
    table = sparse.csr_matrix((wins, (keys, np.tile(votes.cluster, 2))), (n * n, units))
    draws = max(min(draws, FEWEST_DRAWS), min(draws, MOST_CELLS // units))
    step = max(1, CELLS // units)
    for k in range(0, draws, step):
        number = rng.multinomial(units, np.full(units, 1 / units), min(step, draws - k))
        for sample in (table @ number.T).T:
            yield sample.reshape(n, n)
