"""The terminal output of a run: a progress bar, and a short table of the result."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from nlhf.budget import Budget, Progress
from nlhf.io.arrays import read_arrays
from nlhf.io.json_files import read_json_lines
from nlhf.messages import command
from nlhf.runner.live import row_in_words
from nlhf.runner.recorder import Tick, no_tick
from nlhf.runner.specification import Specification
from nlhf.terminal import completion, console, paragraphs, visible

SHOWN_ITEMS, SHOWN_PROMPTS = 12, 3


@contextmanager
def progress_bar(run: Specification) -> Iterator[Tick]:
    """A bar on the standard error; yields a function to call with the progress and the columns of the last row."""
    if not run.options.progress or not sys.stderr.isatty():
        yield no_tick
        return
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}", markup=False), BarColumn(),
               TextColumn("{task.fields[state]}", markup=False), TimeRemainingColumn())  # fmt: skip
    with Bar(*columns, console=console(stream=sys.stderr)) as bar:
        task, due = bar.add_task(visible(run.name), total=1.0, state=""), 0.0

        def tick(progress: Progress, row: Mapping[str, list[float]]) -> None:
            nonlocal due
            if (now := time.monotonic()) < due:
                return
            due = now + 0.1
            means = {name: float(np.mean(values)) for name, values in row.items()}
            state = f"iteration {progress.iterations.max()}  {row_in_words(means)}"
            bar.update(task, completed=fraction(run.budget, progress), state=state)

        yield tick
        bar.update(task, completed=1.0)


def fraction(budget: Budget, progress: Progress) -> float:
    """The share of the budget that the slowest seed has spent; the target does not count."""
    limits = ((budget.queries, progress.queries.min()), (budget.iterations, progress.iterations.min()),
              (budget.seconds, progress.seconds))  # fmt: skip
    return max((float(value) / limit for limit, value in limits if limit), default=0.0)


def result(summary: Mapping[str, Any]) -> str:
    """The result of a run, or why it failed, in one short line."""
    if summary["status"] == "failed":
        return str(summary["stop_reason"])
    final, queries = summary["final"], max(summary["progress"]["queries"])
    for name, template in (
        ("exploitability", "exploitability {:.2e}"),
        ("test_win_rate_vs_reference", "win rate {:.3f}"),
    ):
        if (value := final.get(name)) is not None:
            return f"{template.format(value)} after {queries} queries"
    return ""


def show_run(folder: Path, summary: Mapping[str, Any], skipped: bool) -> None:
    """Print the result of a single run from its files: metrics, policy, folder, and commands to try next."""
    output = console()
    if skipped:
        output.print("completed before: nothing was run", style="dim")
    if summary["status"] == "failed":
        output.print(f"failed: {summary['stop_reason']} (traceback in {folder}/run.log)", style="red")
    if summary["final"]:  # empty for a run that failed before it measured anything
        output.print(_facts(summary), "", _samples(folder) or _mixtures(folder) or "", "", sep="\n")
    if caveat := summary.get("method", {}).get("caveat"):
        output.print(f"note  {caveat}", soft_wrap=True)
    output.print(f"run   {folder}", soft_wrap=True)
    if summary["status"] == "completed":
        for line in _suggestions(folder):
            output.print(line, soft_wrap=True)


def _facts(summary: Mapping[str, Any]) -> Any:
    from rich.table import Table

    final, progress, seeds = summary["final"], summary["progress"], len(summary["seeds"])
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_row(f"{summary['status']} ({summary['stop_reason']})", f"mean over {seeds} seeds" if seeds > 1 else "")
    if "judge_calls" in final:
        ends = f"[{_number(final['win_rate_low'])}, {_number(final['win_rate_high'])}]"
        table.add_row("win rate against the reference", f"{_number(final['test_win_rate_vs_reference'])} {ends}")
        ends = f"[{_number(final.get('kl_low'))}, {_number(final.get('kl_high'))}]"
        table.add_row("KL to the reference", f"{_number(final['test_kl_to_reference'])} {ends}")
        if "refinement_low" in final:
            ends = f"[{_number(final['refinement_low'])}, {_number(final['refinement_high'])}]"
            table.add_row("win rate of the follower", f"{_number(final['refinement_win_rate'])} {ends}")
    else:
        table.add_row("exploitability", _number(final.get("exploitability")))
        if "certified_exploitability" in final:
            table.add_row("  certified by the votes", _number(final["certified_exploitability"]))
        if "stackelberg_gap" in final:
            table.add_row("gap of leader and follower", _number(final["stackelberg_gap"]))
            table.add_row("win rate of the follower", _number(final["refinement_win_rate"]))
        table.add_row("  of the average policy", _number(final.get("average_exploitability")))
        table.add_row("KL to the equilibrium", _number(final.get("kl_to_equilibrium")))
        table.add_row("  its certificate", _certificate(summary["equilibrium"]))
        table.add_row("KL to the reference", _number(final.get("kl_to_reference")))
        table.add_row("win rate against the reference", _number(final.get("win_rate_vs_reference")))
    queries = sorted(set(progress["queries"]))
    table.add_row("queries", f"{queries[0]}" if len(queries) == 1 else f"{queries[0]} to {queries[-1]}")
    table.add_row("seconds", f"{progress['seconds']:.3g}")
    return table


def _certificate(equilibrium: Mapping[str, Any] | None) -> str:
    if not equilibrium:
        return "none: no reference equilibrium was computed"
    certificate = f"{equilibrium['method']}, exploitability {equilibrium['exploitability']:.1g}"
    if not equilibrium["certified"]:
        return f"refused: {certificate}"
    return certificate if equilibrium["unique"] else f"{certificate}, but not certified to be the only equilibrium"


def _mixtures(folder: Path) -> Any:
    """Reference, policy and equilibrium of the first seed, averaged over contexts, largest first.

    None if a file of the run is missing or damaged.
    """
    from rich.table import Table

    game, trained = (read_arrays(folder / name) or {} for name in ("game.npz", "policy.npz"))
    try:
        items = game.get("items")
        contexts, seeds = len(game["contexts"]), len(trained["seeds"])
        columns = {"reference": game["log_reference"], "policy": trained["log_policy"]}
    except KeyError:
        return None
    if "log_equilibrium" in game:
        columns["equilibrium"] = game["log_equilibrium"]
    shares = {name: np.exp(values[0]).mean(0) for name, values in columns.items()}
    notes = ["first seed"] * (seeds > 1) + [f"mean of {contexts} contexts"] * (contexts > 1)
    title = ", ".join(notes) or None
    table = Table(title=title, title_justify="left", title_style="dim", box=None, padding=(0, 2, 0, 0))
    table.add_column("item", overflow="fold")
    for name in shares:
        table.add_column(name, justify="right")
    order = np.argsort(-shares["policy"], kind="stable")
    for index in order[:SHOWN_ITEMS]:
        name = f"number {index}" if items is None else str(items[index])
        table.add_row(name, *(f"{share[index]:.4f}" for share in shares.values()))
    if len(order) > SHOWN_ITEMS:
        remainder = [f"{share[order[SHOWN_ITEMS:]].sum():.4f}" for share in shares.values()]
        table.add_row(f"{len(order) - SHOWN_ITEMS} others", *remainder)
    return table


def _samples(folder: Path) -> Any:
    """Completions of the first test prompts by the reference and the policy; None without completions."""
    from rich.table import Table

    if not (path := folder / "completions.jsonl").exists():
        return None
    table = Table(show_lines=True)
    for name in ("prompt", "reference", "policy", "preferred"):
        table.add_column(name)
    for entry in read_json_lines(path)[:SHOWN_PROMPTS]:
        texts = (entry["prompt"], completion(entry["reference"]), completion(entry["policy"]))
        table.add_row(*map(paragraphs, texts), f"{entry['preference']:.2f}")
    return table


def _suggestions(folder: Path) -> tuple[str, ...]:
    """Commands to try next; for a language model, commands about language models."""
    compare = f"      {command('nlhf', 'compare', folder.parent)}"
    if not (folder / "completions.jsonl").exists():
        sweep = "next  nlhf run -m algorithm=nash_mp,nash_md,omd,self_play game=random_tournament seeds=20"
        return sweep, compare
    arena = f"next  {command('nlhf', 'arena', folder)}"
    if not (folder / "checkpoint.pt").exists():
        return arena, compare
    return arena, f"      {command('nlhf', 'exploit', folder)}", compare


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
