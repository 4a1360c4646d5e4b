"""From a config node to a checked object. No torch import.

The dataclass of a plug-in is the schema of its config node, and `_target_` names it: `build` refuses unknown keys and
wrong types in a sentence, before any work is done. Defaults stand in conf/ only.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib
import inspect
import math
import re
import sys
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from nlhf.messages import described, did_you_mean, remedy, shown

REFUSED = object()  # stands for a value that does not have the type of its key
LONE_SURROGATE = re.compile("[\ud800-\udfff]")


class ConfigError(ValueError):
    """Bad input: one sentence that names the key or the row, the value and the remedy. Exit code 2."""


def whole_text(text: str, key: str) -> str:
    """Return the text if UTF-8 can encode it; `key` names it in the error message.

    Raises: ConfigError for half of a surrogate pair.
    """
    if half := LONE_SURROGATE.search(text):
        raise ConfigError(f"{key} has U+{ord(half[0]):04X}, half of a character, which UTF-8 cannot hold: remove it.")
    return text


def build(node: Mapping[str, Any], key: str, base: type = object) -> Any:
    """The object that a config node describes: its `_target_`, a subclass of `base`, called with its other entries.

    Raises: ConfigError for a target that cannot be imported or is not a subclass, an unknown or missing key, a wrong
    type, or a value that the dataclass itself refuses.
    """
    target, options = schema(node, key, base)
    return target(**options)


def schema(node: Mapping[str, Any], key: str, base: type = object) -> tuple[type, dict[str, Any]]:
    """The dataclass of a config node, a subclass of `base`, and its checked entries."""
    target = locate(node, key, base)
    entries = {name: value for name, value in node.items() if name != "_target_"}
    return target, checked(target, entries, key)


def checked(
    target: type, entries: Mapping[str, Any], key: str = "", parts: frozenset[str] = frozenset()
) -> dict[str, Any]:
    """`entries` coerced to the types of a dataclass's fields; `parts` are fields that are not config entries.

    Raises: ConfigError for an unknown or missing entry, an entry of a wrong type, or a text that no file can hold.
    """
    prefix = f"{key}." if key else ""
    own_first = sorted(dataclasses.fields(target), key=lambda field: bool(field.kw_only))
    fields = {field.name: field for field in own_first if field.name not in parts and field.init}
    for name in entries:
        if name not in fields:
            owner = target.__name__ if key else "the config"
            raise ConfigError(f"{prefix}{name} is not a key of {owner}: {did_you_mean(name, fields)}.")
    for name, field in fields.items():
        if name not in entries and field.default is dataclasses.MISSING:
            raise ConfigError(f"{prefix}{name} is missing: give {prefix}{name}=VALUE, or its default in conf/.")
    for name, value in entries.items():
        for text in _texts(value):
            whole_text(text, f"{prefix}{name}")
    return {name: coerce(value, field_type(target, name), f"{prefix}{name}") for name, value in entries.items()}


def _texts(value: Any) -> Iterator[str]:
    """All texts in a config's value, including the keys of mappings."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for entry in (*value.keys(), *value.values()):
            yield from _texts(entry)
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from _texts(entry)


def coerce(value: Any, kind: Any, key: str, entries: Sequence[Any] | None = None) -> Any:
    """`value` as the type `kind`: whole floats are accepted as ints and ints as floats; nothing else is converted.

    A class with a method `from_config(text, key)`, such as `nlhf.io.inputs.InputFile`, is made from a text.

    Args:
        value: a value of a config.
        kind: a type or a type expression of `typing`.
        key: the key of the value, for the message.
        entries: the list that contains the value, for the message.

    Raises: ConfigError.
    """
    converted = _converted(value, kind, key)
    if converted is not REFUSED:
        return converted
    if entries is None:
        raise ConfigError(f"{key}={shown(value)} is not {described(kind)}: {remedy(value, kind, key)}.")
    problem = f"{key}={shown(entries)} holds {shown(value)}, which is not {described(kind)}"
    raise ConfigError(f"{problem}: {remedy(value, kind, key, entries)}.")


def _converted(value: Any, kind: Any, key: str) -> Any:
    """`value` as the type `kind`, or REFUSED.

    Raises: ConfigError for an entry of a list, dictionary or config node.
    """
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if hasattr(kind, "from_config"):
        return kind.from_config(value, key) if isinstance(value, str) else REFUSED
    if origin in (typing.Union, types.UnionType):
        for option in arguments:
            with contextlib.suppress(ConfigError):
                return coerce(value, option, key)
        return REFUSED
    if origin is Literal:
        return value if isinstance(value, str) and value in arguments else REFUSED
    if origin in (list, tuple) and isinstance(value, list | tuple):
        return origin(coerce(entry, arguments[0], key, value) for entry in value)
    if dataclasses.is_dataclass(kind) and isinstance(value, Mapping):
        return build(value, key, typing.cast(type, kind))
    if origin is dict and isinstance(value, Mapping):
        return {str(name): coerce(entry, arguments[1], f"{key}.{name}") for name, entry in value.items()}
    return _scalar(value, kind)


def _scalar(value: Any, kind: Any) -> Any:
    """A number, text, truth value or None as the type `kind`, or REFUSED."""
    if kind is float and value in (".inf", "inf"):
        return math.inf
    if kind is float and is_number(value) and (abs(value) <= sys.float_info.max or value == math.inf):
        return float(value)
    if kind is int and is_whole(value):
        return int(value)
    return value if kind in (str, bool, type(None)) and type(value) is kind else REFUSED


def locate(node: Mapping[str, Any], key: str, base: type) -> type:
    """Import the dataclass that a node's `_target_` names.

    Raises: ConfigError if the name is missing or wrong, or does not name a dataclass below `base`.
    """
    name = node.get("_target_")
    if not isinstance(name, str) or "." not in name or not all(name.split(".")):
        raise ConfigError(f"{key}._target_={name} names no class: choose one of conf/{key}/ as {key}=NAME.")
    target = _imported(name, key)
    if not isinstance(target, type) or not dataclasses.is_dataclass(target):
        raise ConfigError(f"{key}._target_={name} is not a dataclass, whose fields are the schema: make it one.")
    if not issubclass(target, base):
        raise ConfigError(
            f"{key}._target_={name} is not a subclass of {base.__name__}: derive it from {_full_name(base)}."
        )
    return target


def _imported(name: str, key: str) -> Any:
    """The object with a dotted name; importing its module may run user code, which may raise anything."""
    module, _, attribute = name.rpartition(".")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (Exception, SystemExit) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ConfigError(f"{key}._target_={name} cannot be imported ({reason}): correct it.") from error


def _full_name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


@functools.cache
def field_type(target: type, name: str) -> Any:
    """The type of one field. Other fields, of run-time parts, may have types that exist for type checkers only."""
    owner = next(base for base in target.__mro__ if name in inspect.get_annotations(base))
    annotations = {name: inspect.get_annotations(owner)[name]}
    return typing.get_type_hints(type(name, (), {"__annotations__": annotations, "__module__": owner.__module__}))[name]


def is_number(value: Any) -> bool:
    """True for a number that is not a truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_whole(value: Any) -> bool:
    """True for a number without a fraction."""
    return is_number(value) and (isinstance(value, int) or value.is_integer())
