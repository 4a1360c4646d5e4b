"""Counted votes on pairs of texts: judges are trained and graded on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nlhf.judges.similar_prompts import prompt_groups

if TYPE_CHECKING:
    from nlhf.judges.base import Answer, Pair


@dataclass(frozen=True)
class TextVotes:
    """Counted votes on n pairs of answers.

    Args:
        answers: the distinct ones, each with its prompt and completion.
        pairs: numbers of the answers that are compared, (n, 2).
        votes: for the first, for the second, ties, (n, 3).
        sources: the source of each pair, (n).
    """

    answers: list[Answer]
    pairs: np.ndarray
    votes: np.ndarray
    sources: np.ndarray

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def prompts(self) -> np.ndarray:
        """A number for the prompt of each pair, (n)."""
        numbers: dict[str, int] = {}
        of_answer = np.array([numbers.setdefault(prompt, len(numbers)) for prompt, _ in self.answers])
        return np.asarray(of_answer[self.pairs[:, 0]])

    @property
    def groups(self) -> np.ndarray:
        """A number for the group of similar prompts of each pair, (n); see `prompt_groups`."""
        texts = tuple(dict.fromkeys(prompt for prompt, _ in self.answers))
        return np.asarray(prompt_groups(texts)[self.prompts])

    @property
    def number(self) -> np.ndarray:
        """The number of votes on each pair, (n)."""
        return np.asarray(self.votes.sum(1))

    @property
    def share(self) -> np.ndarray:
        """The first answer's share of the votes, a tie half a vote, (n)."""
        return np.asarray((self.votes[:, 0] + self.votes[:, 2] / 2) / self.number)

    def texts(self) -> list[Pair]:
        """Prompt and both completions of every pair."""
        return [(*self.answers[first], self.answers[second][1]) for first, second in self.pairs]

    def at(self, chosen: np.ndarray) -> TextVotes:
        """Some of the pairs, by number or by mask."""
        return TextVotes(self.answers, self.pairs[chosen], self.votes[chosen], self.sources[chosen])
