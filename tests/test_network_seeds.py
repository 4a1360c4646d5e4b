"""A seed of a batch of networks trains as if it were alone."""

from __future__ import annotations

import pytest
import torch

from nlhf.runner.assemble import assemble
from nlhf.runner.specification import specify
from tests.composing import configured

pytestmark = pytest.mark.usefixtures("one_thread")

STEPS = 100
RUN = ["game=contextual", "game.actions=4", "game.contexts=6", "policy=mlp", "policy.hidden=[32,32]", "prox=gradient",
       "prox.contexts=4", "prox.samples=4", "feedback=vote", "equilibrium=never"]  # fmt: skip


def trained(folder, algorithm, seeds):
    """The first seed's log-probabilities after 0, 1, ... iterations, and its weights at the end."""
    run = specify(configured(*RUN, f"algorithm={algorithm}", f"runs_dir={folder}", f"seeds={seeds}"))
    made = assemble(run).trainer(run, recorder=None)
    policies = [made.policy]
    for _ in range(STEPS):
        made.state = made.algorithm.update(made.state, made.prox)
        policies.append(made.state.policy)
    weights = torch.cat([value[0].flatten() for value in policies[-1].weights.values()])
    return torch.stack([policy.log_probabilities[0] for policy in policies]), weights


@pytest.fixture(params=["nash_prox", "nash_md_pg"])
def algorithm(request):
    return request.param


def test_its_bits_do_not_depend_on_which_seeds_are_beside_it(tmp_path, algorithm):
    (one, weights), (other, other_weights) = (trained(tmp_path, algorithm, seeds) for seeds in ([3, 5], [3, 9]))
    assert one.equal(other)
    assert weights.equal(other_weights)
    assert (one[0] - one[-1]).abs().max() > 0.1


def test_another_seed_is_another_run(tmp_path, algorithm):
    (one, _), (other, _) = (trained(tmp_path, algorithm, seeds) for seeds in ([3, 5], [4, 5]))
    assert (one[-1] - other[-1]).abs().max() > 0.1


def test_alone_and_in_a_batch_it_is_the_same_to_rounding(tmp_path, algorithm):
    (alone, _), (together, _) = (trained(tmp_path, algorithm, seeds) for seeds in ([3], [3, *range(100, 115)]))
    assert ((alone - together) / alone).abs().max() < 1e-5
