"""Damage the files that a run leaves, repeat commands, and sort what happens.

The rule: a command gives the same result, repairs the damage, or refuses in one sentence. It never ends with a
traceback and never gives other numbers.
"""

from __future__ import annotations

import io
import json
import random
import shutil
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from nlhf.analysis.errors import AnalysisError
from nlhf.analysis.study import load
from nlhf.cli.status import main as launch
from nlhf.records import COLUMNS
from nlhf.runner.run_one import COMMAND_ERRORS, run_one
from nlhf.runner.specification import specify
from tests.leftovers import left_behind

SAME, REPAIRED, SENTENCE, TRACEBACK, OTHER = "same", "repaired", "sentence", "traceback", "other numbers"
WRONG = (None, True, -1, 1e400, "text", [], {}, [[1]], {"a": None})  # JSON values of wrong types
RESULTS = ("summary", "metrics.csv", "policies.csv", "policy.npz", "game.npz", "policy.safetensors",
           "completions.jsonl", "by_prompt.csv", "policy/adapter_model.safetensors")  # fmt: skip
Damage = Callable[[Path, Path, random.Random], None]


def truncate(path: Path, other: Path, rng: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: rng.randrange(len(content))] if content else b"")


def cut_last_byte(path: Path, other: Path, rng: random.Random) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def empty(path: Path, other: Path, rng: random.Random) -> None:
    path.write_bytes(b"")


def delete(path: Path, other: Path, rng: random.Random) -> None:
    path.unlink()


