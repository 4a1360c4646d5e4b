"""Log-probability algebra on tensors (..., Y): the last dimension is the action.

Everything stays in log-probabilities, so that a policy may give an action the probability e^-1000000 without a clip.
Only tensor methods are used, so this module, and modules built on it, are imported without torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from operator import add
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from nlhf.numerics.tree import Tree

PART = 1 << 17  # actions that are processed at once
SINGLE = 2.0**-23  # the relative rounding of float32


def proximal_step(anchor: Tensor, reference: Tensor, advantage: Tensor, beta: Tensor, step_size: Tensor) -> Tensor:
    """The closed form of one proximal step,

        log pi+ = (log anchor + step_size*beta*log reference + step_size*advantage) / (1 + step_size*beta) - log Z,

    the maximiser of  <pi, advantage> - beta KL(pi || reference) - (1/step_size) KL(pi || anchor).

    With kappa = beta + 1/step_size it reads  log anchor + (beta/kappa)(log reference - log anchor) + advantage/kappa.
    This form is finite for an infinite step, and its fixed point does not depend on the rounding of the two weights.

    Args:
        anchor, reference: log-probabilities, broadcastable to (S, X, Y).
        advantage: P(y > opponent) - 1/2, shape (S, X, Y).
        beta, step_size: shape (S, 1, 1); step_size in payoff units, `inf` allowed where beta > 0.

    Returns: log-probabilities (S, X, Y).
    """
    return weighted_step(anchor, reference, advantage, *step_weights(beta, step_size))


def step_weights(beta: Tensor, step_size: Tensor) -> tuple[Tensor, Tensor]:
    """The two coefficients of a proximal step: the pull beta/kappa in [0, 1] and the gain 1/kappa."""
    kappa = beta + 1 / step_size
    return beta / kappa, 1 / kappa


def weighted_step(
    anchor: Tensor, reference: Tensor, advantage: Tensor, pull: Tensor, gain: Tensor, tree: Tree | None = None
) -> Tensor:
    """`proximal_step` with the coefficients of `step_weights`, over the policies of a tree if there is one."""

    def logits(anchor: Tensor, reference: Tensor, advantage: Tensor) -> Tensor:
        return anchor.lerp(reference, pull).addcmul_(advantage, gain)

    return normalised(logits, anchor, reference, advantage, tree=tree)


def geometric_mixture(first: Tensor, second: Tensor, weight: Tensor) -> Tensor:
    """Log-probabilities of the policy proportional to first^(1-weight) second^weight; weight (S, 1, 1), any number."""
    return normalised(lambda first, second: first.lerp(second, weight), first, second)


def kl(p: Tensor, q: Tensor) -> Tensor:
    """KL(p || q) over the last dimension, of log-probabilities (..., Y) -> (...).

    A sum of non-negative terms: with d = log p - log q, a term is p (d + exp(-d) - 1), computed with `expm1` if
    |d| < 1, and p d - p + q otherwise (q if p = 0, +inf if q = 0 < p). The terms p - q cancel in the sum, since both
    are distributions. The relative error of a term is 3 eps/|d|. See docs/mathematics.md, "KL divergence in floating
    point".
    """
    return summed(_kl, p, q)


def _kl(p: Tensor, q: Tensor) -> Tensor:
    difference = p - q
    mass = p.exp()
    near = mass * (difference + (-difference).expm1())
    far = (mass * difference).where(mass > 0, 0.0) - mass + q.exp()
    return near.where(difference.abs() < 1, far).sum(-1)


def kl_to_tilted(p: Tensor, differences: Tensor) -> Tensor:
    """KL(p || q) where log q = log p - difference + a constant and E_p difference = 0.

    Shapes (B, 1, n), (B, L, n) -> (B, 1, L). It is log(1 + sum p (d + exp(-d) - 1)), a sum of non-negative terms as in
    `kl`, without a second softmax. Where exp(-d) overflows the result is inf or nan.
    """
    return p.bmm(differences.neg().expm1_().add_(differences).mT).log1p_()


def entropy(p: Tensor) -> Tensor:
    """-sum p log p in nats, of log-probabilities (..., Y) -> (...)."""
    return summed(_entropy, p)


def _entropy(p: Tensor) -> Tensor:
    mass = p.exp()
    return -(mass * p).where(mass > 0, 0.0).sum(-1)


def mean_under(p: Tensor, values: Tensor) -> Tensor:
    """sum p values, of log-probabilities and values (..., Y) -> (...)."""
    return summed(_mean_under, p, values)


def _mean_under(p: Tensor, values: Tensor) -> Tensor:
    return (p.exp() * values).sum(-1)


def normalised(logits: Callable[..., Tensor], *tables: Tensor, tree: Tree | None = None) -> Tensor:
    """log-softmax of `logits(*tables)`, tables (..., Y); many actions are processed part by part.

    With a tree, the policy of the tree that is nearest to it.
    """
    if tree is not None:
        return tree.nearest(logits(*tables))
    actions = tables[0].shape[-1]
    if actions <= PART:
        return logits(*tables).log_softmax(-1)
    first = logits(*(table[..., :1] for table in tables))
    result, totals = first.new_empty(*first.shape[:-1], actions), []
    for actions_of_part, part in _parts(tables):
        result[..., actions_of_part] = values = logits(*part)
        totals.append(values.logsumexp(-1, keepdim=True))
    return result.sub_(reduce(lambda total, part_total: total.logaddexp(part_total), totals))


def summed(terms: Callable[..., Tensor], *tables: Tensor) -> Tensor:
    """`terms(*tables)`, a sum over the actions of tables (..., Y), shape (...).

    Many actions are processed part by part, since temporaries as large as the tables cost more than the arithmetic.
    """
    return reduce(add, (terms(*part) for _, part in _parts(tables)))


def _parts(tables: Sequence[Tensor]) -> Iterator[tuple[slice, Sequence[Tensor]]]:
    """Slices of actions with the same slices of tables (..., Y); the tables themselves if the actions are few."""
    actions = tables[0].shape[-1]
    if actions <= PART:
        yield slice(None), tables
        return
    for start in range(0, actions, PART):
        part = slice(start, start + PART)
        yield part, [table[..., part] for table in tables]


def projection(values: Tensor) -> Tensor:
    """The nearest distribution in Euclidean distance, max(values - shift, 0), of values (..., Y) -> (..., Y).

    The shift follows from the sorted values. Source: arXiv:1309.1541.
    """
    ordered = values.sort(-1, descending=True).values
    count = ordered.new_ones(values.shape[-1]).cumsum(-1)
    shifts = (ordered.cumsum(-1) - 1) / count
    support = (ordered > shifts).sum(-1, keepdim=True)  # its size: the condition holds for the largest values only
    return (values - shifts.gather(-1, support - 1)).clamp(min=0.0)


def value_against(follower: Tensor, advantage: Tensor, log_reference: Tensor, follower_beta: Tensor) -> Tensor:
    """The value (..., n) of a Stackelberg leader's answers against a follower (..., n, n) with its KL term."""
    wins = mean_under(follower, advantage) + 0.5
    return wins + follower_beta * kl(follower, log_reference[..., None, :].expand_as(follower))


def products(matrix: Tensor, vector: Tensor) -> Tensor:
    """Batched matrix-vector products (B, m, n), (B, n) -> (B, m)."""
    return (matrix @ vector[..., None])[..., 0]


def largest(values: Tensor, tree: Tree | None = None) -> Tensor:
    """The largest mean of values (..., Y) under a policy, (...): their maximum, or that of a tree's policies."""
    return values.amax(-1) if tree is None else tree.largest(values)


def span(p: Tensor, q: Tensor) -> Tensor:
    """max_y (log p - log q) - min_y (log p - log q), of log-probabilities (..., Y) -> (...)."""
    difference = p - q
    return difference.amax(-1) - difference.amin(-1)


def stacked(contexts: Tensor, tables: int, count: int) -> Tensor:
    """Row indices of contexts (S, B) in S stacked tables of `count` rows; the contexts themselves for one table."""
    if tables == 1:
        return contexts
    return contexts + contexts.new_tensor(range(0, tables * count, count))[:, None]
