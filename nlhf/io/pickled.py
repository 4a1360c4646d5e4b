"""Arrays of Python objects in NumPy's files: reading them could run code, so they are named and never read."""

from __future__ import annotations

import io

import numpy as np

MESSAGE = "Object arrays cannot be loaded"  # of NumPy


def array_of_objects(content: bytes) -> str | None:
    """The name of the first array in an npz or npy file that holds Python objects; None if there is none."""
    try:
        opened = np.load(io.BytesIO(content), allow_pickle=False)
    except Exception as error:  # an npy file
        return "" if MESSAGE in str(error) else None
    for name in getattr(opened, "files", ()):
        try:
            opened[name]
        except Exception as error:
            if MESSAGE in str(error):
                return str(name)
    return None
