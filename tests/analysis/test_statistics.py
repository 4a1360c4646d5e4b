"""Studies whose answers are known: exact decays, known differences, ties, censored, failed, copied and single runs."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from nlhf.analysis.comparison import compare, seeds_needed
from nlhf.analysis.criterion import Criterion
from nlhf.analysis.observations import observations
from nlhf.analysis.overall import overall, profile
from nlhf.analysis.study import load
from nlhf.analysis.summary import summarise
from nlhf.stats import bootstrap
from nlhf.stats.significance import holm, signed_rank
from tests.analysis.synthetic import geometric, write_run

SCHEDULE = [0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 60, 80, 100]
SEEDS = range(10)
LOOK = Criterion(target=1e-3)


def observed(**methods):
    """Units of one setting by method: a column, or `cost`, `final` and others by name, in order of seeds.

    What was spent is the cost, 100 where that is infinite; who has ended without the target scores with the most of it.
    """
    tables = []
    for method, given in methods.items():
        columns = dict(given) if isinstance(given, dict) else {"cost": given}
        n = len(next(iter(columns.values())))
        cost = np.array(columns.get("cost", np.full(n, 100.0)), float)
        start = {"group": "g", "setting": "g", "method": method, "algorithm": method, "seed": range(n), "cost": cost}
        start |= {"folder": f"runs/{method}", "status": "completed", "reached": np.isfinite(cost), "final": -cost}
        start |= {"area": -cost, "rate": np.nan, "bound_rate": np.nan, "replica": False}
        start |= {"spent": np.where(np.isfinite(cost), cost, 100.0), "score": np.nan}
        tables.append(pd.DataFrame(start | columns))
    table = pd.concat(tables, ignore_index=True)
    scored = table["cost"].where(table["reached"], table["spent"].max()).clip(lower=1)
    known = table["reached"] | table["status"].isin(["completed", "failed"])
    return table.assign(score=table["score"].fillna(np.log10(scored).where(known)))


def only(table):
    (row,) = table.itertuples()
    return row


# --- a known study, from the files to the tables ---------------------------------------------------------------------


@pytest.fixture
def study(tmp_path):
    """Two methods with exact rates on two games: one needs exactly twice the queries of the other at every seed."""
    for game, level in (("circle", 0.5), ("votes", 0.1)):
        first = {seed: level * (1 + seed) / 10 for seed in SEEDS}
        for algorithm, each in (("omd", 1), ("nash_mp", 2)):
            write_run(tmp_path, algorithm, game, algorithm__step_size=1,
                      curves={s: [(k, each * k, first[s] * 0.8**k) for k in SCHEDULE] for s in SEEDS},
                      bounds={s: [0.9**k for k in SCHEDULE] for s in SEEDS})  # fmt: skip
    return tmp_path


def test_a_known_study_has_the_known_summary(study):
    table = summarise(observations(load(study), LOOK))
    assert list(zip(table["group"], table["rank"], table["method"], strict=True)) == [
        ("circle, beta = 0.05", 1, "omd"), ("circle, beta = 0.05", 2, "nash_mp"),
        ("votes, beta = 0.05", 1, "omd"), ("votes, beta = 0.05", 2, "nash_mp"),
    ]  # fmt: skip
    for row, (level, each) in zip(table.itertuples(), [(0.5, 1), (0.5, 2), (0.1, 1), (0.1, 2)], strict=True):
        first = level * (1 + np.arange(10)) / 10
        hits = np.log(first / 1e-3) / -np.log(0.8) * each
        logs = np.log10(first) + 100 * np.log10(0.8)
        assert row.cost == pytest.approx(np.sqrt(hits[4] * hits[5]), rel=1e-12)  # five of ten have reached it there
        assert hits[0] <= row.cost_low < row.cost < row.cost_high <= hits[-1]
        assert row.score == pytest.approx(np.log10(hits).mean(), rel=1e-11)
        assert row.spent == 100 * each
        assert row.final == pytest.approx(np.median(logs), rel=1e-13)
        assert row.final_mean == pytest.approx(np.mean(logs), rel=1e-13)
        assert (row.final_low, row.final_high) == pytest.approx(bootstrap.interval(logs, bootstrap.median), rel=1e-12)
        assert (row.final_mean_low, row.final_mean_high) == pytest.approx(bootstrap.mean_interval(logs), rel=1e-12)
        assert row.rate == pytest.approx(-np.log(0.8) / each, rel=1e-12)
        assert (row.rate_low, row.rate_high) == pytest.approx((row.rate, row.rate), rel=1e-9)  # all seeds have one rate
        assert row.bound_rate == pytest.approx(-np.log(0.9) / each, rel=1e-12)
        assert (row.runs, row.completed, row.failed, row.unfinished) == (1, 1, 0, 0)
        assert (row.seeds, row.replicas, row.tried, row.reached) == (10, 0, 1, 1.0)


def test_a_known_study_has_the_known_comparison(study):
    table = compare(observations(load(study), LOOK))
    assert table["group"].tolist() == ["circle, beta = 0.05", "votes, beta = 0.05"]
    for row in table.itertuples():
        assert (row.first, row.second, row.quantity, row.pairs) == ("nash_mp", "omd", "cost", 10)
        assert (row.ratio, row.ratio_low, row.ratio_high) == pytest.approx((2, 2, 2), rel=1e-12)
        assert row.better == 0
        assert (row.better_low, row.better_high) == pytest.approx(
            tuple(stats.binomtest(0, 10).proportion_ci(method="wilson")), abs=1e-12
        )
        assert row.p == row.p_holm == pytest.approx(2 / 2**10, rel=1e-12)  # ten equal signs of ten


def test_a_known_study_has_the_known_totals(study):
    observed = observations(load(study), LOOK)
    table = overall(observed)
    assert table["method"].tolist() == ["omd", "nash_mp"]
    for row in table.itertuples():
        members = observed[observed["method"] == row.method]
        assert row.area == pytest.approx(stats.trim_mean(members["area"], 0.25), rel=1e-13)
        assert row.score == pytest.approx(stats.trim_mean(members["score"], 0.25), rel=1e-13)
        assert row.area_low < row.area < row.area_high
        assert row.score_low < row.score < row.score_high
        assert (row.settings, row.seeds, row.reached) == (2, 20, 1.0)
    assert table["score"].diff().tolist()[1] == pytest.approx(np.log10(2), rel=1e-10)
    assert table["wins"].tolist() == [2, 0]
    shares = profile(observed, np.array([1, 1.99, 2, 10]))
    assert shares["omd"].tolist() == [1, 1, 1, 1]
    assert shares["nash_mp"].tolist() == [0, 0, 1, 1]


# --- summaries -------------------------------------------------------------------------------------------------------


def test_every_configuration_of_an_algorithm_counts_as_tried(tmp_path):
    for step in (0.1, 1, 10):
        write_run(tmp_path, curves={0: [(0, 0, 0.1)]}, algorithm__step_size=step)
    write_run(tmp_path, "omd", curves={0: [(0, 0, 0.1)]}, algorithm__step_size=1)
    write_run(tmp_path, "omd", curves={1: [(0, 0, 0.1)]}, algorithm__step_size=1)  # other seeds are no other try
    write_run(tmp_path, "omd", "circle", curves={0: [(0, 0, 0.1)]}, algorithm__step_size=1)
    table = summarise(observations(load(tmp_path), LOOK))
    tried = table.groupby(["group", "algorithm"])["tried"].unique().map(list).to_dict()
    assert tried == {
        ("random_tournament, beta = 0.05", "nash_mp"): [3],
        ("random_tournament, beta = 0.05", "omd"): [1],
        ("circle, beta = 0.05", "omd"): [1],
    }


def test_runs_are_counted_by_what_became_of_them(tmp_path):
    for number, status in enumerate(["completed", "completed", "failed", "interrupted", None]):
        curves = {seed: geometric(0.5, 0.8, SCHEDULE) for seed in (2 * number, 2 * number + 1)}
        write_run(tmp_path, curves=curves, status=status, study=str(number))
    row = only(summarise(observations(load(tmp_path), LOOK)))
    assert (row.runs, row.completed, row.failed, row.unfinished) == (5, 2, 1, 2)
    assert (row.seeds, row.replicas) == (1, 9)


def test_a_run_that_failed_is_the_worst_and_never_dropped():
    good = {"final": [-6.0] * 4 + [np.inf] * 3, "cost": [10.0] * 3 + [np.inf] * 4}
    row = only(summarise(observed(a=good)))
    assert (row.final, row.final_mean, row.cost) == (-6, np.inf, np.inf)
    assert (row.final_low, row.final_high) == (-6, np.inf)
    assert np.isnan([row.final_mean_low, row.final_mean_high]).all()
    assert row.reached == pytest.approx(3 / 7)
    assert row.score == pytest.approx((3 * 1 + 4 * 2) / 7, rel=1e-12)  # with what was spent, 100


def test_a_run_that_may_go_on_has_no_last_value_and_a_censored_cost():
    found = observed(a={"final": [-6.0, np.nan, -7.0], "cost": [10.0, 5.0, 20.0], "reached": [True, False, True],
                            "status": ["completed", "interrupted", "completed"]})  # fmt: skip
    row = only(summarise(found))
    assert (row.final, row.final_mean, row.seeds, row.spent) == (-6.5, -6.5, 3, 20)
    assert row.cost == pytest.approx(np.sqrt(10 * 20), rel=1e-14)  # as if the one that ended before were not there
    assert row.score == pytest.approx(np.log10(10 * 20) / 2, rel=1e-12)
    assert np.isnan(only(summarise(observed(a={"final": [np.nan, np.nan]}))).final)


def test_one_seed_has_estimates_and_no_intervals():
    row = only(summarise(observed(a=[10.0])))
    assert (row.cost, row.score, row.spent, row.final, row.final_mean, row.seeds) == (10, 1, 10, -10, -10, 1)
    ends = [f"{name}_{end}" for name in ("cost", "final", "final_mean", "rate") for end in ("low", "high")]
    assert np.isnan([getattr(row, name) for name in ends]).all()


def test_copies_narrow_no_interval():
    once = {"cost": [10.0, 20, 30, 40, 50, 60], "final": [-1.0, -2, -3, -4, -5, -6]}
    copied = {name: values + [values[0]] * 50 for name, values in once.items()} | {"replica": [False] * 6 + [True] * 50}
    one, other = only(summarise(observed(a=once))), only(summarise(observed(a=copied)))
    assert (other.seeds, other.replicas) == (6, 50)
    names = [name for name in one._fields if name not in ("Index", "replicas")]
    assert [getattr(one, name) for name in names] == pytest.approx(
        [getattr(other, name) for name in names], nan_ok=True
    )


def test_against_seconds_a_run_is_one_observation_and_makes_no_interval(tmp_path):
    """Twenty seeds in one batch: their costs differ, their clock does not."""
    for algorithm, ratio in (("omd", 0.8), ("mpo", 0.7)):
        write_run(tmp_path, algorithm, curves={s: geometric(0.5 - s / 100, ratio, SCHEDULE) for s in range(20)})
    timed, counted = (observations(load(tmp_path), Criterion(target=1e-3, x=x)) for x in ("seconds", "queries"))
    pair, table = only(compare(timed)), summarise(timed)
    assert (pair.pairs, pair.better) == (1, 1)
    assert pair.ratio == pytest.approx(np.log(0.8) / np.log(0.7), rel=1e-11)
    assert np.isnan([pair.p, pair.p_holm, pair.ratio_low, pair.ratio_high]).all()
    assert table[["seeds", "replicas", "runs"]].to_numpy().tolist() == [[1, 19, 1]] * 2
    ends = [f"{name}_{end}" for name in ("cost", "final", "final_mean", "rate") for end in ("low", "high")]
    assert table[ends].isna().all(axis=None)
    assert overall(timed)[["score_low", "score_high", "area_low", "area_high"]].isna().all(axis=None)
    assert only(compare(counted)).p == pytest.approx(2 / 2**20)


def test_the_best_is_first_by_score_and_then_by_last_value():
    never = [np.inf] * 5
    table = summarise(observed(
        slow=[30.0] * 5, fast=[10.0] * 5, good={"cost": never, "final": [-5.0] * 5},
        bad={"cost": never, "final": [-1.0] * 5},
        open={"cost": [7.0] * 5, "reached": [False] * 5, "status": ["interrupted"] * 5, "final": [np.nan] * 5},
    ))  # fmt: skip
    assert table["method"].tolist() == ["fast", "slow", "good", "bad", "open"]
    assert table["rank"].tolist() == [1, 2, 3, 4, 5]
    assert table["score"].tolist() == pytest.approx([1, np.log10(30), 2, 2, np.nan], rel=1e-12, nan_ok=True)


def test_a_method_is_ranked_by_what_it_costs_on_average_with_its_misses_at_the_budget():
    """Medians would rank them otherwise: 10 and 20 and, by Kaplan and Meier, never."""
    table = summarise(observed(
        often=[10.0] * 3 + [np.inf] * 2, always=[20.0] * 5, seldom=[1.0, 1.0] + [np.inf] * 3, never=[np.inf] * 5,
    ))  # fmt: skip
    assert table["method"].tolist() == ["seldom", "always", "often", "never"]
    scores = [(2 * 0 + 3 * 2) / 5, np.log10(20), (3 * 1 + 2 * 2) / 5, 2]
    assert table["score"].tolist() == pytest.approx(scores, rel=1e-12)
    assert table["cost"].tolist() == [np.inf, 20, 10, np.inf]


@pytest.mark.parametrize("budget", [50.0, 60.0, 1000.0, 20_000.0, 123_456.0])
def test_methods_that_never_reach_the_target_are_ranked_by_their_last_values_however_many_seeds_they_have(budget):
    """The floating-point mean of ten equal scores is not that of seven: no reason to rank one before the other."""
    never = {n: {"cost": [budget] * n, "reached": [False] * n} for n in (1, 3, 7, 10)}
    table = summarise(observed(
        a=never[10] | {"final": [-1.0] * 10}, b=never[7] | {"final": [-2.0] * 7},
        c=never[3] | {"final": [-3.0] * 3}, d=never[1] | {"final": [-4.0]},
    ))  # fmt: skip
    assert table["method"].tolist() == ["d", "c", "b", "a"]
    assert table["score"].nunique() == 1


def test_a_rate_needs_a_line_in_half_of_the_tails():
    half = {"rate": [0.1, 0.2, np.nan, np.nan], "bound_rate": [0.05, 0.05, np.nan, np.nan]}
    assert only(summarise(observed(a=half))).rate == pytest.approx(0.15)
    fewer = {"rate": [0.1, 0.2, np.nan, np.nan, np.nan], "bound_rate": [0.05] * 5}
    row = only(summarise(observed(a=fewer)))
    assert np.isnan(row.rate)
    assert row.bound_rate == pytest.approx(0.05)


# --- comparisons -----------------------------------------------------------------------------------------------------


def test_pairs_are_of_the_same_seed_whatever_their_order():
    cost = np.array([10.0, 20, 40, 80, 160, 320])
    both = observed(a=2 * cost, b=cost).sample(frac=1, random_state=1)
    row = only(compare(both))
    assert (row.first, row.second, row.pairs) == ("a", "b", 6)
    assert (row.ratio, row.ratio_low, row.ratio_high) == pytest.approx((2, 2, 2))
    assert row.p == pytest.approx(2 / 2**6)


def test_seeds_that_only_one_method_has_are_no_pair():
    row = only(compare(observed(a=[10.0] * 9, b=[20.0] * 6)))
    assert (row.pairs, row.better) == (6, 1)
    apart = observed(a=[10.0] * 6, b=[20.0] * 6).assign(seed=range(12))
    row = only(compare(apart))
    assert row.pairs == 0
    assert np.isnan([row.ratio, row.ratio_low, row.better, row.better_low, row.p, row.p_holm]).all()


def test_equal_methods_are_equal():
    row = only(compare(observed(a=[10.0, 20, 30, 40, 50], b=[10.0, 20, 30, 40, 50])))
    assert (row.ratio, row.better, row.p, row.p_holm) == (1, 0.5, 1, 1)


def test_ties_count_one_half():
    row = only(compare(observed(a=[10.0, 10, 10, 20, 5], b=[10.0, 10, 20, 10, 10])))
    assert row.better == (1 + 1 / 2 + 1 / 2 + 1) / 5
    assert row.ratio == 1


def test_where_neither_reaches_the_target_last_values_are_compared():
    never = {"cost": [100.0] * 6, "reached": [False] * 6}
    row = only(compare(observed(a=never | {"final": [-3.0] * 6}, b=never | {"final": [-5.0] * 6})))
    assert (row.quantity, row.better) == ("final", 0)
    assert row.ratio == pytest.approx(100)
    one = never | {"reached": [True] + [False] * 5}
    row = only(compare(observed(a=one | {"final": [-3.0] * 6}, b=never | {"final": [-5.0] * 6})))
    assert (row.quantity, row.pairs, row.better) == ("cost", 6, (1 + 5 / 2) / 6)


@pytest.mark.parametrize(
    ("a", "b", "better"),
    [
        ((10, True, "completed"), (20, True, "completed"), 1),
        ((10, True, "failed"), (20, True, "interrupted"), 1),  # it got there, whatever came after
        ((10, True, "completed"), (100, False, "completed"), 1),
        ((10, True, "completed"), (10, False, "interrupted"), 1),  # at that cost the other had not
        ((10, True, "completed"), (9, False, "interrupted"), None),  # the other may have been there a query later
        ((10, True, "completed"), (9, False, "completed"), None),  # so may one whose budget was smaller
        ((10, True, "completed"), (np.inf, False, "failed"), 1),
        ((100, False, "completed"), (100, False, "completed"), 0.5),
        ((100, False, "completed"), (np.inf, False, "failed"), 1),  # it may still get there
        ((1, False, "completed"), (np.inf, False, "failed"), 1),
        ((100, False, "interrupted"), (np.inf, False, "failed"), None),
        ((np.inf, False, "failed"), (np.inf, False, "failed"), 0.5),
        ((100, False, "completed"), (100, False, "unfinished"), None),
        ((0, True, "completed"), (0, True, "completed"), 0.5),
        ((0, True, "completed"), (1, True, "completed"), 1),
    ],
)
def test_a_pair_is_decided_where_its_order_is_known(a, b, better):
    """Besides five pairs that are certain, so that costs are what is compared."""
    columns = [
        {"cost": [cost] + [50] * 5, "reached": [reached] + [True] * 5, "status": [status] + ["completed"] * 5}
        for cost, reached, status in (a, b)
    ]
    for one, other, expected in ((0, 1, better), (1, 0, None if better is None else 1 - better)):
        row = only(compare(observed(a=columns[one], b=columns[other])))
        assert row.quantity == "cost"
        assert row.pairs == (5 if expected is None else 6)
        assert row.better == pytest.approx((2.5 + (expected or 0)) / row.pairs)


def test_a_run_that_failed_loses_to_one_that_did_not_and_an_unfinished_one_is_left_out():
    never = {"reached": [False] * 3, "cost": [100.0] * 3}
    row = only(compare(observed(
        a=never | {"final": [np.inf, np.inf, -5.0]}, b=never | {"final": [-1.0, np.inf, np.nan]}
    )))  # fmt: skip
    assert (row.quantity, row.pairs, row.better) == ("final", 2, (0 + 1 / 2) / 2)


def test_who_always_gets_there_against_who_never_does_is_infinitely_better():
    row = only(compare(observed(a=[10.0] * 8, b=[np.inf] * 8)))
    assert (row.ratio, row.ratio_low, row.ratio_high, row.better) == (0, 0, 0, 1)
    assert row.p == pytest.approx(2 / 2**8)


def test_copies_are_no_pairs_and_no_evidence():
    """A deterministic game run at thirty seeds is one observation, and no test is made of one."""
    copies = {"cost": [10.0] * 30, "replica": [False] + [True] * 29}
    row = only(compare(observed(a=copies, b=copies | {"cost": [20.0] * 30})))
    assert (row.pairs, row.better) == (1, 1)
    assert row.ratio == pytest.approx(0.5)
    assert np.isnan([row.p, row.p_holm, row.ratio_low]).all()
    random = {"cost": np.arange(20.0, 50)}
    assert only(compare(observed(a=copies, b=random))).pairs == 30  # one side alone is a copy: the pairs differ


def test_no_p_value_is_made_of_copies_on_disk(tmp_path):
    for algorithm, ratio in (("omd", 0.8), ("mpo", 0.7)):
        write_run(tmp_path, algorithm, curves={seed: geometric(0.5, ratio, SCHEDULE) for seed in range(20)})
    row = only(compare(observations(load(tmp_path), LOOK)))
    assert row.pairs == 1
    assert np.isnan(row.p)


def test_pairs_of_several_settings_are_paired_within_them():
    """One method costs twice the other, on a game that costs little and on one that costs much."""
    one, other = observed(a=[20.0, 40, 60], b=[10.0, 20, 30]), observed(a=[2e6, 4e6, 6e6], b=[1e6, 2e6, 3e6])
    both = pd.concat([one, other.assign(setting="h")])
    row = only(compare(both))
    assert (row.pairs, row.better) == (6, 0)
    assert row.ratio == pytest.approx(2)
    assert row.p == pytest.approx(2 / 2**6)


# --- tests of significance -------------------------------------------------------------------------------------------


def sign_flips(difference):
    """The exact two-sided p of the signed-rank statistic without zeros, over all assignments of signs."""
    nonzero = difference[difference != 0]
    ranks = stats.rankdata(np.abs(nonzero))
    observed = abs((np.sign(nonzero) * ranks).sum())
    flips = np.array(list(itertools.product([-1, 1], repeat=len(nonzero))))
    return (np.abs(flips @ ranks) >= observed - 1e-9).mean()


@pytest.mark.parametrize("kind", ["distinct", "ties", "zeros", "infinite"])
def test_wilcoxons_p_is_the_share_of_sign_flips_that_are_as_extreme(kind):
    rng = np.random.default_rng(0)
    seen = set()
    for n in (5, 6, 8, 11):
        for _ in range(4):
            values = rng.standard_normal(n) + 0.5
            if kind == "ties":
                values = np.round(2 * values) / 2 + 0.25
            if kind == "zeros":
                values[:2] = 0
            if kind == "infinite":
                values[:3] = [np.inf, -np.inf, np.inf]
            finite = np.where(np.isinf(values), np.sign(values) * 100, values)
            assert signed_rank(values) == pytest.approx(sign_flips(finite), rel=1e-9)
            assert signed_rank(-values) == pytest.approx(signed_rank(values), rel=1e-12)
            seen.add(signed_rank(values))
    assert len(seen) > 8


def test_a_published_example_of_the_signed_rank_test():
    """Darwin's maize, heights of 15 pairs: R. A. Fisher, The Design of Experiments (1935), chapter III."""
    darwin = np.array([49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48.0])
    ranks = stats.rankdata(np.abs(darwin))
    assert ranks[darwin < 0].sum() == 24
    assert signed_rank(darwin) == pytest.approx(sign_flips(darwin), rel=1e-9)
    assert signed_rank(darwin) == pytest.approx(0.0413, abs=1e-4)


