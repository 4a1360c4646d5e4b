"""The files of one run: what it leaves behind, and what it goes on from."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from nlhf.budget import Progress
from nlhf.config import ConfigError
from nlhf.environment import environment, peak_memory
from nlhf.io.checksums import damaged, file_record, sealed, unsealed
from nlhf.io.files import replacing
from nlhf.io.json_files import read_json, write_json
from nlhf.io.links import make_folder
from nlhf.io.yaml_files import yaml_text
from nlhf.judges.base import added
from nlhf.policies.base import Memory, Policy
from nlhf.records import GAME, POLICY_COLUMNS, Table, first_hits, is_input, means_of_last_rows, permanent
from nlhf.runner.fingerprint import RESULTS_VERSION
from nlhf.runner.source import dataclasses_in
from nlhf.runner.specification import Specification
from nlhf.runner.world import World

# Patterns of a run's result files. checkpoint.pt has its own checksum; run.log and exploiter.json may change later.
RESULTS = (
    ".hydra/*.yaml",
    GAME,
    "metrics.csv",
    "policies.csv",
    "policies/**/*",
    "policy.*",
    "policy/**/*",
    "completions.jsonl",
)


@dataclass
class RunFolder:
    """Rows and checkpoints of one run; the trainer's recorder.

    Args:
        check: called before every write; raises where the run is no longer ours.
    """

    run: Specification
    world: World
    check: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        self.path, self.started = self.run.folder, time.monotonic()
        self.spent: dict[str, Any] = {}  # on the judge, by the processes before this one
        self.columns = self.world.columns
        self.table = Table(self.path / "metrics.csv", self.columns, sync=False)
        self.policies = Table(self.path / "policies.csv", POLICY_COLUMNS, sync=False)

    def row(self, seed: int, values: dict[str, Any], policy: Policy) -> None:
        number, names = self.run.options.seeds[seed], self.run.options.names
        self.table.add(**values, run=self.run.name, game=names["game"], algorithm=names["algorithm"], seed=number)
        if self.run.options.log_policy:
            self.world.log_policy(self.policies, policy, seed, {"seed": number, "iteration": values["iteration"]})

    def checkpoint(self, content: dict[str, Any]) -> None:
        self.flush()
        buffer = io.BytesIO()  # on a full disk torch itself raises no OSError
        tables = {table.path.name: table.text for table in self._tables()}
        saved = {"fingerprint": self.run.fingerprint, "results_version": RESULTS_VERSION, "judge": self._account}
        torch.save({**saved, "tables": tables, **content}, buffer)
        with replacing(self.path / "checkpoint.pt", "wb") as stream:
            stream.write(sealed(buffer.getbuffer()))

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
        """The last checkpoint, with its rows taken up again; None where there is none.

        Rows of the files that the checkpoint does not hold stay there until this run has computed them again.

        Args:
            template: a state of the algorithm, whose classes the checkpoint may hold; no others are unpickled.

        Raises: ConfigError for a checkpoint that cannot be read.
        """
        lost = damaged(self.path, (read_json(self.path / "summary.json") or {}).get("files", {}))
        for table in self._tables():
            if table.path.name not in lost:
                table.keep_earlier()
        path = self.path / "checkpoint.pt"
        if not path.exists():
            return None
        again = f"remove {path} to start this run again."
        try:
            if (sound := unsealed(path)) is None:
                raise ValueError("its checksum does not fit")
            with torch.serialization.safe_globals([Memory, *dataclasses_in(template)]):
                content: dict[str, Any] = torch.load(
                    io.BytesIO(sound), weights_only=True, map_location=self.world.beta.device
                )
        except Exception as error:  # the unpickler raises many types
            raise ConfigError(f"{path} cannot be read: {again}") from error
        if not isinstance(content, dict) or not {"progress", "fingerprint"} <= content.keys():
            raise ConfigError(f"{path} is no checkpoint of a run: {again}")
        self.run.check_same(content)
        self.spent = content.get("judge") or {}
        done = dict(zip(self.run.options.seeds, content["progress"]["iterations"], strict=True))
        schedule = self.world.measure.schedule
        for table in self._tables():
            table.go_on_from(content["tables"][table.path.name], lambda row: permanent(row, schedule, done))
        return content

    def begin(self, overrides: Sequence[str]) -> None:
        """Mark the run as running, then write the config, the overrides that asked for it, its identity, and the game.

        A new folder has no summary, which means the same as `running`.
        """
        self.check()
        path = self.path / "summary.json"
        earlier = read_json(path) or {}
        if path.exists():
            started = {"status": "running", "stop_reason": None, **self.run.identity, "method": self.run.method}
            nothing = {
                "final": {},
                "equilibrium": None,
                "progress": Progress.none(len(self.run.options.seeds)).to_json(),
            }
            write_json(path, started | nothing)
        self._write_config(overrides)
        game = {name: record for name, record in earlier.get("files", {}).items() if name == GAME}
        if not game or damaged(self.path, game):
            self.world.save(self.path)

    def repair(self, overrides: Sequence[str]) -> dict[str, Any]:
        """Write those files of a completed run again that need no training; returns the summary."""
        self.check()
        self._write_config(overrides)
        self.world.save(self.path)
        summary = read_json(self.path / "summary.json") or {}
        rewritten = {name: file_record(self.path / name) for name in summary["files"] if is_input(name)}
        summary["files"] |= rewritten
        write_json(self.path / "summary.json", summary)
        return summary

    def _write_config(self, overrides: Sequence[str]) -> None:
        folder = self.path / ".hydra"
        make_folder(folder)
        asked = [word for word in overrides if not word.startswith("force=")]  # no repetition asks for it again
        identity = {name: value for name, value in self.run.identity.items() if name != "seeds"}
        contents = {"config": self.run.config, "overrides": asked, "identity": identity}
        for name, content in contents.items():
            with replacing(folder / f"{name}.yaml", sync=False) as stream:
                stream.write(yaml_text(content))

    def conclude(
        self, status: str, reason: str | None, policy: Policy, progress: Progress, together: int = 1
    ) -> dict[str, Any]:
        """Write the last rows, the final policy and summary.json; returns the summary. `together` is the number of runs
        that were computed as one batch."""
        for table in self._tables():
            table.drop_earlier(complete=status == "completed")
        self.flush()
        seeds = self.run.options.seeds
        self.world.save_policy(self.path, policy, seeds)
        summary = {
            "status": status,
            "stop_reason": reason,
            **self.run.identity,
            "budget": asdict(self.run.budget),
            "method": self.run.method,
            "final": means_of_last_rows(self.table.rows, self.columns[self.columns.index("exploitability") :]),
            "queries_to_exploitability": {"resolution": "scheduled rows", **first_hits(self.table.rows, seeds)},
            "equilibrium": self.world.certificate,
            "judge": self._account,
            "progress": progress.to_json(),
            "wall_seconds": (time.monotonic() - self.started) / together,
            "vectorised_with": together - 1,
            "peak_memory_bytes": peak_memory(),
            **environment(),
            "files": self._records(),
        }
        write_json(self.path / "summary.json", summary)
        if status == "completed" and not self.run.options.keep_checkpoint:
            (self.path / "checkpoint.pt").unlink(missing_ok=True)
        return summary

    def _records(self) -> dict[str, Any]:
        """The records of all result files, by which damage is detected."""
        tables = {table.path.name: table.record for table in self._tables()}
        found = sorted(path for pattern in RESULTS for path in self.path.glob(pattern) if path.is_file())
        names = [path.relative_to(self.path).as_posix() for path in found]
        return {name: file_record(path) | tables.get(name, {}) for name, path in zip(names, found, strict=True)}
