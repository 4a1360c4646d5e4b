"""How to reproduce and cite a study: commands, configs, versions and references."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

from nlhf.terminal import visible

BIBLIOGRAPHY = Path(__file__).with_name("bibliography.bib")
NO_RESULT = ("runs_dir", "progress")  # keys that do not affect results
Run = Mapping[str, Any]


def commands(runs: Sequence[Run]) -> list[str]:
    """Shell commands that reproduce these runs.

    One sweep if the runs are all combinations of their overrides' values, otherwise one command per run; none for runs
    whose config is lost.
    """
    each = [_by_key(run["overrides"]) for run in runs if run["config"]]
    if len({tuple(sorted(overrides)) for overrides in each}) == 1:
        values = {key: list(dict.fromkeys(overrides[key] for overrides in each)) for key in sorted(each[0])}
        chosen = {tuple(overrides[key] for key in values) for overrides in each}
        if len(chosen) == prod(map(len, values.values())):
            several = any(len(choices) > 1 for choices in values.values()) or "experiment=" in values
            return [_command([f"{key}{','.join(choices)}" for key, choices in values.items()], several)]
    return list(
        dict.fromkeys(_command([f"{key}{value}" for key, value in overrides.items()], False) for overrides in each)
    )


def _by_key(overrides: Iterable[str]) -> dict[str, str]:
    """`key=` -> value; the last one counts, as in Hydra. `~key` -> empty text."""
    parts = (word.partition("=") for word in overrides)
    return {key + sign: value for key, sign, value in parts if key not in NO_RESULT}


def _command(overrides: Sequence[str], several: bool) -> str:
    return " ".join(["nlhf run", *(["-m"] if several else []), *map(_quoted, overrides)])


def _quoted(word: str) -> str:
    """The word quoted for a shell; hidden characters become bash's escapes, $'\\u2028'."""
    if visible(word) == word:
        return shlex.quote(word)
    characters = (
        c if c.isprintable() and c not in "\\'" else f"\\{c}" if c in "\\'" else f"\\U{ord(c):08x}" for c in word
    )
    return f"$'{''.join(characters)}'"


def configs(runs: Sequence[Run]) -> tuple[dict[str, str], dict[str, list[str]]]:
    """The config entries that all runs share, and the values of the entries that differ."""
    texts = [{key: str(value) for key, value in run["config"].items()} for run in runs if run["config"]]
    keys = sorted({key for text in texts for key in text})
    values = {key: sorted({text[key] for text in texts if key in text}) for key in keys}
    shared = {
        key: choices[0] for key, choices in values.items() if len(choices) == 1 and all(key in text for text in texts)
    }
    return shared, {key: choices for key, choices in values.items() if key not in shared}


def versions(runs: Sequence[Run]) -> dict[str, str]:
    """The versions that made the runs; if they differ, each value with its number of runs."""
    counted: dict[str, Counter[str]] = {}
    for summary in (run["summary"] for run in runs if run["summary"]):
        entries = {
            **(summary.get("versions") or {}),
            **{key: summary.get(key) for key in ("commit", "platform", "threads")},
        }
        for key, value in entries.items():
            counted.setdefault(key, Counter())[str(value)] += 1
    return {
        key: next(iter(values))
        if len(values) == 1
        else "mixed: " + ", ".join(f"{value} ({n} of {sum(values.values())} runs)" for value, n in values.most_common())
        for key, values in counted.items()
    }


def citations(runs: Sequence[Run]) -> list[str]:
    """BibTeX entries of the methods and of the statistics."""
    entries = bibliography()
    cited = {source: None for run in runs for source in (run["summary"].get("method") or {}).get("sources", ())}
    return [entries[source] for source in [*cited, "2108.13264"] if source in entries]


def bibliography() -> dict[str, str]:
    """arXiv number -> BibTeX entry."""
    entries = BIBLIOGRAPHY.read_text(encoding="utf-8").strip().split("\n\n")
    return {entry.partition("{arXiv-")[2].partition(",")[0]: _spread(entry) for entry in entries}


def _spread(entry: str) -> str:
    """The entry with one field per line."""
    fields = ("title", "author", "year", "eprint", "archivePrefix")
    for field in fields:
        entry = entry.replace(f", {field}=", f",\n  {field}=")
    return entry[:-1] + "\n}"
