"""Which contestants meet on the next prompts.

Decisions about a block of prompts use the verdicts on earlier prompts alone, also when a command is repeated with more
contestants. So the verdicts of a pair on a new prompt have the same mean whatever was decided, as the bounds at any
time need (`nlhf.leaderboard.units`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

import numpy as np

from nlhf.arena.rules import is_precise
from nlhf.asking.certified import CERTIFIED
from nlhf.leaderboard.proof import DELTA
from nlhf.leaderboard.units import Units, units_of_shares
from nlhf.stats.certified import VoteBounds

Pair = tuple[str, str]
Won = Mapping[Pair, Mapping[int, Sequence[float]]]  # what the first of a pair won, by prompt
RULE = replace(CERTIFIED, delta=DELTA, clustered=True)
Next = Literal["level", "certified"]


@dataclass(frozen=True)
class Meetings:
    """How pairs are chosen.

    Args:
        next: `level` lets all pairs play on every prompt. `certified` spends as many games as there are contestants
            less one, times the prompts, on the pairs on which the certificate of the best policy depends most.
        precision: half the width of a pair's 95% interval at which the pair stops, or None.
        target: the certified exploitability of the best policy at which all pairs stop, or None.
    """

    next: Next = "level"
    precision: float | None = None
    target: float | None = None

    @property
    def foreseen(self) -> bool:
        """True if no verdict changes who meets: all pairs play on every prompt."""
        return self.next == "level" and self.precision is None and self.target is None

    def numbers(self, names: Sequence[str], won: Won, prompts: range, seed: int) -> dict[Pair, int]:
        """On how many of the prompts each pair plays, by the verdicts on prompts before them."""
        earlier = {
            pair: {prompt: wins for prompt, wins in by_prompt.items() if prompt < prompts.start}
            for pair, by_prompt in won.items()
        }
        pairs = [pair for pair in combinations(names, 2) if not is_precise(earlier.get(pair, {}), self.precision)]
        if self.next == "level" and self.target is None:
            return dict.fromkeys(pairs, len(prompts))
        wins, votes = units_of_prompts(names, earlier).table(len(names))
        if self.target is not None and VoteBounds.anytime(wins, votes, DELTA, separate=True).best()[1] <= self.target:
            return {}
        if self.next == "level":
            return dict.fromkeys(pairs, len(prompts))
        rng = np.random.default_rng([seed, prompts.start])
        chosen = RULE.numbers(wins, votes, len(prompts) * (len(names) - 1), rng)
        index = {name: number for number, name in enumerate(names)}
        return {(a, b): min(int(chosen[index[a], index[b]]), len(prompts)) for a, b in pairs}


def units_of_prompts(names: Sequence[str], won: Won) -> Units:
    """Prompts as clusters: the mean share that a pair won over the completions of a prompt is one observation."""
    index = {name: number for number, name in enumerate(names)}
    return units_of_shares(
        ("prompt",),
        {
            (prompt, index[a], index[b]): float(np.mean(wins))
            for (a, b), by_prompt in won.items()
            if index[a] < index[b]
            for prompt, wins in by_prompt.items()
        },
    )
