"""The game of dialogues: the policy answers, a scripted user replies, the policy answers again, and so on.

A judge compares complete dialogues. The user's sentence follows from the answer by a fixed rule, so nothing is left to
chance, and any distribution over dialogues is a policy: this is the game of texts over the leaves of a deterministic
tree (docs/mathematics.md, "Several turns"). log pi(dialogue | x) is the sum over the policy's answers; the user's
sentences are read, not scored.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

from nlhf.config import ConfigError
from nlhf.games.base import check_size
from nlhf.language.game import Text
from nlhf.language.script import Script


@dataclass(frozen=True)
class Dialogue(Text):
    """Prompts, a scripted user, and a judge of complete dialogues.

    Args:
        turns: the number of the policy's answers, >= 1.
        reply: the user's sentence after an answer.
        short_reply: the user's sentence after an answer of fewer than `words` words; null always says `reply`.
        words: see `short_reply`.
    """

    provides = Text.provides - {"pair-file"}

    turns: int = field(kw_only=True)
    reply: str = field(kw_only=True)
    short_reply: str | None = field(kw_only=True)
    words: int = field(kw_only=True)

    needs: ClassVar[frozenset[str]] = Text.needs | {"nash"}

    def __post_init__(self) -> None:
        super().__post_init__()
        check_size(smallest=1, turns=self.turns, words=self.words)
        if not all(sentence.strip() for sentence in self.script.sentences):
            raise ConfigError("game.reply or game.short_reply is empty: give a sentence, or short_reply=null.")

    @cached_property
    def script(self) -> Script:
        return Script(self.turns, self.reply, self.short_reply, self.words)
