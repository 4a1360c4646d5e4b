"""Layers that are computed again in the backward pass: equal gradients, smaller memory, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

pytest.importorskip("transformers")
pytest.importorskip("peft")

from nlhf.config import ConfigError
from tests.test_language_architectures import ARCHITECTURES, COMPLETIONS, PROMPTS, made

pytestmark = pytest.mark.usefixtures("one_thread")
RECURRENT_OR_SLIDING = ("mistral", "qwen2", "qwen3", "gemma2", "gemma3_text", "phi3", "lfm2")
PREFIXED = [(1, 2, 3, 4, 6, *prompt) for prompt in PROMPTS]


def gradient(model, weights, prompts):
    """Log-probabilities, and the gradient of a sum with different weights."""
    learned = {name: value.clone().requires_grad_() for name, value in weights.items()}
    scores = model.log_prob(learned, prompts, COMPLETIONS)
    factors = torch.linspace(-1, 2, len(prompts))
    return scores.detach(), torch.autograd.grad(scores @ factors, list(learned.values()))


@pytest.mark.parametrize("micro_batch", [3, None])
@pytest.mark.parametrize("prompts", [PROMPTS, PREFIXED], ids=["prompts", "shared prefix"])
@pytest.mark.parametrize("lora", [True, False])
@pytest.mark.parametrize("kind", [kind for kind in ARCHITECTURES if kind not in RECURRENT_OR_SLIDING])
def test_gradients_equal_those_of_saved_activations(kind, lora, prompts, micro_batch):
    plain, recomputed = (made(kind, lora, micro_batch=micro_batch, recompute=value) for value in (False, True))
    weights = {name: value + 0.1 * torch.randn_like(value) for name, value in plain.initial.items()}
    expected, found = (gradient(model, weights, prompts) for model in (plain, recomputed))
    torch.testing.assert_close(found[0], expected[0], rtol=1e-6, atol=1e-6)
    assert max(float(value.abs().max()) for value in expected[1]) > 0.01
    for one, other in zip(found[1], expected[1], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_a_later_change_of_the_weights_does_not_reach_the_backward_pass():
    """The backward pass computes layers again with the weights of the forward pass."""
    model = made("llama", True, micro_batch=None, recompute=True)
    first = {name: value + 0.1 * torch.randn_like(value) for name, value in model.initial.items()}
    expected = gradient(model, first, PROMPTS)[1]
    learned = {name: value.clone().requires_grad_() for name, value in first.items()}
    scores = model.log_prob(learned, PROMPTS, COMPLETIONS)
    second = {name: value + 1.0 for name, value in first.items()}
    with torch.no_grad():
        model.log_prob(second, PROMPTS, COMPLETIONS)
        model.sample([(second, 1.0)], PROMPTS, np.linspace(0, 0.9, len(PROMPTS)))
    found = torch.autograd.grad(scores @ torch.linspace(-1, 2, len(PROMPTS)), list(learned.values()))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def saved_bytes(model):
    """Bytes of the tensors that a forward pass saves for the backward pass."""
    storages = {}

    def pack(tensor):
        storages[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    weights = {name: value.clone().requires_grad_() for name, value in model.initial.items()}
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        score = model.log_prob(weights, PROMPTS, COMPLETIONS)
    parameters = {value.untyped_storage().data_ptr() for value in (*model.module.parameters(), *weights.values())}
    size = sum(value.untyped_storage().nbytes() for key, value in storages.items() if key not in parameters)
    assert score.requires_grad
    return size


def test_a_forward_pass_saves_a_fraction_of_the_activations():
    plain, recomputed = (saved_bytes(made("llama", True, micro_batch=None, recompute=value)) for value in (False, True))
    assert recomputed < 0.4 * plain


@pytest.mark.parametrize("kind", ["gemma2", "lfm2"])
def test_layers_that_do_not_attend_to_all_positions_are_refused(kind):
    with pytest.raises(ConfigError, match=r"policy.recompute=true cannot recompute the layers of policy.model="):
        made(kind, True, recompute=True)


def test_recomputed_layers_of_a_base_model_that_is_spread_over_processes_are_refused():
    with pytest.raises(ConfigError, match=r"policy.shard=true and policy.recompute=true do not work together"):
        made("llama", True, recompute=True, shard=True)
