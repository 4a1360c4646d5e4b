"""Several processes behind one language model: `torchrun --nproc-per-node=4 -m nlhf run ...`.

Rank 0 runs the command as ever; the others serve its model. Draws and log-probabilities are shared out by rows, and the
gradient is the sum of what every rank finds for its rows, so that a run has the results of one process up to rounding,
and whatever else it does (trainer, judge, streams, budget, checkpoints) knows nothing of it. Every rank holds the base
model, on a device of its own; the trained weights travel with each call, which is little for LoRA.
"""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor

if TYPE_CHECKING:
    import numpy as np

    from nlhf.language.model import LanguageModel, Tokens, Weights
    from nlhf.language.policy import CausalLM

END = "end"


class Server:
    """What a rank does for the model of rank 0; tensors travel on the CPU."""

    def __init__(self) -> None:
        self.model: LanguageModel | None = None
        self.waiting: dict[int, tuple[Tensor, list[Tensor]]] = {}  # scores and weights whose gradient is still to come

    def load(self, options: CausalLM, seed: int, device: str) -> None:
        """Load the model onto this rank's device."""
        from nlhf.language.model import load

        own = f"cuda:{os.environ.get('LOCAL_RANK', 0)}" if device.startswith("cuda") else device
        self.model = load(options, seed, own)

    def sample(self, parts: Sequence[tuple[Weights | None, float]], prompts: Sequence[Tokens],
               uniforms: np.ndarray) -> list[Tokens]:  # fmt: skip
        """Completions of this rank's prompts."""
        assert self.model is not None
        here = [(self._here(weights), share) for weights, share in parts]
        return self.model.sample_here(here, prompts, uniforms)

    def log_prob(self, ticket: int | None, weights: Weights | None, prompts: Sequence[Tokens],
                 completions: Sequence[Tokens]) -> Tensor:  # fmt: skip
        """Log-probabilities of this rank's rows; with a ticket their gradient can be asked for."""
        assert self.model is not None
        own = self._here(weights)
        with torch.set_grad_enabled(ticket is not None):
            if ticket is not None and own is not None:
                own = {name: value.requires_grad_() for name, value in own.items()}
            scores = self.model.log_prob_here(own, prompts, completions)
        if ticket is not None and own is not None:
            self.waiting[ticket] = scores, list(own.values())
        return scores.detach().cpu()

    def gradient(self, ticket: int, upstream: Tensor) -> list[Tensor]:
        """The gradient of upstream * scores by the weights."""
        scores, values = self.waiting.pop(ticket)
        return [found.cpu() for found in torch.autograd.grad(scores, values, upstream.to(scores))]

    def _here(self, weights: Weights | None) -> Weights | None:
        assert self.model is not None
        return weights and {name: value.detach().to(self.model.device) for name, value in weights.items()}


class Team:
    """Rank 0's view of all ranks, itself included."""

    def __init__(self) -> None:
        self.server, self.size, self.tickets = Server(), dist.get_world_size(), 0
        atexit.register(self._end)

    def call(self, name: str, shares: Sequence[tuple[Any, ...]]) -> list[Any]:
        """What every rank says to its share of a call, in the order of the ranks."""
        dist.broadcast_object_list([(name, shares)], src=0)
        own = getattr(self.server, name)(*shares[0])
        gathered: list[Any] = [None] * self.size
        dist.gather_object(own, gathered, dst=0)
        return gathered

    def load(self, options: CausalLM, seed: int, device: str) -> None:
        """Load a model on every rank."""
        self.call("load", [(options, seed, device)] * self.size)

    def sample(self, parts: Sequence[tuple[Weights | None, float]], prompts: Sequence[Tokens],
               uniforms: np.ndarray) -> list[Tokens]:  # fmt: skip
        """As of `LanguageModel.sample`."""
        there = [(_travelling(weights), share) for weights, share in parts]
        told = self.call("sample", [(there, prompts[rows], uniforms[rows]) for rows in self._rows(len(prompts))])
        return [tokens for share in told for tokens in share]

    def log_prob(self, weights: Weights | None, prompts: Sequence[Tokens], completions: Sequence[Tokens]) -> Tensor:
        """As of `LanguageModel.log_prob`."""
        if weights is None or not torch.is_grad_enabled():
            return self.scores(None, weights, prompts, completions)
        names = tuple(weights)
        found: Tensor = _Shared.apply(self, names, prompts, completions, *weights.values())  # type: ignore[no-untyped-call]
        return found

    def scores(self, ticket: int | None, weights: Weights | None, prompts: Sequence[Tokens],
               completions: Sequence[Tokens]) -> Tensor:  # fmt: skip
        """Log-probabilities of all rows, without a graph."""
        there = _travelling(weights)
        shares = [(ticket, there, prompts[rows], completions[rows]) for rows in self._rows(len(prompts))]
        return torch.cat(self.call("log_prob", shares))

    def gradient(self, ticket: int, upstream: Tensor) -> list[Tensor]:
        """The sum of the gradients of all ranks."""
        told = self.call("gradient", [(ticket, upstream[rows].cpu()) for rows in self._rows(len(upstream))])
        return [torch.stack(found).sum(0) for found in zip(*told, strict=True)]

    def _rows(self, count: int) -> list[slice]:
        """The rows of every rank, neighbours together, as they share prompts."""
        ends = [count * rank // self.size for rank in range(self.size + 1)]
        return [slice(*pair) for pair in pairwise(ends)]

    def _end(self) -> None:
        dist.broadcast_object_list([(END, None)], src=0)
        dist.barrier()  # a group that goes while another rank still reads aborts that rank
        dist.destroy_process_group()


class _Shared(torch.autograd.Function):
    """Log-probabilities of rows that lie with several ranks."""

    @staticmethod
    def forward(
        ctx: Any, team: Team, names: tuple[str, ...], prompts: Any, completions: Any, *values: Tensor
    ) -> Tensor:
        team.tickets += 1
        ctx.team, ctx.ticket, ctx.device = team, team.tickets, values[0].device
        scores = team.scores(ctx.ticket, dict(zip(names, values, strict=True)), prompts, completions)
        return scores.to(ctx.device)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> Any:
        found = ctx.team.gradient(ctx.ticket, upstream)
        return None, None, None, None, *(gradient.to(ctx.device) for gradient in found)


def _travelling(weights: Weights | None) -> Mapping[str, Tensor] | None:
    return weights and {name: value.detach().cpu() for name, value in weights.items()}


@cache
def team() -> Team | None:
    """The team of rank 0 under torchrun; None for a process that is alone."""
    if int(os.environ.get("WORLD_SIZE", 1)) < 2:
        return None
    _join()
    return Team()


def serve() -> None:
    """If this process is another rank under torchrun, serve rank 0 until it ends, and end with it."""
    if int(os.environ.get("RANK", 0)) == 0:
        return
    _join()
    server = Server()
    while True:
        command: list[Any] = [None]
        dist.broadcast_object_list(command, src=0)
        name, shares = command[0]
        if name == END:
            dist.barrier()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(0)  # the threads of gloo can abort a process that ends in order while rank 0 is closing
        dist.gather_object(getattr(server, name)(*shares[dist.get_rank()]), None, dst=0)


def _join() -> None:
    dist.init_process_group("gloo")
