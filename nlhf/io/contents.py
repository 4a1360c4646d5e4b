"""The bytes of files with their checksums, shared in memory by the jobs of a process."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path
from typing import BinaryIO
from weakref import WeakValueDictionary

from nlhf.io.checksums import identity_of, is_settled

PARQUET = b"PAR1"  # first bytes of a parquet file
LARGE = 1 << 26  # bytes of a parquet file above which it is not read whole


class Content:
    """The bytes of a file and their checksum."""

    def __init__(self, data: bytes) -> None:
        self.data, self.sha256 = data, hashlib.sha256(data).hexdigest()


def is_large_parquet(path: Path) -> bool:
    """True for a parquet file of more than LARGE bytes; False if it cannot be read."""
    try:
        with path.open("rb") as stream:
            return path.stat().st_size > LARGE and stream.read(len(PARQUET)) == PARQUET
    except OSError:
        return False


# Jobs of a sweep that name the same file share its content as long as one of them holds it
contents: WeakValueDictionary[tuple[int, ...], Content] = WeakValueDictionary()


def read(stream: BinaryIO) -> Content | None:
    """The content of an open file, from memory if a reader still holds it; None if it changes while it is read."""
    now, status = time.time_ns(), os.fstat(stream.fileno())
    identity = identity_of(status)
    if (content := contents.get(identity)) is not None:
        return content
    content = Content(stream.read())
    if identity_of(os.fstat(stream.fileno())) != identity:
        return None
    if is_settled(status, now):
        contents[identity] = content
    return content
