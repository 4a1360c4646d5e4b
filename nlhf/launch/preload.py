"""What a pool's workers are forked with: importing it is the slow part of a run."""

import os

os.environ.update({f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS")})  # none runs at a fork

import torch

import nlhf.equilibria.solve
import nlhf.runner.assemble
import nlhf.runner.folder
import nlhf.runner.trainer

torch.set_num_threads(1)
__all__ = ["nlhf"]
