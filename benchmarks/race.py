"""A race to certified exploitability 1e-4, 1e-8 and 1e-12, against what one would pick instead of this package.

Measured, on the same games, in one process, at least five times in turn: seconds and queries until a policy has that
exploitability, which is computed here, from the policy alone, with the clock stopped. The regularised games have
beta = 0.05 and a uniform reference; the others have beta = 0.

* nlhf: algorithms by `nlhf.run` (looked at on scheduled rows) and `nlhf.equilibrium`, from the call to the answer;
* OpenSpiel (extra bench): magnetic mirror descent with its default step size; an iteration counts as one query;
* nashpy (extra bench): its linear programme; SciPy: HiGHS on the same programme. Both at beta = 0 alone;
* autograd: online IPO as papers' scripts are written: float32 logits, the loss on all pairs of actions, Adam, learning
  rate 0.05, as many steps as fit.

A dash: not within the time limit; "cannot": the tool does not solve such games.

Run from the checkout: python -m benchmarks.race [--short] [--figure FILE]. The last line gives the fastest peer's time
over ours to 1e-8, of the regularised game where that ratio is smallest; exit code 1 if it is below 1. At beta = 0
ratios are printed here and judged by `benchmarks.unregularised`.
"""

from __future__ import annotations

import argparse
import logging
import platform
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

import nlhf

TARGETS = (1e-4, 1e-8, 1e-12)
SECONDS, FEWER = 20.0, 2.0  # a contestant may take for one game, and in the short version
OURS = ("nlhf nash_mp", "nlhf adaptive_optimistic", "nlhf secant", "nlhf equilibrium")
Steps = Iterator[tuple[float, float, np.ndarray]]  # seconds, queries and a policy, again and again


@dataclass(frozen=True)
class Game:
    """Preferences P (n, n), the strength of the KL term to the uniform reference, and the seconds that it may take."""

    name: str
    preference: np.ndarray
    beta: float
    seconds: float

    def exploitability(self, policy: np.ndarray) -> float:
        """Of probabilities (n), computed in float64 by definition."""
        policy = np.maximum(np.asarray(policy, float), 0)
        policy = policy / policy.sum()
        gain = (self.preference - self.preference.T) @ policy / 2
        if self.beta == 0:
            return float(max(gain.max(), 0))
        response = gain / self.beta
        response -= response.max() + np.log(np.exp(response - response.max()).sum())
        with np.errstate(divide="ignore", invalid="ignore"):
            gap = np.log(policy) - response
            terms = np.where(np.abs(gap) < 1, policy * (gap + np.expm1(-gap)), policy * gap - policy + np.exp(response))
        return float(self.beta * np.where(policy > 0, terms, np.exp(response)).sum())


def main(short: bool, repetitions: int, figure: str | None) -> int:
    """Race, print, draw, and return the exit code."""
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    torch.set_num_threads(2)
    print(
        f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, 2 threads; "
        + ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy", "scipy", "nashpy", "open_spiel"))
    )
    ratios = {}
    everything: dict[str, dict[str, dict[float, list[tuple[float, float]]]]] = {}
    for game in games(short):
        taken: dict[str, dict[float, list[tuple[float, float]]]] = {}
        for _ in range(repetitions):
            for name, contestant in CONTESTANTS.items():
                found = reached(contestant, game)
                for target in TARGETS if found is not None else ():
                    taken.setdefault(name, {}).setdefault(target, []).append(found[target])  # type: ignore[index]
        show(game, taken)
        everything[game.name] = taken
        ratios[game.name] = ratio(taken, 1e-8)
        print(f"fastest peer over ours to 1e-8: {ratios[game.name]:.2g}")
    if figure:
        draw({game: {name: [_seconds(found[target]) for target in TARGETS] for name, found in taken.items()}
              for game, taken in everything.items()}, Path(figure))  # fmt: skip
    worst = min((name for name in ratios if not name.endswith("beta = 0")), key=lambda name: ratios[name])
    print(f"\nfastest peer over ours to 1e-8: {ratios[worst]:.1f} on {worst}, at least 1")
    return int(ratios[worst] < 1)


def games(short: bool) -> Iterator[Game]:
    """What is raced on."""
    rng = np.random.default_rng(0)
    for n in (5, 100) if short else (5, 100, 1000):
        upper = np.triu(rng.random((n, n)), 1)
        preference = upper + np.tril(1 - upper.T, -1) + np.eye(n) / 2
        for beta in (0.05, 0.0):
            yield Game(f"{n} actions, beta = {beta:g}", preference, beta, FEWER if short else SECONDS)


