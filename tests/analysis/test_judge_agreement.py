"""What a study shows about its judge: cyclic triples in the verdicts of the arena, and agreement in the accounts."""

from __future__ import annotations

import json

import numpy as np
import pytest

from nlhf.analysis.criterion import Criterion
from nlhf.analysis.judge_agreement import cyclic_triples, sentence
from nlhf.analysis.report import write
from nlhf.analysis.results import analyse
from nlhf.cli.compare import main
from tests.analysis.test_text_pairs import BETTER, WORSE, write_texts

CYCLE, ORDER, EVEN = (1.0, 1.0, 0.0), (1.0, 1.0, 1.0), (1.0, 1.0, 0.5)  # of (a, b), (b, c), (a, c)


def write_arena(root, games):
    """An arena of three contestants; `games` are their verdicts by prompt and sample."""
    lines = ["prompt,item_a,item_b,wins_a,wins_b,sample,judge,order"]
    for prompt, samples in enumerate(games):
        for sample, verdicts in enumerate(samples):
            for (a, b), won in zip(("ab", "bc", "ac"), verdicts, strict=True):
                if won is not None:
                    lines.append(f"{prompt},{a},{b},{won},{1 - won},{sample},x,{len(lines)}")
    (root / "arena").mkdir(parents=True)
    path = root / "arena" / "votes.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_cyclic_triples_are_counted_in_either_direction_and_prompts_are_the_sample(tmp_path):
    turned = tuple(1 - won for won in CYCLE)
    games = [[CYCLE, turned], [ORDER, EVEN], [ORDER, CYCLE], *[[ORDER, ORDER]] * 5, [(1.0, None, 1.0)]]
    share, prompts = cyclic_triples(write_arena(tmp_path, games))
    assert (share.value, share.cases, prompts) == (3 / 16, 16, 8)
    assert 0 < share.low < 3 / 16 < share.high < 1
    doubled = [samples * 4 for samples in games]
    again, _ = cyclic_triples(write_arena(tmp_path / "more", doubled))
    assert (again.value, again.cases) == (3 / 16, 64)
    assert again.low == pytest.approx(share.low), "further samples of the same prompts are no further prompts"


def test_few_prompts_have_no_interval_and_two_contestants_no_triple(tmp_path):
    share, prompts = cyclic_triples(write_arena(tmp_path / "few", [[CYCLE]] * 4))
    assert (share.value, prompts) == (1.0, 4)
    assert np.isnan(share.low)
    assert cyclic_triples(write_arena(tmp_path / "two", [[(1.0, None, None)]] * 4)) is None
    assert cyclic_triples(tmp_path / "nothing") is None


@pytest.mark.parametrize("text", ["", "prompt,item_a\n1,a\n", "\0\0", '"'])
def test_a_damaged_file_of_verdicts_is_no_error(tmp_path, text):
    (tmp_path / "votes.csv").write_text(text)
    assert cyclic_triples(tmp_path / "votes.csv") is None


def test_accounts_of_runs_and_of_the_arena_are_summed(tmp_path):
    accounts = [
        {
            "calls": 3,
            "pairs_in_both_orders": 30,
            "same_in_both_orders": 21,
            "couples_of_voters": 4,
            "agreeing_couples": 1,
        },
        {"calls": 3, "pairs_in_both_orders": 10, "same_in_both_orders": 5},
        {"pairs_in_both_orders": "many", "same_in_both_orders": 5},
        None,
    ]
    (tmp_path / "arena").mkdir()
    card = {"account": {"pairs_in_both_orders": 10.0, "same_in_both_orders": 9.0}}
    (tmp_path / "arena" / "arena.json").write_text(json.dumps(card))
    assert sentence(tmp_path, [{"summary": {"judge": account}} for account in accounts]) == (
        "The judge gives the same verdict in both orders on 0.700 of 50 pairs. Two of its voters prefer the same "
        "answer in 0.250 of 4 cases where both prefer one."
    )
    couples = {"couples_of_voters": 3000, "agreeing_couples": 1500}
    assert sentence(tmp_path / "one", [{"summary": {"judge": couples}}]) == (
        "Two of the judge's voters prefer the same answer in 0.500 of 3,000 cases where both prefer one."
    )
    assert sentence(tmp_path / "nothing", [{"summary": {}}]) == ""


def test_the_report_and_the_command_say_it(tmp_path, capsys):
    write_texts(tmp_path, "nash_mp", 0, BETTER)
    write_texts(tmp_path, "omd", 0, WORSE)
    page = write(analyse(tmp_path, Criterion()), tmp_path).read_text()
    assert "<h2>The judge</h2>" not in page
    write_arena(tmp_path, [[CYCLE], *[[ORDER]] * 7])
    page = write(analyse(tmp_path, Criterion()), tmp_path).read_text()
    assert "<h2>The judge</h2>\n<p>The judge prefers in a cycle in 0.125 [0.0" in page
    assert main([str(tmp_path), "--no-report"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "of 8 triples of answers to the same prompt, on 8 prompts of the arena." in printed
