"""A game's prompts for training and testing as the model reads them, with checks for long prompts and copies."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from nlhf.config import ConfigError
from nlhf.language.script import Script
from nlhf.models.tokens import OverlongPromptError

if TYPE_CHECKING:
    from nlhf.language.game import Text
    from nlhf.language.model import LanguageModel
    from nlhf.language.reading import Turn
    from nlhf.models.prompt_list import PromptList

SHOWN = 10  # at most so many line numbers in a message
log = logging.getLogger("nlhf")


def split_turns(game: Text, model: LanguageModel, refine: str | None = None) -> tuple[dict[int, Turn], dict[int, Turn]]:
    """The training prompts and the test prompts as the model reads them, by their lines or rows.

    Args:
        refine: the sentence after which the model improves an answer; each prompt has to leave room for both answers.

    Raises: ConfigError for a prompt that the model cannot read, with its line or row.
    """
    problems: list[OverlongPromptError] = []
    script = game.script if refine is None else Script(2, refine, None, 1)
    read = {prompts.source: _read(game, model, prompts, script, problems) for prompts in game.sources}
    _report_copies(game)
    training, test = (
        {number: turn for number in prompts.numbers if (turn := read[prompts.source].get(number)) is not None}
        for prompts in (game.training, game.test)
    )
    if not training or not test:
        use = "testing" if training else "training"
        raise ConfigError(
            f"game.long_prompts=skip leaves no prompt for {use}: give shorter prompts{_smaller(problems)}."
        )
    return training, test


def _read(
    game: Text,
    model: LanguageModel,
    prompts: PromptList,
    script: Script | None,
    overlong: list[OverlongPromptError],
) -> dict[int, Turn]:
    """The prompts of a file by their numbers, with room for the script's answers.

    The problems of those that are left out are added to `overlong`.
    """
    turns: dict[int, Turn] = {}
    problems: dict[int, OverlongPromptError] = {}
    for number, prompt in prompts.entries:
        try:
            turns[number] = replace(model.turn(prompt, script), script=game.script)
        except OverlongPromptError as problem:
            problems[number] = problem
        except ConfigError as problem:
            raise ConfigError(f"{prompts.source} {number}: {problem}") from problem
    if problems:
        _report(game, prompts, problems)
    overlong += problems.values()
    return turns


def _report(game: Text, prompts: PromptList, problems: dict[int, OverlongPromptError]) -> None:
    """Report prompts that are too long: a warning if game.long_prompts=skip.

    Raises: ConfigError if game.long_prompts=refuse.
    """
    if game.long_prompts == "skip":
        log.warning(
            "%s %s: %d of %d prompts are left out, too long for the model",
            *(prompts.source, _listed(list(problems)), len(problems), len(prompts)),
        )
        return
    (number, problem), *further = problems.items()
    summary = f"; {len(further)} more are too long ({_listed([number for number, _ in further])})" if further else ""
    raise ConfigError(
        f"{prompts.source} {number}: {problem.fact}{summary}: remove {'them' if further else 'it'}, or set "
        f"game.long_prompts=skip{_smaller(problems.values())}."
    )


def _smaller(problems: Iterable[OverlongPromptError]) -> str:
    """The remedy of shorter completions, if every prompt leaves room for some."""
    room = min(problem.room for problem in problems)
    return f", or give policy.max_new_tokens={room} or less" if room > 0 else ""


def _report_copies(game: Text) -> None:
    """Warn of test prompts that are also training prompts, or say how many copies are left out."""
    if game.duplicates == "drop":
        count = sum(map(len, game.sources))
        if copies := count - len(game.training) - len(game.test):
            log.warning("game.duplicates=drop: %d of %d prompts are left out as copies", copies, count)
        return
    if numbers := game.test.copies_of(game.training.prompts):
        log.warning(
            "%s %s: %d of %d test prompts are also training prompts, so the test is not on new prompts: "
            "set game.duplicates=drop",
            *(game.test.source, _listed(numbers), len(numbers), len(game.test)),
        )


def _listed(numbers: Sequence[int]) -> str:
    """The first few numbers."""
    return ", ".join(map(str, numbers[:SHOWN])) + (", ..." if len(numbers) > SHOWN else "")
