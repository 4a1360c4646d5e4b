"""The base of judges of texts, which say how likely one completion of a prompt is preferred to another.

Every judge is antisymmetric by construction, P(a > b) + P(b > a) = 1: it compares rewards, or averages both orders. Its
answers are cached: what it has read by the judge, verdicts on pairs by `TextJudge.verdicts`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from nlhf.judges.asked import Asked
from nlhf.judges.digests import digest

Answer = tuple[str, str]  # a prompt and a completion
Pair = tuple[str, str, str]  # a prompt and two completions


def add_accounts(before: Any, now: dict[str, Any]) -> dict[str, Any]:
    """The sum of two accounts of the same judge; entries of `before` that are not numbers count as 0."""
    earlier = before if isinstance(before, dict) else {}
    return {key: add_accounts(earlier.get(key), value) if isinstance(value, dict) else _number(earlier.get(key)) + value
            for key, value in now.items()}  # fmt: skip


def _number(value: Any) -> float:
    """The value itself if it is a finite number >= 0, else 0."""
    usable = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < float("inf")
    return value if usable else 0


def account_text(account: dict[str, Any]) -> str:
    """An account as text, with the accounts of an ensemble's judges."""
    numbers = [f"{key.replace('_', ' ')} {value:g}" for key, value in account.items() if not isinstance(value, dict)]
    parts = [f"{name}: {account_text(one)}" for name, one in account.get("judges", {}).items()]
    return "; ".join([", ".join(numbers), *parts])


@dataclass(frozen=True)
class TextJudge(ABC):
    """Returns P(first > second | prompt); subclasses are frozen dataclasses with the keys of conf/judge/<name>.yaml.

    The prompt of a pair is a text. If it is a chat, `nlhf.models.prompts.messages` returns its messages.
    """

    @abstractmethod
    def preference(self, pairs: Sequence[Pair]) -> np.ndarray:
        """P(first > second | prompt) for every pair, float64 (n).

        Raises: ConfigError if the judge's model returns something that is not a number.
        """

    def refused(self, pairs: Sequence[Pair]) -> np.ndarray:
        """True for pairs without a verdict, whose `preference` is a placeholder, bool (n)."""
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
        """The number of texts, or pairs, that the judge has read in this process, without repetitions."""
        return len(self._read)

    @property
    def question_count(self) -> int:
        """The number of different texts, or pairs, that the run has asked about, also before it was resumed."""
        return self._earlier + (len(self._questions) or self.calls)

    def snapshot(self) -> dict[str, Any]:
        """The state of `question_count` for a checkpoint."""
        import torch

        earlier = self._earlier if self._questions else self.question_count
        return {"earlier": earlier, "questions": torch.tensor(sorted(self._questions), dtype=torch.int64)}

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Continue counting from a snapshot."""
        self.__dict__["_earlier"] = int(snapshot.get("earlier", 0))
        self._questions.clear()
        self._questions.update(snapshot["questions"].tolist() if "questions" in snapshot else ())

    @property
    def decides(self) -> dict[str, Any] | None:
        """What decides the judge's answers, for a run's fingerprint; None if all its keys do."""
        return None

    @property
    def account(self) -> dict[str, Any]:
        """Numbers of questions and their cost, for summary.json."""
        return {"calls": self.calls}

    @cached_property
    def verdicts(self) -> Asked:
        """Asks this judge about pairs, each of them once, in whichever order they come."""
        return Asked(self)

    @cached_property
    def _read(self) -> dict[Any, Any]:
        return {}

    @cached_property
    def _questions(self) -> set[int]:
        """Digests of the texts, or pairs, that the run has asked about."""
        return set()

    @property
    def _earlier(self) -> int:
        """Questions of an earlier process, if the checkpoint holds only their number."""
        return int(self.__dict__.get("_earlier", 0))

    def _note(self, contents: Iterable[Any]) -> None:
        """Count questions; repetitions count once."""
        self._questions.update(map(digest, contents))

    def _cached(self, contents: Sequence[Any], read: Callable[[list[Any]], np.ndarray]) -> list[Any]:
        """The results of `read` for all contents. New contents are read together; repetitions are read once."""
        if new := [content for content in dict.fromkeys(contents) if content not in self._read]:
            self._read.update(zip(new, read(new), strict=True))
            self._note(new)
        return [self._read[content] for content in contents]

    def _differences(self, pairs: Sequence[Pair], read: Callable[[list[Answer]], np.ndarray]) -> np.ndarray:
        """The score of the first completion of every pair minus that of the second; `read` returns scores."""
        first, second = (np.array(self._cached([(pair[0], pair[side]) for pair in pairs], read)) for side in (1, 2))
        return np.asarray(first - second)
