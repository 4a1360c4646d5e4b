"""How a judge is learned: heads on an encoder, with everything that is chosen chosen on prompts that were left out.

    choose   for each candidate penalty, folds of the prompts are trained on without one and followed on that one; the
             penalty and the number of epochs with the least mean log-loss win (early stopping, over all folds), and the
             temperature is the one that fits the held-out logits
    fit      choose, then train on all of them
    grade    outer folds: fit on the others, predict the one; so that every pair is predicted by a judge that knew
             nothing of its prompt

The loss of a pair is the log-loss of its counted votes, a tie half a vote for each side. Where groups of voters are
told apart, every pair is judged in two roles: as its own voters would, and as all groups together would. For the second
one the head has weights of their own, and nothing else learns from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from nlhf.config import ConfigError
from nlhf.judges.heads import ALL, Head
from nlhf.judges.reader import Reader
from nlhf.numerics.streams import stream

if TYPE_CHECKING:
    from nlhf.judges.encoder import Encoder
    from nlhf.judges.options import Training
    from nlhf.judges.text_votes import TextVotes

PRIOR = 20.0  # pairs that a temperature takes to be as expected before it has seen any
ONE_SPLIT = 5  # folds of which one is left out, where there is one split


@dataclass(frozen=True)
class Learned:
    """A judge that was learned: `head` and `encoder` read an answer; logits are divided by a temperature.

    Args:
        voters: name -> number of the groups of voters.
        temperatures: of the voters by number, first that of all of them together.
        penalty, epochs: what was chosen.
    """

    head: Head
    encoder: Encoder
    voters: dict[str, int]
    temperatures: list[float]
    penalty: float
    epochs: int

    @torch.no_grad()
    def logits(self, reader: Reader, votes: TextVotes) -> np.ndarray:
        """Logits of P(first > second) for every pair, by its own voters and by all of them, float64 (2, n)."""
        chosen, roles = Reader(reader.options, votes, self.encoder, reader.table), _roles(self.voters, votes)
        found = _told(deepcopy(self.head).double().eval(), chosen, np.arange(len(votes)), roles)
        scales = torch.tensor(self.temperatures).double()[roles]
        return np.asarray((found / scales).expand(-1 if self.voters else 2, -1).numpy())


def grade(reader: Reader, voters: dict[str, int], tick: Callable[[int], None] = lambda _: None) -> np.ndarray:
    """Logits of every pair, as of `Learned`, (2, n), by a judge that was fitted without its prompt; `tick` hears of
    every fold."""
    votes, options = reader.votes, reader.options
    found = np.zeros((2, len(votes)))
    for number, held in enumerate(folds(votes, options.folds, options.seed, "outer")):
        judge = fit(reader, np.flatnonzero(~held), voters)
        found[:, held] = judge.logits(reader, votes.at(held))
        tick(number + 1)
    return found


def fit(reader: Reader, pairs: np.ndarray, voters: dict[str, int]) -> Learned:
    """A judge of these pairs (n), its penalty, epochs and temperature chosen on folds of their prompts."""
    options, votes = reader.options, reader.votes
    count = options.inner_folds if options.inner_folds > 1 else ONE_SPLIT
    masks = list(folds(votes.at(pairs), count, options.seed, "inner"))[: options.inner_folds]
    best: tuple[float, float, int, np.ndarray, np.ndarray] | None = None
    for penalty in options.penalties:
        followed = [_train(reader, pairs[~held], voters, penalty, options.epochs, pairs[held]) for held in masks]
        curve = np.mean([losses for *_, losses, _ in followed], 0)
        epochs = int(curve.argmin()) + 1
        if best is None or curve[epochs - 1] < best[0]:
            logits = np.concatenate([rows[epochs - 1] for *_, rows in followed], -1)
            best = float(curve[epochs - 1]), penalty, epochs, logits, np.concatenate([pairs[held] for held in masks])
    assert best is not None
    _, penalty, epochs, logits, where = best
    head, encoder, *_ = _train(reader, pairs, voters, penalty, epochs)
    scales = _temperatures(logits, votes.at(where), voters, options.balance)
    return Learned(head, encoder, voters, scales, penalty, epochs)


def _temperatures(logits: np.ndarray, votes: TextVotes, voters: dict[str, int], balance: bool) -> list[float]:
    """Of all voters together, and of every group of voters, the fewer votes it has the nearer to that of all groups."""
    worth = _worth(votes, balance)
    shared = _temperature(logits[0], votes, worth)
    apart = [(logits[0][chosen], votes.at(chosen)) for chosen in (votes.sources == name for name in voters)]
    return [_temperature(logits[-1], votes, worth),
            *(_temperature(mine, told, _worth(told, balance), shared) for mine, told in apart)]  # fmt: skip


def enough(votes: TextVotes, options: Training) -> None:
    """Raises: ConfigError where there are fewer prompts than folds."""
    prompts = len(np.unique(votes.prompts))
    left = prompts - -(-prompts // options.folds)  # of which inner folds are made
    inner = options.inner_folds if options.inner_folds > 1 else ONE_SPLIT
    for name, count, there in (("folds", options.folds, prompts), ("inner_folds", inner, left)):
        if there < count:
            raise ConfigError(f"{name}={getattr(options, name)} wants {count} folds, and data={options.data} has "
                              f"votes on {prompts} prompts, {there} of them for these: give more.")  # fmt: skip


def folds(votes: TextVotes, count: int, seed: int, use: str) -> Iterator[np.ndarray]:
    """Masks (n) of the pairs whose prompts are in a fold; the prompts of every source are dealt out evenly."""
    prompts, rng = votes.prompts, stream(seed, "game" if use == "outer" else "policy")
    of_prompt = dict(zip(prompts.tolist(), votes.sources.tolist(), strict=True))
    order = sorted(rng.permutation(sorted(of_prompt)).tolist(), key=lambda prompt: of_prompt[prompt])
    fold = {prompt: place % count for place, prompt in enumerate(order)}
    where = np.array([fold[prompt] for prompt in prompts.tolist()])
    for number in range(count):
        yield where == number


def _train(reader: Reader, pairs: np.ndarray, voters: dict[str, int], penalty: float, epochs: int,
           held: np.ndarray | None = None) -> tuple[Head, Encoder, list[float], list[np.ndarray]]:  # fmt: skip
    """Train on some pairs, by Adam; returns head and encoder, and of every epoch the log-loss and logits on `held`."""
    options, votes = reader.options, reader.votes
    rng = stream(options.seed, "feedback")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        reader = reader.trainable()
        with torch.no_grad():
            seen = reader(np.unique(votes.pairs[pairs]))
        head = options.head(seen.shape[1], len(voters))
        head.standardise(seen, reader.weight)
        groups: list[dict[str, Any]] = [{"params": list(head.parameters())}]
        if reader.table is None:
            groups.append({"params": list(reader.encoder.model.parameters()), "lr": options.encoder_learning_rate})
        optimiser = torch.optim.Adam(groups, lr=options.learning_rate)
        worth = np.zeros(len(votes))
        worth[pairs] = _worth(votes.at(pairs), options.balance)
        roles = _roles(voters, votes)
        losses, rows = [], []
        for _ in range(epochs):
            head.train()
            for part in _parts(rng.permutation(pairs), options.pairs):
                logits = _compared(head, reader, votes.pairs[part], roles[:, part])
                own, *shared = (_loss(row, votes.at(part), worth[part]) / len(part) for row in logits)
                apart = [torch.autograd.grad(loss, head.own.weight, retain_graph=True)[0] for loss in shared]
                optimiser.zero_grad()
                (own + penalty * _size(head, options.cyclic)).backward()  # type: ignore[no-untyped-call]
                assert head.own.weight.grad is not None
                for slope in apart:
                    head.own.weight.grad += slope  # of the row of all voters, the only one that this role reads
                optimiser.step()
            if held is not None:
                logits = _told(head.eval(), reader, held, roles)
                rest = votes.at(held)
                losses.append(float(_loss(logits[0], rest, _worth(rest, options.balance))) / len(held))
                rows.append(logits.double().numpy())
        return head.eval(), reader.encoder, losses, rows


@torch.no_grad()
def _told(head: Head, reader: Reader, pairs: np.ndarray, roles: Tensor) -> Tensor:
    """Logits (R, n) of pairs, by number (n), of votes whose voters `roles` (R, N) tells."""
    return torch.cat([_compared(head, reader, reader.votes.pairs[part], roles[:, part])
                      for part in _parts(pairs, reader.options.pairs)], -1)  # fmt: skip


def _compared(head: Head, reader: Reader, pairs: np.ndarray, roles: Tensor) -> Tensor:
    """Logits (R, n) of pairs of answers (n, 2) by voters (R, n); every answer is encoded once."""
    seen = [reader(pairs[:, side]).to(head.mean) for side in (0, 1)]
    return torch.stack([head.compare(*(head.read(side, numbers) for side in seen)) for numbers in roles])


def _loss(logits: Tensor, votes: TextVotes, worth: np.ndarray) -> Tensor:
    share, weight = (torch.from_numpy(array).to(logits) for array in (votes.share, worth))
    return (weight * binary_cross_entropy_with_logits(logits, share, reduction="none")).sum()


def _size(head: Head, cyclic: float) -> Tensor:
    """The squared weights: of the score once, of the rest `cyclic` times."""
    total = (head.score.weight**2).sum() + (head.own.weight**2).sum()
    for name, value in head.named_parameters():
        if name.startswith(("reading", "both")) and not name.endswith("bias"):
            total = total + cyclic * (value**2).sum()
    return total


def _worth(votes: TextVotes, balance: bool) -> np.ndarray:
    """The weight of every pair (n), with mean 1: its number of votes, scaled so that all sources weigh the same."""
    worth = votes.number.copy()
    if balance:
        for source in np.unique(votes.sources):
            worth[votes.sources == source] /= worth[votes.sources == source].sum()
    return np.asarray(worth / worth.mean())


def _roles(voters: dict[str, int], votes: TextVotes) -> Tensor:
    """The numbers of the voters of every pair and, where there are several groups, those of all of them, (R, n)."""
    own = torch.tensor([voters.get(name, ALL) for name in votes.sources.tolist()])
    return torch.stack([own, torch.full_like(own, ALL)] if voters else [own])


def _parts(pairs: np.ndarray, size: int) -> list[np.ndarray]:
    return [pairs[start : start + size] for start in range(0, len(pairs), size)]


def _temperature(logits: np.ndarray, votes: TextVotes, worth: np.ndarray, expected: float = 1.0) -> float:
    """By what held-out logits must be divided to fit the votes best, in [1/10, 10]; PRIOR pairs more are taken to have
    the votes that the expected temperature foretells. Found by bisection of the slope, which rises with the inverse
    temperature, for the log-loss is convex in it."""
    from nlhf.numerics.bradley_terry import sigmoid

    if not len(logits):
        return expected
    low, high, prior = 0.1, 10.0, sigmoid(logits / expected)
    for _ in range(60):
        middle = (low * high) ** 0.5
        told = logits * sigmoid(middle * logits)
        slope = float((worth * (told - logits * votes.share)).sum() + PRIOR * (told - logits * prior).mean())
        low, high = (low, middle) if slope > 0 else (middle, high)
    return float(1 / (low * high) ** 0.5)
