"""Whatever happens to the files of a study, analysis and status never raise, and never use other numbers.

Every file of a run is mutated, one at a time. The other runs keep their rows to the bit; the run itself keeps its rows,
or it is left out or unfinished and named in a sentence.
"""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pytest
from matplotlib.figure import Figure

from nlhf.analysis.criterion import Criterion
from nlhf.analysis.errors import AnalysisError
from nlhf.analysis.figures import games, simplex
from nlhf.analysis.report import _context
from nlhf.analysis.results import analyse
from nlhf.analysis.study import load_study
from nlhf.cli.status import main as launch
from nlhf.io.checksums import file_record
from nlhf.io.json_files import read_json, write_json
from nlhf.records import COLUMNS, POLICY_COLUMNS
from tests.analysis.synthetic import geometric, write_run

FILES = ("metrics.csv", "summary.json", ".hydra/config.yaml", ".hydra/overrides.yaml", ".hydra/identity.yaml",
         "game.npz", "policies.csv", "completions.jsonl")  # fmt: skip
COMPLETION = {"prompt": "p", "policy": "c", "reference": "r", "preference": 0.5}
JSON_VALUES = [None, [], {}, "x", -1, 1e308, True, [[1]], {"a": []}]


def build(root, checksums):
    """Three runs with all files that analysis reads; the first is the one that is mutated."""
    for place, name in enumerate(("omd", "mpo", "nash_mp")):
        curves = {seed: geometric(0.5 + place / 10, 0.5 + place / 10, range(12)) for seed in range(3)}
        folder = write_run(root, name, curves=curves, name=f"run{place}", checksums=False,
                           overrides=[f"algorithm={name}"])  # fmt: skip
        logits = np.log(np.full((1, 1, 3), 1 / 3))
        np.savez(folder / "game.npz", items=np.array(list("abc")), contexts=np.array(["all"]), log_reference=logits,
                 preference=np.array([[[[0.5, 0.9, 0.1], [0.1, 0.5, 0.9], [0.9, 0.1, 0.5]]]]), log_equilibrium=logits,
                 votes=np.full((2, 1, 3, 3), 10.0))  # fmt: skip
        rows = [f"0,{k},all,{item},{value}" for k in range(4) for item, value in zip("abc", logits[0, 0], strict=True)]
        (folder / "policies.csv").write_text("\n".join([",".join(POLICY_COLUMNS), *rows]) + "\n")
        (folder / "completions.jsonl").write_text(f"{json.dumps(COMPLETION)}\n")
        (folder / ".hydra" / "identity.yaml").write_text("results_version: 3\ndigests: {setting: a, method: b}\n")
        summary = {"run": folder.name, "stop_reason": None, "commit": "abc", "threads": 1, "wall_seconds": 1.0,
                   "results_version": 3, "versions": {"torch": "2"}, "method": {"sources": ["1"], "caveat": None},
                   "digests": {"setting": "a", "method": str(place)}, "inputs": {"game.path": "0" * 64}}  # fmt: skip
        summary |= read_json(folder / "summary.json") or {}
        if checksums:
            summary["files"] = {name: file_record(folder / name) for name in FILES if name != "summary.json"}
            summary["files"]["metrics.csv"] |= {"rows": 36}
        write_json(folder / "summary.json", summary)


def bytes_mutated(content, rng):
    """Flipped, deleted, inserted, repeated or cut bytes."""
    content, kind = bytearray(content), rng.integers(6)
    where, length = int(rng.integers(max(1, len(content)))), int(rng.integers(1, 40))
    if kind <= 1 and content:
        content[where] ^= 1 << int(rng.integers(8))
    elif kind == 2:
        del content[where : where + length]
    elif kind == 3:
        content[where:where] = rng.bytes(length)
    elif kind == 4:
        content[where:where] = content[where : where + 10 * length]
    else:
        del content[where:]
    return bytes(content)


def json_mutated(path, rng):
    """A summary whose checksum is right, and one of whose entries, at any depth, has another value or none."""
    content = read_json(path) or {}
    node = content
    while True:
        key = sorted(node)[int(rng.integers(len(node)))]
        if not isinstance(node[key], dict) or not node[key] or rng.integers(2):
            break
        node = node[key]
    if rng.integers(4):
        node[key] = JSON_VALUES[int(rng.integers(len(JSON_VALUES)))]
    else:
        del node[key]
    write_json(path, content)


def rows_of(study):
    """The rows of every run that has some."""
    columns = [*COLUMNS, "status"]
    return {folder: rows[columns].reset_index(drop=True) for folder, rows in study.rows.groupby("folder")}


def looked_at(root, sound, mutated, checked):
    """Analysis and status of a study of which one run is mutated; what became of that run."""
    assert launch(["status", str(root)]) == 0
    assert launch(["status", str(root), "--json"]) == 0
    results = analyse(root, Criterion(target=1e-2))
    assert results.cautions is not None
    _context(results)
    found = rows_of(results.study)
    run = next(run for run in results.study.runs if run["folder"] == mutated)
    for folder, rows in sound.items():
        if folder != mutated:
            assert found[folder].equals(rows), folder
    if not checked:
        return run["status"]
    if mutated in found:
        columns = [name for name in sound[mutated] if name != "status"]
        assert found[mutated][columns].equals(sound[mutated][columns])
        assert run["status"] == "completed" or run["damage"] or run["summary"].get("status") != "completed"
    else:
        assert run["damage"]
    return run["status"]


