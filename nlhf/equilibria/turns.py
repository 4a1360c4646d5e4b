"""Equilibria of conversations of several turns: Newton's method at beta > 0, a linear programme at beta = 0.

With C = diag(pi) times the projection `Tree.centred`, the Newton equation reads (I - A C/beta) d = right, as with one
turn. Parts of `right` that are the same for all policies change d by the same parts, which `Tree.nearest` removes.

The programme is the sequence form (D. Koller, N. Megiddo, B. von Stengel, Games and Economic Behavior 14, 1996). A plan
s holds, for every answer in the tree, the product of the probabilities of the answers up to it: E s = e, s >= 0 says
that the plans of the answers at a node sum to the plan of the answer before it. With r the product of the probabilities
of the replies on a path, pi = r s on paths, and values v of the nodes bound what any policy gains:

    minimise v_root   subject to   E s = e,   s >= 0,   r A (r s) <= E^T v   (0 <= E^T v before the last turn)
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from nlhf.equilibria.problems import Dense
from nlhf.numerics.tree import Tree


class Turns(Dense):
    """Matrices of advantages (B, n, n) over the paths of trees for tables (B, n)."""

    def __init__(self, advantage: Tensor, tree: Tree) -> None:
        super().__init__(advantage)
        self.tree = tree

    def solve(self, point: Tensor, beta: Tensor, right: Tensor) -> Tensor:
        rows = self.tree.part((slice(None), None))
        image = rows.centred(point[:, None], self.advantage).mul_(point.exp()[:, None])
        jacobian = torch.eye(point.shape[1], dtype=torch.float64) - image.div_(beta[:, :, None])
        direction: Tensor = torch.linalg.solve_ex(jacobian, right)[0]
        return direction

    def normalised(self, logits: Tensor) -> Tensor:
        return self.tree.nearest(logits)

    def part(self, chosen: Tensor) -> Turns:
        return Turns(self.advantage[chosen], self.tree.part(chosen))


def sequence_forms(advantage: Tensor, tree: Tree) -> Tensor:
    """Equilibria (B, n) at beta = 0 of games (B, n, n) over the paths of trees for tables (B, n).

    There may be others. Where the solver fails, the result is uniform, and its certificate shows that.
    """
    uniform = tree.with_replies(torch.zeros(advantage.shape[:2], dtype=torch.float64)).exp()
    replies = uniform.numpy() * np.prod(tree.answers)
    counts = [*(part.shape[-1] for part in tree.replies), 1]
    plans = [_plan(*game, tree.answers, counts) for game in zip(advantage.numpy(), replies, strict=True)]
    return torch.from_numpy(np.stack(plans) * replies)


def _plan(matrix: np.ndarray, chance: np.ndarray, answers: tuple[int, ...], replies: list[int]) -> np.ndarray:
    """The plan of the paths (n) in an equilibrium of a game (n, n); `chance` is r, (n).

    Args:
        replies: the number of replies after each turn, 1 after the last one.
    """
    from scipy.optimize import linprog

    equal = _constraints(answers, replies)
    nodes, sequences = equal.shape
    gains = np.zeros((sequences, sequences))
    gains[-len(matrix) :, -len(matrix) :] = chance[:, None] * matrix * chance
    root = (np.arange(nodes) == 0).astype(float)
    solution = linprog(
        np.r_[np.zeros(sequences), root],
        A_ub=np.c_[gains, -equal.T],
        b_ub=np.zeros(sequences),
        A_eq=np.c_[equal, np.zeros((nodes, nodes))],
        b_eq=root,
        bounds=[(0, None)] * sequences + [(None, None)] * nodes,
        method="highs-ds",
    )
    plan = np.zeros(sequences) if solution.x is None else np.maximum(solution.x[:sequences], 0)
    return _products(plan, answers, replies)


def _constraints(answers: tuple[int, ...], replies: list[int]) -> np.ndarray:
    """E: a row for each node, a column for each answer in the tree, turn by turn."""
    rows, columns = [], 0
    count = 1  # nodes of the turn
    before: np.ndarray = np.zeros((1, 0))
    for choices, following in zip(answers, replies, strict=True):
        at_nodes = np.kron(np.eye(count), np.ones(choices))
        rows.append(np.c_[before, at_nodes])
        columns += count * choices
        before = -np.kron(np.eye(columns)[columns - count * choices :], np.ones((following, 1)))
        count *= choices * following
    return np.concatenate([np.pad(row, ((0, 0), (0, columns - row.shape[1]))) for row in rows])


def _products(plan: np.ndarray, answers: tuple[int, ...], replies: list[int]) -> np.ndarray:
    """The plan of the paths (n), from plans of all turns that satisfy E s = e up to the tolerance of the solver."""
    paths = np.ones(1)
    for choices, following in zip(answers, replies, strict=True):
        shares, plan = plan[: len(paths) * choices].reshape(-1, choices), plan[len(paths) * choices :]
        total = shares.sum(1, keepdims=True)
        shares = np.divide(shares, total, out=np.full_like(shares, 1 / choices), where=total > 0)
        paths = (paths[:, None] * shares).ravel().repeat(following)
    return paths
