"""Imports for the process that a pool's workers are forked from: they are the slow part of a run's start."""

import contextlib
import os

from nlhf.garbage import collect_again, postpone_collections

postpone_collections()
os.environ.update(
    {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS")}
)  # a fork must not meet a running thread

with contextlib.suppress(Exception):  # a worker that meets the same error reports it
    import torch

    import nlhf.equilibria.solve
    import nlhf.runner.assemble
    import nlhf.runner.folder
    import nlhf.runner.trainer

    torch.set_num_threads(1)
collect_again()
__all__ = ["nlhf"]
