"""Between scheduled rows nothing is read back from the device: on a GPU an iteration is only queued."""

from __future__ import annotations

from contextlib import ExitStack
from unittest.mock import patch

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from nlhf.launch.compose import CONF
from nlhf.runner.assemble import assemble
from nlhf.runner.specification import specify
from tests.composing import ASKING, BY_LOSS, UNREGULARISED, configured

pytestmark = pytest.mark.usefixtures("one_thread")
LOOK = {"adaptive_nash_mp", "adaptive_optimistic", "proximal_point", "mpo", "comal", "secant", "restarted_gradient",
        "restarted_optimistic"}  # at their own steps  # fmt: skip
EXACT = sorted(path.stem for path in (CONF / "algorithm").glob("*.yaml") if path.stem not in (*BY_LOSS, *ASKING))


class ReadBack(TorchDispatchMode):
    """Counts the operators that wait for a number, and the methods that copy to the host, or from it."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if "_local_scalar_dense" in str(function) or "nonzero" in str(function):
            self.found.append(str(function))
        return function(*args, **(kwargs or {}))

    def watching(self):
        """Counts the methods, too."""
        stack = ExitStack()
        for name in ("item", "tolist", "numpy", "cpu", "__bool__", "__float__", "__int__", "new_tensor"):
            method = getattr(torch.Tensor, name)

            def counted(*args, method=method, name=name, **kwargs):
                self.found.append(name)
                return method(*args, **kwargs)

            stack.enter_context(patch.object(torch.Tensor, name, counted))
        stack.enter_context(self)
        return stack


class Nowhere:
    """Takes rows and checkpoints, and keeps none."""

    def row(self, seed, values, policy):
        pass

    def checkpoint(self, content):
        pass


@pytest.mark.parametrize("algorithm", EXACT)
@pytest.mark.parametrize("game", ["random_tournament", "low_rank"])
def test_an_iteration_reads_nothing_back(tmp_path, algorithm, game):
    words = [f"game={game}", "game.actions=5", f"algorithm={algorithm}", "seeds=3", "equilibrium=never",
             f"runs_dir={tmp_path}", f"beta={0 if algorithm in UNREGULARISED else 0.05}"]  # fmt: skip
    run = specify(configured(*words))
    trainer = assemble(run).trainer(run, Nowhere())
    for _ in range(3):
        trainer._iterate()
    watch = ReadBack()
    for active in ([True, True, True], [True, False, True]):  # a seed stops, as at a target
        trainer.prox.active = np.array(active)
        trainer._iterate()
        with watch.watching():
            for _ in range(3):
                trainer._iterate()
    if algorithm in LOOK:
        assert watch.found, f"{algorithm} reads nothing back: take it out of LOOK"
    else:
        assert not watch.found


def test_what_is_read_back_is_noticed():
    watch = ReadBack()
    with watch.watching():
        if torch.ones(()) > 0:
            float(torch.ones(()).sum())
            torch.ones(2).tolist()
    assert {"__bool__", "__float__", "tolist"} <= set(watch.found)
