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
from nlhf.games.base import check_preference
from nlhf.io.files import read_arrays
from nlhf.references.base import reference_logits
from nlhf.runner.within_budget import exceeds, policy_within, rows_at

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor


@dataclass(frozen=True)
class Run:
    """The results of a run, read from its folder on first use.

    The run may have been completed earlier with a larger budget. `metrics` and `log_policy` are then those at the
    budget that was asked for, and `summary` is that of the larger one; `summary["budget"]` says which.

    Args:
        folder: of the run.
        summary: the content of summary.json.
        budget: the budget that was asked for.
    """

    folder: Path
    summary: dict[str, Any]
    budget: Budget

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """The rows of metrics.csv up to the budget, numbers to the bit."""
        import pandas as pd

        rows = pd.read_csv(self.folder / "metrics.csv")
        if not exceeds(self.summary, self.budget):
            return rows
        kept = {(row["seed"], row["iteration"]) for row in rows_at(self.folder, self.budget)}
        pairs = zip(rows["seed"].astype(str), rows["iteration"].astype(str), strict=True)
        return rows[[pair in kept for pair in pairs]].reset_index(drop=True)

    @cached_property
    def log_policy(self) -> np.ndarray:
        """Log-probabilities (S, X, Y) at the budget.

        Raises: ConfigError if the run went on with a larger budget and this policy was not stored.
        """
        if exceeds(self.summary, self.budget):
            return policy_within(self.folder, self.summary, self.budget)
        with np.load(self.folder / "policy.npz") as saved:
            return np.array(saved["log_policy"])


@dataclass(frozen=True)
class EquilibriumResult:
    """A Nash equilibrium and its certificate.

    Args:
        log_policy: log-probabilities (n) or (X, n), as the preference had contexts or not.
        exploitability: measured, the mean over contexts.
        method: `newton` (beta > 0) or `linear programme` (beta = 0, where it need not be the only one).
        certified: True if, in every context, the exploitability is at most 1e-12 and at most what rounding explains.
    """

    log_policy: np.ndarray
    exploitability: float
    method: str
    certified: bool


def run(overrides: Sequence[str] = ()) -> Run:
    """Run what `python main.py OVERRIDES` would, into the same folder, and skip what is completed.

    Args:
        overrides: as on the command line, ["game=random_tournament", "beta=0.01"].

    Raises: ConfigError for bad input; KeyboardInterrupt after an interruption, behind a checkpoint.

    Example:
        >>> nlhf.run(["game=rock_paper_scissors", "reference=random"]).summary["status"]  # doctest: +SKIP
        'completed'
    """
    from nlhf.launch.compose import composed, plain
    from nlhf.runner.run_one import run_one

    with composed(overrides) as config:
        outcome = run_one(plain(config), overrides=overrides)
    if outcome.signal:
        raise KeyboardInterrupt(f"{outcome.folder} was interrupted: run it again to go on.")
    return Run(outcome.folder, outcome.summary, outcome.budget)


def equilibrium(preference: Any, beta: float, reference: Any = None) -> EquilibriumResult:
    """The equilibrium of a KL-regularised preference game, to rounding where it is `certified`.

    Args:
        preference: P(row preferred to column), (n, n) or (X, n, n), P + P^T = 1.
        beta: strength of the KL term, >= 0.
        reference: positive weights (n) or (X, n); default uniform.

    Raises: ConfigError for arrays that are not that.

    Example:
        >>> import numpy as np
        >>> P = np.array([[0.5, 0.1, 0.9], [0.9, 0.5, 0.1], [0.1, 0.9, 0.5]])
        >>> np.exp(equilibrium(P, beta=0.1).log_policy).round(3)
        array([0.333, 0.333, 0.333])
    """
    from nlhf.equilibria import solve as reference_equilibrium

    advantage, log_reference, strength = _game(preference, beta, reference)
    solved = reference_equilibrium.solve(advantage, log_reference, strength)
    policy = solved.log_policy.numpy()
    return EquilibriumResult(
        policy[0] if np.ndim(preference) == 2 else policy,
        float(solved.exploitability.mean()),
        solved.method,
        bool(solved.certified.all()),
    )


