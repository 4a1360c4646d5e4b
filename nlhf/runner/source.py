"""The source of a user's plug-ins is part of a run's fingerprint: an edited plug-in is another run.

What counts are the source files of a plug-in's class, of its bases, and of every module that they name in an import
statement, as far as these files are the user's: nlhf, the standard library and installed packages do not count.
"""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import cached_property, lru_cache
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec, resolve_name
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from nlhf.config import ConfigError
from nlhf.io.checksums import sha256

INSTALLED = {"site-packages", "dist-packages"}
WHERE = {"__firstlineno__", "__static_attributes__"}  # of a class, and no part of what it does
_digests: dict[str, tuple[ModuleSpec | None, str]] = {}  # by module: which import of it was digested, and the digest


def sources(classes: Iterable[type]) -> dict[str, str]:
    """SHA-256 of the user's source behind these classes, by module; empty if they all are nlhf's own.

    Raises: ConfigError for a source file that has changed since Python imported it.
    """
    plug_ins = {one for one in classes if _package(one.__module__) not in ("nlhf", "builtins")}
    packages = {_package(one.__module__) for one in plug_ins}
    bases = {base for one in plug_ins for base in one.__mro__}
    waiting = {base.__module__ for base in bases}
    digests: dict[str, str] = {}
    seen: set[str] = set()
    while waiting:
        seen.add(name := waiting.pop())
        if not (_package(name) in packages or _is_users(_package(name))):
            continue
        if (file := _file(name)) is not None:
            digests[name] = _digest(name, file)
            waiting |= set(_imports(name, file, digests[name])) - seen
        elif name in sys.modules:
            digests[name] = _digest_of_code([base for base in bases if base.__module__ == name])
    return digests


def dataclasses_in(value: Any) -> set[type]:
    """The dataclasses of a value and of everything in it: mappings, lists, tuples and fields."""
    if isinstance(value, Mapping):
        return set().union(*map(dataclasses_in, value.values()))
    if isinstance(value, list | tuple):
        return set().union(*map(dataclasses_in, value))
    if not is_dataclass(value) or isinstance(value, type):
        return set()
    return {type(value)}.union(*(dataclasses_in(getattr(value, field.name)) for field in fields(value)))


def _package(module: str) -> str:
    return module.partition(".")[0]


def _is_users(package: str) -> bool:
    """True unless a top-level module or package is nlhf, of the standard library, installed, or not there."""
    if package == "nlhf" or package in sys.stdlib_module_names:
        return False
    spec = _spec(package)
    places = [spec.origin or "", *(spec.submodule_search_locations or ())] if spec is not None else []
    return bool(places) and not any(INSTALLED & set(Path(place).parts) for place in places)


def _file(name: str) -> Path | None:
    """The source file of a module, imported or not; None if there is none, as for a class of a notebook."""
    if name in sys.modules:
        origin = getattr(sys.modules[name], "__file__", None)
    else:
        spec = _spec(name)
        origin = spec.origin if spec is not None and spec.has_location else None
    return Path(origin) if origin and Path(origin).is_file() else None


def _spec(name: str) -> ModuleSpec | None:
    """What an import of a module would find; nothing is imported for it, other than by importlib's `find_spec`."""
    package, *parts = name.split(".")
    try:
        spec = find_spec(package)
        for place in range(len(parts)):
            if spec is None or not spec.submodule_search_locations:
                return None
            full_name = ".".join([package, *parts[: place + 1]])
            spec = PathFinder.find_spec(full_name, spec.submodule_search_locations)
    except (ImportError, ValueError):
        return None
    return spec


def _digest(name: str, file: Path) -> str:
    """SHA-256 of the source file of a module.

    Raises: ConfigError for a file that cannot be read, or changed since the module was imported.
    """
    try:
        digest = sha256(file)
    except OSError as error:
        raise ConfigError(f"{file} cannot be read ({error.strerror}): check its permissions.") from error
    module = sys.modules.get(name)
    if module is not None:
        _refuse_stale_bytecode(module, file)
    imported = None if module is None else module.__spec__  # importlib.reload gives a module another one
    before, first = _digests.get(name, (imported, digest))
    same = before is None or before is imported  # specs of one module are equal
    if imported is not None and same and digest != first:
        raise ConfigError(f"{file} has changed since Python imported it: start Python again to run what it says now.")
    _digests[name] = imported, digest
    return digest


def _refuse_stale_bytecode(module: ModuleType, file: Path) -> None:
    """Refuse bytecode from before an edit, which Python runs if the edit kept the second and the size of the file."""
    cached = Path(getattr(module, "__cached__", None) or "")
    if not cached.is_file() or cached.stat().st_mtime_ns >= file.stat().st_mtime_ns:
        return
    header, status = cached.read_bytes()[:16], file.stat()
    by_time = not header[4] & 1
    second, size = (int.from_bytes(header[start : start + 4], "little") for start in (8, 12))
    if by_time and (second, size) == (int(status.st_mtime) & 0xFFFFFFFF, status.st_size & 0xFFFFFFFF):
        raise ConfigError(f"{cached} is older than {file}, and Python takes it for current: remove it.")


def _imports(name: str, file: Path, digest: str) -> Iterator[str]:
    """The modules that a source file imports, wherever it does, and the packages that they lie in."""
    module = sys.modules.get(name)
    is_package = hasattr(module, "__path__") or file.name == "__init__.py"
    for one in _import_statements(file, digest, name if is_package else name.rpartition(".")[0]):
        parts = one.split(".")
        yield from (".".join(parts[:count]) for count in range(1, len(parts) + 1))


@lru_cache(maxsize=4096)
def _import_statements(file: Path, digest: str, package: str) -> tuple[str, ...]:  # noqa: ARG001 (part of the cache's key)
    """What may be a module in the import statements of a source file with this digest."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):  # an extension in C, say
        return ()
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            try:
                base = resolve_name("." * node.level + (node.module or ""), package)
            except ImportError:
                continue
            names += [base, *(f"{base}.{alias.name}" for alias in node.names if alias.name != "*")]
    return tuple(dict.fromkeys(names))


def _digest_of_code(classes: list[type]) -> str:
    """SHA-256 of what classes do that have no source file, those of a notebook for example."""
    texts = sorted(f"{one.__qualname__} {_described(vars(one))}" for one in classes)
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


def _described(value: Any) -> str:
    """Code and constants as a text that is the same in every process."""
    if isinstance(value, property):
        return _described([value.fget, value.fset, value.fdel])
    if isinstance(value, cached_property):
        return _described(value.func)
    value = getattr(value, "__func__", value)  # of class methods and static methods
    if isinstance(value, FunctionType):
        return _described([value.__code__, value.__defaults__, value.__kwdefaults__])
    if isinstance(value, CodeType):
        return _described([value.co_code.hex(), value.co_names, value.co_varnames, value.co_consts])
    if isinstance(value, Mapping):
        return _described(sorted((str(name), _described(entry)) for name, entry in value.items() if name not in WHERE))
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_described, value))}]"
    if isinstance(value, set | frozenset):
        return _described(sorted(map(_described, value)))
    return repr(value) if isinstance(value, int | float | complex | str | bytes | None) else type(value).__qualname__
