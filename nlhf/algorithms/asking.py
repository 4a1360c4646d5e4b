"""Asks for votes on pairs, batch by batch, and plays the policy that the votes certify best.

    N_ij += rule(W, N, batch),  batch = max(smallest, growth * votes);    W_ij += wins of i in the new votes
    pi = the policy with the smallest certified exploitability, given W of N votes

With probability 1 - delta, the column `certified_exploitability` is nowhere below the exploitability of pi: the bounds
hold at every time, for every policy, and whatever the rule asks. Contexts are asked about separately, and each has
its part of delta. One query is one vote. See docs/mathematics.md, "What votes prove". Source: ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from nlhf.algorithms.base import Algorithm, ConfigError, Prox, State, Tensor, TrainablePolicy
from nlhf.asking.base import AskingRule, next_batch
from nlhf.asking.certified import Certificate, certificate
from nlhf.budget import EVERY
from nlhf.policies.tabular import TabularPolicy
from nlhf.stats.certified_kl import best_regularised

if TYPE_CHECKING:
    from nlhf.prox.votes import VoteProx


@dataclass(frozen=True)
class AskingState(State):
    """The policy, and the votes so far: wins of the row, and numbers of votes, (S, X, n, n)."""

    wins: Tensor
    votes: Tensor


@dataclass(frozen=True)
class Asking(Algorithm):
    """Asks for votes by a rule, and plays the best certified policy.

    Args:
        rule: chooses the pairs.
        delta: probability with which the bounds of a seed may fail.
        smallest: votes of a batch in each context, at least.
        growth: size of a later batch, as a part of the votes so far.
    """

    rule: AskingRule
    delta: float
    smallest: int
    growth: float

    needs = frozenset({"reverse-kl", "votes"})
    provides = frozenset({"asking"})
    columns = ("certified_exploitability",)
    schedule = EVERY
    few_iterations = 0

    def __post_init__(self) -> None:
        if not 0 < self.delta < 1:
            raise ConfigError(f"algorithm.delta={self.delta} is out of range: give a probability between 0 and 1.")
        if self.smallest < 1:
            raise ConfigError(f"algorithm.smallest={self.smallest} is too small: give batches of 1 vote or more.")
        if not 0 <= self.growth < float("inf"):
            raise ConfigError(f"algorithm.growth={self.growth} is out of range: give a part such as 0.03.")

    @property
    def cited(self) -> tuple[str, ...]:
        return (*self.sources, *self.rule.sources)

    def init(self, policy: TrainablePolicy) -> AskingState:
        none = policy.probabilities[..., :, None] * policy.probabilities[..., None, :] * 0
        return AskingState(policy, wins=none, votes=none)

    def update(self, state: AskingState, prox: Prox) -> AskingState:
        voters = cast("VoteProx", prox)
        wins, votes = state.wins.cpu().numpy(), state.votes.cpu().numpy()
        numbers = np.zeros(votes.shape, np.int64)
        for seed in np.flatnonzero(voters.active).tolist():
            rng = voters.rng(seed)
            for context, counts in enumerate(zip(wins[seed], votes[seed], strict=True)):
                batch = next_batch(counts[1].sum() / 2, self.smallest, self.growth)
                numbers[seed, context] = self.rule.numbers(*counts, batch, rng)
        won = voters.cast(numbers)
        wins = wins + won + (numbers - won).swapaxes(-1, -2)
        votes = votes + numbers + numbers.swapaxes(-1, -2)
        policy = self._best(wins, votes, state.policy.probabilities.cpu().numpy(), prox, voters.active)
        return AskingState(
            TabularPolicy(state.votes.new_tensor(policy).log()),
            wins=state.wins.new_tensor(wins),
            votes=state.votes.new_tensor(votes),
        )

    def _best(
        self, wins: np.ndarray, votes: np.ndarray, policy: np.ndarray, prox: Prox, active: np.ndarray
    ) -> np.ndarray:
        """The best certified policy (S, X, n) of the active seeds; the others keep theirs."""
        best, reference = policy.copy(), _expanded(prox.reference.probabilities, policy)
        beta = prox.beta[:, 0, 0].tolist()
        for seed in np.flatnonzero(active).tolist():
            for context in range(policy.shape[1]):
                bounds, chosen, _ = self._certificate(wins[seed], votes[seed], context)
                if beta[seed] > 0:
                    chosen, _ = best_regularised(bounds, beta[seed], reference[seed, context], chosen)
                best[seed, context] = chosen
        return best

    def measured(self, state: AskingState, prox: Prox) -> dict[str, Tensor]:
        wins, votes = state.wins.cpu().numpy(), state.votes.cpu().numpy()
        policy = state.policy.probabilities.cpu().numpy()
        reference, beta = _expanded(prox.reference.probabilities, policy), prox.beta[:, 0, 0].tolist()
        certified = np.empty(policy.shape[:2])
        for seed, context in np.ndindex(*certified.shape):
            bounds = self._certificate(wins[seed], votes[seed], context).bounds
            certified[seed, context] = bounds.exploitability(
                policy[seed, context], beta[seed], reference[seed, context]
            )
        return {"certified_exploitability": state.votes.new_tensor(certified.mean(-1))}

    def _certificate(self, wins: np.ndarray, votes: np.ndarray, context: int) -> Certificate:
        """What the votes (X, n, n) prove in one context; the bounds of all contexts hold together."""
        return certificate(wins[context], votes[context], self.delta / len(wins))


def _expanded(reference: Tensor, policy: np.ndarray) -> np.ndarray:
    """The reference of every seed, (S, X, n)."""
    return np.broadcast_to(reference.cpu().numpy(), policy.shape)
