"""The size of every test and the coverage of every interval, in studies whose truth is known.

Run from the checkout: python -m benchmarks.statistics [--only WORD ...] [--share 1.0] [--write]. It takes about half an
hour on two cores. `--write` puts the rows into the table of docs/statistics.md and keeps those of other cells. Exit
code 1 if a rate is outside its limit and no sentence of the reports warns of it.
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from nlhf.numerics.threads import cores
from tests.simulations import all_cells
from tests.simulations.cell import Cell, Rate

PAGE = Path(__file__).resolve().parents[1] / "docs" / "statistics.md"
OUTSIDE = "**"  # around a rate that is outside its limit
MARK = "<!-- The table below is written by `python -m benchmarks.statistics --write`. -->\n"


def main() -> int:
    """Simulate, print, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.statistics", description=__doc__)
    parser.add_argument(
        "--only", nargs="+", default=[""], metavar="WORD", help="cells whose statistic or setting has one of the words"
    )
    parser.add_argument("--share", type=float, default=1.0, help="share of the repetitions (default: 1.0)")
    parser.add_argument("--write", action="store_true", help="write the table into docs/statistics.md")
    options = parser.parse_args()
    cells = all_cells()
    chosen = [
        n for n, cell in enumerate(cells) if any(word in f"{cell.statistic}, {cell.setting}" for word in options.only)
    ]
    rates = []
    with ProcessPoolExecutor(cores()) as pool:
        for number, counts in zip(chosen, pool.map(_counts, chosen, [options.share] * len(chosen)), strict=True):
            rates.append(rate := Rate(cells[number], *counts))
            print(f"{'ok ' if rate.within else 'OUT'} {rate}", flush=True)
    if options.write:
        text = PAGE.read_text()
        PAGE.write_text(text[: text.index(MARK) + len(MARK)] + "\n" + table(cells, rates, text))
    outside = [rate for rate in rates if not rate.within]
    silent = [rate for rate in outside if not rate.cell.remark]
    print(f"{len(rates)} cells, {len(outside)} outside their limit, {len(silent)} of these without a warning")
    return int(bool(silent))


def table(cells: list[Cell], rates: list[Rate], page: str = "") -> str:
    """The table of the page: rows of new rates, and the rows that the page has for other cells.

    Args:
        cells: all cells, in the order of the table.
        rates: new results of some of them.
        page: the text with the earlier table.
    """
    titles = ("statistic", "simulated data", "measures", "rate", "limit", "studies", "withheld")
    head = f"| {' | '.join(titles)} |\n|{' --- |' * len(titles)}\n"
    lines = {_key(line): line for line in [*page.splitlines(keepends=True), *map(_line, rates)] if line[:2] == "| "}
    shown = [(cell, lines[key]) for cell in cells if (key := (cell.statistic, cell.setting)) in lines]
    remarks = dict.fromkeys(cell.remark for cell, line in shown if OUTSIDE in line and cell.remark)
    notes = "".join(f"\n* {remark}" for remark in remarks)
    body = "".join(line for _, line in shown)
    return head + body + (f"\nOutside the limit, with the sentence of the report:\n{notes}\n" if notes else "")


def _key(line: str) -> tuple[str, ...]:
    """The statistic and the simulated data of a row."""
    return tuple(cell.strip() for cell in line.split("|")[1:3])


def _line(rate: Rate) -> str:
    cell, relation = rate.cell, "<=" if rate.cell.measures == "size" else ">="
    shown = f"{rate.rate:.3f}" if rate.studies else "withheld"
    shown = shown if rate.within else f"{OUTSIDE}{shown}{OUTSIDE}"
    return (
        f"| {cell.statistic} | {cell.setting} | {cell.measures} | {shown} | {relation} {rate.limit:.3f} "
        f"| {rate.studies} | {rate.withheld} |\n"
    )


def _counts(number: int, share: float) -> tuple[int, int, int]:
    """The counts of a cell, in a process of its own; only its number is sent there."""
    cell = all_cells()[number]
    rate = cell.run(max(1, round(share * cell.repetitions)))
    return rate.count, rate.studies, rate.withheld


if __name__ == "__main__":
    sys.exit(main())
