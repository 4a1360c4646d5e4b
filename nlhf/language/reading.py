"""Prompts and conversations as a model reads them.

A conversation goes on with the tokens that were drawn: the next prompt is the prompt before it, the tokens of the
answer, and the tokens of the chat template from the end of the answer on. No answer is tokenised again, so the model
reads exactly what it wrote, and the length of a conversation has a bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from nlhf.config import ConfigError
from nlhf.models.prompts import Message, Prompt, dialogue_text, messages, prompt_text
from nlhf.models.tokens import OverlongPromptError, rendered

if TYPE_CHECKING:
    from nlhf.language.model import LanguageModel
    from nlhf.language.script import Script

Tokens = tuple[int, ...]
Answers = tuple[Tokens, ...]  # of the policy in one conversation, in turn
ANSWER = "5f0c4b19e7d2a863"  # stands for an answer in a rendered chat


@dataclass(frozen=True)
class Turn:
    """What the model answers next.

    Args:
        tokens: of the conversation so far.
        text: the conversation so far as a judge reads it; `messages` returns its messages.
        script: what the user says after an answer; None ends the conversation after one answer.
    """

    tokens: Tokens
    text: str
    script: Script | None = None


def first_turn(model: LanguageModel, prompt: Prompt, script: Script | None = None) -> Turn:
    """A prompt as the model reads it, through the chat template if there is one.

    Raises: OverlongPromptError for a prompt that leaves no room for the answers, ConfigError for messages that the
    chat template refuses.
    """
    text = prompt_text(prompt)
    chat = _rendered(model, messages(prompt)) if model.tokenizer.chat_template else None
    turn = Turn(_tokens(model, text if chat is None else chat, special=chat is None), text, script)
    answers, length = (1, len(turn.tokens)) if script is None else (script.turns, _longest(model, turn, script))
    limit, answer = model.max_positions, model.options.max_new_tokens
    if limit is not None and length + answers * answer > limit:
        sentences, several = (" with the user's sentences", f"{answers} answers of ") if answers > 1 else ("", "")
        raise OverlongPromptError(
            f"the prompt '{text[:60]}'{sentences} has {length} tokens, and with {several}policy.max_new_tokens="
            f"{answer} more than the model's {limit}",
            (limit - length) // answers,
        )
    return turn


def continued(model: LanguageModel, turn: Turn, answer: Tokens, sentence: str) -> Turn:
    """The conversation after an answer of the model and a sentence of the user.

    Raises: ConfigError for a chat template that leaves out answers.
    """
    history = [*messages(turn.text), _message("assistant", model.decoded(answer)), _message("user", sentence)]
    body = answer[:-1] if model.ended(answer) else answer
    return replace(turn, tokens=turn.tokens + body + _behind(model, history), text=prompt_text(history))


def turns_of(model: LanguageModel, turn: Turn, answers: Answers) -> list[Turn]:
    """What the model reads before each of the answers."""
    turns = [turn]
    for answer in answers[:-1]:
        turns.append(following(model, turns[-1], answer))
    return turns


def following(model: LanguageModel, turn: Turn, answer: Tokens) -> Turn:
    """The turn after an answer, to which the script replies."""
    assert turn.script is not None
    return continued(model, turn, answer, turn.script.reply_to(model.decoded(answer)))


def transcript(model: LanguageModel, turn: Turn, answers: Answers) -> str:
    """What follows the prompt as a judge reads it: the answer, or the answers and the user's sentences in turn."""
    last = model.decoded(answers[-1])
    if len(answers) == 1:
        return last
    spoken = messages(turns_of(model, turn, answers)[-1].text)[len(messages(turn.text)) :]
    return dialogue_text([*spoken, _message("assistant", last)])


def _longest(model: LanguageModel, turn: Turn, script: Script) -> int:
    """The largest number of tokens that the model reads besides its own answers."""
    for _ in range(script.turns - 1):
        turn = max((continued(model, turn, (), sentence) for sentence in script.sentences), key=lambda t: len(t.tokens))
    return len(turn.tokens)


def _behind(model: LanguageModel, history: Sequence[Message]) -> Tokens:
    """The tokens that follow the last answer of a history, up to the start of the next answer."""
    if not model.tokenizer.chat_template:
        return _tokens(model, f"\n\n{history[-1]['content']}\n\n", special=False)
    chat = _rendered(model, [*history[:-2], _message("assistant", ANSWER), history[-1]])
    if ANSWER not in chat:
        raise ConfigError(
            f"policy.model={model.options.model} has a chat template that leaves out earlier answers: give a model "
            "whose template keeps them."
        )
    return _tokens(model, chat.rpartition(ANSWER)[2], special=False)


def _rendered(model: LanguageModel, history: Sequence[Message]) -> str:
    key = f"policy.model={model.options.model}"
    return rendered(model.tokenizer, history, key, add_generation_prompt=True)


def _tokens(model: LanguageModel, text: str, special: bool) -> Tokens:
    return tuple(model.tokenizer(text, add_special_tokens=special, verbose=False).input_ids)


def _message(role: str, content: str) -> Message:
    return {"role": role, "content": content}