def reached(contestant: Callable[[Game], Steps | None], game: Game) -> dict[float, tuple[float, float]] | None:
    """Seconds and queries to every target, infinite where it is missed; None where the tool cannot."""
    steps = contestant(game)
    if steps is None:
        return None
    found = dict.fromkeys(TARGETS, (np.inf, np.inf))
    for seconds, queries, policy in steps:
        value = game.exploitability(policy)
        for target in TARGETS:
            if value <= target and found[target][0] == np.inf:
                found[target] = seconds, queries
        if found[TARGETS[-1]][0] < np.inf or seconds > game.seconds:
            break
    return found


# --- contestants -----------------------------------------------------------------------------------------------------


def by_run(algorithm: str, least: float = 0.0) -> Callable[[Game], Steps | None]:
    """An algorithm of ours, which needs a beta above `least`, from a file of preferences."""

    def steps(game: Game) -> Steps:
        with tempfile.TemporaryDirectory() as place:
            np.save(path := f"{place}/game.npy", game.preference)
            run = nlhf.run(["game=matrix", f"game.path={path}", f"beta={game.beta}", f"algorithm={algorithm}",
                            "equilibrium=never", f"budget.target={TARGETS[-1] / 2}", "budget.queries=null",
                            f"budget.seconds={game.seconds}", "log_policy=true", f"runs_dir={place}",
                            "progress=false"])  # fmt: skip
            import pandas as pd

            table = pd.read_csv(run.folder / "policies.csv").groupby("iteration", sort=True).log_probability
            policies = {iteration: np.exp(values.to_numpy()) for iteration, values in table}
            for row in run.metrics.itertuples():
                yield float(row.seconds), float(row.queries), policies[row.iteration]

    return lambda game: steps(game) if game.beta >= least else None


def by_equilibrium(game: Game) -> Steps:
    """Newton's method, or at beta = 0 the interior point method; with a certificate."""
    started = time.perf_counter()
    found = nlhf.equilibrium(game.preference, beta=game.beta)
    yield time.perf_counter() - started, np.nan, np.exp(found.log_policy)


def by_open_spiel(game: Game) -> Steps | None:
    """Magnetic mirror descent; its magnet and ours are uniform. Without regularisation it needs a schedule."""
    if game.beta == 0:
        return None
    return _mirror_descent(game)


def _mirror_descent(game: Game) -> Steps:
    import pyspiel
    from open_spiel.python.algorithms.mmd_dilated import MMDDilatedEnt

    advantage = (game.preference - game.preference.T) / 2
    matrix = pyspiel.create_matrix_game(advantage.tolist(), (-advantage).tolist())
    started = time.perf_counter()
    solver = MMDDilatedEnt(pyspiel.convert_to_turn_based(matrix), alpha=game.beta)
    clock = time.perf_counter() - started
    for iteration in range(1, 1_000_000):
        started = time.perf_counter()
        solver.update_sequences()
        clock += time.perf_counter() - started
        yield clock, iteration, np.asarray(solver.sequences[0])[1:]


def by_nashpy(game: Game) -> Steps | None:
    """Its linear programme."""
    return None if game.beta > 0 else _linear_program(game)


def _linear_program(game: Game) -> Steps:
    import nashpy

    started = time.perf_counter()
    row, _ = nashpy.Game((game.preference - game.preference.T) / 2).linear_program()
    yield time.perf_counter() - started, np.nan, np.asarray(row)


def by_highs(game: Game) -> Steps | None:
    """SciPy's linear programme, dual simplex."""
    return None if game.beta > 0 else _highs(game)


def _highs(game: Game) -> Steps:
    from scipy.optimize import linprog

    n = len(game.preference)
    started = time.perf_counter()
    advantage = (game.preference - game.preference.T) / 2
    found = linprog(np.r_[np.zeros(n), 1.0], A_ub=np.c_[advantage, -np.ones(n)], b_ub=np.zeros(n),
                    A_eq=np.r_[np.ones(n), 0.0][None], b_eq=[1.0], bounds=[(0, None)] * n + [(None, None)],
                    method="highs-ds")  # fmt: skip
    yield time.perf_counter() - started, np.nan, found.x[:n]


