"""Writes the votes of any format in the formats of nlhf: a CSV of tidy votes, and a jsonl file of votes on texts."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nlhf.config import ConfigError
from nlhf.io.files import replacing
from nlhf.io.inputs import InputFile
from nlhf.io.json_files import write_json
from nlhf.votes.file import COLUMNS, TIES, Vote, read_rows
from nlhf.votes.formats.base import BothBad
from nlhf.votes.formats.table import TIDY
from nlhf.votes.source import Source, source_of
from nlhf.votes.table import Report, Unused

BLOCK = 2**16  # votes that are held as objects


def convert(
    path: str, out: Path, names: Mapping[str, str], both_bad: BothBad = "tie", force: bool = False
) -> dict[Path, Report]:
    """Write the votes of a file, and what was not used of it.

    Args:
        path: the file.
        out: the CSV that is written; beside it a jsonl file where the file has texts, and a JSON file of the reports.
        names: the file's own names of columns, {item_a: left}.
        both_bad: `drop` leaves out votes that both are bad, which are ties otherwise.
        force: replace files that exist.

    Returns: the report of every file that was written with votes.

    Raises: ConfigError for a file without votes, for one that would replace itself, and for outputs that exist.
    """
    source = source_of(InputFile(path), names)
    if source.format is None:
        raise ConfigError(source.refusal("votes"))
    has_items, has_texts = source.format is TIDY or source.format.votes is not None, source.has_texts
    if not has_items and not has_texts:
        raise ConfigError(source.refusal("votes"))
    outputs = _outputs(source.file, out, {".csv": has_items, ".jsonl": has_texts, ".json": True}, force)
    out.parent.mkdir(parents=True, exist_ok=True)
    reports = {}
    if has_items:
        reports[outputs[0]] = _write_items(source, outputs[0], both_bad)
    if has_texts:
        reports[outputs[1]] = _write_texts(source, outputs[1], both_bad)
    write_json(outputs[2], {output.name: report.entries for output, report in reports.items()})
    return reports


def _outputs(file: InputFile, out: Path, written: Mapping[str, bool], force: bool) -> list[Path]:
    """The files with these endings; those that are `written` must not exist, unless `force`, and not be the input."""
    outputs = [out.with_suffix(ending) for ending in written]
    for output in (path for path, is_written in zip(outputs, written.values(), strict=True) if is_written):
        if output.resolve() == file.location.resolve():
            raise ConfigError(f"--out {out} would replace the file that is read: give another name.")
        if output.exists() and not force:
            raise ConfigError(f"--out {out}: {output} exists: give another name, or add --force to replace it.")
    return outputs


def _write_items(source: Source, out: Path, both_bad: BothBad) -> Report:
    if source.format is TIDY:
        rows = source.named_rows
        votes = read_rows(source.file, rows)
        report = Report(source.file.name, TIDY.title, len(votes))
        names = [name for name in rows.columns if name not in (*COLUMNS, TIES)]
        ties, blocks = any(vote.ties for vote in votes), iter([votes])
    else:
        table, report = source.table(both_bad)
        if not len(table):
            raise ConfigError(f"{report.sentence}: give a file with votes.")
        names, ties = list(table.columns), bool(table.ties.any())
        blocks = (table.at(np.arange(k, min(k + BLOCK, len(table)))).votes() for k in range(0, len(table), BLOCK))
    write_votes(out, names, ties, blocks)
    return report


def write_votes(out: Path, names: list[str], ties: bool, blocks: Iterable[Sequence[Vote]]) -> None:
    """Write votes as a CSV of tidy votes, with these further columns, and `ties` if it is used."""
    with replacing(out) as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([*COLUMNS, *([TIES] if ties else []), *names])
        for block in blocks:
            writer.writerows(_row(vote, names, ties) for vote in block)


def _row(vote: Vote, names: list[str], ties: bool) -> list[str]:
    """The cells of a vote; ties are counted in their own column, if there is one."""
    counts = [vote.wins_a - vote.ties / 2, vote.wins_b - vote.ties / 2, *([vote.ties] if ties else [])]
    return [vote.a, vote.b, *(f"{count:.17g}" for count in counts), *(vote.cells[name] for name in names)]


def _write_texts(source: Source, out: Path, both_bad: BothBad) -> Report:
    assert source.format is not None
    unused: dict[str, Unused] = {}
    with replacing(out) as stream:
        for entry in _entries(source, both_bad, unused):
            stream.write(json.dumps(entry, ensure_ascii=False) + "\n")
    assert source.frame is not None
    return Report(source.file.name, source.format.title, len(source.frame), unused)


def _entries(source: Source, both_bad: BothBad, unused: dict[str, Unused]) -> Iterator[dict[str, Any]]:
    """The lines of a jsonl file of votes on texts."""
    number = 0
    for _, vote in source.texts(both_bad, unused):
        number += 1
        yield vote.entry
    if not number:
        raise ConfigError(f"{source.file.name} has no vote on texts that can be used: {', '.join(unused)}.")