def flip_a_bit(path: Path, other: Path, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    if content:
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def set_high_bit(path: Path, other: Path, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    if content:
        content[rng.randrange(len(content))] |= 128
    path.write_bytes(content)


def duplicate(path: Path, other: Path, rng: random.Random) -> None:
    path.write_bytes(path.read_bytes() * 2)


def zeros(path: Path, other: Path, rng: random.Random) -> None:
    path.write_bytes(bytes(len(path.read_bytes())))


def garbage(path: Path, other: Path, rng: random.Random) -> None:
    path.write_bytes(rng.randbytes(700))


def swap(path: Path, other: Path, rng: random.Random) -> None:
    """The same file of another run."""
    if other != path:
        shutil.copyfile(other, path)


def change_a_digit(path: Path, other: Path, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    places = [place for place, byte in enumerate(content) if 48 <= byte < 57]
    if places:
        content[rng.choice(places)] += 1
    path.write_bytes(content)


def drop_a_row(path: Path, other: Path, rng: random.Random) -> None:
    lines = path.read_bytes().split(b"\n")
    del lines[rng.randrange(len(lines))]
    path.write_bytes(b"\n".join(lines))


def replace_by_folder(path: Path, other: Path, rng: random.Random) -> None:
    path.unlink()
    path.mkdir()


def wrong_type(path: Path, other: Path, rng: random.Random) -> None:
    """One value of a JSON or YAML file becomes another kind of thing, at any depth."""
    is_json = path.suffix != ".yaml"
    content = json.loads(path.read_text()) if is_json else yaml.safe_load(path.read_text())
    if entries := list(_entries(content)):
        holder, key = rng.choice(entries)
        holder[key] = rng.choice(WRONG)
    path.write_text(json.dumps(content) if is_json else yaml.safe_dump(content))


def wrong_root(path: Path, other: Path, rng: random.Random) -> None:
    path.write_text(json.dumps(rng.choice(WRONG)))


def _entries(content: Any) -> Iterator[tuple[Any, Any]]:
    keys: Sequence[Any] = list(content) if isinstance(content, dict) else range(len(content))
    for key in keys:
        yield content, key
        if isinstance(content[key], dict | list):
            yield from _entries(content[key])


DAMAGES: tuple[Damage, ...] = (truncate, cut_last_byte, empty, delete, flip_a_bit, set_high_bit, duplicate, zeros,
                               garbage, swap, replace_by_folder)  # fmt: skip
OF_TEXT: tuple[Damage, ...] = (change_a_digit, drop_a_row)
OF_JSON: tuple[Damage, ...] = (wrong_type, wrong_root)


def damages(path: Path) -> tuple[Damage, ...]:
    """The damages that make sense for a file."""
    text = OF_TEXT if path.suffix in (".csv", ".json", ".yaml", ".log", "") else ()
    return DAMAGES + text + (OF_JSON if path.suffix in (".json", ".yaml") or path.name == "lock" else ())


@dataclass
class Study:
    """Two runs of a study, sound copies of which are kept.

    Args:
        root: the runs_dir.
        config: of the run whose files are damaged; longer: the same run with a larger budget; other: the second run.
        make: runs a config into `root`, perhaps not to its end; completed: it does so to the end.
    """

    root: Path
    config: Mapping[str, Any]
    longer: Mapping[str, Any]
    other: Mapping[str, Any]
    make: Callable[[Mapping[str, Any]], Any] = run_one
    completed: bool = True

    def __post_init__(self) -> None:
        self.folder, self.beside = specify(self.config).folder, specify(self.other).folder
        self.study, self.template = self.folder.parent, self.root.parent / "template"
        self.expected: dict[str, Any] = {}
        for name, config in (("repeat", self.config), ("extend", self.longer)):
            run_one(config)
            self.expected[name] = left_behind(self.folder)
            shutil.rmtree(self.root)
        self.make(self.config)
        run_one(self.other)
        self.sound = load(self.study)
        shutil.copytree(self.root, self.template, copy_function=shutil.copyfile)

    def files(self) -> list[Path]:
        """All files that the run left, relative to the runs_dir."""
        return sorted(path.relative_to(self.template) for path in self.template.rglob("*")
                      if path.is_file() and self.beside.name not in path.parts)  # fmt: skip

    def damage(self, file: Path, damage: Damage, seed: int) -> None:
        """Put the runs_dir back and damage a file in it."""
        shutil.rmtree(self.root)
        shutil.copytree(self.template, self.root)
        path = self.root / file
        other = Path(str(path).replace(self.folder.name, self.beside.name))
        damage(path, other if other.exists() else path, random.Random(seed))

    def attempt(self, action: str) -> tuple[str, str]:
        """Do one of ACTIONS; returns the kind of what happened, and details."""
        printed = io.StringIO()
        try:
            with redirect_stdout(printed), redirect_stderr(printed):
                return getattr(self, f"_{action}")()
        except (*COMMAND_ERRORS, AnalysisError) as refusal:
            return (SENTENCE, str(refusal)) if "\n" not in str(refusal) else (TRACEBACK, f"many lines: {refusal}")
        except Exception as problem:
            return TRACEBACK, repr(problem)

    def _repeat(self) -> tuple[str, str]:
        return self._run("repeat", self.config)

    def _extend(self) -> tuple[str, str]:
        return self._run("extend", self.longer)

    def _run(self, action: str, config: Mapping[str, Any]) -> tuple[str, str]:
        outcome = run_one(config)
        if outcome.status != "completed":
            return TRACEBACK, f"{outcome.status}: {outcome.summary['stop_reason']}"
        found, expected = left_behind(self.folder), self.expected[action]
        wrong = [name for name in RESULTS if found.get(name) != expected.get(name)]
        if wrong:
            return OTHER, f"{', '.join(wrong)} differ"
        return (SAME if outcome.skipped else REPAIRED), ""

    def _status(self) -> tuple[str, str]:
        code = launch(["status", str(self.study)])
        return (SAME, "") if code == 0 else (SENTENCE, str(code))

    def _analyse(self) -> tuple[str, str]:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            found = load(self.study)
        if not self.completed:  # nothing says what the files of a run that goes on should contain
            return SAME, ""
        if wrong := _rows(found, COLUMNS) - _rows(self.sound, COLUMNS):
            return OTHER, f"{len(wrong)} rows differ"
        if len(found) == len(self.sound) and _rows(found, found.columns) == _rows(self.sound, self.sound.columns):
            return SAME, ""
        named = any(self.folder.name in str(warning.message) for warning in said)
        return (SENTENCE, "") if named else (OTHER, "rows or configs are missing and nothing is said")


ACTIONS = (("status", "analyse", "repeat"), ("extend",))  # what is done on one copy, in this order


def _rows(frame: pd.DataFrame, columns: Iterable[str]) -> set[tuple[str, ...]]:
    columns = [name for name in columns if name not in ("status", "seconds")]
    return {tuple(map(str, row)) for row in frame[columns].itertuples(index=False)}


def campaign(study: Study, draws: int, thin: int = 1) -> tuple[Counter[str], list[str]]:
    """Try every damage of every file `draws` times, with all actions.

    Args:
        thin: take only every so many of the sequences of ACTIONS.

    Returns: counts by kind, and what broke the rule.
    """
    counts, broken = Counter[str](), []
    attempts = ((file, damage, seed, actions) for seed in range(draws) for file in study.files()
                for damage in damages(file) for actions in ACTIONS)  # fmt: skip
    for file, damage, seed, actions in islice(attempts, None, None, thin):
        study.damage(file, damage, seed)
        for action in actions:
            kind, details = study.attempt(action)
            counts[kind] += 1
            if kind in (TRACEBACK, OTHER):
                broken.append(f"{damage.__name__} {file.name} ({seed}), {action}: {kind}: {details}")
    return counts, broken
