"""Votes on texts without names of items: chosen and rejected texts, scored responses, ranked replies."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from nlhf.config import ConfigError
from nlhf.io.frames import Frame, cell_text
from nlhf.io.tables import number
from nlhf.votes.formats.base import TextVote, TextVotes, first_of
from nlhf.votes.formats.conversations import NO_PROMPT, NO_REPLY, Talk, compared, messages, structured, text_or_messages
from nlhf.votes.formats.winners import preferences

ASSISTANT = "\n\nAssistant:"  # before a reply, in transcripts
SCORES = (
    ("score_chosen", "score_rejected"),
    ("chosen_score", "rejected_score"),
    ("chosen_rating", "rejected_rating"),
    ("chosen-rating", "rejected-rating"),
)


def chosen_rejected(frame: Frame) -> TextVotes:
    """The columns chosen and rejected, with or without a prompt; equal scores are a tie."""
    prompts = frame.values(first_of(frame.columns, "prompt|instruction")) if _has_prompt(frame) else [None] * len(frame)
    scores = next((names for names in SCORES if set(names) <= set(frame.columns)), None)
    ties = (
        [a != "" and a == b for a, b in zip(*(frame.labels(name).cells for name in scores), strict=True)]
        if scores
        else [False] * len(frame)
    )
    texts = (map(text_or_messages, frame.values(name)) for name in ("chosen", "rejected"))
    for row, (prompt, chosen, rejected) in enumerate(zip(map(text_or_messages, prompts), *texts, strict=True)):
        yield row, _chosen(prompt, chosen, rejected, [0.0, 0.0, 1.0] if ties[row] else [1.0, 0.0, 0.0])


def _has_prompt(frame: Frame) -> bool:
    return "prompt" in frame.columns or "instruction" in frame.columns


def _chosen(prompt: Any, chosen: Any, rejected: Any, votes: list[float]) -> TextVote | str:
    if isinstance(chosen, str) and isinstance(rejected, str):
        if isinstance(prompt, list):
            prompt = messages(prompt)
            return TextVote(prompt, chosen, rejected, votes) if isinstance(prompt, list) else prompt
        return TextVote(prompt, chosen, rejected, votes) if prompt else _transcripts(chosen, rejected, votes)
    first, second = messages(chosen), messages(rejected)
    if isinstance(first, str) or isinstance(second, str):
        return first if isinstance(first, str) else str(second)
    before = messages(prompt) if isinstance(prompt, list) else [{"role": "user", "content": prompt}] if prompt else []
    if isinstance(before, str):
        return before
    return compared(_after(before, first), _after(before, second), votes)


def _after(prompt: Talk, reply: Talk) -> Talk:
    """A whole conversation; the reply may hold its prompt."""
    complete = bool(reply) and reply[0]["role"] != "assistant"
    return reply if complete else prompt + reply


def _transcripts(chosen: str, rejected: str, votes: list[float]) -> TextVote | str:
    """The vote on two transcripts that start alike."""
    pairs = enumerate(zip(chosen, rejected, strict=False))
    common = chosen[: next((k for k, (a, b) in pairs if a != b), min(len(chosen), len(rejected)))]
    end = common.rfind(ASSISTANT) + len(ASSISTANT) if ASSISTANT in common else common.rfind(" ") + 1
    if not common[:end].strip():
        return NO_PROMPT
    first, second = (text[end:].removeprefix(" ") for text in (chosen, rejected))
    return TextVote(common[:end], first, second, votes) if first and second else NO_REPLY


def scored(frame: Frame) -> TextVotes:
    """The columns response1 and response2; every individual preference is a vote, from -3 (the first) to 3."""
    individual = "individual_preference" in frame.columns
    scores = frame.values("individual_preference" if individual else "overall_preference")
    columns = (frame.values(name) for name in (first_of(frame.columns, "context|prompt"), "response1", "response2"))
    for row, (prompt, a, b, cell) in enumerate(zip(*columns, scores, strict=True)):
        entries = structured(cell)
        votes = [0.0, 0.0, 0.0]
        for entry in entries if isinstance(entries, list) else [entries]:
            score = number(cell_text(entry.get("score") if isinstance(entry, Mapping) else entry))
            if score is None:
                continue
            if not -3 <= score <= 3:
                raise ConfigError(f"{frame.row(row)} has a preference of {score:g}: give numbers from -3 to 3.")
            votes[2 if score == 0 else int(score > 0)] += 1
        content = text_or_messages(prompt)
        talk = messages(content) if isinstance(content, list) else content
        if not any(votes):
            yield row, "have no preference"
        elif isinstance(talk, str) and isinstance(content, list):
            yield row, talk
        else:
            yield row, TextVote(talk, a, b, votes) if talk else NO_PROMPT


def counted(frame: Frame) -> TextVotes:
    """The columns prompt, a, b and `votes`, which is [for a, for b, ties]."""
    sources = frame.labels("source").cells if "source" in frame.columns else [None] * len(frame)
    columns = zip(*(frame.values(name) for name in ("prompt", "a", "b", "votes")), sources, strict=True)
    for row, (prompt, first, second, votes, source) in enumerate(columns):
        yield row, TextVote(text_or_messages(prompt), first, second, structured(votes), source)


def annotated(frame: Frame) -> TextVotes:
    """The columns instruction, output_1 and output_2 with a preference between 1 and 2."""
    names = ("instruction", "output_1", "output_2")
    voters = frame.labels("annotator").cells if "annotator" in frame.columns else [None] * len(frame)
    columns = zip(*map(frame.values, names), preferences(frame).tolist(), voters, strict=True)
    for row, (prompt, first, second, value, voter) in enumerate(columns):
        votes = [0.0, 0.0, 1.0] if value == 1.5 else [2 - value, value - 1, 0.0]
        yield row, TextVote(prompt, first, second, votes, voter) if value == value else "have no preference"


def ranked(frame: Frame) -> TextVotes:
    """Messages with parents: of two ranked replies to one message, that with the lower rank wins."""
    names = ("message_id", "parent_id", "rank", "role")
    ids, parents, ranks, roles = (frame.labels(name).cells for name in names)
    texts = frame.values("text")
    row_of = {name: row for row, name in enumerate(ids)}
    siblings: dict[str, list[int]] = defaultdict(list)
    for row, parent in enumerate(parents):
        rank = number(ranks[row])
        if roles[row] != "assistant":
            yield row, "are not written by the assistant"
        elif rank is None:
            if ranks[row]:
                raise ConfigError(f"{frame.row(row)} has rank={ranks[row]!r}, no number: correct it.")
            yield row, "have no rank"
        elif parent not in row_of:
            yield row, "reply to a message that the file lacks"
        else:
            siblings[parent].append(row)
    for parent, rows in siblings.items():
        if len(rows) == 1:
            yield rows[0], "have no ranked sibling"
            continue
        prompt = _thread(row_of[parent], parents, roles, texts, row_of)
        for first, second in combinations(sorted(rows, key=lambda row: float(ranks[row])), 2):
            tie = float(ranks[first]) == float(ranks[second])
            yield first, TextVote(prompt, texts[first], texts[second], [0.0, 0.0, 1.0] if tie else [1.0, 0.0, 0.0])


def _thread(
    row: int, parents: Sequence[str], roles: Sequence[str], texts: Sequence[Any], row_of: Mapping[str, int]
) -> Any:
    """The messages up to a row, from the start of its thread; a single one as its text."""
    talk: Talk = []
    visited = set()
    while row not in visited:
        visited.add(row)
        role = "assistant" if roles[row] == "assistant" else "user"
        talk.insert(0, {"role": role, "content": str(texts[row])})
        row = row_of.get(parents[row], row)
    return talk[0]["content"] if len(talk) == 1 else talk
