"""The ranked table fits 100 columns whatever the names, and says what `summarise` says."""

from __future__ import annotations

import io
import math

import pytest
from rich.console import Console

from nlhf.analysis import ranking_table
from nlhf.analysis.criterion import Criterion
from nlhf.analysis.ranking_table import cost_of, spread, tenths
from nlhf.analysis.results import analyse
from tests.analysis.synthetic import geometric, write_run

SCHEDULE = [0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 60, 80, 100]
CRITERION = Criterion(target=1e-3)
INF, NAN = math.inf, math.nan


def printed(root, criterion=CRITERION):
    stream = io.StringIO()
    ranking_table.show(
        analyse(root, criterion), Console(file=stream, width=ranking_table.WIDTH, markup=False, highlight=False)
    )
    return stream.getvalue()


def study(root, methods, games=("circle",), seeds=6, **options):
    for number, method in enumerate(methods):
        for game in games:
            curves = {s: geometric(0.1 + s / 50, 0.5 + 0.48 * number / len(methods), SCHEDULE, 7) for s in range(seeds)}
            bounds = {seed: [0.9**queries for _, queries, _ in curve] for seed, curve in curves.items()}
            write_run(root, method, game, curves=curves, bounds=bounds, **options)


def cells(line):
    return line.split()


def test_the_best_stands_first_with_its_cost_last_value_rates_and_p(tmp_path):
    """0.15 2^-q = 1e-3 at q = 7.2 for the middle seed; the two that stand around it are 0.14 and 0.16."""
    study(tmp_path, ["omd", "nash_mp"], seeds=6)
    title, head, first, second = printed(tmp_path).splitlines()[1:5]
    assert title.strip() == "circle, beta = 0.05 (6 seeds)"
    assert cells(head)[:4] == ["method", "queries", "to", "0.001"]
    costs = [math.log(1e-3 / level) / math.log(0.5) for level in (0.14, 0.16)]
    assert cells(first)[:3] == ["1", "omd", f"{math.sqrt(costs[0] * costs[1]):.3g}"]
    assert cells(second)[:2] == ["2", "nash_mp"]
    assert cells(first)[-4:] == ["0.69", "0.11", "-", "-"]  # ln 2, ln(1/0.9)
    assert cells(second)[-4].startswith("2")  # log(0.74)/log(0.5) = 2.3 times the cost
    assert cells(second)[-1] == "0.031"  # 2/2^6


def test_over_several_groups_there_is_a_table_of_all(tmp_path):
    study(tmp_path, ["omd", "nash_mp"], ("circle", "votes"))
    text = printed(tmp_path)
    last = text[text.index("over all 2 settings") :].splitlines()
    assert cells(last[1])[:4] == ["method", "settings", "won", "reached"]
    assert cells(last[2])[:4] == ["1", "omd", "2", "100%"]
    assert cells(last[3])[:4] == ["2", "nash_mp", "0", "100%"]
    assert text.count("\n\n") == 2  # a line between tables


def test_what_failed_or_goes_on_says_so(tmp_path):
    study(tmp_path, ["nash_mp"])
    study(tmp_path, ["omd"], status="failed")
    study(tmp_path, ["sppo"], status=None, seeds=3)
    text = printed(tmp_path)
    assert "omd, 6 seeds, 1 failed" in text
    assert "sppo, 3 seeds, 1 unfinished" in text
    assert "∞" in next(line for line in text.splitlines() if "omd" in line)
    assert "inf" not in text
    assert "nan" not in text


def test_a_share_that_reached_the_target_is_told(tmp_path):
    ends = {seed: 1e-4 + seed / 1e5 if seed < 4 else seed / 10 for seed in range(6)}
    curves = {seed: [(0, 0, 1.0), (1, 10 + seed, end), (2, 50, end)] for seed, end in ends.items()}
    write_run(tmp_path, "nash_mp", curves=curves)
    assert "(67%)" in printed(tmp_path)


def test_methods_with_a_caveat_carry_a_mark_and_a_note(tmp_path):
    study(tmp_path, ["sppo"], summary={"method": {"caveat": "its last iterate cycles"}})
    study(tmp_path, ["omd"])
    text = printed(tmp_path)
    assert "sppo †" in text
    assert "omd †" not in text
    assert text.rstrip().endswith("† sppo: its last iterate cycles.")


