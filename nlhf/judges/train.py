"""How a judge is fitted: every choice is made on held-out prompts.

fit     for each candidate penalty, train on all inner folds but one and measure the log-loss on that one after
        every epoch. The penalty and the number of epochs with the least mean log-loss win (early stopping over all
        folds), the temperature fits the held-out logits, and the judge is then trained on all pairs
grade   outer folds: fit on all folds but one and predict that one, so that the judge that predicts a pair has not
        seen its prompt
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from nlhf.judges import optimise
from nlhf.judges.folds import inner_folds, outer_folds
from nlhf.judges.temperature import temperatures

if TYPE_CHECKING:
    from nlhf.judges.encoder import Encoder
    from nlhf.judges.heads import Head
    from nlhf.judges.reader import Reader
    from nlhf.judges.text_votes import TextVotes


@dataclass(frozen=True)
class FittedJudge:
    """A trained judge: `head` and `encoder` read an answer, and logits are divided by a temperature.

    Args:
        voters: name -> number of the groups of voters.
        temperatures: by the number of the group; the first one is that of all voters together.
        penalty, epochs: what `fit` chose.
    """

    head: Head
    encoder: Encoder
    voters: dict[str, int]
    temperatures: list[float]
    penalty: float
    epochs: int

    def logits(self, reader: Reader, votes: TextVotes) -> np.ndarray:
        """Logits of P(first > second) for every pair, by its own voters and by all of them, float64 (2, n)."""
        reader, roles = replace(reader, votes=votes, encoder=self.encoder), optimise.role_numbers(self.voters, votes)
        logits = optimise.logits_of(deepcopy(self.head).double().eval(), reader, np.arange(len(votes)), roles)
        scales = torch.tensor(self.temperatures).double()[roles]
        return np.asarray((logits / scales).expand(-1 if self.voters else 2, -1).numpy())


def grade(reader: Reader, voters: dict[str, int], tick: Callable[[int], None] = lambda _: None) -> np.ndarray:
    """Logits of every pair, (2, n), by judges that were fitted without its prompt; see `FittedJudge.logits`.

    Args:
        tick: called with the number of folds that are done.
    """
    votes = reader.votes
    logits = np.zeros((2, len(votes)))
    for number, held_out in enumerate(outer_folds(reader.options, votes), 1):
        judge = fit(reader, np.flatnonzero(~held_out), voters)
        logits[:, held_out] = judge.logits(reader, votes.at(held_out))
        tick(number)
    return logits


def fit(reader: Reader, pairs: np.ndarray, voters: dict[str, int]) -> FittedJudge:
    """A judge trained on these pairs, by number (n); penalty, epochs and temperatures are chosen on inner folds."""
    options, votes = reader.options, reader.votes
    masks = inner_folds(options, votes.at(pairs))
    measured = np.concatenate([pairs[mask] for mask in masks])
    best: tuple[float, float, int, np.ndarray] | None = None
    for penalty in options.penalties:
        heads = [
            optimise.train_head(reader, pairs[~mask], voters, penalty, options.epochs, pairs[mask]) for mask in masks
        ]
        losses = np.mean([trained.losses for trained in heads], 0)
        epochs = int(losses.argmin()) + 1
        if best is None or losses[epochs - 1] < best[0]:
            logits = np.concatenate([trained.logits[epochs - 1] for trained in heads], -1)
            best = float(losses[epochs - 1]), penalty, epochs, logits
    assert best is not None
    _, penalty, epochs, logits = best
    trained = optimise.train_head(reader, pairs, voters, penalty, epochs)
    scales = temperatures(logits, votes.at(measured), voters, options.balance)
    return FittedJudge(trained.head, trained.encoder, voters, scales, penalty, epochs)
