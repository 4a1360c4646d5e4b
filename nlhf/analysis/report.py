"""report.html, one self-contained page of a study, and its figures as files."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nlhf.analysis import conclusions, page, provenance, text_curves, text_pairs
from nlhf.analysis.arena_ranking import TITLES
from nlhf.analysis.figures.gallery import pictures
from nlhf.analysis.figures.preset import preset_of
from nlhf.analysis.report_tables import (
    MOST_COMPARISONS,
    comparison_rows,
    different,
    overall_rows,
    result_columns,
    result_rows,
    shared_parts,
    tuned_rows,
)
from nlhf.analysis.results import Results
from nlhf.analysis.wording import notes
from nlhf.config import is_number
from nlhf.io.json_files import read_json, read_json_lines
from nlhf.stats.text import number
from nlhf.terminal import completion

SHOWN_TEXTS = 12
SHOWN_VALUES = 30


def write(results: Results, folder: Path) -> Path:
    """Write folder/report.html and folder/figures/*.pdf, *.png; returns the page's path.

    Raises: AnalysisError.
    """
    arena = results.study.root / "arena" / "report.html"
    link = Path(os.path.relpath(arena, folder)).as_posix() if arena.exists() else None
    return page.write(folder, "report.html.jinja", pictures(results), arena=link, **_context(results))


def _context(results: Results) -> dict[str, Any]:
    """The variables of the template."""
    return {**_claims(results), **_tables(results), **_origin(results)}


def _claims(results: Results) -> dict[str, Any]:
    study, criterion, summary = results.study, results.criterion, results.summary
    preset = preset_of(study.experiment)
    return {
        "title": study.root.resolve().name,
        "question": preset.question if preset else f"Which method needs the {criterion.fewest}?",
        "headline": [*results.text_sentences, conclusions.headline(results)],
        "judge": results.judge,
        "cautions": results.cautions,
        "facts": _facts(results),
        "criterion": criterion,
        "target": number(criterion.target),
        "horizon": number(criterion.horizon or 0),
        "notes": notes(results.caveats, summary["method"]),
    }


def _tables(results: Results) -> dict[str, Any]:
    tested = results.judged.comparisons.dropna(subset="p")
    return {
        "columns": result_columns(results),
        "rows": list(result_rows(results)),
        "everywhere": shared_parts([str(group) for group in results.summary["group"].unique()]),
        "choices": {name: different(results.observations[name]) for name in ("game", "beta")},
        "overall": overall_rows(results),
        "tuned": tuned_rows(results),
        "comparisons": comparison_rows(tested),
        "left_out": max(0, len(tested) - MOST_COMPARISONS),
        "texts": list(_texts(results)),
        "text_pairs": text_pairs.shown_rows(results.text_pairs),
        "at_equal_kl": text_curves.shown_rows(results.at_equal_kl),
        "arena_titles": TITLES,
        "arena_rows": results.arena.rows if results.arena else [],
        "bad": [_incomplete(run) for run in results.study.runs if run["status"] != "completed"],
    }


def _origin(results: Results) -> dict[str, Any]:
    runs = results.study.runs
    shared, varied = provenance.configs(runs)
    return {
        "shared": shared,
        "varied": {
            key: ", ".join(values[:SHOWN_VALUES]) + (" ..." if len(values) > SHOWN_VALUES else "")
            for key, values in varied.items()
        },
        "versions": provenance.versions(runs),
        "commands": provenance.commands(runs),
        "bibtex": "\n\n".join(provenance.citations(runs)),
    }


def _facts(results: Results) -> str:
    runs, seeds, rows = results.study.runs, len(results.observations), len(results.study.rows)
    states = Counter(str(run["status"]) for run in runs)
    counts = ", ".join(f"{count} {status}" for status, count in states.items())
    return f"{len(runs)} runs ({counts}), {seeds:,} observations, {rows:,} rows"


def _texts(results: Results) -> Iterator[dict[str, Any]]:
    """The first completions of test prompts of every run of a language model."""
    names = results.study.rows.drop_duplicates("folder").set_index("folder")
    for run in results.study.runs:
        path = Path(run["folder"]) / "completions.jsonl"
        damaged = any(sentence.startswith(f"{path} ") for sentence in run["damage"])
        if path.exists() and not damaged and run["folder"] in names.index:
            entries = [_shown(entry) for entry in read_json_lines(path) if _is_text(entry)]
            bound: Any = (read_json(path.with_name("exploiter.json")) or {}).get("lower_bound")
            yield {
                "method": names.at[run["folder"], "method"],
                "seed": names.at[run["folder"], "seed"],
                "entries": entries[:SHOWN_TEXTS],
                "left_out": max(0, len(entries) - SHOWN_TEXTS),
                "bound": number(float(bound)) if is_number(bound) else None,
            }


def _shown(entry: dict[str, Any]) -> dict[str, Any]:
    """A line of completions.jsonl, with empty completions made visible."""
    return {**entry, **{name: completion(entry[name]) for name in ("reference", "policy")}}


def _is_text(entry: dict[str, Any]) -> bool:
    """True if a line of completions.jsonl has all that the page shows of it."""
    texts = all(isinstance(entry.get(name), str) for name in ("prompt", "reference", "policy"))
    return texts and is_number(entry.get("preference"))


def _incomplete(run: dict[str, Any]) -> dict[str, str]:
    """A row of the table of runs that are not completed."""
    reason = " ".join(run["damage"]) or run["summary"].get("stop_reason") or ""
    if run["status"] == "unfinished" and not reason:
        reason = f"{'' if run['summary'] else 'no summary.json: '}it is running, or was killed"
    return {"folder": run["folder"], "status": run["status"], "reason": str(reason), "rows": str(run["rows"])}
