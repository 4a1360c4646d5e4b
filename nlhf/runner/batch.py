"""Runs that differ in numbers only, as one batch: their worlds are joined, and the results are divided again.

Seeds are the first dimension of every tensor, so a batch concatenates the seeds of its runs, and slices give the rows,
checkpoints and policies of each run. A run that stops is masked like a seed that stops.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from nlhf.budget import Progress
from nlhf.equilibria.cache import Certified
from nlhf.policies.base import Policy
from nlhf.policies.tabular import TabularPolicy
from nlhf.runner.recorder import Recorder
from nlhf.runner.table_world import TableWorld

if TYPE_CHECKING:
    from nlhf.runner.folder import RunFolder

WRITERS = 16
T = TypeVar("T")


def shape_of(world: TableWorld) -> tuple[Any, ...] | None:
    """What the worlds of one batch share; None for a world that cannot be part of a batch."""
    if not world.game.joinable or world.held_out is not None:
        return None
    return type(world.game), *_shapes(world.game), world.equilibria is None


def _shapes(value: Any) -> list[tuple[int, ...]]:
    """The shapes of all tensors in a game, without the first dimension, the instances."""
    if isinstance(value, Tensor):
        return [tuple(value.shape[1:])]
    if is_dataclass(value):
        return [shape for field in fields(value) for shape in _shapes(getattr(value, field.name))]
    return [shape for part in value for shape in _shapes(part)] if _of_tensors(value) else []


def joined(worlds: Sequence[TableWorld]) -> TableWorld:
    """The world of all seeds of worlds with the same `shape_of`; a tensor that all of them share is stored once."""
    counts = [len(world.beta) for world in worlds]
    return replace(
        worlds[0],
        game=_stacked([world.game for world in worlds], counts),
        log_reference=_stacked([world.log_reference for world in worlds], counts),
        beta=torch.cat([world.beta for world in worlds]),
        equilibria=_equilibria([world.equilibria for world in worlds], counts),
    )


def _stacked(parts: Sequence[Any], counts: Sequence[int]) -> Any:
    """Values of the same `_shapes` as one, with the instances of all seeds one after another.

    Args:
        parts: tensors whose first dimension is 1 or the seeds, or dataclasses and tuples of such tensors.
        counts: the number of seeds of each part.
    """
    first = parts[0]
    if isinstance(first, Tensor):
        if len(first) == 1 and all(torch.equal(part, first) for part in parts):
            return first
        return torch.cat([part.expand(count, *part.shape[1:]) for part, count in zip(parts, counts, strict=True)])
    if is_dataclass(first) and not isinstance(first, type):
        names = [field.name for field in fields(first) if _shapes(getattr(first, field.name))]
        return replace(first, **{name: _stacked([getattr(part, name) for part in parts], counts) for name in names})
    return tuple(_stacked(each, counts) for each in zip(*parts, strict=True))


def _of_tensors(value: Any) -> bool:
    return isinstance(value, tuple) and all(isinstance(part, Tensor) for part in value)


def _equilibria(parts: Sequence[Certified | None], counts: Sequence[int]) -> Certified | None:
    """The joined reference equilibria; certificates stay with the runs."""
    equilibria = [part for part in parts if part is not None]
    if not equilibria:
        return None
    return replace(equilibria[0], log_policy=_stacked([part.log_policy for part in equilibria], counts))


def merged(values: Sequence[Any]) -> Any:
    """Join values that differ only in tensors whose first dimension is the seeds."""
    first = values[0]
    if isinstance(first, Tensor):
        return torch.cat(list(values))
    if is_dataclass(first) and not isinstance(first, type):
        together = copy.copy(first)
        for field in fields(first):  # `replace` would lose the fields that no argument sets
            object.__setattr__(together, field.name, merged([getattr(value, field.name) for value in values]))
        return together
    return first


@dataclass(frozen=True)
class Share:
    """The part of one run in a batch.

    Args:
        seeds: the positions of its seeds in the batch.
        runs: the number of runs in the batch; they share the time equally.
    """

    seeds: slice
    runs: int

    def of(self, value: Any, memo: dict[int, Any]) -> Any:
        """This run's part of a value built of dataclasses, dicts, tensors and policies; a policy stays one object.

        Args:
            memo: parts of policies by the identity of the policy of the batch.
        """
        if isinstance(value, Policy):
            if id(value) not in memo:
                memo[id(value)] = self._fields(value, memo)
            return memo[id(value)]
        if isinstance(value, Tensor):
            return value[self.seeds].clone()
        if isinstance(value, dict):
            return {name: self.of(entry, memo) for name, entry in value.items()}
        return self._fields(value, memo) if is_dataclass(value) else value

    def _fields(self, value: Any, memo: dict[int, Any]) -> Any:
        return replace(value, **{field.name: self.of(getattr(value, field.name), memo) for field in fields(value)})

    def checkpoint(self, content: dict[str, Any]) -> dict[str, Any]:
        """This run's part of the content of a checkpoint."""
        memo: dict[int, Any] = {}
        prox = content["prox"]
        answers = [
            (self.of(policy, memo), self.of(answer, memo), answered[self.seeds])
            for policy, answer, answered in prox["answers"]
        ]
        return content | {
            "state": self.of(content["state"], memo),
            "total": self.of(content["total"], memo),
            "progress": self.progress(Progress.from_json(content["progress"])).to_json(),
            "next_row": content["next_row"][self.seeds],
            "prox": {"queries": prox["queries"][self.seeds], "answers": answers},
        }

    def progress(self, total: Progress) -> Progress:
        """The progress of its seeds."""
        return Progress(total.iterations[self.seeds], total.queries[self.seeds], total.best[self.seeds],
                        total.seconds / self.runs)  # fmt: skip


class Folders(Recorder):
    """The recorder of a batch: sends every row to the run of its seed.

    Args:
        folders: the folders of the runs in the order of the batch.
    """

    def __init__(self, folders: Sequence[RunFolder]) -> None:
        self.folders = list(folders)
        ends = np.cumsum([len(folder.run.options.seeds) for folder in folders]).tolist()
        self.shares = [Share(slice(start, end), len(ends)) for start, end in zip([0, *ends[:-1]], ends, strict=True)]
        self.positions = [(folder, seed) for folder in folders for seed in range(len(folder.run.options.seeds))]

    def row(self, seed: int, values: dict[str, Any], policy: Policy) -> None:
        folder, position = self.positions[seed]
        seeds = slice(seed - position, seed - position + len(folder.run.options.seeds))
        part = TabularPolicy(policy.log_probabilities[seeds])
        folder.row(position, values | {"seconds": values["seconds"] / len(self.folders)}, part)

    def checkpoint(self, content: dict[str, Any]) -> None:
        self.each(lambda folder, share: folder.checkpoint(share.checkpoint(content)))

    def each(self, work: Callable[[RunFolder, Share], T]) -> list[T]:
        """Call `work` for every run and its share, in threads, because most of the time they wait for the disk."""
        with ThreadPoolExecutor(WRITERS) as pool:
            return list(pool.map(work, self.folders, self.shares))
