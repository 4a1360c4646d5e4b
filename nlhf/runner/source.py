"""The source of a user's plug-ins is part of a run's fingerprint: an edited plug-in is another run.

The source files of a plug-in's class, its bases, and every module that they import, if the user wrote them:
nlhf, the standard library and installed packages are not included.
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
WHERE = {"__firstlineno__", "__static_attributes__"}  # attributes of a class that do not affect its behaviour
_digests: dict[str, tuple[ModuleSpec | None, str]] = {}  # by module: the digested import, and the digest


def sources(classes: Iterable[type]) -> dict[str, str]:
    """SHA-256 of the user's source files of these classes, by module; empty for classes of nlhf.

    Raises: ConfigError for a source file that has changed since Python imported it.
    """
    plug_ins = {one for one in classes if _package(one.__module__) not in ("nlhf", "builtins")}
    packages = {_package(one.__module__) for one in plug_ins}
    bases = {base for one in plug_ins for base in one.__mro__}
    waiting = {base.__module__ for base in bases}
    digests: dict[str, str] = {}
    visited: set[str] = set()
    while waiting:
        visited.add(name := waiting.pop())
        if not (_package(name) in packages or _is_users(_package(name))):
            continue
        if (file := _file(name)) is not None:
            digests[name] = _digest(name, file)
            waiting |= set(_imports(name, file, digests[name])) - visited
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
    """True unless a top-level module is nlhf, part of the standard library, installed, or missing."""
    if package == "nlhf" or package in sys.stdlib_module_names:
        return False
    spec = _spec(package)
    locations = [spec.origin or "", *(spec.submodule_search_locations or ())] if spec is not None else []
    return bool(locations) and not any(INSTALLED & set(Path(location).parts) for location in locations)


def _file(name: str) -> Path | None:
    """The source file of a module, imported or not; None without a source file, as for a class of a notebook."""
    if name in sys.modules:
        origin = getattr(sys.modules[name], "__file__", None)
    else:
        spec = _spec(name)
        origin = spec.origin if spec is not None and spec.has_location else None
    return Path(origin) if origin and Path(origin).is_file() else None


def _spec(name: str) -> ModuleSpec | None:
    """The spec of a module, found without importing its packages."""
    package, *parts = name.split(".")
    try:
        spec = find_spec(package)
        for depth in range(len(parts)):
            if spec is None or not spec.submodule_search_locations:
                return None
            full_name = ".".join([package, *parts[: depth + 1]])
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
    imported = None if module is None else module.__spec__  # importlib.reload creates a new one
    before, first = _digests.get(name, (imported, digest))
    same = before is None or before is imported  # specs of one module are equal
    if imported is not None and same and digest != first:
        raise ConfigError(f"{file} has changed since Python imported it: start Python again to run the new version.")
    _digests[name] = imported, digest
    return digest


def _refuse_stale_bytecode(module: ModuleType, file: Path) -> None:
    """Refuse bytecode older than an edit that kept the file's size and second: Python would run it."""
    cached = Path(getattr(module, "__cached__", None) or "")
    if not cached.is_file() or cached.stat().st_mtime_ns >= file.stat().st_mtime_ns:
        return
    header, status = cached.read_bytes()[:16], file.stat()
    by_time = not header[4] & 1
    second, size = (int.from_bytes(header[start : start + 4], "little") for start in (8, 12))
    if by_time and (second, size) == (int(status.st_mtime) & 0xFFFFFFFF, status.st_size & 0xFFFFFFFF):
        raise ConfigError(f"{cached} is older than {file}, and Python takes it for current: remove it.")


def _imports(name: str, file: Path, digest: str) -> Iterator[str]:
    """The modules that a source file imports anywhere, and the packages that contain them."""
    module = sys.modules.get(name)
    is_package = hasattr(module, "__path__") or file.name == "__init__.py"
    for one in _import_statements(file, digest, name if is_package else name.rpartition(".")[0]):
        parts = one.split(".")
        yield from (".".join(parts[:count]) for count in range(1, len(parts) + 1))


@lru_cache(maxsize=4096)
def _import_statements(file: Path, digest: str, package: str) -> tuple[str, ...]:  # noqa: ARG001 (part of the cache's key)
    """The names in the import statements of a source file that may be modules."""
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
    """SHA-256 of the code of classes without a source file, for example classes of a notebook."""
    texts = sorted(f"{one.__qualname__} {_described(vars(one))}" for one in classes)
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


def _described(value: Any) -> str:
    """Code and constants as a text that does not depend on the process."""
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
