"""The average of the policies of a run, for policies whose average is usable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from nlhf.policies.select import choose

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
    """The mean of the probabilities, accumulated as logarithms."""

    def __init__(self, policy: Policy) -> None:
        start = policy.log_probabilities
        self.total: Tensor | None = start.new_full(start.shape, -np.inf)

    def add(self, policy: Policy, log_weight: np.ndarray | None, mask: Tensor | None) -> None:
        assert self.total is not None
        term = policy.log_probabilities
        if log_weight is not None:
            shared = (log_weight == log_weight[0]).all()
            term = term + (log_weight[0] if shared else term.new_tensor(log_weight)[:, None, None])
        if mask is None:
            torch.logaddexp(self.total, term, out=self.total)
        else:
            self.total = choose(mask, self.total.logaddexp(term), self.total)

    def of(self, policy: Policy, iteration: Tensor) -> Tensor | None:
        assert self.total is not None
        return policy.log_probabilities.where(iteration == 0, self.total.log_softmax(-1))


class NoAverage:
    """No average, for networks: the average of their outputs is not a network."""

    def __init__(self) -> None:
        self.total: Tensor | None = None

    def add(self, policy: Policy, log_weight: np.ndarray | None, mask: Tensor | None) -> None:
        pass

    def of(self, policy: Policy, iteration: Tensor) -> Tensor | None:
        return None
