"""The file checkpoint.pt: torch's format, followed by a checksum. No class is unpickled unless the caller names it."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from nlhf.config import ConfigError
from nlhf.io.checksums import sealed, unsealed
from nlhf.io.files import replacing


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint.

    Raises: WriteError.
    """
    buffer = io.BytesIO()  # torch itself does not raise OSError on a full disk
    torch.save(content, buffer)
    with replacing(path, "wb") as stream:
        stream.write(sealed(buffer.getbuffer()))


def load_checkpoint(path: Path, classes: Iterable[type], device: torch.device) -> dict[str, Any]:
    """The content of a checkpoint, which may hold objects of these classes.

    Raises: ConfigError for a file that cannot be read or is not a checkpoint.
    """
    remedy = f"remove {path} to start this run again."
    try:
        if (content_bytes := unsealed(path)) is None:
            raise ValueError("its checksum does not fit")
        with torch.serialization.safe_globals(list(classes)):
            content: dict[str, Any] = torch.load(io.BytesIO(content_bytes), weights_only=True, map_location=device)
    except Exception as error:  # the unpickler raises many types
        raise ConfigError(f"{path} cannot be read: {remedy}") from error
    if not isinstance(content, dict) or not {"progress", "fingerprint"} <= content.keys():
        raise ConfigError(f"{path} is not a checkpoint of a run: {remedy}")
    return content
