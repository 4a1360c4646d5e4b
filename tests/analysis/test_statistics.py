"""Studies whose answers are known: exact decays, known differences, ties, censored, failed, copied and single runs."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from nlhf.analysis.comparison import against, compare
from nlhf.analysis.criterion import Criterion
from nlhf.analysis.horizon import horizons, limiting
from nlhf.analysis.observations import observations
from nlhf.analysis.overall import overall, profile
from nlhf.analysis.study import load
from nlhf.analysis.summary import summarise
from nlhf.stats.medians import median_interval
from nlhf.stats.significance import holm, pairs_needed, sign_flip
from tests.analysis.synthetic import geometric, write_run

SCHEDULE = [0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 60, 80, 100]
SEEDS = range(10)
LOOK = Criterion(target=1e-3)


def observed(**methods):
    """Observations of one setting by method: costs, or columns by name (`cost`, `final`, ...), in the order of seeds.

    By default an observation spends its cost, or 100 without reaching the target.
    """
    tables = []
    for method, given in methods.items():
        columns = dict(given) if isinstance(given, dict) else {"cost": given}
        n = len(next(iter(columns.values())))
        cost = np.array(columns.get("cost", np.full(n, 100.0)), float)
        start = {"group": "g", "setting": "g", "method": method, "algorithm": method, "seed": range(n), "cost": cost}
        start |= {"folder": f"runs/{method}", "status": "completed", "reached": np.isfinite(cost), "final": -cost}
        start |= {"area": -cost, "rate": np.nan, "bound_rate": np.nan, "replica": False, "random": True}
        start |= {"spent": np.where(np.isfinite(cost), cost, 100.0), "smallest": 1.0}
        tables.append(pd.DataFrame(start | columns))
    table = pd.concat(tables, ignore_index=True)
    table["cost_before"] = table["cost_after"] = table["cost"]
    table["curve"] = (~table["replica"]).cumsum()
    return at_horizon(table)


def at_horizon(table):
    """The columns that depend on the horizon, as `observations` computes them."""
    horizon = horizons(table, LOOK)
    hit = table["reached"] & (table["cost"] <= horizon)
    score = np.log10(table["cost"].where(hit, horizon).clip(lower=1))
    value = table["final"].where(table["status"] == "completed", np.inf)
    return table.assign(horizon=horizon, hit=hit, score=score, value=value)


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
        assert hits[0] / 1.35 < row.cost_low < row.cost < row.cost_high < hits[-1] * 1.35  # rows are 1.2 to 1.34 apart
        assert row.score == pytest.approx(np.median(np.log10(hits)), rel=1e-11)
        assert row.spent == 100 * each
        assert row.final == pytest.approx(np.median(logs), rel=1e-13)
        assert (row.final_low, row.final_high) == pytest.approx(median_interval(logs), rel=1e-12)
        assert row.rate == pytest.approx(-np.log(0.8) / each, rel=1e-12)
        assert (row.rate_low, row.rate_high) == pytest.approx((row.rate, row.rate), rel=1e-9)  # all seeds have one rate
        assert row.bound_rate == pytest.approx(-np.log(0.9) / each, rel=1e-12)
        assert (row.runs, row.completed, row.failed, row.unfinished) == (1, 1, 0, 0)
        assert (row.seeds, row.replicas, row.tried, row.reached, row.hit, row.misses) == (10, 0, 1, 1.0, 1.0, 0)
        assert (row.mean_rank, row.rank_low, row.rank_high) == (each, each, each)
        assert row.best == (each == 1)


def test_a_known_study_has_the_known_comparison(study):
    table = compare(observations(load(study), LOOK))
    assert table["group"].tolist() == ["circle, beta = 0.05", "votes, beta = 0.05"]
    for row in table.itertuples():
        assert (row.first, row.second, row.quantity, row.seeds, row.settings) == ("nash_mp", "omd", "cost", 10, 1)
        assert row.ratio == pytest.approx(2, rel=1e-12)
        assert 1 < row.ratio_low < 2 < row.ratio_high < 4  # the rows around the target are 1.2 to 1.34 times apart
        assert (row.better, row.rank_difference) == (0, 1)
        assert (row.better_low, row.better_high) == pytest.approx(
            tuple(stats.binomtest(0, 10).proportion_ci(method="wilson")), abs=1e-12
        )
        assert row.p == row.p_holm == pytest.approx(2 / 2**10, rel=1e-12)  # ten equal signs of ten
        assert row.p_study == pytest.approx(4 / 2**10, rel=1e-12)  # two settings


def test_a_known_study_has_the_known_totals(study):
    observed = observations(load(study), LOOK)
    table = overall(observed)
    assert table["method"].tolist() == ["omd", "nash_mp"]
    for row, rank in zip(table.itertuples(), (1, 2), strict=True):
        members = observed[observed["method"] == row.method]
        by_seed = members.groupby("seed")["area"].median()
        assert row.area == pytest.approx(by_seed.median(), rel=1e-13)
        assert (row.area_low, row.area_high) == pytest.approx(median_interval(by_seed.to_numpy()), rel=1e-13)
        assert (row.settings, row.seeds, row.hit, row.mean_rank, row.rank_low, row.rank_high) == (2, 10, 1, *[rank] * 3)
    assert table["ratio"].tolist() == pytest.approx([np.nan, 2], rel=1e-10, nan_ok=True)
    assert table["p"].tolist() == pytest.approx([np.nan, 2 / 2**10], rel=1e-10, nan_ok=True)
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
    status = ["completed"] * 4 + ["failed"] * 3
    good = {"final": [-6.0] * 4 + [np.inf] * 3, "cost": [10.0] * 3 + [np.inf] * 4, "status": status}
    row = only(summarise(observed(a=good)))
    assert (row.final, row.cost) == (-6, np.inf)
    assert (row.final_low, row.final_high) == (-6, np.inf)
    assert row.reached == row.hit == pytest.approx(3 / 7)
    assert (row.misses, row.horizon) == (4, 100)
    assert row.score == pytest.approx(2)  # the median run misses it at the horizon


def test_a_run_that_may_go_on_has_no_last_value_and_a_censored_cost():
    found = observed(a={"final": [-6.0, np.nan, -7.0], "cost": [10.0, 5.0, 20.0], "reached": [True, False, True],
                            "status": ["completed", "interrupted", "completed"]})  # fmt: skip
    row = only(summarise(found))
    assert (row.final, row.seeds, row.spent) == (-6.5, 3, 20)
    assert row.cost == pytest.approx(np.sqrt(10 * 20), rel=1e-14)  # as if the one that ended before were not there
    assert row.misses == 1
    assert np.isnan(only(summarise(observed(a={"final": [np.nan, np.nan]}))).final)


def test_one_seed_has_estimates_and_no_intervals():
    row = only(summarise(observed(a=[10.0])))
    assert (row.cost, row.score, row.spent, row.final, row.seeds) == (10, 1, 10, -10, 1)
    ends = [f"{name}_{end}" for name in ("score", "final", "area", "rate") for end in ("low", "high")]
    assert np.isnan([getattr(row, name) for name in ends]).all()


def test_the_cost_of_one_observation_lies_between_two_rows(tmp_path):
    for algorithm, each in (("omd", 1), ("mpo", 2)):
        write_run(tmp_path, algorithm, curves={0: [(k, each * k, 0.5 * 0.8**k) for k in SCHEDULE]})
    found = observations(load(tmp_path), LOOK)
    table = summarise(found)
    assert table[["cost_low", "cost_high"]].to_numpy().tolist() == [[25, 30], [50, 60]]
    pair = only(compare(found))
    assert (pair.ratio, pair.ratio_low, pair.ratio_high) == pytest.approx((2, 50 / 30, 60 / 25), rel=1e-12)


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
    assert (pair.seeds, pair.better) == (1, 1)
    assert pair.ratio == pytest.approx(np.log(0.8) / np.log(0.7), rel=1e-11)
    assert np.isnan([pair.p, pair.p_holm, pair.p_study]).all()
    assert table[["seeds", "replicas", "runs"]].to_numpy().tolist() == [[1, 19, 1]] * 2
    ends = [f"{name}_{end}" for name in ("score", "final", "area", "rate") for end in ("low", "high")]
    assert table[ends].isna().all(axis=None)
    assert only(compare(counted)).p == pytest.approx(2 / 2**20)


def test_methods_are_ordered_by_cost_and_those_that_miss_the_target_by_their_values():
    never = [np.inf] * 5
    table = summarise(observed(
        slow=[30.0] * 5, fast=[10.0] * 5, good={"cost": never, "final": [-5.0] * 5},
        bad={"cost": never, "final": [-1.0] * 5},
    ))  # fmt: skip
    assert table["method"].tolist() == ["fast", "slow", "good", "bad"]
    assert table["rank"].tolist() == table["mean_rank"].tolist() == [1, 2, 3, 4]
    assert table["score"].tolist() == pytest.approx([1, np.log10(30), 2, 2], rel=1e-12)


def test_ranks_are_means_over_seeds():
    table = summarise(observed(often=[10.0] * 3 + [np.inf] * 2, always=[20.0] * 5, seldom=[1.0, 1.0] + [np.inf] * 3))
    table = table.set_index("method")
    assert table["mean_rank"].to_dict() == pytest.approx(
        # often: 2, 2, 1 and two misses; its value where it misses equals that of seldom
        {"often": (2 + 2 + 1 + 2.5 + 2.5) / 5, "always": (3 + 3 + 2 + 1 + 1) / 5, "seldom": (1 + 1 + 3 + 2.5 + 2.5) / 5}
    )


def test_a_method_with_many_interrupted_seeds_has_no_rank():
    """Half of its seeds were interrupted, and the others are fast."""
    status = ["completed"] * 5 + ["interrupted"] * 5
    half = {"cost": [1.0] * 5 + [50.0] * 5, "reached": [True] * 5 + [False] * 5, "status": status}
    table = summarise(observed(steady=[10.0] * 10, half=half, slow=[20.0] * 10))
    assert table["method"].tolist() == ["steady", "slow", "half"]
    assert table["rank"].tolist() == pytest.approx([1, 2, np.nan], nan_ok=True)
    assert table["unranked"].tolist() == ["", "", "5 of its 10 seeds did not end"]
    few = {"cost": [1.0] * 9 + [50.0], "reached": [True] * 9 + [False], "status": ["completed"] * 9 + ["interrupted"]}
    table = summarise(observed(steady=[10.0] * 10, few=few))
    assert table["mean_rank"].tolist() == pytest.approx([1.1, 1.9])  # the interrupted seed counts as a miss


def test_methods_are_compared_on_the_settings_that_all_of_them_ran():
    """The new method ran only on the easy setting, where all costs are low."""
    easy = observed(new=[3.0] * 6, old=[2.0] * 6)
    hard = observed(old=[50.0] * 6).assign(setting="hard")
    table = summarise(pd.concat([easy, hard], ignore_index=True))
    assert table["method"].tolist() == ["old", "new"]
    assert table["mean_rank"].tolist() == [1, 2]
    row = only(compare(pd.concat([easy, hard], ignore_index=True)))
    assert (row.seeds, row.settings) == (6, 1)
    assert row.ratio == pytest.approx(1.5)


def test_a_method_with_few_seeds_has_no_rank_where_others_have_many():
    table = summarise(observed(a=[10.0] * 20, b=[20.0] * 20, trial=[1.0]))
    assert table["method"].tolist() == ["a", "b", "trial"]
    assert table["unranked"].tolist() == ["", "", "it ran on 1 of 20 settings x seeds"]
    assert len(compare(observed(a=[10.0] * 20, b=[20.0] * 20, trial=[1.0]))) == 1


def test_a_method_with_a_larger_budget_changes_nothing_for_the_others():
    """With misses at the largest budget of all, the third method would turn the order of the others round."""
    first = {"cost": [10.0] * 7 + [np.inf] * 3, "spent": [10.0] * 7 + [100.0] * 3}
    second = {"cost": [20.0] * 10}
    third = {"cost": [np.inf] * 10, "spent": [1e6] * 10, "final": [-0.1] * 10}
    two, three = summarise(observed(a=first, b=second)), summarise(observed(a=first, b=second, c=third))
    assert two["method"].tolist() == three["method"].tolist()[:2] == ["a", "b"]
    assert set(three["horizon"]) == {100.0}
    assert (two["mean_rank"].tolist(), three["mean_rank"].tolist()) == ([1.3, 1.7], [1.3, 1.7, 3.0])


def test_a_method_with_a_small_budget_sets_the_horizon():
    small = {"cost": [np.inf] * 5, "spent": [30.0] * 5}
    table = observed(a=[50.0] * 5, small=small)
    assert set(table["horizon"]) == {30.0}
    assert not table["hit"].any()
    assert limiting(table) == {"small": 30.0}
    assert limiting(observed(a=[50.0] * 5, b=[20.0] * 5)) == {}


def test_equal_settings_do_not_change_the_order():
    """Adding a setting on which both methods are equal leaves the order as it is."""
    one = observed(a=[10.0] * 4 + [90.0] * 2, b=[20.0] * 6)
    equal = observed(a=[50.0] * 6, b=[50.0] * 6)
    for count in range(4):
        table = overall(settings(one, *[equal] * count))
        assert table["method"].tolist() == ["a", "b"]


def test_a_run_without_randomness_stands_for_every_seed():
    """A matrix game is run once, and compared with a sampled method at eight seeds and with itself on another game."""
    fixed = observed(exact=[10.0], sampled=[20.0] * 8)
    fixed["random"] = fixed["method"] == "sampled"
    row = only(compare(fixed))
    assert (row.seeds, row.better, row.p) == (8, 1, 2 / 2**8)
    table = summarise(fixed).set_index("method")
    assert table["seeds"].to_dict() == {"exact": 1, "sampled": 8}
    both = fixed.assign(random=False).drop_duplicates("method")
    assert np.isnan(only(compare(both)).p)
    pooled = pd.concat([both.assign(setting="fixed"), observed(exact=[30.0] * 8, sampled=[20.0] * 8)])
    row = only(compare(pooled.reset_index(drop=True)))
    assert (row.seeds, row.settings, row.rank_difference) == (8, 2, 0)


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
    assert (row.first, row.second, row.seeds) == ("a", "b", 6)
    assert (row.ratio, row.ratio_low, row.ratio_high) == pytest.approx((2, 2, 2))
    assert row.p == pytest.approx(2 / 2**6)


def test_seeds_that_only_one_method_has_are_no_pair():
    row = only(compare(observed(a=[10.0] * 9, b=[20.0] * 6)))
    assert (row.seeds, row.better) == (6, 1)
    apart = observed(a=[10.0] * 6, b=[20.0] * 6).assign(seed=range(12))
    assert compare(apart).empty


def test_equal_methods_are_equal():
    row = only(compare(observed(a=[10.0, 20, 30, 40, 50], b=[10.0, 20, 30, 40, 50])))
    assert (row.ratio, row.better, row.p, row.p_holm) == (1, 0.5, 1, 1)


def test_ties_count_one_half():
    row = only(compare(observed(a=[10.0, 10, 10, 20, 5], b=[10.0, 10, 20, 10, 10])))
    assert row.better == (1 + 1 / 2 + 1 / 2 + 1) / 5
    assert row.ratio == 1


def test_where_neither_reaches_the_target_values_are_compared():
    never = {"cost": [100.0] * 6, "reached": [False] * 6}
    row = only(compare(observed(a=never | {"final": [-3.0] * 6}, b=never | {"final": [-5.0] * 6})))
    assert (row.quantity, row.better) == ("final", 0)
    assert row.ratio == pytest.approx(100)
    one = never | {"reached": [True] + [False] * 5}
    row = only(compare(observed(a=one | {"final": [-3.0] * 6}, b=never | {"final": [-5.0] * 6})))
    assert (row.quantity, row.seeds, row.better, row.ratio) == ("cost", 6, 1 / 6, 0)  # a value breaks each tie


@pytest.mark.parametrize(
    ("a", "b", "better"),
    [
        ((10, True, "completed"), (20, True, "completed"), 1),
        ((10, True, "failed"), (20, True, "interrupted"), 1),  # it got there, whatever came after
        ((10, True, "completed"), (100, False, "completed"), 1),
        ((10, True, "completed"), (10, False, "interrupted"), 1),
        ((10, True, "completed"), (9, False, "interrupted"), 1),  # an interrupted run counts as a miss
        ((10, True, "completed"), (np.inf, False, "failed"), 1),
        ((100, False, "completed"), (100, False, "completed"), 0.5),
        ((100, False, "completed"), (np.inf, False, "failed"), 1),
        ((100, False, "completed"), (100, False, "unfinished"), 1),
        ((100, False, "interrupted"), (np.inf, False, "failed"), 0.5),
        ((np.inf, False, "failed"), (np.inf, False, "failed"), 0.5),
        ((0, True, "completed"), (0, True, "completed"), 0.5),
        ((0, True, "completed"), (2, True, "completed"), 1),
    ],
)
def test_a_pair_is_decided_by_cost_then_by_value(a, b, better):
    """Besides five pairs that are equal, so that costs are what is compared."""
    columns = [
        {
            "cost": [cost] + [50] * 5,
            "reached": [reached] + [True] * 5,
            "status": [status] + ["completed"] * 5,
            "final": [-1.0] * 6,
            "spent": [100.0] * 6,
        }
        for cost, reached, status in (a, b)
    ]
    for one, other, expected in ((0, 1, better), (1, 0, 1 - better)):
        row = only(compare(observed(a=columns[one], b=columns[other])))
        assert (row.quantity, row.seeds) == ("cost", 6)
        assert row.better == pytest.approx((2.5 + expected) / 6)


def test_who_always_gets_there_against_who_never_does_is_infinitely_better():
    row = only(compare(observed(a=[10.0] * 8, b=[np.inf] * 8)))
    assert (row.ratio, row.ratio_low, row.ratio_high, row.better) == (0, 0, 0, 1)
    assert row.p == pytest.approx(2 / 2**8)


def test_copies_are_no_pairs_and_no_evidence():
    """A deterministic game run at thirty seeds is one observation, and no test is made of one."""
    copies = {"cost": [10.0] * 30, "replica": [False] + [True] * 29}
    row = only(compare(observed(a=copies, b=copies | {"cost": [20.0] * 30})))
    assert (row.seeds, row.better) == (1, 1)
    assert row.ratio == pytest.approx(0.5)
    assert np.isnan([row.p, row.p_holm, row.ratio_low]).all()
    random = {"cost": np.arange(20.0, 50)}
    assert only(compare(observed(a=copies, b=random))).seeds == 30  # one side alone is a copy: the pairs differ


def test_no_p_value_is_made_of_copies_on_disk(tmp_path):
    for algorithm, ratio in (("omd", 0.8), ("mpo", 0.7)):
        write_run(tmp_path, algorithm, curves={seed: geometric(0.5, ratio, SCHEDULE) for seed in range(20)})
    row = only(compare(observations(load(tmp_path), LOOK)))
    assert row.seeds == 1
    assert np.isnan(row.p)


def test_pairs_of_several_settings_are_paired_within_them():
    """One method costs twice the other, on a game that costs little and on one that costs much."""
    one, other = observed(a=[20.0, 40, 60], b=[10.0, 20, 30]), observed(a=[2e6, 4e6, 6e6], b=[1e6, 2e6, 3e6])
    both = pd.concat([one, other.assign(setting="h")], ignore_index=True)
    row = only(compare(both))
    assert (row.seeds, row.settings, row.better) == (3, 2, 0)  # three seeds, not six pairs
    assert row.ratio == pytest.approx(2)
    assert np.isnan(row.p)


def test_settings_of_one_seed_are_one_observation():
    """Six seeds on five settings with the same order at each seed have the p-value of six signs, not of thirty."""
    slow = np.array([20.0] * 5 + [5.0])
    tables = [observed(a=[10.0] * 6, b=slow).assign(setting=f"s{number}") for number in range(5)]
    row = only(compare(pd.concat(tables, ignore_index=True)))
    assert (row.seeds, row.settings, row.better) == (6, 5, 5 / 6)
    assert row.p == pytest.approx(2 * 7 / 2**6)


def test_the_test_favours_the_method_that_ranks_first():
    """A method that is 20% faster on 18 of 20 seeds and misses the target on 2 has the lower mean rank and its p."""
    rng = np.random.default_rng(0)
    base = 100 * np.exp(0.3 * rng.standard_normal(20))
    faster = np.where(np.arange(20) < 18, base / 1.2, np.inf)
    found = observed(nash_mp={"cost": base}, omd={"cost": faster, "spent": np.where(np.isinf(faster), 1e4, faster)})
    table, row = summarise(found), only(compare(found))
    assert table["method"].tolist() == ["omd", "nash_mp"]
    assert (row.rank_difference, row.better, table["misses"].tolist()) == (pytest.approx(0.8), 0.1, [2, 0])
    assert row.p == pytest.approx(stats.binomtest(2, 20).pvalue, rel=1e-12)


@pytest.mark.parametrize("misses", [0.1, 0.3])
def test_the_order_and_the_p_value_always_agree(misses):
    rng = np.random.default_rng(1)
    for _ in range(15):
        costs = np.exp(rng.standard_normal((3, 12)))
        costs[0] *= 0.7
        costs[rng.random((3, 12)) < misses] = np.inf
        found = observed(a=costs[0], b=costs[1], c=costs[2])
        table, pairs = summarise(found), compare(found)
        for row in pairs.itertuples():
            order = table["method"].tolist()
            first = order.index(row.first) < order.index(row.second)
            assert row.rank_difference == 0 or (row.rank_difference < 0) == first


def test_a_target_that_is_reached_at_the_start_has_a_ratio_of_one(tmp_path):
    for algorithm in ("omd", "mpo"):
        write_run(tmp_path, algorithm, curves={0: [(0, 0, 1e-5)]})
    row = only(compare(observations(load(tmp_path), LOOK)))
    assert (row.ratio, row.better) == (1, 0.5)


def test_a_comparison_is_turned_round():
    table = compare(observed(a=[10.0] * 6, b=[20.0] * 6))
    one, other = against(table, "g", "b", "a"), against(table, "g", "a", "b")
    assert (one.ratio, other.ratio, one.p, other.p) == pytest.approx((2, 0.5, 2 / 2**6, 2 / 2**6))
    assert np.isnan(against(table, "g", "a", "c").p)
    assert np.isnan(against(table, "g", "a", "a").ratio)


# --- tests of significance -------------------------------------------------------------------------------------------


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
    assert table["p_study"].tolist() == pytest.approx([8 / 2**10] * 4)


def test_one_method_alone_is_compared_with_nothing():
    table = compare(observed(a=[10.0] * 5))
    assert table.empty
    assert table.columns.tolist()[:3] == ["group", "first", "second"]
    assert "p_holm" in table


@pytest.mark.parametrize("methods", [2, 3, 5, 14])
def test_the_evidence_that_is_needed_is_the_fewest_seeds_that_can_be_significant(methods):
    comparisons = methods * (methods - 1) // 2
    needed = pairs_needed(comparisons)
    assert sign_flip(np.ones(needed)) == 2 / 2**needed
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


def test_a_setting_is_won_by_the_lowest_mean_rank_and_by_nobody_where_all_runs_failed():
    never, failed = [np.inf] * 5, {"cost": [np.inf] * 5, "final": [np.inf] * 5}
    found = settings(
        observed(a=[10.0] * 5, b=[10.0] * 5, c=[20.0] * 5),  # a and b
        observed(a=[30.0] * 5, b=never, c=[20.0] * 5),  # c
        observed(a={"cost": never, "final": [-1.0] * 5}, b={"cost": never, "final": [-2.0] * 5}, c=failed),  # b
        observed(a=failed, b=failed, c=failed),  # nobody
    )
    assert overall(found).set_index("method")["wins"].to_dict() == {"a": 1, "b": 2, "c": 1}


def test_without_the_target_methods_are_ordered_by_their_values_and_not_by_name():
    """Nine settings on which no method reaches the target; the last by name wins eight of them."""
    never = {"cost": [np.inf] * 6}
    tables = [
        observed(egpo=never | {"final": [-1.0] * 6}, omd=never | {"final": [-2.0] * 6},
                 prox=never | {"final": [-3.0 if number else -0.5] * 6})
        for number in range(9)
    ]  # fmt: skip
    table = overall(settings(*tables))
    assert table["method"].tolist() == ["prox", "omd", "egpo"]
    assert table["wins"].tolist() == [8, 1, 0]
    assert table["mean_rank"].tolist() == pytest.approx([(8 + 3) / 9, (16 + 1) / 9, (24 + 2) / 9])


def test_totals_have_ranks_that_the_seeds_allow():
    rng = np.random.default_rng(0)
    tables = []
    for _ in range(3):
        noise = np.exp(0.3 * rng.standard_normal((3, 12)))
        tables.append(observed(a=10 * noise[0], b=10 * noise[1], c=1000 * noise[2]))
    table = overall(settings(*tables)).set_index("method")
    assert (table.loc["c", "rank_low"], table.loc["c", "rank_high"]) == (3, 3)
    assert table.loc[["a", "b"], "rank_low"].tolist() == [1, 1]
    assert table.loc[["a", "b"], "rank_high"].tolist() == [2, 2]


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
