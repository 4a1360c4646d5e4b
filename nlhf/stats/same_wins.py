"""Votes redrawn from a Bradley-Terry model, given how many votes each item wins in total.

The totals are sufficient statistics: given them and the number of votes on each pair, the distribution of the votes
does not depend on the scores. A test that redraws votes with these totals is exact for any number of votes, and the
fit of the scores is the same in every redraw. (H. David, The Method of Paired Comparisons, 1988, chapter 4.)

The redraws come from a Metropolis chain. A move takes a cycle of three or four items and lets each item win k votes
more, or fewer, against the next one. The chain goes from the votes to a hub, and from there back along the same moves,
once for each redraw. The votes and the redraws are then exchangeable, so that the p-value is exact for any number of
moves (J. Besag, P. Clifford, Generalized Monte Carlo significance tests, Biometrika 76:633, 1989).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln

MOVES = 10  # of each pair, on average
MOST_STEPS = 1000
TABLE = 1 << 20  # votes on a pair up to which logarithms of factorials come from a table


@dataclass(frozen=True)
class _Step:
    """Cycles of items that share no item, and the number of votes that a move shifts along each.

    Args:
        forward: indices of the pairs (item, next item) of each cycle, flattened, (length, cycles).
        backward: indices of the pairs (next item, item).
        votes: the number of votes.
    """

    forward: np.ndarray
    backward: np.ndarray
    votes: int


def redrawn_with_same_wins(wins: np.ndarray, redraws: int, rng: np.random.Generator) -> np.ndarray:
    """Tables (redraws, n, n) of wins with the row sums and the votes on each pair of `wins` (n, n), whole numbers."""
    n = len(wins)
    flat = np.rint(wins).astype(np.int64).reshape(1, -1)
    if n < 3:
        return np.repeat(flat, redraws, 0).reshape(-1, n, n)
    most = int((flat + flat.reshape(n, n).T.reshape(1, -1)).max())
    steps = _steps(n, most, rng)
    log_factorial = _log_factorial(most, max(step.votes for step in steps))
    hub = flat
    for step in steps:
        hub = _moved(hub, step, log_factorial, rng)
    drawn = np.repeat(hub, redraws, 0)
    for step in reversed(steps):
        drawn = _moved(drawn, step, log_factorial, rng)
    return drawn.reshape(-1, n, n)


def _steps(n: int, most: int, rng: np.random.Generator) -> list[_Step]:
    """The steps of a chain, for n items and at most `most` votes on a pair."""
    largest = 1 + most**0.5 / 2  # about one standard deviation of the wins on a pair
    steps = []
    for _ in range(min(MOVES * (n - 1), MOST_STEPS)):
        length = 4 if n > 3 and rng.random() < 0.25 else 3
        items = rng.permutation(n)[: n // length * length].reshape(length, -1)
        following = np.roll(items, -1, 0)
        steps.append(_Step(items * n + following, following * n + items, int(largest ** rng.random())))
    return steps


def _moved(
    wins: np.ndarray, step: _Step, log_factorial: Callable[[np.ndarray], np.ndarray], rng: np.random.Generator
) -> np.ndarray:
    """The tables (R, n * n) after one step, in place."""
    cycles = step.forward.shape[1]
    shift = np.where(rng.random((len(wins), 1, cycles)) < 0.5, -step.votes, step.votes)
    forward, backward = wins[:, step.forward], wins[:, step.backward]
    raised, lowered = forward + shift, backward - shift
    now = log_factorial(forward) + log_factorial(backward)
    then = log_factorial(raised) + log_factorial(lowered)
    accepted = np.log(rng.random((len(wins), cycles))) < (now - then).sum(1)
    wins[:, step.forward] = np.where(accepted[:, None], raised, forward)
    wins[:, step.backward] = np.where(accepted[:, None], lowered, backward)
    return wins


def _log_factorial(most: int, largest: int) -> Callable[[np.ndarray], np.ndarray]:
    """log k! for whole k from -largest to most + largest; infinite for negative k."""
    if most > TABLE:
        return lambda k: np.where(k < 0, np.inf, gammaln(np.maximum(k, 0) + 1.0))
    table = np.concatenate([np.full(largest, np.inf), gammaln(np.arange(most + largest + 1) + 1.0)])
    return lambda k: np.asarray(table[k + largest])
