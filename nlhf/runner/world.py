"""The protocol of a world: what a run trains a policy in and grades it by. Two classes implement it.

`TableWorld` holds games whose actions can be listed, `TextWorld` a language model with its prompts and judge. Trainer,
run folder, console and sweeps use a world through this protocol alone; `assemble` chooses the class.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from torch import Tensor

from nlhf.equilibria.metrics import Grades
from nlhf.policies.base import Policy
from nlhf.records import Table
from nlhf.runner.recorder import Recorder

if TYPE_CHECKING:
    from nlhf.runner.specification import Specification
    from nlhf.runner.trainer import Trainer


class World(Protocol):
    """What the policies of S seeds are trained in and graded by."""

    @property
    def beta(self) -> Tensor:
        """The strength of the KL term of every seed, (S, 1, 1)."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of metrics.csv."""

    @property
    def measure(self) -> Grades:
        """Grades policies in this world."""

    @property
    def listed(self) -> bool:
        """True if actions can be listed, so that a policy is a table."""

    @property
    def certificate(self) -> dict[str, Any] | None:
        """What is known about the reference equilibrium, for summary.json; None if none was computed."""

    @property
    def account(self) -> dict[str, Any] | None:
        """The number and the cost of this process's calls of the judge; None for a world without a judge."""

    def trainer(self, run: Specification, recorder: Recorder, **options: Any) -> Trainer:
        """The trainer of a run at its start; `options` are further arguments of Trainer."""

    def log_policy(self, table: Table, policy: Policy, seed: int, key: dict[str, Any]) -> None:
        """Record one seed's policy: as rows of policies.csv, or as a folder next to it.

        Args:
            table: policies.csv.
            seed: position of the seed in the batch.
            key: the cells `seed` and `iteration`.
        """

    def log_prompts(self, table: Table, policy: Policy, key: dict[str, Any]) -> None:
        """Record what was measured on every test prompt as a row of by_prompt.csv, if prompts are measured."""

    def save_samples(self, folder: Path, policy: Policy) -> None:
        """Write what people read of the policy of a row while the run goes on."""

    def save(self, folder: Path) -> None:
        """Write the files that exist before training."""

    def save_policy(self, folder: Path, policy: Policy, seeds: list[int]) -> None:
        """Write the final policy."""
