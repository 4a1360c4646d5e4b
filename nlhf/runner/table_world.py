"""The world of games with listed actions: games, references and equilibria of all seeds as tensors."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from nlhf.algorithms.base import Algorithm
from nlhf.equilibria.cache import Certified
from nlhf.equilibria.metrics import Measure
from nlhf.equilibria.solution import Nash, Solution
from nlhf.games.base import LARGEST_DENSE
from nlhf.games.protocol import FiniteGame
from nlhf.games.tree import answers_in_context
from nlhf.io.files import replacing
from nlhf.policies.average import Average, NoAverage, TableAverage
from nlhf.policies.base import Policy
from nlhf.policies.tabular import TabularPolicy
from nlhf.prox.base import Parts
from nlhf.records import COLUMNS, GAME, TEST_COLUMNS, Table
from nlhf.regularisers.base import Regulariser
from nlhf.regularisers.reverse_kl import REVERSE_KL
from nlhf.runner.recorder import Recorder
from nlhf.runner.specification import Specification
from nlhf.runner.trainer import Trainer

NASH = Nash()
NAMED_ACTIONS = 100_000  # files name the items of games up to this size
PREFERENCE_ACTIONS, PREFERENCE_ENTRIES = 512, 4_000_000  # limits up to which game.npz holds P


@dataclass(frozen=True)
class TableWorld:
    """What policies that are tables are trained in and graded by. All S seeds share whatever does not depend on them.

    Args:
        game: answers queries.
        log_reference: (1 or S, X, Y).
        beta: (S, 1, 1).
        equilibria: reference equilibria with certificates, or None.
        held_out: the world of the contexts that are kept for testing, or None.
        unit: of payoffs: the game's answers and beta are divided by it.
        regulariser: beta is its strength.
        solution: what is solved.
    """

    game: FiniteGame
    log_reference: Tensor
    beta: Tensor
    equilibria: Certified | None
    held_out: TableWorld | None = None
    unit: float = 1.0
    regulariser: Regulariser = REVERSE_KL
    solution: Solution = NASH

    listed: ClassVar[bool] = True
    account: ClassVar[None] = None  # no judge

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of metrics.csv."""
        added = self.regulariser.columns
        test_columns = (*TEST_COLUMNS, *(f"test_{name}" for name in added))
        return (*COLUMNS, *added, *self.solution.columns, *(test_columns if self.held_out else ()))

    @property
    def strength(self) -> Tensor:
        """The strength of convexity relative to KL, (S, 1, 1), from which step sizes follow."""
        return self.regulariser.strength(self.beta, TabularPolicy(self.log_reference))

    @property
    def measure(self) -> Measure:
        """Grades policies in this world."""
        log_equilibrium = None if self.equilibria is None else self.equilibria.log_policy.to(self.beta.device)
        held_out = None if self.held_out is None else self.held_out.measure
        return self.solution.measure(
            self.game,
            self.log_reference,
            self.beta,
            log_equilibrium=log_equilibrium,
            held_out=held_out,
            unit=self.unit,
            linear=self.game.linear,
            regulariser=self.regulariser,
        )

    @property
    def certificate(self) -> dict[str, Any] | None:
        """What is known about the reference equilibrium, for summary.json."""
        return self.equilibria.summary if self.equilibria is not None else None

    def trainer(
        self, run: Specification, recorder: Recorder, algorithm: Algorithm | None = None, **options: Any
    ) -> Trainer:
        """The trainer of a run at its start; `algorithm` is given if it is bound to beta already."""
        seeds = run.options.seeds
        game = self.game.to(getattr(torch, run.options.dtype))
        reference, tau = TabularPolicy(self.log_reference), self.solution.follower_strength(self.beta)
        prox = run.prox.engine(Parts(game, reference, self.beta, seeds, run.feedback, self.regulariser, tau))
        test_contexts = None
        if self.held_out is not None and self.held_out.game.features is not None:
            log_reference = self.held_out.log_reference.expand(len(seeds), -1, -1).contiguous()
            test_contexts = log_reference, self.held_out.game.features
        log_reference = self.log_reference.expand(len(seeds), -1, -1).contiguous()
        policy = run.policy.initial(log_reference, self.game, test_contexts, seeds)
        average: Average = TableAverage(policy) if run.policy.averaged else NoAverage()
        return Trainer(
            algorithm or run.algorithm.bind(self.strength),
            prox,
            policy,
            average,
            replace(self.measure, rounding=run.options.rounding, exact=run.prox.exact),
            run.budget,
            recorder,
            **options,
        )

    def log_policy(self, table: Table, policy: Policy, seed: int, key: dict[str, Any]) -> None:
        """Record one seed's policy as rows of policies.csv."""
        for context, row in zip(self.game.contexts, policy.log_probabilities[seed].tolist(), strict=True):
            for action, value in zip(self.game.items, row, strict=True):
                table.add(**key, context=context, action=action, log_probability=value)

    def log_prompts(self, table: Table, policy: Policy, key: dict[str, Any]) -> None:
        """Record nothing: there are no prompts."""

    def save_samples(self, folder: Path, policy: Policy) -> None:
        """Write nothing: the metrics say all."""

    def save(self, folder: Path) -> None:
        """Write game.npz for figures: names, reference, equilibrium, votes, and P of a limited number of instances."""
        arrays: dict[str, Any] = {**self._names, "log_reference": self.log_reference.cpu().numpy()}
        if self.equilibria is not None:
            arrays["log_equilibrium"] = self.equilibria.solution.log_policy.numpy()
        n = len(self.game.items)
        entries = n * n * len(self.game.contexts)
        if n <= PREFERENCE_ACTIONS and entries <= LARGEST_DENSE:
            instances = max(1, PREFERENCE_ENTRIES // entries)
            arrays["preference"] = (self.game.linear.dense()[:instances] + 0.5).cpu().numpy()
            if self.game.is_bilinear and self.game.linear is not self.game:
                arrays["payoff"] = self.unit * self.game.dense()[:instances].cpu().numpy()
            if self.game.votes is not None:
                arrays["votes"] = self.game.votes
            if (clusters := self.game.clusters) is not None:
                arrays |= {"clusters": np.stack([clusters.wins, clusters.votes]), "cluster": np.array(clusters.name)}
        arrays |= self.game.arrays
        with replacing(folder / GAME, "wb", sync=False) as stream:
            np.savez(stream, **arrays)

    def save_policy(self, folder: Path, policy: Policy, seeds: list[int]) -> None:
        """Write policy.npz and the policy's own files."""
        arrays = self._names
        if self.game.tree is not None:
            arrays |= answers_in_context(self.game.items, self.game.tree, policy.log_probabilities)
        with replacing(folder / "policy.npz", "wb", sync=False) as stream:
            np.savez(stream, log_policy=policy.log_probabilities.cpu().numpy(), seeds=np.array(seeds), **arrays)
        policy.save(folder)

    @property
    def _names(self) -> dict[str, Any]:
        """The names of the contexts, and of the items unless there are too many, for files."""
        items = self.game.items if len(self.game.items) <= NAMED_ACTIONS else ()
        return {"contexts": np.array(self.game.contexts)} | ({"items": np.array(items)} if items else {})
