"""The average of the policies so far, where it is a policy that one could use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from nlhf.policies.select import choose

if TYPE_CHECKING:
    from torch import Tensor

    from nlhf.policies.base import Policy


class Average(Protocol):
    """What a trainer keeps of the policies so far."""

    total: Tensor | None

    def add(self, policy: Policy, log_weight: np.ndarray | None, mask: Tensor | None) -> None:
        """Count a policy in, with a weight for each seed (S) or none, in the seeds where `mask` (S) is true; a number
        that all share is no tensor, for which a device would have to wait."""

    def of(self, policy: Policy, iteration: Tensor) -> Tensor | None:
        """Its log-probabilities (S, X, Y), those of `policy` in the seeds at iteration 0; None where there is none."""


class TableAverage:
    """The mean of the probabilities, accumulated by their logarithms."""

    def __init__(self, policy: Policy) -> None:
        start = policy.log_probabilities
        self.total: Tensor | None = start.new_full(start.shape, -np.inf)

    def add(self, policy: Policy, log_weight: np.ndarray | None, mask: Tensor | None) -> None:
        assert self.total is not None
        term = policy.log_probabilities
        if log_weight is not None:
            alike = (log_weight == log_weight[0]).all()
            term = term + (log_weight[0] if alike else term.new_tensor(log_weight)[:, None, None])
        if mask is None:
            torch.logaddexp(self.total, term, out=self.total)
        else:
            self.total = choose(mask, self.total.logaddexp(term), self.total)

    def of(self, policy: Policy, iteration: Tensor) -> Tensor | None:
        assert self.total is not None
        return policy.log_probabilities.where(iteration == 0, self.total.log_softmax(-1))


class NoAverage:
    """For networks: the average of their outputs is no network."""

    def __init__(self) -> None:
        self.total: Tensor | None = None

    def add(self, policy: Policy, log_weight: np.ndarray | None, mask: Tensor | None) -> None:
        pass

    def of(self, policy: Policy, iteration: Tensor) -> Tensor | None:
        return None