def test_many_groups_are_left_out_with_a_word(tmp_path):
    study(tmp_path, ["omd", "nash_mp"], [f"game{k}" for k in range(ranking_table.MOST_GROUPS + 3)], seeds=1)
    text = printed(tmp_path)
    assert "3 more groups: see report.html, or choose columns with --by." in text
    assert text.count("queries to") == ranking_table.MOST_GROUPS


LONG = "a_very_long_name_that_somebody_chose_without_thinking_of_tables"


@pytest.mark.parametrize("case", ["long names", "many methods", "large numbers", "seconds"])
def test_no_line_is_longer_than_100_columns_and_no_number_is_cut(tmp_path, case):
    criterion = CRITERION
    if case == "long names":
        for option in "xy":
            study(tmp_path, [f"{LONG}_{k}" for k in range(3)], [f"{LONG}_game"], game__path=f"/{option * 60}.csv",
                  prox__option=option * 50, summary={"method": {"caveat": f"it {LONG} is {LONG}"}})  # fmt: skip
    elif case == "many methods":
        study(tmp_path, [f"predictive_regret_matching_{k}" for k in range(14)], seeds=5)
    elif case == "large numbers":
        for method in ("nash_mp", "predictive_regret_matching"):
            curves = {
                seed: [(0, 0, 1.0), (1, 10**8 + 12_345_678 * seed, 1e-30 / (1 + seed)), (2, 2 * 10**9, 1e-33)]
                for seed in range(9)
            }
            write_run(tmp_path, method, curves=curves)
    else:
        criterion = Criterion("average_exploitability", 1.234e-7, x="seconds")
        curves = {seed: geometric(1 + seed, 0.5, SCHEDULE) for seed in range(6)}
        average = {seed: [value for *_, value in curve] for seed, curve in curves.items()}
        times = {seed: [k * 1234.56789 + seed for k in SCHEDULE] for seed in range(6)}
        write_run(tmp_path, curves=curves, extra={"average_exploitability": average, "seconds": times})
    text = printed(tmp_path, criterion)
    assert max(len(line) for line in text.splitlines()) <= 100
    assert "…" not in text
    rows = [line for line in text.splitlines() if line[:2].strip().isdigit()]
    assert rows
    for row in rows:
        assert row.count("[") == row.count("]")


def test_brackets_in_names_are_no_markup(tmp_path):
    for drop in ("[gpt4]", "[bold]"):
        study(tmp_path, ["omd"], game__drop=drop)
    text = printed(tmp_path)
    assert "drop = [gpt4]" in text
    assert "drop = [bold]" in text


@pytest.mark.parametrize(
    ("ends", "text"),
    [((51, 43, 60), "51 [43, 60]"), ((51, 51, 51), "51"), ((51, NAN, NAN), "51"), ((INF, 20, INF), "∞ [20, ∞]"),
     ((1250, 1000, 2e6), "1,250 [1,000, 2,000,000]")],
)  # fmt: skip
def test_numbers_are_shown_with_their_intervals(ends, text):
    assert spread(*ends) == text


@pytest.mark.parametrize(
    ("ends", "text"),
    [((51, 43, 60), "51 [43, 60]"), ((51, 43, INF), "51 [43, > 5,000]"), ((INF, 43, INF), "> 5,000 [43, > 5,000]"),
     ((INF, INF, INF), "> 5,000"), ((INF, NAN, NAN), "> 5,000"), ((51, NAN, NAN), "51")],
)  # fmt: skip
def test_a_cost_that_more_than_half_do_not_come_down_to_is_more_than_the_budget(ends, text):
    row = dict(zip(("cost", "cost_low", "cost_high"), ends, strict=True)) | {"spent": 5000}
    assert cost_of(row) == text


@pytest.mark.parametrize(
    ("ends", "text"),
    [((-12.84, -13.02, -12.46), "-12.8 [-13.0, -12.5]"), ((-1, NAN, NAN), "-1.0"), ((NAN, NAN, NAN), "-"),
     ((INF, INF, INF), "∞"), ((-1, -2, INF), "-1.0 [-2.0, ∞]")],
)  # fmt: skip
def test_logarithms_are_shown_to_tenths(ends, text):
    assert tenths(*ends) == text
