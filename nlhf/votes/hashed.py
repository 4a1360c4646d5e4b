"""A copy of votes in which the names of voters are salted hashes.

The salt is a random file of the user, outside of the folder of the votes: with it, anybody who guesses a name can check
the guess, and without it nobody can. The same salt gives the same hash to a voter in every copy.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from nlhf.config import ConfigError
from nlhf.io.files import writing
from nlhf.votes.convert import write_votes
from nlhf.votes.file import COLUMNS, Vote

DIGITS = 16  # of a hash
BYTES = 32  # of the salt


def salt_path() -> Path:
    """The file of the salt."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "nlhf" / "voters.salt"


def salt() -> bytes:
    """The user's salt, which is made on first use and readable by its owner alone.

    Raises: ConfigError for a damaged file; WriteError.
    """
    path = salt_path()
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(secrets.token_bytes(BYTES))
                stream.flush()
                os.fsync(descriptor)
        content = path.read_bytes()
    if len(content) != BYTES:
        raise ConfigError(f"{path} is not a salt of {BYTES} bytes: remove it, and voters get other hashes.")
    return content


def hashed(name: str, key: bytes) -> str:
    """The salted hash of a name; an empty name stays empty.

    Example:
        >>> hashed("Ada", b"salt"), hashed("", b"salt")
        ('26f2e962a53aab1c', '')
    """
    return hmac.new(key, name.encode(), hashlib.sha256).hexdigest()[:DIGITS] if name else ""


def write_hashed(cast: Sequence[Vote], voters: Sequence[str], out: Path) -> None:
    """Write votes as tidy votes, with salted hashes in the columns of voters.

    Raises: ConfigError for a column that the votes lack; WriteError.
    """
    names = [name for name in (cast[0].cells if cast else ()) if name not in COLUMNS]
    if missing := [name for name in voters if name not in names]:
        raise ConfigError(f"--hash-voters {missing[0]} is not a column of the votes: they have {', '.join(names)}.")
    key = salt()
    hashes = {name: {cell: hashed(cell, key) for cell in {vote.cells[name] for vote in cast}} for name in voters}

    def copy(vote: Vote) -> Vote:
        return vote._replace(cells=vote.cells | {name: cells[vote.cells[name]] for name, cells in hashes.items()})

    write_votes(out, names, any(vote.ties for vote in cast), [[copy(vote) for vote in cast]])
