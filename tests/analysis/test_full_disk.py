"""Where nothing can be written any more, analysis says so in a sentence, and what was there before stays whole."""

from __future__ import annotations

import contextlib
import resource
import shutil

import pandas as pd
import pytest

from nlhf.cli.compare import main
from tests.analysis.synthetic import geometric, write_run


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    root = tmp_path_factory.mktemp("full") / "study"
    for name, ratio in (("omd", 0.9), ("nash_mp", 0.5)):
        write_run(root, name, curves={seed: geometric(0.5, ratio, range(30)) for seed in range(6)})
    assert main([str(root)]) == 0
    return root


@pytest.fixture
def study(original, tmp_path):
    return shutil.copytree(original, tmp_path / "study")


@contextlib.contextmanager
def at_most(size):
    """No file can grow beyond `size` bytes: the system's own error, as of a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def content(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def sentence(capsys):
    (line,) = capsys.readouterr().err.splitlines()
    assert "cannot be written (File too large): make room or choose another place" in line
    return line


@pytest.mark.parametrize("size", [0, 30_000])
def test_a_full_disk_keeps_the_earlier_report_and_figures(study, capsys, size):
    before = content(study)
    with at_most(size):
        assert main([str(study), "--target", "1e-2"]) == 1
    assert sentence(capsys).startswith(f"error: {study}/")
    after = content(study)
    assert after.keys() == before.keys()  # no temporary file is left either
    for path, old in before.items():
        whole = after[path] == old or after[path].endswith((b"%%EOF\n", b"IEND\xaeB`\x82"))
        assert whole, path
    assert after.items() >= {path: old for path, old in before.items() if path.suffix == ".html"}.items()


@pytest.mark.parametrize("ending", ["csv", "parquet"])
@pytest.mark.parametrize("size", [0, 4_000])
def test_a_full_disk_keeps_the_earlier_export(study, tmp_path, capsys, ending, size):
    path = tmp_path / f"rows.{ending}"
    arguments = [str(study), "--no-report", "--export", str(path)]
    assert main(arguments) == 0
    before = path.read_bytes()
    assert len(before) > size
    capsys.readouterr()
    with at_most(size):
        assert main(arguments) == 1
    assert sentence(capsys).startswith(f"error: {path} ")
    assert path.read_bytes() == before
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [path.name, "study"]
    assert len(pd.read_csv(path) if ending == "csv" else pd.read_parquet(path)) == 2 * 6 * 30
