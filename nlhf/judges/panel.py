"""Panels of readable criteria: one whose preferences have cycles, and one with a scalar reward."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from typing import Any, Literal

import numpy as np

from nlhf.config import ConfigError
from nlhf.judges.agreement import VOTERS, Agreement
from nlhf.judges.base import Answer, Pair, TextJudge
from nlhf.judges.truncation import Truncator, padded
from nlhf.models.bundled import bundled_embedder
from nlhf.models.prompts import answers_in
from nlhf.numerics.bradley_terry import sigmoid

MAX_TOKENS = 128  # of a text that MiniLM reads


@cache
def _embedder(device: str) -> tuple[Any, Any, Truncator]:
    from transformers import AutoModel, AutoTokenizer

    folder = bundled_embedder()
    model = AutoModel.from_pretrained(folder).eval().to(device)
    return AutoTokenizer.from_pretrained(folder), model, Truncator("the criterion relevance", MAX_TOKENS)


def relevance(answers: list[Answer], device: str = "cpu") -> np.ndarray:
    """Cosine of the sentence embeddings (MiniLM) of prompt and completion, each of its last 128 tokens."""
    import torch

    tokenizer, model, truncator = _embedder(device)
    sides = []
    for side in (0, 1):
        rows = truncator.ids(tokenizer, [answer[side] or "." for answer in answers])
        batch = padded(rows, tokenizer.pad_token_id, device)
        with torch.no_grad():
            hidden = model(**batch).last_hidden_state
        mask = batch["attention_mask"][..., None]
        sides.append(torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1))
    return np.asarray((sides[0] * sides[1]).sum(-1).cpu().double().numpy())


@cache
def _analyser() -> Any:
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer  # type: ignore[import-untyped]

    return SentimentIntensityAnalyzer()  # reads its lexicon


def sentiment(answers: list[Answer]) -> np.ndarray:
    """VADER's compound score of friendliness."""
    return np.array([_analyser().polarity_scores(text)["compound"] for _, text in answers])


def diversity(answers: list[Answer]) -> np.ndarray:
    """The number of distinct words divided by the root of the number of words (Guiraud's index)."""
    texts = [re.findall(r"\w+", text.lower()) for _, text in answers]
    return np.array([len(set(text)) / max(1, len(text)) ** 0.5 for text in texts])


def shorter(answers: list[Answer]) -> np.ndarray:
    """The share of words that the last answer of a dialogue saves against the one before it; 0 without one."""
    savings = []
    for _, text in answers:
        words = [len(answer.split()) for answer in answers_in(text)]
        savings.append(1 - words[-1] / max(1, words[-2]) if len(words) > 1 else 0.0)
    return np.array(savings)


# Standard deviations between completions of a prompt, of 24 tokens by the bundled model; that of `shorter` is assumed
SPREADS = {"relevance": 0.16, "sentiment": 0.36, "diversity": 0.44, "length": 3.1, "shorter": 0.5}
CRITERIA: dict[str, Callable[[list[Answer]], np.ndarray]] = {"sentiment": sentiment, "diversity": diversity}


@dataclass(frozen=True)
class Criteria(TextJudge):
    """Readable criteria that score completions, for judges that combine the scores.

    Args:
        criteria: `relevance`, `sentiment`, `diversity`, `length` (close to `words`); of dialogues, they read the
            policy's answers, and `shorter` prefers those whose last answer saves words.
        words: the number of words that `length` ranks highest.
    """

    criteria: list[Literal["relevance", "sentiment", "diversity", "length", "shorter"]]
    words: int

    def __post_init__(self) -> None:
        if not self.criteria or len(set(self.criteria)) < len(self.criteria):
            raise ConfigError(f"game.judge.criteria={list(self.criteria)} is not a panel: give distinct criteria.")
        if self.words < 1:
            raise ConfigError(f"game.judge.words={self.words} is too small: give 1 or more.")

    def scores(self, answers: list[Answer]) -> np.ndarray:
        """The criteria of every answer, (n, criteria)."""
        functions = CRITERIA | {"length": self._length, "relevance": partial(relevance, device=self.run_device)}
        written = [(prompt, "\n\n".join(answers_in(text))) for prompt, text in answers]
        return np.stack(
            [shorter(answers) if name == "shorter" else functions[name](written) for name in self.criteria], 1
        )

    def _length(self, answers: list[Answer]) -> np.ndarray:
        return np.array([-abs(len(text.split()) - self.words) for _, text in answers], float)


@dataclass(frozen=True)
class Panel(Criteria):
    """P(a > b) is the share of criteria that rank a above b; a tie counts half.

    Each criterion is transitive, but the panel is not (Condorcet). With four criteria, three completions are in a
    strict cycle only where criteria tie; three criteria suffice for a cycle.

    Args:
        margin: the largest difference of scores that is a tie.
    """

    margin: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.margin < float("inf"):
            raise ConfigError(f"game.judge.margin={self.margin} is out of range: give a finite number >= 0.")

    def preference(self, pairs: Sequence[Pair]) -> np.ndarray:
        gap = self._differences(pairs, self.scores)
        votes = np.sign(gap) * (np.abs(gap) > self.margin)
        self._agreement.add_votes(pairs, votes.T)
        return np.asarray(votes.mean(1) / 2 + 0.5)

    @property
    def account(self) -> dict[str, Any]:
        return {**super().account, **self._agreement.account}

    @cached_property
    def _agreement(self) -> Agreement:
        """Between couples of criteria."""
        return Agreement(VOTERS)


@dataclass(frozen=True)
class ScalarPanel(Criteria):
    """P(a > b) = sigmoid(scale (r(a) - r(b))), where the reward r is the mean of the criteria: transitive.

    Each criterion is divided by its spread in `SPREADS`, so that all have about the same weight.

    Args:
        scale: multiplies the rewards.
    """

    scale: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.scale < float("inf"):
            raise ConfigError(f"game.judge.scale={self.scale} is out of range: give a finite number > 0.")

    def preference(self, pairs: Sequence[Pair]) -> np.ndarray:
        return np.asarray(sigmoid(self.scale * self._differences(pairs, self.rewards)))

    def rewards(self, answers: list[Answer]) -> np.ndarray:
        """The reward of every answer, (n)."""
        return np.asarray((self.scores(answers) / [SPREADS[name] for name in self.criteria]).mean(1))
