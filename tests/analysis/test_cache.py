"""What comes from the cache is to the bit what a fresh read gives, whatever happened to the runs or the cache since."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import struct
import sys
import time
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from pyarrow import parquet

from nlhf.analysis import row_cache
from nlhf.analysis.study import load, load_study
from nlhf.io.checksums import sealed, unsealed
from nlhf.io.files import replacing
from nlhf.records import COLUMNS
from tests.analysis.synthetic import geometric, write_run

CURVES = {0: geometric(0.5, 0.5, range(4)), 1: geometric(0.25, 0.5, range(3))}
CACHE = row_cache.CACHE


@pytest.fixture
def study(tmp_path, monkeypatch):
    """Six runs of every kind of status, where even the smallest study is cached."""
    monkeypatch.setattr(row_cache, "FEWEST", 1)
    root = tmp_path / "study"
    for number, status in enumerate(["completed", "failed", "interrupted", None, "completed", "completed"]):
        write_run(root, "omd" if number % 2 else "mpo", f"game{number // 2}", curves=CURVES, status=status,
                  name=f"run{number}", checksums=False, budget__seconds=None,
                  algorithm__step_size="theory" if number % 3 else 0.1)  # fmt: skip
    return root


def settled(monkeypatch, seconds=10**5):
    """From now on it is later: what was written before is trusted."""
    now = time.time_ns() + seconds * 10**9
    monkeypatch.setattr(row_cache.time, "time_ns", lambda: now)


@pytest.fixture
def reads(monkeypatch):
    """The folders that are read and do not come from the cache."""
    found = []
    module = sys.modules[load.__module__]  # nlhf.analysis.load is the function
    read = module.read_run
    monkeypatch.setattr(module, "read_run", lambda folder: found.append(folder.name) or read(folder))
    return found


def fresh(root, monkeypatch):
    """What a load gives that knows no cache, and writes none."""
    with monkeypatch.context() as patched:
        patched.setattr(row_cache, "_open", lambda _: (None, {}))
        patched.setattr(row_cache, "_save", lambda *_: None)
        return load_study(root)


KEPT = ("folder", "status", "rows", "config", "overrides", "summary", "checked", "damage")


def assert_same(one, other):
    pd.testing.assert_frame_equal(one.rows, other.rows, check_exact=True, check_column_type=True, obj="rows")
    assert one.rows.equals(other.rows)
    assert one.rows.dtypes.equals(other.rows.dtypes)
    assert [[run[key] for key in KEPT] for run in one.runs] == [[run[key] for key in KEPT] for run in other.runs]


def test_a_second_load_reads_no_run_and_gives_the_same_to_the_bit(study, reads, monkeypatch):
    settled(monkeypatch)
    first = load_study(study)
    assert reads == [f"run{number}" for number in range(6)]
    reads.clear()
    second = load_study(study)
    assert reads == []
    assert_same(first, second)
    assert_same(second, fresh(study, monkeypatch))


def test_small_studies_are_not_cluttered(study, monkeypatch):
    monkeypatch.setattr(row_cache, "FEWEST", 7)
    load(study)
    assert not (study / CACHE).parent.exists()


def test_a_moved_tree_and_another_way_to_write_its_path_are_the_same_tree(study, reads, monkeypatch):
    settled(monkeypatch)
    load(study)
    moved = study.rename(study.with_name("moved"))
    monkeypatch.chdir(moved.parent)
    reads.clear()
    found = load_study("moved")
    assert [run["folder"] for run in found.runs] == [f"moved/run{number}" for number in range(6)]
    assert set(found.rows["folder"]) == {run["folder"] for run in found.runs}
    assert reads == []
    assert_same(found, fresh("moved", monkeypatch))


# --- never stale -----------------------------------------------------------------------------------------------------


def rewritten(path, old, new, keep_times=False):
    """Other bytes of the same number, in place."""
    content, status = path.read_bytes(), path.stat()
    assert content.count(old) >= 1
    assert len(old) == len(new)
    with path.open("r+b") as stream:
        stream.write(content.replace(old, new))
    if keep_times:
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def grow(path):
    with path.open("a") as stream:
        stream.write("run2,game1,mpo,1,3,3,0.03,0.125" + "," * (len(COLUMNS) - 8) + "\n")


def swap(one, other):
    """Two files of one size and one time change places."""
    status = one.stat()
    for path in (one, other):
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    aside = one.with_name("aside")
    one.rename(aside)
    other.rename(one)
    aside.rename(other)


CHANGES = {
    "rows rewritten in place with the same size": lambda r: rewritten(r / "run2/metrics.csv", b",0.125,", b",0.124,"),
    "the same, and the old times put back": lambda r: rewritten(r / "run2/metrics.csv", b",0.125,", b",0.124,", True),
    "a row appended": lambda r: grow(r / "run2/metrics.csv"),
    "rows of two runs swapped": lambda r: swap(r / "run2/metrics.csv", r / "run4/metrics.csv"),
    "a status of the same length": lambda r: rewritten(r / "run0/summary.json", b"completed", b"cancelled"),
    "a summary added": lambda r: (r / "run3/summary.json").write_text('{"status": "completed"}'),
    "a summary removed": lambda r: (r / "run0/summary.json").unlink(),
    "a config rewritten with the same size": lambda r: rewritten(r / "run1/.hydra/config.yaml", b"0.05", b"0.07"),
    "a config removed": lambda r: (r / "run1/.hydra/config.yaml").unlink(),
    "overrides rewritten": lambda r: (r / "run1/.hydra/overrides.yaml").write_text("- beta=0.05\n"),
    "rows removed": lambda r: (r / "run1/metrics.csv").unlink(),
    "a run removed": lambda r: shutil.rmtree(r / "run0"),
    "the last run removed": lambda r: shutil.rmtree(r / "run5"),
    "a run renamed": lambda r: (r / "run0").rename(r / "run9"),
    "a run moved deeper": lambda r: ((r / "a").mkdir(), (r / "run0").rename(r / "a" / "run0")),
    "a run added before all others": lambda r: write_run(r, "egpo", curves=CURVES, name="a run"),
    "a run added behind all others": lambda r: write_run(r, "egpo", curves=CURVES, name="z run"),
    "a run replaced by another one": lambda r: (shutil.rmtree(r / "run1"), write_run(r, curves=CURVES, name="run1")),
    "a run with more columns added": lambda r: write_run(r, "egpo", curves=CURVES, name="a", columns=[*COLUMNS, "m"]),
    "a run with a new config key added": lambda r: write_run(r, "egpo", curves=CURVES, name="a", game__new=1),
}  # fmt: skip


@pytest.mark.parametrize("trusted", [True, False], ids=["after a while", "within a second"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_cache_is_never_stale(study, monkeypatch, change, trusted):
    if trusted:
        settled(monkeypatch)
    before = load_study(study)
    CHANGES[change](study)
    changed = load_study(study)
    assert_same(changed, fresh(study, monkeypatch))
    assert_same(load_study(study), changed)
    if change != "overrides rewritten":
        assert not before.rows.equals(changed.rows)


def test_only_what_changed_is_read_again(study, reads, monkeypatch):
    settled(monkeypatch)
    load(study)
    reads.clear()
    CHANGES["a row appended"](study)
    load(study)
    assert reads == ["run2"]
    reads.clear()
    load(study)
    assert reads == []


def test_a_column_that_no_run_has_any_more_is_gone(study, monkeypatch):
    settled(monkeypatch)
    folder = write_run(study, "egpo", curves=CURVES, name="a", columns=["more", *COLUMNS])
    assert "more" in load(study)
    shutil.rmtree(folder)
    assert load(study).columns.equals(fresh(study, monkeypatch).rows.columns)


def test_a_run_that_was_removed_leaves_the_cache_too(study, monkeypatch):
    settled(monkeypatch)
    before = len(load(study))
    assert parquet.read_metadata(io.BytesIO(table_of(study / CACHE))).num_rows == before
    shutil.rmtree(study / "run0")
    load(study)
    assert parquet.read_metadata(io.BytesIO(table_of(study / CACHE))).num_rows == before - 7


def test_two_writes_within_one_tick_of_the_clock_are_not_taken_for_one(study, monkeypatch):
    """As on file systems with whole seconds: the stamp stays, the content does not."""
    stamp = row_cache._stamp
    second = 10**9

    def coarse(path):
        found = stamp(path)
        return found and [found[0], found[1] // second * second, found[2] // second * second, found[3]]

    monkeypatch.setattr(row_cache, "_stamp", coarse)
    while time.time_ns() % second > second // 2:  # so that both writes are in one second
        time.sleep(0.01)
    path = study / "run2" / "metrics.csv"
    rewritten(path, b",0.125,", b",0.126,")
    load(study)
    rewritten(path, b",0.126,", b",0.124,")
    assert 0.124 in load(study)["exploitability"].tolist()


def test_files_from_the_future_are_read_each_time(study, reads):
    path = study / "run2" / "metrics.csv"
    os.utime(path, ns=(time.time_ns(), time.time_ns() + 3600 * 10**9))
    load(study)
    reads.clear()
    load(study)
    assert "run2" in reads


# --- a cache that is not one -----------------------------------------------------------------------------------------


def table_of(path):
    """The parquet bytes of a cache, without the checksum."""
    return bytes(unsealed(path))


def torn(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def replaced(one, other):
    """A cache with other bytes of the same length, in which parquet itself sees nothing wrong."""

    def change(path):
        content = path.read_bytes()
        assert one in content
        path.write_bytes(content.replace(one, other))

    return change


def signed(path, content):
    path.write_bytes(sealed(content))


def of_version(version):
    def change(path):
        table = parquet.read_table(io.BytesIO(table_of(path)))
        metadata = table.schema.metadata[b"nlhf"]
        changed = metadata.replace(f'"version": {row_cache.VERSION}'.encode(), f'"version": {version}'.encode())
        assert changed != metadata
        stream = io.BytesIO()
        parquet.write_table(table.replace_schema_metadata({b"nlhf": changed}), stream)
        signed(path, stream.getvalue())

    return change


def foreign(path):
    stream = io.BytesIO()
    pd.DataFrame({"a": [1]}).to_parquet(stream)
    signed(path, stream.getvalue())


def in_the_way(path):
    path.unlink()
    path.mkdir()


BROKEN = {
    "torn": torn,
    "a number changed": replaced(struct.pack("<d", 0.0625), struct.pack("<d", 0.03125)),
    "a status in the footer changed": replaced(b'"interrupted"', b'"completed"  '),
    "bytes appended": lambda path: path.write_bytes(path.read_bytes() + b"more"),
    "the checksum removed": lambda path: path.write_bytes(table_of(path)),
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("not parquet"),
    "of another version": of_version(0),
    "of a version that is no number": of_version('"new"'),
    "another parquet file": foreign,
    "no parquet file, with a checksum": lambda path: signed(path, b"not parquet"),
    "a folder": in_the_way,
    "removed": lambda path: path.unlink(),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_cache_that_cannot_be_used_is_read_past_and_written_anew(study, reads, monkeypatch, broken):
    settled(monkeypatch)
    expected = load_study(study)
    BROKEN[broken](study / CACHE)
    reads.clear()
    assert_same(load_study(study), expected)
    assert len(reads) == 6
    reads.clear()
    assert_same(load_study(study), expected)
    assert len(reads) == (6 if broken == "a folder" else 0)


@pytest.mark.parametrize("how", ["a file is in the way", "read-only", "full"])
def test_where_no_cache_can_be_written_there_is_none(study, monkeypatch, how):
    if how == "a file is in the way":
        (study / CACHE).parent.write_text("")
    else:

        def refuse(*arguments, **keys):
            raise PermissionError(13, "Permission denied") if how == "read-only" else OSError(28, "No space left")

        monkeypatch.setattr(row_cache, "replacing" if how == "full" else "Path", refuse)
        monkeypatch.setattr(type(study), "mkdir", refuse)
    assert_same(load_study(study), fresh(study, monkeypatch))
    assert not (study / CACHE).exists()


def test_every_flipped_bit_and_every_cut_leads_to_the_rows_of_the_runs(study, monkeypatch):
    """2,000 mutations of the whole file, its footer and its checksum too: none is accepted."""
    settled(monkeypatch)
    load(study)
    path = study / CACHE
    content = path.read_bytes()
    assert row_cache._open(path)[0] is not None
    rng = np.random.default_rng(0)
    end = len(table_of(path))
    footer = end - 8 - int.from_bytes(content[end - 8 : end - 4], "little")
    regions = [(0, len(content)), (footer, len(content)), (end - 8, len(content))]
    for number in range(2000):
        mutated, (first, last) = bytearray(content), regions[number % 3]
        where = int(rng.integers(first, last))
        if number % 10:
            mutated[where] ^= 1 << int(rng.integers(8))
        else:
            del mutated[where:]
        path.write_bytes(mutated)
        assert row_cache._open(path) == (None, {}), (number, where)


def test_a_cache_left_half_written_leaves_the_old_one_whole(study, reads, monkeypatch):
    settled(monkeypatch)
    load(study)
    CHANGES["a row appended"](study)

    @contextlib.contextmanager
    def full(path, mode):
        with replacing(path, mode) as stream:
            yield SimpleNamespace(write=lambda _: stream.write(b"PAR1") and refuse())

    with monkeypatch.context() as patched:
        patched.setattr(row_cache, "replacing", full)
        load(study)
    reads.clear()
    load(study)
    assert reads == ["run2"]
    assert [path.name for path in (study / CACHE).parent.iterdir()] == [CACHE.name]


def refuse():
    raise OSError(28, "No space left on device")


def test_a_bad_file_is_named_with_a_cache_as_without(study, monkeypatch):
    settled(monkeypatch)
    load(study)
    (study / "run2" / "metrics.csv").write_text("a,b\n")
    for _ in range(2):
        found = load_study(study)
        (damage,) = [run["damage"] for run in found.runs if run["damage"]]
        reason = "is not a metrics.csv of a run: it lacks the column run: remove it."
        assert damage == [f"{study}/run2/metrics.csv {reason}"]
        assert set(found.rows["folder"]) == {str(study / f"run{number}") for number in (0, 1, 3, 4, 5)}
