"""Conversations of several turns: the policy answers, a user replies by chance, the policy answers again.

A path is one complete conversation, its answers and replies in turn. A policy of the tree is a distribution over paths
that gives every reply its probability in the tree:

    pi(a, c, b) = pi(a) p(c | a) pi(b | a, c)                              (two turns)

These distributions are an affine slice of the simplex, and the KL divergence of two of them is the sum of the expected
KL divergences of their turns. The maximiser of <pi, z> - <pi, log pi> over the slice is a softmax in every turn, from
the last one to the first, whose log-sum-exp is the value of the turn before. With one turn it is the softmax.
See docs/mathematics.md, "Several turns". Only tensor methods are used, so this module is imported without torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

TOLERANCE = 1e-6  # by which probabilities of replies may differ from those of the tree


@dataclass(frozen=True, eq=False)
class Tree:
    """A tree in which all nodes of one level have the same number of children.

    Tables over paths (..., Y) list the last answer fastest. Tables of a turn have the shape (..., nodes, answers).

    Args:
        answers: the number of answers in each of T turns.
        replies: after each turn but the last, the probabilities of replies, float64 (G or 1, X, nodes, replies), all
            positive; their leading dimensions broadcast against those of the tables.
    """

    answers: tuple[int, ...]
    replies: tuple[Tensor, ...]

    def nearest(self, log_weights: Tensor) -> Tensor:
        """The policy pi that maximises <pi, log_weights> - <pi, log pi>, log-probabilities (..., Y).

        It is the policy of least KL divergence to the distribution with these weights.
        """
        return self._along(self.turns(log_weights), with_replies=True)

    def with_replies(self, log_weights: Tensor) -> Tensor:
        """The policy whose answers have these weights, while replies keep their probabilities."""
        if not self.replies:
            return log_weights
        return self.nearest(log_weights + self._along([0 * turn for turn in self.turns(log_weights)], True))

    def turns(self, log_policy: Tensor) -> list[Tensor]:
        """log pi(answer | node) of every turn, (..., nodes, answers), of the nearest policy."""
        tables, values = [], log_policy
        for answers, replies in self._backwards():
            table = _split(values, answers)
            tables.append(table.log_softmax(-1))
            values = table.logsumexp(-1)
            if replies is not None:
                values = (replies * (_split(values, replies.shape[-1]) - replies.log())).sum(-1)
        return tables[::-1]

    def largest(self, values: Tensor) -> Tensor:
        """max over policies pi of <pi, values>, of values (..., Y), shape (...)."""
        for answers, replies in self._backwards():
            values = _split(values, answers).amax(-1)
            values = values if replies is None else self._expected(values, replies)
        return values[..., 0]

    def centred(self, log_policy: Tensor, values: Tensor) -> Tensor:
        """Values (..., Y) less the parts that are the same for all policies.

        The derivative of log `nearest` at a policy in the direction of `values`: the sum over turns of the expected
        value after the answer less the one before it.
        """
        tables = []
        for (answers, replies), turn in zip(self._backwards(), reversed(self.turns(log_policy)), strict=True):
            table = _split(values, answers)
            mean = (turn.exp() * table).sum(-1)
            tables.append(table - mean[..., None])
            values = mean if replies is None else self._expected(mean, replies)
        return self._along(tables[::-1], with_replies=False)

    def local_step(
        self, policy: Tensor, reference: Tensor, gains: Tensor, beta: Tensor, pull: Tensor, gain: Tensor
    ) -> Tensor:
        """A step of mirror descent in every node by itself, from the regularised values of `policy`.

        Args:
            policy, reference: log-probabilities (S, X, Y).
            gains: what paths gain against the opponent, (S, X, Y).
            beta, pull, gain: (S, 1, 1), the coefficients of `simplex.step_weights`.
        """
        steps, (beta, pull, gain) = [], (number[..., None] for number in (beta, pull, gain))
        values = gains
        turns = zip(self.turns(policy), self.turns(reference), strict=True)
        for (answers, replies), (current, base) in zip(self._backwards(), reversed(list(turns)), strict=True):
            table = _split(values, answers)
            steps.append((current.lerp(base, pull) + gain * table).log_softmax(-1))
            mean = (current.exp() * (table - beta * (current - base))).sum(-1)
            values = mean if replies is None else self._expected(mean, replies)
        return self._along(steps[::-1], with_replies=True)

    def contains(self, log_policy: Tensor) -> bool:
        """True if replies have their probabilities in the tree, for log-probabilities (S, X, Y), which may be -inf."""
        difference = log_policy.exp() - self.nearest(log_policy.clamp(min=-700)).exp()
        return bool((difference.abs() <= TOLERANCE).all())

    def expanded(self, instances: int) -> Tree:
        """The tree with G = instances."""
        return replace(self, replies=tuple(part.expand(instances, *part.shape[1:]) for part in self.replies))

    def flat(self) -> Tree:
        """The tree for tables (B, Y), B = G * X."""
        return replace(self, replies=tuple(part.flatten(0, 1) for part in self.replies))

    def part(self, index: Any) -> Tree:
        """The tree for some rows of tables; an index such as [:, None] inserts a dimension."""
        return replace(self, replies=tuple(part[index] for part in self.replies))

    def to(self, where: Any) -> Tree:
        """The same tree on another device."""
        return replace(self, replies=tuple(part.to(where) for part in self.replies))

    def is_floating_point(self) -> bool:
        """False: in games of less precision, probabilities of replies keep theirs."""
        return False

    def _backwards(self) -> list[tuple[int, Tensor | None]]:
        """The number of answers in each turn, from the last one, and the replies that lead to it."""
        return list(zip(self.answers[::-1], (*self.replies[::-1], None), strict=True))

    def _expected(self, values: Tensor, replies: Tensor) -> Tensor:
        """Means over replies, (..., nodes), of values (..., nodes * replies)."""
        return (replies * _split(values, replies.shape[-1])).sum(-1)

    def _along(self, tables: Sequence[Tensor], with_replies: bool) -> Tensor:
        """Sums of the tables of turns along the paths, (..., Y), with the logarithms of replies or without them."""
        total = tables[0].flatten(-2)
        for replies, table in zip(self.replies, tables[1:], strict=True):
            spread = total[..., None].expand(*total.shape, replies.shape[-1])
            spread = spread + replies.log() if with_replies else spread
            total = (spread.flatten(-2)[..., None] + table).flatten(-2)
        return total


def _split(values: Tensor, size: int) -> Tensor:
    """The last dimension in rows of `size`."""
    return values.reshape(*values.shape[:-1], -1, size)
