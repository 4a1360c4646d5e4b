"""What one seed came to is a function of its own curve: known curves give known numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from nlhf.analysis.criterion import METRICS, Criterion
from nlhf.analysis.errors import AnalysisError
from nlhf.analysis.observations import observations
from nlhf.analysis.rates import GEOMETRIC
from nlhf.analysis.study import load
from nlhf.stats.curves import FLOOR, area, tail_rate, value_at
from tests.analysis.synthetic import STEP, geometric, write_run

SCHEDULE = [0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 60, 80, 100]
LOOK = Criterion(target=1e-3)


def of(root, criterion=LOOK):
    return observations(load(root), criterion).set_index(["method", "seed"])


def the(root, criterion=LOOK):
    (row,) = observations(load(root), criterion).itertuples()
    return row


# --- exact geometric decay -------------------------------------------------------------------------------------------


def test_a_geometric_decay_gives_its_rate_and_its_hit_exactly(tmp_path):
    write_run(tmp_path, curves={0: geometric(0.5, 0.8, SCHEDULE, queries_each=2)},
              bounds={0: [0.9**k for k in SCHEDULE]})  # fmt: skip
    found = the(tmp_path)
    assert found.rate == pytest.approx(-np.log(0.8), rel=1e-12)
    assert found.bound_rate == pytest.approx(-np.log(0.9) / 2, rel=1e-12)
    assert found.reached
    assert found.cost == pytest.approx(np.log(0.5 / 1e-3) / -np.log(0.8), rel=1e-13)  # 27.85, between rows at 24 and 30
    assert found.score == pytest.approx(np.log10(found.cost), rel=1e-15)
    assert found.spent == 200
    assert found.final == pytest.approx(np.log10(0.5) + 200 * np.log10(0.8), rel=1e-12)
    assert (found.group, found.setting, found.method, found.algorithm, found.seed, found.beta, found.status) == (
        "random_tournament, beta = 0.05", "random_tournament, beta = 0.05", "nash_mp", "nash_mp", 0, 0.05, "completed",
    )  # fmt: skip


def test_every_cost_has_its_own_hit_and_rate(tmp_path):
    write_run(tmp_path, curves={0: geometric(0.5, 0.8, SCHEDULE, queries_each=2)})
    for cost, scale in (("iteration", 1), ("queries", 2), ("seconds", STEP)):
        found = the(tmp_path, Criterion(target=1e-3, x=cost))
        assert found.cost == pytest.approx(np.log(0.5 / 1e-3) / found.rate, rel=1e-11)
        assert found.cost == pytest.approx(13.925 * scale, rel=1e-4)
        assert found.spent == 100 * scale
        assert found.rate == pytest.approx(-2 * np.log(0.8) / scale, rel=1e-11)


def test_another_metric_is_another_question(tmp_path):
    write_run(tmp_path, curves={0: geometric(0.5, 0.8, SCHEDULE)},
              extra={"average_exploitability": {0: [0.5 / (1 + k) for k in SCHEDULE]}})  # fmt: skip
    found = the(tmp_path, Criterion(metric="average_exploitability", target=0.01))
    assert found.reached
    assert found.cost == pytest.approx(40 + 10 * np.log(50 / 41) / np.log(51 / 41), rel=1e-12)  # 0.5/50 is 0.01
    assert found.final == pytest.approx(np.log10(0.5 / 101), rel=1e-12)
    assert np.isnan(found.rate)  # a power law has no linear rate


def test_the_first_row_may_be_there_already(tmp_path):
    write_run(tmp_path, curves={0: [(0, 0, 1e-4)]})
    found = the(tmp_path)
    assert (found.cost, found.reached, found.final, found.area) == (0, True, -4, -3)
    assert np.isnan(found.rate)


def test_a_target_is_reached_first_where_it_is_reached_first(tmp_path):
    write_run(tmp_path, curves={0: [(k, k, value) for k, value in enumerate([1, 0.1, 1e-3, 0.2, 1e-9])]})
    assert (the(tmp_path).cost, the(tmp_path).reached) == (2, True)  # equal to the target is enough


def test_an_exact_zero_counts_as_the_floor(tmp_path):
    write_run(tmp_path, curves={0: [(0, 0, 0.1), (1, 1, 0.0)]})
    assert the(tmp_path).final == pytest.approx(np.log10(FLOOR), rel=1e-15)
    assert the(tmp_path).cost == pytest.approx(2 / 32, rel=1e-13)  # two of the decades from 1e-1 to 1e-33


IRREGULAR = [(0, 1.0), (7, 0.3), (9, 0.02), (30, 0.004), (31, 0.5), (50, 1e-5)]


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (0.1, 7 + 2 * np.log(3) / np.log(15)),
        (0.01, 9 + 21 * np.log(2) / np.log(5)),
        (0.02, 9),
        (0.004, 30),
        (1e-3, 31 + 19 * np.log(500) / np.log(50_000)),  # from the row before, not from the lowest
        (2.0, 0),
    ],
)
def test_a_target_is_reached_on_the_line_between_two_rows(tmp_path, target, expected):
    write_run(tmp_path, curves={0: [(k, k, value) for k, value in IRREGULAR]})
    found = the(tmp_path, Criterion(target=target))
    assert found.reached
    assert found.cost == pytest.approx(expected, rel=1e-13)


def test_how_often_a_geometric_decay_is_looked_at_is_no_merit(tmp_path):
    """The same decay, recorded at every query and at a few of them."""
    for name, places in (("omd", range(101)), ("mpo", SCHEDULE), ("egpo", [0, 100])):
        write_run(tmp_path, name, curves={0: geometric(0.5, 0.8, places)})
    assert of(tmp_path)["cost"].tolist() == pytest.approx([np.log(500) / -np.log(0.8)] * 3, rel=1e-13)


@pytest.mark.parametrize("before", [float("nan"), float("inf")])
def test_there_is_no_line_from_a_row_that_is_no_number(tmp_path, before):
    write_run(tmp_path, curves={0: [(0, 0, 0.5), (10, 10, before), (20, 20, 1e-4)]})
    assert (the(tmp_path).cost, the(tmp_path).reached) == (20, True)


def test_rows_are_ordered_by_iteration_whatever_their_order(tmp_path):
    write_run(tmp_path, curves={0: geometric(0.5, 0.8, SCHEDULE), 1: geometric(0.5, 0.9, SCHEDULE)})
    data = load(tmp_path)
    shuffled = data.sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(observations(shuffled, LOOK), observations(data, LOOK))


# --- the score -------------------------------------------------------------------------------------------------------


def test_the_score_counts_a_miss_at_the_smallest_budget_of_all_methods(tmp_path):
    hit, miss = [(0, 0, 0.5), (1, 1, 0.1), (2, 20, 1e-5)], [(0, 0, 0.1), (5, 50, 0.01)]
    write_run(tmp_path, "hit", curves={0: hit})
    write_run(tmp_path, "miss", curves={0: miss})
    write_run(tmp_path, "long", curves={0: [*miss, (100, 1000, 0.001)]})  # reaches it after the horizon
    write_run(tmp_path, "broken", curves={0: miss[:1]}, status="failed")
    write_run(tmp_path, "broken_late", curves={0: hit}, status="failed")
    write_run(tmp_path, "stopped", curves={0: miss[:1]}, status="interrupted")
    write_run(tmp_path, "killed", curves={0: miss[:1]}, status=None)
    write_run(tmp_path, "killed_late", curves={0: hit}, status=None)
    write_run(tmp_path, "miss", "circle", curves={0: miss})
    found = observations(load(tmp_path), LOOK).set_index(["setting", "method"])
    of_game = found.loc["random_tournament, beta = 0.05"]
    there, horizon = np.log10(10.5), np.log10(50)  # half of the decades from 1e-1 to 1e-5, halfway from 1 to 20
    assert set(of_game["horizon"]) == {50}
    assert of_game["score"].to_dict() == pytest.approx(
        {"hit": there, "miss": horizon, "long": horizon, "broken": horizon, "broken_late": there, "stopped": horizon,
         "killed": horizon, "killed_late": there}, rel=1e-13,
    )  # fmt: skip
    assert of_game["hit"].to_dict() == {name: name in ("hit", "broken_late", "killed_late") for name in of_game.index}
    assert of_game.loc["long", "reached"]
    values = of_game["value"].to_dict()
    assert (values["miss"], values["long"], values["broken"], values["stopped"]) == (-2, -2, np.inf, np.inf)
    assert found.loc[("circle, beta = 0.05", "miss"), "score"] == pytest.approx(horizon, rel=1e-15)


def test_the_user_may_choose_the_horizon(tmp_path):
    write_run(tmp_path, "a", curves={0: geometric(0.5, 0.8, SCHEDULE)})
    for horizon, hit in ((27, False), (28, True)):
        found = the(tmp_path, Criterion(target=1e-3, horizon=horizon))
        assert (found.horizon, found.hit) == (horizon, hit)
    assert not observations(load(tmp_path), Criterion(target=1e-3, horizon=28), share=0.5)["hit"].any()
    with pytest.raises(AnalysisError, match="--horizon=0 is out of range: give a cost > 0"):
        Criterion(horizon=0)


def test_a_value_lies_on_the_line_between_two_rows():
    cost, logs = np.array([0.0, 10, 20]), np.array([0.0, -1, -3])
    values = [value_at(cost, logs, horizon) for horizon in (-1, 0, 15, 20, 99)]
    assert values == [0, 0, -2, -3, -3]
    assert value_at(cost, np.full(3, np.nan), 5) == np.inf


def test_a_score_is_at_least_that_of_the_first_row_behind_the_start(tmp_path):
    write_run(tmp_path, "omd", curves={0: [(0, 0, 1e-4), (1, 4, 1e-5), (2, 8, 1e-6)]})
    write_run(tmp_path, "mpo", curves={0: [(0, 0, 0.1), (1, 4, 1e-9), (2, 8, 1e-9)]})  # crosses at a query
    write_run(tmp_path, "egpo", curves={0: [(0, 0, 1e-4)]})
    found = of(tmp_path).droplevel("seed")
    assert found["cost"].to_dict() == pytest.approx({"egpo": 0, "mpo": 1, "omd": 0}, rel=1e-13)
    assert found["score"].to_dict() == pytest.approx(
        {"egpo": np.log10(4), "mpo": np.log10(4), "omd": np.log10(4)}, rel=1e-13
    )


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
    assert found["spent"].tolist() == [2, 2, 2, 2]
    assert found["reached"].all()
    assert found["final"].tolist() == pytest.approx(
        [np.nan, np.nan, np.inf, np.nan], nan_ok=True
    )  # by name: None first


def test_a_last_value_that_was_not_measured_is_not_known(tmp_path):
    write_run(tmp_path, curves={0: [(0, 0, 0.5), (1, 1, 0.1), (2, 2, float("nan"))]})
    assert np.isnan(the(tmp_path).final)
    assert np.isnan(the(tmp_path).area)


def test_what_never_measured_the_metric_is_left_out_unless_it_failed(tmp_path):
    missing = float("nan")
    rows, never, once = [(0, 0, 0.1), (1, 1, 0.01)], {0: [missing] * 2}, {0: [0.1, missing]}
    for name, status, values in (
        ("never", "completed", never), ("never_killed", None, never), ("never_failed", "failed", never),
        ("once", "completed", once), ("always", "completed", {0: [0.1, 0.05]}),
    ):  # fmt: skip
        write_run(tmp_path, name, curves={0: rows}, status=status, extra={"span_to_equilibrium": values})
    write_run(tmp_path, "seeds", curves={0: rows, 1: rows},
              extra={"span_to_equilibrium": {0: [0.1, 0.01], 1: [missing] * 2}})  # fmt: skip
    found = of(tmp_path, Criterion(metric="span_to_equilibrium", target=1e-3))
    assert found.index.tolist() == [("always", 0), ("never_failed", 0), ("once", 0), ("seeds", 0)]
    failed = found.loc[("never_failed", 0)]
    assert failed[["cost", "final", "area", "score", "reached"]].tolist() == [np.inf, np.inf, np.inf, 0, False]


# --- area ------------------------------------------------------------------------------------------------------------


def test_the_area_is_the_mean_over_the_logarithm_of_the_cost(tmp_path):
    places = [1, 10, 100, 1000]
    write_run(tmp_path, curves={0: [(0, 0, 1.0)] + [(k, k, 1 / k) for k in places]})
    assert the(tmp_path).area == pytest.approx(-1.5, rel=1e-14)  # log10 = -x for x in [0, 3]


def test_values_below_the_target_count_as_the_target_in_an_area(tmp_path):
    """Against the mean over a million places, by hand: the curve's clipped rows, joined by lines."""
    rows = [(0, 0, 0.7), (2, 2, 0.5), (5, 5, 0.01), (11, 11, 1e-9), (40, 40, 0.02), (100, 100, 1e-5)]
    write_run(tmp_path, "omd", curves={0: rows})
    write_run(tmp_path, "mpo", curves={0: [(0, 0, 0.5), (1000, 1000, 0.5)]})
    places = np.linspace(np.log10(2), 3, 1_000_001)
    logs = np.interp(places, np.log10([2, 5, 11, 40, 100]), [np.log10(0.5), -2, -3, np.log10(0.02), -3])
    assert of(tmp_path).loc[("omd", 0), "area"] == pytest.approx(logs.mean(), abs=1e-5)


