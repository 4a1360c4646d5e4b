"""Where every method of theory.md's table (section 5) rests, biased ones included: expectations enumerated, all contexts.

A method is started at the point, where it must stay, and at the reference, from where it must arrive.
"""

from __future__ import annotations

import numpy as np
import pytest

from nlhf import reference_equilibrium
from nlhf.launch.compose import composed, plain
from nlhf.policies.tabular import TabularPolicy
from nlhf.specification import specify
from nlhf.world import assemble, trainer_of
from tests.adversarial import FAMILIES

pytestmark = pytest.mark.usefixtures("one_thread")

BETA, MIXTURE = 0.4, 0.125
WHOLE = ["prox=gradient", "prox.samples=null", "prox.contexts=null", "prox.optimiser=sgd", "prox.momentum=0",
         "prox.learning_rate=1", "equilibrium=never", "budget.queries=null", "budget.target=null"]  # fmt: skip


class Nobody:
    """Records nothing."""

    def row(self, seed, values, policy):
        pass

    def checkpoint(self, content):
        pass


def game(folder, family, n=4, draw=0):
    """A game's file, and a reference's."""
    rng = np.random.default_rng(draw)
    np.save(folder / "game.npy", FAMILIES[family](n, rng))
    weights = rng.random(n) + 0.2
    (folder / "reference.csv").write_text(",".join(map(str, weights)) + "\n")
    return ["game=matrix", f"game.path={folder}/game.npy", "reference=file", f"reference.path={folder}/reference.csv"]


def trainer(*overrides, iterations=1):
    with composed([*overrides, f"budget.iterations={iterations}"]) as config:
        run = specify(plain(config))
    return trainer_of(run, assemble(run), Nobody())


def after(made, start=None):
    """The policy that a run ends at, from `start` or the reference."""
    if start is not None:
        made.state = made.algorithm.init(TabularPolicy(start))
    made.run()
    return made.state.policy.log_probabilities


def equilibrium(made, beta):
    reference = made.prox.reference.log_probabilities
    return reference_equilibrium.solve(made.prox.game.dense()[0], reference[0], beta).log_policy[None]


def best_response(made, log_policy):
    payoff = made.prox.game.payoff(log_policy.exp())
    return (made.prox.reference.log_probabilities + payoff / BETA).log_softmax(-1)


def to_mixture(made):
    """BR(mix), mix = pi*(beta/(1 - w))."""
    return best_response(made, equilibrium(made, BETA / (1 - MIXTURE)))


def to_equilibrium(made):
    return equilibrium(made, BETA)
