"""The average of the policies of a run, for policies whose average is usable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

if TYPE_CHECKING:
    from torch import Tensor

    from nlhf.policies.base import Policy


class Average(Protocol):
    """The weighted average of the policies so far."""

    total: Tensor | None

    def add(self, policy: Policy, log_weight: np.ndarray | None, mask: Tensor | None) -> None:
        """Add a policy for the seeds in `mask` (S), or for all.

        Args:
            log_weight: of each seed, (S), or None for weight 1. A weight shared by all seeds stays a Python float,
                which avoids a device sync.
        """

    def of(self, policy: Policy, iteration: Tensor) -> Tensor | None:
        """Log-probabilities of the average (S, X, Y), at iteration 0 of `policy`; None without an average."""


class TableAverage:
    """The weighted mean of the probabilities; `total` is their weighted sum (S, X, Y)."""

    def __init__(self, policy: Policy) -> None:
        self.total: Tensor | None = torch.zeros_like(policy.log_probabilities)

    def add(self, policy: Policy, log_weight: np.ndarray | None, mask: Tensor | None) -> None:
        assert self.total is not None
        term = policy.probabilities
        if log_weight is not None:  # the product is rounded before the sum, or seeds would depend on their batch
            weight = np.exp(log_weight)
            shared = (weight == weight[0]).all()
            term = term * (float(weight[0]) if shared else term.new_tensor(weight)[:, None, None])
        if mask is not None:
            term = term.where(mask[:, None, None], 0.0)
        self.total.add_(term)

    def of(self, policy: Policy, iteration: Tensor) -> Tensor | None:
        assert self.total is not None
        mean = (self.total / self.total.sum(-1, keepdim=True)).log()
        return policy.log_probabilities.where(iteration == 0, mean)


class NoAverage:
    """No average, for networks: the average of their outputs is not a network."""

    def __init__(self) -> None:
        self.total: Tensor | None = None

    def add(self, policy: Policy, log_weight: np.ndarray | None, mask: Tensor | None) -> None:
        pass

    def of(self, policy: Policy, iteration: Tensor) -> Tensor | None:
        return None
