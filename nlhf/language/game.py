"""The game of texts: contexts are prompts, actions are completions, and a judge compares completions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Literal

from nlhf.config import ConfigError
from nlhf.games.base import GameFamily, check_size
from nlhf.io.containers import frame
from nlhf.io.inputs import InputFile
from nlhf.judges.base import TextJudge
from nlhf.language.reading import transcript
from nlhf.models import prompt_files
from nlhf.models.content import InputDataset
from nlhf.models.prompt_list import PromptList
from nlhf.models.prompts import bundled_prompts
from nlhf.models.recorded_pairs import RecordedPair, read_pairs

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
        test_prompts: number of prompts at the end that are not trained on; of `test_path` if it is given.
        completions: number of completions of each test prompt when a policy is measured.
        long_prompts: refuse prompts that leave the model no room for a completion, or skip them with a warning.
        test_path: a file of test prompts; null takes them from the end of the prompts.
        duplicates: keep copies of prompts, or drop them: training prompts that equal a test prompt or an earlier one,
            and test prompts that equal an earlier one.
        bundled_prompts: number of bundled prompts, at most 800; more of them add prompts to train on.
    """

    judge: TextJudge
    path: InputFile | None
    dataset: InputDataset | None
    split: str
    test_prompts: int
    completions: int
    # The following are missing in configs of older runs
    long_prompts: Literal["refuse", "skip"] = "refuse"
    test_path: InputFile | None = None
    duplicates: Literal["keep", "drop"] = "keep"
    bundled_prompts: int = 300

    random: ClassVar[bool] = False
    provides = frozenset({"one-turn", "pair-file", "pairs", "prompts"})
    needs: ClassVar[frozenset[str]] = frozenset({"reverse-kl", "text"})

    def __post_init__(self) -> None:
        if self.path is not None and self.dataset is not None:
            raise ConfigError(f"game.path={self.path} and game.dataset={self.dataset} both name prompts: give one.")
        check_size(smallest=1, test_prompts=self.test_prompts, completions=self.completions)
        if not 1 <= self.bundled_prompts <= len(bundled_prompts()):
            raise ConfigError(
                f"game.bundled_prompts={self.bundled_prompts} is out of range: give 1 to {len(bundled_prompts())}."
            )
        if self.test_path is None and len(self._listed) <= self.test_prompts:
            raise ConfigError(
                f"game.test_prompts={self.test_prompts} leaves none of the {len(self._listed)} prompts for training: "
                "give a smaller number."
            )
        if len(self.test) < self.test_prompts and self.duplicates == "keep":
            raise ConfigError(
                f"game.test_prompts={self.test_prompts} is more than the {len(self.test)} prompts of "
                f"game.test_path={self.test_path}: give a smaller number."
            )
        if not self.training:
            raise ConfigError(
                "game.duplicates=drop leaves no prompt for training, as all are test prompts: give other prompts, or "
                "game.duplicates=keep."
            )

    @property
    def script(self) -> Script | None:
        """What the user says between two answers; None in a game of one answer."""
        return None

    @cached_property
    def training(self) -> PromptList:
        """The training prompts."""
        prompts = self._split[0]
        return prompts if self.duplicates == "keep" else prompts.without_copies(self._split[1].prompts)

    @cached_property
    def test(self) -> PromptList:
        """The test prompts, which nobody is trained on."""
        return self._split[1] if self.duplicates == "keep" else self._split[1].without_copies()

    @property
    def pairs(self) -> dict[int, RecordedPair]:
        """The chosen and rejected completions of the prompts by line or row.

        Raises: ConfigError for prompts without them.
        """
        if self.path is None and self.dataset is None:
            raise ConfigError(
                "prox.recorded=file needs a file of pairs: give game.path=FILE or game.dataset=FOLDER with chosen and "
                "rejected, or prox.recorded=NUMBER."
            )
        if self.path is not None:
            return read_pairs(frame(self.path))
        assert self.dataset is not None
        return read_pairs(prompt_files.dataset_frame(self.dataset, self.split))

    @property
    def sources(self) -> tuple[PromptList, ...]:
        """All prompts by the file that they are from, copies included."""
        return (self._listed,) if self.test_path is None else self._split

    @cached_property
    def _split(self) -> tuple[PromptList, PromptList]:
        if self.test_path is None:
            return self._listed.split(self.test_prompts)
        return self._listed, _of_file(self.test_path).split(self.test_prompts)[1]

    @cached_property
    def _listed(self) -> PromptList:
        if self.path is not None:
            return _of_file(self.path)
        if self.dataset is not None:
            rows = enumerate(prompt_files.of_dataset(self.dataset, self.split), start=1)
            return PromptList(f"game.dataset={self.dataset}: row", tuple(rows))
        return PromptList("prompt", tuple(enumerate(bundled_prompts(self.bundled_prompts), start=1)))


def _of_file(file: InputFile) -> PromptList:
    return PromptList(f"{file.name}: line", tuple(prompt_files.numbered(file)))


class TextGame:
    """A judge's preferences between completions of some prompts.

    Args:
        judge: compares texts.
        model: holds the completions by number.
        turns: the prompts.
        recorded: pairs that were compared before, see `nlhf.games.protocol.RecordedGame`.
    """

    def __init__(
        self, judge: TextJudge, model: LanguageModel, turns: tuple[Turn, ...], recorded: tuple[Tensor, ...] = ()
    ) -> None:
        self.judge, self.model, self.turns, self.recorded = judge, model, turns, recorded

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
        return torch.from_numpy(self.judge.verdicts(pairs) - 0.5).to(first.device).view(first.shape)
