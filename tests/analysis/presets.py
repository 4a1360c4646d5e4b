"""Presets of conf/experiment in miniature, run in this process: few values of every key, few seeds, few iterations."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

from hydra.core.global_hydra import GlobalHydra

from nlhf.launch.compose import composed
from nlhf.launch.composer import Composer
from nlhf.runner.chosen import CONF
from nlhf.runner.run_one import run_one

PRESETS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))
LARGE = ("dialogue", "stackelberg_text")  # these, and those of language models, need 135M parameters
SMALL = [name for name in PRESETS if name not in LARGE and not name.startswith("language_")]
FEW = {"algorithm": 2, "game": 2, "game.actions": 2}  # values of a swept key; three of any other one


def few_of(sweeper: Mapping[str, Any]) -> list[list[str]]:
    """The overrides of some jobs of a sweep, without budgets."""
    values = [[f"{key}={value}" for value in str(values).split(",")[: FEW.get(key, 3)]]
              for key, values in (sweeper["params"] or {}).items()]  # fmt: skip
    rows = [[word for word in row if not word.startswith("budget.")] for row in rows_of(sweeper)[:3]]
    return [[*row, *chosen] for row in rows for chosen in product(*values)]


def rows_of(sweeper: Mapping[str, Any]) -> list[list[str]]:
    """The overrides whose values go together in a sweep, row by row; one empty row without any."""
    columns = [[f"{key}={value}" for value in str(values).split(",")]
               for key, values in (sweeper.get("together") or {}).items()]  # fmt: skip
    return [list(row) for row in zip(*columns, strict=True)] if columns else [[]]


def run_preset(preset: str, root: Path, *overrides: str) -> Path:
    """Run a small part of a preset's sweep; returns the study's folder."""
    fixed = [f"experiment={preset}", "seeds=2", "budget.iterations=6", f"runs_dir={root}", "progress=false", *overrides]
    with composed(fixed) as config:
        sweep = few_of(config.hydra.sweeper)
        study = root / config.study
        composer = Composer(GlobalHydra.instance().config_loader(), config)
        configs = [composer([*fixed, *words]) for words in sweep]
    for config, words in zip(configs, sweep, strict=True):
        run_one(config, overrides=[*fixed, *words])
    return study
