"""Several judges as one: the mean, the majority, and the cycles that a majority makes (Condorcet)."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass

import numpy as np
import pytest

from nlhf.cli.judge import main
from nlhf.config import ConfigError, build
from nlhf.judges.base import TextJudge
from nlhf.judges.ensemble import Ensemble
from nlhf.launch.compose import composed, plain
from nlhf.runner.specification import specify

pytestmark = pytest.mark.usefixtures("one_thread")


@dataclass(frozen=True)
class Order(TextJudge):
    """Ranks texts, the best first, with one probability for all pairs."""

    best: str
    chance: float = 1.0

    def preference(self, pairs):
        places = [(self.best.index(first), self.best.index(second)) for _, first, second in pairs]
        return np.array([0.5 + np.sign(second - first) * (self.chance - 0.5) for first, second in places])


def matrix(judge, texts="abc"):
    pairs = [("p", first, second) for first, second in itertools.product(texts, repeat=2)]
    return judge.preference(pairs).reshape(len(texts), len(texts))


def test_a_majority_of_three_orders_is_condorcets_cycle():
    judges = {"x": Order("abc", 0.9), "y": Order("bca", 0.6), "z": Order("cab", 0.7)}
    np.testing.assert_allclose(matrix(Ensemble(judges, "majority")), [[0.5, 1, 0], [0, 0.5, 1], [1, 0, 0.5]])
    mean = matrix(Ensemble(judges, "mean"))
    assert mean[0, 1] == pytest.approx((0.9 + 0.4 + 0.7) / 3)
    np.testing.assert_allclose(mean + mean.T, 1, atol=1e-15)


def test_a_majority_without_one_is_a_tie_and_judges_that_are_torn_do_not_vote():
    judges = {"x": Order("ab"), "y": Order("ba")}
    assert matrix(Ensemble(judges, "majority"), "ab")[0, 1] == 0.5
    judges["z"] = Order("ab", 0.5)
    assert matrix(Ensemble(judges, "majority"), "ab")[0, 1] == 0.5
    assert matrix(Ensemble({"x": Order("ab", 0.51), "z": Order("ab", 0.5)}, "majority"), "ab")[0, 1] == 1


ONE = ["judge@game.judge=ensemble", "+judge@game.judge.judges.a=panel", "game.judge.judges.a.criteria=[length]",
       "+judge@game.judge.judges.b=panel", "game.judge.judges.b.criteria=[diversity]"]  # fmt: skip


def test_an_ensemble_is_composed_from_the_command_line_and_each_judge_is_in_the_fingerprint():
    def fingerprint(*words):
        with composed(["game=text", "policy=causal_lm", "prox=gradient", *ONE, *words]) as config:
            return specify(plain(config)).fingerprint

    with composed(["game=text", "policy=causal_lm", "prox=gradient", *ONE]) as config:
        judge = build(plain(config)["game"]["judge"], "game.judge")
    assert judge.preference([("p", "tea " * 25, "tea")])[0] == 0.5  # length for, diversity against
    assert judge.calls == 4
    assert fingerprint() == fingerprint()
    assert fingerprint() != fingerprint("game.judge.judges.a.words=3")
    assert fingerprint() != fingerprint("game.judge.rule=majority")


def test_one_judge_is_no_ensemble():
    with pytest.raises(ConfigError, match=r"has 1 judges, and an ensemble needs two: add one with \+judge"):
        Ensemble({"x": Order("ab")}, "mean")


def test_grading_an_ensemble_reports_its_cycles(tmp_path, capsys):
    """Texts of 1, 2 and 3 words on which length, diversity and a second length disagree in a circle."""
    texts = ["tea tea tea", "tea sea moon bread", "tea"]  # words 3, 4, 1; diversity 0.58, 2, 1
    lines = [{"prompt": f"p{k}", "a": a, "b": b, "votes": [2, 1, 0]}
             for k in range(12) for a, b in itertools.combinations(texts, 2)]  # fmt: skip
    data = tmp_path / "votes.jsonl"
    data.write_text("".join(json.dumps(line) + "\n" for line in lines))
    words = ["judge=ensemble", "judge.rule=majority", "+judge@judge.judges.short=panel",
             "judge.judges.short.criteria=[length]", "judge.judges.short.words=1", "+judge@judge.judges.three=panel",
             "judge.judges.three.criteria=[length]", "judge.judges.three.words=3",
             "+judge@judge.judges.rich=panel", "judge.judges.rich.criteria=[diversity]"]  # fmt: skip
    assert main(["grade", f"data={data}", *words]) == 0
    told = capsys.readouterr().out
    # short: c > a > b; three: a > b > c; rich: b > c > a: each pair has two judges against one, in a circle
    assert "12 of 12" in told, told


def test_grading_on_a_device_that_is_not_there_is_a_sentence(tmp_path, capsys):
    data = tmp_path / "votes.jsonl"
    data.write_text('{"prompt": "q", "a": "tea sea", "b": "tea", "votes": [1, 0, 0]}\n')
    assert main(["grade", f"data={data}", "judge.criteria=[length]", "device=nothing"]) == 2
    assert "device=nothing is not available" in capsys.readouterr().err


def test_grading_on_pairs_alone_counts_no_cycles(tmp_path, capsys):
    data = tmp_path / "votes.jsonl"
    data.write_text('{"prompt": "q", "a": "tea sea", "b": "tea", "votes": [1, 0, 0]}\n')
    assert main(["grade", f"data={data}", "judge.criteria=[length]"]) == 0
    assert "0 of 0 triples" in capsys.readouterr().out