def test_how_far_the_last_step_overshoots_the_target_is_no_merit(tmp_path):
    for name, last in (("just", 1e-3), ("far", 1e-12), ("exactly", 0.0)):
        write_run(tmp_path, name, curves={0: [(0, 0, 1.0), (1, 1, 0.1), (10, 10, last), (100, 100, last)]})
    assert of(tmp_path)["area"].tolist() == pytest.approx([-2.5] * 3, rel=1e-14)  # -2 and -3 over a decade each


def test_areas_reach_from_the_first_row_of_any_method_to_the_horizon(tmp_path):
    write_run(tmp_path, "omd", curves={0: [(0, 0, 1.0), (1, 1, 0.1), (10, 10, 0.01)]})  # ends early, at the target
    write_run(tmp_path, "mpo", curves={0: [(0, 0, 1.0), (1, 1, 0.1), (10**4, 10**4, 0.1)]})  # the horizon
    write_run(tmp_path, "dear", curves={0: [(0, 0, 1.0), (1, 100, 0.1), (2, 10**5, 0.1)]})  # expensive first steps
    write_run(tmp_path, "egpo", curves={0: [(1, 1, 0.1), (10**9, 10**9, 0.1)]}, status=None)  # may continue: no area
    write_run(tmp_path, "omd", "circle", curves={0: [(1, 1, 0.1), (10, 10, 0.01)]})
    found = observations(load(tmp_path), Criterion(target=0.01)).set_index(["setting", "method"])["area"]
    assert found["random_tournament, beta = 0.05", "omd"] == pytest.approx((-1.5 - 3 * 2) / 4, rel=1e-14)
    assert found["random_tournament, beta = 0.05", "mpo"] == pytest.approx(-1, rel=1e-14)
    start = np.interp(1, [0, 100], [0, -1])  # the curve between its rows, from the first cost of the others
    dear = ((start - 1) / 2 * 2 - 1 * 2) / 4
    assert found["random_tournament, beta = 0.05", "dear"] == pytest.approx(dear, rel=1e-14)
    assert found["circle, beta = 0.05", "omd"] == pytest.approx(-1.5, rel=1e-14)


