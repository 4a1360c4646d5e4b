"""One cell of the table of statistics: how often a test rejects a true null, or how often an interval covers."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

LARGEST_SIZE = 0.07  # of a test whose level is 5%
LOWEST_COVERAGE = 0.90  # of an interval whose level is 95%
Measure = Literal["size", "coverage"]
Outcome = bool | None  # of one study; None if the statistic is withheld


@dataclass(frozen=True)
class Cell:
    """Simulated studies of one kind.

    Args:
        statistic: the test or interval.
        setting: the simulated data, such as `5 items, 40 votes per pair, all even`.
        measures: `size`, the share of studies that reject a true null, or `coverage`, the share of intervals that hold
            the true value.
        simulate: draws one study and returns whether the test rejects, or whether the interval covers.
        repetitions: the number of studies in the benchmark.
        remark: the sentence of the report that warns of this case, if the limit is not met.
    """

    statistic: str
    setting: str
    measures: Measure
    simulate: Callable[[np.random.Generator], Outcome]
    repetitions: int = 2000
    remark: str = ""
    quick: int = 100

    def run(self, repetitions: int | None = None) -> Rate:
        """The rate over this many studies; the same studies in every call."""
        seed = zlib.crc32(f"{self.statistic}: {self.setting}".encode())
        rng = np.random.default_rng(seed)
        outcomes = [self.simulate(rng) for _ in range(repetitions or self.repetitions)]
        shown = [bool(outcome) for outcome in outcomes if outcome is not None]
        return Rate(self, sum(shown), len(shown), len(outcomes) - len(shown))


@dataclass(frozen=True)
class Rate:
    """How many studies of a cell reject or cover.

    Args:
        cell: the cell.
        count: studies that reject or cover.
        studies: studies that give a result.
        withheld: studies whose statistic is withheld.
    """

    cell: Cell
    count: int
    studies: int
    withheld: int

    @property
    def rate(self) -> float:
        """The share of studies that reject or cover; nan without studies."""
        return self.count / self.studies if self.studies else math.nan

    @property
    def limit(self) -> float:
        """The limit of the rate, with an allowance of two standard errors of the simulation."""
        due = LARGEST_SIZE if self.cell.measures == "size" else LOWEST_COVERAGE
        error = 2 * math.sqrt(due * (1 - due) / max(self.studies, 1))
        return due + error if self.cell.measures == "size" else due - error

    @property
    def within(self) -> bool:
        """True if the rate is within its limit, or nothing was shown."""
        if not self.studies:
            return True
        return self.rate <= self.limit if self.cell.measures == "size" else self.rate >= self.limit

    def __str__(self) -> str:
        """`cyclic votes, 5 items ...: size 0.052 of at most 0.074`."""
        relation = "at most" if self.cell.measures == "size" else "at least"
        withheld = f", withheld in {self.withheld}" if self.withheld else ""
        return (
            f"{self.cell.statistic}, {self.cell.setting}: {self.cell.measures} {self.rate:.3f} "
            f"of {relation} {self.limit:.3f} in {self.studies} studies{withheld}"
        )
