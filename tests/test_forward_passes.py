"""Which forward passes of a language model a step needs, and that the others would change nothing."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("transformers")
pytest.importorskip("peft")

from nlhf.games.feedback import Feedback
from nlhf.language import caches, sampling, scoring
from nlhf.language import model as language_model
from nlhf.language.completions import Completions
from nlhf.language.game import TextGame
from nlhf.language.model import LanguageModel
from nlhf.language.policy import CausalLMPolicy
from nlhf.language.reading import Turn
from nlhf.prox.base import Parts
from nlhf.prox.gradient import GradientProx
from nlhf.prox.problem import Problem
from tests.test_language_architectures import made
from tests.test_language_model import PROMPTS, other, tiny

pytestmark = pytest.mark.usefixtures("one_thread")
BEGINNING = (1, 2, 3, 4, 6, 7)
ALIKE = [(*BEGINNING, 8, 9), (*BEGINNING, 1), (*BEGINNING, 8, 9), (*BEGINNING, 2, 2, 2)]
COMPLETIONS = [(3, 1, 2), (6, 4), (5,), (6, 7, 8)]


class Longer:
    """A judge that prefers the longer text."""

    def verdicts(self, pairs):
        return np.array([0.5 + 0.4 * np.sign(len(first) - len(second)) for _, first, second in pairs])


class Counting(LanguageModel):
    """Counts evaluations of whole completions, by weights."""

    def __init__(self, model: LanguageModel) -> None:
        super().__init__(model.options, model.module, model.base, model.tokenizer, model.initial)
        self.evaluations: list[tuple[str, bool]] = []

    def log_prob(self, weights, prompts, completions):
        name = "base" if weights is None else f"{next(iter(weights.values())).detach().sum().item():.6f}"
        self.evaluations.append((name, any(value.requires_grad for value in (weights or {}).values())))
        return super().log_prob(weights, prompts, completions)


def engine(model, surrogate, beta, inner_steps):
    turns = tuple(Turn(tokens, str(number)) for number, tokens in enumerate(PROMPTS))
    base = CausalLMPolicy(None, None, model, turns)
    options = GradientProx(surrogate=surrogate, inner_steps=inner_steps, contexts=3, samples=4, baseline="half",
                           beta_dpo=4.0, optimiser="sgd", learning_rate=0.1, decay_steps=None, momentum=0.0, clip=None,
                           carry=False)  # fmt: skip
    scale = torch.full((1, 1, 1), beta, dtype=torch.float64)
    return base, options.pair_engine(
        Parts(TextGame(Longer(), model, turns), base, scale, [0], Feedback(None, "given", 0.0, 0.0))
    )


# Anchor, beta and step size, and the policies that are evaluated beside the learner in one step
CASES = [
    ("ipo", "start", 0.1, 2.0, ["base"]),  # the anchor is where the learner starts: its values are the learner's
    ("ipo", "base", 0.1, 2.0, ["base"]),  # the anchor is the reference
    ("ipo", "other", 0.1, 2.0, ["base", "other"]),
    ("ipo", "other", 0.1, float("inf"), ["base"]),  # the anchor has no weight
    ("ipo", "other", 0.0, 2.0, ["other"]),  # the reference has no weight
    ("policy_gradient", "other", 0.1, float("inf"), ["base"]),
    ("policy_gradient", "other", 0.0, float("inf"), []),
]


@pytest.mark.parametrize(("surrogate", "anchor", "beta", "step", "expected"), CASES)
def test_a_step_evaluates_every_policy_once_and_none_without_weight(surrogate, anchor, beta, step, expected):
    model = Counting(tiny(lora=True))
    base, prox = engine(model, surrogate, beta, inner_steps=1)
    start, elsewhere = base.trained(other(model), None), base.trained(other(model, 7), None)
    policies = {"start": start, "base": base, "other": elsewhere}
    prox(opponent=start, anchor=policies[anchor], step_size=torch.full((1, 1, 1), step), start=start)
    names = {f"{next(iter(policy.weights.values())).sum().item():.6f}": name
             for name, policy in policies.items() if policy.weights} | {"base": "base"}  # fmt: skip
    counts = Counter(names[name] for name, _ in model.evaluations)
    assert counts == Counter([*expected, "start"])
    assert [name for name, learned in model.evaluations if learned] == [
        name for name in names if names[name] == "start"
    ]


def test_later_inner_steps_reuse_the_log_probabilities_of_the_sampler(monkeypatch):
    """The opponent draws the completions and is the anchor: from the second step on, no pass evaluates it."""
    model = Counting(tiny(lora=True))
    trained = {}
    for reuse in (True, False):
        if not reuse:
            monkeypatch.setattr(Completions, "_is_constant", False)
        base, prox = engine(model, "ipo", 0.1, inner_steps=3)
        start = base.trained(other(model), None)
        model.evaluations.clear()
        trained[reuse] = prox(opponent=start, anchor=start, step_size=torch.full((1, 1, 1), 2.0)).weights
        constant = [name for name, learned in model.evaluations if not learned]
        assert len(constant) == (3 if reuse else 5)  # the reference in each step, and the anchor in the last two
    for name, value in trained[True].items():
        assert torch.allclose(value, trained[False][name], rtol=1e-6, atol=1e-9)
    assert any(not torch.equal(value, start.weights[name]) for name, value in trained[True].items())


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_the_sampler_returns_the_log_probabilities_of_its_completions(temperature):
    model = tiny(temperature=temperature, length=8)
    prompts, uniforms = [*PROMPTS] * 4, np.random.default_rng(0).random(12)
    drawn, scores = sampling.scored_sample(model, [(other(model), 1.0)], prompts, uniforms)
    assert len({len(tokens) for tokens in drawn}) > 1
    assert scores.tolist() == pytest.approx(model.log_prob(other(model), prompts, drawn).tolist(), abs=1e-9)


def test_draws_of_a_mixture_are_evaluated_as_actions():
    """The token-wise mixture draws, and the mixture of sequences is what a KL term needs."""
    model = Counting(tiny())
    turns = [Turn(tokens, "") for tokens in PROMPTS]
    mixture = Completions(model, [(other(model), 0.7), (None, 0.3)], turns)
    drawn = mixture.sample(torch.full((1, 3, 2), 0.3, dtype=torch.float64))
    values = mixture.log_prob(drawn)
    assert len(model.evaluations) == 2
    first, second = (Completions(model, [(weights, 1.0)], turns).log_prob(drawn) for weights in (other(model), None))
    assert torch.allclose(values, 0.7 * first + 0.3 * second)
    assert not torch.allclose(values, first + second)


def test_the_gradient_of_log_probabilities_is_that_of_finite_differences():
    logits = torch.randn(2, 3, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    tokens = torch.tensor([[0, 6, 3], [2, 2, 5]])
    assert torch.autograd.gradcheck(lambda values: scoring._LogProbs.apply(values, tokens), (logits,))


@pytest.mark.parametrize("regularised", [True, False])
@pytest.mark.parametrize("anchored", [True, False])
def test_a_term_without_weight_is_zero(regularised, anchored):
    """The margin without a term equals the margin with the term and a weight of zero."""
    model = tiny()
    turns = [Turn(tokens, "") for tokens in PROMPTS]
    learner, anchor, reference = (Completions(model, [(weights, 1.0)], turns)
                                  for weights in (other(model), other(model, 7), None))  # fmt: skip
    _, prox = engine(model, "ipo", 0.1, 1)
    beta, inverse_step = (torch.full((1, 1, 1), 0.3 * given) for given in (regularised, anchored))
    full = Problem(learner, learner, learner, anchor, reference, beta, inverse_step, beta, 0.0, prox.regulariser)
    actions = learner.sample(torch.rand(1, 3, 2, dtype=torch.float64))
    short = replace(full, weighs_reference=regularised, weighs_anchor=anchored)
    assert torch.equal(full.margin(actions), short.margin(actions))
    assert (full.margin(actions).abs().max() > 0) == (regularised or anchored)


@pytest.mark.parametrize(("kind", "shared"), [("llama", True), ("gpt2", True), ("gemma2", False), ("lfm2", False)])
def test_the_beginning_that_prompts_share_is_read_once(kind, shared, monkeypatch):
    """Models with sliding windows or recurrent layers read whole prompts: padding would come between the tokens."""
    model, lengths = made(kind, lora=True), []
    weights = {name: value + 0.1 * torch.randn_like(value) for name, value in model.initial.items()}
    forward = model.forward
    monkeypatch.setattr(model, "forward", lambda *given: lengths.append(given[1].shape) or forward(*given))

    def results():
        learned = {name: value.clone().requires_grad_() for name, value in weights.items()}
        scores = model.log_prob(learned, ALIKE, COMPLETIONS)
        gradient = torch.autograd.grad((scores * torch.arange(4)).sum(), list(learned.values()))
        return scores.detach(), gradient, model.sample([(weights, 1.0)], ALIKE * 3, np.random.default_rng(0).random(12))

    scores, gradient, drawn = results()
    assert ((1, len(BEGINNING)) in lengths) == shared
    monkeypatch.setattr(language_model, "shared_prefix", lambda _: ())
    expected, expected_gradient, expected_drawn = results()
    assert torch.allclose(scores, expected, atol=2e-5)
    assert all(torch.allclose(*pair, rtol=1e-3, atol=1e-4) for pair in zip(gradient, expected_gradient, strict=True))
    assert drawn == expected_drawn


def test_the_shared_beginning_leaves_every_prompt_a_token():
    assert caches.shared_prefix(ALIKE) == BEGINNING
    assert caches.shared_prefix([BEGINNING, ALIKE[0]]) == BEGINNING[:-1]
    apart = [(1, 2, 3, 4, 5, 9, 9), (1, 2, 3, 4, 6, 7, 7, 7), (1, 2, 3, 4, 5, 8, 8)]
    assert caches.shared_prefix(apart) == caches.shared_prefix(apart[::-1]) == (1, 2, 3, 4)
    assert caches.shared_prefix([BEGINNING]) == caches.shared_prefix([(1, 2, 3, 9), (1, 2, 3, 4)]) == ()


@pytest.mark.parametrize("size", [5, 256, 1000])
def test_inversion_by_blocks_is_inversion_of_the_cumulative_sum(size):
    rng = np.random.default_rng(size)
    weights = torch.from_numpy(rng.exponential(size=(50, size)) ** 8 * (rng.random((50, size)) < 0.7)).float()
    levels = torch.from_numpy(rng.random(50))
    levels[:2] = torch.tensor([0.0, 1 - 2**-53])
    cumulative = weights.double().cumsum(-1).numpy()
    expected = [np.searchsorted(row, level * row[-1], side="right")
                for row, level in zip(cumulative, levels.numpy(), strict=True)]  # fmt: skip
    drawn = sampling._inverse(weights, levels)
    assert drawn[2:].tolist() == expected[2:]
    assert (weights.gather(-1, drawn[:, None]) > 0).all()


def sizes(parts):
    return [len(part) for part in parts]


@pytest.mark.parametrize(("tokens", "rows", "expected"), [
    (None, None, [4]), (None, 3, [3, 1]), (18, None, [1, 2, 1]), (17, None, [1, 1, 1, 1]), (1, None, [1, 1, 1, 1]),
    (34, None, [3, 1]), (1000, 2, [2, 2]),
])  # fmt: skip
def test_micro_batches_have_at_most_so_many_tokens(tokens, rows, expected):
    """Two prompts of 8 tokens, the second one three times, and completions of 2, 4, 5 and 3 tokens, with padding."""
    model = tiny()
    object.__setattr__(model.options, "micro_batch", rows)
    object.__setattr__(model.options, "micro_batch_tokens", tokens)
    prompts = [(1,) * 8, (2,) * 8, (2,) * 8, (2,) * 8]
    pairs = list(zip(prompts, [(1,) * length for length in (2, 4, 5, 3)], strict=True))
    parts = scoring.batches(model, pairs)
    assert [row for part in parts for row in part] == pairs
    assert sizes(parts) == expected
    for part in parts:
        length = max(len(completion) for _, completion in part) * len(part) + 8 * len({prompt for prompt, _ in part})
        assert tokens is None or length <= tokens or len(part) == 1


def test_micro_batches_by_tokens_give_the_gradient_of_one_batch():
    results = []
    for tokens in (None, 12):
        model = tiny(lora=True, micro_batch=None)
        object.__setattr__(model.options, "micro_batch_tokens", tokens)
        weights = {name: value.requires_grad_() for name, value in other(model).items()}
        scores = model.log_prob(weights, [PROMPTS[0], PROMPTS[2], PROMPTS[2]], [(1, 2), (2,), (3, 3, 1)])
        results.append([scores.detach(), *torch.autograd.grad(scores.square().sum(), list(weights.values()))])
    assert all(torch.allclose(*pair, rtol=1e-9, atol=1e-12) for pair in zip(*results, strict=True))
