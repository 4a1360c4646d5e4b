"""Arrays in npz and npy files. Arrays of Python objects could run code: they are named and never read."""

from __future__ import annotations

import io
from pathlib import Path
from typing import BinaryIO

import numpy as np

OBJECTS = "Object arrays cannot be loaded"  # NumPy's message


def read_arrays(path: Path) -> dict[str, np.ndarray] | None:
    """The arrays of an npz file by name, or the array of an npy file under the name ""; None if it cannot be read."""
    try:
        with path.open("rb") as stream:
            return arrays_in(stream)
    except OSError:
        return None


def arrays_in(stream: BinaryIO) -> dict[str, np.ndarray] | None:
    """The arrays of an open npz or npy file, as `read_arrays` returns them; None for any other content.

    A damaged file raises almost anything inside numpy, zipfile and zlib (BadZipFile, zlib.error, NotImplementedError
    for unknown compressions, MemoryError for a shape that is too large, SyntaxError for a header, ...), and a damaged
    member is returned as bytes: all of this means that the file cannot be read.
    """
    try:
        content = np.load(stream, allow_pickle=False)
        arrays = {"": content} if isinstance(content, np.ndarray) else dict(content)
    except Exception:
        return None
    return arrays if all(isinstance(array, np.ndarray) for array in arrays.values()) else None


def array_of_objects(content: bytes) -> str | None:
    """The name of the first array of Python objects in an npz or npy file; None if it has no such array."""
    try:
        archive = np.load(io.BytesIO(content), allow_pickle=False)
    except Exception as error:  # an npy file
        return "" if OBJECTS in str(error) else None
    for name in getattr(archive, "files", ()):
        try:
            archive[name]
        except Exception as error:
            if OBJECTS in str(error):
                return str(name)
    return None
