"""The files of one run: what it leaves behind, and what it goes on from."""

from __future__ import annotations

import io
import platform
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import yaml

from nlhf.budget import Progress, is_scheduled
from nlhf.config import ConfigError
from nlhf.files import replacing, write_json
from nlhf.judges.base import added
from nlhf.links import make_folder
from nlhf.policies.base import Memory, Policy
from nlhf.records import POLICY_COLUMNS, Table, first_hits, permanent
from nlhf.specification import RESULTS_VERSION, Specification
from nlhf.world import World

if TYPE_CHECKING:
    from nlhf.language.world import TextWorld


@dataclass
class RunFolder:
    """Rows and checkpoints of one run; the trainer's recorder.

    Args:
        check: called before every write; raises where the run is no longer ours.
    """

    run: Specification
    world: World | TextWorld
    check: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        self.path, self.started = self.run.folder, time.monotonic()
        self.spent: dict[str, Any] = {}  # on the judge, by the processes before this one
        self.columns = self.world.columns
        self.table = Table(self.path / "metrics.csv", self.columns)
        self.policies = Table(self.path / "policies.csv", POLICY_COLUMNS)

    def row(self, seed: int, values: dict[str, Any], policy: Policy) -> None:
        number, names = self.run.options.seeds[seed], self.run.options.names
        self.table.add(**values, run=self.run.name, game=names["game"], algorithm=names["algorithm"], seed=number)
        if self.run.options.log_policy:
            place = {"seed": number, "iteration": values["iteration"]}
            if not self.world.listed:
                policy.save(self.path / "policies" / str(values["iteration"]))
                return
            game = self.world.game
            for context, row in zip(game.contexts, policy.log_probabilities[seed].tolist(), strict=True):
                for action, value in zip(game.items, row, strict=True):
                    self.policies.add(**place, context=context, action=action, log_probability=value)

    def checkpoint(self, content: dict[str, Any]) -> None:
        self.flush()
        buffer = io.BytesIO()  # on a full disk torch itself raises no OSError
        torch.save({"fingerprint": self.run.fingerprint, "results_version": RESULTS_VERSION, "judge": self._account,
                    **content}, buffer)  # fmt: skip
        with replacing(self.path / "checkpoint.pt", "wb") as stream:
            stream.write(buffer.getbuffer())

    @property
    def _account(self) -> dict[str, Any] | None:
        """What the judge was asked, and its cost, by this process and, up to their last checkpoints, those before."""
        return None if self.world.account is None else added(self.spent, self.world.account)

    def flush(self) -> None:
        """Bring the rows to the disk."""
        self.check()
        for table in self._tables():
            table.flush()

    def _tables(self) -> list[Table]:
        return [self.table, self.policies] if self.run.options.log_policy and self.world.listed else [self.table]

    def resume(self, template: Any) -> dict[str, Any] | None:
        """The last checkpoint, with the rows before it taken up again; None where there is none.

        Args:
            template: a state of the algorithm, whose classes the checkpoint may hold; no others are unpickled.

        Raises: ConfigError for a checkpoint that cannot be read.
        """
        path = self.path / "checkpoint.pt"
        if not path.exists():
            return None
        again = f"remove {path} to start this run again."
        try:
            with torch.serialization.safe_globals([Memory, *_classes(template)]):
                content: dict[str, Any] = torch.load(path, weights_only=True, map_location=self.world.beta.device)
        except Exception as error:  # damaged bytes raise whatever the unpickler stumbles over
            raise ConfigError(f"{path} cannot be read: {again}") from error
        if not isinstance(content, dict) or not {"progress", "fingerprint"} <= content.keys():
            raise ConfigError(f"{path} is no checkpoint of a run: {again}")
        self.run.check_same(content)
        self.spent = content.get("judge") or {}
        done = dict(zip(self.run.options.seeds, content["progress"]["iterations"], strict=True))
        for table in self._tables():
            table.load()
            table.keep(lambda row: permanent(row, done))
        expected = sum(is_scheduled(k) for last in done.values() for k in range(last + 1))
        if len(self.table.rows) != expected:
            raise ConfigError(f"{self.table.path} has lost rows from before the checkpoint: {again}")
        return content

    def begin(self, overrides: Sequence[str]) -> None:
        """Write the config, the overrides that asked for it, and the game."""
        self.check()
        folder = self.path / ".hydra"
        make_folder(folder)
        with replacing(folder / "config.yaml") as stream:
            yaml.dump(self.run.config, stream, _Dumper, sort_keys=False, allow_unicode=True)
        with replacing(folder / "overrides.yaml") as stream:
            yaml.dump(list(overrides), stream, _Dumper, sort_keys=False, allow_unicode=True)
        self.world.save(self.path)

    def conclude(
        self, status: str, reason: str | None, policy: Policy, progress: Progress, together: int = 1
    ) -> dict[str, Any]:
        """Write the last rows, the final policy and summary.json; returns the summary. `together` is the number of runs
        that were computed as one batch."""
        self.flush()
        seeds = self.run.options.seeds
        self.world.save_policy(self.path, policy, seeds)
        summary = {
            "status": status,
            "stop_reason": reason,
            **self.run.identity,
            "method": self.run.method,
            "final": self._final_metrics(),
            "queries_to_exploitability": {"resolution": "scheduled rows", **first_hits(self.table.rows, seeds)},
            "equilibrium": self.world.equilibria and self.world.equilibria.summary,
            "judge": self._account,
            "progress": progress.to_json(),
            "wall_seconds": (time.monotonic() - self.started) / together,
            "vectorised_with": together - 1,
            "peak_memory_bytes": peak_memory(),
            **environment(),
        }
        write_json(self.path / "summary.json", summary)
        if status == "completed" and not self.run.options.keep_checkpoint:
            (self.path / "checkpoint.pt").unlink(missing_ok=True)
        return summary

    def _final_metrics(self) -> dict[str, float | None]:
        """Mean over seeds of their last rows; None for what was not measured."""
        last = {row["seed"]: row for row in self.table.rows}.values()
        measured = self.columns[self.columns.index("exploitability") :]
        cells = {name: [row[name] for row in last] for name in measured}
        return {
            name: float(np.mean([float(c) for c in cells[name]])) if cells[name] and all(cells[name]) else None
            for name in measured
        }


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """Quotes the texts that OmegaConf, other than PyYAML, reads as numbers: 1e3."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write what occurs twice twice."""
        return True


_EXPONENT = re.compile(r"[-+]?([0-9][0-9_]*\.?[0-9_]*|\.[0-9_]+)[eE][-+]?[0-9]+$")
_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENT, list("-+.0123456789"))


def _classes(value: Any) -> set[type]:
    """The dataclasses that a state is built of."""
    if isinstance(value, dict):
        return set().union(*(_classes(entry) for entry in value.values()))
    if not is_dataclass(value) or isinstance(value, type):
        return set()
    return {type(value)}.union(*(_classes(getattr(value, field.name)) for field in fields(value)))


@cache
def environment() -> Mapping[str, Any]:
    """Versions and the commit, for summary.json."""
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for package in ("nlhf", "torch", "numpy", "hydra-core", "omegaconf", "scipy"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    root = Path(__file__).resolve().parents[1]
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        commit = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        commit = None
    return {"versions": versions, "commit": commit, "platform": platform.platform(), "threads": torch.get_num_threads()}


def peak_memory() -> int:
    """Peak resident memory of this process in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
