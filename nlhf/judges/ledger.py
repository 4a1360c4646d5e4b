"""The verdicts of an endpoint on the disk, and their cost.

The file of verdicts is only appended to. Each line has the SHA-256 of the pair, the verdict, and a checksum of both. A
damaged line is ignored and its pair is asked again; lines of earlier versions have no checksum and are only validated.
If two processes asked about the same pair, the first line counts for all readers, so later lines change no answer.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nlhf.config import ConfigError
from nlhf.io.files import writing
from nlhf.io.links import open_file
from nlhf.judges.base import Pair
from nlhf.judges.verdicts import TIE

MOST_TOKENS = 10**12  # of one answer; a larger count is an error and counts as 0
NAME = re.compile(r"[0-9a-f]{64}")
DOUBT, FEW_REFUSED = 0.05, 3  # share of questions that may be refused, and a number that always may
log = logging.getLogger("nlhf")


@dataclass
class Ledger:
    """Verdicts on the disk, and their cost in this process; safe for threads and for processes.

    Args:
        path: of the file.
        calls, tokens_in, tokens_out: answers and their tokens, in this process.
        refused: the endpoint's reasons by the names of the pairs that it refuses.
    """

    path: Path
    calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    refused: dict[str, str] = field(default_factory=dict)
    _verdicts: dict[str, float] = field(default_factory=dict)
    _unreadable: set[str] = field(default_factory=set)  # pairs whose answers could not be read
    _used_unreadable: set[str] = field(default_factory=set)  # unreadable pairs that this process looked up
    _loaded: frozenset[str] = frozenset()  # pairs of the file when this process opened it
    _reused: set[str] = field(default_factory=set)  # loaded pairs that this process looked up
    _lock: Any = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        damaged = 0
        for line in self._lines():
            if (entry := _parsed(line)) is None:
                damaged += 1
            elif entry["pair"] not in self._verdicts:
                self._remember(entry)
        self._loaded = frozenset(self._verdicts)
        if damaged:
            log.warning("%d lines of %s are damaged and ignored: their pairs are asked again", damaged, self.path)

    def _lines(self) -> list[str]:
        try:
            content = self.path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):  # `add` reports a path that cannot be written
            return []
        except OSError as problem:
            raise ConfigError(
                f"{self.path} holds verdicts and cannot be read ({problem.strerror}): mend it, or give another "
                "game.judge.cache."
            ) from problem
        return [line for line in content.decode(errors="replace").split("\n") if line.strip()]

    def _remember(self, entry: dict[str, Any]) -> None:
        self._verdicts[entry["pair"]] = float(entry["verdict"])
        if entry.get("unreadable"):
            self._unreadable.add(entry["pair"])

    def __contains__(self, pair: Pair) -> bool:
        return (name := _name(pair)) in self._verdicts or name in self.refused

    def __getitem__(self, pair: Pair) -> float:
        if (name := _name(pair)) in self.refused:
            return TIE
        if name in self._unreadable:
            self._used_unreadable.add(name)
        if name in self._loaded:
            self._reused.add(name)
        return self._verdicts[name]

    def refuses(self, pair: Pair) -> bool:
        """True if the endpoint refuses this pair."""
        return _name(pair) in self.refused

    def is_readable(self, pair: Pair) -> bool:
        """True if the endpoint's answer on this pair is a verdict, not a refusal or an unreadable answer."""
        return (name := _name(pair)) in self._verdicts and name not in self._unreadable and name not in self.refused

    @property
    def reused(self) -> int:
        """The number of verdicts of the file that this process used."""
        return len(self._reused)

    @property
    def unreadable(self) -> int:
        """The number of pairs that this process used although their answers could not be read."""
        return len(self._used_unreadable)

    def __len__(self) -> int:
        return len(self._verdicts)

    def paid(self, answer: Any) -> None:
        """Count an answer and its tokens; a malformed usage field counts as 0 tokens."""
        usage = getattr(answer, "usage", None)
        with self._lock:
            self.calls += 1
            self.tokens_in += _count(getattr(usage, "prompt_tokens", 0))
            self.tokens_out += _count(getattr(usage, "completion_tokens", 0))

    def refuse(self, pair: Pair, reason: str) -> bool:
        """Note for this process that the endpoint refuses a pair; False if it refuses too many."""
        with self._lock:
            self.refused[_name(pair)] = reason
            return len(self.refused) <= max(FEW_REFUSED, DOUBT * (len(self._verdicts) + len(self.refused)))

    def add(self, pair: Pair, verdict: float | None) -> None:
        """Write a verdict. An unreadable one, or a number outside [0, 1], counts as a tie."""
        readable = _valid(verdict)
        entry: dict[str, Any] = {"pair": _name(pair), "verdict": verdict if readable else TIE}
        if not readable:
            entry["unreadable"] = True
        entry["check"] = _check(entry)
        with self._lock, writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with os.fdopen(open_file(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND), "ab+") as stream:
                stream.seek(0, os.SEEK_END)
                is_cut = stream.tell() > 0 and (stream.seek(-1, os.SEEK_END), stream.read(1))[1] != b"\n"
                stream.write(b"\n" * is_cut + json.dumps(entry).encode() + b"\n")
                stream.flush()
                os.fsync(stream.fileno())
            self._remember(entry)


def _parsed(line: str) -> dict[str, Any] | None:
    """The entry of a line; None if the line is damaged."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(entry, dict) or not _valid(entry.get("verdict")):
        return None
    pair, unreadable = entry.get("pair"), entry.get("unreadable", False)
    if not isinstance(pair, str) or not NAME.fullmatch(pair) or not isinstance(unreadable, bool):
        return None
    return entry if entry.get("check", _check(entry)) == _check(entry) else None


def _check(entry: dict[str, Any]) -> str:
    """A checksum of the content of a line."""
    content = json.dumps([entry["pair"], float(entry["verdict"]), bool(entry.get("unreadable"))])
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _valid(verdict: Any) -> bool:
    """True for a number in [0, 1]."""
    return isinstance(verdict, int | float) and not isinstance(verdict, bool) and 0 <= verdict <= 1


def _count(value: Any) -> int:
    """A number of tokens; 0 for any other value."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MOST_TOKENS:
        return 0
    return int(value)


def _name(pair: Pair) -> str:
    """The SHA-256 of a pair."""
    return hashlib.sha256(json.dumps(pair).encode()).hexdigest()
