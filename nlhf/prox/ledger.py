"""The answers that a run got about whole policies, and the number of queries charged to each seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from nlhf.policies.base import Policy
from nlhf.policies.select import choose

if TYPE_CHECKING:
    from torch import Tensor

Ask = Callable[[Policy, np.ndarray], tuple["Tensor", int]]  # see `ProxEngine.ask`


class Ledger:
    """Answers by policy object and seed. A seed pays for the first answer about a policy only.

    Args:
        seeds: S, how many.
    """

    def __init__(self, seeds: int) -> None:
        self.queries = np.zeros(seeds, np.int64)  # charged to each seed
        self._answers: WeakKeyDictionary[Policy, tuple[Tensor, np.ndarray]] = WeakKeyDictionary()

    def charge(self, queries: int | np.ndarray, active: np.ndarray) -> None:
        """Add queries, the same number or one for each seed, to the count of every seed in `active`, (S) bool."""
        self.queries += queries * active

    def answer(self, policy: Policy, active: np.ndarray, ask: Ask) -> Tensor:
        """The answer (S, X, Y) about a policy, valid for `active` seeds; only seeds without one ask and pay."""
        answer, answered = self._answers.get(policy, (None, None))
        if answered is None or answer is None:
            answer, cost = ask(policy, active)
            self.queries += cost * active
            self._answers[policy] = answer, active.copy()
        elif (missing := active & ~answered).any():
            fresh, cost = ask(policy, missing)
            self.queries += cost * missing
            answer = choose(as_mask(answered, fresh), answer, fresh)
            self._answers[policy] = answer, answered | missing
        return answer

    def record(self, policy: Policy, answer: Tensor, active: np.ndarray) -> None:
        """Store an answer (S, X, Y) about a policy for the `active` seeds, free of charge."""
        self._answers[policy] = answer, active.copy()

    def combine(self, chosen: Policy, by_context: np.ndarray, mask: Tensor, sources: tuple[Policy, Policy]) -> None:
        """Store the answer about `chosen`, which is the first source where `mask` is true and else the second.

        Args:
            by_context: the mask on the host, (S, X) or (S, 1).
        """
        first, second = (self._answers.get(source) for source in sources)
        available = first or second
        if available is None:
            return
        no_seed = np.zeros(len(self.queries), bool)
        (answer, answered), (other_answer, other_answered) = (
            entry or (available[0], no_seed) for entry in (first, second)
        )
        answered = np.asarray(np.where(by_context, answered[:, None], other_answered[:, None]).all(1))
        if answered.any():
            self._answers[chosen] = choose(mask, answer, other_answer), answered

    def snapshot(self) -> dict[str, Any]:
        """The content of a checkpoint."""
        answers = [(policy, answer, answered.tolist()) for policy, (answer, answered) in self._answers.items()]
        return {"queries": self.queries.tolist(), "answers": answers}

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Continue from a snapshot."""
        self.queries = np.array(snapshot["queries"], dtype=np.int64)
        self._answers = WeakKeyDictionary(
            {policy: (answer, np.array(answered)) for policy, answer, answered in snapshot["answers"]}
        )


def as_mask(seeds: np.ndarray, tensor: Tensor) -> Tensor:
    """A mask of seeds as a tensor on the device of `tensor`."""
    return tensor.new_tensor(seeds).bool()
