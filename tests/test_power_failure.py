"""After a power failure, unsynced files are missing, old, empty or cut, and a repeated command still ends right.

The states are recorded at every rename and sync of a run, and rebuilt one by one.
"""

from __future__ import annotations

import os
import random
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nlhf.config import ConfigError
from nlhf.io import sync
from nlhf.io.files import replacing
from nlhf.io.sync import late_syncs
from nlhf.runner.run_one import run_one
from tests.composing import configured
from tests.leftovers import left_behind

pytestmark = pytest.mark.usefixtures("one_thread")
GAME = ["game=random_tournament", "game.actions=4", "beta=0.2", "seeds=[4,0]", "budget.target=null",
        "budget.queries=null", "checkpoint_seconds=0", "study=s", "log_policy=true"]  # fmt: skip
IN_PLACE = ("lock", "run.log")  # never synced, and nothing is restored from them
Files = dict[Path, bytes]


class Disk:
    """The states of the files below a folder: what programs see, and what a power failure leaves for certain."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.synced: set[tuple[int, bytes]] = set()  # inodes and contents
        self.permanent = self.files()
        self.states: list[tuple[Files, Files, set[Path]]] = []

    def files(self) -> Files:
        return {path: path.read_bytes() for path in sorted(self.root.rglob("*"))
                if path.is_file() and path.name not in IN_PLACE and path.suffix != ".tmp"}  # fmt: skip

    def record(self) -> None:
        """Note the present state."""
        files = self.files()
        whole = {path for path, content in files.items()
                 if (path.stat().st_ino, content) in self.synced or self.permanent.get(path) == content}  # fmt: skip
        self.states.append((files, dict(self.permanent), whole))

    def sync(self, descriptor: int) -> None:
        """A file's content, or the names in a folder, are on the disk."""
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if path.is_file():
            self.synced.add((path.stat().st_ino, path.read_bytes()))
        else:
            names = {file: content for file, content in self.files().items() if file.parent == path}
            assert all((file.stat().st_ino, content) in self.synced or self.permanent.get(file) == content
                       for file, content in names.items()), "a name was synced before its content"  # fmt: skip
            self.permanent = {file: content for file, content in self.permanent.items() if file.parent != path} | names
        self.record()

    @contextmanager
    def watched(self, patch: pytest.MonkeyPatch) -> Iterator[None]:
        fsync, replace = os.fsync, Path.replace

        def on_fsync(descriptor: int) -> None:
            fsync(descriptor)
            self.sync(descriptor)

        def on_replace(path: Path, target: Path) -> Path:
            result = replace(path, target)
            self.record()
            return result

        with patch.context() as change:
            change.setattr(os, "fsync", on_fsync)
            change.setattr(Path, "replace", on_replace)
            change.setattr(sync, "_sync_file_system", lambda _: False)  # file by file, so that it can be watched
            yield

    def fail(self, state: tuple[Files, Files, set[Path]], rng: random.Random) -> None:
        """Leave one of the sets of files that a power failure may leave of a state."""
        seen, permanent, whole = state
        shutil.rmtree(self.root)
        self.root.mkdir()
        for path in {*seen, *permanent}:
            contents = [permanent.get(path)]  # None: the name is missing
            if path in seen:
                cut = [seen[path][: len(seen[path]) // 2], b""]
                contents += [seen[path]] + ([] if path in whole else cut)
            if (content := rng.choice(contents)) is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)


@pytest.fixture
def repeated(tmp_path, monkeypatch):
    """Runs a budget after an optional earlier one, and yields the result of a repetition after every power failure."""
    root = tmp_path / "runs"

    def run(length, **options):
        words = [f"{name}={value}" for name, value in options.items()]
        config = configured(*GAME, f"runs_dir={root}", f"budget.iterations={length}", *words)
        outcome = run_one(config, overrides=["a"])
        assert outcome.status == "completed"
        return {name: content for name, content in left_behind(outcome.folder).items() if name not in IN_PLACE}

    def cases(length, before=None, **options):
        expected = run(length, **options)
        shutil.rmtree(root)
        root.mkdir()
        if before is not None:
            run(before, **options)
        disk = Disk(root)
        with disk.watched(monkeypatch), late_syncs():
            run(length, **options)
        for seed, state in enumerate(disk.states):
            disk.fail(state, random.Random(seed))
            try:
                yield state, expected, run(length, **options)
            except ConfigError as error:
                yield state, expected, str(error)

    return cases


@pytest.mark.parametrize("options", [{}, {"keep_checkpoint": False}])
def test_a_new_run_is_repeated_or_refused_after_a_power_failure(repeated, options):
    refused = 0
    cases = list(repeated(2, **options))
    for _, expected, found in cases:
        if isinstance(found, str):
            refused += 1
            assert re.search("is missing or damaged, .* force=true|checkpoint.pt cannot be read: remove", found)
        else:
            assert found == expected
    assert refused < len(cases)


def test_a_power_failure_while_a_run_is_extended_loses_nothing_of_the_earlier_run(repeated):
    for (_, permanent, _), expected, found in repeated(8, before=6):
        assert any(path.name == "checkpoint.pt" for path in permanent)
        assert found == expected


def test_results_are_on_the_disk_before_the_checkpoint_that_could_restore_them_is_removed(tmp_path, monkeypatch):
    disk, unlink, safe = Disk(tmp_path), Path.unlink, []

    def on_unlink(path, missing_ok=False):
        if path.name == "checkpoint.pt":
            safe.append(disk.permanent == disk.files())
        unlink(path, missing_ok)

    monkeypatch.setattr(sync, "INTERVAL", 60.0)
    monkeypatch.setattr(Path, "unlink", on_unlink)
    with disk.watched(monkeypatch), late_syncs():
        run_one(configured(*GAME, f"runs_dir={tmp_path}", "budget.iterations=3", "keep_checkpoint=false"))
    assert safe == [True]


def write(path):
    with replacing(path) as stream:
        stream.write("2")


def test_late_files_are_on_the_disk_at_the_end_and_old_files_are_synced_before_they_are_replaced(tmp_path, monkeypatch):
    synced: list[str] = []
    monkeypatch.setattr(sync, "INTERVAL", 60.0)
    monkeypatch.setattr(sync, "_sync_all", lambda paths: synced.extend(sorted(path.name for path in paths)))
    monkeypatch.setattr(os, "fsync", lambda _: synced.append("fsync"))
    (tmp_path / "old").write_text("1")
    with late_syncs():
        for name in ("new", "new", "old"):
            write(tmp_path / name)
        assert synced == ["fsync", "fsync"]  # the old file and the folder
    assert synced[2:] == ["new"]
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"new": "2", "old": "2"}


def test_writers_wait_for_a_sync_that_is_late_and_see_its_error(tmp_path, monkeypatch):
    calls: list[int] = []

    def fail(paths):
        calls.append(len(paths))
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(sync, "_sync_all", fail)
    monkeypatch.setattr(sync, "INTERVAL", -1.0)
    late = sync._LateFiles()
    for name in ("a.tmp", "b.tmp"):
        (tmp_path / name).write_text("2")
    assert late.rename(tmp_path / "a.tmp", tmp_path / "a")
    for _ in range(2):
        with pytest.raises(OSError, match="Input/output error"):
            late.rename(tmp_path / "b.tmp", tmp_path / "b")
    assert calls == [1]
    assert not (tmp_path / "b").exists()


def test_a_file_system_is_synced_at_once(tmp_path):
    (tmp_path / "a").write_text("1")
    sync._sync_all({tmp_path / "a", tmp_path / "moved" / "b"})
