"""Log-probability algebra on tensors (..., Y): the last dimension is the action.

Everything stays in log-probabilities, so that policies may put e^-1000000 on an action without a clip. Only tensor
methods are used: importing this module, or a module that is written with it, does not import torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from operator import add
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

PART = 1 << 17  # actions that are summed at once
SINGLE = 2.0**-23  # the relative rounding of float32


def proximal_step(anchor: Tensor, reference: Tensor, advantage: Tensor, beta: Tensor, step_size: Tensor) -> Tensor:
    """The closed form of one proximal step,

        log pi+ = (log anchor + step_size*beta*log reference + step_size*advantage) / (1 + step_size*beta) - log Z,

    the maximiser of  <pi, advantage> - beta KL(pi || reference) - (1/step_size) KL(pi || anchor).

    With kappa = beta + 1/step_size it reads  log anchor + (beta/kappa)(log reference - log anchor) + advantage/kappa:
    finite for an infinite step, and its fixed point does not depend on how the two weights of a mean are rounded.

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


def weighted_step(anchor: Tensor, reference: Tensor, advantage: Tensor, pull: Tensor, gain: Tensor) -> Tensor:
    """`proximal_step` with the coefficients of `step_weights` at hand."""

    def logits(anchor: Tensor, reference: Tensor, advantage: Tensor) -> Tensor:
        return anchor.lerp(reference, pull).addcmul_(advantage, gain)

    return normalised(logits, anchor, reference, advantage)


def geometric_mixture(first: Tensor, second: Tensor, weight: Tensor) -> Tensor:
    """Log-probabilities of the policy proportional to first^(1-weight) second^weight; weight (S, 1, 1) in [0, 1]."""
    return normalised(lambda first, second: first.lerp(second, weight), first, second)


def kl(p: Tensor, q: Tensor) -> Tensor:
    """KL(p || q) over the last dimension, of log-probabilities (..., Y) -> (...).

    A sum of non-negative terms: with d = log p - log q, a term is p (d + exp(-d) - 1), computed through `expm1` where
    |d| < 1, and p d - p + q elsewhere (q where p = 0, +inf where q = 0 < p). The terms p - q cancel in the sum, as both
    are distributions. Good to a relative 3 eps/|d| a term, far below the square root of the smallest double.
    """
    return summed(_kl, p, q)


def _kl(p: Tensor, q: Tensor) -> Tensor:
    difference = p - q
    mass = p.exp()
    near = mass * (difference + (-difference).expm1())
    far = (mass * difference).where(mass > 0, 0.0) - mass + q.exp()
    return near.where(difference.abs() < 1, far).sum(-1)


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


def normalised(logits: Callable[..., Tensor], *tables: Tensor) -> Tensor:
    """log-softmax of what `logits` makes of tables (..., Y), action by action; of many actions part by part."""
    actions = tables[0].shape[-1]
    if actions <= PART:
        return logits(*tables).log_softmax(-1)
    first = logits(*(table[..., :1] for table in tables))
    found, totals = first.new_empty(*first.shape[:-1], actions), []
    for here, part in _parts(tables):
        found[..., here] = values = logits(*part)
        totals.append(values.logsumexp(-1, keepdim=True))
    return found.sub_(reduce(lambda total, other: total.logaddexp(other), totals))


def summed(terms: Callable[..., Tensor], *tables: Tensor) -> Tensor:
    """What `terms` makes of tables (..., Y), a sum over actions, (...): of many actions part by part, for temporaries
    as large as the tables cost more than the arithmetic."""
    return reduce(add, (terms(*part) for _, part in _parts(tables)))


def _parts(tables: Sequence[Tensor]) -> Iterator[tuple[slice, Sequence[Tensor]]]:
    """Some actions at a time, with what tables (..., Y) say of them; the tables themselves where these are few."""
    actions = tables[0].shape[-1]
    if actions <= PART:
        yield slice(None), tables
        return
    for start in range(0, actions, PART):
        here = slice(start, start + PART)
        yield here, [table[..., here] for table in tables]


def products(matrix: Tensor, vector: Tensor) -> Tensor:
    """Batched matrix-vector products (B, m, n), (B, n) -> (B, m)."""
    return (matrix @ vector[..., None])[..., 0]


def span(p: Tensor, q: Tensor) -> Tensor:
    """max_y (log p - log q) - min_y (log p - log q), of log-probabilities (..., Y) -> (...)."""
    difference = p - q
    return difference.amax(-1) - difference.amin(-1)


def stacked(contexts: Tensor, tables: int, count: int) -> Tensor:
    """Contexts (S, B), each below `count`, as rows of S tables of that length laid one below the other; of one table
    that the seeds share, as they are."""
    if tables == 1:
        return contexts
    return contexts + contexts.new_tensor(range(0, tables * count, count))[:, None]
