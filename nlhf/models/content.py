"""Digests of model and dataset folders: folders with the same files are the same input, wherever they are.

The digest of a folder is part of a run's fingerprint. It is computed again after loading, so a model that changes
meanwhile is refused.
"""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from nlhf.config import ConfigError
from nlhf.io.checksums import sha256
from nlhf.io.inputs import Input

if TYPE_CHECKING:
    from torch.nn import Module

AnyModule = TypeVar("AnyModule", bound="Module")

# Weights, configs, tokenizers, chat templates, and code of models that bring their own
FILES = ("*.safetensors", "*.json", "*.jinja", "*.txt", "*.model", "*.tiktoken", "*.py")
ADAPTER, BASE = "adapter_config.json", "base_model_name_or_path"


@dataclass(frozen=True, eq=False)
class InputFolder(Input):
    """A folder or a name on the hub; two inputs are equal if their contents are.

    Args:
        name: the path or the name on the hub, as the user wrote it.
        key: the config key that holds the name, for error messages.
    """

    name: str
    key: str = ""

    def __str__(self) -> str:
        return self.name

    def __eq__(self, folder: object) -> bool:
        return isinstance(folder, InputFolder) and self.digest == folder.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    @cached_property
    def source(self) -> str:
        """The absolute path of the folder, or the name on the hub."""
        folder = Path(self.name).expanduser()
        return str(folder.absolute()) if folder.is_dir() else self.name

    @property
    def identity(self) -> str:
        """The entry of a fingerprint: the digest of a folder, or the name on the hub."""
        return self.digest if Path(self.source).is_absolute() else self.name

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the content at the first use; "hub NAME" for a name on the hub.

        Raises: ConfigError for a file that cannot be read.
        """
        return self._digest()

    def _digest(self) -> str:
        try:
            return self._content()
        except OSError as error:
            raise ConfigError(f"{self.key}={self.name} cannot be read ({error}): check the folder.") from error

    @abstractmethod
    def _content(self) -> str: ...

    @contextmanager
    def unchanged(self) -> Iterator[str]:
        """Yield `source`, and check at the end of the block that the content still has this digest.

        Raises: ConfigError for a folder that has changed.
        """
        digest = self.digest
        yield self.source
        if self._digest() != digest:
            raise ConfigError(
                f"{self.key}={self.name} changed while it was being loaded: repeat the command when it is complete."
            )


class InputModel(InputFolder):
    """A model: a folder that transformers loads, a name on the hub, or `bundled`."""

    def _content(self) -> str:
        return model_digest(self.source)

    @contextmanager
    def loading(self) -> Iterator[str]:
        """Like `unchanged`; errors of transformers in the block become ConfigErrors.

        Raises: ConfigError for a model that cannot be loaded, or has changed.
        """
        from nlhf.models.bundled import loading

        with self.unchanged() as source, loading(self.key, self.name):
            yield source


class InputDataset(InputFolder):
    """A dataset: a folder with any files, or a name on the hub."""

    def _content(self) -> str:
        folder = Path(self.source)
        if not folder.is_dir():
            return f"hub {self.name}"
        return _digest_of_files(folder, ["**/*"])


def in_memory(module: AnyModule) -> AnyModule:
    """The module with copies of its weights; transformers maps files into memory, which may change later."""
    for tensor in (*module.parameters(), *module.buffers()):
        tensor.data = tensor.data.clone()
    return module


def model_digest(model: str, adapters: tuple[Path, ...] = ()) -> str:
    """SHA-256 of a model folder's files, and of its base model's if it is an adapter; "hub NAME" for a name on the hub.

    Args:
        model: the folder or the name on the hub.
        adapters: the folders of the adapters that lead to this base model.
    """
    folder = Path(model).expanduser()
    if not folder.is_dir():
        return f"hub {model}"
    base = _base(folder)
    is_cycle = folder.resolve() in adapters  # an adapter that names itself has no base
    suffix = "" if base is None or is_cycle else model_digest(base, (*adapters, folder.resolve()))
    return _digest_of_files(folder, FILES, suffix)


def _digest_of_files(folder: Path, patterns: Iterable[str], suffix: str = "") -> str:
    """SHA-256 of the names and contents of the files that match a pattern, followed by a suffix."""
    files = {path for pattern in patterns for path in folder.glob(pattern) if path.is_file()}
    lines = [f"{path.relative_to(folder).as_posix()} {sha256(path)}\n" for path in sorted(files)]
    return hashlib.sha256(("".join(lines) + suffix).encode()).hexdigest()


def _base(folder: Path) -> str | None:
    """The base model that an adapter's folder names; None for any other folder."""
    try:
        base = json.loads((folder / ADAPTER).read_bytes())[BASE]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return base if isinstance(base, str) else None
