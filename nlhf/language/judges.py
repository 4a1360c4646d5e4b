"""Judges of texts: which of two completions of a prompt is preferred. A judge is a game's, and its answers are cached.

Every judge is antisymmetric, P(a > b) + P(b > a) = 1, by construction: rewards are compared, or both orders averaged.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, Literal

import numpy as np

from nlhf.bradley_terry import sigmoid
from nlhf.config import ConfigError
from nlhf.language.bundled import bundled_embedder, loading

Answer = tuple[str, str]  # a prompt and a completion
Pair = tuple[str, str, str]  # a prompt and two completions


@dataclass(frozen=True)
class TextJudge(ABC):
    """Tells P(first > second | prompt); subclasses are frozen dataclasses with the keys of conf/judge/<name>.yaml."""

    @abstractmethod
    def preference(self, pairs: Sequence[Pair]) -> np.ndarray:
        """P(first > second | prompt) for every pair, float64 (n).

        Raises: ConfigError where the judge's model says what is no number.
        """

    @property
    def calls(self) -> int:
        """How many texts, or pairs, the judge has read so far; what it had read before costs nothing."""
        return len(self._read)

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


@cache
def _embedder() -> tuple[Any, Any]:
    from transformers import AutoModel, AutoTokenizer

    folder = bundled_embedder()
    return AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()


def relevance(answers: list[Answer]) -> np.ndarray:
    """Cosine of the prompt's and the completion's sentence embeddings (MiniLM)."""
    import torch

    tokenizer, model = _embedder()
    sides = []
    for side in (0, 1):
        batch = tokenizer([answer[side] or "." for answer in answers], padding=True, truncation=True, max_length=128,
                          return_tensors="pt")  # fmt: skip
        with torch.no_grad():
            hidden = model(**batch).last_hidden_state
        mask = batch["attention_mask"][..., None]
        sides.append(torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1))
    return np.asarray((sides[0] * sides[1]).sum(-1).double().numpy())


def sentiment(answers: list[Answer]) -> np.ndarray:
    """VADER's compound score: how friendly the words are."""
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer  # type: ignore[import-untyped]

    analyser = SentimentIntensityAnalyzer()
    return np.array([analyser.polarity_scores(text)["compound"] for _, text in answers])


def diversity(answers: list[Answer]) -> np.ndarray:
    """Distinct words, as a share of the root of all words (Guiraud's index)."""
    words = [re.findall(r"\w+", text.lower()) for _, text in answers]
    return np.array([len(set(found)) / max(1, len(found)) ** 0.5 for found in words])


CRITERIA: dict[str, Callable[[list[Answer]], np.ndarray]] = {
    "relevance": relevance, "sentiment": sentiment, "diversity": diversity,
}  # fmt: skip


@dataclass(frozen=True)
class Panel(TextJudge):
    """Annotators who each hold one criterion: P(a > b) is the share of the criteria that rank a above b, a tie half.

    Each criterion is transitive; the panel is not (Condorcet): it prefers in cycles.

    Args:
        criteria: `relevance`, `sentiment`, `diversity`, `length` (as close to `words` as can be).
        words: what `length` likes best.
        margin: scores that differ by no more are a tie.
    """

    criteria: list[Literal["relevance", "sentiment", "diversity", "length"]]
    words: int
    margin: float

    def __post_init__(self) -> None:
        if not self.criteria or len(set(self.criteria)) < len(self.criteria):
            raise ConfigError(f"game.judge.criteria={list(self.criteria)} is no panel: give distinct criteria.")
        if self.words < 1 or not 0 <= self.margin < float("inf"):
            raise ConfigError(f"game.judge.words={self.words}, margin={self.margin}: give words >= 1 and margin >= 0.")

    def preference(self, pairs: Sequence[Pair]) -> np.ndarray:
        gap = self._gaps(pairs, self.scores)
        return np.asarray((np.sign(gap) * (np.abs(gap) > self.margin)).mean(1) / 2 + 0.5)

    def scores(self, answers: list[Answer]) -> np.ndarray:
        """The criteria of every answer, (n, criteria)."""
        known = CRITERIA | {"length": self._length}
        return np.stack([known[name](answers) for name in self.criteria], 1)

    def _length(self, answers: list[Answer]) -> np.ndarray:
        return np.array([-abs(len(text.split()) - self.words) for _, text in answers], float)


