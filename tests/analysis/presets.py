"""Presets of conf/experiment in miniature, run in this process: few values of every key, few seeds, few iterations."""

from __future__ import annotations

from itertools import product
from pathlib import Path

from nlhf.launch.compose import CONF, composed, plain
from nlhf.launch.run import run_one

PRESETS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))
SMALL = [name for name in PRESETS if name != "language_model"]  # that one needs a model of 135M parameters
FEW = {"algorithm": 2, "game": 2, "game.actions": 2}  # values of a swept key; three of any other one


def run_preset(preset: str, root: Path, *overrides: str) -> Path:
    """Run a small part of a preset's sweep; returns the study's folder."""
    fixed = [f"experiment={preset}", "seeds=2", "budget.iterations=6", f"runs_dir={root}", "progress=false", *overrides]
    with composed(fixed) as config:
        params = dict(config.hydra.sweeper.params)
        study = root / config.study
    values = {key: str(params[key]).split(",")[: FEW.get(key, 3)] for key in params}
    for chosen in product(*values.values()):
        words = [f"{key}={value}" for key, value in zip(values, chosen, strict=True)]
        with composed([*fixed, *words]) as config:
            run_one(plain(config), overrides=[*fixed, *words])
    return study
