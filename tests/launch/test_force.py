"""force=true moves the old folder of a run aside and runs anew."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import nlhf
from nlhf.config import ConfigError
from nlhf.io.files import is_moved_aside
from nlhf.runner.backup import move_aside
from nlhf.runner.lock import BusyError, locked
from tests.launch.commands import MAIN, command, results

FAST = ("game=random_tournament", "game.actions=3", "budget.target=null")


def folders(study: Path) -> list[str]:
    """The names of the folders in a study."""
    return sorted(path.name for path in study.iterdir() if path.is_dir() and not path.name.startswith("."))


def mark(study: Path) -> None:
    """Leave a file in every folder by which it is known again."""
    for name in folders(study):
        if not is_moved_aside(name):
            (study / name / "mark").touch()


def marked(study: Path) -> list[str]:
    return [name for name in folders(study) if (study / name / "mark").exists()]


def words(tmp_path: Path, *overrides: str) -> list[str]:
    return [*FAST, "budget.queries=20", f"runs_dir={tmp_path}", "study=s", *overrides]


def test_a_single_run_is_run_anew_as_often_as_it_is_asked_for(tmp_path):
    assert command(*words(tmp_path)).code == 0
    study = tmp_path / "s"
    (name,) = folders(study)
    honest = results(study)
    mark(study)
    done = command(*words(tmp_path, "force=true"))
    assert done.code == 0
    assert f"moved {study / name} to {name}.1" in done.err
    assert folders(study) == [name, f"{name}.1"]
    assert marked(study) == [f"{name}.1"]
    mark(study)
    assert command(*words(tmp_path, "force=true")).code == 0
    assert marked(study) == [f"{name}.1", f"{name}.2"]
    (study / f"{name}.1" / "mark").unlink()
    for place in (f"{name}.1", f"{name}.2"):
        assert json.loads((study / place / "summary.json").read_text())["status"] == "completed"
        assert not (study / place / "lock").exists()
        (study / place).rename(tmp_path / place)
    assert results(study) == honest
    assert "force" not in (study / name / ".hydra" / "overrides.yaml").read_text()
    assert "force: false" in (study / name / ".hydra" / "config.yaml").read_text()


def test_the_python_interface_forces_too(tmp_path):
    first = nlhf.run(words(tmp_path))
    for number in (1, 2):
        (first.folder / "mark").touch()
        again = nlhf.run(words(tmp_path, "force=true"))
        assert again.folder == first.folder
        assert not (again.folder / "mark").exists()
        assert (tmp_path / "s" / f"{first.folder.name}.{number}" / "mark").exists()


POOL = "hydra/launcher=pool"
LAUNCHERS = [[], [POOL], [POOL, "vectorise=true"], ["hydra/sweeper=basic"], ["hydra/sweeper=basic", POOL]]


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_sweep_moves_every_folder_once(tmp_path, launcher):
    sweep = words(tmp_path, "beta=0.1,0.2", "budget.queries=10,20", *launcher)
    sweep.remove("budget.queries=20")
    assert command("-m", *sweep).code == 0
    study = tmp_path / "s"
    names, honest = folders(study), results(study)
    assert len(names) == 2
    mark(study)
    done = command("-m", *sweep, "force=true")
    assert done.code == 0, done.err
    assert marked(study) == [f"{name}.1" for name in names]
    assert folders(study) == sorted([*names, *marked(study)])
    for name in marked(study):
        (study / name).rename(tmp_path / name)
    assert results(study) == honest


@pytest.mark.parametrize("multirun", [[], ["-m"], ["-m", "hydra/launcher=pool"]])
def test_a_dry_run_moves_nothing(tmp_path, multirun):
    assert command(*words(tmp_path)).code == 0
    (name,) = folders(tmp_path / "s")
    done = command(*multirun, *words(tmp_path, "force=true", "dry_run=true"))
    assert done.code == 0
    assert f"{name}  run anew" in done.out
    assert folders(tmp_path / "s") == [name]


def test_a_run_that_another_process_works_on_is_not_moved(tmp_path):
    folder = nlhf.run(words(tmp_path)).folder
    with locked(folder), pytest.raises(BusyError, match="is being worked on"):
        nlhf.run(words(tmp_path, "force=true"))
    with locked(folder):
        done = command("-m", *words(tmp_path, "force=true", "hydra/launcher=pool"))
    assert done.code == 1
    assert "is being worked on" in done.err
    assert folders(tmp_path / "s") == [folder.name]


def test_bad_input_moves_nothing(tmp_path):
    path = tmp_path / "votes.csv"
    path.write_text("item_a,item_b,wins_a,wins_b\na,b,1,2\n")
    folder = nlhf.run([f"runs_dir={tmp_path}", "game=votes", f"game.path={path}"]).folder
    with pytest.raises(ConfigError):
        nlhf.run([f"runs_dir={tmp_path}", "game=votes", f"game.path={path}", "force=true", "device=nowhere"])
    assert folders(folder.parent) == [folder.name]


def test_a_folder_of_another_version_or_with_a_damaged_result_is_moved(tmp_path):
    folder = nlhf.run(words(tmp_path)).folder
    (folder / "summary.json").write_text("{")
    (folder / "checkpoint.pt").unlink()
    with pytest.raises(ConfigError, match="force=true"):
        nlhf.run(words(tmp_path))
    assert nlhf.run(words(tmp_path, "force=true")).summary["status"] == "completed"
    assert (folder.with_name(f"{folder.name}.1") / "summary.json").read_text() == "{"


def test_a_failure_before_the_game_exists_is_recorded_in_the_new_folder(tmp_path, monkeypatch):
    folder = nlhf.run(words(tmp_path)).folder

    def fail(_):
        raise RuntimeError("no game")

    monkeypatch.setattr("nlhf.runner.assemble.assemble", fail)
    assert nlhf.run(words(tmp_path, "force=true")).summary["status"] == "failed"
    old = json.loads((folder.with_name(f"{folder.name}.1") / "summary.json").read_text())
    assert old["status"] == "completed"


# --- the move itself -------------------------------------------------------------------------------------------------


def test_nothing_is_overwritten_and_the_first_free_number_is_taken(tmp_path):
    for name in ("run", "run.1", "run.3"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    (tmp_path / "run.2").touch()
    assert move_aside(tmp_path / "run") == tmp_path / "run.4"
    assert [path.name for path in (tmp_path / "run.4").iterdir()] == ["run"]
    assert {path.name for path in tmp_path.iterdir()} == {"run.1", "run.2", "run.3", "run.4"}
    assert move_aside(tmp_path / "run") is None


def test_a_link_is_not_moved(tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "other")
    with pytest.raises(ConfigError, match="is a symbolic link"):
        move_aside(tmp_path / "run")
    assert {path.name for path in tmp_path.iterdir()} == {"other", "run"}


@pytest.mark.parametrize("call", ["mkdir", "rename", "sync_folder", "unlink"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_any_moment_the_old_folder_is_whole(tmp_path, call, when):
    """A process of its own dies around each call that changes something."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "rows").write_text("old")
    code = f"""
import os, sys
from pathlib import Path
from nlhf.runner import backup as aside

place = aside if {call!r} == "sync_folder" else Path
call = getattr(place, {call!r})

def dying(*words, **options):
    if {when!r} == "after":
        call(*words, **options)
    os._exit(9)

if {call!r} == "mkdir":  # the first one makes sure of the folder itself
    renamed = aside._renamed
    def armed(folder):
        Path.mkdir = dying
        return renamed(folder)
    aside._renamed = armed
else:
    setattr(place, {call!r}, dying)
aside.move_aside(Path(sys.argv[1]))
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "run")], check=False, capture_output=True,
                          env=os.environ | {"PYTHONPATH": str(MAIN.parent)})  # fmt: skip
    assert done.returncode == 9, done.stderr
    whole = [path for path in tmp_path.iterdir() if (path / "rows").exists()]
    assert len(whole) == 1
    assert (whole[0] / "rows").read_text() == "old"
    if whole[0].name == "run":
        assert move_aside(tmp_path / "run") is not None
    assert not (tmp_path / "run").exists()