@dataclass(frozen=True)
class _Classifier(TextJudge):
    """A sequence classification model with one label; safetensors only."""

    model: str
    scale: float
    batch: int
    trust_remote_code: bool

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        own = {"trust_remote_code": self.trust_remote_code}
        with loading("game.judge.model", self.model):
            tokenizer = AutoTokenizer.from_pretrained(self.model, **own)
            model = AutoModelForSequenceClassification.from_pretrained(self.model, use_safetensors=True, **own).eval()
        if model.config.num_labels != 1:
            raise ConfigError(f"game.judge.model={self.model} has {model.config.num_labels} labels: give a model with "
                              "one, its score.")  # fmt: skip
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
            model.config.pad_token_id = tokenizer.pad_token_id
        return tokenizer, model

    def _logits(self, texts: Sequence[str]) -> np.ndarray:
        """The model's score of every text, float64 (n)."""
        import torch

        tokenizer, model = self._loaded
        found = []
        for start in range(0, len(texts), self.batch):
            batch = tokenizer(
                list(texts[start : start + self.batch]), padding=True, truncation=True, return_tensors="pt"
            )
            with torch.no_grad():
                found.append(model(**batch.to(model.device)).logits[:, 0].double().cpu().numpy())
        scores = np.concatenate(found)
        if not np.isfinite(scores).all():
            wrong = scores[~np.isfinite(scores)][0]
            raise ConfigError(f"game.judge.model={self.model} says {wrong}, which is no score: give another model.")
        return scores * self.scale


@dataclass(frozen=True)
class RewardModel(_Classifier):
    """P(a > b) = sigmoid(scale (r(a) - r(b))) for a model of rewards: Bradley and Terry's, and transitive.

    Args:
        model: a folder, or a name on the hub.
        scale: multiplies the rewards.
        batch: texts that are read at once.
        trust_remote_code: let the hub's model run its own code here.
    """

    def preference(self, pairs: Sequence[Pair]) -> np.ndarray:
        return sigmoid(self._gaps(pairs, self._rewards))

    def _rewards(self, answers: list[Answer]) -> np.ndarray:
        tokenizer, _ = self._loaded
        if tokenizer.chat_template:
            chats = [[{"role": "user", "content": prompt}, {"role": "assistant", "content": text}]
                     for prompt, text in answers]  # fmt: skip
            return self._logits([tokenizer.apply_chat_template(chat, tokenize=False) for chat in chats])
        return self._logits([f"{prompt}\n\n{text}" for prompt, text in answers])


@dataclass(frozen=True)
class PairwiseModel(_Classifier):
    """A cross-encoder whose score is the logit of P(A > B); both orders are read, and averaged.

    Args:
        model, scale, batch, trust_remote_code: as of `reward_model`.
        template: what it reads, with {prompt}, {first} and {second}.
    """

    template: str

    def preference(self, pairs: Sequence[Pair]) -> np.ndarray:
        there = np.array(self._known(list(pairs), self._chosen))
        back = np.array(self._known([(prompt, second, first) for prompt, first, second in pairs], self._chosen))
        return np.asarray(0.5 + (there - back) / 2)

    def _chosen(self, pairs: list[Pair]) -> np.ndarray:
        """The probability that the first one shown is chosen."""
        texts = [self.template.format(prompt=prompt, first=first, second=second) for prompt, first, second in pairs]
        return sigmoid(self._logits(texts))
