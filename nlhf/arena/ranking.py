"""Which policy to ship: the arena's votes as a game, and what its equilibrium shows.

All numbers are about the pooled game, P(a > b) averaged over prompts. Prompts are the sample: intervals are those of
`nlhf.arena.intervals`, and prompts are the clusters of the test of a Bradley-Terry model.

The exploitability of a policy, if it is always played, is max over b of P(b > a) - 1/2 at beta = 0. An equilibrium
jumps with P, so no interval covers it well; instead the range of equilibria over redrawn prompts is shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nlhf.arena.intervals import exploitability_bounds, field_intervals, pair_intervals
from nlhf.arena.meetings import units_of_prompts
from nlhf.leaderboard.growth import Growth, growth_of_units
from nlhf.leaderboard.matrix import Matrix, complete, matrix_of
from nlhf.leaderboard.nash import equilibrium_shares
from nlhf.leaderboard.proof import Proof, proof_of_units
from nlhf.leaderboard.voters import FEW
from nlhf.stats.bootstrap import Estimate, redrawn
from nlhf.stats.cyclic import pooled
from nlhf.stats.vote_clusters import Clusters

MIXTURES = 200  # redraws for which the equilibrium is computed
ORDER = (
    "Some pairs have not played on all prompts: bounds and intervals then take the prompts as in random order; shuffle "
    "a sorted file of prompts before an arena."
)
RANGE = "The last column is the range of 95% of the equilibria over redrawn prompts; it is not a confidence interval."


@dataclass(frozen=True)
class Ranking:
    """The results of n contestants.

    Args:
        games: the number of prompts on which each pair has played, (n, n).
        pooled: P, its cycles and its equilibrium.
        field: the mean of P(a > b) over all others, with its interval, (n, 3).
        exploitability: with its interval, (n, 3).
        nash: the share in the equilibrium, with its range over redrawn prompts, (n, 3).
        low, high: the interval of P for each pair separately, (n, n).
        headless: the number of prompts on which all pairs have played and no contestant is preferred to all others.
        tied: the number of these on which a contestant loses to none.
        complete: the number of prompts on which all pairs have played.
        prompts: the number of all prompts.
        proof: what the verdicts prove, with prompts as clusters; None for too many contestants.
        growth: the certificate as a function of the number of prompts; None as `proof`, or for one prompt.
    """

    games: np.ndarray
    pooled: Matrix
    field: np.ndarray
    exploitability: np.ndarray
    nash: np.ndarray
    low: np.ndarray
    high: np.ndarray
    headless: int
    tied: int
    complete: int
    prompts: int
    proof: Proof | None
    growth: Growth | None

    @property
    def order(self) -> list[int]:
        """The contestants, the least exploitable first."""
        return sorted(range(len(self.field)), key=lambda k: (self.exploitability[k, 0], -self.field[k, 0]))

    def cells(self, contestant: int) -> list[str]:
        """The numbers of a contestant with their intervals, as texts."""
        rows = (column[contestant] for column in (self.field, self.exploitability, self.nash))
        return [str(Estimate(value, low, high, self.complete)) for value, low, high in rows]

    @property
    def lines(self) -> list[str]:
        """Further sentences of the page."""
        n, transitivity = len(self.games), self.pooled.transitivity
        sentences = [
            self.pooled.diagnosis.sentence,
            *filter(None, [transitivity.sentence(self.pooled.items) if transitivity else ""]),
            f"{self.headless} of {self.complete} prompts have no completion that is preferred to all others; on "
            f"{self.tied} of these a completion has only ties and wins.",
            RANGE,
            *(self.proof.lines(None) if self.proof else ()),
        ]
        if self.pooled.unseen:
            sentences.append(
                f"{self.pooled.unseen} of {n * (n - 1) // 2} pairs have never played: they count as even, without "
                "evidence; name all contestants in one command."
            )
        if self.complete < FEW:
            sentences.append(f"All pairs have played on only {self.complete} prompts: too few to test for cycles.")
        elif self.complete < self.games.max():
            sentences.append(
                "Some pairs have played on fewer prompts than others, because they stopped early or a contestant lacks "
                f"completions: all pairs have played on {self.complete} prompts."
            )
        if self.complete < self.prompts:
            sentences.append(ORDER)
        return sentences

    @property
    def headline(self) -> str:
        """One sentence that says which policy to ship."""
        names, best = self.pooled.items, self.order[0]
        value, low, high = self.exploitability[best]
        if self.pooled.winner is not None:
            return f"{self.pooled.winner} is preferred to all others here: exploitability 0 [{low:.3f}, {high:.3f}]."
        return (
            f"No contestant is preferred to all others: {names[best]} is the least exploitable, {value:.3f} "
            f"[{low:.3f}, {high:.3f}], and the equilibrium mixes {self.pooled.mixture}."
        )


def rank(
    names: Sequence[str], won: Mapping[tuple[str, str], Mapping[int, Sequence[float]]], prompts: int, redraws: int
) -> Ranking:
    """The ranking of n contestants.

    Args:
        names: of the contestants.
        won: for each pair (a, b), by prompt, what a won.
        prompts: the number of prompts.
        redraws: how often the prompts are redrawn.
    """
    n = len(names)
    wins, played = np.zeros((prompts, n, n)), np.zeros((prompts, n, n))
    for i, a in enumerate(names):
        for j, b in enumerate(names):
            for prompt, values in won.get((a, b), {}).items():
                wins[prompt, i, j], played[prompt, i, j] = np.mean(values), 1.0
    preference, drawn = pooled(wins, played)[0], pooled(wins, played, redrawn(prompts, redraws))
    number, full = played.sum(0), complete(played)
    tested = bool(full.sum() >= FEW)  # with fewer prompts, or missing pairs, the test would reject too often
    verdicts = Clusters("prompt", wins, played) if tested else None
    game = matrix_of("all", names, preference, np.stack([number, np.zeros((n, n))]), verdicts, counted=False)
    field = _mean_of_others(preference, number)
    low, high = pair_intervals(wins, played, preference)
    results = np.where(played > 0, wins, 0.5)
    winning = np.asarray(((results > 0.5) | np.eye(n, dtype=bool)).all(2))
    headless = full & ~winning.any(1)
    units = units_of_prompts(names, {pair: by_prompt for pair, by_prompt in won.items() if set(pair) <= set(names)})
    return Ranking(
        games=number.astype(int),
        pooled=game,
        field=np.column_stack([field, field_intervals(wins, played, preference, field)]),
        exploitability=np.column_stack([_loss(preference), exploitability_bounds(wins, played, preference)]),
        nash=_with_range(game.nash.shares, np.array([equilibrium_shares(matrix) for matrix in drawn[:MIXTURES]])),
        low=low,
        high=high,
        headless=int(headless.sum()),
        tied=int((headless & np.asarray((results >= 0.5).all(2)).any(1)).sum()),
        complete=int(full.sum()),
        prompts=prompts,
        proof=proof_of_units(names, units),
        growth=growth_of_units(units, names),
    )


def _mean_of_others(preference: np.ndarray, number: np.ndarray) -> np.ndarray:
    """The mean over the opponents that each has played, (n); 1/2 without any."""
    opponents = number > 0
    return np.asarray(((preference - 0.5) * opponents).sum(-1) / np.maximum(opponents.sum(-1), 1) + 0.5)


def _loss(preference: np.ndarray) -> np.ndarray:
    """max over b of P(b > a) - 1/2, (n); at least 0, since P(a > a) = 1/2."""
    return np.asarray(preference.max(-2) - 0.5)


def _with_range(value: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    return np.stack([value, *np.quantile(drawn, (0.025, 0.975), axis=0)], -1)
