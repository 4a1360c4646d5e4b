"""From a specification to a trainer's parts: the game of every seed, its reference and its equilibrium, as tensors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nlhf.config import ConfigError
from nlhf.equilibrium_cache import Certified, reference_equilibria
from nlhf.games.base import FiniteGame
from nlhf.metrics import Measure
from nlhf.policies.base import Policy
from nlhf.policies.tabular import TabularPolicy
from nlhf.prox.base import ProxEngine
from nlhf.records import replacing
from nlhf.specification import Specification

PREFERENCE_ACTIONS, PREFERENCE_ENTRIES = 512, 4_000_000  # game.npz holds P up to so many actions and entries


@dataclass(frozen=True)
class World:
    """What a policy is trained in and graded by; S seeds share what does not depend on them.

    Args:
        game: answers queries.
        log_reference: (1 or S, X, Y).
        beta: (S, 1, 1).
        equilibria: with certificates, or None.
    """

    game: FiniteGame
    log_reference: Tensor
    beta: Tensor
    equilibria: Certified | None

    @property
    def measure(self) -> Measure:
        """Grades policies in this world."""
        known = None if self.equilibria is None else self.equilibria.log_policy.to(self.beta.device)
        return Measure(self.game, self.log_reference, self.beta, known)

    def save(self, path: Path) -> None:
        """What figures need: names, reference, equilibrium, P of as many instances as is sensible, votes."""
        arrays: dict[str, Any] = {
            "items": np.array(self.game.items),
            "contexts": np.array(self.game.contexts),
            "log_reference": self.log_reference.cpu().numpy(),
        }
        if self.equilibria is not None:
            arrays["log_equilibrium"] = self.equilibria.found.log_policy.numpy()
        n = len(self.game.items)
        if n <= PREFERENCE_ACTIONS:
            kept = max(1, PREFERENCE_ENTRIES // (n * n * len(self.game.contexts)))
            arrays["preference"] = (self.game.dense()[:kept] + 0.5).cpu().numpy()
            if self.game.votes is not None:
                arrays["votes"] = self.game.votes
        with replacing(path, "wb") as stream:
            np.savez(stream, **arrays)


def assemble(run: Specification) -> World:
    """Draw the games and references of the seeds and find their equilibria.

    Raises: ConfigError for input files that hold something else, and for a device that is not there.
    """
    options = run.options
    device = _device(options.device)
    game = run.game.build(options.seeds)
    log_reference = run.reference.build(game, options.seeds)
    cache = Path(options.runs_dir) / ".equilibria"
    equilibria = reference_equilibria(game, log_reference, options.beta, options.equilibrium, cache)
    beta = torch.full((len(options.seeds), 1, 1), options.beta, dtype=torch.float64, device=device)
    return World(game.to(device), log_reference.to(device), beta, equilibria)


def prox_and_policy(run: Specification, world: World) -> tuple[ProxEngine, Policy]:
    """The engine, with its parts, and the policy that the run starts from."""
    seeds = len(run.options.seeds)
    reference = TabularPolicy(world.log_reference)
    prox = run.prox(game=world.game, reference=reference, beta=world.beta, **run.prox_options)  # type: ignore[call-arg]
    return prox, run.policy.initial(world.log_reference.expand(seeds, -1, -1).contiguous())


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ConfigError(f"device={name} is not there: give device=cpu, or one that torch finds.") from error
    return device
