"""The files of one run: rows, checkpoints, config and summary."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from nlhf.budget import Progress
from nlhf.environment import environment, peak_memory
from nlhf.io.checksums import damaged, file_record
from nlhf.io.files import replacing
from nlhf.io.json_files import read_json, write_json
from nlhf.io.links import make_folder
from nlhf.io.sync import sync_late_files
from nlhf.io.yaml_files import yaml_text
from nlhf.judges.base import add_accounts
from nlhf.policies.base import Memory, Policy
from nlhf.records import (
    BY_PROMPT,
    GAME,
    POLICY_COLUMNS,
    PROMPT_COLUMNS,
    Table,
    first_hits,
    is_input,
    means_of_last_rows,
    permanent,
)
from nlhf.runner.checkpoint import load_checkpoint, save_checkpoint
from nlhf.runner.fingerprint import RESULTS_VERSION
from nlhf.runner.live import Events
from nlhf.runner.result_files import records
from nlhf.runner.source import dataclasses_in
from nlhf.runner.specification import Specification
from nlhf.runner.world import World


@dataclass
class RunFolder:
    """The folder of one run, and the recorder of its trainer.

    Args:
        check: called before every write; raises if this process no longer owns the run.
    """

    run: Specification
    world: World
    check: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        self.path, self.started = self.run.folder, time.monotonic()
        self.spent: dict[str, Any] = {}  # on the judge by earlier processes
        self.columns = (*self.world.columns, *self.run.algorithm.columns)
        self.table = Table(self.path / "metrics.csv", self.columns, sync=False)
        self.policies = Table(self.path / "policies.csv", POLICY_COLUMNS, sync=False)
        self.by_prompt = Table(self.path / BY_PROMPT, PROMPT_COLUMNS, sync=False)
        self.events = Events(self.path) if self.run.options.tensorboard else None

    def row(self, seed: int, values: dict[str, Any], policy: Policy) -> None:
        """Record a row, and the policy if log_policy is true."""
        number, names = self.run.options.seeds[seed], self.run.options.names
        self.table.add(**values, run=self.run.name, game=names["game"], algorithm=names["algorithm"], seed=number)
        self.world.save_samples(self.path, policy)
        key = {"seed": number, "iteration": values["iteration"]}
        self.world.log_prompts(self.by_prompt, policy, key)
        if self.events is not None:
            self.events.add(number, values)
        if self.run.options.log_policy:
            self.world.log_policy(self.policies, policy, seed, key)

    def checkpoint(self, content: dict[str, Any]) -> None:
        """Write the rows, then checkpoint.pt."""
        self.flush()
        tables = {table.path.name: table.text for table in self._tables()}
        identity = {"fingerprint": self.run.fingerprint, "results_version": RESULTS_VERSION, "judge": self._account}
        save_checkpoint(self.path / "checkpoint.pt", {**identity, "tables": tables, **content})

    @property
    def _account(self) -> dict[str, Any] | None:
        """The number and cost of calls of the judge, including earlier processes up to their last checkpoints."""
        return None if self.world.account is None else add_accounts(self.spent, self.world.account)

    def flush(self) -> None:
        """Write the rows to the disk."""
        self.check()
        for table in self._tables():
            table.flush()

    def _tables(self) -> list[Table]:
        if not self.world.listed:
            return [self.table, self.by_prompt]
        return [self.table, self.policies] if self.run.options.log_policy else [self.table]

    def resume(self, template: Any) -> dict[str, Any] | None:
        """The last checkpoint, whose rows become the rows of this run; None without a checkpoint.

        Rows of the files that the checkpoint lacks stay in the files until this run has computed them again.

        Args:
            template: a state of the algorithm; the checkpoint may hold objects of its classes.

        Raises: ConfigError for a checkpoint that cannot be read.
        """
        lost = damaged(self.path, (read_json(self.path / "summary.json") or {}).get("files", {}))
        for table in self._tables():
            if table.path.name not in lost:
                table.keep_earlier()
        path = self.path / "checkpoint.pt"
        if not path.exists():
            return None
        content = load_checkpoint(path, [Memory, *dataclasses_in(template)], self.world.beta.device)
        self.run.check_same(content)
        self.spent = content.get("judge") or {}
        iterations = dict(zip(self.run.options.seeds, content["progress"]["iterations"], strict=True))
        schedule = self.run.algorithm.schedule or self.world.measure.schedule
        for table in self._tables():
            text = content["tables"].get(table.path.name, "")  # checkpoints of older versions lack a table
            table.go_on_from(text, lambda row: permanent(row, schedule, iterations))
        return content

    def begin(self, overrides: Sequence[str]) -> None:
        """Mark the run as running, then write its config, overrides and identity, and the game.

        A new folder has no summary, which means the same as `running`.
        """
        self.check()
        path = self.path / "summary.json"
        earlier = read_json(path) or {}
        if path.exists():
            started = {"status": "running", "stop_reason": None, **self.run.identity, "method": self.run.method}
            progress = Progress.none(len(self.run.options.seeds)).to_json()
            write_json(path, started | {"final": {}, "equilibrium": None, "progress": progress})
        self._write_config(overrides)
        game = {name: record for name, record in earlier.get("files", {}).items() if name == GAME}
        if not game or damaged(self.path, game):
            self.world.save(self.path)

    def repair(self, overrides: Sequence[str]) -> dict[str, Any]:
        """Rewrite the files of a completed run that need no training; returns the summary."""
        self.check()
        self._write_config(overrides)
        self.world.save(self.path)
        summary = read_json(self.path / "summary.json") or {}
        summary["files"] |= {name: file_record(self.path / name) for name in summary["files"] if is_input(name)}
        write_json(self.path / "summary.json", summary)
        return summary

    def _write_config(self, overrides: Sequence[str]) -> None:
        folder = self.path / ".hydra"
        make_folder(folder)
        repeatable = [override for override in overrides if not override.startswith("force=")]
        identity = {name: value for name, value in self.run.identity.items() if name != "seeds"}
        contents = {"config": self.run.config, "overrides": repeatable, "identity": identity}
        for name, content in contents.items():
            with replacing(folder / f"{name}.yaml", sync=False) as stream:
                stream.write(yaml_text(content))

    def conclude(
        self, status: str, reason: str | None, policy: Policy, progress: Progress, batch_size: int = 1
    ) -> dict[str, Any]:
        """Write the last rows, the final policy and summary.json; returns the summary.

        Args:
            batch_size: the number of runs that were computed as one batch.
        """
        if self.events is not None:
            self.events.close()
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
            "wall_seconds": (time.monotonic() - self.started) / batch_size,
            "vectorised_with": batch_size - 1,
            "peak_memory_bytes": peak_memory(),
            **environment(),
            "files": records(self.path, self._tables()),
        }
        write_json(self.path / "summary.json", summary)
        if status == "completed" and not self.run.options.keep_checkpoint:
            sync_late_files()
            (self.path / "checkpoint.pt").unlink(missing_ok=True)
        return summary
