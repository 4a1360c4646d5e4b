"""How many threads torch and its linear algebra use.

`torch.set_num_threads` also stops MKL from choosing how many threads a call is worth. Then `exp` of 100 numbers wakes
a sleeping thread and takes 150 instead of 3 microseconds (benchmarks/threads.py), so `set_threads` lets MKL choose.

On a core that another program uses too, LAPACK's threads wait for each other: with two threads and one busy core, a
system of 200 rows takes 90 instead of 0.2 milliseconds, and one of 1,000 rows 220 instead of 20. On free cores the
second thread saves at most half. And several threads may hang on a batch of matrices from 150 rows on (pytorch issue
142815).
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

LARGE = 1500  # rows from which several threads factorise a single matrix


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def set_threads(threads: int) -> None:
    """Let torch use so many threads, and MKL as few of them as a call is worth, unless MKL_DYNAMIC is set."""
    import torch

    torch.set_num_threads(threads)
    if "MKL_DYNAMIC" not in os.environ:
        with suppress(OSError, AttributeError):  # a build of torch without MKL
            ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so")).MKL_Set_Dynamic(1)


@contextmanager
def threads_for(rows: int, matrices: int = 1) -> Iterator[None]:
    """One thread of torch in the block, or as many as before for a single matrix of LARGE rows or more."""
    import torch

    threads = torch.get_num_threads()
    if rows < LARGE or matrices > 1:
        set_threads(1)
    try:
        yield
    finally:
        set_threads(threads)


def solve(systems: Tensor, right: Tensor) -> Tensor:
    """x of systems (B, n, n) x = right (B, n, k); not finite where a system is singular."""
    import torch

    with threads_for(systems.shape[-1], len(systems)):
        solution: Tensor = torch.linalg.solve_ex(systems, right)[0]
    return solution
