"""Runs as TensorBoard event files: what TensorBoard reads there is what metrics.csv says."""

from __future__ import annotations

import builtins
import importlib.util

import numpy as np
import pytest

from nlhf.analysis import AnalysisError
from nlhf.analysis.criterion import Criterion
from nlhf.analysis.study import load
from nlhf.analysis.tensorboard import write
from nlhf.cli.compare import main
from tests.analysis.synthetic import geometric, write_run

NEEDS = pytest.mark.skipif(
    importlib.util.find_spec("tensorboard") is None,
    reason='TensorBoard is not installed: pip install -e ".[tensorboard]"',
)
SCHEDULE = [0, 1, 2, 4, 8]


def read(folder):
    """The scalars of one run by name: (step, value) pairs."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder)).Reload()
    return {name: [(event.step, event.value) for event in events.Scalars(name)] for name in events.Tags()["scalars"]}


@pytest.fixture
def folder(tmp_path):
    curves = {seed: geometric(0.1 + seed, 0.5, SCHEDULE, 2) for seed in (0, 3)}
    entropy = {seed: [float("nan"), 1.0, 0.5, float("nan"), 0.25] for seed in curves}
    return write_run(tmp_path / "runs", curves=curves, extra={"entropy": entropy})


@NEEDS
@pytest.mark.parametrize("x", ["queries", "iteration"])
def test_every_metric_of_every_row_is_a_scalar_at_its_step(folder, tmp_path, x):
    data = load(folder)
    assert write(data, tmp_path / "events", Criterion(x=x)) == 2
    for seed in (0, 3):
        found = read(tmp_path / "events" / folder.name / f"seed-{seed}")
        rows = data[data["seed"] == seed]
        assert set(found) == {"exploitability", "kl_to_equilibrium", "entropy"}
        steps, values = zip(*found["exploitability"], strict=True)
        assert steps == tuple(rows[x])
        assert values == pytest.approx(rows["exploitability"].to_numpy(), rel=1e-6)  # TensorBoard keeps float32
        measured = rows[rows["entropy"].notna()]
        assert found["entropy"] == [
            (step, np.float32(value)) for step, value in zip(measured[x], measured["entropy"], strict=True)
        ]


@NEEDS
def test_the_command_writes_them_and_says_how_to_look(folder, tmp_path, capsys):
    assert main([str(folder), "--no-report", "--tensorboard", str(tmp_path / "events")]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"2 runs for tensorboard --logdir {tmp_path / 'events'}"
    assert len(list((tmp_path / "events").rglob("events.out.tfevents.*"))) == 2


@NEEDS
def test_seconds_are_no_steps(folder, tmp_path):
    with pytest.raises(AnalysisError, match="give --x queries or iteration"):
        write(load(folder), tmp_path / "events", Criterion(x="seconds"))


def test_where_tensorboard_is_missing_the_remedy_is_told(folder, tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *rest, **options):
        if name == "torch.utils.tensorboard":
            raise ImportError(name)
        return real(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(AnalysisError, match=r"--tensorboard needs TensorBoard: pip install -e"):
        write(load(folder), tmp_path / "events", Criterion())
