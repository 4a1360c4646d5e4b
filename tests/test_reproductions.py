"""The presets that repeat other papers take the steps of those papers, which are written here from their losses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import yaml

from nlhf.algorithms.egpo import EGPO
from nlhf.algorithms.nash_md import NashMD
from nlhf.algorithms.omd import OnlineMirrorDescent
from nlhf.launch.compose import CONF
from nlhf.numerics import simplex
from tests.adversarial import FAMILIES, arena
from tests.composing import configured
from tests.test_contract import trained

pytestmark = pytest.mark.usefixtures("one_thread")
N = 10
LEARNING_RATES = {0.001: 0.0002, 0.01: 0.02, 0.1: 0.1}  # by beta, of EGPO's matrix games


def sweep(preset):
    return yaml.safe_load((CONF / "experiment" / f"{preset}.yaml").read_text())["hydra"]["sweeper"]


def numbers(text):
    return [float(value) for value in str(text).split(",")]


def step_of(weight, beta):
    """The proximal step that moves logits by a weight towards their target."""
    return weight / (beta * (1 - weight))


def squared_loss(logits, answers, reference, beta):
    """The mean over uniform pairs of the squared error of margins."""
    margin = logits.log_softmax(-1) - reference - answers / beta
    return ((margin[:, None] - margin[None, :]) ** 2).mean()


def gradient(loss, logits):
    """The gradient of a loss at logits, which the loss takes with requires_grad."""
    leaf = logits.clone().requires_grad_()
    loss(leaf).backward()
    return leaf.grad


def table(family, beta):
    """A game, P and the logarithm of the reference."""
    games = arena(family, N, (beta,), (1.0,))
    return games, games.game.dense()[0, 0] + 0.5, games.log_reference[0, 0]


def mirror_descent_step(logits, at, preference, reference, beta, rate):
    """A step of gradient descent on the loss whose answers are about the policy `at`."""
    answers = preference @ at.softmax(-1)
    return logits - rate * gradient(lambda leaf: squared_loss(leaf, answers, reference, beta), logits)


# --- EGPO's matrix games ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("beta", LEARNING_RATES)
@pytest.mark.parametrize("family", FAMILIES)
def test_gradient_steps_on_the_squared_loss_are_egpo_and_mirror_descent(family, beta):
    """The gradient at a logit is 4/n times its distance to the mean, so the weight is w = 4 lr/n."""
    rate = LEARNING_RATES[beta]
    games, preference, reference = table(family, beta)
    step = step_of(4 * rate / N, beta)
    arguments = preference, reference, beta, rate
    extragradient = descent = reference
    for egpo, omd in zip(games.policies(EGPO(step), 20), games.policies(OnlineMirrorDescent(step), 20), strict=True):
        assert (extragradient.log_softmax(-1) - egpo[0, 0]).abs().max() < 1e-9
        assert (descent.log_softmax(-1) - omd[0, 0]).abs().max() < 1e-9
        half = mirror_descent_step(extragradient, extragradient, *arguments)
        extragradient = mirror_descent_step(extragradient, half, *arguments)
        descent = mirror_descent_step(descent, descent, *arguments)


@pytest.mark.parametrize("beta", LEARNING_RATES)
def test_a_gradient_step_against_the_mixture_is_nash_md(beta):
    rate = LEARNING_RATES[beta]
    games, preference, reference = table("uniform", beta)
    weight, logits = 4 * rate / N, reference
    for policy in games.policies(NashMD(weight / beta), 20):
        assert (logits.log_softmax(-1) - policy[0, 0]).abs().max() < 1e-9
        mixture = (1 - weight) * logits + weight * reference
        logits = mirror_descent_step(logits, mixture, preference, reference, beta, rate)


def test_steps_on_sampled_pairs_are_those_of_exact_answers_on_average():
    """y and y' uniform, y'' from the policy: every triple, weighted by its probability."""
    beta, rate = 0.01, 0.0002
    _, preference, reference = table("uniform", beta)
    logits = reference + torch.linspace(-1, 1, N, dtype=torch.float64).flip(0)
    policy, total = logits.softmax(-1), torch.zeros(N, dtype=torch.float64)
    for opponent in range(N):
        answers = preference[:, opponent]
        total += policy[opponent] * gradient(
            lambda leaf, answers=answers: squared_loss(leaf, answers, reference, beta), logits
        )
    expected = mirror_descent_step(logits, logits, preference, reference, beta, rate)
    torch.testing.assert_close(logits - rate * total, expected, rtol=1e-12, atol=1e-12)


def test_the_presets_have_the_published_step_sizes():
    exact, gradients = (sweep(name)["together"] for name in ("egpo", "egpo_gradients"))
    betas, rates = np.array([*LEARNING_RATES]), np.array([*LEARNING_RATES.values()])
    np.testing.assert_array_equal(numbers(exact["beta"]), betas)
    np.testing.assert_allclose(numbers(exact["algorithm.step_size"]), step_of(4 * rates / N, betas), rtol=1e-7)
    sampled = float(sweep("egpo_sampled")["params"]["algorithm.step_size"])
    assert sampled == pytest.approx(step_of(4 * 0.0002 / N, 0.01), rel=1e-6)
    np.testing.assert_allclose(numbers(gradients["prox.learning_rate"]), [*(4 * rates / betas)[1:], *rates[1:]])
    np.testing.assert_allclose(numbers(gradients["algorithm.mixture"]), [0, 0, *(2 * rates / N)[1:]])


