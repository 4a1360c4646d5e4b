"""Training of a head, and of its encoder if asked for, on the votes of some pairs by Adam.

The loss of a pair is the log-loss of its counted votes; a tie is half a vote for each side. If there are several groups
of voters, the head judges each pair in two roles: for the pair's own voters, and for all groups together. The second
role has its own weights, and its loss trains nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from nlhf.judges.heads import ALL, Head, untrained_head
from nlhf.judges.temperature import pair_weights
from nlhf.numerics.streams import stream

if TYPE_CHECKING:
    from nlhf.judges.encoder import Encoder
    from nlhf.judges.reader import Reader
    from nlhf.judges.text_votes import TextVotes


@dataclass(frozen=True)
class TrainedHead:
    """A head with its encoder, and its log-loss and logits (R, n) on held-out pairs after every epoch."""

    head: Head
    encoder: Encoder
    losses: list[float] = field(default_factory=list)
    logits: list[np.ndarray] = field(default_factory=list)


def train_head(
    reader: Reader,
    pairs: np.ndarray,
    voters: dict[str, int],
    penalty: float,
    epochs: int,
    held_out: np.ndarray | None = None,
) -> TrainedHead:
    """Train a new head on some pairs, by number (n).

    Args:
        voters: name -> number of the groups of voters.
        penalty: factor of the squared weights.
        held_out: pairs on which the head is measured after every epoch.
    """
    options, votes = reader.options, reader.votes
    rng = stream(options.seed, "feedback")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        reader = reader.trainable()
        head = _new_head(reader, pairs, len(voters))
        optimiser = _adam(head, reader)
        weight = np.zeros(len(votes))
        weight[pairs] = pair_weights(votes.at(pairs), options.balance)
        roles = role_numbers(voters, votes)
        trained = TrainedHead(head, reader.encoder)
        for _ in range(epochs):
            head.train()
            for batch in _batches(rng.permutation(pairs), options.pairs):
                logits = _pair_logits(head, reader, votes.pairs[batch], roles[:, batch])
                losses = [_loss(row, votes.at(batch), weight[batch]) / len(batch) for row in logits]
                _set_gradients(head, optimiser, losses, penalty * _squared_weights(head, options.cyclic))
                optimiser.step()
            if held_out is not None:
                _measure(trained, reader, held_out, roles)
        head.eval()
        return trained


def _measure(trained: TrainedHead, reader: Reader, held_out: np.ndarray, roles: Tensor) -> None:
    """Append the log-loss and the logits on held-out pairs."""
    logits = logits_of(trained.head.eval(), reader, held_out, roles)
    votes = reader.votes.at(held_out)
    loss = _loss(logits[0], votes, pair_weights(votes, reader.options.balance))
    trained.losses.append(float(loss) / len(held_out))
    trained.logits.append(logits.double().numpy())


@torch.no_grad()
def logits_of(head: Head, reader: Reader, pairs: np.ndarray, roles: Tensor) -> Tensor:
    """Logits (R, n) of pairs, by number (n), in the roles (R, N) of all N pairs."""
    return torch.cat(
        [
            _pair_logits(head, reader, reader.votes.pairs[batch], roles[:, batch])
            for batch in _batches(pairs, reader.options.pairs)
        ],
        -1,
    )


def role_numbers(voters: dict[str, int], votes: TextVotes) -> Tensor:
    """The group of each pair's own voters and, if there are groups, that of all voters, (1 or 2, n)."""
    group = torch.tensor([voters.get(name, ALL) for name in votes.sources.tolist()])
    return torch.stack([group, torch.full_like(group, ALL)] if voters else [group])


def _new_head(reader: Reader, pairs: np.ndarray, voters: int) -> Head:
    """An untrained head that standardises the features of these pairs."""
    with torch.no_grad():
        features = reader(np.unique(reader.votes.pairs[pairs]))
    head = untrained_head(reader.options, features.shape[1], voters)
    head.standardise(features, reader.weight)
    return head


def _adam(head: Head, reader: Reader) -> torch.optim.Optimizer:
    """The optimiser of the head, and of the encoder if that is trained."""
    groups: list[dict[str, Any]] = [{"params": list(head.parameters())}]
    if reader.table is None:
        rate = reader.options.encoder_learning_rate
        groups.append({"params": list(reader.encoder.model.parameters()), "lr": rate})
    return torch.optim.Adam(groups, lr=reader.options.learning_rate)


def _set_gradients(head: Head, optimiser: torch.optim.Optimizer, losses: list[Tensor], penalty: Tensor) -> None:
    """Set the gradients of one step.

    The loss of the role of all voters changes only the weights of that role: its row of `head.own`.
    """
    own_loss, *shared_losses = losses
    table = head.own.weight
    shared = [torch.autograd.grad(loss, table, retain_graph=True)[0] for loss in shared_losses]
    optimiser.zero_grad()
    torch.autograd.backward(own_loss + penalty)
    assert table.grad is not None
    for gradient in shared:
        table.grad += gradient


def _pair_logits(head: Head, reader: Reader, pairs: np.ndarray, roles: Tensor) -> Tensor:
    """Logits (R, n) of pairs of answers (n, 2) in roles (R, n). Every answer, and every prompt, is encoded once."""
    sides = reader(pairs.T.reshape(-1)).to(head.mean).chunk(2)
    return torch.stack([head.compare(*(head.read(side, groups) for side in sides)) for groups in roles])


def _loss(logits: Tensor, votes: TextVotes, weight: np.ndarray) -> Tensor:
    """The weighted sum of the log-losses of pairs."""
    share, weights = (torch.from_numpy(array).to(logits) for array in (votes.share, weight))
    return (weights * binary_cross_entropy_with_logits(logits, share, reduction="none")).sum()


def _squared_weights(head: Head, cyclic: float) -> Tensor:
    """The sum of squared weights: those of the score count once, those of the cyclic part `cyclic` times."""
    total = (head.score.weight**2).sum() + (head.own.weight**2).sum()
    for name, value in head.named_parameters():
        if name.startswith(("reading", "both")) and not name.endswith("bias"):
            total = total + cyclic * (value**2).sum()
    return total


def _batches(pairs: np.ndarray, size: int) -> list[np.ndarray]:
    return [pairs[start : start + size] for start in range(0, len(pairs), size)]
