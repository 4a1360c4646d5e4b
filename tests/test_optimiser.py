"""Steps of the gradient engine's optimisers are those of the classes in torch.optim."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from nlhf.policies.mlp import MLPPolicy
from nlhf.prox.gradient import GradientProx
from nlhf.prox.optimiser import Optimiser, learning_rate

CLASSES = {
    "adam": lambda values, rate: torch.optim.Adam(values, lr=rate, betas=(0.8, 0.999)),
    "rmsprop": lambda values, rate: torch.optim.RMSprop(values, lr=rate, momentum=0.8),
    "sgd": lambda values, rate: torch.optim.SGD(values, lr=rate, momentum=0.8),
}
RATES = (0.1, 0.05, 0.02, 0.01)


def options(name):
    return GradientProx("ipo", 1, 4, 4, "half", 4.0, name, RATES[0], None, 0.8, None, True)


def drawn():
    """Parameters of two seeds, and their gradients at every step."""
    shapes = {"w0": (2, 5, 7), "b0": (2, 1, 7)}
    rng = torch.Generator().manual_seed(0)
    parameters, *gradients = (
        {name: torch.randn(shape, generator=rng, dtype=torch.float64) for name, shape in shapes.items()}
        for _ in range(1 + len(RATES))
    )
    return parameters, gradients


@pytest.fixture(params=CLASSES)
def name(request):
    return request.param


def trained(name, start, gradients, rates=RATES):
    optimiser = Optimiser(options(name), start)
    for step, rate in zip(gradients, rates, strict=True):
        optimiser.step(list(step.values()), rate)
    return start.trained({key: value.detach() for key, value in optimiser.learned.items()}, optimiser.memory)


def test_steps_are_those_of_torch(name):
    parameters, gradients = drawn()
    expected = {key: value.clone().requires_grad_() for key, value in parameters.items()}
    reference = CLASSES[name](expected.values(), RATES[0])
    for step, rate in zip(gradients, RATES, strict=True):
        for key, value in expected.items():
            value.grad = step[key].clone()
        reference.param_groups[0]["lr"] = rate
        reference.step()
    learned = trained(name, MLPPolicy(parameters, None), gradients).parameters
    for key, value in expected.items():
        assert learned[key] == pytest.approx(value.detach(), rel=1e-12)
        assert (learned[key] - parameters[key]).abs().min() > 1e-3


def test_memory_continues_and_stays_as_it_is(name):
    parameters, gradients = drawn()
    start = MLPPolicy(parameters, None)
    whole = trained(name, start, gradients)
    half = trained(name, start, gradients[:2], RATES[:2])
    kept = {key: {part: value.clone() for part, value in state.items()} for key, state in half.memory.moments.items()}
    continued = trained(name, half, gradients[2:], RATES[2:])
    assert continued.memory.step == whole.memory.step == len(RATES)
    for key in parameters:
        assert continued.parameters[key].equal(whole.parameters[key])
        for part, value in half.memory.moments[key].items():
            assert value.equal(kept[key][part])


def test_order_of_memory_does_not_matter(name):
    parameters, gradients = drawn()
    transposed = [{key: value.mT.contiguous().mT for key, value in step.items()} for step in gradients]
    start = MLPPolicy({key: value.mT.contiguous().mT for key, value in parameters.items()}, None)
    other, one = trained(name, start, transposed), trained(name, MLPPolicy(parameters, None), gradients)
    for key in parameters:
        assert other.parameters[key].equal(one.parameters[key])


def test_a_seed_does_not_depend_on_its_neighbours(name):
    parameters, gradients = drawn()
    both = trained(name, MLPPolicy(parameters, None), gradients).parameters
    alone, *steps = ({key: value[:1] for key, value in values.items()} for values in (parameters, *gradients))
    for key, value in trained(name, MLPPolicy(alone, None), steps).parameters.items():
        assert value == pytest.approx(both[key][:1], rel=1e-14)


def test_weight_decay_is_that_of_adamw():
    parameters, gradients = drawn()
    expected = {key: value.clone().requires_grad_() for key, value in parameters.items()}
    reference = torch.optim.AdamW(expected.values(), lr=RATES[0], betas=(0.8, 0.999), weight_decay=0.3)
    optimiser = Optimiser(replace(options("adam"), weight_decay=0.3), MLPPolicy(parameters, None))
    for step, rate in zip(gradients, RATES, strict=True):
        for key, value in expected.items():
            value.grad = step[key].clone()
        reference.param_groups[0]["lr"] = rate
        reference.step()
        optimiser.step(list(step.values()), rate)
    for key, value in expected.items():
        assert optimiser.learned[key].detach() == pytest.approx(value.detach(), rel=1e-12)


def test_the_learning_rate_rises_in_equal_steps_and_then_falls():
    warmed = replace(options("sgd"), warmup_steps=4)
    assert [learning_rate(warmed, step) for step in range(6)] == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1, 0.1])
    falling = replace(warmed, decay_steps=2.0)
    assert learning_rate(falling, 1) == pytest.approx(0.05 / 1.5**0.5)
    assert learning_rate(falling, 6) == pytest.approx(0.1 / 4**0.5)
