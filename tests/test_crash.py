"""Killed at any file operation, a command that is repeated ends as if nothing had happened."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from nlhf.launch.batch import attempt_all
from nlhf.launch.job import Job
from nlhf.launch.pool import Pool
from nlhf.runner.run_one import run_one
from nlhf.runner.specification import specify
from tests.composing import configured
from tests.leftovers import differences, faults, last_iterations, left_behind
from tests.operations import NEVER, Child, killed, representatives

pytestmark = pytest.mark.usefixtures("one_thread")
GAME = ["game=random_tournament", "game.actions=4", "reference=random", "beta=0.2", "seeds=[4,0]", "progress=false",
        "budget.target=null", "budget.queries=null", "checkpoint_seconds=0", "study=s"]  # fmt: skip


@dataclass
class Scenario:
    """A command that is killed and repeated.

    Args:
        root: the runs_dir; configs: of the runs of the command; before: of a run that was completed earlier.
    """

    root: Path
    configs: list[dict[str, Any]]
    before: list[dict[str, Any]]

    def __post_init__(self) -> None:
        self.template = self.root.parent / "template"
        self._do(self.configs)
        self.expected = [left_behind(folder) for folder in self.folders]
        shutil.rmtree(self.root)
        self.root.mkdir()
        self._do(self.before)
        shutil.copytree(self.root, self.template)

    @property
    def folders(self) -> list[Path]:
        return [specify(config).folder for config in self.configs]

    def _do(self, configs: list[dict[str, Any]]) -> None:
        if len(configs) > 1:
            states = {ended.state for ended in attempt_all([(config, ["a"]) for config in configs])}
            assert states <= {"completed", "skipped"}
        for config in configs[: 1 if len(configs) == 1 else 0]:
            assert run_one(config, overrides=["a"]).status == "completed"

    def killed(self, at: int = NEVER) -> Child:
        """The command, killed at a file operation."""
        return killed(lambda: self._do(self.configs), self.root, at)

    def operations(self) -> list[str]:
        """The file operations of the undisturbed command."""
        self.reset()
        whole = self.killed()
        assert not whole.died
        assert not whole.error, whole.error
        return whole.operations

    def reset(self) -> list[dict[str, int]]:
        """Put the folder back as it was before the command; the last iterations of its runs."""
        shutil.rmtree(self.root)
        shutil.copytree(self.template, self.root)
        return [last_iterations(folder) for folder in self.folders]

    def repeat(self) -> Iterator[str]:
        """Repeat the command; how its end differs from that of an undisturbed one."""
        try:
            self._do(self.configs)
        except Exception as problem:
            yield f"repeated: {problem!r}"
            return
        for folder, expected in zip(self.folders, self.expected, strict=True):
            if differing := differences(expected, left_behind(folder), close=len(self.configs) > 1):
                yield f"repeated: {', '.join(differing)} differ"

    def faults(self, *numbers: int) -> Iterator[str]:
        """What is wrong after kills at these file operations, one attempt after the other, and after a repetition."""
        before = self.reset()
        at = ""
        for number in numbers:
            child = self.killed(number)
            place = child.operations[-1] if child.died else "which it did not reach"
            at += f"killed at {number}, {place}: "
            if child.error:
                yield f"{at}{child.error}"
            for folder, reached in zip(self.folders, before, strict=True):
                yield from (f"{at}{fault}" for fault in faults(folder, reached))
        yield from (f"{at}{fault}" for fault in self.repeat())


@pytest.fixture
def scenario(tmp_path):
    """Makes a scenario of one run with this budget, after one with another budget."""

    def made(length, before=None, numbers=({},), **options):
        root = tmp_path / "runs"
        base = configured(*GAME, f"runs_dir={root}", *(f"{name}={value}" for name, value in options.items()))
        configs = [base | number | {"budget": base["budget"] | {"iterations": length}} for number in numbers]
        first = [] if before is None else [configs[0] | {"budget": base["budget"] | {"iterations": before}}]
        return Scenario(root, configs, first)

    return made


SCENARIOS = {
    "run": {"length": 2, "log_policy": True},
    "extension": {"length": 8, "before": 6},
    "extension without checkpoint": {"length": 9, "before": 7, "keep_checkpoint": False},
    "batch": {"length": 2, "numbers": ({"beta": 0.1}, {"seeds": [7]}), "vectorise": True},
}
LONG = {
    "run": {"length": 9, "log_policy": True},
    "extension": {"length": 15, "before": 10, "log_policy": True},
    "extension off the schedule": {"length": 13, "before": 7, "log_policy": True},
    "extension without checkpoint": {"length": 13, "before": 7, "keep_checkpoint": False, "log_policy": True},
    "batch": {"length": 5, "numbers": ({"beta": 0.1}, {"beta": 0.2}, {"seeds": [7]}), "vectorise": True},
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_kill_at_a_file_operation_loses_nothing(scenario, name):
    """At the first and the last time that every file is replaced or removed, and shortly after."""
    made = scenario(**SCENARIOS[name])
    operations = made.operations()
    numbers = representatives(operations, ("rename", "unlink"))
    found = [fault for number in numbers[:: 2 * len(made.configs)] for fault in made.faults(number)]
    assert not found, "\n".join(found)


@pytest.mark.long
@pytest.mark.parametrize("name", LONG)
def test_a_kill_at_any_file_operation_loses_nothing(scenario, name, capsys):
    made = scenario(**LONG[name])
    operations = made.operations()
    found = [fault for number in range(1, len(operations) + 1) for fault in made.faults(number)]
    with capsys.disabled():
        print(f"{name}: {len(operations)} kills, {len(found)} faults")
    assert not found, "\n".join(found)


@pytest.mark.long
@pytest.mark.parametrize("name", LONG)
def test_kills_one_after_the_other_lose_nothing(scenario, name):
    made, rng = scenario(**LONG[name]), random.Random(0)
    count = len(made.operations())
    found = [fault for _ in range(60) for fault in made.faults(*(rng.randint(1, count) for _ in range(3)))]
    assert not found, "\n".join(found)


@pytest.fixture
def sweep_of_two(tmp_path):
    """Runs a sweep by a pool whose first worker dies at a file operation; returns what its runs left."""
    root, plan = tmp_path / "runs", tmp_path / "plan.json"
    words = ["algorithm._target_=tests.operations.KilledWorker", f"+algorithm.plan={plan}", "budget.iterations=2"]
    base = configured(*GAME, f"runs_dir={root}", *words)

    def jobs():
        configs = [base | {"beta": beta} for beta in (0.1, 0.2)]
        return [Job((f"beta={config['beta']}",), config, specify(config)) for config in configs]

    def run(at=NEVER):
        shutil.rmtree(root, ignore_errors=True)
        (tmp_path / "begun").unlink(missing_ok=True)
        plan.write_text(json.dumps({"root": str(root), "at": at, "begun": str(tmp_path / "begun")}))
        todo = jobs()
        Pool(todo, 2, 1, 5).run()
        return [left_behind(job.run.folder) for job in todo]

    plan.write_text(json.dumps({"root": str(root), "at": NEVER, "begun": str(plan)}))
    run.operations = killed(lambda: run_one(jobs()[0].config), root).operations
    return run


def test_a_worker_that_is_killed_at_a_file_operation_loses_nothing(sweep_of_two):
    expected = sweep_of_two()
    numbers = representatives(sweep_of_two.operations, ("rename",))
    for number in numbers[:: len(numbers) // 4]:
        assert unlike(expected, sweep_of_two(number)) == [[], []], f"killed at {number}"


@pytest.mark.long
def test_a_worker_that_is_killed_at_any_file_operation_loses_nothing(sweep_of_two):
    expected = sweep_of_two()
    for number in range(1, len(sweep_of_two.operations) + 1):
        assert unlike(expected, sweep_of_two(number)) == [[], []], f"killed at {number}"


def unlike(expected, found):
    """For every run, what differs."""
    return [differences(*pair) for pair in zip(expected, found, strict=True)]
