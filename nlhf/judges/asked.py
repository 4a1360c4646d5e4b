"""The verdicts that a judge has given, so that no pair of texts is put to it twice.

Judges are antisymmetric by construction, so (a, b) and (b, a) are one question: it is asked with the smaller text
first, whoever asks. Verdicts of a run are part of its checkpoint; a run that continues asks about new pairs alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nlhf.config import ConfigError
from nlhf.judges.digests import digest

if TYPE_CHECKING:
    from nlhf.judges.base import Pair, TextJudge

EVEN = 0.5  # P(a > a)


class Asked:
    """Asks a judge about pairs, each of them once, and remembers its verdicts.

    Args:
        judge: antisymmetric, P(a > b) + P(b > a) = 1.
    """

    def __init__(self, judge: TextJudge) -> None:
        self.judge = judge
        self._verdicts: dict[int, float] = {}

    def __call__(self, pairs: Sequence[Pair]) -> np.ndarray:
        """P(first > second | prompt) for every pair, float64 (n).

        Raises: ConfigError if the judge returns something that is not a probability.
        """
        questions = [in_order(pair) for pair in pairs]
        names = [digest(question) for question in questions]
        new = {name: question for name, question in zip(names, questions, strict=True)
               if name not in self._verdicts and question[1] != question[2]}  # fmt: skip
        chances = self._verdicts | dict(zip(new, self._ask(list(new.values())), strict=True))
        return np.array([_of(pair, chances.get(name, EVEN)) for pair, name in zip(pairs, names, strict=True)], float)

    def _ask(self, questions: list[Pair]) -> list[float]:
        """The judge's verdicts on new questions; those that it refuses are asked again the next time."""
        if not questions:
            return []
        chances = self.judge.preference(questions)
        valid = (chances >= 0) & (chances <= 1)
        if not valid.all():
            raise ConfigError(
                f"the judge returns {chances[~valid][0]}, which is not a probability: choose another judge."
            )
        given = ~self.judge.refused(questions)
        self._verdicts.update(
            (digest(question), float(chance))
            for question, chance, is_given in zip(questions, chances, given, strict=True)
            if is_given
        )
        return [float(chance) for chance in chances]

    def snapshot(self) -> dict[str, Any]:
        """The verdicts for a checkpoint."""
        import torch

        names = sorted(self._verdicts)
        verdicts = torch.tensor([self._verdicts[name] for name in names], dtype=torch.float64)
        return {"pairs": torch.tensor(names, dtype=torch.int64), "verdicts": verdicts}

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Continue with the verdicts of a checkpoint."""
        if snapshot:
            self._verdicts = dict(zip(snapshot["pairs"].tolist(), snapshot["verdicts"].tolist(), strict=True))


def in_order(pair: Pair) -> Pair:
    """The pair with the smaller text first."""
    prompt, first, second = pair
    return (prompt, first, second) if first <= second else (prompt, second, first)


def _of(pair: Pair, chance: float) -> float:
    """The verdict on a pair from that on its texts in order."""
    return chance if pair[1] <= pair[2] else 1 - chance
