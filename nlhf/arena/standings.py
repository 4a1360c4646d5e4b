"""Which policy to ship: the arena's votes as a game, and what its equilibrium says.

Everything is about the pooled game, P(a > b) averaged over prompts; prompts are what was sampled, so intervals are 95%
percentile bootstrap intervals over prompts, and cycles are held against the Bradley-Terry fit with the same noise of
prompts. The exploitability of a policy is that of always sending it out,
max over b of P(b > a) - 1/2, at beta = 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nlhf.analysis.ballots import Finding, finding, nash

FEW = 20  # prompts
MIXTURES = 200  # redraws of which the equilibrium is solved


@dataclass(frozen=True)
class Standings:
    """The result of n contestants.

    Args:
        games: how many prompts each pair has played on, (n, n).
        pooled: P and what it shows.
        field: the mean of P(a > b) over all others, with its ends, (n, 3).
        exploitability: (n, 3).
        nash: the share in the equilibrium, (n, 3).
        low, high: ends of P's intervals, (n, n).
        headless: prompts on which all pairs have played and no contestant is preferred to all others.
        tied: those of them on which one loses to nobody.
        complete: prompts on which all pairs have played.
    """

    games: np.ndarray
    pooled: Finding
    field: np.ndarray
    exploitability: np.ndarray
    nash: np.ndarray
    low: np.ndarray
    high: np.ndarray
    headless: int
    tied: int
    complete: int

    @property
    def order(self) -> list[int]:
        """Contestants, the least exploitable first."""
        return sorted(range(len(self.field)), key=lambda k: (self.exploitability[k, 0], -self.field[k, 0]))

    @property
    def lines(self) -> list[str]:
        """What else is to be said."""
        n = len(self.games)
        apart = int((self.games[np.triu_indices(n, 1)] == 0).sum())
        said = [self.pooled.found.sentence,
                f"{self.headless} of {self.complete} prompts have no completion that is preferred to all others; on "
                f"{self.tied} of these one loses to none, in ties."]  # fmt: skip
        if apart:
            said.append(f"{apart} of {n * (n - 1) // 2} pairs have never met: they count as even, and nothing is known "
                        "of them; name all contestants in one command.")  # fmt: skip
        if self.complete < FEW:
            said.append(f"All pairs have met on {self.complete} prompts: so few tell little, whatever the intervals.")
        return said

    @property
    def headline(self) -> str:
        """What to ship, in a sentence."""
        names, best = self.pooled.items, self.order[0]
        value, low, high = self.exploitability[best]
        if self.pooled.winner is not None:
            return f"{self.pooled.winner} is preferred to all others: exploitability 0 [{low:.3f}, {high:.3f}]."
        return (f"No contestant is preferred to all others: {names[best]} is the least exploitable, {value:.3f} "
                f"[{low:.3f}, {high:.3f}], and the equilibrium mixes {self.pooled.mixture}.")  # fmt: skip


def standings(names: Sequence[str], won: Mapping[tuple[str, str], Mapping[int, Sequence[float]]], prompts: int,
              redraws: int) -> Standings:  # fmt: skip
    """The standings of contestants.

    Args:
        names: n of them.
        won: for each pair (a, b), by prompt, what a won.
        prompts: how many there are.
        redraws: of the prompts.
    """
    n = len(names)
    table = np.full((prompts, n, n), np.nan)
    for i, a in enumerate(names):
        table[:, i, i] = 0.5
        for j, b in enumerate(names):
            for prompt, wins in won.get((a, b), {}).items():
                table[prompt, i, j] = np.mean(wins)
    played = ~np.isnan(table)
    preference = _pooled(table, played, np.ones((1, prompts)))[0]
    rng = np.random.default_rng(0)
    drawn = _pooled(table, played, rng.multinomial(prompts, np.full(prompts, 1 / prompts), redraws).astype(float))
    number = played.sum(0) * (1 - np.eye(n))
    full = played.all((1, 2))
    tested = full.sum() >= FEW  # with fewer prompts, or pairs that never met, the null would reject too often
    votes = np.stack([number, np.zeros((n, n))]) if tested else None
    pooled = finding("all", names, preference, votes, drawn - preference)
    mixtures = np.array([nash(matrix) for matrix in drawn[:MIXTURES]])
    known = np.nan_to_num(table, nan=0.5)
    headless = full & ~((known > 0.5) | np.eye(n, dtype=bool)).all(2).any(1)
    return Standings(
        games=number.astype(int), pooled=pooled,
        field=_with_ends(_mean_of_others(preference, number), _mean_of_others(drawn, number)),
        exploitability=_with_ends(_loss(preference), _loss(drawn)),
        nash=_with_ends(pooled.nash, mixtures),
        low=np.quantile(drawn, 0.025, axis=0), high=np.quantile(drawn, 0.975, axis=0),
        headless=int(headless.sum()),
        tied=int((headless & (known >= 0.5).all(2).any(1)).sum()),
        complete=int(full.sum()),
    )  # fmt: skip


def _pooled(table: np.ndarray, played: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """P (R, n, n), the weighted mean over prompts of what was played; 1/2 where nothing was."""
    prompts, n, _ = table.shape
    sums = weight @ np.nan_to_num(table).reshape(prompts, -1)
    count = weight @ played.reshape(prompts, -1).astype(float)
    share = np.divide(sums, count, out=np.full_like(sums, 0.5), where=count > 0)
    return np.asarray(share.reshape(-1, n, n))


def _mean_of_others(preference: np.ndarray, number: np.ndarray) -> np.ndarray:
    """The mean over those that one has met, (..., n); 1/2 where there are none."""
    met = number > 0
    return np.asarray(((preference - 0.5) * met).sum(-1) / np.maximum(met.sum(-1), 1) + 0.5)


def _loss(preference: np.ndarray) -> np.ndarray:
    """max over b of P(b > a) - 1/2, (..., n), at least 0, as a is preferred to itself with 1/2."""
    return np.asarray(preference.max(-2) - 0.5)


def _with_ends(value: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    return np.stack([value, *np.quantile(drawn, (0.025, 0.975), axis=0)], -1)