def exploitability(preference: Any, log_policy: Any, beta: float, reference: Any = None) -> float:
    """max_mu P_beta(mu > pi) - 1/2, averaged over contexts; see `equilibrium` for the arguments.

    Args:
        log_policy: log-probabilities (n) or (X, n), normalised.

    Example:
        >>> import numpy as np
        >>> exploitability(np.array([[0.5, 1.0], [0.0, 0.5]]), np.log([0.5, 0.5]), beta=0)
        0.25
    """
    from nlhf.equilibria.metrics import exploitability_of

    advantage, log_reference, strength = _game(preference, beta, reference)
    policy = _policy(np.asarray(log_policy), tuple(log_reference.shape), "log_policy")[0]
    answer = (advantage @ policy.exp()[..., None])[..., 0]
    return float(exploitability_of(policy, answer, log_reference, policy.new_tensor(strength)).mean())


def evaluate(policy: str | PathLike[str], overrides: Sequence[str] = ()) -> dict[str, float]:
    """Grade a policy that was trained elsewhere: the metrics of one row, means over its seeds.

    Args:
        policy: .npz with `log_policy` (and `seeds`, which choose the instances unless the overrides do; and `items`,
            which must be the game's), or .npy; log-probabilities (n), (X, n) or (S, X, n).
        overrides: the game, reference and beta to grade it in.

    Raises: ConfigError for a file that does not fit.
    """
    from nlhf.launch.compose import composed, plain
    from nlhf.runner.specification import specify
    from nlhf.runner.world import World, assemble

    saved = _saved_policy(Path(policy))
    seeds = saved.get("seeds")
    if seeds is not None and not any(override.startswith("seeds=") for override in overrides):
        overrides = [*overrides, f"seeds={[int(seed) for seed in seeds]}"]
    with composed(overrides) as config:
        world = assemble(specify(plain(config)))
    if not isinstance(world, World):
        raise ConfigError(f"{policy} is a table, and game=text has completions that cannot be listed: choose its game.")
    items = [str(item) for item in saved["items"]] if "items" in saved else None
    if items is not None and items != list(world.game.items):
        raise ConfigError(f"{policy} is over other items ({', '.join(items[:3])}, ...) than the game: choose its game.")
    shape = (len(world.beta), len(world.game.contexts), len(world.game.items))
    log_policy = _policy(saved["log_policy"], shape[1:], str(policy)).to(world.beta.device)
    if len(log_policy) not in (1, shape[0]):
        raise ConfigError(
            f"{policy} holds {len(log_policy)} seeds and the game has {shape[0]}: give one policy, or as many seeds."
        )
    log_policy = log_policy.expand(shape).contiguous()
    row = world.measure.grade(log_policy)
    return {name: float(value.mean()) for name, value in row.items()}


def _game(preference: Any, beta: float, reference: Any) -> tuple[Tensor, Tensor, float]:
    """Advantages (X, n, n), log reference (X, n) and beta, checked."""
    import torch

    if not 0 <= beta < float("inf"):
        raise ConfigError(f"beta={beta} is out of range: give a finite number >= 0.")
    table = torch.from_numpy(check_preference(preference, "preference"))
    contexts, n, _ = table.shape
    weights = np.ones(n) if reference is None else reference
    logits = reference_logits(weights, contexts, n, "reference")
    return (table - table.mT) / 2, torch.from_numpy(logits).log_softmax(-1), float(beta)


def _policy(values: np.ndarray, shape: tuple[int, ...], source: str) -> Tensor:
    """Log-probabilities (n), (X, n) or (S, X, n) as (S, X, n), renormalised."""
    import torch

    if values.dtype.kind not in "fiu":
        raise ConfigError(f"{source}: log_policy holds {values.dtype}, not numbers: give log-probabilities.")
    array = np.array(values, dtype=np.float64, ndmin=3)
    if array.shape[1:] != tuple(shape):
        raise ConfigError(
            f"{source} has shape {np.shape(values)}, the game {shape[0]} contexts and {shape[1]} actions: "
            "grade it in the game that it was trained in."
        )
    policy = torch.from_numpy(array)
    mass = policy.logsumexp(-1)
    if not bool((mass.abs() < 1e-6).all()):
        raise ConfigError(f"{source} has probabilities that do not sum to 1: give normalised logarithms.")
    return policy.log_softmax(-1)


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
