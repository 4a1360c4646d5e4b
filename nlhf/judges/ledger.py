"""What a judge behind an endpoint keeps: its verdicts on the disk, what they cost, and the pace of its questions."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nlhf.files import writing
from nlhf.judges.base import Pair
from nlhf.links import open_file

TIE = 0.5
DOUBT, FEW_REFUSED = 0.05, 3  # share of questions that may be refused, and so many at any rate


class Pace:
    """At most so many questions a minute, evenly spaced, over all threads; none while the endpoint wants to be left."""

    def __init__(self, per_minute: float | None) -> None:
        self.pause, self.due, self.lock = 60 / per_minute if per_minute else 0.0, 0.0, threading.Lock()

    def wait(self, stopped: threading.Event) -> None:
        """Sleep until it is one's turn, or all is stopped."""
        with self.lock:
            now = time.monotonic()
            self.due = max(now, self.due)
            pause, self.due = self.due - now, self.due + self.pause
        stopped.wait(pause)

    def hold(self, seconds: float) -> None:
        """Nobody asks for so long."""
        with self.lock:
            self.due = max(self.due, time.monotonic() + seconds)


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
        if self.path.exists():
            for line in self.path.read_text(encoding="utf-8", errors="replace").split("\n"):
                try:
                    entry = json.loads(line)
                    self._known[entry["pair"]] = float(entry["verdict"])
                    if entry.get("unreadable"):
                        self._doubtful.add(entry["pair"])
                except (ValueError, KeyError, TypeError):
                    continue  # a line that a crash has cut
        self._loaded = frozenset(self._known)

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
        """Count an answer."""
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
        """Write a verdict; one that could not be read counts as a tie."""
        entry: dict[str, Any] = {"pair": _name(pair), "verdict": TIE if verdict is None else verdict}
        if verdict is None:
            entry["unreadable"] = True
        with self._lock, writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with os.fdopen(open_file(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND), "ab+") as stream:
                stream.seek(0, os.SEEK_END)
                cut = stream.tell() > 0 and (stream.seek(-1, os.SEEK_END), stream.read(1))[1] != b"\n"
                stream.write(b"\n" * cut + json.dumps(entry).encode() + b"\n")
                stream.flush()
                os.fsync(stream.fileno())
            self._known[entry["pair"]] = float(entry["verdict"])
            if verdict is None:
                self._doubtful.add(entry["pair"])


def _count(value: Any) -> int:
    """A number of tokens; 0 for what is none."""
    return int(value) if isinstance(value, int | float) else 0


def _name(pair: Pair) -> str:
    return hashlib.sha256(json.dumps(pair).encode()).hexdigest()
