"""Weak stochastic transitivity: is there an order in which every earlier item is preferred with P >= 1/2?

Order the items so that the deviance of the majorities against the order is smallest. This sum is the likelihood ratio
of the votes against weak stochastic transitivity (M. Regenwetter, J. Dana, C. Davis-Stober, Transitivity of
preferences, Psychological Review 118:42, 2011; G. Iverson, J.-C. Falmagne, 1985).

Its p-value is conservative. The sum is at most that over all pairs whose votes go against the true order, less any
n // 2 pairs of neighbours without common items, since neighbours may be exchanged (of three items less any two pairs,
since a cycle needs all three majorities). The pairs that contribute least are left out. Each term is largest by chance
where P = 1/2, so votes are redrawn with P = 1/2, or with the lower confidence bound of P where that is above 1/2. All
bounds hold together with 1 - SLACK, and SLACK is added to p (J. Romano, A. Shaikh, M. Wolf, A Practical Two-Step Method
for Testing Moment Inequalities, 2014).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special, stats

from nlhf.stats.counted import Counts, counts_of
from nlhf.stats.cyclic import assumption
from nlhf.stats.text import shown_p
from nlhf.stats.vote_clusters import REDRAWS, Clusters, p_value

SLACK = 0.002
MOST_ITEMS = 12


@dataclass(frozen=True)
class Transitivity:
    """The test of weak stochastic transitivity.

    Args:
        order: the items in the order that the votes contradict least.
        p: the p-value; nan if it is not known.
        assumption: which votes are taken as independent.
    """

    order: tuple[int, ...]
    p: float
    assumption: str

    @property
    def verdict(self) -> str:
        """The result of the test in one sentence."""
        if self.p >= 0.05:
            return f"The votes do not reject that the majorities follow an order of the items ({shown_p(self.p)})."
        return f"The majorities follow no order of the items ({shown_p(self.p)})."

    def sentence(self, items: tuple[str, ...]) -> str:
        """The conclusion that these votes allow; empty if there is none."""
        if np.isnan(self.p):
            return ""
        if self.p >= 0.05:
            order = ", ".join(items[k] for k in self.order)
            return (
                f"The votes do not reject weak stochastic transitivity ({shown_p(self.p)}): they contradict the order "
                f"{order} least, {self.assumption}."
            )
        return (
            f"The votes reject weak stochastic transitivity ({shown_p(self.p)}): there is no order of the items in "
            f"which every earlier one is preferred, {self.assumption}."
        )


def weak_transitivity(
    preference: np.ndarray,
    votes: np.ndarray | None = None,
    clusters: Clusters | None = None,
    seed: int = 0,
    redraws: int = REDRAWS,
) -> Transitivity | None:
    """The test for P (n, n), with votes and clusters as in `diagnose`; None for two items or more than MOST_ITEMS."""
    if not 2 < len(preference) <= MOST_ITEMS:
        return None
    p_values = []
    order = best_order(_deviance(preference, np.ones_like(preference) if votes is None else votes[0]))
    if (counts := counts_of(preference, votes)) is not None:
        order = best_order(_deviance(counts.preference, counts.decided))
        p_values.append(_by_vote(counts, order, redraws, seed))
    if clusters is not None:
        p_values = [*p_values, _by_cluster(clusters, redraws, seed)] if clusters.enough else []
    assumed = assumption(0, "") if clusters is None else assumption(len(clusters), clusters.name)
    return Transitivity(order, max(p_values, default=float("nan")), assumed)


def best_order(cost: np.ndarray) -> tuple[int, ...]:
    """The order of n items with the smallest sum of `cost[j, i]` over all pairs in which i comes before j.

    Dynamic programming over the sets of items that come first.
    """
    n = len(cost)
    size = 1 << n
    members = (np.arange(size)[:, None] >> np.arange(n)) & 1
    added = members @ cost.T  # [S, k]: the cost of putting k right after the items of S
    lowest, last = np.zeros(size), np.zeros(size, np.int64)
    for first in range(1, size):
        items = np.flatnonzero(members[first])
        before = first ^ (1 << items)
        sums = lowest[before] + added[before, items]
        last[first] = items[best := int(sums.argmin())]
        lowest[first] = sums[best]
    order, first = [], size - 1
    while first:
        order.append(int(last[first]))
        first ^= 1 << order[-1]
    return tuple(reversed(order))


def _deviance(preference: np.ndarray, votes: np.ndarray) -> np.ndarray:
    """Twice the log-likelihood ratio of each majority (row over column) against P = 1/2, (..., n, n)."""
    share = np.clip(preference, 0, 1)
    entropy = special.xlogy(share, 2 * share) + special.xlogy(1 - share, 2 - 2 * share)
    return np.where(share > 0.5, 2 * votes * entropy, 0.0)


def _against(cost: np.ndarray, order: tuple[int, ...]) -> np.ndarray:
    """The sum of `cost` (..., n, n) over all pairs whose column comes before the row."""
    ranked = cost[..., order, :][..., order]
    return np.asarray(np.tril(ranked, -1).sum((-2, -1)))


def _by_vote(counts: Counts, order: tuple[int, ...], redraws: int, seed: int) -> float:
    """The p-value for independent votes."""
    n, decided = len(order), counts.decided
    level = SLACK / (n * (n - 1) / 2)
    bound = np.nan_to_num(stats.beta.ppf(level, counts.wins, decided - counts.wins + 1))  # Clopper-Pearson
    observed = float(_against(_deviance(counts.preference, decided), order))
    drawn = counts.redrawn(_least_favourable(bound), redraws, seed)
    shares = np.divide(drawn, decided, out=np.full(drawn.shape, 0.5), where=decided > 0)
    return _with_slack(observed, _deviance(shares, decided), bound, order)


def _by_cluster(clusters: Clusters, redraws: int, seed: int) -> float:
    """The p-value for independent clusters."""
    preference, total, count = clusters.preference, clusters.total, len(clusters)
    n = len(preference)
    order = best_order(_deviance(preference, total))
    squares = (clusters.residuals(preference) ** 2).sum(0) * count / (count - 1)
    error = np.sqrt(np.divide(squares, total**2, out=np.full((n, n), np.inf), where=total > 0))
    bound = preference - stats.t.ppf(1 - SLACK / (n * (n - 1) / 2), count - 1) * error
    observed = float(_against(_deviance(preference, total), order))
    centre = _least_favourable(bound)
    drawn = centre + clusters.errors(centre, redraws, seed)
    return _with_slack(observed, _deviance(drawn, total), bound, order)


def _least_favourable(bound: np.ndarray) -> np.ndarray:
    """P (n, n): 1/2, or the lower bound of the preferred item where it is above 1/2."""
    higher = np.maximum(bound, 0.5)
    return np.asarray(0.5 + (higher - 0.5) - (higher.T - 0.5))


def _with_slack(observed: float, cost: np.ndarray, bound: np.ndarray, order: tuple[int, ...]) -> float:
    """The p-value of the sum over pairs against the order, or against the bound where it is above 1/2."""
    position = np.argsort(order)
    earlier = position[:, None] < position
    preferred = (bound > 0.5) | (earlier & (bound.T <= 0.5))
    lost = cost[:, preferred.T]
    exchanged = 2 if len(order) == 3 else len(order) // 2
    counted = np.argsort(lost.mean(0), kind="stable")[exchanged:]
    return min(1.0, p_value(observed, lost[:, counted].sum(1)) + SLACK)
