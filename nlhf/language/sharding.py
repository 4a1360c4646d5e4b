"""A base model that is spread over the ranks: each holds a slice of every layer, and gathers a layer while it runs.

Gathering needs all ranks, so all of them must run the same number of forward passes. A pass therefore starts with a
vote: the ranks that have work run it, and a rank without work runs a pass over one token, until nobody has any left.
LoRA matrices are small and stay complete on every rank.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import torch
import torch.distributed as dist
from torch import Tensor, nn

from nlhf.language import scoring

if TYPE_CHECKING:
    from nlhf.language.model import LanguageModel, Weights
    from nlhf.language.reading import Tokens

Row = tuple["Tokens", "Tokens"]  # a prompt and a completion
_spread: WeakSet[LanguageModel] = WeakSet()  # models of this process


class Lockstep:
    """Equal numbers of passes on all ranks.

    Attributes:
        running: this rank is in a pass or a vote; still true after an error in one, when the ranks are out of step.
    """

    def __init__(self) -> None:
        self.running = False

    @contextmanager
    def step(self) -> Iterator[None]:
        """One pass of all ranks; passes inside the block belong to it."""
        if self.running:
            yield
            return
        self.running = True
        self._vote(works=True)
        yield
        self.running = False

    def wait(self, idle: Callable[[], object]) -> None:
        """Run `idle` as long as another rank has work."""
        self.running = True
        while self._vote(works=False):
            idle()
        self.running = False

    def _vote(self, works: bool) -> bool:
        """True if any rank has work."""
        votes = torch.tensor(int(works))
        dist.all_reduce(votes)
        return bool(votes)


class WithoutAdapters:
    """The base model of a spread module: the module with LoRA matrices whose product is exactly zero.

    Args:
        module: with LoRA matrices.
        weights: the initial ones, each (1, ...).
    """

    def __init__(self, module: nn.Module, weights: Weights) -> None:
        self.module, self.weights = module, {name: value[0] for name, value in weights.items()}

    def __call__(self, **options: Any) -> Any:
        return torch.func.functional_call(self.module, self.weights, (), options, tie_weights=False)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.module, name)


def spread(model: LanguageModel, device: torch.device) -> None:
    """Replace the base weights on this rank by its slices on the device. The model must have LoRA matrices."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    use_device(device)
    module: Any = model.module
    adapters = {value for name, value in module.named_parameters() if ".lora_" in name}
    for value in adapters:
        value.data = value.data.to(device)
    base = module.get_base_model()
    options: dict[str, Any] = {
        "mesh": init_device_mesh(device.type, (dist.get_world_size(),)),
        "ignored_params": adapters,
    }
    for layer in [layer for layer in base.modules() if type(layer).__name__ in (base._no_split_modules or ())]:
        fully_shard(layer, **options)
    fully_shard(base, reshard_after_forward=True, **options)
    model.device = device
    model.initial = {name: value.to(device) for name, value in model.initial.items()}
    model.base = WithoutAdapters(module, model.initial)  # type: ignore[assignment]
    model.lockstep = Lockstep()
    _spread.add(model)


def release() -> None:
    """Drop references to the group of processes, whose threads can abort the interpreter while it ends."""
    modules: Any = (module for model in _spread for module in model.module.modules())
    for module in modules:
        if hasattr(module, "_get_fsdp_state"):
            for group in module._get_fsdp_state()._fsdp_param_groups:
                for info in (group.mesh_info, group.post_forward_mesh_info):
                    info.shard_process_group = None
                    getattr(info.mesh, "_pg_registry", {}).clear()


@torch.no_grad()
def idle_forward(model: LanguageModel) -> None:
    """The forward pass of a rank without work."""
    tokens, attention_mask, position_ids = model.padded([(model.end_tokens[0],)])
    model.forward(None, tokens, attention_mask, position_ids, 1)


def gradient(model: LanguageModel, weights: Weights, rows: Sequence[Row], upstream: Tensor) -> list[Tensor]:
    """The gradient of upstream * log-probabilities in the weights; other ranks may have other numbers of rows.

    Rank 0 asks for it in the middle of a backward pass, where FSDP takes each forward pass for a recomputation and
    keeps layers whole. A thread of its own is outside of that pass.
    """
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(_sum_of_gradients, model, weights, rows, upstream).result()


def _sum_of_gradients(model: LanguageModel, weights: Weights, rows: Sequence[Row], upstream: Tensor) -> list[Tensor]:
    """The gradient of all rows of this rank, one micro-batch after the other."""
    assert model.lockstep is not None
    use_device(model.device)
    total = [torch.zeros_like(value) for value in weights.values()]
    batches = scoring.batches(model, rows)
    for batch, factors in zip(batches, torch.split(upstream, [len(batch) for batch in batches]), strict=True):
        with model.lockstep.step():
            for value, part in zip(total, _gradient(model, weights, batch, factors), strict=True):
                value += part
    model.lockstep.wait(lambda: _gradient(model, weights, [], upstream[:0]))
    return total


def use_device(device: torch.device) -> None:
    """Let this thread work on a GPU."""
    if device.type == "cuda":
        torch.cuda.set_device(device)


def _gradient(model: LanguageModel, weights: Weights, rows: Sequence[Row], upstream: Tensor) -> list[Tensor]:
    """The gradient of one micro-batch.

    A row of two tokens with the factor 0 makes sure that every rank computes the same graph: one pass over prompts, one
    over completions.
    """
    end = model.end_tokens[0]
    with torch.enable_grad():
        scores = scoring.micro_batch(model, weights, [*rows, ((end,), (end, end))])
    factors = torch.cat([upstream.to(scores), scores.new_zeros(1)])
    return list(torch.autograd.grad(scores, list(weights.values()), factors))