@pytest.mark.parametrize(("algorithm", "mixture"), [("ipo_md", 0.0), ("nash_md_pg", 0.02)])
def test_gradient_methods_take_the_steps_of_the_published_losses(algorithm, mixture):
    """Online IPO's squared loss weighs pairs by the policy; the policy gradient has the same step size, unscaled."""
    beta, rate = 0.1, 0.1
    ours = 4 * rate / beta if algorithm == "ipo_md" else rate
    options = ["prox.contexts=null", "prox.samples=null", "prox.optimiser=sgd", "prox.momentum=0"]
    config = configured(f"algorithm={algorithm}", f"algorithm.mixture={mixture}", f"beta={beta}", "prox=gradient",
                        "game=random_tournament", f"game.actions={N}", "reference=random", "equilibrium=never",
                        f"prox.learning_rate={ours}", "budget.iterations=5", *options)  # fmt: skip
    trainer, recorder, _ = trained(config)
    preference = trainer.prox.game.dense()[0, 0] + 0.5
    reference = recorder.rows[0][2].reshape(-1)
    logits = reference.clone()
    for _ in range(5):
        loss = _online_ipo if algorithm == "ipo_md" else _policy_gradient
        logits = logits - rate * gradient(loss(logits, preference, reference, beta, mixture), logits)
    found = trainer.state.policy.log_probabilities.reshape(-1)
    assert (logits - reference).abs().max() > 1e-3
    assert (found - logits.log_softmax(-1)).abs().max() < 1e-5  # parameters are float32


def test_gradient_steps_on_uniform_pairs_are_egpo_and_mirror_descent():
    beta, rate, ends = 0.1, 0.1, []
    options = ["prox.contexts=null", "prox.samples=null", "prox.optimiser=sgd", "prox.momentum=0", "prox.inner_steps=1"]
    for algorithm in ("extragradient", "self_play"):
        config = configured(f"algorithm={algorithm}", f"beta={beta}", "prox=gradient", "prox.surrogate=uniform_pair",
                            "game=random_tournament", f"game.actions={N}", "reference=random", "equilibrium=never",
                            f"prox.learning_rate={4 * rate / beta}", "budget.iterations=5", *options)  # fmt: skip
        trainer, recorder, _ = trained(config)
        preference = trainer.prox.game.dense()[0, 0] + 0.5
        reference = recorder.rows[0][2].reshape(-1)
        logits, arguments = reference, (preference, reference, beta, rate)
        for _ in range(5):
            half = mirror_descent_step(logits, logits, *arguments) if algorithm == "extragradient" else logits
            logits = mirror_descent_step(logits, half, *arguments)
        ends.append(trainer.state.policy.log_probabilities.reshape(-1))
        assert (logits.log_softmax(-1) - ends[-1]).abs().max() < 1e-5  # parameters are float32
    assert (ends[0] - ends[1]).abs().max() > 1e-3


def test_the_preset_of_perceptrons_has_the_published_learning_rates():
    """A sum over ten games in the code is ten times our mean; its squared loss is 4/beta times ours."""
    columns = sweep("egpo_neural")["together"]
    rates = numbers(columns["prox.learning_rate"])
    for name, beta, ours in zip(columns["names.algorithm"].split(","), numbers(columns["beta"]), rates, strict=True):
        published = {0.01: 0.003, 0.1: 0.001}[beta]
        assert ours == pytest.approx(10 * published * (1 if name == "policy_gradient" else 4 / beta))


def _online_ipo(logits, preference, reference, beta, _):
    """The squared error of margins, over pairs of the policy."""
    policy = logits.softmax(-1)

    def loss(leaf):
        margin = leaf.log_softmax(-1) - reference
        errors = (margin[:, None] - margin[None, :] - (preference - 0.5) / beta) ** 2
        return policy @ errors @ policy

    return loss


def _policy_gradient(logits, preference, reference, beta, mixture):
    """Minus the regularised gain against the mixture, with detached weights."""
    opponent = ((1 - mixture) * logits + mixture * reference).softmax(-1)
    gains = preference @ opponent - beta * (logits.log_softmax(-1) - reference)
    weights = logits.softmax(-1) * gains
    return lambda leaf: -(weights * leaf.log_softmax(-1)).sum()


@pytest.mark.parametrize("beta", LEARNING_RATES)
def test_the_guarantee_of_egpo_at_a_published_step_is_its_weight(beta):
    """1/(1 + lambda beta) = 1 - w, and the bound holds over the first iterations."""
    weight = 4 * LEARNING_RATES[beta] / N
    games, *_ = table("uniform", beta)
    algorithm = EGPO(step_of(weight, beta)).bind(games.beta)
    assert algorithm.contraction(games.beta).item() == pytest.approx(1 - weight, rel=1e-12)
    distances = [simplex.kl(games.log_equilibrium, policy).item() for policy in games.policies(algorithm, 200)]
    for iteration, distance in enumerate(distances):
        assert distance <= (1 - weight) ** iteration * distances[0] * (1 + 1e-9)
