"""The work of one rank under torchrun for the language model of rank 0."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor

from nlhf.language import sampling, scoring, sharding

if TYPE_CHECKING:
    import numpy as np

    from nlhf.language.model import LanguageModel, Mixture, Weights
    from nlhf.language.policy import CausalLM
    from nlhf.language.reading import Tokens


class RankError(RuntimeError):
    """An error of a rank; the message says which error."""


class Server:
    """Loads, samples and scores for rank 0; tensors travel on the CPU."""

    def __init__(self) -> None:
        self.model: LanguageModel | None = None
        self.pending: dict[int, Callable[[Tensor], Sequence[Tensor]]] = {}  # from upstream to a gradient, by ticket

    def load(self, options: CausalLM, seed: int, device: str) -> None:
        """Load the model onto this rank's device."""
        from nlhf.language.loading import load

        rank_device = f"cuda:{os.environ.get('LOCAL_RANK', 0)}" if device.startswith("cuda") else device
        self.model = load(options, seed, rank_device)

    def sample(self, mixture: Mixture, prompts: Sequence[Tokens], uniforms: np.ndarray) -> list[Tokens]:
        """Completions of this rank's prompts."""
        assert self.model is not None
        on_device = [(self._on_device(weights), exponent) for weights, exponent in mixture]
        return sampling.sample(self.model, on_device, prompts, uniforms) if prompts else []

    def log_prob(
        self, ticket: int | None, weights: Weights | None, prompts: Sequence[Tokens], completions: Sequence[Tokens]
    ) -> Tensor:
        """Log-probabilities of this rank's rows; `gradient` takes the ticket."""
        assert self.model is not None
        on_device, is_spread = self._on_device(weights), self.model.lockstep is not None
        with torch.set_grad_enabled(ticket is not None and not is_spread):
            if ticket is not None and on_device is not None:
                on_device = {name: value.requires_grad_() for name, value in on_device.items()}
            scores = scoring.log_prob(self.model, on_device, prompts, completions) if prompts else torch.zeros(0)
        if ticket is not None and on_device is not None:
            values = list(on_device.values())
            if is_spread:
                rows = list(zip(prompts, completions, strict=True))
                self.pending[ticket] = partial(sharding.gradient, self.model, on_device, rows)
            else:
                self.pending[ticket] = lambda upstream: torch.autograd.grad(scores, values, upstream.to(scores))
        return scores.detach().cpu()

    def divergence_and_entropy(
        self, weights: Weights | None, prompts: Sequence[Tokens], completions: Sequence[Tokens]
    ) -> Tensor:
        """KL to the base model and entropy of this rank's rows."""
        assert self.model is not None
        if not prompts:
            return torch.zeros((2, 0), dtype=torch.float64)
        return scoring.divergence_and_entropy(self.model, self._on_device(weights), prompts, completions).cpu()

    def gradient(self, ticket: int, upstream: Tensor) -> list[Tensor]:
        """The gradient of upstream * scores with respect to the weights."""
        return [gradient.cpu() for gradient in self.pending.pop(ticket)(upstream)]

    def is_out_of_step(self, name: str) -> bool:
        """True if an error of a method ended a pass that the other ranks are still in."""
        lockstep = None if self.model is None else self.model.lockstep
        return lockstep is not None and (lockstep.running or name == "gradient")

    def finish(self, name: str) -> None:
        """Take part in the passes of other ranks, if the base model is spread over them."""
        if name in ("load", "gradient") or self.model is None or self.model.lockstep is None:
            return  # `sharding.gradient` waits itself
        self.model.lockstep.wait(partial(sharding.idle_forward, self.model))

    def _on_device(self, weights: Weights | None) -> Weights | None:
        assert self.model is not None
        return weights and {name: value.detach().to(self.model.device) for name, value in weights.items()}


def result_of(server: Server, name: str, shares: Sequence[tuple[Any, ...]]) -> Any:
    """The result of this rank's share, or its error: a rank that stopped here would leave the others waiting.

    Raises: RankError in the middle of a pass of a base model that is spread over the ranks: they can do nothing more.
    """
    rank = dist.get_rank()
    try:
        result = getattr(server, name)(*shares[rank])
    except Exception as error:
        result = RankError(f"rank {rank}: {type(error).__name__}: {error}")
        if server.is_out_of_step(name):
            raise result from error
    server.finish(name)
    return result
