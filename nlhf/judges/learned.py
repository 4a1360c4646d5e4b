"""A judge that `nlhf judge train` has trained, from its folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from nlhf.config import ConfigError
from nlhf.judges import folder as files
from nlhf.judges.base import Answer, Pair, TextJudge
from nlhf.models.content import InputFolder
from nlhf.numerics.bradley_terry import sigmoid

if TYPE_CHECKING:
    from nlhf.judges.options import Training
    from nlhf.judges.train import FittedJudge


class LearnedModel(InputFolder):
    """The folder of a trained judge."""

    def _content(self) -> str:
        return files.digest(self.source)


@dataclass(frozen=True)
class LearnedJudge(TextJudge):
    """Reads each answer once, and compares two readings in O(1).

    Args:
        model: the folder.
        voters: which voter group's preferences the judge applies; null for all groups together.
        batch: number of texts that are read at once.
        kind: the kind of head that the judge must have, as in training; null for any.
    """

    model: LearnedModel
    voters: str | None
    batch: int
    kind: str | None = None

    def preference(self, pairs: Sequence[Pair]) -> np.ndarray:
        import torch

        sides = [[(pair[0], pair[side]) for pair in pairs] for side in (1, 2)]
        readings = [torch.from_numpy(np.array(self._cached(answers, self._readings))) for answers in sides]
        judge = self._loaded[0]
        with torch.no_grad():
            logits = judge.head.compare(*readings) / judge.temperatures[self._group]
        if logits.isnan().any():
            raise ConfigError(f"game.judge.model={self.model} gives preferences that are not numbers: train it again.")
        return sigmoid(logits.numpy())

    def _readings(self, answers: list[Answer]) -> np.ndarray:
        """The head's readings of answers, float64 (n, 1 + dimensions)."""
        import torch

        from nlhf.judges.features import features

        judge, options = self._loaded
        groups = torch.full((len(answers),), self._group)
        with torch.no_grad():
            readings = judge.head.read(features(answers, judge.encoder, options.surface).double(), groups)
        if not readings.isfinite().all():
            raise ConfigError(f"game.judge.model={self.model} computes values that are not numbers: train it again.")
        return np.asarray(readings.numpy())

    @property
    def _group(self) -> int:
        """The number of the voter group; 0 for all groups together."""
        return self._loaded[0].voters[self.voters] if self.voters else 0

    @cached_property
    def _loaded(self) -> tuple[FittedJudge, Training]:
        with self.model.unchanged() as folder:
            judge, options = files.load(folder, self.batch, self.run_device)
        if self.kind not in (None, options.judge):
            raise ConfigError(
                f"game.judge.model={self.model} is a {options.judge}, no {self.kind}: choose judge={options.judge}."
            )
        if self.voters is not None and self.voters not in judge.voters:
            groups = ", ".join(judge.voters) or "none apart"
            raise ConfigError(f"game.judge.voters={self.voters}: {self.model} has learned from {groups}.")
        return judge, options

    @property
    def account(self) -> dict[str, Any]:
        cut = self._loaded[0].encoder.truncator.cut if "_loaded" in self.__dict__ else 0
        return {**super().account, "cut_texts": cut}

    @property
    def decides(self) -> dict[str, Any]:
        """What decides the judge's answers, for the fingerprint: the content of the folder, not its path."""
        return {"learned": self.model, "voters": self.voters}
