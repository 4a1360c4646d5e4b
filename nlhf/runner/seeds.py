"""The seeds that a config asks for. No torch import."""

from __future__ import annotations

import re
from typing import Any

from nlhf.config import ConfigError, is_whole
from nlhf.messages import shown
from nlhf.numerics.streams import LARGEST_SEED

MOST_SEEDS = 1_000_000


def parse_seeds(value: Any) -> list[int]:
    """The seeds of the config key `seeds`: a positive count, a range `20-39`, or a list.

    Raises: ConfigError.
    """
    if is_whole(value) and 0 < value <= MOST_SEEDS:
        return list(range(int(value)))
    if isinstance(value, str) and (ends := re.fullmatch(r"(\d{1,15})-(\d{1,15})", value, re.ASCII)):
        first, last = int(ends[1]), int(ends[2])
        if first <= last < first + MOST_SEEDS:
            return list(range(first, last + 1))
    if isinstance(value, list | tuple) and value and all(is_whole(seed) and seed >= 0 for seed in value):
        if max(value) > LARGEST_SEED:
            raise ConfigError(
                f"seeds={shown(value)} has a seed above {LARGEST_SEED} (2^63 - 1), which tables cannot hold: give "
                "smaller seeds."
            )
        if len(set(value)) == len(value):
            return [int(seed) for seed in value]
    raise ConfigError(
        f"seeds={shown(value)} names no seeds: give a positive count (20), a range (20-39) or a list of distinct seeds "
        "([3,7])."
    )