def figures_of(folder, drawn):
    """What figures read of a run, and if wanted the figures themselves."""
    game = games.matrix_of(folder)
    read = simplex._game(folder)
    if drawn:
        assert game is None or isinstance(games.preference_matrix(folder, "t"), Figure)
        games.cycle_sentence(folder, "t")
        games.mixtures({"t": folder})
        assert read is None or isinstance(simplex.simplex(analyse(folder, Criterion()).runs), Figure)


@pytest.mark.parametrize("checksums", [True, False], ids=["with checksums", "from before checksums"])
def test_mutated_files_never_raise_and_never_change_numbers(tmp_path, checksums, capsys):
    build(tmp_path / "original", checksums)
    count = int(os.environ.get("NLHF_FUZZ", "4"))
    root = tmp_path / "study"
    shutil.copytree(tmp_path / "original", root)
    sound, mutated = rows_of(load_study(root)), root / "run0"
    rng, ends = np.random.default_rng(0), []
    for number in range(count * len(FILES)):
        name = FILES[number % len(FILES)]
        path = mutated / name
        original = path.read_bytes()
        if name == "summary.json" and rng.integers(2):
            json_mutated(path, rng)
        else:
            path.write_bytes(bytes_mutated(original, rng))
        ends.append(looked_at(root, sound, str(mutated), checksums))
        if name in ("game.npz", "policies.csv"):
            figures_of(mutated, drawn=number % 32 < 8)
        path.write_bytes(original)
        capsys.readouterr()
    assert "damaged" in ends or not checksums


@pytest.mark.parametrize("beta", ["x", "[1]", "null", "true", "{a: 1}", ".nan", "-1"])
def test_a_beta_that_no_run_has_raises_nothing(tmp_path, beta):
    build(tmp_path, False)
    path = tmp_path / "run0" / ".hydra" / "config.yaml"
    content = path.read_text()
    assert "beta: 0.05" in content
    path.write_text(content.replace("beta: 0.05", f"beta: {beta}"))
    sound = rows_of(load_study(tmp_path))
    looked_at(tmp_path, sound, str(tmp_path / "run0"), checked=False)
    simplex.simplex(analyse(tmp_path / "run0", Criterion()).runs)


def test_lines_of_completions_that_no_run_writes_are_not_shown(tmp_path):
    build(tmp_path, False)
    lines = [
        COMPLETION,
        {},
        COMPLETION | {"prompt": 3},
        COMPLETION | {"preference": None},
        {**COMPLETION, "policy": []},
    ]
    text = "".join(f"{json.dumps(line)}\n" for line in lines) + "[1]\n{\n\n"
    (tmp_path / "run0" / "completions.jsonl").write_text(text)
    (tmp_path / "run0" / "exploiter.json").write_text('{"lower_bound": "x"}')
    texts = _context(analyse(tmp_path, Criterion()))["texts"]
    assert [(run["entries"], run["left_out"], run["bound"]) for run in texts] == 3 * [([COMPLETION], 0, None)]


def test_a_study_of_damaged_runs_alone_is_one_sentence(tmp_path):
    build(tmp_path, True)
    for folder in tmp_path.iterdir():
        (folder / "metrics.csv").write_text("")
    with pytest.raises(AnalysisError, match=r"run0/metrics.csv is damaged or missing, so the run is left out: "):
        load_study(tmp_path)


CRAFTED = {
    "no items": {"items": None},
    "fewer items": {"items": np.array(["a"])},
    "numbers as items": {"items": np.arange(3)},
    "a flat preference": {"preference": np.zeros(3)},
    "an empty preference": {"preference": np.zeros((0, 1, 3, 3))},
    "a preference that is nan": {"preference": np.full((1, 1, 3, 3), np.nan)},
    "text as preference": {"preference": np.array([["x"]])},
    "votes of other items": {"votes": np.ones((2, 1, 2, 2))},
    "no contexts": {"contexts": None},
    "a reference of other items": {"log_reference": np.zeros((1, 1, 2))},
    "an equilibrium that is text": {"log_equilibrium": np.array("x")},
    "an equilibrium of other items": {"log_equilibrium": np.zeros((1, 1, 5))},
}


@pytest.mark.parametrize("crafted", CRAFTED)
def test_a_game_that_no_run_writes_is_in_no_figure(tmp_path, crafted):
    build(tmp_path, False)
    path = tmp_path / "run0" / "game.npz"
    with np.load(path) as content:
        arrays = {**content, **CRAFTED[crafted]}
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    assert games.matrix_of(path.parent) is None
    assert games.preference_matrix(path.parent, "t") is None
    assert games.cycle_sentence(path.parent, "t") == ""
    assert games.mixtures({"t": path.parent}) is None
    assert json.dumps(simplex.simplex(analyse(tmp_path, Criterion()).runs) is None) == "false"  # of the two others
