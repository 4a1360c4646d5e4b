"""The scripted user of a dialogue: what is said between two answers of the policy."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Script:
    """A fixed sentence, or one of two by the length of the answer.

    Args:
        turns: the number of the policy's answers.
        reply: the user's sentence after an answer.
        short_reply: the sentence after an answer of fewer than `words` words; null always says `reply`.
        words: see `short_reply`.
    """

    turns: int
    reply: str
    short_reply: str | None
    words: int

    @property
    def sentences(self) -> tuple[str, ...]:
        """All sentences that the user may say."""
        return (self.reply,) if self.short_reply is None else (self.reply, self.short_reply)

    def reply_to(self, answer: str) -> str:
        """What the user says after an answer."""
        if self.short_reply is None or len(answer.split()) >= self.words:
            return self.reply
        return self.short_reply
