"""The identities of docs/algorithms.md, "One map under many names", with methods and games of other papers.

The other side is written here in numpy from its paper's formula, or minimised by scipy.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import optimize

from nlhf.algorithms.nash_mp import NashMP
from nlhf.algorithms.omd import OnlineMirrorDescent
from nlhf.algorithms.optimistic import Optimistic
from nlhf.algorithms.proximal_point import ProximalPoint
from nlhf.algorithms.sppo import SPPO
from nlhf.numerics import simplex
from nlhf.policies.tabular import TabularPolicy
from tests.adversarial import FAMILIES, Arena, arena, matrix_game

pytestmark = pytest.mark.usefixtures("one_thread")
N = 6


def normal(weights):
    return weights / weights.sum()


def table(family, beta, scale=1.0):
    """A game with its payoffs A and its reference in numpy."""
    games = arena(family, N, (beta,), (scale,))
    return games, games.game.dense()[0, 0].numpy(), games.log_reference[0, 0].exp().numpy()


def iterates(games, algorithm, iterations):
    return [policy[0, 0].exp().numpy() for policy in games.policies(algorithm, iterations)]


@pytest.mark.parametrize("family", ["uniform", "cycle", "deterministic"])
def test_mpo_is_adaptively_perturbed_mirror_descent_with_kl_and_a_best_response_at_each_move(family):
    """pi+ = argmax eta <A pi, p> - eta mu KL(p, magnet) - KL(p, pi); the magnet moves after five steps.

    The papers move the magnet to the last policy, `mpo` to its best response in the perturbed game, by which (M) can
    certify the move.
    """
    (games, A, magnet), mu, policy = table(family, 0.0), 0.25, None
    eta, policy = 4 * mu, magnet
    found = iterates(
        games, ProximalPoint(1 / mu, inner=OnlineMirrorDescent("theory"), inner_steps=5, accuracy=1.0, grow=1.0), 15
    )
    for move in range(3):
        assert move == 0 or np.abs(found[5 * move] - found[5 * move - 1]).max() > 1e-4
        np.testing.assert_allclose(found[5 * move], magnet, rtol=1e-10)
        for _ in range(5):
            policy = normal((policy * magnet ** (eta * mu) * np.exp(eta * A @ policy)) ** (1 / (1 + eta * mu)))
        policy = magnet = normal(magnet * np.exp(A @ policy / mu))
    np.testing.assert_allclose(found[15], magnet, rtol=1e-10)


def test_mtpo_with_one_turn_is_online_mirror_descent_with_decreasing_steps():
    """arXiv:2405.14655: pi ∝ ref^(beta eta) pi^(1 - beta eta) exp(eta Q), eta = 2/(beta (t+2)); Q = P(y > pi)."""
    games, A, ref = table("uniform", 0.3)
    prox, policy, by_hand = games.prox(), TabularPolicy(games.log_reference), ref
    for t in range(8):
        eta = 2 / (0.3 * (t + 2))
        by_hand = normal(ref ** (0.3 * eta) * by_hand ** (1 - 0.3 * eta) * np.exp(eta * (A + 0.5) @ by_hand))
        step = games.beta * 0 + (2 / (0.3 * t) if t else math.inf)  # eta/(1 - beta eta)
        policy = prox(opponent=policy, anchor=policy, step_size=step)
        np.testing.assert_allclose(policy.probabilities[0, 0].numpy(), by_hand, rtol=1e-12)


@pytest.mark.parametrize("family", ["uniform", "bradley_terry", "cycle"])
def test_dno_is_sppo(family):
    """arXiv:2404.03715: the cross-entropy of sig(eta D) with sig(p(y) - p(y')), D of the log-ratio to the policy."""
    (games, A, pi), eta = table(family, 0.0), 1.5
    gain = A @ pi
    target = 1 / (1 + np.exp(gain[None, :] - gain[:, None]))
    weights = pi[:, None] * pi[None, :]

    def loss(logits):
        margin = eta * (logits[:, None] - logits[None, :])
        terms = target * np.logaddexp(0, -margin) + (1 - target) * np.logaddexp(0, margin)
        return (weights * terms).sum() + 1e-3 * logits.sum() ** 2

    ratio = optimize.minimize(loss, np.zeros(N), method="BFGS", options={"gtol": 1e-11}).x
    np.testing.assert_allclose(iterates(games, SPPO(1 / eta), 1)[1], normal(pi * np.exp(ratio)), rtol=1e-5)


PAYOFFS = {
    "logit": lambda p: np.log(p.clip(0.05, 0.95) / (1 - p).clip(0.05, 0.95)),
    "sign": lambda p: np.sign(p - 0.5),
    "twice": lambda p: 2 * (p - 0.5),
}


@pytest.mark.parametrize("payoff", PAYOFFS)
@pytest.mark.parametrize("algorithm", [NashMP, OnlineMirrorDescent, Optimistic])
def test_another_payoff_is_another_scale(payoff, algorithm):
    """With M = max |A'|, (A', beta, lambda) has the iterates of (A'/(2 M), beta/(2 M), 2 M lambda)."""
    _, A, ref = table("uniform", 0.3)
    payoffs, beta, step = PAYOFFS[payoff](A + 0.5), 0.4, 0.3
    scale = 2 * np.abs(payoffs).max()
    log_ref = torch.from_numpy(np.log(ref))[None, None]
    games = Arena(matrix_game(0.5 + payoffs / scale), log_ref, (beta / scale,))
    found = iterates(games, algorithm(scale * step), 4)
    response = lambda opponent, anchor: normal(  # noqa: E731
        (anchor * ref ** (step * beta) * np.exp(step * payoffs @ opponent)) ** (1 / (1 + step * beta))
    )
    policy = half = ref
    for k in range(4):
        if algorithm is OnlineMirrorDescent:
            policy = response(policy, policy)
        else:
            half = response(half if algorithm is Optimistic else policy, policy)
            policy = response(half, policy)
        np.testing.assert_allclose(found[k + 1], policy, rtol=1e-12)


def test_one_step_of_self_play_with_the_logit_payoff_is_the_rlhf_solution():
    preference = FAMILIES["bradley_terry"](N, np.random.default_rng(0))
    payoffs, ref, beta = np.log(preference / (1 - preference)), normal(np.arange(1.0, N + 1)), 0.3
    scale = 2 * np.abs(payoffs).max()
    log_ref = torch.from_numpy(np.log(ref))[None, None]
    games = Arena(matrix_game(0.5 + payoffs / scale), log_ref, (beta / scale,))
    start = torch.from_numpy(np.random.default_rng(1).random((1, 1, N))).log_softmax(-1)
    policy = games.policies(OnlineMirrorDescent(math.inf), 1, start)[1][0, 0].exp().numpy()
    np.testing.assert_allclose(policy, normal(ref * np.exp(payoffs[:, 0] / beta)), rtol=1e-12)


def test_a_bonus_for_entropy_is_the_reverse_kl_to_uniform():
    """max <p, A mu> + beta H(p) - KL(p, anchor)/lambda, minimised in numpy, is the step with a uniform reference."""
    games, A, _ = table("uniform", 0.3, scale=0.0)
    opponent, anchor = (normal(np.random.default_rng(draw).random(N)) for draw in (1, 2))

    def loss(logits):
        p = normal(np.exp(logits))
        return -p @ (A @ opponent) + 0.3 * p @ np.log(p) + p @ np.log(p / anchor) / 2 + 1e-3 * logits.sum() ** 2

    solved = normal(np.exp(optimize.minimize(loss, np.zeros(N), method="BFGS", options={"gtol": 1e-11}).x))
    policies = [TabularPolicy(torch.from_numpy(np.log(p))[None, None]) for p in (opponent, anchor)]
    step = games.prox()(opponent=policies[0], anchor=policies[1], step_size=games.beta * 0 + 2.0)
    np.testing.assert_allclose(step.probabilities[0, 0].numpy(), solved, rtol=1e-4)
    entropy = -(step.probabilities * step.log_probabilities).sum().item()
    assert simplex.kl(step.log_probabilities, games.log_reference).item() == pytest.approx(math.log(N) - entropy)
