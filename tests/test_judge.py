"""The annotator: every answer has the expectation that its formula, written by hand, says; what it costs is counted."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from nlhf.games.feedback import Feedback, Judge
from nlhf.numerics.streams import Uniforms
from nlhf.policies.tabular import TabularPolicy
from nlhf.prox.base import Parts
from nlhf.prox.gradient import GradientProx
from nlhf.prox.sampled import SampledProx
from tests.adversarial import log_policy, matrix_game, uniform

pytestmark = pytest.mark.usefixtures("one_thread")

DRAWS = 20_000
RNG = np.random.default_rng(3)
GAME = matrix_game(np.stack([uniform(4, RNG) for _ in range(2)]))
CONTEXT, FIRST, SECOND = 1, [0, 2, 3, 1], [1, 0, 2, 1]
P = (GAME.dense()[0, CONTEXT][FIRST, SECOND] + 0.5).tolist()
ACTIVE = np.ones(1, bool)
NOISES = [(0.0, 0.0), (0.2, 0.0), (0.0, 0.8), (0.1, -1.2), (0.5, 0.4)]


def told(draws=DRAWS, **noise):
    """Answers about the four pairs, (draws, 4)."""
    feedback = Feedback(**{"votes_per_pair": None, "orders": "given", "flip": 0.0, "position_bias": 0.0} | noise)
    judge = Judge(GAME, feedback, Uniforms([0], torch.device("cpu")))
    contexts = torch.full((1, draws), CONTEXT)
    first, second = (torch.tensor(side).expand(1, draws, -1) for side in (FIRST, SECOND))
    return judge(contexts, first, second, ACTIVE)[0]


def chosen(p, flip, bias):
    """The probability that the one shown first is chosen, where it is preferred with p."""
    noisy = (1 - flip) * p + flip * (1 - p)
    return 1 / (1 + math.exp(-math.log(noisy / (1 - noisy)) - bias))


def expected(orders, flip, bias):
    """The expectation of an answer about the four pairs."""
    given = [chosen(p, flip, bias) for p in P]
    turned = [1 - chosen(1 - p, flip, bias) for p in P]
    if orders == "given":
        turned = given
    return torch.tensor([(one + other - 1) / 2 for one, other in zip(given, turned, strict=True)], dtype=torch.float64)


def z(sample, mean):
    spread = sample.std(0) / len(sample) ** 0.5
    assert (sample.mean(0) - mean)[spread < 1e-12].abs().le(1e-12).all()
    return ((sample.mean(0) - mean) / spread)[spread >= 1e-12].abs().max()


@pytest.mark.parametrize(("flip", "bias"), NOISES)
@pytest.mark.parametrize("orders", ["given", "both"])
def test_a_told_probability_follows_its_formula(orders, flip, bias):
    answers = told(1, orders=orders, flip=flip, position_bias=bias)
    assert (answers - expected(orders, flip, bias)).abs().max() < 1e-14


@pytest.mark.parametrize(("flip", "bias"), NOISES)
@pytest.mark.parametrize("orders", ["given", "random", "both"])
@pytest.mark.parametrize("votes", [1, 3])
def test_votes_are_unbiased(votes, orders, flip, bias):
    answers = told(votes_per_pair=votes, orders=orders, flip=flip, position_bias=bias)
    assert z(answers, expected(orders, flip, bias)) < 4
    scale = votes * (2 if orders == "both" else 1)
    assert ((answers + 0.5) * scale).sub(((answers + 0.5) * scale).round()).abs().max() < 1e-9


def test_a_fair_coin_of_orders_is_unbiased():
    answers = told(orders="random", position_bias=0.8)
    assert z(answers, expected("random", 0.0, 0.8)) < 4
    assert answers.unique().numel() <= 8


@pytest.mark.parametrize("votes", [1, 4, 16])
def test_more_votes_vary_less(votes):
    answers = told(votes_per_pair=votes)
    by_hand = torch.tensor([p * (1 - p) / votes for p in P], dtype=torch.float64)
    assert (answers.var(0) / by_hand - 1).abs().max() < 0.05


@pytest.mark.parametrize("bias", [0.8, -1.2])
def test_both_orders_answer_antisymmetrically_and_one_order_does_not(bias):
    """The last of the four pairs is an action and itself."""
    one, both = (told(1, orders=orders, position_bias=bias)[0] for orders in ("given", "both"))
    assert abs(both[-1]) < 1e-15
    assert (one[-1] * bias) > 0.1
    assert torch.equal(both.sign()[:-1], torch.tensor(P).sub(0.5).sign()[:-1].double())


# --- what is charged --------------------------------------------------------------------------------------------------

SEEDS, BATCH, STEPS = 3, 5, 2
SAMPLED = {
    "policy_gradient": 4,
    "pair": 4,
    "ipo": 2,
    "uniform_pair": 4,
    "sppo": 4,
    "logistic": 2,
    "enpo": 4,
}  # of four samples in a context
ENUMERATED = {"policy_gradient": 1, "pair": 1, "ipo": STEPS * 4, "uniform_pair": 1, "sppo": 1, "logistic": STEPS * 4,
              "enpo": 1}  # fmt: skip


def parts(seeds, **noise):
    feedback = Feedback(**{"votes_per_pair": None, "orders": "given", "flip": 0.0, "position_bias": 0.0} | noise)
    beta, reference = torch.full((seeds, 1, 1), 0.2, dtype=torch.float64), log_policy(0.5, (1, 2, 4), RNG)
    return Parts(GAME, TabularPolicy(reference.expand(seeds, -1, -1)), beta, list(range(seeds)), feedback)


def charged(surrogate, samples, contexts, comparators=1, **noise):
    options = GradientProx(
        surrogate=surrogate, inner_steps=STEPS, contexts=contexts, samples=samples, baseline="half", beta_dpo=4.0,
        optimiser="sgd", learning_rate=0.1, decay_steps=None, momentum=0.0, clip=None, carry=True,
        comparators=comparators,
    )  # fmt: skip
    prox = options.engine(parts(SEEDS, **noise))
    prox.active = np.array([True, False, True])
    prox(opponent=prox.reference, anchor=prox.reference, step_size=1 / prox.beta)
    return prox.queries.tolist()


@pytest.mark.parametrize(
    "noise", [{}, {"votes_per_pair": 3, "orders": "both"}, {"position_bias": 1.0, "orders": "random"}]
)
@pytest.mark.parametrize("surrogate", SAMPLED)
def test_a_pair_is_one_query_however_it_is_asked(surrogate, noise):
    cost = SAMPLED[surrogate]
    assert charged(surrogate, 4, BATCH, **noise) == [STEPS * BATCH * cost, 0, STEPS * BATCH * cost]
    assert charged(surrogate, 4, None, **noise) == [STEPS * 2 * cost, 0, STEPS * 2 * cost]


@pytest.mark.parametrize("surrogate", ["pair", "uniform_pair", "enpo", "sppo", "policy_gradient"])
def test_every_comparator_is_a_query(surrogate):
    assert charged(surrogate, 4, BATCH, comparators=3) == [STEPS * BATCH * 12, 0, STEPS * BATCH * 12]


@pytest.mark.parametrize("surrogate", ENUMERATED)
def test_enumerated_a_query_is_one_evaluation_against_a_policy_or_an_action(surrogate):
    assert charged(surrogate, None, None) == [ENUMERATED[surrogate], 0, ENUMERATED[surrogate]]


# --- the sampled engine -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opponents", [1, 4, 16])
@pytest.mark.parametrize("votes", [None, 1])
def test_a_sampled_answer_is_unbiased_and_varies_as_one_over_m(votes, opponents):
    seeds = 10_000
    prox = SampledProx(opponents=opponents, step_limit=None).engine(parts(seeds, votes_per_pair=votes))
    asked = log_policy(0.7, (2, 4), np.random.default_rng(4))
    answers = prox.advantage(TabularPolicy(asked.expand(seeds, -1, -1)))
    advantage, mu = GAME.dense()[0], asked.exp()
    mean = torch.einsum("xyz,xz->xy", advantage, mu)
    once = torch.einsum("xyz,xz->xy", advantage**2, mu) if votes is None else torch.tensor(0.25)
    variance = (once - mean**2) / opponents
    assert z(answers, mean) < 4
    assert (answers.var(0) / variance - 1).abs().max() < 0.08
    assert set(prox.queries.tolist()) == {2 * 4 * opponents}
