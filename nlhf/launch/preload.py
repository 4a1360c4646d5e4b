"""What a pool's workers are forked with: importing it is the slow part of a run."""

import torch

import nlhf.folder
import nlhf.reference_equilibrium
import nlhf.trainer
import nlhf.world

torch.set_num_threads(1)  # no threads may be running when a worker is forked
__all__ = ["nlhf"]
