"""Judges that are sequence classification models of transformers: a reward model, and a cross-encoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from nlhf.config import ConfigError
from nlhf.judges.agreement import ORDERS, Agreement
from nlhf.judges.base import Answer, Pair, TextJudge
from nlhf.judges.folder import is_learned
from nlhf.judges.learned import LearnedJudge, LearnedModel
from nlhf.judges.truncation import Truncator, max_tokens_of, padded
from nlhf.models.classifiers import sequence_classifier
from nlhf.models.content import InputModel, in_memory
from nlhf.models.prompts import messages, spoken_after
from nlhf.models.tokens import rendered
from nlhf.numerics.bradley_terry import sigmoid


@dataclass(frozen=True)
class _Classifier(TextJudge):
    """A sequence classification model with one label; safetensors only."""

    model: InputModel
    scale: float
    batch: int
    trust_remote_code: bool

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        from transformers import AutoTokenizer

        options: dict[str, Any] = {"trust_remote_code": self.trust_remote_code}
        with self.model.loading() as source:
            tokenizer = AutoTokenizer.from_pretrained(source, **options)
            model = in_memory(sequence_classifier(source, **options)).eval()
        if model.config.num_labels != 1:
            raise ConfigError(
                f"game.judge.model={self.model} has {model.config.num_labels} labels: give a model with one, its score."
            )
        return tokenizer, model.to(self.run_device)

    @property
    def account(self) -> dict[str, Any]:
        return {**super().account, "cut_texts": self._truncator.cut if "_truncator" in self.__dict__ else 0}

    @cached_property
    def _truncator(self) -> Truncator:
        return Truncator(f"game.judge.model={self.model}", max_tokens_of(*self._loaded))

    def _logits(self, texts: Sequence[str], special: bool = True) -> np.ndarray:
        """The model's score of every text, float64 (n).

        Args:
            special: add the tokenizer's special tokens; a chat template has added them already.
        """
        tokenizer, model = self._loaded
        rows = self._truncator.ids(tokenizer, texts, special)
        batches = [rows[start : start + self.batch] for start in range(0, len(rows), self.batch)]
        scores = np.concatenate([_scores(model, batch) for batch in batches])
        if not np.isfinite(scores).all():
            wrong = scores[~np.isfinite(scores)][0]
            raise ConfigError(f"game.judge.model={self.model} returns the score {wrong}: give another model.")
        return scores * self.scale


def _scores(model: Any, rows: Sequence[Sequence[int]]) -> np.ndarray:
    """The scores of rows of token ids, float64 (n).

    transformers reads decoders at the last token that is not the padding token. A model without a padding token gets,
    for this batch, a token with which no row ends.
    """
    import torch

    config, ends = model.config.get_text_config(), {row[-1] for row in rows}
    pad = config.pad_token_id
    config.pad_token_id = next(token for token in range(len(ends) + 1) if token not in ends) if pad is None else pad
    try:
        with torch.no_grad():
            logits = model(**padded(rows, config.pad_token_id, model.device)).logits
    finally:
        config.pad_token_id = pad
    return np.asarray(logits[:, 0].cpu().double().numpy())


@dataclass(frozen=True)
class RewardModel(_Classifier):
    """P(a > b) = sigmoid(scale (r(a) - r(b))) for a reward model: a Bradley-Terry model, so it is transitive.

    Args:
        model: a folder, with a model or an adapter that peft has saved, or a name on the hub.
        scale: multiplies the rewards.
        batch: number of texts that are read at once.
        trust_remote_code: let the hub's model run its own code here.
    """

    def preference(self, pairs: Sequence[Pair]) -> np.ndarray:
        return sigmoid(self._differences(pairs, self._rewards))

    def _rewards(self, answers: list[Answer]) -> np.ndarray:
        tokenizer, _ = self._loaded
        if not tokenizer.chat_template:
            return self._logits([f"{prompt}\n\n{text}" for prompt, text in answers])
        key = f"game.judge.model={self.model}"
        chats = [[*messages(prompt), *spoken_after(text)] for prompt, text in answers]
        return self._logits([rendered(tokenizer, chat, key) for chat in chats], special=False)


@dataclass(frozen=True)
class PairwiseModel(_Classifier):
    """A cross-encoder whose score is the logit of P(A > B), averaged over both orders; or a trained judge.

    Args:
        model: as of `reward_model`, or a folder that `nlhf judge train` has written.
        scale, batch, trust_remote_code: as of `reward_model`.
        template: the text that the model reads, with {prompt}, {first} and {second}.
        voters: which voter group's preferences a trained judge applies.
    """

    template: str
    voters: str | None

    def preference(self, pairs: Sequence[Pair]) -> np.ndarray:
        if self._learned is not None:
            return self._learned.preference(pairs)
        swapped = [(prompt, second, first) for prompt, first, second in pairs]
        chance, swapped_chance = (np.array(self._cached(order, self._first_wins)) for order in (list(pairs), swapped))
        opinions = np.sign(chance - 0.5), np.sign(0.5 - swapped_chance)
        self._agreement.add(pairs, np.ones(len(pairs)), opinions[0] == opinions[1])
        return np.asarray(0.5 + (chance - swapped_chance) / 2)

    @cached_property
    def _agreement(self) -> Agreement:
        """Between the model's preferences in both orders of a pair."""
        return Agreement(ORDERS)

    @cached_property
    def _learned(self) -> LearnedJudge | None:
        if is_learned(self.model.source):
            judge = LearnedJudge(LearnedModel(self.model.name, self.model.key), self.voters, self.batch)
            judge.use_device(self.run_device)
            return judge
        if self.voters is not None:
            raise ConfigError(
                f"game.judge.voters={self.voters}: {self.model} was not learned here from the votes of several groups: "
                "set it to null."
            )
        return None

    @property
    def account(self) -> dict[str, Any]:
        return super().account | self._agreement.account if self._learned is None else self._learned.account

    @property
    def calls(self) -> int:
        return super().calls if self._learned is None else self._learned.calls

    @property
    def question_count(self) -> int:
        return super().question_count if self._learned is None else self._learned.question_count

    def snapshot(self) -> dict[str, Any]:
        return super().snapshot() if self._learned is None else self._learned.snapshot()

    def restore(self, snapshot: dict[str, Any]) -> None:
        return super().restore(snapshot) if self._learned is None else self._learned.restore(snapshot)

    @property
    def decides(self) -> dict[str, Any] | None:
        """What decides a trained judge's answers; None for a cross-encoder, whose keys do."""
        return None if self._learned is None else self._learned.decides

    def _first_wins(self, pairs: list[Pair]) -> np.ndarray:
        """The probability that the model prefers the completion that it reads first."""
        texts = [self.template.format(prompt=prompt, first=first, second=second) for prompt, first, second in pairs]
        return sigmoid(self._logits(texts))
