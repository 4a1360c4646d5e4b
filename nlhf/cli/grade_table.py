"""The table of a judge's grades."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nlhf.judges.grades import VOTER
from nlhf.stats.bootstrap import Estimate
from nlhf.stats.calibration import CalibrationError

if TYPE_CHECKING:
    from rich.table import Table

INTERVALS = "95% intervals count prompts, and need five of them; log-losses have no bounds, and need 20"
ALL_BUT_ONE = "accuracy is agreement with the majority of all voters but one, for judges and for another voter alike"
ALL = (
    "accuracy is agreement with the majority of all votes; fewer than half of the pairs have a majority without one "
    "voter, so another voter is measured on these alone and is not comparable"
)
WIDTH = 160  # columns, if the output is not a terminal
TITLES = (
    "source (pairs/prompts)",
    "method",
    "accuracy",
    "over longer wins",
    "log-loss",
    "calibration error, that of a perfect judge",
)


def grade_table(rows: Sequence[dict[str, Any]]) -> Table:
    """One block for each source of votes: accuracy and log-loss of judges, baselines and voters."""
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0))
    for title in TITLES:
        long = title.startswith("source")
        table.add_column(title, no_wrap=title == "method", overflow="fold" if long else "ellipsis")
    for row in rows:
        source = f"{row['source']} ({row['pairs']}/{row['prompts']})"
        for method, loss in row["log_loss"].items():
            estimates = (row[column].get(method) for column in ("accuracy", "over_longer"))
            cells = [str(Estimate(**_numbers(estimate))) if estimate else "" for estimate in estimates]
            error = row["calibration_error"].get(method)
            calibrated = str(CalibrationError(**_numbers(error))) if error else ""
            table.add_row(source, method, *cells, str(Estimate(**_numbers(loss))), calibrated)
            source = ""
        table.add_row("", VOTER, str(Estimate(**_numbers(row["accuracy"][VOTER]))))
        table.add_row("", "two voters agree", str(Estimate(**_numbers(row["two_voters_agree"]))))
    return table


def _numbers(estimate: dict[str, float | None]) -> dict[str, float]:
    """An estimate as JSON holds it, where nan is null."""
    return {name: float("nan") if value is None else value for name, value in estimate.items()}


def notes(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The sentences below the table."""
    return [ALL_BUT_ONE if rows[-1]["leave_one_out"] else ALL, INTERVALS]
