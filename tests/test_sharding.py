"""A base model that is spread over two processes computes what one process computes with a complete copy."""

from __future__ import annotations

import json

import pytest

from nlhf.config import ConfigError
from nlhf.runner.run_one import run_one
from tests.test_team import torchrun

pytest.importorskip("transformers")
pytest.importorskip("peft")

SCRIPT = """
import atexit, json, sys
from pathlib import Path
def threads():
    return [name for path in Path("/proc/self/task").glob("*/comm") if "gloo" in (name := path.read_text())]
atexit.register(lambda: print("threads at the end", threads(), flush=True))
import numpy as np
import torch
from dataclasses import replace
from nlhf.language import loading, team
from nlhf.language.policy import CausalLM
from nlhf.models.content import InputModel

team.join()
options = CausalLM(model=InputModel(sys.argv[1], "policy.model"), lora=True, lora_rank=2, lora_targets=[],
                   max_new_tokens=8, temperature=1.0, top_p=1.0, micro_batch=2, dtype="auto", trust_remote_code=False,
                   shard=False)
alone = loading.load(options, 0, "cpu")
spread = team.team().load(replace(options, shard=True), 0, "cpu")
generator = torch.Generator().manual_seed(0)
weights = {name: (value + 0.3 * torch.randn(value.shape, generator=generator)).requires_grad_()
           for name, value in alone.initial.items()}
prompts = [(1, 2, 3, 4), (2,), (9, 1, 1), (1, 2, 3, 4), (5, 6), (7,), (3,)]
completions = [(3, 1, 0), (6, 4, 7), (0,), (6, 7, 8, 11), (2, 2, 2, 2, 2, 0), (0,), (1, 0)]
factors = torch.linspace(-1, 2, 7)

def computed(model, rows):
    scores = model.log_prob(weights, prompts[rows], completions[rows])
    gradient = torch.autograd.grad(scores @ factors[rows], list(weights.values()))
    with torch.no_grad():
        base = model.log_prob(None, prompts[rows], completions[rows])
        sums = model.divergence_and_entropy(weights, prompts[rows], completions[rows])
        uniforms = np.random.default_rng(1).random(len(prompts[rows]))
        mixture = [(weights, 0.7), (None, 0.3)]
        drawn = model.sample(mixture, prompts[rows], uniforms)
    return [scores, base, sums, *gradient], drawn

largest, lengths = 0.0, []
for rows in (slice(0, 7), slice(2, 3), slice(0, 4), slice(0, 7)):
    (first, drawn), (second, again) = computed(alone, rows), computed(spread, rows)
    assert drawn == again, (drawn, again)
    lengths += map(len, drawn)
    largest = max(largest, *(float((a - b).detach().abs().max() / (1 + a.detach().abs().max()))
                             for a, b in zip(first, second)))
sizes = [sum(getattr(value, "to_local", lambda: value)().numel() for name, value in model.module.named_parameters()
             if ".lora_" not in name) for model in (alone, spread)]
print(json.dumps({"largest": largest, "lengths": sorted(set(lengths)), "sizes": sizes}), flush=True)
"""


def test_spread_and_complete_models_are_the_same(tiny_model, tmp_path):
    """Scores, gradients, divergences and samples of a mixture; ranks with few, unequal and no rows."""
    (tmp_path / "script.py").write_text(SCRIPT)
    done = torchrun(str(tmp_path / "script.py"), str(tiny_model))
    assert done.returncode == 0, done.stderr[:3000]
    line, end = done.stdout.splitlines()
    assert end == "threads at the end []"  # a thread of gloo that is left can abort the interpreter
    result = json.loads(line)
    assert result["largest"] < 1e-5
    assert len(result["lengths"]) > 1  # rows of the ranks end after different numbers of tokens
    complete, slices = result["sizes"]
    assert complete / 2 <= slices < 0.6 * complete


def test_an_error_in_the_middle_of_a_pass_ends_all_ranks(tiny_model, tmp_path):
    script = SCRIPT.partition("def computed")[0] + (
        "import os\n"
        "from transformers.models.llama.modeling_llama import LlamaMLP\n"
        "def hungry(*_):\n"
        "    raise MemoryError('out of memory')\n"
        "if os.environ['RANK'] == '0':\n"
        "    LlamaMLP.forward = hungry\n"
        "try:\n"
        "    spread.sample([(None, 1.0)], prompts, np.zeros(7))\n"
        "except RuntimeError as error:\n"
        "    print(error, flush=True)\n"
        "try:\n"
        "    spread.sample([(None, 1.0)], prompts, np.zeros(7))\n"
        "except RuntimeError as error:\n"
        "    print(error, flush=True)\n"
    )
    (tmp_path / "script.py").write_text(script)
    done = torchrun(str(tmp_path / "script.py"), str(tiny_model))
    assert done.stdout.splitlines()[:2] == [
        "rank 0: MemoryError: out of memory",
        "the processes are out of step after an earlier error: repeat the command.",
    ]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["policy.shard=true"], "there is one process: start the command with torchrun, or set policy.shard=auto"),
        (["policy.shard=true", "policy.lora=false"], "policy.lora=false trains all weights: set policy.lora=true"),
    ],
)
def test_a_model_that_cannot_be_spread_is_refused(text_config, words, sentence):
    with pytest.raises(ConfigError, match=sentence):
        run_one(text_config(*words))
