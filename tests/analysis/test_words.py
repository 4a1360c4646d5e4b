"""The sentences: who wins where, by how much, and what may not be concluded, on studies whose answers are known."""

from __future__ import annotations

import math

import pytest

from nlhf.analysis import cautions, conclusions, wording
from nlhf.analysis.criterion import Criterion
from nlhf.analysis.results import analyse
from nlhf.stats.text import number, shown_p
from tests.analysis.synthetic import write_run

CRITERION = Criterion(target=1e-3)
NEVER = None


def curve(cost, seed=0):
    """Comes down to 1e-3 at `cost` queries exactly, or ends at 0.5 after 100; no two seeds are alike."""
    start = [(0, 0, 1.0), (1, 1, 0.9 - seed / 100)]
    return [*start, (2, 100, 0.5)] if cost is NEVER else [*start, (2, cost, 1e-3)]


def study(root, costs, game="circle", seeds=6, **options):
    """A run per method: its cost at every seed, or a list of one cost a seed."""
    for method, cost in costs.items():
        each = cost if isinstance(cost, list) else [cost] * seeds
        write_run(root, method, game, curves={seed: curve(c, seed) for seed, c in enumerate(each)}, **options)


def said(root, criterion=CRITERION):
    results = analyse(root, criterion)
    return conclusions.headline(results)


def warned(root, criterion=CRITERION):
    results = analyse(root, criterion)
    return cautions.cautions(results.observations, results.summary, results.study.runs)


# --- numbers and lists -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (1e-6, "1e-6"), (1e-10, "1e-10"), (0.05, "0.05"), (4.7123, "4.71"), (999.4, "999"), (999.9, "1,000"),
     (1250, "1,250"), (1234.5, "1,234"), (2_500_000, "2,500,000"), (1e12, "1e12"), (3.2e-7, "3.2e-7"), (-0.5, "-0.5"),
     (math.nan, "-"), (math.inf, "∞")],
)  # fmt: skip
def test_numbers_are_written_as_people_write_them(value, text):
    assert number(value) == text


