"""Folds of the prompts of votes: a judge is trained on some prompts and graded on the others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from nlhf.config import ConfigError
from nlhf.numerics.streams import stream

if TYPE_CHECKING:
    from nlhf.judges.options import Training
    from nlhf.judges.text_votes import TextVotes

ONE_SPLIT = 5  # with inner_folds=1, one of so many folds is held out


def outer_folds(options: Training, votes: TextVotes) -> Iterator[np.ndarray]:
    """Masks (n) of the pairs that each outer fold holds out."""
    return folds(votes, options.folds, options.seed, "outer")


def inner_folds(options: Training, votes: TextVotes) -> list[np.ndarray]:
    """Masks (n) of the pairs that each inner fold holds out."""
    return list(folds(votes, _inner_count(options), options.seed, "inner"))[: options.inner_folds]


def check_prompts(votes: TextVotes, options: Training) -> None:
    """Check that there are enough prompts for the folds.

    Raises: ConfigError where there are fewer prompts than folds.
    """
    prompts = len(np.unique(votes.groups))
    remaining = prompts - -(-prompts // options.folds)  # after the largest outer fold is held out
    for name, count, available in (
        ("folds", options.folds, prompts),
        ("inner_folds", _inner_count(options), remaining),
    ):
        if available < count:
            raise ConfigError(
                f"{name}={getattr(options, name)} wants {count} folds, and data={options.data} has votes on {prompts} "
                f"different prompts, {available} of them for these: give more."
            )


def folds(votes: TextVotes, count: int, seed: int, use: str) -> Iterator[np.ndarray]:
    """Masks (n) of the pairs whose prompts are in a fold; the prompts of every source are spread evenly.

    Similar prompts count as one prompt: they are in the same fold.
    """
    prompts, rng = votes.groups, stream(seed, "game" if use == "outer" else "policy")
    source_of = dict(zip(prompts.tolist(), votes.sources.tolist(), strict=True))
    order = sorted(rng.permutation(sorted(source_of)).tolist(), key=lambda prompt: source_of[prompt])
    fold_of = {prompt: position % count for position, prompt in enumerate(order)}
    fold = np.array([fold_of[prompt] for prompt in prompts.tolist()])
    for number in range(count):
        yield fold == number


def _inner_count(options: Training) -> int:
    return options.inner_folds if options.inner_folds > 1 else ONE_SPLIT
