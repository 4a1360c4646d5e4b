"""LoRA matrices beside the layers of a base model (arXiv:2106.09685)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from copy import deepcopy
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from nlhf.config import ConfigError
from nlhf.models.bundled import hushed

if TYPE_CHECKING:
    from nlhf.language.policy import CausalLM


REFUSALS = (ValueError, NotImplementedError, TypeError, AttributeError)  # errors of peft about layers


def with_lora(options: CausalLM, module: Any) -> tuple[nn.Module, nn.Module]:
    """The module with LoRA matrices, and the base model. They share the base weights.

    Raises: ConfigError for layers that do not exist or that LoRA cannot adapt.
    """
    base = _copy(module)
    try:
        return _adapted(options, module, list(options.lora_targets) or "all-linear"), base
    except REFUSALS as error:
        raise ConfigError(_refusal(options, base, error)) from error


def _adapted(options: CausalLM, module: Any, targets: list[str] | str) -> nn.Module:
    """The module, changed in place, with LoRA matrices at the targets."""
    from peft import LoraConfig, get_peft_model

    rank = options.lora_rank
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=targets, task_type="CAUSAL_LM")
    with hushed(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="fan_in_fan_out is set to False")  # peft then sets it to True
        warnings.filterwarnings("ignore", message="The following (rank|alpha)_pattern keys")  # its own
        return _direct(get_peft_model(module, config).eval())


def _direct(module: nn.Module) -> nn.Module:
    """The module, whose linear layers add their LoRA matrices in one product, without copies in between."""
    from peft.tuners.lora import Linear

    layers = module.modules()
    for layer in layers:
        if type(layer) is Linear and type(layer.base_layer) is nn.Linear:
            layer.__class__ = _direct_linear()
    return module


@cache
def _direct_linear() -> Any:
    from peft.tuners.lora import Linear

    class DirectLinear(Linear):
        """W x + scale B A x, for one adapter without dropout."""

        def forward(self, x: Tensor, *arguments: Any, **options: Any) -> Tensor:
            matrices: tuple[Any, Any] = self.lora_A["default"], self.lora_B["default"]
            down, up = (matrix.weight for matrix in matrices)
            if x.dtype != down.dtype:
                output: Tensor = super().forward(x, *arguments, **options)
                return output
            output = self.base_layer(x)
            rows = output.flatten(0, -2), x.flatten(0, -2) @ down.T, up.T
            if torch.is_grad_enabled():
                return torch.addmm(*rows, alpha=self.scaling["default"]).view(output.shape)
            rows[0].addmm_(*rows[1:], alpha=self.scaling["default"])
            return output

    return DirectLinear


def _copy(module: nn.Module) -> nn.Module:
    """A copy of the module with the same weight tensors."""
    return deepcopy(module, {id(value): value for value in (*module.parameters(), *module.buffers())})


def _refusal(options: CausalLM, base: nn.Module, error: Exception) -> str:
    """The error message: why these layers get no LoRA matrices, and the remedy."""
    model, targets = f"policy.model={options.model}", options.lora_targets
    names = [name for name, _ in base.named_modules()]
    if targets and not any(_matches(name, targets) for name in names):
        return f"policy.lora_targets={list(targets)} are not layers of {model}: give names of its linear layers, or []."
    reason = " ".join(str(error).split()).rpartition("] ")[2].partition(". ")[0]  # without peft's prefix and remedies
    key = f"policy.lora_targets={list(targets)} of {model}" if targets else model
    kind = getattr(base.config, "model_type", type(base).__name__)
    layers = _adaptable(options, base)
    remedy = f", or policy.lora_targets=[{','.join(layers)}]" if layers else ""
    return (
        f"{key} ({kind}) has layers that LoRA cannot adapt here ({reason[:160]}): set policy.lora=false to train all "
        f"weights{remedy}."
    )


def _adaptable(options: CausalLM, base: nn.Module) -> list[str]:
    """Names of linear layers that peft can adapt together; empty if there are none."""
    names = sorted(_linear(base))
    while names:
        try:
            _adapted(options, _copy(base), names)
        except REFUSALS as error:
            refused = [name for name in names if f"'{name}'" in str(error)]
            names = [name for name in names if name not in refused] if refused else []
        else:
            break
    return names


def _matches(name: str, targets: Sequence[str]) -> bool:
    """True if peft counts the module of this name among the targets."""
    return any(name == target or name.endswith(f".{target}") for target in targets)


def _linear(base: nn.Module) -> set[str]:
    """The last parts of the names of all linear layers but the output layer."""
    model: Any = base
    output = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    return {
        name.rpartition(".")[2]
        for name, module in base.named_modules()
        if isinstance(module, nn.Linear) and module is not output
    }
