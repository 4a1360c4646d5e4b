"""Parts of error messages that name the remedy."""

from __future__ import annotations

import difflib
import json
import re
import shlex
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

PLAIN = re.compile(r"[\w./-]+( [\w./-]+)*")  # texts that Hydra reads unchanged


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The name closest to a misspelt one, or None; case and the difference between - and _ do not matter."""
    spellings = {_plain(spelling): spelling for spelling in names}
    close = difflib.get_close_matches(_plain(name), spellings, n=1)
    return spellings[close[0]] if close else None


def _plain(name: str) -> str:
    return name.casefold().replace("-", "_")


def did_you_mean(name: str, keys: Mapping[str, Any]) -> str:
    """A suggestion for an unknown key: the closest key, or all keys."""
    close = nearest(name, keys)
    return f"did you mean {close}" if close else f"known keys are {', '.join(keys) or 'none'}"


def shown(value: Any) -> str:
    """A value in the notation of the command line."""
    return json.dumps(value) if isinstance(value, list | tuple | dict | bool) or value is None else str(value)


def quoted_override(key: str, text: str | Sequence[str]) -> str:
    """An override that sets a key to a text with any characters, or to a list of texts, quoted for the shell.

    Example:
        >>> print(quoted_override("study", "a=b"), quoted_override("game.drop", ["a", "1"]))
        'study="a=b"' 'game.drop=["a","1"]'
    """
    value = quoted(text) if isinstance(text, str) else f"[{','.join(map(quoted, text))}]"
    return shlex.quote(f"{key}={value}")


def override(key: str, text: str | Path) -> str:
    """An override that sets a key to a text, quoted for the shell, with inner quotes only where Hydra needs them.

    Example:
        >>> print(override("model", "runs/a"), override("model", "runs/my a"), override("model", "a=b"))
        model=runs/a 'model=runs/my a' 'model="a=b"'
    """
    return shlex.quote(f"{key}={text}") if PLAIN.fullmatch(str(text)) else quoted_override(key, str(text))


def quoted(text: str) -> str:
    """A text in double quotes, as Hydra's grammar of overrides reads it."""
    escaped = text.replace('"', r"\"")
    return f'"{escaped}"'


def remedy(value: Any, kind: Any, key: str, entries: Sequence[Any] | None = None) -> str:
    """The remedy for a value of a wrong type.

    Hydra reads 1e5 and True as values, and their spelling is lost.

    Args:
        value: the wrong value.
        kind: the expected type.
        key: the key of the value.
        entries: the list that contains the value.
    """
    if typing.get_origin(kind) in (list, tuple) and isinstance(value, str):
        return f"write {shlex.quote(f'{key}=[{value}]')}"
    options = typing.get_args(kind) if typing.get_origin(kind) in (typing.Union, types.UnionType) else (kind,)
    takes_text = any(option is str or hasattr(option, "from_config") for option in options)
    if not takes_text or not isinstance(value, int | float | None) or (value is None and entries is None):
        return "give one"
    texts = [str(entry) if type(entry) in (int, str) else "TEXT" for entry in ([value] if entries is None else entries)]
    written = quoted_override(key, texts[0] if entries is None else texts)
    return f"quote it as {written}, and replace TEXT by your spelling" if "TEXT" in texts else f"quote it, {written}"


def described(kind: Any) -> str:
    """A type in words."""
    if hasattr(kind, "from_config"):
        return "a text"
    names = {float: "a number", int: "a whole number", str: "a text", bool: "true or false", type(None): "null"}
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(described(option) for option in arguments)
    if origin is Literal:
        return f"one of {', '.join(map(str, arguments))}"
    if origin in (list, tuple):
        return f"a list, [A,B], each entry {described(arguments[0])}"
    if origin is dict:
        return f"a mapping, {{NAME: VALUE}}, each value {described(arguments[1])}"
    return names.get(kind) or (f"a {kind.__name__}" if isinstance(kind, type) else str(kind))


def command(*parts: str | Path) -> str:
    """A command with its parts quoted for the shell.

    Example:
        >>> print(command("nlhf", "compare", Path("runs/my study")))
        nlhf compare 'runs/my study'
    """
    return shlex.join(map(str, parts))
