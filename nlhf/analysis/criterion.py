"""The criterion of a study: its metric, cost and target, and the columns that group runs."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pandas as pd

from nlhf.analysis.errors import AnalysisError
from nlhf.analysis.labels import name_of, shown
from nlhf.stats.text import number

METRICS = {  # lower is better
    "exploitability": "exploitability",
    "exploitability_unregularised": "exploitability without KL term",
    "average_exploitability": "exploitability of the average",
    "kl_to_equilibrium": "KL to the equilibrium",
    "span_to_equilibrium": "span to the equilibrium",
    "stackelberg_gap": "Stackelberg gap",
}
METRICS |= {f"test_{name}": f"test {title}" for name, title in METRICS.items() if name != "stackelberg_gap"}
TARGET_OF_TEXTS = 0.4  # a win rate of 0.6
OF_TEXTS = "test_loss_rate_vs_reference"  # the metric where a judge compares completions
METRICS[OF_TEXTS] = "share of judged pairs lost"
CERTIFIED, TARGET_OF_VOTES = "certified_exploitability", 0.05  # the metric where every method asks for votes
METRICS[CERTIFIED] = "certified exploitability"
COSTS = {"queries": "preference queries", "iteration": "iterations", "seconds": "training time in seconds"}


@dataclass(frozen=True)
class Criterion:
    """How the methods of a study are compared.

    Args:
        metric: a column that falls towards 0, one of METRICS.
        target: the value of the metric to reach.
        x: the cost, one of COSTS.
        horizon: the cost at which methods are compared: whoever has not reached the target by then misses it. None
            takes the smallest budget of all methods, for each setting.
        by: columns whose values are compared separately; () compares every setting separately.
    """

    metric: str = "exploitability"
    target: float = 1e-6
    x: str = "queries"
    by: tuple[str, ...] = ()
    horizon: float | None = None

    def __post_init__(self) -> None:
        for key, value, choices in (("metric", self.metric, METRICS), ("x", self.x, COSTS)):
            if value not in choices:
                raise AnalysisError(f"--{key}={value} is unknown: give one of {', '.join(choices)}.")
        if not 0 < self.target < float("inf"):
            raise AnalysisError(f"--target={self.target:g} is out of range: give a number > 0, such as 1e-6.")
        if self.horizon is not None and not 0 < self.horizon < float("inf"):
            raise AnalysisError(f"--horizon={self.horizon:g} is out of range: give a cost > 0, such as 1000.")

    @property
    def title(self) -> str:
        """The metric in words."""
        return METRICS[self.metric]

    @property
    def cost(self) -> str:
        """The cost in words."""
        return COSTS[self.x]

    @property
    def goal(self) -> str:
        """The metric and its target, `exploitability 0.001`."""
        return f"{self.title} {number(self.target)}"

    @property
    def fewest(self) -> str:
        """The lowest cost in words."""
        return f"least {self.cost}" if self.x == "seconds" else f"fewest {self.cost}"

    def for_data(self, data: pd.DataFrame) -> Criterion:
        """This criterion, or one that fits the data better if its metric is the default.

        That is the share of judged pairs lost for language models, which have no exploitability, and the certified
        exploitability if every run asks for votes.
        """
        if self.metric != PLAIN.metric:
            return self
        if CERTIFIED in data.columns and bool(data[CERTIFIED].notna().all()):
            return self._instead(CERTIFIED, TARGET_OF_VOTES)
        if _measured(data, OF_TEXTS) and not _measured(data, self.metric):
            return self._instead(OF_TEXTS, TARGET_OF_TEXTS)
        return self

    def _instead(self, metric: str, target: float) -> Criterion:
        """This criterion for another metric, with its default target unless a target was chosen."""
        return replace(self, metric=metric, target=target if self.target == PLAIN.target else self.target)

    def check(self, data: pd.DataFrame) -> None:
        """Refuse columns that the data do not have, and a metric that no run measured.

        Raises: AnalysisError.
        """
        for name in self.by:
            if name not in data.columns:
                columns = ", ".join(sorted(map(str, data.columns)))
                raise AnalysisError(
                    f"--by={name} is not a column: give game, beta, or a key of the configs ({columns})."
                )
        if not _measured(data, self.metric):
            measured = ", ".join(name for name in METRICS if _measured(data, name)) or "none"
            raise AnalysisError(f"--metric={self.metric} was measured in no run: give one of {measured}.")

    def group(self, data: pd.DataFrame) -> pd.Series:
        """The name of the group that each row belongs to, from the columns of `by`."""
        if not self.by:
            return data["setting"]
        parts = [[_part(name, value) for value in data[name]] for name in self.by]
        return pd.Series([", ".join(names) for names in zip(*parts, strict=True)], index=data.index, dtype=str)


def _measured(data: pd.DataFrame, metric: str) -> bool:
    return metric in data.columns and bool(data[metric].notna().any())


def _part(name: str, value: object) -> str:
    if name in ("game", "setting", "algorithm", "method"):
        return str(value)
    return f"{name_of(name)} = {shown(value)}"


PLAIN = Criterion()  # exploitability against queries, down to 1e-6
