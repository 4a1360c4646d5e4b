"""Cautions above a table: damaged or unfinished runs, and what the data cannot show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from nlhf.analysis.comparison import seeds_needed
from nlhf.analysis.conclusions import ALPHA, distinct, spread_over
from nlhf.analysis.criterion import Criterion
from nlhf.stats.bootstrap import FEWEST

MOST_DAMAGE = 5  # sentences about damaged files


def cautions(observations: pd.DataFrame, summary: pd.DataFrame, runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The sentences that stand above the table."""
    return [*_damage(runs), *_states(runs), *_versions(runs), *_seeds(observations, summary), *_tuning(summary)]


def unmeasured(count: int, criterion: Criterion) -> list[str]:
    """A sentence about seeds without the metric."""
    return [f"{_count(count, 'seed')} never measured the {criterion.title}: left out."] if count else []


def _damage(runs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Files that are damaged, and files whose damage could not be detected."""
    sentences = [sentence for run in runs for sentence in run["damage"]]
    yield from sentences[:MOST_DAMAGE]
    if len(sentences) > MOST_DAMAGE:
        yield f"More files are damaged: {len(sentences)} in all."
    if lost := sum(run["status"] == "damaged" for run in runs):
        yield f"Left out because of damaged files: {_count(lost, 'run')}."
    if unchecked := sum(not run["checked"] for run in runs):
        yield (
            f"Completed before files had checksums: {_count(unchecked, 'run')}. Damage to these files would go "
            "unnoticed; repeat the commands with force=true to be sure."
        )


def _states(runs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Runs that did not complete."""
    states = Counter(str(run["status"]) for run in runs)
    if failed := states["failed"]:
        yield f"{_count(failed, 'run')} failed: the final value counts as infinite, a target reached earlier counts."
    if open_runs := states["interrupted"] + states["unfinished"]:
        yield (
            f"{_count(open_runs, 'run')} did not end: censored at the last row, and left out of final values and curve "
            "means; repeat the command to continue."
        )
    if empty := [run for run in runs if not run["rows"] and run["status"] != "damaged"]:
        yield f"{_count(len(empty), 'run')} without rows: {empty[0]['folder']}."


def _versions(runs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Runs of several versions of nlhf, which may give different results."""
    for key, name in (("results_version", "RESULTS_VERSION"), ("commit", "commit")):
        values = {str(run["summary"][key]) for run in runs if run["summary"].get(key) is not None}
        if len(values) > 1:
            yield f"Runs were made with {len(values)} values of {name}: see the versions, and repeat the older runs."
    if any(str(run["summary"].get("commit")).endswith("-dirty") for run in runs):
        yield "Some runs were made with uncommitted changes (...-dirty): the commit alone does not reproduce them."


def _seeds(observations: pd.DataFrame, summary: pd.DataFrame) -> Iterator[str]:
    """What the number of observations does not allow."""
    if replicas := int(observations["replica"].sum()):
        yield f"Not counted, as exact copies of another observation: {replicas} of {len(observations)} observations."
    fewest = int(summary["seeds"].min())
    if (summary["seeds"] == 1).all():
        yield (
            "Every method has one observation per setting, so no interval or test is possible: the numbers are exact "
            "for these games, and say nothing about other seeds, games or votes."
        )
    elif fewest < FEWEST:
        yield f"Some methods have only {_count(fewest, 'observation')}: intervals and tests need {FEWEST} or more."
    else:
        required, seeds = seeds_needed(observations), summary.groupby("group")["seeds"].min()
        short = distinct(list(required))
        if poor := [group for group, count in required.items() if count > seeds[group]]:
            where = spread_over([short[group] for group in poor], len(required))
            yield (
                f"On {where} no test can reach p < {ALPHA} after Holm's correction: that takes "
                f"{max(required[group] for group in poor)} seeds or more, or fewer methods."
            )


def _tuning(summary: pd.DataFrame) -> Iterator[str]:
    """How many configurations each algorithm could choose from."""
    tried = summary.groupby("algorithm")["tried"].max()
    if tried.nunique() > 1:
        budgets = ", ".join(f"{name} {count}" for name, count in tried.items())
        yield f"Tuning budgets differ: {budgets} configurations; the best of many looks better than it is."
    elif tried.max() > 1:
        yield (
            f"Every algorithm had {tried.max()} configurations, tried on these same seeds: the best ones, which are "
            "compared, look better than they are."
        )


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
