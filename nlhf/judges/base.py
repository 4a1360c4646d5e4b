"""A judge of texts: which of two completions of a prompt is preferred. A judge is a game's, and its answers are cached.

Every judge is antisymmetric, P(a > b) + P(b > a) = 1, by construction: rewards are compared, or both orders averaged.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

Answer = tuple[str, str]  # a prompt and a completion
Pair = tuple[str, str, str]  # a prompt and two completions


def added(before: Any, now: dict[str, Any]) -> dict[str, Any]:
    """Two accounts of the same judge as one; entries of `before` that are no numbers count as 0."""
    earlier = before if isinstance(before, dict) else {}
    return {key: added(earlier.get(key), value) if isinstance(value, dict) else _number(earlier.get(key)) + value
            for key, value in now.items()}  # fmt: skip


def _number(value: Any) -> float:
    """The value itself if it is a finite number >= 0, else 0."""
    usable = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < float("inf")
    return value if usable else 0


def told(account: dict[str, Any]) -> str:
    """An account in words; of an ensemble, also those of its judges."""
    own = [f"{key.replace('_', ' ')} {value:g}" for key, value in account.items() if not isinstance(value, dict)]
    parts = [f"{name}: {told(one)}" for name, one in account.get("judges", {}).items()]
    return "; ".join([", ".join(own), *parts])


@dataclass(frozen=True)
class TextJudge(ABC):
    """Tells P(first > second | prompt); subclasses are frozen dataclasses with the keys of conf/judge/<name>.yaml."""

    @abstractmethod
    def preference(self, pairs: Sequence[Pair]) -> np.ndarray:
        """P(first > second | prompt) for every pair, float64 (n).

        Raises: ConfigError where the judge's model says what is no number.
        """

    def refused(self, pairs: Sequence[Pair]) -> np.ndarray:
        """On which pairs it gave no verdict, so that what `preference` says stands for none, bool (n)."""
        return np.zeros(len(pairs), bool)

    @property
    def calls(self) -> int:
        """How many texts, or pairs, the judge has read so far; what it had read before costs nothing."""
        return len(self._read)

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

    def _known(self, wanted: Sequence[Any], read: Callable[[list[Any]], np.ndarray]) -> list[Any]:
        """What `read` says about each of `wanted`, asked once for each content."""
        if new := [content for content in dict.fromkeys(wanted) if content not in self._read]:
            self._read.update(zip(new, read(new), strict=True))
        return [self._read[content] for content in wanted]

    def _gaps(self, pairs: Sequence[Pair], read: Callable[[list[Answer]], np.ndarray]) -> np.ndarray:
        """What `read` says about the first completion of every pair, less what it says about the second."""
        first, second = (np.array(self._known([(pair[0], pair[side]) for pair in pairs], read)) for side in (1, 2))
        return np.asarray(first - second)
