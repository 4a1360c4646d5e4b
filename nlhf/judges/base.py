"""A judge of texts: which of two completions of a prompt is preferred. A judge is a game's, and its answers are cached.

Every judge is antisymmetric, P(a > b) + P(b > a) = 1, by construction: rewards are compared, or both orders averaged.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

Answer = tuple[str, str]  # a prompt and a completion
Pair = tuple[str, str, str]  # a prompt and two completions


def add_accounts(before: Any, now: dict[str, Any]) -> dict[str, Any]:
    """Two accounts of the same judge as one; entries of `before` that are no numbers count as 0."""
    earlier = before if isinstance(before, dict) else {}
    return {key: add_accounts(earlier.get(key), value) if isinstance(value, dict) else _number(earlier.get(key)) + value
            for key, value in now.items()}  # fmt: skip


def _number(value: Any) -> float:
    """The value itself if it is a finite number >= 0, else 0."""
    usable = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < float("inf")
    return value if usable else 0


def account_text(account: dict[str, Any]) -> str:
    """An account in words; of an ensemble, also those of its judges."""
    own = [f"{key.replace('_', ' ')} {value:g}" for key, value in account.items() if not isinstance(value, dict)]
    parts = [f"{name}: {account_text(one)}" for name, one in account.get("judges", {}).items()]
    return "; ".join([", ".join(own), *parts])


@dataclass(frozen=True)
class TextJudge(ABC):
    """Returns P(first > second | prompt); subclasses are frozen dataclasses with the keys of conf/judge/<name>.yaml.

    The prompt of a pair is a text. Where it is a chat, `nlhf.models.prompts.messages` returns its messages.
    """

    @abstractmethod
    def preference(self, pairs: Sequence[Pair]) -> np.ndarray:
        """P(first > second | prompt) for every pair, float64 (n).

        Raises: ConfigError where the judge's model returns something that is not a number.
        """

    def refused(self, pairs: Sequence[Pair]) -> np.ndarray:
        """On which pairs it gave no verdict, so that what `preference` says stands for none, bool (n)."""
        return np.zeros(len(pairs), bool)

    @property
    def run_device(self) -> str:
        """The device of the judge's models."""
        return str(self.__dict__.get("_device", "cpu"))

    def use_device(self, device: str) -> None:
        """Put the judge's models on a device. Call this before the first pair is judged."""
        self.__dict__["_device"] = device

    @property
    def calls(self) -> int:
        """How many texts, or pairs, the judge has read in this process; repetitions are cached and cost nothing."""
        return len(self._read)

    @property
    def question_count(self) -> int:
        """How many different texts, or pairs, the run has asked about, also before it was stopped and resumed."""
        return self._earlier + (len(self._questions) or self.calls)

    def snapshot(self) -> dict[str, Any]:
        """What a checkpoint holds, from which `restore` goes on counting."""
        import torch

        earlier = self._earlier if self._questions else self.question_count
        return {"earlier": earlier, "questions": torch.tensor(sorted(self._questions), dtype=torch.int64)}

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Go on counting from a snapshot."""
        self.__dict__["_earlier"] = int(snapshot.get("earlier", 0))
        self._questions.clear()
        self._questions.update(snapshot["questions"].tolist() if "questions" in snapshot else ())

    @property
    def decides(self) -> dict[str, Any] | None:
        """What decides the judge's answers, for a run's fingerprint; None where all its keys do."""
        return None

    @property
    def account(self) -> dict[str, Any]:
        """What the judge was asked, and what that cost, for summary.json."""
        return {"calls": self.calls}

    @cached_property
    def _read(self) -> dict[Any, Any]:
        return {}

    @cached_property
    def _questions(self) -> set[int]:
        """Digests of the texts, or pairs, that the run has asked about."""
        return set()

    @property
    def _earlier(self) -> int:
        """Questions before a stop of which the checkpoint holds the number alone."""
        return int(self.__dict__.get("_earlier", 0))

    def _note(self, contents: Iterable[Any]) -> None:
        """Count what the run asks about; repetitions count once."""
        self._questions.update(map(_digest, contents))

    def _cached(self, wanted: Sequence[Any], read: Callable[[list[Any]], np.ndarray]) -> list[Any]:
        """What `read` says about each of `wanted`, asked once for each content."""
        if new := [content for content in dict.fromkeys(wanted) if content not in self._read]:
            self._read.update(zip(new, read(new), strict=True))
            self._note(new)
        return [self._read[content] for content in wanted]

    def _gaps(self, pairs: Sequence[Pair], read: Callable[[list[Answer]], np.ndarray]) -> np.ndarray:
        """What `read` says about the first completion of every pair, less what it says about the second."""
        first, second = (np.array(self._cached([(pair[0], pair[side]) for pair in pairs], read)) for side in (1, 2))
        return np.asarray(first - second)


def _digest(content: Any) -> int:
    """A number of 63 bits for the texts of a question."""
    return int.from_bytes(hashlib.sha256(json.dumps(content).encode()).digest()[:8], "big") >> 1
