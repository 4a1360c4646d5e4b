"""The smallest skew-symmetric matrix that gives all answers so far.

A is linear: answers A P about policies P hold for all their combinations, and by skew-symmetry p.A d = -d.(A p) for any
d. With weights w on the actions, combinations V of the policies such that V/sqrt(w) is orthonormal, images Z = A V and
K = V.Z, the matrix of least Frobenius norm of sqrt(w) A sqrt(w) is A ~ G N G^T, G = [V/w, Z], N = [[-K, -1], [1, 0]].
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from nlhf.numerics import threads

if TYPE_CHECKING:
    from torch import Tensor
else:
    Tensor = Any  # algorithms are imported without torch

NOVEL = 1e-7  # a policy whose relative part outside the span of the others is smaller adds noise only


@dataclass(frozen=True)
class Answers:
    """Combinations of the policies that were asked about, and their images under the game.

    Args:
        rows: V (n columns), Z (n) and the coefficients of V in the policies (m, the oldest first), (S, X, m, 2n + m);
            a policy that adds only noise leaves a row of zeros.
        count: answers that are stored, the same for all problems.
    """

    rows: Tensor
    count: int

    @classmethod
    def none(cls, log_probabilities: Tensor, memory: int) -> Answers:
        """Room for `memory` answers, or for twice as many as there are actions."""
        seeds, contexts, actions = log_probabilities.shape
        room = min(memory, 2 * actions)
        return cls(log_probabilities.new_zeros(seeds, contexts, room, 2 * actions + room), 0)

    @classmethod
    def after(cls, rows: Tensor, queries: int) -> Answers:
        """The answers in `rows` after so many queries: a full memory keeps its newest half."""
        room = rows.shape[2]
        if queries <= room:
            return cls(rows, queries)
        return cls(rows, room // 2 + 1 + (queries - room - 1) % (room - room // 2))

    def with_answer(self, question: Tensor, answer: Tensor, weights: Tensor) -> Answers:
        """These answers and one more, where V/sqrt(w) is orthonormal for new weights; all (S X, 1, n)."""
        import torch

        count, room = self.count, self.rows.shape[2]
        if count == room:
            return self.newest(room // 2, weights).with_answer(question, answer, weights)
        inverse, n = weights.reciprocal(), weights.shape[-1]
        rows = self.reweighted(inverse)
        policies = rows[..., :n].mT
        number = constants(room, weights.dtype, weights.device)[0][count].expand(len(rows), 1, room)
        row = torch.cat([question, answer, number], -1)
        size = (scaled := question * inverse).bmm(question.mT)
        row = row.baddbmm(scaled.bmm(policies), rows, alpha=-1)
        row = row.baddbmm((row[..., :n] * inverse).bmm(policies), rows, alpha=-1)
        part = row[..., :n]
        residual = (part * inverse).bmm(part.mT)
        row = row * (residual.rsqrt() * (residual > NOVEL**2 * size)).nan_to_num(0.0)
        stored = torch.nn.functional.pad(torch.cat([rows, row], 1), (0, 0, 0, room - count - 1))
        return Answers(stored.view_as(self.rows), count + 1)

    def reweighted(self, inverse: Tensor) -> Tensor:
        """The rows in use, (S X, m, 2n + m), for a V that is orthonormal under new weights 1/inverse."""
        import torch

        rows = self.rows[:, :, : self.count].flatten(0, 1)
        policies = rows[..., : inverse.shape[-1]]
        gram = (policies * inverse).bmm(policies.mT)
        gram.diagonal(dim1=-2, dim2=-1).add_(1e-300)  # for rows of zeros
        factor, failed = torch.linalg.cholesky_ex(gram)
        if failed.any().item():  # the weights changed too much: start again
            sound = (failed == 0)[:, None, None]
            factor, rows = factor.where(sound, constants(self.count, rows.dtype, rows.device)[0]), rows * sound
        solved: Tensor = torch.linalg.solve_triangular(factor, rows, upper=False)
        return solved

    def newest(self, count: int, weights: Tensor) -> Answers:
        """The newest answers only."""
        import torch

        n, stored = weights.shape[-1], self.rows.shape[2]
        rows = self.rows.flatten(0, 1)
        unused = (rows == 0).all(-1).to(rows).diag_embed()
        pairs = threads.solve(rows[..., 2 * n :] + unused, rows[..., : 2 * n])[:, stored - count :]
        answers = Answers(self.rows * 0, 0)
        for pair in torch.split(pairs, 1, 1):
            answers = answers.with_answer(pair[..., :n], pair[..., n:], weights)
        return answers

    def game(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        """G^T (S X, 2m, n) and N^T (S X, 2m, 2m)."""
        import torch

        count, n = self.count, weights.shape[-1]
        rows = self.rows[:, :, :count].flatten(0, 1)
        policies, images = rows[..., :n], rows[..., n : 2 * n]
        lower = policies.bmm(images.mT).tril_(-1)  # the images of older answers are more accurate
        form = torch.nn.functional.pad(lower - lower.mT, (0, count, 0, count))
        return torch.cat([policies / weights, images], 1), form.add_(constants(count, form.dtype, form.device)[1])


@lru_cache(maxsize=256)
def constants(m: int, dtype: Any, device: Any) -> tuple[Tensor, Tensor]:
    """The identity (m, m), and [[0, 1], [-1, 0]] of four such blocks."""
    import torch

    upper = torch.eye(2 * m).roll(m, 1).triu()
    return torch.eye(m, dtype=dtype, device=device), (upper - upper.mT).to(device, dtype)
