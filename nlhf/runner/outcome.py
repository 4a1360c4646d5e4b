"""How a call of `run_one`, and how a task of a sweep, ended. No torch import."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from nlhf.budget import Budget
from nlhf.runner.console import result
from nlhf.runner.within_budget import exceeds, limits, summary_within


class Ended(NamedTuple):
    """How a task of a sweep ended.

    Args:
        task: the name of its run, or its overrides if there is no run.
        state: completed, skipped, failed, interrupted or refused.
        value: log10 of the final exploitability, inf if there is none.
        message: the result, or the reason of a failure.
        signal: the number of the signal that stopped it, or 0.
        budget: the budget of the task in the notation of the command line.
    """

    task: str
    state: str
    value: float = math.inf
    message: str = ""
    signal: int = 0
    budget: str = ""


@dataclass(frozen=True)
class Outcome:
    """How a call of `run_one` ended.

    Args:
        folder: the folder of the run.
        summary: the content of summary.json.
        budget: the budget of the call; the completed run may have had a larger one.
        skipped: True if there was nothing to do.
        signal: the number of the signal that stopped it, or 0.
    """

    folder: Path
    summary: dict[str, Any]
    budget: Budget
    skipped: bool = False
    signal: int = 0

    @property
    def status(self) -> str:
        """completed, failed or interrupted."""
        return str(self.summary["status"])

    @cached_property
    def summary_at_budget(self) -> dict[str, Any]:
        """The summary with the metrics and costs that the run had at the budget of the call."""
        if not exceeds(self.summary, self.budget):
            return self.summary
        return summary_within(self.folder, self.summary, self.budget)

    @property
    def larger_budget(self) -> str | None:
        """The budget of the completed run if it is larger than the budget of the call, else None."""
        return limits(self.summary["budget"]) if exceeds(self.summary, self.budget) else None

    @property
    def log10_exploitability(self) -> float:
        """Mean over seeds at the budget of the call, which hyper-parameter searches minimise; inf for a failed run."""
        value = self.summary_at_budget["final"].get("exploitability")
        return math.inf if value is None or self.status == "failed" else math.log10(max(value, 1e-300))

    def ended(self, state: str) -> Ended:
        """The outcome of a task of a sweep."""
        message = result(self.summary_at_budget)
        if self.larger_budget:
            message += f" (the run has {self.larger_budget})"
        name, budget = str(self.summary["run"]), limits(asdict(self.budget))
        return Ended(name, state, self.log10_exploitability, message, self.signal, budget)
