"""Every sampled gradient against its enumerated expectation, and the enumerated ones against J written by hand.

Gradients are read off one step of plain descent at rate 1, so that everything is tested which a run goes through:
batches of contexts, draws, votes, baselines. Seeds share the problem and differ in what they draw.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from nlhf.games.feedback import Feedback
from nlhf.policies.mixture import GeometricMixture
from nlhf.policies.mlp import Inputs, MLPPolicy
from nlhf.policies.tabular import TabularPolicy
from nlhf.prox.base import Parts
from nlhf.prox.gradient import GradientProx
from tests.adversarial import log_policy, matrix_game, uniform

pytestmark = pytest.mark.usefixtures("one_thread")

CONTEXTS, ACTIONS, SEEDS, BATCH, SAMPLES = 3, 4, 10_000, 6, 4
BETA, STEP = 0.2, 1.5
RNG = np.random.default_rng(0)
GAME = matrix_game(np.stack([uniform(ACTIONS, RNG) for _ in range(CONTEXTS)]))
FEATURES = torch.from_numpy(RNG.standard_normal((1, CONTEXTS, 2)))
LEARNER, OPPONENT, ANCHOR, REFERENCE = log_policy(0.7, (4, CONTEXTS, ACTIONS), RNG)[:, None]
ALPHA = {"enpo": 2.0, "xpo": 0.3}  # the losses whose second sampler is the reference here
SURROGATES = [("policy_gradient", "half"), ("policy_gradient", "leave_one_out"), ("policy_gradient", "learned"),
              ("pair", "half"), ("ipo", "half"), ("uniform_pair", "half"), ("sppo", "half"), ("logistic", "half"),
              ("enpo", "half"), ("xpo", "half")]  # fmt: skip


def tabular(seeds, kind=torch.float64):
    return TabularPolicy(LEARNER.to(kind).repeat(seeds, 1, 1))


def mlp(seeds, kind=torch.float32):
    rng = np.random.default_rng(1)
    shapes = {"w0": (2, 5), "b0": (1, 5), "w1": (5, ACTIONS), "b1": (1, ACTIONS)}
    weights = {name: torch.from_numpy(0.7 * rng.standard_normal(shape)) for name, shape in shapes.items()}
    inputs = Inputs(FEATURES.to(kind), REFERENCE.to(kind).expand(seeds, -1, -1))
    return MLPPolicy({name: value.to(kind).repeat(seeds, 1, 1) for name, value in weights.items()}, inputs)


families = pytest.mark.parametrize("family", [tabular, mlp])


def feedback(votes=None, orders="given", flip=0.0, position_bias=0.0):
    return Feedback(votes, orders, flip, position_bias)


def parts(seeds, told):
    beta = torch.full((seeds, 1, 1), BETA, dtype=torch.float64)
    return Parts(GAME, TabularPolicy(REFERENCE.expand(seeds, -1, -1)), beta, list(range(seeds)), told)


def engine(surrogate, seeds, told, contexts=None, samples=None, baseline="half", inner_steps=1):
    options = GradientProx(
        surrogate="logistic" if surrogate == "xpo" else surrogate, inner_steps=inner_steps, contexts=contexts,
        samples=samples, baseline=baseline, beta_dpo=4.0, optimiser="sgd", learning_rate=1.0, decay_steps=None,
        momentum=0.0, clip=None, carry=False, alpha=ALPHA.get(surrogate, 0.0),
        comparators=2 if surrogate == "enpo" else 1,
    )  # fmt: skip
    return options.engine(parts(seeds, told))


def step(prox, learner, opponent=None, inverse_step=1 / STEP):
    """The gradient that one step went along, (S, parameters)."""
    opponent = opponent or mixture(len(prox.beta))
    anchor, size = TabularPolicy(ANCHOR.expand(len(prox.beta), -1, -1)), 1 / (0 * prox.beta + inverse_step)
    partner = prox.reference if prox.options.alpha else None
    after = prox(opponent=opponent, anchor=anchor, step_size=size, start=learner, partner=partner).parameters
    gradients = [(value - after[name]).flatten(1) for name, value in learner.parameters.items()]
    if isinstance(learner, TabularPolicy):  # a table is normalised after the step; gradients of logits sum to zero
        moved = gradients[0].view(len(gradients[0]), -1, ACTIONS)
        gradients = [(moved - moved.mean(-1, keepdim=True)).flatten(1)]
    return torch.cat(gradients, 1).double()


def mixture(seeds):
    weight = torch.full((seeds, 1, 1), 0.3, dtype=torch.float64)
    other, reference = (TabularPolicy(table.expand(seeds, -1, -1)) for table in (OPPONENT, REFERENCE))
    return GeometricMixture(other, reference, weight)


def scores(sample, expected):
    """z of every entry of the mean of `sample` (N, d), and z of its length along `expected` (d), against 1."""
    error, spread = sample.mean(0) - expected, sample.std(0) / len(sample) ** 0.5
    assert error[spread < 1e-7].abs().le(1e-5).all(), "what does not vary is exact"
    along = sample @ expected / expected.square().sum()
    return (error / spread)[spread >= 1e-7], (along.mean() - 1) / (along.std() / len(sample) ** 0.5)


@families
@pytest.mark.parametrize("votes", [None, 1])
@pytest.mark.parametrize(("surrogate", "baseline"), SURROGATES)
def test_a_sampled_gradient_has_the_enumerated_expectation(surrogate, baseline, votes, family):
    prox = engine(surrogate, SEEDS, feedback(votes), BATCH, SAMPLES, baseline)
    for _ in range(2 if baseline == "learned" else 1):  # the second time the baseline has learned something
        sample = step(prox, family(SEEDS))
    assert baseline != "learned" or prox.value.abs().mean() > 0.005
    expected = step(engine(surrogate, 1, feedback()), family(1))[0]
    entries, length = scores(sample, expected)
    assert entries.abs().max() < 4.5
    assert abs(length) < 3.5
    assert scores(sample, 1.25 * expected)[1].abs() > 5, "a factor of 1.25 would show"


@families
@pytest.mark.parametrize("surrogate", ["policy_gradient", "pair", "ipo"])
def test_an_enumerated_gradient_is_that_of_the_objective_written_by_hand(surrogate, family):
    learner = family(1, torch.float64)
    opponent = learner if surrogate == "ipo" else mixture(1)
    parameters = {name: value.clone().requires_grad_() for name, value in learner.parameters.items()}
    log_pi = learner.at(None, parameters).log_probabilities
    pi, mu = log_pi.exp(), opponent.log_probabilities.detach().exp()
    won = torch.einsum("sxy,xyz,sxz->sx", pi, GAME.dense()[0], mu)
    divergences = [(pi * (log_pi - other)).sum(-1) for other in (REFERENCE, ANCHOR)]
    objective = (won - BETA * divergences[0] - divergences[1] / STEP).mean()
    by_hand = torch.autograd.grad(objective, list(parameters.values()))
    found = step(engine(surrogate, 1, feedback()), learner, opponent)[0]
    assert found.norm() > 0.01
    assert (found + torch.cat([gradient.flatten() for gradient in by_hand])).abs().max() < 1e-10


@families
@pytest.mark.parametrize("surrogate", ALPHA)
def test_an_enumerated_gradient_is_that_of_the_papers_loss_written_by_hand(surrogate, family):
    """XPO: DPO's loss plus alpha log pi(y'), over 2 beta_dpo. ENPO: (h - target/eta)^2 - alpha log pi, by eta/4."""
    learner, alpha, eta = family(1, torch.float64), ALPHA[surrogate], BETA + 1 / STEP
    parameters = {name: value.clone().requires_grad_() for name, value in learner.parameters.items()}
    log_pi = learner.at(None, parameters).log_probabilities
    mu, nu = mixture(1).log_probabilities.exp(), REFERENCE.exp()
    preference = GAME.dense()[0] + 0.5
    between = lambda values: values[..., :, None] - values[..., None, :]  # noqa: E731
    if surrogate == "xpo":
        logit = 4 * BETA * between(log_pi - REFERENCE)
        pairs = -(preference * logit.sigmoid().log() + (1 - preference) * (-logit).sigmoid().log())
        loss = (pairs + alpha * log_pi[..., None, :]) / (8 * BETA)
    else:
        h = between(log_pi) - BETA / eta * between(REFERENCE) - (eta - BETA) / eta * between(ANCHOR)
        target = between(torch.einsum("xyz,sxz->sxy", preference, mu))
        loss = eta / 4 * ((h - target / eta) ** 2 - alpha * log_pi[..., :, None])
    loss = torch.einsum("sxy,sxz,sxyz->sx", mu, nu, loss.expand(1, -1, -1, -1)).mean()
    by_hand = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(parameters.values()))])
    gradient = step(engine(surrogate, 1, feedback()), learner)[0]
    assert by_hand.norm() > 0.01
    assert (gradient - by_hand).abs().max() < 1e-10


@families
def test_two_samples_left_out_of_each_other_are_a_pair(family):
    """The same numbers draw the same actions and opponents, where there is one context and nobody votes."""
    two = [step(engine(surrogate, SEEDS, feedback(), 1, 2, "leave_one_out"), family(SEEDS, torch.float64))
           for surrogate in ("policy_gradient", "pair")]  # fmt: skip
    assert (two[0] - two[1]).abs().max() < 1e-12
    assert two[0].std(0).max() > 0.01


# --- pairs among the same samples: docs/mathematics.md, section 5.1 --------------------------------------------------


def among_themselves(drawn, leave_one_out):
    """The payoff's gradient from m actions (N, m) that are each other's opponents, (N, n)."""
    pi, m = LEARNER[0, 0].exp(), drawn.shape[1]
    told = GAME.dense()[0, 0][drawn[:, :, None], drawn[:, None, :]]  # (N, m, m), zero on the diagonal
    gain = told.sum(-1) / (m - 1)
    if leave_one_out:
        gain = gain - (gain.sum(-1, keepdim=True) - gain) / (m - 1)
    score = torch.eye(ACTIONS, dtype=torch.float64)[drawn] - pi  # the gradient of log pi in the logits
    return (gain[..., None] * score).mean(1)


def truth():
    """The gradient of pi^T A mu in the logits of pi, at mu = pi."""
    pi = LEARNER[0, 0].exp()
    won = GAME.dense()[0, 0] @ pi
    return pi * (won - pi @ won)


@pytest.mark.parametrize("m", [2, 3, 4])
def test_leave_one_out_among_each_other_inflates_the_payoff(m):
    """By m/(m - 1), and not on average alone: what is left out holds the action's own defeats."""
    everything = torch.tensor(list(itertools.product(range(ACTIONS), repeat=m)))
    weight = LEARNER[0, 0][everything].sum(-1, keepdim=True).exp()
    right, inflated = (among_themselves(everything, left_out) for left_out in (False, True))
    assert (inflated - right * m / (m - 1)).abs().max() < 1e-14
    assert ((weight * right).sum(0) - truth()).abs().max() < 1e-14
    assert ((weight * inflated).sum(0) - truth() * m / (m - 1)).abs().max() < 1e-14


def test_the_inflated_gradient_is_rejected():
    drawn = np.random.default_rng(2).choice(ACTIONS, (SEEDS, SAMPLES), p=LEARNER[0, 0].exp().numpy())
    right, inflated = (among_themselves(torch.from_numpy(drawn), left_out) for left_out in (False, True))
    entries, length = scores(right, truth())
    assert entries.abs().max() < 4.5
    assert abs(length) < 3.5
    entries, length = scores(inflated, truth())
    assert entries.abs().max() > 5
    assert length > 5
