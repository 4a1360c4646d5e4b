"""A laboratory for Nash learning from human feedback. Names below are imported when they are first used."""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

from nlhf.cli import early as _early

if TYPE_CHECKING:
    from nlhf import analysis
    from nlhf.config import ConfigError
    from nlhf.interface import equilibrium, evaluate, exploitability, run

__version__ = "0.2.0"
__all__ = ["ConfigError", "analysis", "equilibrium", "evaluate", "exploitability", "run"]

if _early.is_command():
    _early.prepare()

# Threads of torch sleep while they wait for each other. Threads that spin gain little on free cores and lose much
# beside another process (benchmarks/threads.py). OpenMP reads the variable once, when torch is imported.
if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"} & os.environ.keys():
    os.environ["OMP_WAIT_POLICY"] = "passive"

_HOMES = {"ConfigError": "nlhf.config", "analysis": "nlhf.analysis"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"nlhf has no {name}: it offers {', '.join(__all__)}.")
    home = importlib.import_module(_HOMES.get(name, "nlhf.interface"))
    return home if name == "analysis" else getattr(home, name)


def __dir__() -> list[str]:
    return __all__
