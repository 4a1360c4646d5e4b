"""Offline methods: recorded pairs of the reference or of a file; gradients and minimisers against closed forms."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from scipy import optimize

from nlhf.config import ConfigError
from nlhf.games.feedback import Feedback
from nlhf.games.matrix import MatrixGame
from nlhf.games.preference import PreferenceTable
from nlhf.policies.tabular import TabularPolicy
from nlhf.prox.base import Parts
from nlhf.prox.gradient import GradientProx
from nlhf.prox.recorded import RecordedGradient
from nlhf.runner.run_one import run_one
from nlhf.runner.specification import specify
from tests.composing import configured

BETA = 0.5
REFERENCE = np.array([0.1, 0.2, 0.3, 0.4])
P = np.array([[0.5, 0.8, 0.3, 0.6], [0.2, 0.5, 0.9, 0.4], [0.7, 0.1, 0.5, 0.75], [0.4, 0.6, 0.25, 0.5]])
FEEDBACK = Feedback(None, "given", 0.0, 0.0)
ALL = [(y, z) for y in range(4) for z in range(4)]


def engine(surrogate, samples=32, **options):
    """An engine that has recorded every pair of actions once, in batches of `samples`/2 pairs."""
    settings = {"recorded": 1, "contexts": 1, **options}
    prox = GradientProx(surrogate, 1, settings.pop("contexts"), samples, "half", 4.0, "sgd", 0.5, None, 0.0, None, True,
                        **settings)  # fmt: skip
    game = MatrixGame.from_tables([PreferenceTable(P[None], tuple("abcd"), ("",))])
    reference = TabularPolicy(torch.from_numpy(np.log(REFERENCE))[None, None])
    return prox.pair_engine(Parts(game, reference, torch.full((1, 1, 1), BETA, dtype=torch.float64), [0], FEEDBACK))


def exhaustive(surrogate, monkeypatch, **options):
    """An engine whose batches are all 16 pairs, each once."""
    made = engine(surrogate, **options)
    first, second = (torch.tensor([[pair[side] for pair in ALL]]) for side in (0, 1))
    contexts, gain = torch.zeros_like(first), torch.from_numpy(P.ravel() - 0.5)[None]
    from nlhf.prox import recorded

    pairs = recorded.Pairs(contexts, first, second, gain)
    monkeypatch.setattr(RecordedGradient, "_read", lambda *_: pairs)
    return made


def stepped(made, policy, steps):
    for _ in range(steps):
        policy = made(opponent=policy, anchor=policy, step_size=made.beta + float("inf"))
    return policy


def rested(surrogate, monkeypatch, steps=4000):
    made = exhaustive(surrogate, monkeypatch)
    return stepped(made, made.reference, steps).probabilities[0, 0].numpy()


def minimiser(loss):
    """Of a loss of log-probabilities, by another optimiser."""

    def of_logits(logits):
        return loss(logits - np.log(np.exp(logits).sum()))

    logits = optimize.minimize(of_logits, np.log(REFERENCE), method="BFGS", options={"gtol": 1e-9}).x
    return np.exp(logits) / np.exp(logits).sum()


def ratios(log_pi):
    log_ratio = log_pi - np.log(REFERENCE)
    return log_ratio[:, None] - log_ratio[None]


def dpo(log_pi):
    d = 4 * BETA * ratios(log_pi)
    return (P * np.logaddexp(0, -d) + (1 - P) * np.logaddexp(0, d)).mean()


def ipo(log_pi):
    return ((ratios(log_pi) - (P - 0.5) / BETA) ** 2).mean()


@pytest.mark.parametrize(("surrogate", "loss"), [("logistic", dpo), ("ipo", ipo)])
def test_offline_methods_rest_at_the_minimisers_of_the_published_losses(surrogate, loss, monkeypatch):
    assert rested(surrogate, monkeypatch) == pytest.approx(minimiser(loss), abs=2e-5)


def test_ipo_on_all_pairs_rests_at_the_best_response_to_their_writer(monkeypatch):
    """Every pair of a uniform writer once: log(pi/ref) = P(y > uniform)/beta + constant."""
    expected = REFERENCE * np.exp(P.mean(1) / BETA)
    assert rested("ipo", monkeypatch) == pytest.approx(expected / expected.sum(), abs=2e-5)


def test_sft_rests_at_the_distribution_of_the_chosen_answers(monkeypatch):
    """Of the pairs (y, z), y is chosen with P and z with 1 - P: each action P(y > uniform)/2 in all."""
    expected = (P.sum(1) + (1 - P).sum(0)) / len(ALL) / 2
    assert expected.sum() == pytest.approx(0.5)
    assert rested("likelihood", monkeypatch) == pytest.approx(2 * expected, abs=2e-5)


def test_the_first_gradient_of_dpo_is_its_closed_form(monkeypatch):
    """At the reference D = 0, so the gradient of -log sig(b D), over 2b, is -(P - 1/2)(e_y - e_z)/2 for each pair."""
    made = exhaustive("logistic", monkeypatch)
    stepped_once = stepped(made, made.reference, 1).parameters
    ((_, after),) = stepped_once.items()
    ((_, before),) = made.reference.parameters.items()
    gradient = np.zeros(4)
    for y, z in ALL:
        gradient[y] += (P[y, z] - 0.5) / 2 / len(ALL)
        gradient[z] -= (P[y, z] - 0.5) / 2 / len(ALL)
    moved = (after - before)[0, 0].numpy() / 0.5  # the learning rate
    assert moved - moved.mean() == pytest.approx(gradient, abs=1e-12)


def test_pairs_are_drawn_once_and_then_read_again():
    made = engine("ipo", samples=8, recorded=6)
    asked = []
    judge = made.judge
    made.judge = lambda contexts, first, second, active: (
        asked.append(first.numel()) or judge(contexts, first, second, active)
    )
    stepped(made, made.reference, 2)
    assert asked == [4, 2]
    pairs = made.pairs
    stepped(made, made.reference, 5)
    assert asked == [4, 2]
    assert made.pairs is pairs
    assert made.queries.tolist() == [6 + 5 * 4]  # pairs that were read
    rows = set(zip(*(tensor[0].tolist() for tensor in pairs.tensors), strict=True))
    assert set(zip(*(tensor[0].tolist() for tensor in made.batch.tensors), strict=True)) <= rows


def test_recorded_pairs_are_those_of_the_reference():
    made = engine("ipo", samples=2 * 20_000, recorded=20_000)
    stepped(made, made.reference, 1)
    _, first, second, gain = (tensor[0].numpy() for tensor in made.pairs.tensors)
    for side in (first, second):
        assert np.bincount(side, minlength=4) / len(side) == pytest.approx(REFERENCE, abs=0.015)
    assert np.corrcoef(first, second)[0, 1] == pytest.approx(0, abs=0.03)
    assert gain == pytest.approx(P[first, second] - 0.5)


def test_a_stopped_seed_goes_on_with_the_same_pairs():
    made, again = (engine("ipo", samples=8, recorded=6) for _ in range(2))
    policy = stepped(made, made.reference, 3)
    again.restore(made.snapshot())
    ends = [stepped(one, policy, 3).probabilities for one in (made, again)]
    assert ends[0].equal(ends[1])


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["algorithm=offline_dpo"], r"needs .+: set prox=gradient prox\."),
        (["prox=gradient", "prox.recorded=5"], "prox.surrogate=policy_gradient needs new answers"),
        (["prox=gradient", "prox.surrogate=likelihood"], "needs recorded pairs: give prox.recorded=NUMBER, or file"),
        (["prox=gradient", "algorithm=sft", "prox.samples=null"], "prox.samples=null enumerates pairs"),
        (["prox=gradient", "algorithm=sft", "prox.recorded=0"], "prox.recorded=0 is too small"),
        (["prox=gradient", "algorithm=sft", "prox.recorded=file"], "needs prompts with recorded pairs: set game=text"),
        (["prox=gradient", "algorithm=offline_dpo", "prox.alpha=0.1"], "prox.alpha=0.1 rewards draws"),
    ],
)
def test_what_recorded_pairs_cannot_do_is_refused_in_a_sentence(overrides, sentence):
    with pytest.raises(ConfigError, match=sentence):
        specify(configured(*overrides))


PAIRS = [("why", "the sea", "a bird"), ("moon", "tea", "the river"), ("bread", "a stone", "tea"), ("tea", "one", "two")]


@pytest.fixture
def pair_file(tmp_path):
    path = tmp_path / "pairs.jsonl"
    rows = [{"prompt": prompt, "chosen": chosen, "rejected": rejected} for prompt, chosen, rejected in PAIRS]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("algorithm", ["offline_dpo", "offline_ipo", "sft"])
def test_language_models_learn_from_a_file_of_pairs(text_config, pair_file, algorithm):
    words = [f"algorithm={algorithm}", f"game.path={pair_file}", "game.test_prompts=1", "prox.recorded=file"]
    outcome = run_one(text_config(*words, "budget.iterations=40", "prox.learning_rate=0.03"))
    assert outcome.status == "completed", outcome.summary["stop_reason"]
    assert outcome.summary["progress"]["queries"] == [40 * 3 * 2]
    assert "recorded pairs alone" in outcome.summary["method"]["caveat"]
    assert preferred(outcome) == [True] * 3


def preferred(outcome):
    """Whether training raised the log-ratio of chosen to rejected answers, for every training pair."""
    from nlhf.language.loading import load
    from nlhf.policies.base import Memory  # noqa: F401 (the checkpoint holds it)

    run = specify(outcome_config(outcome))
    model = load(run.policy, 0, "cpu")
    weights = torch.load(outcome.folder / "checkpoint.pt", weights_only=False)["state"].policy.weights
    prompts = [model.turn(prompt).tokens for prompt, _, _ in PAIRS[:3]]
    sides = [[model.tokenised(pair[side])[:6] for pair in PAIRS[:3]] for side in (1, 2)]
    with torch.no_grad():
        gains = [[model.log_prob(value, prompts, side) for side in sides] for value in (weights, None)]
    return ((gains[0][0] - gains[0][1]) > (gains[1][0] - gains[1][1])).tolist()


def outcome_config(outcome):
    from nlhf.io.yaml_files import read_yaml

    return read_yaml(outcome.folder / ".hydra" / "config.yaml", dict)


@pytest.mark.usefixtures("one_thread")
def test_a_language_model_that_is_stopped_goes_on_with_its_pairs(text_config):
    from tests.test_resume import signalling
    from tests.test_text_game import rows

    words = ["algorithm=offline_ipo", "prox.recorded=9", "budget.iterations=5"]
    whole = run_one(text_config(*words, "study=whole"))
    assert run_one(text_config(*words, "study=stopped"), signalling(2)).status == "interrupted"
    again = run_one(text_config(*words, "study=stopped"))
    assert rows(again).equals(rows(whole))
    files = [(one.folder / "policy" / "adapter_model.safetensors").read_bytes() for one in (again, whole)]
    assert files[0] == files[1]
    assert json.loads((again.folder / "summary.json").read_text())["progress"]["queries"] == [6 + 3 + 3 * 6]


@pytest.mark.usefixtures("one_thread")
def test_files_without_pairs_are_refused_in_a_sentence(text_config, pair_file, tmp_path, caplog):
    words = ["algorithm=sft", "prox.recorded=file", "game.test_prompts=1", "budget.iterations=1"]
    with pytest.raises(ConfigError, match=r"prox.recorded=file needs a file of pairs: give game.path=FILE"):
        run_one(text_config(*words))
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text('{"prompt": "why"}\n{"prompt": "tea"}\n')
    with pytest.raises(ConfigError, match=r"has no columns chosen and rejected, which prox.recorded=file reads"):
        run_one(text_config(*words, f"game.path={prompts}"))
    run_one(text_config(*words, f"game.path={pair_file}", "policy.max_new_tokens=2"))
    assert "4 of 6 recorded completions are cut to policy.max_new_tokens=2" in caplog.text
