"""A small study with everything that report.html can show, and its page."""

from __future__ import annotations

from pathlib import Path

from nlhf.analysis.criterion import Criterion
from nlhf.analysis.report import write
from nlhf.analysis.results import analyse
from tests.analysis.synthetic import geometric, write_run

SCHEDULE = [0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 60, 80, 100]
RATIOS = {"nash_mp": 0.5, "optimistic": 0.55, "omd": 0.9, "sppo": 0.999}  # the last never reaches 1e-3
GAMES, BETAS, SEEDS = ("circle", "votes"), (0.05, 0.1), range(6)


def write_study(root: Path) -> Path:
    """Four methods on two games at two betas, a method with a caveat, a failed and a killed run."""
    made = {"versions": {"torch": "2.9", "python": "3.11"}, "commit": "abc", "platform": "Linux", "threads": 1}
    for method, ratio in RATIOS.items():
        method_of = {"sources": ["2505.19731"], "caveat": "its last iterate cycles" if method == "sppo" else None}
        for place, game in enumerate(GAMES):
            for beta in BETAS:
                curves = {s: geometric(0.1 + s / 50, ratio ** (1 + place), SCHEDULE, 1 + place) for s in SEEDS}
                bounds = {seed: [0.9**queries for _, queries, _ in curve] for seed, curve in curves.items()}
                words = ["study=mine", f"algorithm={method}", f"game={game}", f"beta={beta}"]
                write_run(root, method, game, beta, curves=curves, bounds=bounds, overrides=words,
                          summary=made | {"method": method_of})  # fmt: skip
    start = {seed: geometric(0.1 + seed / 50, 0.9, [0, 1, 2]) for seed in SEEDS}
    write_run(root, "egpo", "circle", curves=start, status="failed", summary=made | {"stop_reason": "not finite"})
    write_run(root, "mpo", "circle", curves=start, status=None)
    return root


def write_page(root: Path, out: Path) -> Path:
    """The page of a study, to the target 1e-3."""
    return write(analyse(root, Criterion(target=1e-3)), out)
