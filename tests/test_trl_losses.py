"""The losses of nlhf and of TRL 1.13.0 on the same pairs; `python -m benchmarks.trl_losses` writes those of TRL."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("transformers")
pytest.importorskip("peft")

from benchmarks import trl_case as case
from nlhf.language.completions import Completions
from nlhf.language.loading import wrapped
from nlhf.language.policy import CausalLM
from nlhf.models.content import InputModel
from nlhf.prox.problem import Problem
from nlhf.prox.surrogates import SURROGATES
from nlhf.regularisers.reverse_kl import ReverseKL

pytestmark = pytest.mark.usefixtures("one_thread")
PEER = json.loads((Path(__file__).parent / "data" / "trl_losses.json").read_text())


class Fixed:
    """Draws that are the pairs of the case, with its preferences.

    Args:
        first, second: numbers of completions, (1, B, k).
        advantage: P(first > second) - 1/2, (1, B, k).
        weights: of the first completions.
    """

    queries = 0

    def __init__(self, first, second, advantage, weights=1.0):
        self.first, self.second, self.advantage, self.weights = first, second, advantage, weights

    def actions(self, policy):
        return self.first, self.weights

    def pairs(self, first, second):
        return self.first, self.second, self.weights

    def duel(self, first, second):
        return self.advantage

    def against_opponent(self, actions):
        return self.advantage

    def centred(self, gain):
        return gain


@pytest.fixture(scope="module")
def model():
    """The reference as the base model; the weights of the policy are passed with each call."""
    options = CausalLM(InputModel("tiny", "policy.model"), False, 1, [], case.LONGEST, 1.0, 1.0, 16, "float32", False)
    return wrapped(options, case.model(case.REFERENCE), case.tokenizer(), 0)


@pytest.fixture
def weights():
    """The policy, with a gradient for the weights that are compared."""
    parameters = case.model(case.POLICY).named_parameters()
    return {name: value.detach()[None].requires_grad_(name == case.GRADIENT) for name, value in parameters}


def numbers(model, completions):
    """The numbers of completions, (1, B, 1)."""
    return torch.tensor([[[model.number(tokens)] for tokens in completions]])


def problem(model, weights, prompts, beta_dpo=1.0, alpha=0.0):
    """The proximal problem without an anchor."""
    turns = [model.turn(prompt) for prompt in prompts]
    policy, reference = Completions(model, [(weights, 1.0)], turns), Completions(model, [(None, 1.0)], turns)
    scale = torch.ones(1, 1, 1, dtype=torch.float64)
    return Problem(
        policy, policy, reference, policy, reference, case.BETA * scale, 0 * scale, beta_dpo * scale, alpha, ReverseKL()
    )


def differences():
    """The difference of the rewards of both completions of every pair, (1, B, 1)."""
    first, second = torch.tensor(case.REWARDS, dtype=torch.float64)
    return (first - second)[None, :, None]


def agrees(loss, scale, weights, name):
    """Assert that scale * loss and its gradient are those of TRL."""
    (gradient,) = torch.autograd.grad(loss.sum(), weights[case.GRADIENT])
    expected = PEER["losses"][name]
    assert scale * loss.item() == pytest.approx(expected["loss"], rel=1e-5)
    np.testing.assert_allclose(scale * gradient[0].numpy(), expected["gradient"], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("name", "surrogate", "scale", "alpha"),
    [
        ("online_dpo", "logistic", 2 * case.BETA, 0.0),
        ("online_ipo", "ipo", 4 / case.BETA, 0.0),
        ("xpo", "logistic", 2 * case.BETA, case.ALPHA),
    ],
)
def test_losses_of_pairs_agree_up_to_their_scale(model, weights, name, surrogate, scale, alpha):
    """TRL takes the sign of the rewards' difference for the preference; the sign of XPO's bonus is the same."""
    first, second = (numbers(model, side) for side in (case.FIRST, case.SECOND))
    draws = Fixed(first, second, torch.where(differences() >= 0, 0.5, -0.5).double())
    loss = SURROGATES[surrogate].loss(problem(model, weights, case.PROMPTS, case.BETA, alpha), draws)
    agrees(loss, scale, weights, name)


def test_the_loss_of_nash_md_agrees_on_completions_of_one_token(model, weights):
    draws = Fixed(numbers(model, case.ONE_TOKEN), None, torch.sigmoid(differences()) - 0.5)
    loss = SURROGATES["policy_gradient"].loss(problem(model, weights, case.PROMPTS), draws)
    agrees(loss, 1.0, weights, "nash_md_one_token")


def test_the_loss_of_nash_md_differs_by_the_products_of_different_tokens(model, weights):
    """TRL multiplies the log-ratio of a token with the log-probability of this token, not of the whole completion."""
    draws = Fixed(numbers(model, case.FIRST), None, torch.sigmoid(differences()) - 0.5)
    loss = SURROGATES["policy_gradient"].loss(problem(model, weights, case.PROMPTS), draws).item()
    policy, reference = case.model(case.POLICY), case.model(case.REFERENCE)
    missing = []
    for prompt, completion in zip(case.PROMPTS, case.FIRST, strict=True):
        tokens = model.turn(prompt).tokens
        rows = torch.tensor([[*tokens, *completion]])
        steps = range(len(tokens) - 1, rows.shape[1] - 1)
        log_policy, log_reference = (
            module(rows).logits.log_softmax(-1)[0, steps, completion].detach() for module in (policy, reference)
        )
        log_ratio = log_policy - log_reference
        missing.append(float(log_ratio.sum() * log_policy.sum() - (log_ratio * log_policy).sum()))
    assert abs(np.mean(missing)) > 1
    expected = PEER["losses"]["nash_md"]["loss"]
    assert loss - case.BETA * np.mean(missing) == pytest.approx(expected, rel=1e-5)


def test_the_gradient_of_the_kl_term_is_exact_here_and_not_in_trl(model, weights):
    """The expectation over all completions of two tokens."""
    tokens = range(len(case.WORDS))
    rows = [(0,), *((one, two) for one, two in product(tokens, tokens) if one)]
    actions = torch.tensor([[[model.number(row) for row in rows]]])
    posed = problem(model, weights, case.PROMPTS[:1])
    chances = posed.learner.log_prob(actions).detach().exp()
    assert float(chances.sum()) == pytest.approx(1)
    loss = SURROGATES["policy_gradient"].loss(posed, Fixed(actions, None, torch.zeros_like(chances), chances))
    (gradient,) = torch.autograd.grad(loss.sum(), weights[case.GRADIENT])
    peer, exact = (np.array(PEER["kl_gradient"][name]) for name in ("peer", "exact"))
    np.testing.assert_allclose(gradient[0].numpy(), exact, rtol=1e-5, atol=1e-7)
    norms = np.linalg.norm(peer), np.linalg.norm(exact)
    assert peer @ exact / np.prod(norms) == pytest.approx(0.940, abs=1e-3)
    assert norms[0] / norms[1] == pytest.approx(0.774, abs=1e-3)


def test_the_mixture_of_trl_is_drawn_correctly_only_without_a_cache_and_without_adapters():
    distances = PEER["total_variation"]
    assert max(distances["no_cache"]) < 1e-9
    assert min(distances["cache"]) > 0.3
    assert min(distances["adapters"]) > 0.1