def test_differences_of_zero_or_too_few_say_nothing():
    assert signed_rank(np.zeros(20)) == 1
    assert np.isnan(signed_rank(np.array([1.0, 2, 3, 4])))
    assert np.isnan(signed_rank(np.array([])))


def test_twenty_differences_without_ties_have_scipys_exact_p():
    for seed in range(10):
        values = np.random.default_rng(seed).standard_normal(20) + 0.3
        assert signed_rank(values) == pytest.approx(stats.wilcoxon(values, method="exact").pvalue, rel=1e-9)


@pytest.mark.parametrize("n", [20, 60, 100])
def test_who_always_loses_has_the_least_p_that_so_many_pairs_can_give(n):
    assert signed_rank(np.full(n, np.inf)) == 2.0 ** (1 - n)
    assert signed_rank(-np.arange(1.0, n + 1)) == 2.0 ** (1 - n)


def test_more_than_a_hundred_differences_are_as_good_as_normal():
    rng = np.random.default_rng(2)
    for n in (100, 101):  # exact, and not
        values = np.floor(4 * (rng.standard_normal(n) + 0.2)) + 0.5  # with ties, without zeros
        assert signed_rank(values) == pytest.approx(stats.wilcoxon(values, method="asymptotic").pvalue, rel=0.02)
    assert 0 < signed_rank(np.full(150, -np.inf)) < 1e-25


