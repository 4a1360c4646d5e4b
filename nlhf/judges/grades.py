"""How good a judge is on votes that it has not seen, beside the baselines that matter.

Pairs of a prompt are not independent, so every interval counts prompts as clusters (see `nlhf.stats.clusters`).
Differences are paired: they are computed for each pair of completions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from nlhf.judges.baselines import against_others, agreement, another_voter, longer
from nlhf.stats.calibration import calibration_error
from nlhf.stats.clusters import grouped_mean

if TYPE_CHECKING:
    from nlhf.judges.text_votes import TextVotes

EDGE = 1e-6
LONGER, COIN, VOTER = "longer wins", "coin", "another voter"


def table(chances: Mapping[str, np.ndarray], votes: TextVotes) -> list[dict[str, Any]]:
    """The grades of judges and baselines: a row for every source and one for all.

    Args:
        chances: P(first > second) (n) by the name of the judge.
    """
    methods = {**chances, LONGER: longer(votes), COIN: np.full(len(votes), 0.5)}
    sources = np.unique(votes.sources).tolist()
    rows = []
    for source in [*(sources if len(sources) > 1 else ()), "all"]:
        chosen = np.ones(len(votes), bool) if source == "all" else votes.sources == source
        part = {name: chance[chosen] for name, chance in methods.items()}
        rows.append({"source": source, **_grades(part, votes.at(chosen), list(chances))})
    return rows


def _grades(chances: Mapping[str, np.ndarray], votes: TextVotes, judges: list[str]) -> dict[str, Any]:
    """The grades of all methods, and those of the judges only, on the votes of one source."""
    groups = votes.groups

    def estimated(
        values: np.ndarray, weight: np.ndarray, bounds: tuple[float, float] | None = (0.0, 1.0)
    ) -> dict[str, Any]:
        return asdict(grouped_mean(values, weight, groups, bounds))

    left_out = majorities_leave_one_out(votes)
    correct = {name: right(chance, votes, left_out) for name, chance in chances.items() if name != COIN}
    decided = correct[LONGER][1]
    accuracy = {name: estimated(*values) for name, values in correct.items()}
    return {
        "prompts": len(np.unique(groups)),
        "leave_one_out": left_out,
        "pairs": len(votes),
        "votes": float(votes.number.sum()),
        "accuracy": {**accuracy, VOTER: estimated(*another_voter(votes))},
        "over_longer": {
            name: estimated(correct[name][0] - correct[LONGER][0], decided, (-1.0, 1.0)) for name in judges
        },
        "log_loss": {name: estimated(log_loss(chance, votes), votes.number, None) for name, chance in chances.items()},
        "two_voters_agree": estimated(*agreement(votes)),
        "calibration_error": {
            name: asdict(calibration_error(chances[name], votes.share, votes.number, groups)) for name in judges
        },
    }


def majorities_leave_one_out(votes: TextVotes) -> bool:
    """True if judges are measured against majorities of all voters but one: at least half of the pairs allow it."""
    return bool(2 * (another_voter(votes)[1] > 0).sum() >= len(votes))


def right(chance: np.ndarray, votes: TextVotes, left_out: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """How often a probability (n) agrees with the majority, 1/2 where it is 1/2, and the number of cases (n).

    Args:
        left_out: the majorities leave out one voter each; otherwise the majority of all votes is one case.
    """
    if left_out:
        return against_others(chance, votes)
    agreement = np.sign(chance - 0.5) * np.sign(votes.share - 0.5)
    return np.asarray(0.5 + 0.5 * agreement), (votes.share != 0.5).astype(float)


def log_loss(chance: np.ndarray, votes: TextVotes) -> np.ndarray:
    """The log-loss in nats, averaged over the votes of each pair, (n)."""
    safe = np.clip(chance, EDGE, 1 - EDGE)
    return np.asarray(-votes.share * np.log(safe) - (1 - votes.share) * np.log1p(-safe))
