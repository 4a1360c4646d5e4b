"""The split of a game's prompts for training and testing, with checks for prompts that are too long or copies."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from nlhf.config import ConfigError
from nlhf.models.prompts import Prompt, messages
from nlhf.models.tokens import OverlongPromptError

if TYPE_CHECKING:
    from nlhf.language.game import Text
    from nlhf.language.model import LanguageModel
    from nlhf.language.reading import Turn

SHOWN = 10  # at most so many line numbers in a message
log = logging.getLogger("nlhf")


def split_turns(game: Text, model: LanguageModel) -> tuple[tuple[Turn, ...], tuple[Turn, ...]]:
    """The training prompts and the test prompts, as the model reads them.

    Raises: ConfigError for a prompt that the model cannot read, with its line or row.
    """
    turns: list[Turn | None] = []
    problems: dict[int, OverlongPromptError] = {}
    for number, prompt in zip(game.numbers, game.prompts, strict=True):
        try:
            turns.append(model.turn(prompt, game.script))
        except OverlongPromptError as problem:
            problems[number] = problem
            turns.append(None)
        except ConfigError as problem:
            raise ConfigError(f"{game.source} {number}: {problem}") from problem
    if problems:
        _report(game, problems)
    _warn_of_copies(game)
    training, test = (
        tuple(turn for turn in part if turn is not None)
        for part in (turns[: -game.test_prompts], turns[-game.test_prompts :])
    )
    if not training or not test:
        use = "testing" if training else "training"
        raise ConfigError(
            f"game.long_prompts=skip leaves no prompt for {use}: give shorter prompts{_smaller(problems.values())}."
        )
    return training, test


def _report(game: Text, problems: dict[int, OverlongPromptError]) -> None:
    """Report prompts that are too long: a warning if game.long_prompts=skip.

    Raises: ConfigError if game.long_prompts=refuse.
    """
    if game.long_prompts == "skip":
        log.warning(
            "%s %s: %d of %d prompts are left out, too long for the model",
            *(game.source, _listed(list(problems)), len(problems), len(game.prompts)),
        )
        return
    (number, problem), *further = problems.items()
    summary = f"; {len(further)} more are too long ({_listed([number for number, _ in further])})" if further else ""
    raise ConfigError(
        f"{game.source} {number}: {problem.fact}{summary}: remove {'them' if further else 'it'}, or set "
        f"game.long_prompts=skip{_smaller(problems.values())}."
    )


def _smaller(problems: Iterable[OverlongPromptError]) -> str:
    """The remedy of shorter completions, if every prompt leaves room for some."""
    room = min(problem.room for problem in problems)
    return f", or give policy.max_new_tokens={room} or less" if room > 0 else ""


def _warn_of_copies(game: Text) -> None:
    """Warn of test prompts that are also training prompts."""
    training = set(map(_content, game.prompts[: -game.test_prompts]))
    test = list(zip(game.numbers, game.prompts, strict=True))[-game.test_prompts :]
    copies = [number for number, prompt in test if _content(prompt) in training]
    if copies:
        log.warning(
            "%s %s: %d of %d test prompts are also training prompts, so the test is not on new prompts: "
            "remove the copies",
            *(game.source, _listed(copies), len(copies), game.test_prompts),
        )


def _content(prompt: Prompt) -> str:
    """The messages of a prompt as text, equal for prompts that a model reads alike."""
    return json.dumps([(message["role"], message["content"].strip()) for message in messages(prompt)])


def _listed(numbers: Sequence[int]) -> str:
    """The first few numbers."""
    return ", ".join(map(str, numbers[:SHOWN])) + (", ..." if len(numbers) > SHOWN else "")
