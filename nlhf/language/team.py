"""Several processes behind one language model: `torchrun --nproc-per-node=4 -m nlhf run ...`.

Rank 0 runs the command as usual; the other ranks serve its model. The ranks share the rows of samples and
log-probabilities, and the gradient is the sum over ranks, so the results equal a single process's up to rounding.
The rest of a run (trainer, judge, streams, budget, checkpoints) does not know about the ranks. Each rank holds the base
model on its own device; the trained weights travel with each call, which is little for LoRA.
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

from nlhf.language import sampling, scoring

if TYPE_CHECKING:
    import numpy as np

    from nlhf.language.model import LanguageModel, Mixture, Tokens, Weights
    from nlhf.language.policy import CausalLM

END = "end"


class Server:
    """The work of one rank for the model of rank 0; tensors travel on the CPU."""

    def __init__(self) -> None:
        self.model: LanguageModel | None = None
        self.pending: dict[int, tuple[Tensor, list[Tensor]]] = {}  # scores and weights that await `gradient`, by ticket

    def load(self, options: CausalLM, seed: int, device: str) -> None:
        """Load the model onto this rank's device."""
        from nlhf.language.loading import load

        rank_device = f"cuda:{os.environ.get('LOCAL_RANK', 0)}" if device.startswith("cuda") else device
        self.model = load(options, seed, rank_device)

    def sample(self, mixture: Mixture, prompts: Sequence[Tokens], uniforms: np.ndarray) -> list[Tokens]:
        """Completions of this rank's prompts."""
        assert self.model is not None
        on_device = [(self._on_device(weights), exponent) for weights, exponent in mixture]
        return sampling.sample(self.model, on_device, prompts, uniforms)

    def log_prob(
        self, ticket: int | None, weights: Weights | None, prompts: Sequence[Tokens], completions: Sequence[Tokens]
    ) -> Tensor:
        """Log-probabilities of this rank's rows; `gradient` takes the ticket."""
        assert self.model is not None
        on_device = self._on_device(weights)
        with torch.set_grad_enabled(ticket is not None):
            if ticket is not None and on_device is not None:
                on_device = {name: value.requires_grad_() for name, value in on_device.items()}
            scores = scoring.log_prob(self.model, on_device, prompts, completions)
        if ticket is not None and on_device is not None:
            self.pending[ticket] = scores, list(on_device.values())
        return scores.detach().cpu()

    def gradient(self, ticket: int, upstream: Tensor) -> list[Tensor]:
        """The gradient of upstream * scores with respect to the weights."""
        scores, weights = self.pending.pop(ticket)
        return [gradient.cpu() for gradient in torch.autograd.grad(scores, weights, upstream.to(scores))]

    def _on_device(self, weights: Weights | None) -> Weights | None:
        assert self.model is not None
        return weights and {name: value.detach().to(self.model.device) for name, value in weights.items()}


class Team:
    """Rank 0's view of all ranks, itself included."""

    def __init__(self) -> None:
        self.server, self.size, self.tickets = Server(), dist.get_world_size(), 0
        atexit.register(self._end)

    def call(self, name: str, shares: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Call a method of every rank with its share of the arguments; returns all results, in rank order."""
        dist.broadcast_object_list([(name, shares)], src=0)
        result = getattr(self.server, name)(*shares[0])
        results: list[Any] = [None] * self.size
        dist.gather_object(result, results, dst=0)
        return results

    def load(self, options: CausalLM, seed: int, device: str) -> None:
        """Load a model on every rank."""
        self.call("load", [(options, seed, device)] * self.size)

    def sample(self, mixture: Mixture, prompts: Sequence[Tokens], uniforms: np.ndarray) -> list[Tokens]:
        """`LanguageModel.sample` on all ranks."""
        on_cpu = [(_on_cpu(weights), exponent) for weights, exponent in mixture]
        results = self.call("sample", [(on_cpu, prompts[rows], uniforms[rows]) for rows in self._rows(len(prompts))])
        return [tokens for completions in results for tokens in completions]

    def log_prob(self, weights: Weights | None, prompts: Sequence[Tokens], completions: Sequence[Tokens]) -> Tensor:
        """`LanguageModel.log_prob` on all ranks."""
        if weights is None or not torch.is_grad_enabled():
            return self.scores(None, weights, prompts, completions)
        apply: Any = _TeamLogProb.apply
        scores: Tensor = apply(self, tuple(weights), prompts, completions, *weights.values())
        return scores

    def scores(
        self, ticket: int | None, weights: Weights | None, prompts: Sequence[Tokens], completions: Sequence[Tokens]
    ) -> Tensor:
        """Log-probabilities of all rows, without a graph."""
        on_cpu = _on_cpu(weights)
        shares = [(ticket, on_cpu, prompts[rows], completions[rows]) for rows in self._rows(len(prompts))]
        return torch.cat(self.call("log_prob", shares))

    def gradient(self, ticket: int, upstream: Tensor) -> list[Tensor]:
        """The sum of the gradients of all ranks."""
        results = self.call("gradient", [(ticket, upstream[rows].cpu()) for rows in self._rows(len(upstream))])
        return [torch.stack(gradients).sum(0) for gradients in zip(*results, strict=True)]

    def _rows(self, count: int) -> list[slice]:
        """The rows of every rank. Neighbours stay together, as they share prompts."""
        bounds = [count * rank // self.size for rank in range(self.size + 1)]
        return [slice(*pair) for pair in pairwise(bounds)]

    def _end(self) -> None:
        dist.broadcast_object_list([(END, None)], src=0)
        dist.barrier()  # a group that closes while another rank still reads aborts that rank
        dist.destroy_process_group()


class _TeamLogProb(torch.autograd.Function):
    """Log-probabilities whose rows and graphs are spread over the ranks."""

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
        gradients = ctx.team.gradient(ctx.ticket, upstream)
        return None, None, None, None, *(gradient.to(ctx.device) for gradient in gradients)


def _on_cpu(weights: Weights | None) -> Mapping[str, Tensor] | None:
    return weights and {name: value.detach().cpu() for name, value in weights.items()}


@cache
def team() -> Team | None:
    """The team of rank 0 under torchrun; None for a single process."""
    if int(os.environ.get("WORLD_SIZE", 1)) < 2:
        return None
    _join()
    return Team()


def serve() -> None:
    """Under torchrun, serve rank 0 until it ends and exit with it; returns at once on rank 0."""
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
            os._exit(0)  # gloo's threads can abort a process that exits normally while rank 0 is closing
        dist.gather_object(getattr(server, name)(*shares[dist.get_rank()]), None, dst=0)


def _join() -> None:
    dist.init_process_group("gloo")
