"""Differences of language models' win rates, paired by prompt: numbers by hand, seeds, prompts and sentences."""

from __future__ import annotations

import html
import json
from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from nlhf.analysis.criterion import OF_TEXTS, Criterion
from nlhf.analysis.report import write
from nlhf.analysis.results import analyse
from nlhf.analysis.text_pairs import paired_differences, sentence
from nlhf.analysis.text_rows import win_rates
from nlhf.cli.compare import main
from nlhf.records import PROMPT_COLUMNS
from nlhf.stats.equal_length import rate_at_equal_length
from nlhf.stats.paired import paired_mean, paired_p
from tests.analysis.synthetic import write_run

PROMPTS = 40


def write_texts(root, method, seed, rates, key="win_rate", **options):
    """A completed run whose policy wins these shares of its completions, one for each prompt."""
    lost = 1 - float(np.mean(rates))
    extra = {"exploitability": [float("nan")] * 2, OF_TEXTS: [0.5, lost], "win_rate_low": [0.4, max(0.0, 0.9 - lost)]}
    folder = write_run(root, method, "text", curves={seed: [(0, 0, 1.0), (5, 50, 1.0)]},
                       extra={name: {seed: values} for name, values in extra.items()}, **options)  # fmt: skip
    entries = [
        {"prompt": f"prompt {n}", "reference": "a", "policy": "b", "preference": rate, key: rate}
        for n, rate in enumerate(rates)
    ]
    (folder / "completions.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return folder


def differences(root):
    results = analyse(root, Criterion())
    return paired_differences(win_rates(results.study.rows, results.study.runs))


ODD = np.arange(PROMPTS) % 2
BETTER, WORSE = 0.5 + 0.25 * ODD, 0.5 - 0.25 * ODD  # on every other prompt by one half


def test_a_difference_is_the_mean_over_prompts(tmp_path):
    write_texts(tmp_path, "omd", 0, WORSE)
    write_texts(tmp_path, "nash_mp", 0, BETTER[::-1])
    (row,) = differences(tmp_path).itertuples()
    assert (row.first, row.second, row.prompts, row.seeds) == ("nash_mp", "omd", PROMPTS, 1)
    assert row.first_rate == pytest.approx(0.625)
    assert row.second_rate == pytest.approx(0.375)
    paired = np.sort(BETTER[::-1] - WORSE)
    assert row.difference == pytest.approx(0.25)
    assert row.difference_low == pytest.approx(paired_mean(paired).low)
    assert row.p == row.p_holm == pytest.approx(paired_p(paired))


def test_prompts_are_matched_by_their_text_and_copies_are_one_prompt(tmp_path):
    first, second = (write_texts(tmp_path, name, 0, np.ones(8)) for name in ("omd", "sppo"))
    lines = [{"prompt": p, "preference": 1.0, "win_rate": rate} for p, rate in (("a", 1), ("a", 0), ("b", 1), ("c", 1))]
    (first / "completions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    lines = [{"prompt": p, "preference": 0.0, "win_rate": 0} for p in ("c", "b", "a", "d")]
    (second / "completions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (row,) = differences(tmp_path).itertuples()
    assert (row.prompts, row.difference) == (3, pytest.approx((0.5 + 1 + 1) / 3))


def test_seeds_are_no_further_prompts(tmp_path):
    """Ten seeds with the same completions give the interval of one."""
    for seed in range(10):
        write_texts(tmp_path / "ten", "nash_mp", seed, BETTER)
        write_texts(tmp_path / "ten", "omd", seed, WORSE)
    write_texts(tmp_path / "one", "nash_mp", 0, BETTER)
    write_texts(tmp_path / "one", "omd", 0, WORSE)
    ten, one = differences(tmp_path / "ten"), differences(tmp_path / "one")
    assert ten["seeds"].tolist() == [10]
    numbers = ["prompts", "difference", "difference_low", "difference_high", "p"]
    pd.testing.assert_frame_equal(ten[numbers], one[numbers], check_exact=False)


def test_only_seeds_that_both_methods_ran_are_compared(tmp_path):
    for seed, rates in ((0, BETTER), (1, np.zeros(PROMPTS))):
        write_texts(tmp_path, "nash_mp", seed, rates)
    for seed in (0, 2):
        write_texts(tmp_path, "omd", seed, WORSE)
    (row,) = differences(tmp_path).itertuples()
    assert (row.seeds, row.difference) == (1, pytest.approx(0.25))


def test_runs_that_did_not_complete_or_lost_their_texts_are_left_out(tmp_path):
    write_texts(tmp_path, "nash_mp", 0, BETTER)
    write_texts(tmp_path, "omd", 0, WORSE, status="interrupted")
    (write_texts(tmp_path, "sppo", 0, WORSE) / "completions.jsonl").unlink()
    assert differences(tmp_path).empty
    assert sentence(differences(tmp_path)) == ""


def test_older_files_hold_the_preference_of_one_completion(tmp_path):
    write_texts(tmp_path, "nash_mp", 0, [0.9] * 20 + [0.5] * 20, key="other")
    write_texts(tmp_path, "omd", 0, [0.1] * 40, key="other")
    (row,) = differences(tmp_path).itertuples()
    assert (row.first_rate, row.second_rate) == (0.75, 0)


def test_p_values_are_corrected_for_all_pairs_of_all_settings(tmp_path):
    for beta in (0.05, 0.1):
        for method, rates in (("nash_mp", BETTER), ("omd", WORSE), ("sppo", np.full(PROMPTS, 0.5))):
            write_texts(tmp_path, method, 0, rates, beta=beta)
    table = differences(tmp_path)
    assert len(table) == 6
    assert table["p_holm"].min() == pytest.approx(6 * table["p"].min())


def test_one_sentence_names_who_wins_more(tmp_path, capsys):
    """Differences of 0.5 on twenty of forty prompts."""
    write_texts(tmp_path, "nash_mp", 0, BETTER)
    write_texts(tmp_path, "omd", 0, WORSE)
    expected = sentence(differences(tmp_path))
    assert expected.startswith("On the same 40 test prompts nash_mp wins 0.25 [0.1")
    assert expected.endswith(
        "more of the pairs than omd (p < 0.001). This compares the trained policies on new prompts, for this one "
        "training seed."
    )
    assert main([str(tmp_path), "--no-report"]) == 0
    assert expected in " ".join(capsys.readouterr().out.split())
    page = write(analyse(tmp_path, Criterion()), tmp_path).read_text()
    assert f'<p class="headline">{html.escape(expected)}</p>' in page
    assert "<td>+0.250 <small>[+0.1" in page


def test_equal_methods_are_not_called_different(tmp_path):
    write_texts(tmp_path, "nash_mp", 0, BETTER)
    write_texts(tmp_path, "omd", 0, BETTER[::-1])
    assert sentence(differences(tmp_path)).startswith(
        "On the same 40 test prompts nash_mp and omd are not distinguishable: they win 0.62 and 0.62 of the pairs, a "
        "difference of 0.00 [-0."
    )
    assert "0.1] (p = 1). This compares" in sentence(differences(tmp_path)).replace("0.12", "0.1").replace(
        "0.11", "0.1"
    )
    write_texts(tmp_path, "sppo", 0, BETTER)
    assert sentence(differences(tmp_path)).startswith(
        "On the same 40 test prompts no two methods are distinguishable (p = 1, Holm over 3 pairs). This compares"
    )


# --- one completion of each prompt -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("won", "lost"), [(9, 2), (5, 5), (12, 0), (30, 8)])
def test_without_ties_p_is_that_of_mcnemars_exact_test(tmp_path, won, lost):
    """Of the prompts on which only one method wins, each is equally likely to have it."""
    first, second = np.ones(PROMPTS), np.ones(PROMPTS)
    second[:won], first[won : won + lost] = 0, 0
    write_texts(tmp_path, "nash_mp", 0, first)
    write_texts(tmp_path, "omd", 0, second)
    (row,) = differences(tmp_path).itertuples()
    assert row.exact
    assert row.p == pytest.approx(stats.binomtest(won, won + lost).pvalue, rel=1e-9)


def test_with_ties_p_counts_the_signs_of_the_differences(tmp_path):
    first = np.array([1, 1, 0.5, 1, 0.5, 0, 1, 0.5, 1, 1])
    second = np.array([0, 0.5, 0, 0, 1, 0.5, 0, 0.5, 0, 0.5])
    write_texts(tmp_path, "nash_mp", 0, first)
    write_texts(tmp_path, "omd", 0, second)
    (row,) = differences(tmp_path).itertuples()
    sums = [np.dot(signs, first - second) for signs in product((-1, 1), repeat=10)]
    assert row.p == pytest.approx(np.mean(np.abs(sums) >= abs((first - second).sum())))


def test_several_completions_or_seeds_have_the_p_value_of_the_interval(tmp_path):
    for seed in (0, 1):
        write_texts(tmp_path, "nash_mp", seed, np.ones(PROMPTS))
        write_texts(tmp_path, "omd", seed, ODD * 1.0)
    (row,) = differences(tmp_path).itertuples()
    assert not row.exact
    assert row.p == paired_p(1 - ODD)


# --- equal length and equal divergence -------------------------------------------------------------------------------


def write_lengths(root, method, wins, lengths):
    """A run of one seed with texts that are this much longer than the reference's."""
    folder = write_texts(root, method, 0, wins)
    entries = [
        {"prompt": f"prompt {n}", "reference": "a" * 50, "policy": "b" * (50 + int(length)), "preference": won,
         "win_rate": won}
        for n, (won, length) in enumerate(zip(wins, lengths, strict=True))
    ]  # fmt: skip
    (folder / "completions.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))


def test_win_rates_at_equal_length_are_columns_and_a_sentence(tmp_path):
    rng = np.random.default_rng(0)
    runs = {}
    for method, shift in (("nash_mp", 0), ("omd", 30)):
        lengths = rng.integers(-20, 21, PROMPTS) + shift
        wins = (rng.random(PROMPTS) < 0.5 + lengths / 120).astype(float)
        write_lengths(tmp_path, method, wins, lengths)
        runs[method] = rate_at_equal_length(wins, lengths.astype(float), np.arange(PROMPTS))
    results = analyse(tmp_path, Criterion())
    (row,) = results.text_pairs.itertuples()
    assert row.first_controlled.value == pytest.approx(runs[row.first].value)
    last = results.text_sentences[-1]
    best = max(runs, key=lambda name: runs[name].value)
    assert last.startswith(f"Win rates against the reference at equal length: {best} {runs[best].value:.2f} [")
    page = write(results, tmp_path).read_text()
    assert f"<td>{runs[best].value:.3f} <small>[" in page


def write_rows(folder, points):
    """by_prompt.csv with rows (iteration, divergence, win rate), equal on all prompts."""
    cells = [(k, *(" ".join([str(value)] * PROMPTS) for value in (wins, divergence))) for k, divergence, wins in points]
    lines = [",".join(PROMPT_COLUMNS), *(f"0,{k},{wins},{divergence}" for k, wins, divergence in cells)]
    (folder / "by_prompt.csv").write_text("\n".join(lines) + "\n")


def test_methods_are_compared_at_the_largest_common_divergence(tmp_path):
    write_rows(write_texts(tmp_path, "nash_mp", 0, WORSE), [(0, 0, 0.5), (5, 0.25, 0.7)])
    write_rows(write_texts(tmp_path, "omd", 0, BETTER), [(0, 0, 0.5), (5, 1, 0.7)])
    results = analyse(tmp_path, Criterion())
    (row,) = results.at_equal_kl.itertuples()
    assert (row.first, row.second, row.divergence) == ("nash_mp", "omd", pytest.approx(0.25))
    assert (row.first_rate, row.second_rate, row.difference) == pytest.approx((0.7, 0.6, 0.1))
    assert results.text_sentences[0].startswith("On the same 40 test prompts omd wins")
    assert results.text_sentences[1].startswith(
        "At equal KL divergence, 0.25, the largest that both reach, nash_mp wins 0.10 [0.10, 0.10] more of the pairs "
        "than omd (p < 0.001)."
    )
    page = write(results, tmp_path).read_text()
    assert "<h3>At equal KL divergence</h3>" in page
    assert (tmp_path / "figures" / "equal_kl.png").exists()


HEAD = "seed,iteration,win_rates,divergences\n"


@pytest.mark.parametrize(
    "content",
    [
        "",
        "seed,iteration\n0,0\n",
        f"{HEAD}0,0,1 x,0 0\n",
        f"{HEAD}0,0,1 1,0 0\n0,5,1,0\n",
        f"{HEAD}0,0,1 nan,0 0\n0,5,1 1,1 1\n",
        f"{HEAD}0,5,1 1,0 0\n",
    ],
)
def test_rows_that_are_damaged_or_missing_are_not_compared(tmp_path, content):
    for method in ("nash_mp", "omd"):
        (write_texts(tmp_path, method, 0, BETTER) / "by_prompt.csv").write_text(content)
    assert analyse(tmp_path, Criterion()).at_equal_kl.empty


def test_studies_without_texts_have_no_pairs(report):
    assert "Win rates on the same prompts" not in report.read_text()


# --- the interval and the p-value ------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_the_interval_excludes_zero_where_p_is_below_its_level(seed):
    rng = np.random.default_rng(seed)
    values = rng.choice([-1, -0.5, 0, 0.5, 1], 24, p=[0.1, 0.1, 0.3, 0.25, 0.25])
    mean, p = paired_mean(values), paired_p(values)
    assert (p < 0.05) == (mean.low > 0 or mean.high < 0)
    assert paired_p(-values) == pytest.approx(p)


def test_differences_that_always_agree_have_an_interval():
    mean = paired_mean(np.zeros(32))
    assert mean.low < 0 < mean.high
    assert (paired_p(np.zeros(32)), paired_p(np.ones(32))) == (1, pytest.approx(0, abs=1e-6))
    assert np.isnan(paired_p(np.ones(4)))
