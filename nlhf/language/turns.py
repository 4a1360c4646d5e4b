"""The prompts of a game as the model reads them: those that are too long, and those for testing that are trained on."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from nlhf.config import ConfigError
from nlhf.language.model import OverlongPromptError
from nlhf.models.prompts import Prompt, messages

if TYPE_CHECKING:
    from nlhf.language.game import Text
    from nlhf.language.model import LanguageModel, Turn

SHOWN = 10  # numbers of lines in a message
log = logging.getLogger("nlhf")


def split_turns(game: Text, model: LanguageModel) -> tuple[tuple[Turn, ...], tuple[Turn, ...]]:
    """The prompts that are trained on, and those for testing.

    Raises: ConfigError for a prompt that the model cannot read, with its line or row.
    """
    turns: list[Turn | None] = []
    problems: dict[int, OverlongPromptError] = {}
    for number, prompt in zip(game.numbers, game.prompts, strict=True):
        try:
            turns.append(model.turn(prompt))
        except OverlongPromptError as problem:
            problems[number] = problem
            turns.append(None)
        except ConfigError as problem:
            raise ConfigError(f"{game.source} {number}: {problem}") from problem
    if problems:
        _report(game, problems)
    _warn_of_copies(game)
    trained, tested = turns[: -game.test_prompts], turns[-game.test_prompts :]
    parts = tuple(tuple(turn for turn in part if turn is not None) for part in (trained, tested))
    if not all(parts):
        kind = "training" if not parts[0] else "testing"
        raise ConfigError(
            f"game.long_prompts=skip leaves no prompt for {kind}: give shorter prompts{_smaller(problems.values())}."
        )
    return parts[0], parts[1]


def _report(game: Text, problems: dict[int, OverlongPromptError]) -> None:
    """Warn of prompts that are left out because they are too long.

    Raises: ConfigError where game.long_prompts=refuse.
    """
    if game.long_prompts == "skip":
        log.warning("%s %s: %d of %d prompts are left out, too long for the model", game.source,
                    _listed(list(problems)), len(problems), len(game.prompts))  # fmt: skip
        return
    (number, problem), *others = problems.items()
    more = f"; {len(others)} more are too long ({_listed([number for number, _ in others])})" if others else ""
    raise ConfigError(
        f"{game.source} {number}: {problem.fact}{more}: remove {'them' if others else 'it'}, or set "
        f"game.long_prompts=skip{_smaller(problems.values())}."
    )


def _smaller(problems: Iterable[OverlongPromptError]) -> str:
    """The remedy of shorter completions, where all prompts leave room for some."""
    room = min(problem.room for problem in problems)
    return f", or give policy.max_new_tokens={room} or less" if room > 0 else ""


def _warn_of_copies(game: Text) -> None:
    """Warn of prompts for testing that are among those for training."""
    trained = set(map(_content, game.prompts[: -game.test_prompts]))
    tested = list(zip(game.numbers, game.prompts, strict=True))[-game.test_prompts :]
    copies = [number for number, prompt in tested if _content(prompt) in trained]
    if copies:
        log.warning("%s %s: %d of %d test prompts are also training prompts, so the test is not on new prompts: "
                    "remove the copies", game.source, _listed(copies), len(copies), game.test_prompts)  # fmt: skip


def _content(prompt: Prompt) -> str:
    """What two prompts have in common if a model reads them alike."""
    return json.dumps([(message["role"], message["content"].strip()) for message in messages(prompt)])


def _listed(numbers: Sequence[int]) -> str:
    """The first few numbers."""
    rest = ", ..." if len(numbers) > SHOWN else ""
    return ", ".join(map(str, numbers[:SHOWN])) + rest
