"""Files that are compressed with gzip."""

from __future__ import annotations

import gzip
import zlib

from nlhf.config import ConfigError

GZIP = b"\x1f\x8b"


def decompressed(content: bytes, source: str) -> bytes:
    """The content of a file, decompressed if it is a gzip file; `source` names the file in the error message.

    Raises: ConfigError for a gzip file that is damaged or incomplete.
    """
    if not content.startswith(GZIP):
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise ConfigError(f"{source} is a damaged gzip file ({error}): copy or download it again.") from error