@pytest.mark.parametrize(
    ("cost", "logs", "start", "horizon", "expected"),
    [([0, 1], [0, -3], 1, 1, -3), ([5], [-2], 5, 5, -2), ([5], [-2], 1, 500, -2), ([0], [-2], 1, 10, -2)],
)
def test_an_area_without_width_is_its_value(cost, logs, start, horizon, expected):
    assert area(np.array(cost, float), np.array(logs, float), start, horizon) == pytest.approx(expected)


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


# --- the rate that is promised ---------------------------------------------------------------------------------------


def with_bound(root, bounds, criterion):
    extra = {name: {0: [0.5 * 0.8**k for k in SCHEDULE]} for name in METRICS}
    write_run(root, curves={0: geometric(0.5, 0.8, SCHEDULE, queries_each=2)}, bounds={0: bounds}, extra=extra)
    return the(root, criterion)


@pytest.mark.parametrize(
    ("metric", "factor"),
    [("kl_to_equilibrium", 1), ("exploitability", 1), ("span_to_equilibrium", 1 / 2),
     ("exploitability_unregularised", np.nan), ("average_exploitability", np.nan)],
)  # fmt: skip
def test_a_bound_of_the_divergence_promises_its_rate_to_what_it_bounds_and_half_to_the_span(tmp_path, metric, factor):
    """The span is a norm, and the divergence falls like the square of one."""
    bounds = [0.9**k for k in SCHEDULE]
    found = with_bound(tmp_path, bounds, Criterion(metric=metric, target=1e-3))
    assert found.bound_rate == pytest.approx(-factor * np.log(0.9) / 2, rel=1e-12, nan_ok=True)
    per_iteration = the(tmp_path, Criterion(metric=metric, target=1e-3, x="iteration"))
    assert per_iteration.bound_rate == pytest.approx(-factor * np.log(0.9), rel=1e-12, nan_ok=True)
    assert np.isnan(the(tmp_path, Criterion(metric=metric, target=1e-3, x="seconds")).bound_rate)


