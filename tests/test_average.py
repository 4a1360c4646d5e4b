"""What is measured as the average is the weighted mean of the iterates, of every algorithm by its own weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nlhf.policies.average import TableAverage
from nlhf.policies.tabular import TabularPolicy
from nlhf.runner.assemble import assemble
from nlhf.runner.specification import specify
from tests.composing import configured

ITERATIONS = 12


class NoRecorder:
    def row(self, seed, values, policy):
        pass

    def checkpoint(self, content):
        pass


@pytest.mark.parametrize(
    ("algorithm", "power"), [("sppo", 0), ("regret_matching", 1), ("predictive_regret_matching", 2)]
)
def test_iterate_k_has_the_weight_of_its_algorithm(tmp_path, algorithm, power):
    overrides = [
        f"algorithm={algorithm}",
        "game=rock_paper_scissors",
        "game.actions=5",
        "beta=0",
        "budget.target=null",
        "reference=random",
        "equilibrium=never",
        f"budget.iterations={ITERATIONS}",
        f"runs_dir={tmp_path}",
    ]
    run = specify(configured(*overrides))
    trainer = assemble(run).trainer(run, NoRecorder())
    state, policies = trainer.state, []
    for _ in range(ITERATIONS):  # the same steps, without the trainer
        policies.append(state.policy.probabilities)
        state = trainer.algorithm.update(state, trainer.prox)
    weights = torch.arange(1, ITERATIONS + 1, dtype=torch.float64) ** power
    expected = (weights.view(-1, 1, 1, 1) * torch.stack(policies)).sum(0) / weights.sum()
    trainer.run()
    average = trainer.average.of(trainer.state.policy, torch.tensor(ITERATIONS))
    assert average.exp().allclose(expected, rtol=0, atol=1e-14)


def test_stopped_seeds_keep_their_average_and_seeds_may_differ_in_weight():
    policy = TabularPolicy(torch.randn(2, 1, 3, dtype=torch.float64).log_softmax(-1))
    later = TabularPolicy(torch.randn(2, 1, 3, dtype=torch.float64).log_softmax(-1))
    average = TableAverage(policy)
    average.add(policy, np.log([1.0, 3.0]), None)
    average.add(later, np.log([2.0, 5.0]), torch.tensor([True, False]))
    mean = average.of(later, torch.tensor([[[2.0]], [[1.0]]], dtype=torch.float64)).exp()
    expected = torch.stack([(policy.probabilities[0] + 2 * later.probabilities[0]) / 3, policy.probabilities[1]])
    assert mean.allclose(expected, rtol=1e-14)
