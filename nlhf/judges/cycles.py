"""Counts of the cycles in a judge's preferences."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nlhf.judges.base import TextJudge
    from nlhf.judges.text_votes import TextVotes


def cycles(judge: TextJudge, votes: TextVotes, limit: int = 8) -> dict[str, int]:
    """Count how often a judge prefers in cycles among the first `limit` completions of every prompt.

    Returns: `triples` of completions and the cyclic ones among them; `prompts` with three completions or more, and
    those of them without a completion that is preferred to all others.
    """
    groups = [answers[:limit] for answers in _answers_by_prompt(votes) if len(answers) > 2]
    pairs = [pair for answers in groups for pair in combinations(answers, 2)]
    triples = [triple for answers in groups for triple in combinations(answers, 3)]
    beats: dict[tuple[int, int], bool] = {}
    if pairs:
        chances = judge.verdicts([(*votes.answers[first], votes.answers[second][1]) for first, second in pairs])
        for (first, second), chance in zip(pairs, chances, strict=True):
            beats[first, second], beats[second, first] = chance > 0.5, chance < 0.5
    cyclic = [
        (a, b, c)
        for a, b, c in triples
        if (beats[a, b] and beats[b, c] and beats[c, a]) or (beats[b, a] and beats[c, b] and beats[a, c])
    ]
    without_winner = [
        answers
        for answers in groups
        if not any(all(beats[one, rival] for rival in answers if rival != one) for one in answers)
    ]
    return {
        "triples": len(triples),
        "cyclic_triples": len(cyclic),
        "prompts": len(groups),
        "prompts_without_winner": len(without_winner),
    }


def _answers_by_prompt(votes: TextVotes) -> list[list[int]]:
    """The numbers of the answers to every prompt, in the order of the votes."""
    groups: dict[int, list[int]] = {}
    for prompt, pair in zip(votes.prompts.tolist(), votes.pairs.tolist(), strict=True):
        answers = groups.setdefault(prompt, [])
        answers.extend(answer for answer in pair if answer not in answers)
    return list(groups.values())
