"""One job of a sweep: overrides, their config, and the run that they mean."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

from hydra.core.override_parser.types import Override

from nlhf.config import ConfigError
from nlhf.io.json_files import read_json
from nlhf.runner.finished import finished
from nlhf.runner.specification import Specification, specify
from nlhf.runner.within_budget import limits

Compose = Callable[[Sequence[str]], dict[str, Any]]  # from the overrides of a job to its config


@dataclass(frozen=True)
class Job:
    """One job of a sweep.

    Args:
        overrides: as Hydra's launchers take them.
        config: resolved, as `run_one` takes it.
        run: the run that the config describes.
    """

    overrides: tuple[str, ...]
    config: dict[str, Any]
    run: Specification

    @classmethod
    def of(cls, overrides: Sequence[str], compose: Compose) -> Job:
        """The job of these overrides.

        Raises: ConfigError for overrides that do not compose, and for a config that cannot work.
        """
        config = compose(overrides)
        return cls(tuple(overrides), config, specify(config))

    @property
    def task(self) -> tuple[dict[str, Any], tuple[str, ...]]:
        """The arguments of `attempt`."""
        return self.config, self.overrides

    @property
    def entries(self) -> float:
        """Entries of the matrices of all seeds, estimated from the config."""
        contexts = float(self.config["game"].get("contexts") or 1)
        return len(self.run.options.seeds) * contexts * float(self.run.game.action_count or 10) ** 2

    @property
    def weight(self) -> float:
        """Expected duration in arbitrary units: queries of all seeds times a cost that grows with the game."""
        budget = self.run.budget
        return (budget.queries or budget.iterations or 1000) * (1000 * len(self.run.options.seeds) + self.entries)

    @property
    def budget(self) -> str:
        """The budget in the notation of the command line."""
        return limits(asdict(self.run.budget))

    def status(self) -> str:
        """The status in the run's folder: completed, failed, interrupted, or unfinished."""
        status = str((read_json(self.run.folder / "summary.json") or {}).get("status"))
        if status == "completed" and finished(self.run) is not None:
            return status
        return status if status in ("failed", "interrupted") else "unfinished"


def combinations(overrides: Iterable[Override]) -> list[list[str]]:
    """The overrides of every job of a sweep, as Hydra's basic sweeper orders them; a key's last override counts."""
    values: dict[str, list[str]] = {}
    for override in overrides:
        values[override.get_key_element()] = _values(override)
    return [list(job) for job in product(*values.values())]


def side_by_side(overrides: Iterable[Override]) -> list[list[str]]:
    """The n-th values of all overrides, for every n; one empty list without overrides.

    Raises: ConfigError if the numbers of values differ.
    """
    values = {override.get_key_element(): _values(override) for override in overrides}
    numbers = {key: len(texts) for key, texts in values.items()}
    if len(set(numbers.values())) > 1:
        counts = ", ".join(f"{number} of {key}" for key, number in numbers.items())
        raise ConfigError(f"hydra.sweeper.together has {counts}: give each key the same number of values.")
    return [list(row) for row in zip(*values.values(), strict=True)] if values else [[]]


def _values(override: Override) -> list[str]:
    """The overrides of single values that an override stands for."""
    sweeps, key = override.is_sweep_override(), override.get_key_element()
    texts = override.sweep_string_iterator() if sweeps else [override.get_value_element_as_str()]
    return [f"{key}={text}" for text in texts]


def check_values(override: Override) -> None:
    """Refuse a sweep override that does not list its values.

    Raises: ConfigError.
    """
    if not override.is_sweep_override():
        return
    key, text = override.get_key_element(), override.input_line
    if not override.is_discrete_sweep():
        raise ConfigError(
            f"{text} gives no values to run one by one: list them as {key}=A,B, or let a search choose them with "
            "hydra/sweeper=optuna."
        )
    if not any(True for _ in override.sweep_string_iterator()):
        raise ConfigError(f"{text} matches nothing, so there is no run: list the values as {key}=A,B.")
