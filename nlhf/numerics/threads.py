"""How many threads factorise a matrix.

On a core that another program uses too, LAPACK's threads wait for each other: with two threads and one busy core, a
system of 200 rows takes 90 instead of 0.2 milliseconds, and one of 1,000 rows 220 instead of 20. On free cores the
second thread saves at most half.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

LARGE = 1500  # rows from which several threads factorise a matrix


@contextmanager
def threads_for(rows: int) -> Iterator[None]:
    """One thread of torch in the block for matrices of fewer than LARGE rows, else as many as before."""
    threads = torch.get_num_threads()
    if rows < LARGE:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
