"""How many threads factorise matrices.

On a core that another program uses too, LAPACK's threads wait for each other: with two threads and one busy core, a
system of 200 rows takes 90 instead of 0.2 milliseconds, and one of 1,000 rows 220 instead of 20. On free cores the
second thread saves at most half. And several threads may hang on a batch of matrices from 150 rows on (pytorch issue
142815).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

LARGE = 1500  # rows from which several threads factorise a single matrix


@contextmanager
def threads_for(rows: int, matrices: int = 1) -> Iterator[None]:
    """One thread of torch in the block, or as many as before for a single matrix of LARGE rows or more."""
    import torch

    threads = torch.get_num_threads()
    if rows < LARGE or matrices > 1:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def solve(systems: Tensor, right: Tensor) -> Tensor:
    """x of systems (B, n, n) x = right (B, n, k); not finite where a system is singular."""
    import torch

    with threads_for(systems.shape[-1], len(systems)):
        solution: Tensor = torch.linalg.solve_ex(systems, right)[0]
    return solution
