"""The public Python interface, `import nlhf`: numpy arrays in and out, the same runs as the command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nlhf.budget import Budget
from nlhf.config import ConfigError
from nlhf.equilibria.arrays import EquilibriumResult, equilibrium, exploitability, normalised
from nlhf.io.arrays import read_arrays
from nlhf.runner.within_budget import exceeds, policy_within, rows_at

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["EquilibriumResult", "Run", "equilibrium", "evaluate", "exploitability", "run"]


@dataclass(frozen=True)
class Run:
    """The results of a run, read from its folder on first use.

    The folder may hold an earlier run with a larger budget. `metrics` and `log_policy` then stop at the requested
    budget, and `summary` describes the larger run; `summary["budget"]` is its budget.

    Args:
        folder: of the run.
        summary: the content of summary.json.
        budget: the requested budget.
    """

    folder: Path
    summary: dict[str, Any]
    budget: Budget

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """The rows of metrics.csv up to the budget, with all digits."""
        import pandas as pd

        rows = pd.read_csv(self.folder / "metrics.csv")
        if not exceeds(self.summary, self.budget):
            return rows
        stored = {(row["seed"], row["iteration"]) for row in rows_at(self.folder, self.budget)}
        pairs = zip(rows["seed"].astype(str), rows["iteration"].astype(str), strict=True)
        return rows[[pair in stored for pair in pairs]].reset_index(drop=True)

    @cached_property
    def log_policy(self) -> np.ndarray:
        """Log-probabilities (S, X, Y) at the budget.

        Raises: ConfigError if the run went on with a larger budget and this policy was not stored.
        """
        if exceeds(self.summary, self.budget):
            return policy_within(self.folder, self.summary, self.budget)
        with np.load(self.folder / "policy.npz") as saved:
            return np.array(saved["log_policy"])


def run(overrides: Sequence[str] = (), config_dir: str | PathLike[str] | None = None) -> Run:
    """Run what `nlhf run OVERRIDES` would, into the same folder, and skip what is completed.

    Args:
        overrides: as on the command line, ["game=random_tournament", "beta=0.01"].
        config_dir: a folder with further choices of groups, such as algorithm/mine.yaml.

    Raises: ConfigError for bad input; KeyboardInterrupt after an interruption, behind a checkpoint.

    Example:
        >>> nlhf.run(["game=rock_paper_scissors", "reference=random"]).summary["status"]  # doctest: +SKIP
        'completed'
    """
    from nlhf.launch.compose import composed, plain
    from nlhf.runner.run_one import run_one

    with composed(overrides, config_dir=config_dir) as config:
        outcome = run_one(plain(config), overrides=overrides)
    if outcome.signal:
        raise KeyboardInterrupt(f"{outcome.folder} was interrupted: run it again to go on.")
    return Run(outcome.folder, outcome.summary, outcome.budget)


def evaluate(
    policy: str | PathLike[str], overrides: Sequence[str] = (), config_dir: str | PathLike[str] | None = None
) -> dict[str, float]:
    """Grade a policy that was trained elsewhere: the metrics of one row, means over its seeds.

    Args:
        policy: .npz with `log_policy` (and `seeds`, which choose the instances unless the overrides do; and `items`,
            which must be the game's), or .npy; log-probabilities (n), (X, n) or (S, X, n).
        overrides: the game, reference and beta to grade it in.
        config_dir: a folder with further choices of groups, such as game/mine.yaml.

    Raises: ConfigError for a file that does not fit.
    """
    from nlhf.launch.compose import composed, plain
    from nlhf.runner.assemble import assemble
    from nlhf.runner.specification import specify
    from nlhf.runner.table_world import TableWorld

    saved = _saved_policy(Path(policy))
    seeds = saved.get("seeds")
    if seeds is not None and not any(override.startswith("seeds=") for override in overrides):
        overrides = [*overrides, f"seeds={[int(seed) for seed in seeds]}"]
    with composed(overrides, config_dir=config_dir) as config:
        world = assemble(specify(plain(config)))
    if not isinstance(world, TableWorld):
        raise ConfigError(f"{policy} is a table, and game=text has completions that cannot be listed: choose its game.")
    items = [str(item) for item in saved["items"]] if "items" in saved else None
    if items is not None and items != list(world.game.items):
        raise ConfigError(f"{policy} is over other items ({', '.join(items[:3])}, ...) than the game: choose its game.")
    shape = (len(world.beta), len(world.game.contexts), len(world.game.items))
    log_policy = normalised(saved["log_policy"], shape[1:], str(policy)).to(world.beta.device)
    if len(log_policy) not in (1, shape[0]):
        raise ConfigError(
            f"{policy} holds {len(log_policy)} seeds and the game has {shape[0]}: give one policy, or as many seeds."
        )
    log_policy = log_policy.expand(shape).contiguous()
    if (tree := world.game.tree) is not None and not tree.contains(log_policy):
        raise ConfigError(
            f"{policy} gives replies of the user other probabilities than the game, where policies choose answers "
            "only: multiply the probabilities of the answers by those of the replies."
        )
    row = world.measure.grade(log_policy)
    return {name: float(value.mean()) for name, value in row.items()}


def _saved_policy(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise ConfigError(f"{path} is not a file: give an npz with log_policy, or an npy.")
    saved = read_arrays(path)
    if saved is None:
        raise ConfigError(f"{path} cannot be read: give an npz with log_policy, or an npy.")
    saved = {"log_policy" if name == "" else name: value for name, value in saved.items()}
    if "log_policy" not in saved:
        raise ConfigError(f"{path} has no array log_policy, but {', '.join(saved)}: name it so.")
    return saved
