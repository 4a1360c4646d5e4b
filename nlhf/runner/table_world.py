"""From a specification to a trainer: the game of every seed, its reference and its equilibrium, as tensors."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from nlhf.algorithms.base import Algorithm
from nlhf.config import ConfigError
from nlhf.equilibria.cache import Certified, reference_equilibria
from nlhf.equilibria.metrics import Measure
from nlhf.games.base import LARGEST_DENSE
from nlhf.games.check import check_game
from nlhf.games.protocol import FiniteGame
from nlhf.io.files import replacing
from nlhf.policies.average import Average, NoAverage, TableAverage
from nlhf.policies.base import Policy
from nlhf.policies.tabular import TabularPolicy
from nlhf.prox.base import Parts
from nlhf.records import COLUMNS, GAME, TEST_COLUMNS, Recorder
from nlhf.references.base import check_reference
from nlhf.runner.specification import Specification
from nlhf.runner.trainer import Trainer

if TYPE_CHECKING:
    from nlhf.runner.text_world import TextWorld

NAMED_ACTIONS = 100_000  # files name the items of games up to so many
PREFERENCE_ACTIONS, PREFERENCE_ENTRIES = 512, 4_000_000  # game.npz holds P up to so many actions and entries


@dataclass(frozen=True)
class World:
    """What a policy is trained in and graded by; S seeds share what does not depend on them.

    Args:
        game: answers queries.
        log_reference: (1 or S, X, Y).
        beta: (S, 1, 1).
        equilibria: with certificates, or None.
        held_out: the same at contexts that nobody is trained on, or None.
    """

    game: FiniteGame
    log_reference: Tensor
    beta: Tensor
    equilibria: Certified | None
    held_out: World | None = None

    listed: ClassVar[bool] = True  # actions are
    account: ClassVar[None] = None  # no judge was asked

    @property
    def columns(self) -> tuple[str, ...]:
        """Of metrics.csv."""
        return COLUMNS + (TEST_COLUMNS if self.held_out else ())

    @property
    def measure(self) -> Measure:
        """Grades policies in this world."""
        known = None if self.equilibria is None else self.equilibria.log_policy.to(self.beta.device)
        held_out = None if self.held_out is None else self.held_out.measure
        return Measure(self.game, self.log_reference, self.beta, known, held_out)

    def save(self, folder: Path) -> None:
        """`game.npz`, for figures: names, reference, equilibrium, P of as many instances as is sensible, votes."""
        arrays: dict[str, Any] = {
            **self._names,
            "log_reference": self.log_reference.cpu().numpy(),
        }
        if self.equilibria is not None:
            arrays["log_equilibrium"] = self.equilibria.found.log_policy.numpy()
        n = len(self.game.items)
        entries = n * n * len(self.game.contexts)
        if n <= PREFERENCE_ACTIONS and entries <= LARGEST_DENSE:
            kept = max(1, PREFERENCE_ENTRIES // entries)
            arrays["preference"] = (self.game.dense()[:kept] + 0.5).cpu().numpy()
            if self.game.votes is not None:
                arrays["votes"] = self.game.votes
        with replacing(folder / GAME, "wb", sync=False) as stream:
            np.savez(stream, **arrays)

    def save_policy(self, folder: Path, policy: Policy, seeds: list[int]) -> None:
        """`policy.npz`, and what the policy itself has to say."""
        with replacing(folder / "policy.npz", "wb", sync=False) as stream:
            np.savez(stream, log_policy=policy.log_probabilities.cpu().numpy(), seeds=np.array(seeds), **self._names)
        policy.save(folder)

    @property
    def _names(self) -> dict[str, Any]:
        """For files: of contexts, and of items where these are not too many."""
        items = self.game.items if len(self.game.items) <= NAMED_ACTIONS else ()
        return {"contexts": np.array(self.game.contexts)} | ({"items": np.array(items)} if items else {})

    def trainer(
        self, run: Specification, recorder: Recorder, algorithm: Algorithm | None = None, **options: Any
    ) -> Trainer:
        """The trainer of a run, with its parts, at its start; `algorithm`, where it is bound already."""
        seeds = run.options.seeds
        game = self.game.to(getattr(torch, run.options.dtype))
        prox = run.prox.engine(Parts(game, TabularPolicy(self.log_reference), self.beta, seeds, run.feedback))
        elsewhere = None
        if self.held_out is not None and self.held_out.game.features is not None:
            log_reference = self.held_out.log_reference.expand(len(seeds), -1, -1).contiguous()
            elsewhere = log_reference, self.held_out.game.features
        log_reference = self.log_reference.expand(len(seeds), -1, -1).contiguous()
        policy = run.policy.initial(log_reference, self.game, elsewhere, seeds)
        average: Average = TableAverage(policy) if run.policy.averaged else NoAverage()
        return Trainer(
            algorithm or run.algorithm.bind(self.beta),
            prox,
            policy,
            average,
            replace(self.measure, rounding=run.options.rounding, exact=run.prox.exact),
            run.budget,
            recorder,
            **options,
        )


def assemble(run: Specification) -> World | TextWorld:
    """Draw the games and references of the seeds and find their equilibria; or load a language model and its judge.

    Raises: ConfigError for input files that hold something else, and for a device that is not there.
    """
    options = run.options
    device = find_device(options.device)
    beta = torch.full((len(options.seeds), 1, 1), options.beta, dtype=torch.float64, device=device)
    if "prompts" in run.game.provides:
        from nlhf.runner.text_world import assemble_text

        return assemble_text(run, device, beta)
    cache = Path(options.runs_dir) / ".equilibria"

    def world(game: FiniteGame, log_reference: Tensor, held_out: World | None) -> World:
        equilibria = reference_equilibria(game, log_reference, options.beta, options.equilibrium, cache)
        return World(game.to(device), log_reference.to(device), beta, equilibria, held_out)

    everything = run.game.build(options.seeds)
    check_game(everything, run.game.provides, f"game={type(run.game).__name__}")
    log_reference = run.reference.build(everything, options.seeds)
    check_reference(log_reference, everything, len(options.seeds), f"reference={type(run.reference).__name__}")
    game, other = everything.split()
    trained = len(game.contexts)
    held_out = None if other is None else world(other, log_reference[:, trained:].contiguous(), None)
    return world(game, log_reference[:, :trained].contiguous(), held_out)


def find_device(name: str) -> torch.device:
    """The device of a config.

    Raises: ConfigError for one that does not exist, or that has no float64.
    """
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ConfigError(f"device={name} is not there: give device=cpu, or one that torch finds.") from error
    try:
        torch.zeros(1, dtype=torch.float64, device=device)
    except TypeError as error:
        raise ConfigError(f"device={name} has no float64, in which games are answered: give device=cpu.") from error
    return device
