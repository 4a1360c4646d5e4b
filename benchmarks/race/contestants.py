"""The contestants of the race.

A solver yields one policy for each of its tolerances, loosest first, with the seconds from the matrix of preferences to
the policy. A loop yields its policies again and again, with the seconds of its iterations; its set-up does not count.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np

import nlhf
from benchmarks.iteration import assembled
from benchmarks.race import peers
from benchmarks.race.game import Game, Looks, looped, timed


@dataclass(frozen=True)
class Contestant:
    """A method, and the games that it solves.

    Args:
        name: in tables and figures.
        looks: solves a game.
        betas: the strengths of the KL term that it can solve.
        package: the import name of the peer, empty for this package and torch.
        loop: iterates until it is stopped.
    """

    name: str
    looks: Callable[[Game], Looks]
    betas: tuple[float, ...]
    package: str = ""
    loop: bool = False

    @property
    def ours(self) -> bool:
        return self.name.startswith("nlhf")

    @property
    def installed(self) -> bool:
        return not self.package or find_spec(self.package) is not None


def equilibrium(game: Game) -> Looks:
    """The interior point method at beta = 0, else Newton's method."""
    yield timed(lambda: np.exp(nlhf.equilibrium(game.advantage + 0.5, beta=game.beta).log_policy))


def algorithm(name: str) -> Callable[[Game], Looks]:
    """A learning algorithm, by the iterations of its trainer."""

    def looks(game: Game) -> Looks:
        with tempfile.TemporaryDirectory() as folder:
            np.save(path := f"{folder}/preference.npy", game.advantage + 0.5)
            words = [f"runs_dir={folder}", "equilibrium=never", "game=matrix", f"game.path={path}"]
            with assembled([*words, f"beta={game.beta}", f"algorithm={name}"]) as (trainer, _):
                yield from looped(trainer._iterate, lambda: trainer.state.policy.probabilities.numpy().ravel())

    return looks


ZERO, BETA = 0.0, 0.05
CONTESTANTS = (
    Contestant("nlhf.equilibrium (interior point)", equilibrium, (ZERO,)),
    Contestant("nlhf restarted_gradient", algorithm("restarted_gradient"), (ZERO,), loop=True),
    Contestant("HiGHS dual simplex", peers.highs((1e-7, 1e-10), solver="simplex", presolve="off"), (ZERO,), "highspy"),
    Contestant("HiGHS interior point", peers.highs((1e-7, 1e-10), solver="ipx"), (ZERO,), "highspy"),
    Contestant("HiGHS PDLP", peers.highs((1e-4, 1e-8, 1e-10), solver="hipdlp"), (ZERO,), "highspy"),
    Contestant("nashpy", peers.nashpy, (ZERO,), "nashpy"),
    Contestant("OpenSpiel regret matching", peers.regret_matching, (ZERO,), "open_spiel", loop=True),
    Contestant("nlhf.equilibrium (Newton)", equilibrium, (BETA,)),
    Contestant("nlhf nash_mp", algorithm("nash_mp"), (BETA,), loop=True),
    Contestant("nlhf adaptive_optimistic", algorithm("adaptive_optimistic"), (BETA,), loop=True),
    Contestant("nlhf secant", algorithm("secant"), (BETA,), loop=True),
    Contestant("OpenSpiel MMD", peers.mirror_descent, (BETA,), "open_spiel", loop=True),
    Contestant("autograd, Adam", peers.adam, (ZERO, BETA), loop=True),
    Contestant("autograd, L-BFGS", peers.lbfgs, (ZERO, BETA), loop=True),
)
