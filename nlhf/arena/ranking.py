"""Which policy to ship: the arena's votes as a game, and what its equilibrium says.

Everything is about the pooled game, P(a > b) averaged over prompts; prompts are what was sampled, so 95% intervals are
bootstrap intervals over prompts, and cycles are held against the Bradley-Terry fit with the same noise of prompts.

The exploitability of a policy is that of always sending it out, max over b of P(b > a) - 1/2, at beta = 0. The largest
of several estimates is too large where the truths are near each other, and percentiles of it miss the truth nearly
always: its interval is the largest of bounds on all P(b > a) that hold together with 95% (the maximum of resampled t;
P. Westfall, S. Young, Resampling-Based Multiple Testing, 1993). An equilibrium jumps with P, so that nothing covers it
well: given is where it moves when prompts are redrawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from nlhf.leaderboard.nash import equilibrium_shares
from nlhf.leaderboard.report import Finding, complete, finding
from nlhf.leaderboard.voters import FEW
from nlhf.stats.bootstrap import expanded_tail, redrawn
from nlhf.stats.cyclic import pooled

MIXTURES = 200  # redraws of which the equilibrium is solved
MOVES = "The last column says where 95% of the equilibria lie when prompts are redrawn; it is no interval that covers."


@dataclass(frozen=True)
class Standings:
    """The result of n contestants.

    Args:
        games: how many prompts each pair has played on, (n, n).
        pooled: P and what it shows.
        field: the mean of P(a > b) over all others, with its ends, (n, 3).
        exploitability: with its ends, (n, 3).
        nash: the share in the equilibrium, and between which values it moves when prompts are redrawn, (n, 3).
        low, high: ends of P's intervals, each pair by itself, (n, n).
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
        said = [
            self.pooled.found.sentence,
            f"{self.headless} of {self.complete} prompts have no completion that is preferred to all others; on "
            f"{self.tied} of these one loses to none, in ties.",
            MOVES,
        ]
        if self.pooled.unseen:
            said.append(
                f"{self.pooled.unseen} of {n * (n - 1) // 2} pairs have never met: they count as even, and "
                "nothing is known of them; name all contestants in one command."
            )
        if self.complete < FEW:
            said.append(f"All pairs have met on {self.complete} prompts: so few tell little, whatever the intervals.")
        elif self.complete < self.games.max():
            said.append(
                "Some pairs have met on fewer prompts than others, as they stopped early or a contestant lacks "
                f"completions: on {self.complete} prompts all pairs have met."
            )
        return said

    @property
    def headline(self) -> str:
        """What to ship, in a sentence."""
        names, best = self.pooled.items, self.order[0]
        value, low, high = self.exploitability[best]
        if self.pooled.winner is not None:
            return f"{self.pooled.winner} is preferred to all others here: exploitability 0 [{low:.3f}, {high:.3f}]."
        return (
            f"No contestant is preferred to all others: {names[best]} is the least exploitable, {value:.3f} "
            f"[{low:.3f}, {high:.3f}], and the equilibrium mixes {self.pooled.mixture}."
        )


def standings(
    names: Sequence[str], won: Mapping[tuple[str, str], Mapping[int, Sequence[float]]], prompts: int, redraws: int
) -> Standings:
    """The standings of contestants.

    Args:
        names: n of them.
        won: for each pair (a, b), by prompt, what a won.
        prompts: how many there are.
        redraws: of the prompts.
    """
    n = len(names)
    wins, played = np.zeros((prompts, n, n)), np.zeros((prompts, n, n))
    for i, a in enumerate(names):
        for j, b in enumerate(names):
            for prompt, values in won.get((a, b), {}).items():
                wins[prompt, i, j], played[prompt, i, j] = np.mean(values), 1.0
    preference, drawn = pooled(wins, played)[0], pooled(wins, played, redrawn(prompts, redraws))
    number, full = played.sum(0), complete(played)
    tested = bool(full.sum() >= FEW)  # with fewer prompts, or pairs that never met, the null would reject too often
    found = finding("all", names, preference, np.stack([number, np.zeros((n, n))]), drawn - preference, tested)
    low, high = _bounds(wins, played, preference, drawn)
    known = np.where(played > 0, wins, 0.5)
    winning = np.asarray(((known > 0.5) | np.eye(n, dtype=bool)).all(2))
    headless = full & ~winning.any(1)
    tail = expanded_tail(prompts, prompts - 1) if prompts > 1 else 0.0
    apart = np.quantile(drawn, (tail, 1 - tail), axis=0)
    return Standings(
        games=number.astype(int),
        pooled=found,
        field=_with_ends(_mean_of_others(preference, number), _mean_of_others(drawn, number), tail),
        exploitability=np.stack([_loss(preference), _loss(low.T), _loss(high.T)], -1),
        nash=_with_ends(found.nash.shares, np.array([equilibrium_shares(matrix) for matrix in drawn[:MIXTURES]])),
        low=apart[0],
        high=apart[1],
        headless=int(headless.sum()),
        tied=int((headless & np.asarray((known >= 0.5).all(2)).any(1)).sum()),
        complete=int(full.sum()),
    )


def _bounds(
    wins: np.ndarray, played: np.ndarray, preference: np.ndarray, drawn: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Bounds (n, n) of P(b > a) in row a and column b, which hold together in a row with 95%; 0 and 1 for pairs that
    never met.

    Standard errors are of what was won on each prompt, and of two wins and two losses more (A. Agresti, B. Coull 1998):
    where all verdicts are alike there would be none.
    """
    n, number = len(preference), played.sum(0)
    error, even = np.full((n, n), np.inf), np.eye(n, dtype=bool)
    for i, j in np.argwhere((number > 0) & ~even):
        values = np.r_[wins[played[:, i, j] > 0, i, j], 0.0, 0.0, 1.0, 1.0]
        error[i, j] = values.std(ddof=1) / len(values) ** 0.5
    spread = drawn.std(0)
    ratio = np.divide(np.abs(drawn - preference), spread, out=np.zeros_like(drawn), where=spread > 0).max(2)
    normal = np.maximum(np.quantile(ratio, 0.95, axis=0), stats.norm.ppf(0.975))
    times = stats.t.ppf(stats.norm.cdf(normal), max(int(number.max()) - 1, 1))  # as far in the tail of Student's t
    half = np.where(even, 0.0, times[:, None] * error)
    return np.clip(1 - preference - half, 0, 1), np.clip(1 - preference + half, 0, 1)


def _mean_of_others(preference: np.ndarray, number: np.ndarray) -> np.ndarray:
    """The mean over those that one has met, (..., n); 1/2 where there are none."""
    met = number > 0
    return np.asarray(((preference - 0.5) * met).sum(-1) / np.maximum(met.sum(-1), 1) + 0.5)


def _loss(preference: np.ndarray) -> np.ndarray:
    """max over b of P(b > a) - 1/2, (n), at least 0, as a is preferred to itself with 1/2."""
    return np.asarray(preference.max(-2) - 0.5)


def _with_ends(value: np.ndarray, drawn: np.ndarray, tail: float = 0.025) -> np.ndarray:
    return np.stack([value, *np.quantile(drawn, (tail, 1 - tail), axis=0)], -1)
