"""Whatever a lock file holds: the run goes on where that is safe, else one true sentence says what to do."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import threading
import time
from contextlib import contextmanager, nullcontext

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nlhf.config import ConfigError
from nlhf.io.files import WriteError
from nlhf.runner import lock
from nlhf.runner.lock import BusyError, LostError, locked
from nlhf.runner.owner import is_alive, owner_of

HERE, NOBODY = socket.gethostname(), 2**22 + 1  # a process id that the kernel never gives
OWNER = {"host": "elsewhere", "pid": 77, "token": "theirs", "heartbeat": 1}


def content(**changes):
    return json.dumps(OWNER | {"heartbeat": int(time.time())} | changes)


@contextmanager
def held(path):
    """Somebody holds the kernel's lock on a file."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(descriptor)


def taken(folder):
    """Take the lock; what its file holds meanwhile."""
    with locked(folder) as owned:
        owned.check()
        found = (folder / "lock").read_bytes()
        assert (len(found), json.loads(found)["token"]) == (lock.LENGTH, owned.owner["token"])
    assert not (folder / "lock").exists()


GARBAGE = {
    "empty": b"",
    "600 bytes": b"x" * 600,
    "a million bytes": os.urandom(10**6),
    "a long owner": content(padding="x" * 600).encode(),
    "a list": b"[1, 2]",
    "a number": b"7",
    "deep": b"[" * 400,
    "no host": json.dumps({"pid": 1, "token": "t", "heartbeat": 1e9}).encode(),
    "no pid": json.dumps({"host": "x", "token": "t", "heartbeat": 1e9}).encode(),
}
FIELDS = {
    "heartbeat": [None, "soon", -1, float("nan"), float("inf"), 10**400, True, [1]],
    "pid": [None, 0, -1, "1", "../../etc", 1.5, 2**80, True],
    "host": [None, "", 5, "a\nb", "\x1b[2J"],
    "token": [None, "", 5],
}
WRONG = [(name, value) for name, values in FIELDS.items() for value in values]


@pytest.mark.parametrize("case", GARBAGE)
def test_garbage_that_nobody_holds_is_free_and_is_overwritten(tmp_path, case):
    (tmp_path / "lock").write_bytes(GARBAGE[case])
    taken(tmp_path)


@pytest.mark.parametrize(("name", "value"), WRONG, ids=lambda value: str(value)[:20])
def test_an_owner_with_an_impossible_field_is_no_owner(tmp_path, name, value):
    (tmp_path / "lock").write_text(content(**{name: value}))
    assert owner_of(tmp_path / "lock") == {}
    taken(tmp_path)


@pytest.mark.parametrize("case", GARBAGE)
def test_garbage_in_a_file_that_another_process_holds_is_busy(tmp_path, case):
    (tmp_path / "lock").write_bytes(GARBAGE[case])
    words = f"is being worked on by another process, which holds {tmp_path}/lock: wait for it, or stop it"
    with held(tmp_path / "lock"), pytest.raises(BusyError, match=words), locked(tmp_path):
        pass
    assert (tmp_path / "lock").read_bytes() == GARBAGE[case]


def test_a_dead_owner_whose_file_another_process_holds_is_not_named(tmp_path):
    (tmp_path / "lock").write_text(content(host=HERE, pid=NOBODY))
    with held(tmp_path / "lock"), pytest.raises(BusyError, match="another process, which holds"), locked(tmp_path):
        pass


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_mutation_of_a_lock_blocks_a_run_for_good(tmp_path, data):
    path, owner = tmp_path / "lock", {**OWNER, "heartbeat": int(time.time()) - 3600}
    scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
    changed = data.draw(st.dictionaries(st.sampled_from([*OWNER, "other"]), scalars, max_size=3))
    text = bytearray(json.dumps(owner | changed).encode())
    for _ in range(data.draw(st.integers(0, 3))):
        text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(text[: data.draw(st.integers(0, len(text)))]) + b"?" * data.draw(st.integers(0, 700)))
    os.utime(path, (1e9, 1e9))  # nobody has written it for years
    heartbeat = float(owner_of(path).get("heartbeat", 0))
    fresh = owner_of(path) and owner_of(path)["host"] != HERE and abs(time.time() - heartbeat) < lock.SILENCE
    with pytest.raises(BusyError) if fresh else nullcontext():
        taken(tmp_path)


# --- clocks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ahead", [5, 50])
def test_a_clock_that_is_slightly_ahead_is_that_of_a_living_owner(tmp_path, ahead):
    (tmp_path / "lock").write_text(content(heartbeat=time.time() + ahead))
    os.utime(tmp_path / "lock", (1e9, 1e9))
    with pytest.raises(BusyError, match="process 77 on elsewhere: wait for it"), locked(tmp_path):
        pass


