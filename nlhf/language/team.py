"""Several processes behind one language model: `torchrun --standalone --nproc-per-node=4 -m nlhf run ...`.

Rank 0 runs the command as usual; the other ranks serve its model. The ranks share the rows of samples and
log-probabilities, and the gradient is the sum over ranks, so the results equal a single process's up to rounding.
The rest of a run (trainer, judge, streams, budget, checkpoints) does not know about the ranks. Each rank holds the base
model on its own device, or its slices (`nlhf.language.sharding`); the trained weights travel with each call, which is
little for LoRA.
"""

from __future__ import annotations

import atexit
import importlib
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NoReturn

import torch
import torch.distributed as dist
from torch import Tensor

from nlhf.language.rank import RankError, Server, result_of
from nlhf.language.sharding import release

if TYPE_CHECKING:
    import numpy as np

    from nlhf.language.model import LanguageModel, Mixture, Weights
    from nlhf.language.policy import CausalLM
    from nlhf.language.reading import Tokens

END = "end"


class Team:
    """Rank 0's view of all ranks, itself included."""

    def __init__(self) -> None:
        self.server, self.size, self.tickets, self.broken = Server(), dist.get_world_size(), 0, False
        atexit.register(self._end)

    def call(self, name: str, shares: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Call a method of every rank with its share of the arguments; returns all results, in rank order.

        Raises: RankError for the first rank that failed.
        """
        if self.broken:
            raise RankError("the processes are out of step after an earlier error: repeat the command.")
        self.broken = True  # until all ranks have answered
        dist.broadcast_object_list([(name, shares)], src=0)
        results: list[Any] = [None] * self.size
        dist.gather_object(result_of(self.server, name, shares), results, dst=0)
        self.broken = False
        for result in results:
            if isinstance(result, RankError):
                raise result
        return results

    def load(self, options: CausalLM, seed: int, device: str) -> LanguageModel:
        """Load a model on every rank and return rank 0's, whose methods use all ranks."""
        self.call("load", [(options, seed, device)] * self.size)
        model = self.server.model
        assert model is not None
        model.team = self
        return model

    def divides(self, count: int) -> bool:
        """True if a number of rows is divided among the ranks; rank 0 alone computes few rows, if it can."""
        assert self.server.model is not None
        return count >= self.size or self.server.model.lockstep is not None

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

    def divergence_and_entropy(
        self, weights: Weights | None, prompts: Sequence[Tokens], completions: Sequence[Tokens]
    ) -> Tensor:
        """`LanguageModel.divergence_and_entropy` on all ranks."""
        on_cpu = _on_cpu(weights)
        shares = [(on_cpu, prompts[rows], completions[rows]) for rows in self._rows(len(prompts))]
        return torch.cat(self.call("divergence_and_entropy", shares), -1)

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
        if self.broken:
            return  # the other ranks wait for something else, and end with this process
        dist.broadcast_object_list([(END, None)], src=0)
        dist.barrier()  # a group that closes while another rank still reads aborts that rank
        release()
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


_team: Team | None = None  # of this process


def team() -> Team | None:
    """The team of rank 0 after `join`; None in any other process."""
    return _team


def join() -> None:
    """Under torchrun, meet the other ranks. Rank 0 returns; the others serve it until it ends, and exit."""
    global _team
    if int(os.environ.get("WORLD_SIZE", 1)) < 2 or _team is not None:
        return
    # Defaults of functions in torch.distributed.nn hold the group that exists when the module is imported. Such a group
    # survives `destroy_process_group`, and its threads can abort the interpreter while it ends.
    importlib.import_module("torch.distributed.nn")
    dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    if dist.get_rank() > 0:
        _serve()
    _team = Team()


def _serve() -> NoReturn:
    """Work for rank 0 until it ends. Rank 0 alone handles signals: it needs the others up to its last checkpoint."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
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
        dist.gather_object(result_of(server, name, shares), None, dst=0)