def by_autograd(game: Game) -> Steps | None:
    """Online IPO on all pairs, float32."""
    return None if game.beta == 0 else _autograd(game)


def _autograd(game: Game) -> Steps:
    n = len(game.preference)
    gap = torch.tensor(game.preference, dtype=torch.float32) - 0.5
    logits = torch.zeros(n, requires_grad=True)
    optimiser = torch.optim.Adam([logits], lr=0.05)
    clock = 0.0
    for step in range(1, 1_000_000):
        started = time.perf_counter()
        log_policy = logits.log_softmax(-1)
        margin = game.beta * (log_policy[:, None] - log_policy)
        weight = log_policy.detach().exp()
        loss = (weight[:, None] * weight * (margin - gap) ** 2).sum() / (4 * game.beta)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        clock += time.perf_counter() - started
        if step % 10 == 0:
            yield clock, step, logits.detach().double().softmax(-1).numpy()


CONTESTANTS: dict[str, Callable[[Game], Steps | None]] = {
    "nlhf nash_mp": by_run("nash_mp"), "nlhf adaptive_optimistic": by_run("adaptive_optimistic"),
    "nlhf secant": by_run("secant", 1e-9),
    "nlhf equilibrium": by_equilibrium, "OpenSpiel MMD": by_open_spiel, "nashpy": by_nashpy, "SciPy HiGHS": by_highs,
    "autograd loop": by_autograd,
}  # fmt: skip


# --- what is shown ---------------------------------------------------------------------------------------------------


def show(game: Game, taken: dict[str, dict[float, list[tuple[float, float]]]]) -> None:
    """A table: median seconds, and queries, to every target."""
    print(f"\n{game.name:28}" + "".join(f"{f'to {target:g}':>22}" for target in TARGETS))
    for name in CONTESTANTS:
        cells = "".join(f"{_cell(taken[name][target]) if name in taken else 'cannot':>22}" for target in TARGETS)
        print(f"{name:28}{cells}", flush=True)


def _cell(found: list[tuple[float, float]]) -> str:
    seconds, queries = _seconds(found), np.median([entry[1] for entry in found])
    if seconds == np.inf:
        return "-"
    return f"{seconds:.2g} s" + (f", {queries:g} queries" if np.isfinite(queries) else "")


def _seconds(found: list[tuple[float, float]]) -> float:
    return float(np.median([entry[0] for entry in found]))


def ratio(taken: dict[str, dict[float, list[tuple[float, float]]]], target: float) -> float:
    """Median seconds of the fastest peer over those of our fastest."""
    median = {name: _seconds(found[target]) for name, found in taken.items()}
    peers = [value for name, value in median.items() if name not in OURS]
    return min(peers, default=np.inf) / min(value for name, value in median.items() if name in OURS)


def draw(medians: dict[str, dict[str, list[float]]], path: Path) -> None:
    """Median seconds to every target, infinite where it was missed: a panel a game, ours solid and peers dashed."""
    import matplotlib.pyplot as plt

    from nlhf.analysis.figures.style import style

    order = sorted(medians, key=lambda name: name.endswith("beta = 0"))  # a row for each beta
    with style():
        figure, axes = plt.subplots(
            2, len(order) // 2, figsize=(9.6, 5.4), sharex=True, sharey=True, layout="constrained"
        )
        for axis, game in zip(axes.flat, order, strict=True):
            for number, name in enumerate(CONTESTANTS):
                if name in medians[game]:
                    line, marker = ("-", "o") if name in OURS else ("--", "s")
                    axis.plot(TARGETS, medians[game][name], line, marker=marker, color=f"C{number}", label=name)
            axis.set(xscale="log", yscale="log", title=game, xticks=TARGETS)
        axes[0, 0].invert_xaxis()
        figure.supxlabel("certified exploitability")
        figure.supylabel("seconds (median)")
        known = {
            label: line for axis in axes.flat for line, label in zip(*axis.get_legend_handles_labels(), strict=True)
        }
        names = [name for name in CONTESTANTS if name in known]
        figure.legend([known[name] for name in names], names, loc="outside upper center", ncols=4)
        figure.savefig(path)
    print(path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help=f"up to 100 actions, {FEWER:g} seconds a game")
    parser.add_argument("--repetitions", type=int, default=5, help="of everything, in turn")
    parser.add_argument("--figure", help="a file for the picture")
    options = parser.parse_args()
    sys.exit(main(options.short, options.repetitions, options.figure))
