"""What a study shows about its judge: cycles, agreement in both orders of a pair, and between its voters.

Cycles are counted in the verdicts of the study's arena, where three policies or more answer the same prompts. Prompts
are the sample: the triples of one prompt depend on each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nlhf.config import is_number
from nlhf.io.json_files import read_json
from nlhf.judges.agreement import ORDERS, VOTERS
from nlhf.stats.bootstrap import Estimate
from nlhf.stats.clusters import grouped_mean

COLUMNS = ["prompt", "sample", "item_a", "item_b", "wins_a"]


def sentence(root: Path, runs: Sequence[Mapping[str, Any]]) -> str:
    """What the verdicts of a study's runs and of its arena show about the judge; empty if they show nothing."""
    card: Any = read_json(root / "arena" / "arena.json")
    accounts = [run["summary"].get("judge") for run in runs] + [(card or {}).get("account")]
    parts = []
    if (counted := cyclic_triples(root / "arena" / "votes.csv")) is not None:
        share, prompts = counted
        parts.append(
            f"The judge prefers in a cycle in {share} of {share.cases:,.0f} triples of answers to the same prompt, on "
            f"{prompts} prompts of the arena."
        )
    if (pairs := _summed(accounts, ORDERS))[0]:
        parts.append(f"It gives the same verdict in both orders on {pairs[1] / pairs[0]:.3f} of {pairs[0]:,.0f} pairs.")
    if (couples := _summed(accounts, VOTERS))[0]:
        agree = f"{couples[1] / couples[0]:.3f} of {couples[0]:,.0f} cases where both prefer one"
        parts.append(f"Two of its voters prefer the same answer in {agree}.")
    return _named(" ".join(parts))


def _named(text: str) -> str:
    """The text, which names the judge in its first sentence."""
    first, *_ = text.split(" ", 1)
    return {"It": text.replace("It", "The judge", 1), "Two": text.replace("its", "the judge's", 1)}.get(first, text)


def cyclic_triples(path: Path) -> tuple[Estimate, int] | None:
    """The share of cyclic triples in a file of verdicts, and the number of prompts; None without a triple.

    A triple is three contestants' completions of one prompt, with a verdict on each pair. It is cyclic if each of the
    three wins against the next with a probability above 1/2.
    """
    try:
        votes = pd.read_csv(path, usecols=COLUMNS)
    except (OSError, ValueError):
        return None
    games_of = votes.groupby(["prompt", "sample"])
    cases = [(prompt, cyclic) for (prompt, _), games in games_of for cyclic in _triples(games)]
    if not cases:
        return None
    prompts, cyclic = np.array(cases, float).T
    return grouped_mean(cyclic, np.ones(len(cases)), prompts), len(np.unique(prompts))


def _triples(games: pd.DataFrame) -> Iterator[bool]:
    """Whether each triple of contestants with a verdict on every pair is cyclic."""
    wins = {}
    for a, b, won in zip(games["item_a"], games["item_b"], games["wins_a"], strict=True):
        wins[a, b], wins[b, a] = won, 1 - won
    for a, b, c in combinations(sorted({name for pair in wins for name in pair}), 3):
        around = [wins[pair] for pair in ((a, b), (b, c), (c, a)) if pair in wins]
        if len(around) == 3:
            yield min(around) > 0.5 or max(around) < 0.5


def _summed(accounts: Sequence[Any], names: tuple[str, str]) -> tuple[float, float]:
    """Two numbers of accounts, summed; what is damaged counts as 0."""
    pairs = [[account.get(name) for name in names] for account in accounts if isinstance(account, dict)]
    usable = [pair for pair in pairs if all(map(is_number, pair))]
    cases, agreeing = (float(sum(values)) for values in zip((0, 0), *usable, strict=True))
    return cases, agreeing
