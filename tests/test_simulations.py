"""Tests have at most their size, and intervals at least their coverage, in studies whose truth is known."""

from __future__ import annotations

import pytest

from tests.simulations import all_cells
from tests.simulations.cell import Cell


@pytest.mark.parametrize("cell", all_cells(), ids=lambda cell: f"{cell.statistic}, {cell.setting}")
def test_sizes_and_coverages(cell: Cell) -> None:
    rate = cell.run(cell.quick)
    assert rate.within or cell.remark, str(rate)
