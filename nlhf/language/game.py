"""The game of texts: contexts are prompts, actions are completions, and a judge compares completions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Literal

from nlhf.config import ConfigError
from nlhf.games.base import GameFamily, check_size
from nlhf.io.inputs import InputFile
from nlhf.judges.base import TextJudge
from nlhf.language.reading import transcript
from nlhf.models import prompt_files
from nlhf.models.content import InputDataset
from nlhf.models.prompts import Prompt, bundled_prompts

if TYPE_CHECKING:
    from torch import Tensor

    from nlhf.language.model import LanguageModel
    from nlhf.language.reading import Turn
    from nlhf.language.script import Script


@dataclass(frozen=True)
class Text(GameFamily):
    """Prompts and a judge.

    Args:
        judge: compares completions.
        path: a file with a column `prompt`, or `chosen` and `rejected`, or `messages`: jsonl, JSON, CSV or parquet.
        dataset: of Hugging Face with such columns: a folder of `save_to_disk`, or a folder or a name on the hub for the
            package datasets. With neither path nor dataset, the prompts are the bundled ones.
        split: of the dataset.
        test_prompts: number of prompts at the end that are not trained on.
        completions: number of completions of each test prompt when a policy is measured.
        long_prompts: refuse prompts that leave the model no room for a completion, or skip them with a warning.
    """

    judge: TextJudge
    path: InputFile | None
    dataset: InputDataset | None
    split: str
    test_prompts: int
    completions: int
    long_prompts: Literal["refuse", "skip"] = "refuse"  # missing in configs of older runs

    random: ClassVar[bool] = False
    provides = frozenset({"one-turn", "pairs", "prompts"})
    needs: ClassVar[frozenset[str]] = frozenset({"reverse-kl", "text"})

    def __post_init__(self) -> None:
        if self.path is not None and self.dataset is not None:
            raise ConfigError(f"game.path={self.path} and game.dataset={self.dataset} both name prompts: give one.")
        check_size(smallest=1, test_prompts=self.test_prompts, completions=self.completions)
        if len(self.prompts) <= self.test_prompts:
            raise ConfigError(
                f"game.test_prompts={self.test_prompts} leaves none of the {len(self.prompts)} prompts for training: "
                "give a smaller number."
            )

    @property
    def script(self) -> Script | None:
        """What the user says between two answers; None in a game of one answer."""
        return None

    @property
    def prompts(self) -> list[Prompt]:
        """All prompts, the test prompts last."""
        return [prompt for _, prompt in self._numbered]

    @property
    def numbers(self) -> list[int]:
        """The line or row of each prompt in its file or dataset, from 1."""
        return [number for number, _ in self._numbered]

    @property
    def source(self) -> str:
        """The name of what `numbers` counts, for messages: `game.path=FILE: line`."""
        if self.dataset is not None:
            return f"game.dataset={self.dataset}: row"
        return "prompt" if self.path is None else f"{self.path.name}: line"

    @cached_property
    def _numbered(self) -> list[tuple[int, Prompt]]:
        if self.path is not None:
            return prompt_files.numbered(self.path)
        dataset = self.dataset
        prompts = bundled_prompts() if dataset is None else prompt_files.of_dataset(dataset, self.split)
        return list(enumerate(prompts, start=1))


class TextGame:
    """A judge's preferences between completions of some prompts.

    Args:
        judge: compares texts.
        model: holds the completions by number.
        turns: the prompts.
    """

    def __init__(self, judge: TextJudge, model: LanguageModel, turns: tuple[Turn, ...]) -> None:
        self.judge, self.model, self.turns = judge, model, turns

    @property
    def contexts(self) -> tuple[str, ...]:
        """The texts of the prompts."""
        return tuple(turn.text for turn in self.turns)

    def text(self, context: int, number: int) -> str:
        """A completion or dialogue as the judge reads it."""
        return transcript(self.model, self.turns[context], self.model.answers(number))

    def compare(self, contexts: Tensor, first: Tensor, second: Tensor) -> Tensor:
        """P(first > second | prompt) - 1/2 for contexts (1, B) and completions (1, B, k), float64 (1, B, k)."""
        import torch

        pairs = [
            (self.turns[context].text, self.text(context, one), self.text(context, two))
            for context, *rows in zip(contexts[0].tolist(), first[0].tolist(), second[0].tolist(), strict=True)
            for one, two in zip(*rows, strict=True)
        ]
        chances = self.judge.preference(pairs)
        valid = (chances >= 0) & (chances <= 1)
        if not valid.all():
            raise ConfigError(
                f"the judge returns {chances[~valid][0]}, which is not a probability: choose another judge."
            )
        return torch.from_numpy(chances - 0.5).to(first.device).view(first.shape)
