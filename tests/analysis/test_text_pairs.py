"""Differences of language models' win rates, paired by prompt: numbers by hand, seeds, prompts and sentences."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from nlhf.analysis.criterion import OF_TEXTS, Criterion
from nlhf.analysis.report import write
from nlhf.analysis.results import analyse
from nlhf.analysis.text_pairs import paired_differences, sentence, win_rates
from nlhf.cli.compare import main
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
        "more of the pairs than omd (p < 0.001). The intervals hold for other prompts, and for this one training seed."
    )
    assert main([str(tmp_path), "--no-report"]) == 0
    assert expected in " ".join(capsys.readouterr().out.split())
    page = write(analyse(tmp_path, Criterion()), tmp_path).read_text()
    assert f"<p>{expected}</p>".replace("<", "&lt;")[6:-7] in page
    assert "<td>+0.250 <small>[+0.1" in page


def test_equal_methods_are_not_called_different(tmp_path):
    write_texts(tmp_path, "nash_mp", 0, BETTER)
    write_texts(tmp_path, "omd", 0, BETTER[::-1])
    assert sentence(differences(tmp_path)) == (
        "On the same 40 test prompts nash_mp and omd do not differ significantly in their win rates (p = 1)."
    )
    write_texts(tmp_path, "sppo", 0, BETTER)
    assert sentence(differences(tmp_path)) == (
        "On the same 40 test prompts no two methods differ significantly in their win rates (p = 1, Holm over 3 pairs)."
    )


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
