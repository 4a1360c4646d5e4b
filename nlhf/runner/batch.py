"""Runs that differ in numbers alone, as one batch: what is computed together, and which part of it is whose.

Seeds are the first dimension of every tensor, so that runs are laid one behind the other, and cut apart again for their
own rows, checkpoints and policies. A run that stops is masked as a seed that stops.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from nlhf.budget import Progress
from nlhf.equilibria.cache import Certified
from nlhf.games.matrix import MatrixGame
from nlhf.policies.base import Policy
from nlhf.policies.tabular import TabularPolicy
from nlhf.records import Recorder
from nlhf.runner.table_world import TableWorld

if TYPE_CHECKING:
    from nlhf.runner.folder import RunFolder

WRITERS = 16
T = TypeVar("T")


def shape_of(world: TableWorld) -> tuple[int, ...] | None:
    """What the worlds of one batch share; None for a world that cannot be part of a batch."""
    if not isinstance(world.game, MatrixGame) or world.held_out is not None:
        return None
    return (*world.game.advantage.shape[1:], world.equilibria is None)


def joined(worlds: Sequence[TableWorld]) -> TableWorld:
    """The world of all seeds of worlds of one `shape_of`; matrices that all of them share are kept once."""
    counts = [len(world.beta) for world in worlds]

    def stacked(tables: Sequence[Tensor]) -> Tensor:
        shared = len(tables[0]) == 1 and all(torch.equal(table, tables[0]) for table in tables)
        if shared:
            return tables[0]
        return torch.cat([table.expand(count, *table.shape[1:]) for table, count in zip(tables, counts, strict=True)])

    games = [world.game for world in worlds]
    assert all(isinstance(game, MatrixGame) for game in games)
    first: Any = games[0]
    return TableWorld(
        replace(first, advantage=stacked([game.content for game in games])),
        stacked([world.log_reference for world in worlds]),
        torch.cat([world.beta for world in worlds]),
        _equilibria([world.equilibria for world in worlds], stacked),
    )


def _equilibria(found: Sequence[Certified | None], stacked: Callable[[Sequence[Tensor]], Tensor]) -> Certified | None:
    """What is measured against; certificates stay with the runs."""
    known = [each for each in found if each is not None]
    return replace(known[0], log_policy=stacked([each.log_policy for each in known])) if known else None


def merged(values: Sequence[Any]) -> Any:
    """One value of several that differ in tensors with the seeds as first dimension and in nothing else."""
    first = values[0]
    if isinstance(first, Tensor):
        return torch.cat(list(values))
    if is_dataclass(first) and not isinstance(first, type):
        return replace(first, **{field.name: merged([getattr(value, field.name) for value in values])
                                 for field in fields(first) if field.init})  # fmt: skip
    return first


@dataclass(frozen=True)
class Share:
    """The part of one run in a batch.

    Args:
        seeds: which are its.
        runs: how many there are; they share the time equally.
    """

    seeds: slice
    runs: int

    def of(self, value: Any, known: dict[int, Any]) -> Any:
        """This run's part of a value built of dataclasses, dicts, tensors and policies; a policy stays one object.

        Args:
            known: parts of policies by the identity of the whole ones.
        """
        if isinstance(value, Policy):
            if id(value) not in known:
                known[id(value)] = self._fields(value, known)
            return known[id(value)]
        if isinstance(value, Tensor):
            return value[self.seeds].clone()
        if isinstance(value, dict):
            return {name: self.of(entry, known) for name, entry in value.items()}
        return self._fields(value, known) if is_dataclass(value) else value

    def _fields(self, value: Any, known: dict[int, Any]) -> Any:
        return replace(value, **{field.name: self.of(getattr(value, field.name), known) for field in fields(value)})

    def checkpoint(self, content: dict[str, Any]) -> dict[str, Any]:
        """This run's part of what `Recorder.checkpoint` takes."""
        known: dict[int, Any] = {}
        prox = content["prox"]
        answers = [(self.of(policy, known), self.of(answer, known), seen[self.seeds])
                   for policy, answer, seen in prox["answers"]]  # fmt: skip
        return content | {
            "state": self.of(content["state"], known),
            "total": self.of(content["total"], known),
            "progress": self.progress(Progress.from_json(content["progress"])).to_json(),
            "next_row": content["next_row"][self.seeds],
            "prox": {"queries": prox["queries"][self.seeds], "answers": answers},
        }

    def progress(self, whole: Progress) -> Progress:
        """How far its seeds have come."""
        return Progress(whole.iterations[self.seeds], whole.queries[self.seeds], whole.best[self.seeds],
                        whole.seconds / self.runs)  # fmt: skip


class Folders(Recorder):
    """Sends every row to the run that its seed belongs to.

    Args:
        folders: of the runs, in the order of the batch.
    """

    def __init__(self, folders: Sequence[RunFolder]) -> None:
        self.folders = list(folders)
        ends = np.cumsum([len(folder.run.options.seeds) for folder in folders]).tolist()
        self.shares = [Share(slice(start, end), len(ends)) for start, end in zip([0, *ends[:-1]], ends, strict=True)]
        self.places = [(folder, seed) for folder in folders for seed in range(len(folder.run.options.seeds))]

    def row(self, seed: int, values: dict[str, Any], policy: Policy) -> None:
        folder, own = self.places[seed]
        own_seeds = slice(seed - own, seed - own + len(folder.run.options.seeds))
        part = TabularPolicy(policy.log_probabilities[own_seeds])
        folder.row(own, values | {"seconds": values["seconds"] / len(self.folders)}, part)

    def checkpoint(self, content: dict[str, Any]) -> None:
        self.each(lambda folder, share: folder.checkpoint(share.checkpoint(content)))

    def each(self, work: Callable[[RunFolder, Share], T]) -> list[T]:
        """What `work` makes of every run and its seeds; some at a time, as they wait for the disk."""
        with ThreadPoolExecutor(WRITERS) as pool:
            return list(pool.map(work, self.folders, self.shares))
