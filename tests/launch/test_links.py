"""No file outside of a run folder changes through a link in it; links above it are followed."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

import pytest

from nlhf.config import ConfigError
from nlhf.io import links
from nlhf.io.files import remove_temporary, replacing, replacing_folder
from nlhf.launch.compose import composed, plain
from nlhf.runner.run_one import run_one
from tests.launch.commands import GAME, command

pytestmark = pytest.mark.usefixtures("one_thread")
ENTRIES = ("lock", "run.log", ".hydra", "metrics.csv", "policies.csv", "summary.json", "checkpoint.pt", "policy.npz",
           "game.npz", "policy", "policies")  # fmt: skip


@pytest.fixture
def config(tmp_path):
    with composed([*GAME, "algorithm=nash_mp", "study=s", "log_policy=true", f"runs_dir={tmp_path / 'runs'}"]) as base:
        return plain(base)


def shorter(config):
    return config | {"budget": config["budget"] | {"queries": 20}}


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def victim(tmp_path):
    """A folder of precious files with the names that a run uses."""
    folder = tmp_path / "victim"
    folder.mkdir()
    for name in ("file", "config.yaml", "overrides.yaml", "lock", "metrics.csv", ".metrics.csv.12-ab.tmp"):
        (folder / name).write_text("precious")
    return folder


@pytest.mark.parametrize("target", ["file", ".", "missing"])
@pytest.mark.parametrize("entry", ENTRIES)
def test_what_a_link_in_a_run_folder_points_to_never_changes(config, victim, entry, target):
    folder = run_one(shorter(config)).folder
    if (folder / entry).exists():
        (folder / entry).rename(folder.parent / "before")
    (folder / entry).symlink_to(victim / target)
    before = contents(victim)
    with contextlib.suppress(ConfigError):
        assert run_one(config).status == "completed"
    assert contents(victim) == before


@pytest.mark.parametrize("entry", ["lock", "run.log", ".hydra", "policies"])
def test_a_link_is_refused_in_one_sentence_before_anything_is_written(config, victim, entry):
    folder = run_one(shorter(config)).folder
    if (folder / entry).exists():
        (folder / entry).rename(folder.parent / "before")
    (folder / entry).symlink_to(victim / ("file" if entry in ("lock", "run.log") else "."))
    before = {path: text for path, text in contents(folder).items() if path.name != "run.log"}
    arguments = (*GAME, "algorithm=nash_mp", "study=s", "log_policy=true", f"runs_dir={config['runs_dir']}")
    done = command(*arguments)
    assert done.code == 2
    (line,) = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert f"{folder / entry} is a symbolic link to {victim}" in line
    assert "links inside run folders are not followed: remove it" in line
    assert {path: text for path, text in contents(folder).items() if path.name != "run.log"} == before
    (folder / entry).unlink()
    assert command(*arguments).code == 0


def test_a_run_folder_that_is_a_link_is_read_but_not_written(config, tmp_path):
    folder = run_one(shorter(config)).folder
    folder.rename(tmp_path / "archive")
    folder.symlink_to(tmp_path / "archive")
    before = contents(tmp_path / "archive")
    assert run_one(shorter(config)).skipped
    with pytest.raises(ConfigError, match=f"{folder} is a symbolic link to {tmp_path}/archive"):
        run_one(config)
    assert contents(tmp_path / "archive") == before


@pytest.mark.parametrize("above", ["runs", "runs/s"])
def test_the_folders_above_a_run_may_be_links(config, tmp_path, above):
    (tmp_path / "scratch").mkdir()
    (tmp_path / above).parent.mkdir(exist_ok=True)
    (tmp_path / above).symlink_to(tmp_path / "scratch")
    assert run_one(config).status == "completed"
    assert list((tmp_path / "scratch").rglob("summary.json"))


def test_a_cache_of_equilibria_that_is_a_link_is_refused(config, tmp_path, victim):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / ".equilibria").symlink_to(victim)
    before = contents(victim)
    with pytest.raises(ConfigError, match=r"\.equilibria is a symbolic link"):
        run_one(config)
    assert contents(victim) == before


def test_other_names_of_a_log_keep_their_content(tmp_path):
    (tmp_path / "run.log").write_text("earlier\n")
    (tmp_path / "backup").hardlink_to(tmp_path / "run.log")
    for _ in range(2):
        with os.fdopen(links.open_log(tmp_path / "run.log"), "a") as stream:
            stream.write("later\n")
    assert (tmp_path / "backup").read_text() == "earlier\n"
    assert (tmp_path / "run.log").read_text() == "earlier\nlater\nlater\n"


# --- half-written files ----------------------------------------------------------------------------------------------

HALF = (".hydra/.config.yaml.12-ab12cd34.tmp", "policies/3/.policy.12-ab12cd340.tmp/model.bin", ".x.y.1-a.tmp")


def test_half_files_anywhere_in_a_run_folder_are_removed(config):
    folder = run_one(shorter(config)).folder
    for name in HALF:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("half")
    (folder / "notes.tmp").write_text("mine")
    run_one(config)
    assert [path.name for path in folder.rglob("*.tmp")] == ["notes.tmp"]


def test_half_files_outside_are_not_reached_through_a_link(tmp_path, victim):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "link").symlink_to(victim)
    before = contents(victim)
    remove_temporary(tmp_path / "run")
    assert contents(victim) == before


def test_in_a_shared_folder_only_what_is_a_day_old_is_removed(tmp_path):
    shared, day = tmp_path / "shared", 86400
    shared.mkdir()
    for name, age in (("new", 0), ("recent", day - 100), ("old", day + 100)):
        path = shared / f".{name}.npz.12-ab12cd34.tmp"
        path.write_text("half")
        os.utime(path, (time.time() - age,) * 2)
    links.make_shared_folder(shared)
    assert sorted(path.name.split(".")[1] for path in shared.iterdir()) == ["new", "recent"]


# --- files and folders that are replaced -----------------------------------------------------------------------------


def test_replacing_a_link_leaves_its_target_alone(tmp_path, victim):
    for name, target in (("file", victim / "file"), ("folder", victim)):
        (tmp_path / name).symlink_to(target)
    before = contents(victim)
    with replacing(tmp_path / "file") as stream:
        stream.write("new")
    with replacing_folder(tmp_path / "folder") as made:
        (made / "file").write_text("new")
    assert contents(victim) == before
    assert (tmp_path / "file").read_text() == (tmp_path / "folder" / "file").read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder", "victim"]


@pytest.mark.parametrize("stage", ["inside", "renames"])
def test_a_folder_that_cannot_be_replaced_stays_as_it_was(tmp_path, monkeypatch, stage):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "old").write_text("old")
    renamed = os.rename

    def rename(source, target, **options):
        if stage == "renames" and str(target) == str(tmp_path / "folder") and ".tmp" in str(source):
            monkeypatch.undo()
            raise KeyboardInterrupt
        renamed(source, target, **options)

    monkeypatch.setattr(os, "rename", rename)

    def replace():
        with replacing_folder(tmp_path / "folder") as made:
            (made / "new").write_text("new")
            if stage == "inside":
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replace()
    assert contents(tmp_path) == {tmp_path / "folder" / "old": b"old"}
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_names_are_brought_to_the_disk_after_the_rename(tmp_path, monkeypatch):
    calls = []
    working = os.fsync

    def fsync(descriptor):
        calls.append((Path(f"/proc/self/fd/{descriptor}").readlink(), list(tmp_path.iterdir())))
        working(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with replacing(tmp_path / "file") as stream:
        stream.write("new")
    (temporary, during), (folder, after) = calls
    assert (temporary.suffix, folder) == (".tmp", tmp_path)
    assert (during, after) == ([temporary], [tmp_path / "file"])


def test_a_cache_of_analysis_that_is_a_link_is_not_written(config, tmp_path, victim):
    from nlhf.analysis.study import load_study

    run_one(config)
    (tmp_path / "runs" / "s" / ".analysis").symlink_to(victim)
    before = contents(victim)
    assert len(load_study(tmp_path / "runs" / "s").runs) == 1
    assert contents(victim) == before
