"""Judges that are sequence classification models of transformers: a reward model, and a cross-encoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from nlhf.bradley_terry import sigmoid
from nlhf.config import ConfigError
from nlhf.judges.base import Answer, Pair, TextJudge
from nlhf.judges.learned import LearnedJudge, LearnedModel, is_learned
from nlhf.language.bundled import whole
from nlhf.language.content import InputModel, in_memory


@dataclass(frozen=True)
class _Classifier(TextJudge):
    """A sequence classification model with one label; safetensors only."""

    model: InputModel
    scale: float
    batch: int
    trust_remote_code: bool

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        own: dict[str, Any] = {"trust_remote_code": self.trust_remote_code}
        with self.model.loading() as source:
            tokenizer = AutoTokenizer.from_pretrained(source, **own)
            model = in_memory(whole(AutoModelForSequenceClassification, source, **own)).eval()
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
    """A cross-encoder whose score is the logit of P(A > B), both orders read and averaged; or a learned judge.

    Args:
        model: as of `reward_model`, or a folder that `python -m nlhf.judges train` has written.
        scale, batch, trust_remote_code: as of `reward_model`.
        template: what it reads, with {prompt}, {first} and {second}.
        voters: of a learned judge, as which group of voters it judges.
    """

    template: str
    voters: str | None

    def preference(self, pairs: Sequence[Pair]) -> np.ndarray:
        if self._learned is not None:
            return self._learned.preference(pairs)
        there = np.array(self._known(list(pairs), self._chosen))
        back = np.array(self._known([(prompt, second, first) for prompt, first, second in pairs], self._chosen))
        return np.asarray(0.5 + (there - back) / 2)

    @cached_property
    def _learned(self) -> LearnedJudge | None:
        if is_learned(self.model.source):
            return LearnedJudge(LearnedModel(self.model.name, self.model.key), self.voters, self.batch)
        if self.voters is not None:
            raise ConfigError(f"game.judge.voters={self.voters}: {self.model} was not learned here from the votes of "
                              "several groups: set it to null.")  # fmt: skip
        return None

    @property
    def calls(self) -> int:
        return super().calls if self._learned is None else self._learned.calls

    @property
    def decides(self) -> dict[str, Any] | None:
        """What decides the judge's answers, where it is not its keys."""
        return None if self._learned is None else self._learned.decides

    def _chosen(self, pairs: list[Pair]) -> np.ndarray:
        """The probability that the first one shown is chosen."""
        texts = [self.template.format(prompt=prompt, first=first, second=second) for prompt, first, second in pairs]
        return sigmoid(self._logits(texts))
