"""Estimates of memory from config.json: parameters exactly, the peak of a step within a factor; what dry runs print."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("transformers")
pytest.importorskip("peft")

from nlhf.language.loading import wrapped
from nlhf.language.memory import LLAMA, SHAPES, Load, estimate, shape_of
from nlhf.language.policy import CausalLM
from tests.test_language_architectures import ARCHITECTURES, Tokenizer, made

pytestmark = pytest.mark.usefixtures("one_thread")
FACTOR = 1.6  # between the estimated and the measured peak of a step


def options(**chosen):
    values = {"lora": True, "lora_rank": 16, "lora_targets": [], "max_new_tokens": 8, "temperature": 1.0, "top_p": 1.0,
              "micro_batch": 8, "dtype": "auto", "trust_remote_code": False} | chosen  # fmt: skip
    return CausalLM(model="model", **values)


@pytest.mark.parametrize("lora", [True, False])
@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_parameters_are_counted_exactly_from_the_config(kind, lora, tmp_path):
    model = made(kind, lora)
    model.base.config.save_pretrained(tmp_path)
    shape = shape_of(model.options, str(tmp_path))
    assert shape.parameters == sum(value.numel() for value in model.base.parameters())
    assert shape.trained == sum(value.numel() for value in model.initial.values())


@pytest.mark.parametrize(
    ("name", "parameters", "trained"),
    [
        ("meta-llama/Llama-3.2-1B-Instruct", 1_235_814_400, 11_272_192),
        ("meta-llama/Llama-3.1-8B-Instruct", 8_030_261_248, 41_943_040),
    ],
)
def test_models_of_presets_have_their_published_numbers_of_parameters(name, parameters, trained):
    shape = shape_of(options(), name)
    assert (shape.parameters, shape.trained) == (parameters, trained)
    assert set(LLAMA) <= set(SHAPES[name])


@pytest.mark.parametrize(("micro_batch", "prompt", "new"), [(4, 8, 40), (16, 60, 8), (16, 20, 20)])
def test_the_peak_of_a_step_is_within_a_factor_of_the_estimate(tmp_path, micro_batch, prompt, new):
    """The peak of weights, gradient and activations, by torch's count of live tensors."""
    from torch.distributed._tools.mem_tracker import MemTracker
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=600, hidden_size=64, intermediate_size=160, num_hidden_layers=4, eos_token_id=0,
                         num_attention_heads=4, num_key_value_heads=2, bos_token_id=None)  # fmt: skip
    config.save_pretrained(tmp_path)
    family = options(micro_batch=micro_batch)
    model = wrapped(family, LlamaForCausalLM(config), Tokenizer(), 0)
    weights = {name: value.clone().requires_grad_() for name, value in model.initial.items()}
    generator = torch.Generator().manual_seed(0)
    draw = lambda count: tuple(torch.randint(1, 600, (count,), generator=generator).tolist())  # noqa: E731
    prompts, completions = [draw(prompt) for _ in range(micro_batch)], [draw(new) for _ in range(micro_batch)]
    tracker = MemTracker()
    tracker.track_external(model.module, *weights.values())
    with tracker:
        score = model.log_prob(weights, prompts, completions).sum()
        torch.autograd.grad(score, list(weights.values()))
    measured = tracker.get_tracker_snapshot("peak")[torch.device("cpu")]["Total"]
    load = Load(micro_batch, micro_batch, prompt, new, models=1)
    need = estimate(shape_of(family, str(tmp_path)), load, width=4, processes=1, spread=False)
    expected = need.weights + need.adapters * 2 / 3 + need.gradients / 2 + need.activations + need.logits
    assert measured / FACTOR < expected < measured * FACTOR, (measured, need)


def test_a_spread_model_needs_its_slices_and_two_layers():
    shape, load = shape_of(options(), "meta-llama/Llama-3.1-8B-Instruct"), Load(1, 1, 100, 100)
    whole = estimate(shape, load, width=2, processes=4, spread=False)
    slices = estimate(shape, load, width=2, processes=4, spread=True)
    layer = 2 * (4096 * (4096 + 1024) + 3 * 4096 * 14_336 // 2 * 1) + 0  # q, o, k, v; half of the perceptron, twice
    layer = 2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 14_336 + 2 * 4096
    assert whole.weights == 2 * 8_030_261_248
    assert slices.weights == 2 * 8_030_261_248 / 4 + 2 * 2 * layer
    assert whole.peak - slices.peak == whole.weights - slices.weights
