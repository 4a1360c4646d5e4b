"""What one seed came to is a function of its own curve: known curves give known numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from nlhf.analysis.errors import AnalysisError
from nlhf.analysis.load import load
from nlhf.analysis.units import area, tail_rate, units
from nlhf.analysis.view import FLOOR, View
from tests.analysis.synthetic import STEP, geometric, write_run

SCHEDULE = [0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 60, 80, 100]
LOOK = View(target=1e-3)


def of(root, view=LOOK):
    return units(load(root), view).set_index(["method", "seed"])


def the(root, view=LOOK):
    (row,) = units(load(root), view).itertuples()
    return row


# --- exact geometric decay -------------------------------------------------------------------------------------------


def test_a_geometric_decay_gives_its_rate_and_its_hit_exactly(tmp_path):
    write_run(tmp_path, curves={0: geometric(0.5, 0.8, SCHEDULE, queries_each=2)},
              bounds={0: [0.9**k for k in SCHEDULE]})  # fmt: skip
    found = the(tmp_path)
    assert found.rate == pytest.approx(-np.log(0.8), rel=1e-12)
    assert found.bound_rate == pytest.approx(-np.log(0.9) / 2, rel=1e-12)
    assert (found.cost, found.reached) == (30, True)  # 0.5 * 0.8^N <= 1e-3 from N = 27.85 on: the row at 30
    assert found.final == pytest.approx(np.log10(0.5) + 200 * np.log10(0.8), rel=1e-12)
    assert (found.group, found.setting, found.method, found.algorithm, found.seed, found.beta, found.status) == (
        "random_tournament, beta = 0.05", "random_tournament, beta = 0.05", "nash_mp", "nash_mp", 0, 0.05, "completed",
    )  # fmt: skip


def test_every_cost_has_its_own_hit_and_rate(tmp_path):
    write_run(tmp_path, curves={0: geometric(0.5, 0.8, SCHEDULE, queries_each=2)})
    for cost, scale in (("iteration", 1), ("queries", 2), ("seconds", STEP)):
        found = the(tmp_path, View(target=1e-3, x=cost))
        assert found.cost == 15 * scale
        assert found.rate == pytest.approx(-2 * np.log(0.8) / scale, rel=1e-11)


def test_another_metric_is_another_question(tmp_path):
    write_run(tmp_path, curves={0: geometric(0.5, 0.8, SCHEDULE)},
              extra={"average_exploitability": {0: [0.5 / (1 + k) for k in SCHEDULE]}})  # fmt: skip
    found = the(tmp_path, View(metric="average_exploitability", target=0.01))
    assert (found.cost, found.reached) == (50, True)  # 0.5/51 is the first below 0.01
    assert found.final == pytest.approx(np.log10(0.5 / 101), rel=1e-12)
    assert np.isnan(found.rate)  # a power law has no linear rate


def test_the_first_row_may_be_there_already(tmp_path):
    write_run(tmp_path, curves={0: [(0, 0, 1e-4)]})
    found = the(tmp_path)
    assert (found.cost, found.reached, found.final) == (0, True, -4)
    assert np.isnan(found.area)
    assert np.isnan(found.rate)


def test_a_target_is_reached_first_where_it_is_reached_first(tmp_path):
    write_run(tmp_path, curves={0: [(k, k, value) for k, value in enumerate([1, 0.1, 1e-3, 0.2, 1e-9])]})
    assert (the(tmp_path).cost, the(tmp_path).reached) == (2, True)  # equal to the target is enough


def test_an_exact_zero_counts_as_the_floor(tmp_path):
    write_run(tmp_path, curves={0: [(0, 0, 0.1), (1, 1, 0.0)]})
    assert the(tmp_path).final == pytest.approx(np.log10(FLOOR), rel=1e-15)


def test_rows_are_ordered_by_iteration_whatever_their_order(tmp_path):
    write_run(tmp_path, curves={0: geometric(0.5, 0.8, SCHEDULE), 1: geometric(0.5, 0.9, SCHEDULE)})
    data = load(tmp_path)
    shuffled = data.sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(units(shuffled, LOOK), units(data, LOOK))


# --- what has not ended, or badly ------------------------------------------------------------------------------------


def test_what_a_run_came_to_depends_on_how_it_ended(tmp_path):
    curve = [(0, 0, 0.5), (1, 1, 0.1), (2, 2, 0.05)]
    for status in ("completed", "failed", "interrupted", None):
        write_run(tmp_path, str(status), curves={0: curve}, status=status)
    found = of(tmp_path).reset_index().set_index("method")
    last = np.log10(0.05)
    assert found["final"].to_dict() == pytest.approx(
        {"completed": last, "failed": np.inf, "interrupted": np.nan, "None": np.nan}, nan_ok=True
    )
    assert found["cost"].to_dict() == {"completed": 2, "failed": np.inf, "interrupted": 2, "None": 2}
    assert not found["reached"].any()
    area_of = (np.log10(0.1) + last) / 2
    assert found["area"].to_dict() == pytest.approx(
        {"completed": area_of, "failed": np.inf, "interrupted": np.nan, "None": np.nan}, nan_ok=True
    )
    assert found["status"].to_dict() == {name: "unfinished" if name == "None" else name for name in found.index}


def test_a_run_that_reached_its_target_has_a_cost_however_it_ended(tmp_path):
    curve = [(0, 0, 0.5), (1, 1, 1e-3), (2, 2, float("nan"))]
    for status in ("completed", "failed", "interrupted", None):
        write_run(tmp_path, str(status), curves={0: curve}, status=status)
    found = of(tmp_path)
    assert found["cost"].tolist() == [1, 1, 1, 1]
    assert found["reached"].all()
    assert found["final"].tolist() == pytest.approx(
        [np.nan, np.nan, np.inf, np.nan], nan_ok=True
    )  # by name: None first


def test_a_last_value_that_was_not_measured_is_not_known(tmp_path):
    write_run(tmp_path, curves={0: [(0, 0, 0.5), (1, 1, 0.1), (2, 2, float("nan"))]})
    assert np.isnan(the(tmp_path).final)
    assert np.isnan(the(tmp_path).area)


# --- area ------------------------------------------------------------------------------------------------------------


def test_the_area_is_the_mean_over_the_logarithm_of_the_cost(tmp_path):
    places = [1, 10, 100, 1000]
    write_run(tmp_path, curves={0: [(0, 0, 1.0)] + [(k, k, 1 / k) for k in places]})
    assert the(tmp_path).area == pytest.approx(-1.5, rel=1e-14)  # log10 = -x for x in [0, 3]


def test_a_run_that_ends_early_keeps_its_last_value_to_the_longest_of_its_setting(tmp_path):
    write_run(tmp_path, "omd", curves={0: [(1, 1, 0.1), (10, 10, 0.01)]})
    write_run(tmp_path, "mpo", curves={0: [(1, 1, 0.1), (10**4, 10**4, 0.1)]})
    write_run(tmp_path, "egpo", curves={0: [(1, 1, 0.1), (10**9, 10**9, 0.1)]}, status=None)  # may go on: no measure
    write_run(tmp_path, "omd", "circle", curves={0: [(1, 1, 0.1), (10, 10, 0.01)]})
    found = units(load(tmp_path), LOOK).set_index(["setting", "method"])["area"]
    assert found["random_tournament, beta = 0.05", "omd"] == pytest.approx((-1.5 - 3 * 2) / 4, rel=1e-14)
    assert found["random_tournament, beta = 0.05", "mpo"] == pytest.approx(-1, rel=1e-14)
    assert found["circle, beta = 0.05", "omd"] == pytest.approx(-1.5, rel=1e-14)


@pytest.mark.parametrize(
    ("cost", "logs", "horizon", "expected"),
    [([0, 1], [0, -3], 1, -3), ([5], [-2], 5, -2), ([5], [-2], 500, -2), ([0], [-2], 10, np.nan)],
)
def test_an_area_without_width_is_its_value(cost, logs, horizon, expected):
    assert area(np.array(cost, float), np.array(logs, float), horizon) == pytest.approx(expected, nan_ok=True)


# --- the rate of the tail --------------------------------------------------------------------------------------------

COST = np.array(SCHEDULE, float)


def test_the_rate_is_that_of_the_tail_and_not_of_the_start():
    metric = np.where(COST < 25, 1 / (1 + COST), 3 * np.exp(-0.25 * COST))
    assert tail_rate(COST, metric) == pytest.approx(0.25, rel=1e-12)  # rows from 100/4 on


def test_rounding_behind_the_tail_does_not_hide_its_rate():
    metric = np.exp(-COST)
    metric[COST > 50] = 1e-33
    assert tail_rate(COST, metric) == pytest.approx(1, rel=1e-12)  # rows from 12 to 50, above 1e-26


def test_missing_values_are_left_out_of_the_tail():
    metric = np.exp(-0.1 * COST)
    metric[-3] = np.nan
    assert tail_rate(COST, metric) == pytest.approx(0.1, rel=1e-12)


def test_noise_is_averaged_over():
    rng = np.random.default_rng(0)
    cost = np.arange(1.0, 2001)
    rate = tail_rate(cost, np.exp(-0.01 * cost + 0.1 * rng.standard_normal(2000)))
    assert rate == pytest.approx(0.01, rel=0.001)  # standard error: 0.1/sqrt(1500 * 1500^2/12) = 6e-6


@pytest.mark.parametrize(
    "metric",
    [
        1 / (1 + COST),
        0.3 + 0.1 * np.cos(COST),
        np.full(len(COST), 0.1),
        np.full(len(COST), 1e-33),
        np.full(len(COST), np.nan),
        np.exp(-0.1 * COST) + 0.05,
    ],
    ids=["power law", "cycle", "constant", "rounding", "missing", "plateau"],
)
def test_what_is_no_line_has_no_rate(metric):
    assert np.isnan(tail_rate(COST, metric))


def test_no_constant_has_a_rate():
    rng = np.random.default_rng(0)
    for value in np.exp(5 * rng.standard_normal(500)):  # for some of these the mean of equal numbers is another number
        assert np.isnan(tail_rate(np.arange(10.0, 17), np.full(7, value)))


def test_a_growing_metric_has_a_negative_rate():
    assert tail_rate(COST, np.exp(0.1 * COST)) == pytest.approx(-0.1, rel=1e-12)


def test_too_few_rows_and_rows_of_one_cost_have_no_rate():
    assert np.isnan(tail_rate(np.array([0.0, 10, 11, 12]), np.exp(-np.array([0.0, 10, 11, 12]))))
    assert np.isnan(tail_rate(np.zeros(5), np.exp(-np.arange(5.0))))  # a clock that stands still


# --- replications ----------------------------------------------------------------------------------------------------


def test_copies_are_replicas_of_the_first_and_nothing_else_is(tmp_path):
    curve = geometric(0.5, 0.8, SCHEDULE)
    other = [*curve[:-1], (100, 100, np.nextafter(curve[-1][2], 1))]
    write_run(tmp_path, curves={0: curve, 1: curve, 2: other, 3: curve[:-1]})
    write_run(tmp_path, curves={4: curve}, study="another")
    write_run(tmp_path, "omd", curves={0: curve})
    write_run(tmp_path, "nash_mp", "circle", curves={0: curve})
    found = units(load(tmp_path), LOOK).set_index(["setting", "method", "seed"])["replica"]
    assert found[found].index.tolist() == [("random_tournament, beta = 0.05", "nash_mp", seed) for seed in (1, 4)]


def test_seeds_of_several_runs_are_seeds_of_one_method(tmp_path):
    write_run(tmp_path, curves={0: geometric(0.5, 0.8, SCHEDULE), 1: geometric(0.4, 0.8, SCHEDULE)})
    two = write_run(tmp_path, curves={7: geometric(0.3, 0.8, SCHEDULE)}, study="more", status="failed")
    found = of(tmp_path)
    assert found.index.tolist() == [("nash_mp", 0), ("nash_mp", 1), ("nash_mp", 7)]
    assert found["status"].tolist() == ["completed", "completed", "failed"]
    assert found.loc[("nash_mp", 7), "folder"] == str(two)


# --- questions -------------------------------------------------------------------------------------------------------


def test_groups_are_settings_or_what_is_asked_for(tmp_path):
    for beta in (0.05, 0.1):
        for game in ("circle", "votes"):
            write_run(tmp_path, "omd", game, beta, curves={0: [(0, 0, 0.1)]}, game__actions=3)
    data = load(tmp_path)
    assert set(units(data, LOOK)["group"]) == {f"{g}, beta = {b}" for g in ("circle", "votes") for b in (0.05, 0.1)}
    assert units(data, View(by=("beta",)))["group"].value_counts().to_dict() == {"beta = 0.05": 2, "beta = 0.1": 2}
    assert set(units(data, View(by=("game", "game.actions")))["group"]) == {
        "circle, actions = 3", "votes, actions = 3",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"metric": "loss"}, r"--metric=loss is unknown: give one of exploitability, .*span_to_equilibrium"),
        ({"x": "epochs"}, r"--x=epochs is unknown: give one of queries, iteration, seconds"),
        ({"target": 0.0}, r"--target=0 is no target: give a number > 0"),
        ({"target": float("nan")}, r"--target=nan is no target"),
        ({"target": float("inf")}, r"--target=inf is no target"),
        ({"by": ("colour",)}, r"--by=colour is no column: give game, beta, or a key of the configs \(.*beta.*\)"),
        ({"metric": "span_to_equilibrium"}, r"was measured in no run: give one of exploitability, kl_to_equilibrium"),
    ],
)
def test_a_question_that_cannot_be_answered_is_refused_with_a_remedy(tmp_path, keys, problem):
    write_run(tmp_path, curves={0: [(0, 0, 0.1)]})
    with pytest.raises(AnalysisError, match=problem):
        units(load(tmp_path), View(**keys))
