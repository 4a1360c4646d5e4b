"""Cautions above a table: damaged or unfinished runs, and what the data cannot show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from nlhf.analysis.criterion import Criterion
from nlhf.analysis.horizon import limiting
from nlhf.analysis.ranks import ALPHA, group_of
from nlhf.analysis.tuning import is_tuned, judged
from nlhf.analysis.wording import distinct, spread_over
from nlhf.stats.bootstrap import FEWEST
from nlhf.stats.significance import pairs_needed
from nlhf.stats.text import number

MOST_DAMAGE = 5  # sentences about damaged files
MOST_UNRANKED = 4  # sentences about methods without a rank, and about budgets


def cautions(observations: pd.DataFrame, summary: pd.DataFrame, runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The sentences that stand above the table."""
    return [
        *_damage(runs),
        *_states(runs),
        *_versions(runs),
        *_ranks(observations, summary),
        *_seeds(judged(observations) if is_tuned(observations) else observations),
        *_tuning(observations, summary),
    ]


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
            f"{_count(open_runs, 'run')} did not end: a target not reached yet counts as missed in ranks and as "
            "censored in medians; final values and curve means leave them out; repeat the command to continue."
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


def _ranks(observations: pd.DataFrame, summary: pd.DataFrame) -> Iterator[str]:
    """Methods without a rank, blocks that are left out, and budgets that limit the comparison."""
    short = distinct([str(group) for group in summary["group"].unique()])
    several = len(short) > 1
    for row in summary[summary["rank"].isna()].head(MOST_UNRANKED).to_dict("records"):
        where = f" on {short[row['group']]}" if several else ""
        yield f"{row['method']} has no rank{where}: {row['unranked']}."
    for name, members in observations.groupby("group", sort=True):
        group = group_of(members)
        if len(group.ranks.columns) > 1 and group.blocks < group.all_blocks:
            where = f" on {short[str(name)]}" if several else ""
            yield (
                f"Compared{where} on {group.blocks} of {group.all_blocks} settings x seeds, those that all ranked "
                "methods ran; ranks, ratios and p-values leave the others out."
            )
            break
    for method, horizon in list(limiting(observations).items())[:MOST_UNRANKED]:
        yield (
            f"Methods are ranked by what they reach within {number(horizon)}, the budget of {method}, although others "
            "spent more: --horizon sets another limit."
        )


def _seeds(observations: pd.DataFrame) -> Iterator[str]:
    """What the number of different seeds does not allow."""
    if replicas := int(observations["replica"].sum()):
        yield f"Not counted, as exact copies of another observation: {replicas} of {len(observations)} observations."
    groups = {str(name): group_of(members) for name, members in observations.groupby("group", sort=True)}
    seeds = {name: len(group.ranks) for name, group in groups.items() if len(group.ranks)}
    if not seeds:
        return
    if max(seeds.values()) == 1:
        yield (
            "There is one different seed, so no interval or test over seeds is possible: the numbers say nothing about "
            "other seeds, games or votes."
        )
        return
    short = distinct(list(seeds))
    if few := [name for name, count in seeds.items() if count < FEWEST]:
        where = spread_over([short[name] for name in few], len(seeds))
        fewest = min(seeds.values())
        only = f"{'is' if fewest == 1 else 'are'} only {_count(fewest, 'different seed')}"
        yield f"On {where} there {only} to compare: intervals and tests need {FEWEST} or more."
    required = {name: pairs_needed(len(groups[name].p_values)) for name, count in seeds.items() if count >= FEWEST}
    if poor := [name for name, count in required.items() if count > seeds[name]]:
        where = spread_over([short[name] for name in poor], len(seeds))
        yield (
            f"On {where} no test can reach p < {ALPHA} after Holm's correction: that takes "
            f"{max(required[name] for name in poor)} seeds or more, or fewer methods."
        )


def _tuning(observations: pd.DataFrame, summary: pd.DataFrame) -> Iterator[str]:
    """How many configurations each algorithm could choose from."""
    tried = summary.groupby("algorithm")["tried"].max()
    if tried.nunique() > 1:
        budgets = ", ".join(f"{name} {count}" for name, count in tried.items())
        yield f"Tuning budgets differ: {budgets} configurations."
    if tried.max() > 1 and not is_tuned(observations):
        yield (
            f"Up to {tried.max()} configurations of an algorithm were tried on these same seeds: the best ones look "
            "better than they are, until they are repeated on other seeds."
        )


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
