"""Which pairs to vote on next, and how many votes remain until they prove enough."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from nlhf.asking.base import next_batch
from nlhf.asking.certified import CERTIFIED, Certificate, CertifiedRule
from nlhf.asking.simulate import remaining_votes
from nlhf.config import ConfigError
from nlhf.leaderboard.counted import CountedVotes
from nlhf.leaderboard.proof import DELTA, MOST, mixture_of
from nlhf.votes.file import context_name

SHOWN = 10  # pairs in the text
MOST_SIMULATED = 10  # contexts; the others are taken to need as many votes as these on average
MOST_VOTES = 10**7  # of a simulated continuation
RANGE = 0.9  # probability of the range of remaining votes


@dataclass(frozen=True)
class NextVotes:
    """The next votes.

    Args:
        counted: the votes so far.
        target: certified exploitability that is wanted in every context.
        certificates: what the votes prove in each context; all of them hold together with probability 1 - DELTA.
        numbers: of the next votes on each pair, (X, n, n), above the diagonal.
        remaining: votes until the target, in simulated continuations; inf where it is not reached; None if not asked.
    """

    counted: CountedVotes
    target: float
    certificates: tuple[Certificate, ...]
    numbers: np.ndarray
    remaining: np.ndarray | None

    @property
    def lines(self) -> Iterator[str]:
        """Sentences about the votes so far, and about the next ones."""
        counted = self.counted
        contexts = f" in {len(counted.contexts)} contexts" if len(counted.contexts) > 1 else ""
        total = sum(vote.wins_a + vote.wins_b for vote in counted.cast)
        yield f"{total:,g} votes on {len(counted.items)} items{contexts}."
        if counted.cluster:
            name = ", ".join(counted.cluster)
            yield (
                f"Votes of one {name} may be alike, and are not independent: all votes of one {name} on a pair count "
                f"as one, their mean. The bound needs independent votes on each pair only, not between pairs."
            )
        yield self._of_certificate()
        if not self.numbers.any():
            yield "The target is reached: no more votes are needed."
            return
        yield from self._of_pairs()
        if self.remaining is not None:
            yield self._of_remaining(self.remaining)

    def _of_certificate(self) -> str:
        worst = int(np.argmax([certificate.exploitability for certificate in self.certificates]))
        _, policy, value = self.certificates[worst]
        where = f"in the context {context_name(self.counted.contexts[worst])}, " if len(self.certificates) > 1 else ""
        return (
            f"With {1 - DELTA:.0%} confidence, whatever pairs were asked and whenever the votes are looked at, {where}"
            f"no policy is preferred to {mixture_of(self.counted.items, policy)} with a probability above "
            f"{0.5 + value:.3f}: the certified exploitability is {value:.3f}, and the target {self.target:g}."
        )

    def _of_pairs(self) -> Iterator[str]:
        chosen = np.argwhere(self.numbers)
        ordered = sorted(chosen.tolist(), key=lambda entry: -int(self.numbers[tuple(entry)]))
        yield f"Ask for {int(self.numbers.sum()):,} votes on {len(ordered):,} pairs:"
        for x, i, j in ordered[:SHOWN]:
            where = f", {context_name(self.counted.contexts[x])}" if len(self.counted.contexts) > 1 else ""
            numbers = f"{int(self.numbers[x, i, j]):,} more, after {self.counted.votes[x, i, j]:,g}"
            yield f"  {self.counted.items[i]} and {self.counted.items[j]}{where}: {numbers}"
        if len(ordered) > SHOWN:
            yield f"  and {len(ordered) - SHOWN:,} more pairs"

    def _of_remaining(self, remaining: np.ndarray) -> str:
        low, middle, high, level = predicted(remaining)
        voters = f", each by another {', '.join(self.counted.cluster)}" if self.counted.cluster else ""
        about = f"About {_rounded(middle)} more votes{voters}, these included, reach the target"
        if not level:
            return f"{about}, by one simulated continuation."
        return (
            f"{about}; with a probability of {level:.0%} between {_rounded(low)} and {_rounded(high)}, by "
            f"{len(remaining)} simulated continuations."
        )


def suggest(counted: CountedVotes, batch: int | None, target: float, draws: int, rng: np.random.Generator) -> NextVotes:
    """Choose the next votes.

    Args:
        counted: the votes so far.
        batch: the number of next votes; None for 3% of the votes so far, but at least 20.
        target: certified exploitability that is wanted in every context.
        draws: simulated continuations; 0 for no estimate.
        rng: breaks ties, and draws the continuations.

    Raises: ConfigError for too many items.
    """
    n, contexts = len(counted.items), len(counted.contexts)
    if n > MOST:
        raise ConfigError(f"{counted.source.file.name} has {n} items, too many to bound: leave all but {MOST} out.")
    rule = replace(CERTIFIED, delta=DELTA / contexts, clustered=bool(counted.cluster))
    certificates = tuple(rule.certified(*tables) for tables in zip(counted.wins, counted.votes, strict=True))
    unfinished = np.flatnonzero([certificate.exploitability > target for certificate in certificates])
    numbers = np.zeros(counted.votes.shape, dtype=np.int64)
    if not len(unfinished):
        return NextVotes(counted, target, certificates, numbers, None)
    total = next_batch(float(counted.votes.sum()) / 2) if batch is None else batch
    sizes = np.full(len(unfinished), total // len(unfinished))
    sizes[rng.permutation(len(unfinished))[: total % len(unfinished)]] += 1
    for x, size in zip(unfinished, sizes, strict=True):
        numbers[x] = rule.numbers(counted.wins[x], counted.votes[x], int(size), rng)
    remaining = _remaining(counted, unfinished, rule, target, draws, rng) if draws else None
    return NextVotes(counted, target, certificates, numbers, remaining)


def _remaining(
    counted: CountedVotes,
    unfinished: np.ndarray,
    rule: CertifiedRule,
    target: float,
    draws: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Votes until the target in all contexts together, (draws)."""
    simulated = rng.permutation(unfinished)[:MOST_SIMULATED]
    total = sum(
        remaining_votes(target, counted.wins[x], counted.votes[x], rule, rng, draws, MOST_VOTES) for x in simulated
    )
    return np.asarray(total * len(unfinished) / len(simulated))


def predicted(remaining: np.ndarray) -> tuple[float, float, float, float]:
    """A range for one more continuation: its lower end, the median, its upper end, and its probability.

    One more of N + 1 exchangeable values lies between the k-th smallest and the k-th largest of the others with
    probability 1 - 2k/(N + 1), at least 0; k is the largest one for which that is at least RANGE, but at least 1.

    Args:
        remaining: votes until the target in simulated continuations, (N).

    Example:
        >>> predicted(np.arange(1.0, 20.0))
        (1.0, 10.0, 19.0, 0.9)
    """
    number = len(remaining)
    rank = max(1, int((1 - RANGE) / 2 * (number + 1) + 1e-9))
    ordered = np.sort(remaining)
    middle = float(np.quantile(ordered, 0.5, method="nearest"))
    return float(ordered[rank - 1]), middle, float(ordered[number - rank]), max(0.0, 1 - 2 * rank / (number + 1))


def _rounded(votes: float) -> str:
    """A number with two digits."""
    return f"{float(f'{votes:.2g}'):,.0f}" if np.isfinite(votes) else f"over {MOST_VOTES:,}"