@pytest.mark.parametrize(
    "bounds",
    [
        [0.9**k + 1e-5 for k in SCHEDULE],
        [0.9**k * (1 + k) ** 0.2 for k in SCHEDULE],
        [1 / (1 + k) for k in SCHEDULE],
        [0.1] * len(SCHEDULE),
        [float("nan")] * len(SCHEDULE),
    ],
    ids=["levels off", "bent", "power law", "constant", "none"],
)
def test_a_bound_that_is_no_straight_line_promises_no_rate(tmp_path, bounds):
    assert np.isnan(with_bound(tmp_path, bounds, LOOK).bound_rate)


def test_a_bound_must_be_straighter_than_a_curve():
    levels = 0.9**COST + 1e-5
    assert tail_rate(COST, levels) == pytest.approx(-np.log(0.9), rel=0.1)
    assert np.isnan(tail_rate(COST, levels, GEOMETRIC))


# --- replications ----------------------------------------------------------------------------------------------------


def test_copies_are_replicas_of_the_first_and_nothing_else_is(tmp_path):
    curve = geometric(0.5, 0.8, SCHEDULE)
    other = [*curve[:-1], (100, 100, np.nextafter(curve[-1][2], 1))]
    write_run(tmp_path, curves={0: curve, 1: curve, 2: other, 3: curve[:-1]})
    write_run(tmp_path, curves={4: curve}, study="another")
    write_run(tmp_path, "omd", curves={0: curve})
    write_run(tmp_path, "nash_mp", "circle", curves={0: curve})
    found = observations(load(tmp_path), LOOK).set_index(["setting", "method", "seed"])["replica"]
    assert found[found].index.tolist() == [("random_tournament, beta = 0.05", "nash_mp", seed) for seed in (1, 4)]


