"""Runs on a device that is not there, with numbers: they mix no devices, and give what runs on the CPU give.

Covers what fake tensors cannot: samples, networks, language models, their judges, files, and resuming."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

pytest.importorskip("transformers")
pytest.importorskip("peft")

from nlhf.arena.contest import hold
from nlhf.cli.judge_train import train
from nlhf.exploit import train as exploit
from nlhf.judges import panel as panels
from nlhf.judges.classifier import PairwiseModel
from nlhf.judges.ensemble import Ensemble
from nlhf.judges.learned import LearnedJudge, LearnedModel
from nlhf.judges.panel import Panel
from nlhf.models.content import InputModel
from nlhf.runner.run_one import run_one
from tests.composing import configured
from tests.judges.test_judged_text import TEMPLATE, reward_model, saved
from tests.judges.test_learned import cyclic, written
from tests.pretend_device import DEVICE, Pretended, pretend_device
from tests.test_resume import signalling

pytestmark = pytest.mark.usefixtures("one_thread")
COMMON = ["progress=false", "budget.queries=null", "budget.target=null", "budget.seconds=null"]
TABLE = ["game=random_tournament", "game.actions=5", "game.contexts=2", "reference=random", "policy=tabular"]
MLP = ["game=contextual", "game.actions=4", "game.contexts=6", "game.test_contexts=3", "policy=mlp",
       "policy.hidden=[8,8]"]  # fmt: skip
GRADIENT = ["prox=gradient", "prox.contexts=3", "prox.samples=4"]
CASES = {
    "exact": [*TABLE, "algorithm=nash_mp"],
    "exact, with an equilibrium": [*TABLE, "algorithm=nash_mp", "equilibrium=always"],
    "exact, float32": [*TABLE, "algorithm=optimistic", "dtype=float32"],
    "exact, looks at its steps": [*TABLE, "algorithm=adaptive_nash_mp"],
    "exact, secants": [*TABLE, "algorithm=secant"],
    "sampled": [*TABLE, "prox=sampled", "algorithm=nash_mp", "prox.opponents=3"],
    "sampled votes": [*TABLE, "prox=sampled", "algorithm=nash_mp_ema", "feedback=vote", "feedback.flip=0.1"],
    "sampled, low rank": ["game=low_rank", "game.actions=5", "prox=sampled", "algorithm=nash_mp",
                          "feedback.position_bias=0.5", "feedback.orders=random"],
    "sampled, annotators": ["game=annotators", "prox=sampled", "algorithm=nash_prox", "feedback.orders=both"],
    "sampled, embedding": ["game=general_preference", "game.actions=9", "prox=sampled", "algorithm=nash_mp"],
    "table, policy gradient": [*TABLE, *GRADIENT, "algorithm=nash_md_pg", "prox.baseline=learned"],
    "table, enumerated": [*TABLE, "prox=gradient", "prox.samples=null", "prox.contexts=null", "algorithm=nash_prox"],
    "network, policy gradient": [*MLP, *GRADIENT, "algorithm=nash_md_pg", "prox.surrogate=policy_gradient"],
    "network, pair": [*MLP, *GRADIENT, "algorithm=nash_prox", "prox.surrogate=pair", "prox.inner_steps=2"],
    "network, ipo": [*MLP, *GRADIENT, "algorithm=online_ipo", "prox.optimiser=sgd", "prox.clip=0.1"],
    "network, sppo": [*MLP, *GRADIENT, "algorithm=nash_prox", "prox.surrogate=sppo", "prox.optimiser=rmsprop"],
    "network, logistic": [*MLP, *GRADIENT, "algorithm=online_dpo", "feedback.orders=random"],
}  # fmt: skip


def ran(config, device, stop=None):
    """The folder of a run on a device, where it has one stop, after which it goes on."""
    with pretend_device() if device == DEVICE else sdpa_kernel(SDPBackend.MATH):  # the same attention on both
        config = config | {"device": device, "study": device.partition(":")[0]}
        if stop is not None:
            stopped = run_one(config, signalling(stop))
            assert stopped.status == "interrupted", stopped.summary["stop_reason"]
        outcome = run_one(config)
    assert outcome.status == "completed", outcome.summary["stop_reason"]
    return outcome.folder


def compared(config, stop=2, rtol=1e-9, atol=1e-12):
    """Both folders of a run, here and on the device, where it is stopped and goes on; their rows are the same."""
    here, there = ran(config, "cpu"), ran(config, DEVICE, stop)
    tables = [pd.read_csv(folder / "metrics.csv").drop(columns="seconds") for folder in (here, there)]
    assert tables[0].columns.equals(tables[1].columns)
    numbers = [table.select_dtypes("number").to_numpy(float) for table in tables]
    np.testing.assert_allclose(numbers[1], numbers[0], rtol=rtol, atol=atol)
    assert np.ptp(numbers[0][:, tables[0].select_dtypes("number").columns.get_loc("iteration")]) > 0
    return here, there


@pytest.mark.parametrize("case", CASES)
def test_a_run_is_the_same_there(tmp_path, case):
    config = configured(
        *CASES[case], *COMMON, "seeds=[4,0,9]", "budget.iterations=4", "beta=0.2", f"runs_dir={tmp_path}"
    )
    float32 = "float32" in case or "network" in case
    here, there = compared(config, **({"rtol": 1e-4, "atol": 1e-7} if float32 else {}))
    with np.load(here / "policy.npz") as mine, np.load(there / "policy.npz") as other:
        np.testing.assert_allclose(other["log_policy"], mine["log_policy"], atol=1e-5 if float32 else 1e-9)


# --- language models -------------------------------------------------------------------------------------------------


@pytest.fixture
def compared_texts(text_config):
    """Compares runs of the tiny language model, in float32 on both devices."""

    def made(*overrides, judge=None, **limits):
        config = text_config("policy.dtype=float32", "budget.iterations=3", *overrides)
        config["game"] |= {"judge": judge} if judge else {}
        here, there = compared(config, **({"stop": 1, "rtol": 1e-4, "atol": 1e-6} | limits))
        told = [pd.read_json(folder / "completions.jsonl", lines=True) for folder in (here, there)]
        pd.testing.assert_frame_equal(told[1], told[0], rtol=1e-5)
        return here, there

    return made


@pytest.mark.parametrize(
    "words",
    [["algorithm=nash_prox_fast"], ["algorithm=online_ipo", "policy.micro_batch=5"],
     ["algorithm=nash_md_pg", "policy.top_p=0.9"], ["algorithm=nash_ema_pg", "policy.lora=false", "log_policy=true"]],
    ids=lambda words: " ".join(words),
)  # fmt: skip
def test_a_language_model_is_the_same_there(compared_texts, words):
    here, there = compared_texts(*words)
    from safetensors.torch import load_file

    name = "model" if "policy.lora=false" in words else "adapter_model"
    mine, other = (load_file(folder / "policy" / f"{name}.safetensors") for folder in (here, there))
    assert mine.keys() == other.keys()
    assert all(torch.allclose(mine[key], other[key], atol=1e-4) for key in mine)  # Adam enlarges rounding errors


def test_a_language_model_in_half_precision_takes_steps_there(text_config):
    folder = ran(text_config("budget.iterations=1", "algorithm=nash_md_pg"), DEVICE)  # policy.dtype=auto
    assert pd.read_csv(folder / "metrics.csv")["test_kl_to_reference"].iloc[-1] != 0


def test_an_exploiter_is_the_same_there(text_config):
    config = text_config("policy.dtype=float32", "budget.iterations=1", "game.test_prompts=4")
    found = []
    for device in ("cpu", DEVICE):
        folder = ran(config, device)
        with pretend_device() if device == DEVICE else sdpa_kernel(SDPBackend.MATH):
            found.append(exploit.exploit(folder, 2, 2))
    assert found[1] == pytest.approx(found[0], rel=1e-4, abs=1e-6)


def test_an_arena_is_the_same_there(text_config):
    config = text_config("budget.iterations=1", "policy.lora=true")
    folder, words = ran(config, "cpu"), ["redraws=20", "most_prompts=2"]
    with sdpa_kernel(SDPBackend.MATH):
        here = hold([str(folder)], words).ranking
    with pretend_device():
        there = hold([str(folder)], [*words, f"device={DEVICE}"]).ranking
    assert there.pooled.items == here.pooled.items
    np.testing.assert_allclose(there.pooled.preference, here.pooled.preference)


# --- judges ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def learned(encoder, tmp_path_factory):
    """Where judges were learned on either device, the encoder too."""
    place = tmp_path_factory.mktemp("judges")
    data = written(place / "votes.jsonl", cyclic(12))
    words = [f"data={data}", f"encoder={encoder}", "folds=2", "inner_folds=1", "pairs=64", "epochs=2"]
    trained = {"cpu": train([*words, "judge=general_preference", "fine_tune=true", f"out={place / 'cpu'}"]),
               "pairs": train([*words, "judge=pairwise_model", f"out={place / 'pairs'}"])}  # fmt: skip
    with pretend_device():
        trained[DEVICE] = train([*words, "judge=general_preference", "fine_tune=true", f"out={place / 'there'}",
                                 f"device={DEVICE}"])  # fmt: skip
    return trained


@pytest.fixture
def relevant(encoder, monkeypatch):
    """The tiny encoder as that of the criterion relevance."""
    monkeypatch.setattr(panels, "bundled_embedder", lambda: encoder)
    panels._embedder.cache_clear()
    yield
    panels._embedder.cache_clear()


TEXTS = ["the old sea is good", "a bird", "tea " * 9, ""]
PAIRS = [
    (prompt, first, second) for prompt in ("why tea", "write about the sea") for first in TEXTS for second in TEXTS
]


@pytest.mark.parametrize("kind", ["panel", "reward", "chat reward", "pairs", "learned", "learned pairs"])
def test_a_judge_says_the_same_there(kind, tmp_path, learned, relevant):
    def judge():
        if kind == "panel":
            return Panel(criteria=["relevance", "length"], words=3, margin=0.0)
        if kind in ("reward", "chat reward"):
            return reward_model(saved(tmp_path, TEMPLATE if "chat" in kind else None, pad=None))
        if kind == "learned":
            return LearnedJudge(LearnedModel(str(learned["cpu"])), None, 3)
        model = InputModel(str(learned["pairs"])) if "learned" in kind else saved(tmp_path)
        return PairwiseModel(model=model, scale=1.0, batch=4, trust_remote_code=False, voters=None,
                             template="{prompt} {first} {second}")  # fmt: skip

    here, there = judge(), Ensemble(judges={"a": (mine := judge()), "b": mine}, rule="mean")
    with sdpa_kernel(SDPBackend.MATH):
        expected = here.preference(PAIRS)
    with pretend_device():
        there.use_device(DEVICE)
        told = there.preference(PAIRS)
    assert mine.run_device == DEVICE
    np.testing.assert_allclose(told, expected, atol=1e-6)
    assert np.ptp(expected) > 0


def test_a_judge_learns_the_same_there(learned):
    judges = [LearnedJudge(LearnedModel(str(learned[device])), None, 3) for device in ("cpu", DEVICE)]
    here, there = (judge.preference(PAIRS) for judge in judges)
    np.testing.assert_allclose(there, here, atol=1e-3)


def test_a_run_asks_its_judges_there(compared_texts, tmp_path, learned, relevant):
    saved(tmp_path / "reward")
    judges = {"a": ["panel", "criteria=[relevance,diversity]"], "b": ["reward_model", f"model={tmp_path / 'reward'}"],
              "c": ["general_preference", f"model={learned['cpu']}"],
              "d": ["pairwise_model", f"model={tmp_path / 'reward'}"]}  # fmt: skip
    words = [word for name, (kind, setting) in judges.items()
             for word in (f"+judge@game.judge.judges.{name}={kind}",
                          f"game.judge.judges.{name}.{setting}")]  # fmt: skip
    chosen = ["game=text", "policy=causal_lm", "prox=gradient", "judge@game.judge=ensemble"]
    compared_texts("budget.iterations=2", judge=configured(*chosen, *words)["game"]["judge"])


# --- the device itself -----------------------------------------------------------------------------------------------


def test_the_device_refuses_what_a_gpu_refuses():
    with pretend_device():
        there, here = torch.ones(3, device=DEVICE), torch.ones(3)
        for mixed in (lambda: there + here, lambda: here + there.sum(), lambda: torch.cat([there, here]),
                      lambda: here[torch.tensor([0], device=DEVICE)], lambda: here.add_(there),
                      lambda: torch.nn.Linear(3, 1)(there),
                      lambda: torch.logaddexp(there, there, out=here)):  # fmt: skip
            with pytest.raises(RuntimeError, match="same device"):
                mixed()
        for method in (there.numpy, lambda: np.asarray(there)):
            with pytest.raises(TypeError, match="can't convert"):
                method()


def test_the_device_computes_as_the_cpu_does():
    with pretend_device():
        values = torch.tensor([1.0, 2, 3], device=DEVICE, requires_grad=True)
        (slope,) = torch.autograd.grad((values**2).sum().cpu() * 2, [values])
        assert (slope.device, slope.tolist()) == (torch.device(DEVICE), [4, 8, 12])
        assert ((values + torch.tensor(1.0))[torch.tensor([0, 2])]).tolist() == [2, 4]  # as torch allows
        whole = torch.zeros(4, device=DEVICE)
        part = whole[1:3]
        part += 1
        assert torch.logaddexp(part, part, out=part) is part
        assert whole.tolist() == pytest.approx([0, 1 + np.log(2), 1 + np.log(2), 0])
        layer = torch.nn.Linear(3, 1).to(DEVICE)
        told = torch.func.functional_call(layer, {"weight": torch.ones(1, 3, device=DEVICE)}, (values,))
        assert torch.func.vmap(lambda row: row * 2)(told[None]).tolist() == (2 * told[None]).tolist()
        stream = io.BytesIO()
        torch.save({"value": whole}, stream)
        for place, kind in ((DEVICE, Pretended), ("cpu", torch.Tensor)):
            stream.seek(0)
            assert type(torch.load(stream, weights_only=True, map_location=place)["value"]) is kind
