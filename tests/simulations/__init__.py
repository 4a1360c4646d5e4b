"""Simulated studies whose truth is known: the size of tests and the coverage of intervals.

Each module lists its cells in CELLS. The tests run a few repetitions of each; `python -m benchmarks.statistics` runs
them all and writes the table of docs/statistics.md.
"""

from __future__ import annotations

from importlib import import_module

from tests.simulations.cell import Cell

MODULES = (
    "arena",
    "asking",
    "certificates",
    "comparisons",
    "intervals",
    "judges",
    "meetings",
    "ratings",
    "smith",
    "texts",
    "votes",
)


def all_cells() -> list[Cell]:
    """The cells of all modules."""
    return [cell for name in MODULES for cell in import_module(f"tests.simulations.{name}").CELLS]
