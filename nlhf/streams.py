"""Random streams: every use of randomness has a child of its own of every seed.

A game's instance, the reference, the initial policy and the feedback draw from separate streams, so that the seed draws
the same instance for every algorithm (comparisons are paired), and a seed's draws do not depend on the other seeds.
All draws are made on the CPU by numpy, whatever the device.
"""

import numpy as np

STREAMS = ("game", "reference", "policy", "feedback")


def stream(seed: int, use: str) -> np.random.Generator:
    """The generator of one `use` (an entry of STREAMS) of one seed; the same bits at every call.

    Raises: ValueError for an unknown use.
    """
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(STREAMS.index(use),)))
