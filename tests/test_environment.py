"""The commits that a run records: nlhf's own checkout, or none, and the user's repository under its own name."""

from __future__ import annotations

import shutil
import subprocess

import pytest

import nlhf
from nlhf import environment as module


def git(folder, *words):
    named = ("git", "-C", str(folder), "-c", "user.name=me", "-c", "user.email=me@example.org")
    return subprocess.run([*named, *words], check=True, capture_output=True, text=True).stdout.strip()


def repository(folder, *tracked):
    """A repository that tracks some files; its commit."""
    git(folder, "init", "-q")
    git(folder, "add", *tracked)
    git(folder, "commit", "-q", "-m", "Begin")
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def recorded(monkeypatch):
    """The commits that are recorded if nlhf lies in `package` and the command runs in `here`."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")

    def record(package, here):
        monkeypatch.setattr(nlhf, "__file__", str(package / "__init__.py"))
        monkeypatch.chdir(here)
        made = module.environment.__wrapped__()
        return made["commit"], made.get("user_commit")

    return record


@pytest.fixture
def package(tmp_path):
    folder = tmp_path / "top" / "nlhf"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder.parent / "pyproject.toml").write_text("")
    return folder


def test_a_checkout_records_its_commit(recorded, package, tmp_path):
    commit = repository(package.parent, "nlhf", "pyproject.toml")
    assert recorded(package, package.parent) == (commit, None)
    assert recorded(package, tmp_path) == (commit, None)
    (package / "__init__.py").write_text("changed = True")
    assert recorded(package, tmp_path) == (f"{commit}-dirty", None)


def test_the_users_repository_is_recorded_beside_a_checkout(recorded, package, tmp_path):
    commit = repository(package.parent, "nlhf", "pyproject.toml")
    home = tmp_path / "home"
    home.mkdir()
    (home / "own.py").write_text("")
    assert recorded(package, home) == (commit, None)
    user_commit = repository(home, "own.py")
    assert recorded(package, home) == (commit, user_commit)


@pytest.mark.parametrize("tracked", ["notes", "."])
def test_a_copy_inside_another_repository_records_no_commit_of_its_own(recorded, package, tmp_path, tracked):
    (tmp_path / "notes").write_text("")
    user_commit = repository(tmp_path, tracked)
    assert recorded(package, tmp_path) == (None, user_commit)


def test_an_untracked_copy_at_the_top_of_a_repository_records_no_commit(recorded, package):
    (package.parent / "notes").write_text("")
    user_commit = repository(package.parent, "notes")
    assert recorded(package, package.parent) == (None, user_commit)


def test_without_a_repository_there_is_no_commit(recorded, package, tmp_path):
    assert recorded(package, tmp_path) == (None, None)
