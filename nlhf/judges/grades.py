"""How good a judge is on votes that it has not seen, beside the baselines that matter.

Pairs of a prompt are not independent, so every interval is a bootstrap over prompts, drawn with all their pairs.
Differences are paired: both sides on the same draws.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from nlhf.stats.bootstrap import grouped_mean
from nlhf.stats.calibration import calibration

if TYPE_CHECKING:
    from nlhf.judges.base import TextJudge
    from nlhf.judges.text_votes import TextVotes

EDGE = 1e-6
LONGER, COIN, VOTER = "longer wins", "coin", "another voter"


def right(chance: np.ndarray, votes: TextVotes) -> np.ndarray:
    """Does a probability (n) say what the majority of the votes says? 1, 0, or 1/2 where it says 1/2."""
    return np.asarray(0.5 + 0.5 * np.sign(chance - 0.5) * np.sign(votes.share - 0.5))


def log_loss(chance: np.ndarray, votes: TextVotes) -> np.ndarray:
    """The log-loss of a vote, mean over the votes of each pair, in nats, (n)."""
    safe = np.clip(chance, EDGE, 1 - EDGE)
    return np.asarray(-votes.share * np.log(safe) - (1 - votes.share) * np.log1p(-safe))


def agreement(votes: TextVotes) -> tuple[np.ndarray, np.ndarray]:
    """How often two different voters of a pair say the same (n), and the number of pairs of voters behind it (n)."""
    number = votes.number
    couples = number * (number - 1) / 2
    same = (votes.votes * (votes.votes - 1) / 2).sum(1)
    return np.divide(same, couples, out=np.zeros_like(same), where=couples > 0), np.maximum(couples, 0)


def another_voter(votes: TextVotes) -> tuple[np.ndarray, np.ndarray]:
    """How often one of the voters of a pair says what the majority of the others says, a tie being half right (n), and
    the number of voters behind it (n), those whose others have a majority: what a judge's accuracy is to be held
    against, though a majority without oneself is the less certain one."""
    first, second, ties = votes.votes.T
    right, cases = np.zeros(len(votes)), np.zeros(len(votes))
    for number, lead, said in (
        (first, first - 1 - second, 1),
        (second, first - second + 1, -1),
        (ties, first - second, 0),
    ):
        decided = number * (np.abs(lead) > 0) * (votes.number > 1)
        right += decided * (0.5 + 0.5 * said * np.sign(lead))
        cases += decided
    return np.divide(right, cases, out=np.zeros_like(right), where=cases > 0), cases


def longer(votes: TextVotes) -> np.ndarray:
    """P(first > second) of the baseline that the longer completion wins: the share of votes that it gets in each
    source, which it is told."""
    length = np.array([len(text) for _, text in votes.answers])
    sign = np.sign(length[votes.pairs[:, 0]] - length[votes.pairs[:, 1]])
    chance = np.full(len(votes), 0.5)
    for source in np.unique(votes.sources):
        here = (votes.sources == source) & (sign != 0)
        if here.any():
            gained = np.where(sign > 0, votes.share, 1 - votes.share)[here]
            chance[here] += sign[here] * max(EDGE, float(np.average(gained, weights=votes.number[here])) - 0.5)
    return chance


def table(chances: Mapping[str, np.ndarray], votes: TextVotes) -> list[dict[str, Any]]:
    """The grades on every source and on all: a row for each.

    Args:
        chances: P(first > second) (n) by the name of the judge.
    """
    told = {**chances, LONGER: longer(votes), COIN: np.full(len(votes), 0.5)}
    rows, names = [], [*np.unique(votes.sources).tolist(), "all"]
    for name in names[len(names) == 2 :]:  # one source is all
        chosen = np.ones(len(votes), bool) if name == "all" else votes.sources == name
        part = votes.at(chosen)
        prompts, here = part.prompts, {method: chance[chosen] for method, chance in told.items()}
        decided = (part.share != 0.5).astype(float)
        same, couples = agreement(part)
        good = {method: right(chance, part) for method, chance in here.items()}
        accuracy = {method: grouped_mean(good[method], decided, prompts) for method in here if method != COIN}
        rows.append({
            "source": name, "prompts": len(np.unique(prompts)), "pairs": len(part), "votes": float(part.number.sum()),
            "accuracy": {method: asdict(found) for method, found in
                         {**accuracy, VOTER: grouped_mean(*another_voter(part), prompts)}.items()},
            "over_longer": {method: asdict(grouped_mean(good[method] - good[LONGER], decided, prompts))
                            for method in chances},
            "log_loss": {method: asdict(grouped_mean(log_loss(chance, part), part.number, prompts))
                         for method, chance in here.items()},
            "two_voters_agree": asdict(grouped_mean(same, couples, prompts)),
            "calibration_error": {method: calibration(here[method], part.share, part.number)[0] for method in chances},
        })  # fmt: skip
    return rows


def cycles(judge: TextJudge, votes: TextVotes, most: int = 8) -> dict[str, int]:
    """How often a judge prefers in cycles: among the first `most` completions of every prompt, triples and those that
    are cycles; prompts with three completions or more and those where no completion is preferred to all others."""
    of_prompt: dict[int, list[int]] = {}
    for prompt, pair in zip(votes.prompts.tolist(), votes.pairs.tolist(), strict=True):
        known = of_prompt.setdefault(prompt, [])
        known.extend(answer for answer in pair if answer not in known)
    groups = [answers[:most] for answers in of_prompt.values() if len(answers) > 2]
    asked = [(first, second) for answers in groups for first, second in combinations(answers, 2)]
    if not asked:
        return {"triples": 0, "cyclic_triples": 0, "prompts": 0, "prompts_without_winner": 0}
    told = judge.preference([(*votes.answers[first], votes.answers[second][1]) for first, second in asked])
    beats = {pair: value > 0.5 for pair, value in zip(asked, told, strict=True)}
    beats |= {(second, first): value < 0.5 for (first, second), value in zip(asked, told, strict=True)}
    triples = [triple for answers in groups for triple in combinations(answers, 3)]
    turning = [
        (a, b, c)
        for a, b, c in triples
        if (beats[a, b] and beats[b, c] and beats[c, a]) or (beats[b, a] and beats[c, b] and beats[a, c])
    ]
    headless = [answers for answers in groups
                if not any(all(beats[one, other] for other in answers if other != one) for one in answers)]  # fmt: skip
    return {"triples": len(triples), "cyclic_triples": len(turning), "prompts": len(groups),
            "prompts_without_winner": len(headless)}  # fmt: skip