def test_p_values_of_nothing_are_uniform_enough():
    """Under no difference at most 5% of studies are significant at 5%."""
    rng = np.random.default_rng(1)
    p = np.array([signed_rank(rng.standard_normal(20)) for _ in range(1000)])
    assert (p < 0.05).mean() == pytest.approx(0.05, abs=0.02)


def test_holms_correction_of_a_textbook_example():
    """Wikipedia, Holm-Bonferroni method, and R: p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm")."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02], rel=1e-12)
    assert holm([0.4, 0.6, float("nan"), 0.9]) == pytest.approx([1, 1, np.nan, 1], nan_ok=True)
    assert holm([0.02]) == [0.02]
    assert holm([]) == []
    assert holm([0.01, 0.01, 0.01]) == pytest.approx([0.03, 0.03, 0.03])


def test_all_pairs_of_a_group_are_corrected_together_and_groups_apart():
    one = observed(a=np.arange(10.0, 20), b=np.arange(20.0, 30), c=np.arange(40.0, 50))
    other = observed(a=np.arange(10.0, 20), b=np.arange(20.0, 30)).assign(group="h", setting="h")
    table = compare(pd.concat([one, other]))
    assert table[["group", "first", "second"]].to_numpy().tolist() == [
        ["g", "a", "b"], ["g", "a", "c"], ["g", "b", "c"], ["h", "a", "b"],
    ]  # fmt: skip
    assert table["p"].tolist() == pytest.approx([2 / 2**10] * 4)
    assert table["p_holm"].tolist() == pytest.approx([6 / 2**10] * 3 + [2 / 2**10])


def test_one_method_alone_is_compared_with_nothing():
    table = compare(observed(a=[10.0] * 5))
    assert table.empty
    assert table.columns.tolist()[:3] == ["group", "first", "second"]
    assert "p_holm" in table


@pytest.mark.parametrize("methods", [2, 3, 5, 14])
def test_the_evidence_that_is_needed_is_the_fewest_pairs_that_can_be_significant(methods):
    names = {f"m{number}": [1.0] for number in range(methods)}
    needed = seeds_needed(observed(**names))["g"]
    comparisons = methods * (methods - 1) // 2
    assert signed_rank(np.arange(1.0, 6)) == 2 / 2**5
    assert holm([2 / 2**needed] + [1.0] * (comparisons - 1))[0] < 0.05
    assert holm([2 / 2 ** (needed - 1)] + [1.0] * (comparisons - 1))[0] >= 0.05


# --- over settings ---------------------------------------------------------------------------------------------------


def settings(*tables):
    return pd.concat(
        [table.assign(setting=f"s{n}", group=f"s{n}") for n, table in enumerate(tables)], ignore_index=True
    )


def test_only_methods_of_every_setting_have_totals():
    found = settings(observed(a=[10.0, 20], b=[30.0, 40]), observed(a=[10.0, 20]))
    assert overall(found)["method"].tolist() == ["a"]
    assert overall(settings(observed(a=[1.0]), observed(b=[1.0]))).empty


def test_a_setting_is_won_by_all_that_share_the_lowest_cost_or_where_none_arrives_the_lowest_value():
    never = [np.inf] * 5
    found = settings(
        observed(a=[10.0] * 5, b=[10.0] * 5, c=[20.0] * 5),  # a and b
        observed(a=[30.0] * 5, b=never, c=[20.0] * 5),  # c
        observed(a={"cost": never, "final": [-1.0] * 5}, b={"cost": never, "final": [-2.0] * 5},
                     c={"cost": never, "final": [np.inf] * 5}),  # b
        observed(a={"cost": never, "final": [np.nan] * 5}, b={"cost": never, "final": [np.inf] * 5}, c=never),
    )  # fmt: skip
    found.loc[found["method"].eq("c") & found["setting"].eq("s3"), "final"] = np.inf  # nobody
    assert overall(found).set_index("method")["wins"].to_dict() == {"a": 1, "b": 2, "c": 1}


def test_a_setting_is_won_by_the_lowest_mean_with_misses_at_the_budget():
    found = settings(
        observed(a=[10.0] * 3 + [np.inf] * 2, b=[20.0] * 5),  # (3 + 4)/5 > log10(20)
        observed(a=[10.0] * 4 + [np.inf], b=[20.0] * 5),  # (4 + 2)/5 < log10(20)
        observed(a={"cost": [7.0] * 10}, b={"cost": [7.0] * 3}),  # both
        observed(a={"cost": [np.inf] * 5, "final": [-9.0] * 5}, b=[99.0] + [np.inf] * 4),  # b, that once gets there
    )
    assert overall(found).set_index("method")["wins"].to_dict() == {"a": 2, "b": 3}


def test_totals_are_in_order_of_their_scores():
    tables = [observed(a=[30.0] * 5, b=[10.0] * 5, c=[np.inf] * 5, d=[1.0] + [np.inf] * 4)] * 2
    table = overall(settings(*tables))
    assert table["method"].tolist()[:2] == ["b", "a"]
    assert table["score"].tolist() == pytest.approx([1, np.log10(30), 2, 2])  # the middle half of d never gets there
    assert table["reached"].tolist()[:2] == [1, 1]
    assert (table["score_low"] <= table["score"]).all()
    assert (table["score"] <= table["score_high"]).all()


def test_the_interval_of_a_total_draws_seeds_within_settings():
    rng = np.random.default_rng(0)
    first, second = rng.standard_normal(12), 50 + rng.standard_normal(12)
    tables = [observed(a={"area": values, "score": values}) for values in (first, second)]
    row = only(overall(settings(*tables)))
    both = np.concatenate([first, second])
    assert row.area == row.score == pytest.approx(stats.trim_mean(both, 0.25), rel=1e-13)
    assert row.area_high - row.area_low < 3  # drawn over all 24, the mean of the middle half would reach over 40
    assert (row.score_low, row.score_high) == (row.area_low, row.area_high)


def test_a_profile_is_what_loops_count():
    rng = np.random.default_rng(0)
    tables = []
    for _ in range(3):
        costs = np.where(rng.random((3, 7)) < 0.7, rng.integers(1, 50, (3, 7)), np.inf)
        tables.append(observed(a=costs[0], b=costs[1], c=costs[2]))
    found, factors = settings(*tables), np.array([1, 1.5, 2, 5, 1000.0])
    table = profile(found, factors)
    cost = found.set_index(["setting", "seed", "method"])["cost"].to_dict()
    instances = {(setting, seed) for setting, seed, _ in cost}
    for method, factor in itertools.product("abc", factors):
        solved = 0
        for place in instances:
            best = min(cost[(*place, other)] for other in "abc")
            solved += np.isfinite(cost[(*place, method)]) and cost[(*place, method)] <= factor * best
        assert table.loc[factor, method] == solved / len(instances)
    assert table.index.name == "factor"
    assert 0 < table.loc[1].min() < table.loc[1000].max() < 1


def test_an_instance_that_was_never_run_counts_for_nobody():
    found = settings(observed(a=[10.0] * 4, b=[20.0] * 4), observed(a=[10.0], b=[5.0]))
    assert profile(found, np.array([1.0, 2.0])).to_numpy().tolist() == [[4 / 5, 1 / 5], [1, 1]]
    alone = settings(observed(a=[10.0] * 4, b=[20.0] * 4), observed(a=[np.inf]))
    assert profile(alone, np.array([2.0]))[["a", "b"]].to_numpy().tolist() == [[4 / 5, 1]]


def test_a_target_that_is_reached_at_no_cost_is_solved():
    table = profile(observed(a=[0.0, 0.0], b=[0.0, 3.0]), np.array([1.0, 1000.0]))
    assert table.to_numpy().tolist() == [[1, 0.5], [1, 0.5]]


def test_copies_weigh_no_more_than_once_in_a_profile():
    copies = {"cost": [10.0] * 30, "replica": [False] + [True] * 29}
    slow = copies | {"cost": [20.0] * 30}
    random = observed(a=[20.0], b=[10.0])
    half = profile(observed(a=copies, b=np.arange(1.0, 31)), np.array([1.0]))
    assert half.to_numpy().tolist() == [[21 / 30, 10 / 30]]  # beside another's seeds a copy counts each time
    assert profile(settings(observed(a=copies, b=slow), random), np.array([1.0])).to_numpy().tolist() == [[0.5, 0.5]]


def test_a_cost_that_was_not_enough_is_no_cost():
    found = observed(a={"cost": [5.0], "reached": [False]}, b=[10.0])
    assert profile(found, np.array([1.0])).to_numpy().tolist() == [[0, 1]]
