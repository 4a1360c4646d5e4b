"""Games against several competitors: an answer has to be a person's best among k + 1.

An answer y meets k answers drawn from the policy, and a person picks the best of all, ties at random. People of type t
have the share w_t and rank all answers. With F = P(an answer is worse than y) and a = P(it is worse or tied) under the
policy, y is picked with probability

    u(y; pi) = sum_t w_t (F^k + a F^(k-1) + ... + a^k)/(k + 1)

(the tie-breaking sum over the number of tied competitors telescopes). The policy itself is picked with probability
1/(k+1), so gains are u - 1/(k+1); for k = 1 they are P(y > pi) - 1/2. With k > 1 they are not linear in the
policy, but (u(p) - u(q)).(p - q) <= 0 still holds. (arXiv:2601.08777; see docs/mathematics.md, "Several competitors".)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from nlhf.games.base import check_dense
from nlhf.games.listed import Listed, moved


class _Masses(NamedTuple):
    """The masses of the worse answers, and of the worse and tied ones, (S, T, n) each."""

    worse: Tensor
    not_better: Tensor


@dataclass(frozen=True, eq=False)
class CompetitionGame(Listed):
    """The gains against k competitors, over k, in one context; `to` ignores other precisions.

    Divided by k, gains lie in [-1/2, 1/2], and change by at most half the total variation of the policy's change.

    Args:
        ranks: of every answer by every type, whole numbers, larger is better, equal is tied, (G, T, n).
        weights: shares of the types, (G, T), float64.
        competitors: k.
    """

    ranks: Tensor
    weights: Tensor
    competitors: int

    is_bilinear: ClassVar[bool] = False
    joinable: ClassVar[bool] = True

    @classmethod
    def of(
        cls,
        scores: Sequence[np.ndarray],
        weights: Sequence[np.ndarray],
        competitors: int,
        items: Sequence[str],
    ) -> CompetitionGame:
        """The game of scores (T, n) and weights (T) for every instance; higher scores are better."""
        ranks = np.stack([[np.unique(row, return_inverse=True)[1] for row in table] for table in scores])
        shares = np.stack([np.asarray(share, dtype=float) / np.sum(share) for share in weights])
        return cls(items, ("all",), torch.from_numpy(ranks), torch.from_numpy(shares), competitors)

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """The ranks (G, T, n), and the weights of the types, (G, T)."""
        return {"ranks": self.ranks.cpu().numpy(), "weights": self.weights.cpu().numpy()}

    @property
    def linear(self) -> CompetitionGame:
        """The game against one competitor, in which P decides."""
        return replace(self, competitors=1)

    @property
    def content(self) -> Tensor:
        return torch.cat([self.ranks.double().flatten(1), self.weights], 1)

    @property
    def work(self) -> int:
        return (self.competitors + 4) * self.ranks[0].numel()

    def to(self, where: torch.device | torch.dtype) -> CompetitionGame:
        return self if isinstance(where, torch.dtype) else moved(self, where)

    def payoff(self, probabilities: Tensor) -> Tensor:
        worse, not_better = self._masses(probabilities[:, 0].to(self.weights))
        k = self.competitors
        total, power = torch.ones_like(worse), torch.ones_like(worse)
        for _ in range(k):  # Horner's rule
            power = power * worse
            total = total * not_better + power
        picked = (total * self.weights[:, :, None]).sum(1) / (k + 1)
        return ((picked - 1 / (k + 1)) / k)[:, None].to(probabilities)

    def derivative(self, probabilities: Tensor) -> Tensor:
        """The derivative of `payoff` by the policy, (S, 1, n, n)."""
        worse, not_better = self._masses(probabilities[:, 0].to(self.weights))
        k = self.competitors
        by_worse, by_not_better = torch.zeros_like(worse), torch.zeros_like(worse)
        for i in range(k + 1):
            j = k - i
            if j:
                by_worse += j * not_better**i * worse ** (j - 1)
            if i:
                by_not_better += i * not_better ** (i - 1) * worse**j
        total = probabilities.new_zeros(len(worse), worse.shape[-1], worse.shape[-1], dtype=torch.float64)
        for t, weight in enumerate(self.weights.unbind(1)):
            rank = self.ranks[:, t]
            above, tied = rank[:, :, None] > rank[:, None, :], rank[:, :, None] == rank[:, None, :]
            slope = by_worse[:, t, :, None] * above + by_not_better[:, t, :, None] * (above | tied)
            total += weight[:, None, None] * slope
        return total[:, None] / (k * (k + 1))

    def compare(self, contexts: Tensor, first: Tensor, second: Tensor) -> Tensor:
        games, types, n = self.ranks.shape
        at = torch.zeros_like(first) if games == 1 else torch.arange(games, device=first.device)[:, None, None]
        rows = self.ranks.mT.reshape(-1, types)
        signs = (rows[at * n + first] - rows[at * n + second]).sign().double()
        return (signs * self.weights[:, None, None]).sum(-1) / 2

    def dense(self) -> Tensor:
        """P - 1/2 for pairs of answers, (G, 1, n, n): the game against one competitor."""
        games, types, n = self.ranks.shape
        check_dense(games, n)
        total = torch.zeros(games, n, n, dtype=torch.float64, device=self.ranks.device)
        for t in range(types):
            rank = self.ranks[:, t]
            total += self.weights[:, t, None, None] * (rank[:, :, None] - rank[:, None, :]).sign()
        return total[:, None] / 2

    def _masses(self, policy: Tensor) -> _Masses:
        """The masses under policies (S, n)."""
        order, first, last = (index.expand(len(policy), -1, -1) for index in self._sorted)
        mass = policy[:, None].expand_as(order).gather(-1, order)
        sums = torch.nn.functional.pad(mass.cumsum(-1), (1, 0))
        return _Masses(sums.gather(-1, first), sums.gather(-1, last))

    @cached_property
    def _sorted(self) -> tuple[Tensor, Tensor, Tensor]:
        """Answers from worst to best, and where the answers tied with each begin and end, (G, T, n) each."""
        ordered, order = self.ranks.sort(-1)
        first = torch.searchsorted(ordered, self.ranks.contiguous())
        last = torch.searchsorted(ordered, self.ranks.contiguous(), right=True)
        return order, first, last
