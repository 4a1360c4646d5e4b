"""What a judge behind an endpoint keeps: its verdicts on the disk, what they cost, and the pace of its questions.

The file of verdicts only grows, a line for each: the SHA-256 of the pair, the verdict, and a checksum of both. A
damaged line is ignored and its pair asked again; lines of earlier versions have no checksum and are only validated.
Where two processes asked about the same pair, the first line counts for all who read the file: later ones change no
answer.
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

MOST_TOKENS = 10**12  # of one answer; a larger count is none
NAME = re.compile(r"[0-9a-f]{64}")
DOUBT, FEW_REFUSED = 0.05, 3  # share of questions that may be refused, and so many at any rate
log = logging.getLogger("nlhf")


@dataclass
class Ledger:
    """Verdicts on the disk, a line each, and what they cost this process; safe for threads and for processes.

    Args:
        path: of the file.
    """

    path: Path
    calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    refused: dict[str, str] = field(default_factory=dict)  # pairs that the endpoint does not judge, and its words
    _known: dict[str, float] = field(default_factory=dict)
    _doubtful: set[str] = field(default_factory=set)  # pairs whose answers could not be read
    _told: set[str] = field(default_factory=set)  # those of them that were asked for
    _loaded: frozenset[str] = frozenset()  # pairs that other processes, or this one's past ones, asked about
    _reused: set[str] = field(default_factory=set)
    _lock: Any = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        damaged = 0
        for line in self._lines():
            if (entry := _parsed(line)) is None:
                damaged += 1
            elif entry["pair"] not in self._known:
                self._remember(entry)
        self._loaded = frozenset(self._known)
        if damaged:
            log.warning("%d lines of %s are damaged and ignored: their pairs are asked again", damaged, self.path)

    def _lines(self) -> list[str]:
        try:
            content = self.path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):  # what writes it says what is wrong
            return []
        except OSError as problem:
            raise ConfigError(f"{self.path} holds verdicts and cannot be read ({problem.strerror}): mend it, or give "
                              "another game.judge.cache.") from problem  # fmt: skip
        return [line for line in content.decode(errors="replace").split("\n") if line.strip()]

    def _remember(self, entry: dict[str, Any]) -> None:
        self._known[entry["pair"]] = float(entry["verdict"])
        if entry.get("unreadable"):
            self._doubtful.add(entry["pair"])

    def __contains__(self, pair: Pair) -> bool:
        return (name := _name(pair)) in self._known or name in self.refused

    def __getitem__(self, pair: Pair) -> float:
        if (name := _name(pair)) in self.refused:
            return TIE
        if name in self._doubtful:
            self._told.add(name)
        if name in self._loaded:
            self._reused.add(name)
        return self._known[name]

    def refuses(self, pair: Pair) -> bool:
        """Is there no verdict on this pair but a refusal?"""
        return _name(pair) in self.refused

    @property
    def reused(self) -> int:
        """How many verdicts were told that were on the disk before."""
        return len(self._reused)

    @property
    def unreadable(self) -> int:
        """How many of the verdicts that were told stand for answers that could not be read."""
        return len(self._told)

    def __len__(self) -> int:
        return len(self._known)

    def paid(self, answer: Any) -> None:
        """Count an answer and its tokens; a malformed usage field counts as 0 tokens."""
        usage = getattr(answer, "usage", None)
        with self._lock:
            self.calls += 1
            self.tokens_in += _count(getattr(usage, "prompt_tokens", 0))
            self.tokens_out += _count(getattr(usage, "completion_tokens", 0))

    def refuse(self, pair: Pair, words: str) -> bool:
        """Note that a pair is refused, for this process; False where those are more than a few of all."""
        with self._lock:
            self.refused[_name(pair)] = words
            return len(self.refused) <= max(FEW_REFUSED, DOUBT * (len(self._known) + len(self.refused)))

    def add(self, pair: Pair, verdict: float | None) -> None:
        """Write a verdict; one that could not be read, or is no number in [0, 1], counts as a tie."""
        readable = _valid(verdict)
        entry: dict[str, Any] = {"pair": _name(pair), "verdict": verdict if readable else TIE}
        if not readable:
            entry["unreadable"] = True
        entry["check"] = _check(entry)
        with self._lock, writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with os.fdopen(open_file(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND), "ab+") as stream:
                stream.seek(0, os.SEEK_END)
                cut = stream.tell() > 0 and (stream.seek(-1, os.SEEK_END), stream.read(1))[1] != b"\n"
                stream.write(b"\n" * cut + json.dumps(entry).encode() + b"\n")
                stream.flush()
                os.fsync(stream.fileno())
            self._remember(entry)


def _parsed(line: str) -> dict[str, Any] | None:
    """The entry of a line; None where the line is damaged."""
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
    """A checksum of what a line says."""
    content = json.dumps([entry["pair"], float(entry["verdict"]), bool(entry.get("unreadable"))])
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _valid(verdict: Any) -> bool:
    """True for a number in [0, 1]."""
    return isinstance(verdict, int | float) and not isinstance(verdict, bool) and 0 <= verdict <= 1


def _count(value: Any) -> int:
    """A number of tokens; 0 for everything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MOST_TOKENS:
        return 0
    return int(value)


def _name(pair: Pair) -> str:
    return hashlib.sha256(json.dumps(pair).encode()).hexdigest()