@pytest.mark.parametrize("ahead", [120, 86400, 1e15, 1e300])
def test_a_heartbeat_in_the_future_counts_while_the_file_is_written(tmp_path, ahead):
    path = tmp_path / "lock"
    path.write_text(content(heartbeat=time.time() + ahead))
    assert is_alive(owner_of(path))
    with pytest.raises(BusyError, match=r"process 77 on elsewhere, whose clock is .* s ahead of ours: wait"):
        taken(tmp_path)
    for age in (61, 1e6, -1e6):
        os.utime(path, (time.time() - age,) * 2)
        assert not is_alive(owner_of(path))
    taken(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_age_of_the_file_is_measured_by_the_clock_of_its_file_system(tmp_path, monkeypatch):
    now = time.time()
    (tmp_path / "lock").write_text(content(heartbeat=now))
    monkeypatch.setattr(time, "time", lambda: now - 7200)  # our clock is wrong, not that of the others
    with pytest.raises(BusyError, match=r"whose clock is 7.2e\+03 s ahead of ours"), locked(tmp_path):
        pass


# --- while a process holds it ----------------------------------------------------------------------------------------


def test_a_lock_that_was_removed_is_told_as_such(tmp_path):
    with locked(tmp_path) as owned:
        (tmp_path / "lock").unlink()
        with pytest.raises(LostError, match=rf"{tmp_path}/lock was removed or replaced .* repeat the command to go on"):
            owned.check()
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_was_replaced_by_garbage_is_left_alone(tmp_path):
    with locked(tmp_path) as owned:
        (tmp_path / "lock").unlink()
        (tmp_path / "lock").write_text("garbage")
        with pytest.raises(LostError, match="was removed or replaced"):
            owned.check()
    assert (tmp_path / "lock").read_text() == "garbage"


def test_a_lock_that_another_process_took_after_it_was_removed_names_that_process(tmp_path):
    with locked(tmp_path) as owned:
        (tmp_path / "lock").unlink()
        with locked(tmp_path) as other:
            other.check()
            with pytest.raises(LostError, match=rf"taken over by another process \(process {os.getpid()} on {HERE}\)"):
                owned.check()
        with pytest.raises(LostError, match="was removed or replaced"):
            owned.check()


@pytest.mark.parametrize("case", GARBAGE)
def test_garbage_written_into_our_own_lock_is_repaired_by_the_next_beat(tmp_path, monkeypatch, case):
    beaten, working = threading.Event(), lock.Ownership.beat

    def beat(self):
        working(self)
        beaten.set()

    monkeypatch.setattr(lock.Ownership, "beat", beat)
    monkeypatch.setattr(lock, "BEAT", 1e-3)
    with locked(tmp_path) as owned:
        (tmp_path / "lock").write_bytes(GARBAGE[case])
        owned.check()
        beaten.clear()
        assert beaten.wait(60)
        owned.check()
    assert list(tmp_path.iterdir()) == []


# --- what is no lock file --------------------------------------------------------------------------------------------


def folder(path):
    path.mkdir()


def pipe(path):
    os.mkfifo(path)


def link(path):
    path.symlink_to(path.with_name("victim"))


def bound(path):
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (folder, "is a folder: remove it"),
        (pipe, "is not a regular file: remove it"),
        (bound, "is not a regular file: remove it"),
        (link, "is a symbolic link to .*victim, and links inside run folders are not followed: remove it"),
    ],
)
@pytest.mark.parametrize("victim", [True, False], ids=["with a target", "dangling"])
def test_what_is_no_regular_file_is_refused_and_left_alone(tmp_path, make, words, victim):
    if victim:
        (tmp_path / "victim").write_text("precious")
    make(tmp_path / "lock")
    with pytest.raises(ConfigError, match=words), locked(tmp_path):
        pass
    assert owner_of(tmp_path / "lock") == {}
    assert (tmp_path / "victim").exists() == victim
    assert not victim or (tmp_path / "victim").read_text() == "precious"


def test_a_hard_link_becomes_a_file_of_its_own(tmp_path):
    (tmp_path / "backup").write_text("precious")
    (tmp_path / "lock").hardlink_to(tmp_path / "backup")
    taken(tmp_path)
    assert (tmp_path / "backup").read_text() == "precious"


@pytest.mark.parametrize("call", ["open", "pwrite", "ftruncate"])
def test_a_lock_that_cannot_be_written_is_told_with_its_path(tmp_path, monkeypatch, call):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, call, refuse)
    with (
        pytest.raises(WriteError, match=rf"^{tmp_path}/lock cannot be written \(Permission denied\)"),
        locked(tmp_path),
    ):
        pass
