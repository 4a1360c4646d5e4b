"""The content of a saved model as a digest: folders with the same files are the same model, wherever they lie.

The digest of a folder is part of a run's fingerprint. It is taken again after loading, so that a model that is replaced
meanwhile is refused.
"""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Iterator
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
    """A folder that the user names, or something on the hub; two are equal if their contents are.

    Args:
        name: of the folder or on the hub, as the user wrote it.
        key: the config key that gives the name, for error messages.
    """

    name: str
    key: str = ""

    def __str__(self) -> str:
        return self.name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, InputFolder) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    @cached_property
    def source(self) -> str:
        """What is loaded: the folder as an absolute path, or the name as it is."""
        folder = Path(self.name).expanduser()
        return str(folder.absolute()) if folder.is_dir() else self.name

    @property
    def identity(self) -> str:
        """What stands for it in a fingerprint: the digest of a folder, or the name on the hub."""
        return self.digest if Path(self.source).is_absolute() else self.name

    @cached_property
    def digest(self) -> str:
        """The digest of the content on first use; "hub NAME" for a name on the hub.

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
        """Gives `source`, and verifies at the end of the block that the content is still that of `digest`.

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
        return content(self.source)

    @contextmanager
    def loading(self) -> Iterator[str]:
        """As `unchanged`, around what transformers does.

        Raises: ConfigError for a model that cannot be loaded, or has changed.
        """
        from nlhf.models.bundled import loading

        with self.unchanged() as source, loading(self.key, self.name):
            yield source


class InputDataset(InputFolder):
    """A dataset: a folder, all of whose files count, or a name on the hub."""

    def _content(self) -> str:
        folder = Path(self.source)
        if not folder.is_dir():
            return f"hub {self.name}"
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        lines = [f"{path.relative_to(folder).as_posix()} {sha256(path)}\n" for path in files]
        return hashlib.sha256("".join(lines).encode()).hexdigest()


def in_memory(module: AnyModule) -> AnyModule:
    """The module with weights in memory of its own; transformers maps files, whose later changes would show through."""
    for tensor in (*module.parameters(), *module.buffers()):
        tensor.data = tensor.data.clone()
    return module


def content(model: str) -> str:
    """SHA-256 of every file of a model's folder that decides what it says, and of the folder of its base model if it is
    an adapter; a name on the hub stands for itself."""
    return _content(model, ())


def _content(model: str, adapters: tuple[Path, ...]) -> str:
    """`content` of the base of these adapters."""
    folder = Path(model).expanduser()
    if not folder.is_dir():
        return f"hub {model}"
    digest = hashlib.sha256()
    for path in sorted({path for pattern in FILES for path in folder.glob(pattern) if path.is_file()}):
        digest.update(f"{path.name} {sha256(path)}\n".encode())
    base = _base(folder)
    if base is not None and folder.resolve() not in adapters:  # an adapter that names itself has no base
        digest.update(_content(base, (*adapters, folder.resolve())).encode())
    return digest.hexdigest()


def _base(folder: Path) -> str | None:
    """The model that an adapter's folder names as its base; None if it is no adapter."""
    try:
        base = json.loads((folder / ADAPTER).read_bytes())[BASE]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return base if isinstance(base, str) else None