@pytest.mark.parametrize(("names", "text"), [(["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")])
def test_lists_end_in_and(names, text):
    assert wording.listed(names) == text


def test_groups_are_called_by_what_tells_them_apart():
    assert wording.distinct(["circle, beta = 1", "votes, beta = 1"]) == {
        "circle, beta = 1": "circle",
        "votes, beta = 1": "votes",
    }
    assert wording.distinct(["circle, beta = 1", "circle, beta = 2"])["circle, beta = 1"] == "beta = 1"
    assert wording.distinct(["circle, beta = 1"]) == {"circle, beta = 1": "circle, beta = 1"}
    assert wording.distinct(["votes", "votes, beta = 1"]) == {"votes": "votes", "votes, beta = 1": "beta = 1"}


def test_a_note_stands_once_for_all_methods_it_is_about():
    caveats = {"a": "it is biased", "b, step = 1": "it cycles", "b, step = 2": "it cycles", "b, step = 3": "it cycles"}
    assert wording.notes(caveats, caveats) == ["† a: it is biased.", "† b: it cycles."]
    assert wording.notes(caveats, ["b, step = 1", "c"]) == ["† b, step = 1: it cycles."]
    assert wording.notes(caveats, ["c"]) == []


# --- one group -------------------------------------------------------------------------------------------------------


def test_one_group_names_the_winner_its_cost_the_next_and_whether_it_is_luck(tmp_path):
    fast = [20, 21, 22, 23, 24, 25, 26]
    study(tmp_path, {"nash_mp": fast, "omd": [3 * cost for cost in fast], "sppo": NEVER}, seeds=7)
    assert said(tmp_path) == (
        "nash_mp needs the fewest preference queries to exploitability 0.001 on circle, beta = 0.05: 23 (median of 7 "
        "seeds, 95% interval 1 to 25); the next, omd, needs 3 times as much (median, 95% interval 0.0385 to 78) "
        "(p = 0.047, Holm)."
    )  # p: 3 * 2/2^7; the two rows around the target are one query and the last one apart


def test_a_difference_that_may_be_luck_is_called_so(tmp_path):
    study(tmp_path, {"nash_mp": [20, 30, 20, 30, 20], "omd": [30, 20, 30, 20, 40]})
    assert said(tmp_path).endswith("; the difference is not significant (p = 1, Holm).")  # three signs of five


def test_a_method_that_is_faster_on_most_seeds_but_misses_some_is_called_so(tmp_path):
    """20 seeds: omd is 20% faster on 18, and misses the target on 2. The p-value is that of the order."""
    slow, fast = [18 + 3 * seed for seed in range(20)], [15 + 5 * seed // 2 for seed in range(18)]
    study(tmp_path, {"nash_mp": slow, "omd": [*fast, NEVER, NEVER]})
    sentence = said(tmp_path)
    assert sentence.startswith("omd needs the fewest preference queries")
    assert ", 90% of which reach it, " in sentence
    assert "; the next, nash_mp, needs 1.20 times as much " in sentence
    assert sentence.endswith("(p < 0.001, Holm). omd is faster on most seeds, but misses the target on 2 of 20.")


def test_a_lower_median_that_ranks_second_is_named(tmp_path):
    """The first is better on four seeds of six by a little, and the other on two by much."""
    study(tmp_path, {"a": [50, 51, 52, 53, 60, 61], "b": [51, 52, 53, 54, 10, 11]})
    assert "a ranks first in preference queries to exploitability 0.001 on circle" in said(tmp_path)
    assert ", although b has the lower median, 51.5; the next, b, needs 1.02 times as much" in said(tmp_path)


def test_where_only_one_method_reaches_the_target_the_next_does_not(tmp_path):
    study(tmp_path, {"nash_mp": 20, "omd": NEVER}, seeds=1)
    assert (
        ": 20 (one observation, the rows around the target allow 1 to 20); the next, omd, does not reach it."
        in said(tmp_path)
    )


def test_where_some_seeds_miss_the_target_their_share_is_named(tmp_path):
    study(tmp_path / "one", {"sppo": [40, 40, 40, 40, NEVER]})
    assert "(median of 5 seeds, 80% of which reach it" in said(tmp_path / "one")


def test_interrupted_seeds_leave_a_method_without_a_rank(tmp_path):
    study(tmp_path, {"a": 20}, seeds=10)
    for seeds, status, cost in ((range(5), "completed", 5), (range(5, 10), "interrupted", NEVER)):
        write_run(tmp_path, "b", "circle", curves={seed: curve(cost, seed) for seed in seeds}, status=status)
    assert said(tmp_path).startswith("a needs the fewest")
    assert "b has no rank: 5 of its 10 seeds did not end." in warned(tmp_path)


def test_common_settings_are_named(tmp_path):
    study(tmp_path, {"a": 20, "b": 10}, "p")
    study(tmp_path, {"b": 60}, "q")
    by_beta = Criterion(target=1e-3, by=("beta",))
    assert said(tmp_path, by_beta).startswith("b needs the fewest")
    assert (
        "Compared on 6 of 12 settings x seeds, those that all ranked methods ran; ranks, ratios and p-values leave the "
        "others out."
    ) in warned(tmp_path, by_beta)


def test_seeds_of_several_settings_are_not_multiplied(tmp_path):
    for beta in (0.1, 0.2, 0.3):
        study(tmp_path, {"a": 10, "b": 20}, seeds=8, beta=beta)
    sentence = said(tmp_path, Criterion(target=1e-3, by=("game",)))
    assert "(median of 8 seeds x 3 settings" in sentence
    assert "(p = 0.0078, Holm)" in sentence  # 2/2^8, not 2/2^24


def test_a_small_budget_is_named_as_the_horizon(tmp_path):
    study(tmp_path, {"a": 80})
    write_run(tmp_path, "b", "circle", curves={seed: [(0, 0, 1.0), (1, 1, 0.5), (2, 30, 0.4)] for seed in range(6)})
    (caution,) = [text for text in warned(tmp_path) if "--horizon" in text]
    assert caution == (
        "Methods are ranked by what they reach within 30, the budget of b, although others spent more: --horizon sets "
        "another limit."
    )
    assert said(tmp_path).startswith("On circle, beta = 0.05 no method reaches exploitability 0.001 within 30")
    assert said(tmp_path, Criterion(target=1e-3, horizon=100)).startswith("a needs the fewest")


def test_a_method_alone_has_no_next(tmp_path):
    study(tmp_path, {"nash_mp": 20})
    assert said(tmp_path).endswith(": 20 (median of 6 seeds, 95% interval 1 to 20).")


def test_ties_are_named_together(tmp_path):
    study(tmp_path, {"a": 20, "b": 20, "c": 30}, seeds=1)
    assert said(tmp_path).startswith("a and b need the fewest preference queries")
    assert "; the next, c, needs 1.50 times as much (one seed, " in said(tmp_path)


def test_where_all_are_equal_there_is_no_next(tmp_path):
    study(tmp_path, {"a": 20, "b": 20}, seeds=1)
    assert said(tmp_path).endswith(": 20 (one observation, the rows around the target allow 1 to 20).")


def test_where_the_start_is_good_enough_nothing_is_divided_by_zero(tmp_path):
    write_run(tmp_path, "a", curves={0: [(0, 0, 1e-5), (1, 1, 1e-6)]})
    study(tmp_path, {"b": 10}, "random_tournament", seeds=1)
    assert ": 0 (one observation); the next, b, needs 10 times as much (one seed, " in said(tmp_path)


def test_where_nothing_is_reached_the_lowest_value_is_named_with_its_p_value(tmp_path):
    study(tmp_path, {"a": NEVER}, seeds=6)
    curves = {seed: [(0, 0, 1.0), (1, 1, 0.6), (2, 100, 0.4 - seed / 100 if seed else 0.9)] for seed in range(6)}
    write_run(tmp_path, "b", "circle", curves=curves)
    assert said(tmp_path) == (
        "On circle, beta = 0.05 no method reaches exploitability 0.001; the lowest value: b (median 0.375); the next: "
        "a (0.5, 1.33 times as high, median, 95% interval 0.556 to 1.43); the difference is not significant (p = 0.22, "
        "Holm)."
    )  # five signs of six: 14/64


def test_values_are_those_at_the_horizon(tmp_path):
    """The second method spent more, and its last value is lower than any at the horizon."""
    curves = {seed: [(0, 0, 1.0), (1, 1, 0.6), (2, 30, 0.4 - seed / 100)] for seed in range(6)}
    write_run(tmp_path, "a", "circle", curves=curves)
    curves = {seed: [(0, 0, 1.0), (1, 1, 0.7), (2, 30, 0.5 - seed / 100), (3, 900, 0.1)] for seed in range(6)}
    write_run(tmp_path, "b", "circle", curves=curves)
    sentence = said(tmp_path)
    assert "no method reaches exploitability 0.001 within 30; the lowest value: a (median 0.375)" in sentence
    assert "the next: b (0.475, 1.27 times as high" in sentence


def test_where_all_runs_failed_no_method_is_called_best(tmp_path):
    study(tmp_path, {"a": NEVER, "b": NEVER}, status="failed")
    assert said(tmp_path) == "No run on circle, beta = 0.05 completed, so no method can be called best."


@pytest.mark.parametrize("status", ["interrupted", None])
def test_where_nothing_has_ended_no_method_has_a_rank(tmp_path, status):
    study(tmp_path, {"a": NEVER, "b": NEVER}, status=status)
    assert said(tmp_path) == (
        "No method has a rank on circle, beta = 0.05 (a: 6 of its 6 seeds did not end; b: 6 of its 6 seeds did not "
        "end)."
    )


def test_metric_cost_and_target_are_in_the_sentence(tmp_path):
    study(tmp_path, {"a": 20}, seeds=1)
    criterion = Criterion("kl_to_equilibrium", 0.95, "seconds")
    assert said(tmp_path, criterion).startswith(
        "a needs the least training time in seconds to KL to the equilibrium 0.95 on"
    )


@pytest.mark.parametrize(
    ("ratio", "text"), [(1.0, "1.00 times"), (1.154, "1.15 times"), (4.66, "4.7 times"), (123, "123 times")]
)
def test_factors_are_written_shortly(ratio, text):
    assert wording.times(ratio) == text


@pytest.mark.parametrize(("p", "text"), [(1.0, "p = 1"), (0.0469, "p = 0.047"), (0.00049, "p < 0.001")])
def test_p_values_are_not_written_more_precisely_than_they_are(p, text):
    assert shown_p(p) == text


# --- several groups --------------------------------------------------------------------------------------------------


def test_over_groups_every_winner_is_told_with_the_groups_it_wins(tmp_path):
    for game, costs in {"p": (1, 2), "q": (1, 2), "r": (2, 1), "s": (NEVER, NEVER)}.items():
        study(tmp_path, {"a": costs[0] and costs[0] * 10, "b": costs[1] and costs[1] * 10}, game, seeds=1)
    assert said(tmp_path) == (
        "Over all 4 settings a has the lowest mean rank, 1.38; the next, b, has 1.62 and needs 2 times as much "
        "(one seed, the rows around the target allow 0.1 to 20). The fewest preference queries to "
        "exploitability 0.001: a on p and q; b on r; no method reaches it on s (lowest value: a and b)."
    )


def test_a_method_that_wins_everywhere_wins_on_all(tmp_path):
    for game in "pqr":
        study(tmp_path, {"a": 10, "b": 20}, game, seeds=1)
    assert said(tmp_path) == (
        "Over all 3 settings a has the lowest mean rank, 1.00; the next, b, has 2.00 and needs 2 times as much "
        "(one seed, the rows around the target allow 0.1 to 20). The fewest preference queries to "
        "exploitability 0.001: a on all 3."
    )


def test_significant_wins_are_corrected_over_all_settings(tmp_path):
    """Eight equal signs have p = 2/2^8, and twice that for two settings. Over both, two of eight seeds are ties."""
    study(tmp_path, {"a": 10, "b": 20}, "p", seeds=8)
    study(tmp_path, {"a": [10, 30, 10, 30, 10, 10, 10, 10], "b": 20}, "q", seeds=8)
    assert said(tmp_path) == (
        "Over all 2 settings a has the lowest mean rank, 1.12; the next, b, has 1.88 and needs 2 times as much "
        "(median, 95% interval 0.0577 to 20) (p = 0.031, Holm). The fewest "
        "preference queries to exploitability 0.001: a on all 2 (significantly better than the next on 1, corrected "
        "over all settings)."
    )
    for game in "rstuvw":
        study(tmp_path, {"a": [10, 30] * 4, "b": 20}, game, seeds=8)
    assert "corrected over all settings" in said(tmp_path)
    assert "significantly better than the next on 1" not in said(tmp_path)  # 8 * 2/2^8 > 0.05


def test_ties_over_groups_are_counted_for_each(tmp_path):
    for game in "pq":
        study(tmp_path, {"a": 10, "b": 10}, game, seeds=1)
    assert said(tmp_path).endswith(": a on all 2; b on all 2, ties counted for each.")


def test_many_groups_are_counted(tmp_path):
    for place, game in enumerate("pqrstu"):
        study(tmp_path, {"a": 10 if place < 4 else 30, "b": 20}, game, seeds=1)
    assert said(tmp_path).endswith(": a on 4 of 6; b on t and u.")


def test_more_winners_than_can_be_told_are_the_rest(tmp_path):
    for place, game in enumerate("pqrstu"):
        study(tmp_path, {name: 10 if k == place else 20 for k, name in enumerate("abcdef")}, game, seeds=1)
    assert said(tmp_path).endswith("; e and f on the rest.")


def test_over_groups_where_nothing_is_reached_or_has_ended(tmp_path):
    for game in "pq":
        study(tmp_path / "ended", {"a": NEVER}, game, seeds=1)
        study(tmp_path / "failed", {"a": NEVER, "b": NEVER}, game, seeds=1, status="failed")
    assert said(tmp_path / "ended") == "No method reaches exploitability 0.001 (lowest value: a (2))."
    assert said(tmp_path / "failed") == "No method reaches exploitability 0.001 (no run completed)."


# --- cautions --------------------------------------------------------------------------------------------------------


def test_a_study_of_enough_seeds_has_no_caution(tmp_path):
    study(tmp_path, {"a": 10, "b": 20}, seeds=6)
    assert warned(tmp_path) == []


def test_failed_and_unfinished_runs_are_counted(tmp_path):
    study(tmp_path, {"a": 10, "b": 20})
    study(tmp_path, {"a": NEVER}, "votes", status="failed")
    study(tmp_path, {"b": NEVER}, "votes", status=None)
    study(tmp_path, {"c": NEVER}, "votes", status="interrupted")
    write_run(tmp_path, "d", "votes", curves={}, status="failed", name="empty")
    first, second, third, *_ = warned(tmp_path)
    assert first.startswith("2 runs failed: ")
    assert "counts as infinite" in first
    assert second.startswith("2 runs did not end: a target not reached yet counts as missed")
    assert third == f"1 run without rows: {tmp_path / 'empty'}."


def test_copies_are_told_and_not_counted(tmp_path):
    write_run(tmp_path, "a", curves={seed: curve(10) for seed in range(6)})
    assert warned(tmp_path)[0] == "Not counted, as exact copies of another observation: 5 of 6 observations."
    assert warned(tmp_path)[1].startswith("There is one different seed, so no interval or test over seeds")


def test_few_seeds_are_named(tmp_path):
    study(tmp_path, {"a": 10, "b": 20}, seeds=4)
    assert warned(tmp_path) == [
        "On circle, beta = 0.05 there are only 4 different seeds to compare: intervals and tests need 5 or more."
    ]


def test_too_few_seeds_for_so_many_methods_are_told(tmp_path):
    """Five methods are ten pairs: 2/2^n * 10 < 0.05 needs nine seeds."""
    study(tmp_path, dict.fromkeys("abcde", 10), seeds=8)
    (caution,) = warned(tmp_path)
    assert caution == (
        "On circle, beta = 0.05 no test can reach p < 0.05 after Holm's correction: that takes 9 seeds or "
        "more, or fewer methods."
    )


def test_tuned_configurations_are_judged_on_other_seeds(tmp_path):
    for step in (1, 2, 3):
        study(tmp_path, {"a": 10 * step}, seeds=12, algorithm__step_size=step)
    study(tmp_path, {"b": 20}, seeds=12)
    assert warned(tmp_path) == ["Tuning budgets differ: a 3, b 1 configurations."]
    assert said(tmp_path).startswith(
        "Each algorithm chose its configuration on one third of the seeds and is judged on the others, as follows. "
        "a, step_size = 1 needs the fewest preference queries to exploitability 0.001 on circle, beta = 0.05: 10 "
        "(median of 8 seeds, "
    )
    assert said(tmp_path).endswith("(p = 0.0078, Holm).")


def test_configurations_that_were_tried_on_the_same_seeds_are_warned_of(tmp_path):
    for step in (1, 2):
        study(tmp_path, {"a": 10 * step}, seeds=9, algorithm__step_size=step)
    (caution,) = warned(tmp_path)
    assert caution.startswith(
        "Up to 2 configurations of an algorithm were tried on these same seeds: the best ones look"
    )


@pytest.mark.parametrize("key", ["commit", "results_version"])
def test_runs_of_several_versions_are_told(tmp_path, key):
    study(tmp_path, {"a": 10}, summary={key: 1})
    study(tmp_path, {"b": 20}, summary={key: 2})
    (caution,) = warned(tmp_path)
    assert caution.startswith("Runs were made with 2 values of ")


def test_seeds_without_the_metric_are_told():
    assert cautions.unmeasured(1, Criterion("span_to_equilibrium")) == [
        "1 seed never measured the span to the equilibrium: left out."
    ]
    assert cautions.unmeasured(0, CRITERION) == []


def test_short_names_of_groups_stay_different():
    short = {"a, beta = 1": "a", "b, beta = 1": "b"}
    assert wording.distinct(list(short)) == short
    alike = ["s, a, b", "a, s, b", "s, c"]  # without `s` the first two would both be `a, b`
    assert wording.distinct(alike) == {group: group for group in alike}