def test_the_seeds_of_a_run_share_one_clock_and_runs_do_not(tmp_path):
    """Against seconds every run is one observation, whatever the seeds of its batch came to."""
    curves = {seed: geometric(0.5 + seed / 100, 0.8, SCHEDULE) for seed in range(6)}
    write_run(tmp_path, curves={seed: curves[seed] for seed in (0, 1, 2)})
    write_run(tmp_path, curves={seed: curves[seed] for seed in (3, 4)}, study="another")
    write_run(tmp_path, "omd", curves={0: curves[0], 5: curves[5]})
    timed, counted = of(tmp_path, Criterion(target=1e-3, x="seconds")), of(tmp_path)
    assert timed.index[~timed["replica"]].tolist() == [("nash_mp", 0), ("nash_mp", 3), ("omd", 0)]
    assert not counted["replica"].any()


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
    assert set(observations(data, LOOK)["group"]) == {
        f"{g}, beta = {b}" for g in ("circle", "votes") for b in (0.05, 0.1)
    }
    assert observations(data, Criterion(by=("beta",)))["group"].value_counts().to_dict() == {
        "beta = 0.05": 2,
        "beta = 0.1": 2,
    }
    assert set(observations(data, Criterion(by=("game", "game.actions")))["group"]) == {
        "circle, actions = 3", "votes, actions = 3",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"metric": "loss"}, r"--metric=loss is unknown: give one of exploitability, .*span_to_equilibrium"),
        ({"x": "epochs"}, r"--x=epochs is unknown: give one of queries, iteration, seconds"),
        ({"target": 0.0}, r"--target=0 is out of range: give a number > 0"),
        ({"target": float("nan")}, r"--target=nan is out of range"),
        ({"target": float("inf")}, r"--target=inf is out of range"),
        ({"by": ("colour",)}, r"--by=colour is not a column: give game, beta, or a key of the configs \(.*beta.*\)"),
        ({"metric": "span_to_equilibrium"}, r"was measured in no run: give one of exploitability, kl_to_equilibrium"),
    ],
)
def test_a_question_that_cannot_be_answered_is_refused_with_a_remedy(tmp_path, keys, problem):
    write_run(tmp_path, curves={0: [(0, 0, 0.1)]})
    with pytest.raises(AnalysisError, match=problem):
        observations(load(tmp_path), Criterion(**keys))
