"""What votes prove: the certified exploitability of the best policy, of every item, and of a policy of the user."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from nlhf.config import ConfigError
from nlhf.games.preference import PreferenceTable
from nlhf.io.inputs import InputFile
from nlhf.leaderboard.units import Units
from nlhf.references.weights import read_weights
from nlhf.stats.certified import VoteBounds

DELTA = 0.05  # probability that a bound is wrong
MOST = 60  # items up to which the best policies are computed
SHOWN = 5e-4  # smallest share of an item that a sentence names


@dataclass(frozen=True)
class Certified:
    """The policy with the smallest certified exploitability at beta = 0.

    Args:
        policy: probabilities (n).
        exploitability: with probability 1 - DELTA, its exploitability is at most this.
        items: the same bound for each item, (n).
        user: the same bound for the policy of the user, or None.
        bounds: of every pair.
    """

    policy: np.ndarray
    exploitability: float
    items: np.ndarray
    user: float | None
    bounds: VoteBounds

    @cached_property
    def shares(self) -> tuple[np.ndarray, np.ndarray] | None:
        """The smallest and the largest share of each item, (n), in equilibria that the bounds allow at beta = 0."""
        return self.bounds.shares()

    @classmethod
    def of(cls, bounds: VoteBounds, policy: np.ndarray | None) -> Certified:
        """From the bounds, and the policy of the user (n)."""
        best, value = smallest(bounds)
        items = np.array([bounds.exploitability(item) for item in np.eye(len(best))])
        return cls(best, value, items, None if policy is None else bounds.exploitability(policy), bounds)


@dataclass(frozen=True)
class Proof:
    """The certificates of votes on n items.

    Args:
        once: valid if the numbers of votes were fixed in advance.
        anytime: valid however pairs were chosen, and whenever the votes are looked at.
        units: the clusters whose shares of wins are the observations; None if every vote is one.
    """

    items: tuple[str, ...]
    once: Certified
    anytime: Certified
    units: Units | None = None

    def lines(self, cluster: str | None) -> Iterator[str]:
        """The sentences; `cluster` names the voters or questions whose votes may be alike."""
        once, anytime = self.once, self.anytime
        yield (
            f"With {1 - DELTA:.0%} confidence, no policy is preferred to {self.mixture(once.policy)} with a "
            f"probability above {0.5 + once.exploitability:.3f}, if the numbers of votes were fixed in advance; above "
            f"{0.5 + anytime.exploitability:.3f} ({self.mixture(anytime.policy)}), however pairs were chosen and "
            f"whenever the votes are looked at. {self._assumption(cluster)}"
        )
        single = int(once.items.argmin())
        if once.policy[single] < 1 - SHOWN:
            yield (
                f"Of single items, {self.items[single]} has the smallest bounds: {0.5 + once.items[single]:.3f} and "
                f"{0.5 + anytime.items[single]:.3f}."
            )
        if once.shares is not None:
            yield (
                f"With the same confidence, the equilibria at beta = 0 of the voters' preferences have shares of "
                f"{self._allowed(*once.shares)}, if the numbers of votes were fixed in advance."
            )

    @property
    def line_of_user(self) -> str:
        """The bounds of the policy of the user; empty without one."""
        once, anytime = self.once.user, self.anytime.user
        if once is None or anytime is None:
            return ""
        return f"The given policy has the bounds {0.5 + anytime:.3f}, and {0.5 + once:.3f} for one look."

    def _allowed(self, smallest: np.ndarray, largest: np.ndarray) -> str:
        """The ranges of shares that say more than 0 to 1, and the items without a share."""
        bounded = [
            k for k in np.lexsort((-largest, -smallest)) if smallest[k] > SHOWN or SHOWN < largest[k] < 1 - SHOWN
        ]
        ranges = [f"{self.items[k]} {smallest[k]:.3f} to {largest[k]:.3f}" for k in bounded]
        none = [self.items[k] for k in np.flatnonzero(largest <= SHOWN)]
        unbounded = len(largest) - len(bounded) - len(none)
        parts = [*ranges, *([f"0 for {', '.join(none)}"] if none else [])]
        return ", ".join([*parts, *([f"0 to 1 for {'the others' if parts else 'all items'}"] if unbounded else [])])

    def _assumption(self, cluster: str | None) -> str:
        """What the bounds need."""
        if self.units is None:
            dependent = f", also those of one {cluster}" if cluster else ""
            return f"These bounds take votes as independent{dependent}."
        name = self.units.name
        return (
            f"These bounds take all votes with one value of {name} on a pair as one observation, and only its "
            f"{self.units.size} values as independent. A probability is then the mean of their shares, with equal "
            "weights."
        )

    def mixture(self, policy: np.ndarray) -> str:
        """The shares of a policy."""
        return mixture_of(self.items, policy)


def mixture_of(items: Sequence[str], policy: np.ndarray) -> str:
    """The shares of a policy (n) of these items."""
    played = [k for k in np.argsort(-policy, kind="stable") if policy[k] >= SHOWN]
    if len(played) == 1:
        return str(items[played[0]])
    return "the mixture " + ", ".join(f"{items[k]} {policy[k]:.3f}" for k in played)


def smallest(bounds: VoteBounds) -> tuple[np.ndarray, float]:
    """The policy (n) with the smallest certified exploitability, and that; an item up to the accuracy of `best`."""
    best, value = bounds.best()
    items = [bounds.exploitability(item) for item in np.eye(len(best))]
    single = int(np.argmin(items))
    return (np.eye(len(best))[single], items[single]) if items[single] <= value else (best, value)


def policy_of(path: str, table: PreferenceTable) -> np.ndarray:
    """The policy (n) in a file of weights, as reference=file reads it; weights may be 0.

    Raises: ConfigError.
    """
    weights = read_weights(InputFile(path, "--policy"), table).reshape(-1)
    if len(weights) != len(table.items) or not (np.isfinite(weights).all() and (weights >= 0).all() and weights.any()):
        raise ConfigError(f"--policy {path} has no policy: give each of the {len(table.items)} items a weight >= 0.")
    return np.asarray(weights / weights.sum())


def proof(items: Sequence[str], wins: np.ndarray, votes: np.ndarray, policy: np.ndarray | None = None) -> Proof | None:
    """The certificates of independent votes; None for fewer than two or more than MOST items.

    Args:
        wins: of the row's item, ties as halves, (n, n).
        votes: (2, n, n), the number of votes on each pair, and how many of them are ties.
        policy: of the user, (n).
    """
    if not 2 <= len(items) <= MOST:
        return None
    once, anytime = bounds_of(wins, votes[0], bool(votes[1].any()))
    return Proof(tuple(items), Certified.of(once, policy), Certified.of(anytime, policy))


def proof_of_units(items: Sequence[str], units: Units, policy: np.ndarray | None = None) -> Proof | None:
    """The certificates with clusters as observations; None for fewer than two or more than MOST items."""
    if not 2 <= len(items) <= MOST:
        return None
    once, anytime = bounds_of(*units.table(len(items)), ties=True, separate=True)
    return Proof(tuple(items), Certified.of(once, policy), Certified.of(anytime, policy), units)


def bounds_of(wins: np.ndarray, votes: np.ndarray, ties: bool, separate: bool = False) -> tuple[VoteBounds, VoteBounds]:
    """The bounds for numbers of votes that were fixed in advance, and those for any time.

    Args:
        wins: of the row's item, ties as halves, (n, n).
        votes: (n, n), symmetric.
        ties: False if every vote is a win or a loss.
        separate: whether votes on different pairs may be alike.
    """
    return VoteBounds.once(wins, votes, DELTA, ties), VoteBounds.anytime(wins, votes, DELTA, separate)
