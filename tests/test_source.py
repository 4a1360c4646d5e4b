"""The source of a user's plug-ins is in the fingerprint."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nlhf.config import ConfigError
from nlhf.launch.compose import composed, plain
from nlhf.runner import source
from nlhf.runner.specification import specify

PLUG_IN = """\
from dataclasses import dataclass

import numpy as np

from nlhf.references.base import Independent


@dataclass(frozen=True)
class Own(Independent):
    def logits(self, contexts, actions, rng):
        from helping_weights import FIRST

        logits = np.zeros((contexts, actions))
        logits[:, 0] = FIRST * 2
        return logits
"""
SPECIFY = """\
import sys

import nlhf
from nlhf.launch.compose import composed, plain
from nlhf.runner.specification import specify

with composed([]) as config:
    print(specify(plain(config) | {"reference": {"_target_": sys.argv[1]}}).fingerprint)
"""


def write_plug_in(folder: Path) -> None:
    (folder / "helping_weights.py").write_text("FIRST = 1\n")
    (folder / "own_reference.py").write_text(PLUG_IN)
    earlier = time.time_ns() - 100 * 10**9  # so that edits, which come later, lie in the past too
    for file in folder.glob("*.py"):
        os.utime(file, ns=(earlier, earlier))


def fingerprint(folder: Path, target: str = "own_reference.Own") -> str:
    """Of a run with the plug-in of a folder, in a process of its own."""
    path = os.pathsep.join([str(folder), str(Path(source.__file__).parents[1])])
    done = subprocess.run([sys.executable, "-c", SPECIFY, target], capture_output=True, text=True, check=False,
                          env=os.environ | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": ""})  # fmt: skip
    assert not done.returncode, done.stderr
    return done.stdout.strip()


@pytest.fixture
def own(importable):
    """A folder with a plug-in that this process can import."""
    write_plug_in(importable)
    return importable


def specified(target: str = "own_reference.Own"):
    with composed([]) as config:
        return specify(plain(config) | {"reference": {"_target_": target}})


def edit(path: Path, before: str, after: str) -> None:
    """Another content, and a time that Python's cache of bytecode takes for another one."""
    assert before in path.read_text()
    status = path.stat()
    path.write_text(path.read_text().replace(before, after))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 3 * 10**9))


@pytest.mark.parametrize(
    ("file", "before", "after"),
    [("own_reference.py", "* 2", "* 3"), ("helping_weights.py", "= 1", "= 5")],
)
def test_an_edit_of_a_plug_in_or_of_what_it_imports_is_another_run(tmp_path, file, before, after):
    write_plug_in(tmp_path)
    first = fingerprint(tmp_path)
    assert fingerprint(tmp_path) == first
    edit(tmp_path / file, before, after)
    second = fingerprint(tmp_path)
    assert second != first
    edit(tmp_path / file, after, before)
    assert fingerprint(tmp_path) == first
    assert len({first, second, fingerprint(tmp_path, "nlhf.references.base.Uniform")}) == 3


def test_the_sources_are_named_among_the_inputs(own):
    inputs = specified().inputs
    assert {name for name in inputs if name.startswith("source of ")} == {
        "source of helping_weights", "source of own_reference"
    }  # fmt: skip
    assert specified("nlhf.references.base.Uniform").inputs.keys() == {"game.path"}


def test_a_file_that_was_edited_after_python_imported_it_is_refused_until_it_is_imported_again(own):
    first = specified().fingerprint
    edit(own / "own_reference.py", "* 2", "* 3")
    with pytest.raises(ConfigError, match=r"own_reference\.py has changed since Python imported it: start"):
        specified()
    importlib.reload(sys.modules["own_reference"])
    assert specified().fingerprint != first


def test_bytecode_that_python_wrongly_takes_for_current_is_refused(tmp_path):
    write_plug_in(tmp_path)
    fingerprint(tmp_path)  # writes the bytecode
    file = tmp_path / "own_reference.py"
    bytecode = Path(importlib.util.cache_from_source(str(file)))
    status = file.stat()
    file.write_text(file.read_text().replace("* 2", "* 3"))  # as many bytes
    second = status.st_mtime_ns // 10**9 * 10**9
    os.utime(file, ns=(0, second + 500_000_000))  # within the same second
    os.utime(bytecode, ns=(0, second))
    with pytest.raises(AssertionError, match=r"own_reference.*\.pyc is older than .*own_reference\.py, and Pyt"):
        fingerprint(tmp_path)
    bytecode.unlink()
    assert fingerprint(tmp_path)


def test_a_plug_in_in_a_package_counts_with_its_siblings_and_installed_packages_do_not(importable, monkeypatch):
    package = importable / "site-packages" / "a_package"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "numbers.py").write_text("FIRST = 1\n")
    (package / "plug_in.py").write_text(PLUG_IN.replace("helping_weights", "a_package.numbers"))
    monkeypatch.syspath_prepend(package.parent)
    names = {name for name in specified("a_package.plug_in.Own").inputs if name.startswith("source of ")}
    assert names == {"source of a_package.plug_in", "source of a_package", "source of a_package.numbers"}


def test_a_class_without_a_file_counts_by_its_code():
    def made(factor):
        module = type(sys)("no_file")
        sys.modules["no_file"] = module
        exec(PLUG_IN.replace("from helping_weights import FIRST", "FIRST = 1").replace("* 2", factor), vars(module))
        return source.sources([module.Own])

    try:
        assert made("* 2") == made("* 2") != made("* 3")
    finally:
        del sys.modules["no_file"]


def test_code_is_described_alike_in_every_process(tmp_path):
    code = "from nlhf.runner.source import _described\ndef f(x): return x in {'a', 'b', 'c', 'd'}\nprint(_described(f))"
    path = str(Path(source.__file__).parents[1])
    texts = {subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": path}).stdout
             for seed in ("1", "2", "3")}  # fmt: skip
    assert len(texts) == 1
