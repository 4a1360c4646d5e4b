"""Exact iterations on a device that is not there: fake tensors know shapes and devices, refuse those of another device,
and have no values to read back. What passes here mixes no devices and waits for nothing on a GPU."""

from __future__ import annotations

from dataclasses import fields, replace
from functools import cache

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from nlhf.games import linked
from nlhf.games.sparse import SparseGame
from nlhf.runner.assemble import assemble
from nlhf.runner.specification import specify
from tests.composing import OTHER_SOLUTIONS, UNREGULARISED, configured
from tests.test_host_synchronisation import EXACT, LOOK, Nowhere

pytestmark = pytest.mark.usefixtures("one_thread")
GAMES = {"random_tournament": ["game.actions=5", "game.contexts=2"], "rock_paper_scissors": ["reference=random"],
         "low_rank": ["game.actions=5"], "general_preference": ["game.actions=9000"]}  # fmt: skip
DEVICE = "lazy:0"  # one whose calls torch makes up without a driver
SPARSE = SparseGame.of({(0, 0, 1): 0.7, (0, 1, 2): 0.9}, ("all",), ("a", "b", "c"))


def elsewhere(value):
    return torch.empty(value.shape, dtype=value.dtype, device=DEVICE)


def moved(game):
    """A game's tensors on the other device."""
    tensors = {
        field.name: value for field in fields(game) if isinstance(value := getattr(game, field.name), torch.Tensor)
    }
    return replace(game, **{name: elsewhere(value) for name, value in tensors.items()})


COMMON = ["seeds=3", "equilibrium=never"]


@cache
def assembled(*words):
    """The world that a game, a reference and beta make on this machine; every algorithm starts from the same one."""
    return assemble(specify(configured(*words, *COMMON)))


def iterated(folder, words, *more, count=3):
    """A world, and its trainer after some iterations of the run with `more`, one seed stopped in the last."""
    run = specify(configured(*words, *more, *COMMON, f"runs_dir={folder}"))
    here = assembled(*words)
    with FakeTensorMode():
        world = replace(here, game=moved(here.game), log_reference=elsewhere(here.log_reference),
                        beta=elsewhere(here.beta))  # fmt: skip
        trainer = world.trainer(run, Nowhere())
        for iteration in range(count):
            trainer.prox.active = np.array([iteration < 1 or seed > 0 for seed in range(len(world.beta))])
            trainer._iterate()
        row = world.measure.grade(trainer.state.policy.log_probabilities)
    return trainer, row


@pytest.mark.parametrize("algorithm", [name for name in EXACT if name not in LOOK])
@pytest.mark.parametrize("game", GAMES)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_an_iteration_stays_on_its_device(tmp_path, monkeypatch, algorithm, game, dtype):
    monkeypatch.setattr(linked, "TILE", 4500)  # three tiles instead of 171, as fake tensors are slow
    words = [f"game={game}", *GAMES[game], f"beta={0 if algorithm in UNREGULARISED else 0.05}"]
    if algorithm in OTHER_SOLUTIONS:  # they need the matrix
        words += [f"solution={algorithm}", f"algorithm={algorithm}", "game.actions=9"]
    trainer, row = iterated(tmp_path, words, f"algorithm={algorithm}", f"dtype={dtype}")
    policy = trainer.state.policy
    assert (policy.log_probabilities.device, policy.log_probabilities.dtype) == (torch.device(DEVICE), torch.float64)
    assert {value.device for value in row.values()} == {torch.device(DEVICE)}


@pytest.mark.parametrize("algorithm", ["adaptive_nash_mp", "secant"])
def test_what_looks_at_its_steps_is_noticed(tmp_path, algorithm):
    with pytest.raises((DataDependentOutputException, RuntimeError), match=r"local_scalar|numpy|nonzero"):
        iterated(tmp_path, ["game=random_tournament", "game.actions=5"], f"algorithm={algorithm}", count=30)


def test_sparse_votes_are_asked_there():
    with FakeTensorMode():
        for dtype in (torch.float64, torch.float32):
            told = moved(SPARSE).to(dtype).payoff(torch.empty(2, 1, 3, dtype=torch.float64, device=DEVICE))
            assert (told.device, told.dtype) == (torch.device(DEVICE), torch.float64)
