"""A pair of texts is one question in either order, is put to a judge once, and not again after a stop."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from nlhf.config import ConfigError
from nlhf.judges.agreement import Agreement
from nlhf.judges.base import TextJudge
from nlhf.judges.ensemble import Ensemble
from nlhf.judges.panel import Panel
from nlhf.runner.run_one import run_one

pytestmark = pytest.mark.usefixtures("one_thread")


@dataclass(frozen=True)
class Longer(TextJudge):
    """Prefers longer texts, refuses those with a `!`, and keeps what it was asked; `factor` spoils its answers."""

    factor: float = 1.0
    heard: list = field(default_factory=list)

    def preference(self, pairs):
        self.heard.extend(pairs)
        gaps = np.array([len(first) - len(second) for _, first, second in pairs], float)
        return np.where(self.refused(pairs), 0.5, self.factor / (1 + np.exp(-gaps)))

    def refused(self, pairs):
        return np.array(["!" in first + second for _, first, second in pairs], bool)


def test_both_orders_and_repetitions_are_one_question():
    judge = Longer()
    pairs = [("p", "tea", "a"), ("p", "a", "tea"), ("p", "tea", "a"), ("q", "a", "tea"), ("p", "a", "a")]
    chances = judge.verdicts(pairs)
    expected = [1 / (1 + np.exp(-2)), 1 / (1 + np.exp(2)), 1 / (1 + np.exp(-2)), 1 / (1 + np.exp(2)), 0.5]
    assert chances == pytest.approx(np.array(expected), abs=1e-15)
    assert chances[0] + chances[1] == 1, "the verdicts are exactly antisymmetric"
    assert judge.heard == [("p", "a", "tea"), ("q", "a", "tea")]
    judge.verdicts(pairs)
    assert len(judge.heard) == 2
    assert judge.verdicts([]).shape == (0,)


def test_verdicts_go_on_after_a_stop_and_refusals_are_asked_again():
    before, after = Longer(), Longer()
    pairs = [("p", "tea", "a"), ("p", "tea!", "a")]
    first = before.verdicts(pairs)
    after.verdicts.restore(before.verdicts.snapshot())
    assert (after.verdicts(pairs) == first).all()
    assert after.heard == [("p", "a", "tea!")]
    after.verdicts.restore({})  # of an older checkpoint
    assert (after.verdicts(pairs) == first).all()


@pytest.mark.parametrize("factor", [30.0, -1.0, float("nan")])
def test_what_is_no_probability_is_refused_and_not_remembered(factor):
    judge = Longer(factor)
    for _ in range(2):
        with pytest.raises(ConfigError, match="which is not a probability: choose another judge"):
            judge.verdicts([("p", "tea", "a")])
    assert len(judge.heard) == 2


def test_a_run_that_stops_and_goes_on_puts_no_pair_to_its_judge_twice(text_config, monkeypatch):
    """Rows, their texts, training and the second process ask about different pairs only."""
    heard, preference = [], Panel.preference

    def listening(judge, pairs):
        heard.extend((prompt, *sorted(texts)) for prompt, *texts in pairs)
        return preference(judge, pairs)

    monkeypatch.setattr(Panel, "preference", listening)
    config = text_config("budget.iterations=1", "keep_checkpoint=true")
    run_one(config)
    number = len(heard)
    assert number > 0
    run_one(config | {"budget": config["budget"] | {"iterations": 3}})
    assert len(heard) > number
    assert len(set(heard)) == len(heard)


# --- agreement --------------------------------------------------------------------------------------------------------


def test_couples_of_voters_agree_where_both_prefer_the_same_answer():
    """By hand: words 3 against 2, distinct words 2 against 2, so that one voter is even in the first pair."""
    panel = Panel(criteria=["diversity", "length", "sentiment"], words=3, margin=0.0)
    pairs = [("p", "good good good", "sea tea"), ("p", "sea tea", "good good good")]
    votes = np.sign(panel.scores([("p", "good good good")]) - panel.scores([("p", "sea tea")]))[0]
    decided = votes[votes != 0]
    couples = [one * other for number, one in enumerate(decided) for other in decided[:number]]
    panel.preference(pairs)
    assert panel.account["couples_of_voters"] == len(couples) > 1
    assert panel.account["agreeing_couples"] == sum(product > 0 for product in couples) < len(couples)


def test_an_ensemble_counts_couples_of_its_judges():
    judge = Ensemble(judges={"a": Longer(), "b": Longer(), "c": Longer(0.0)}, rule="mean")
    judge.preference([("p", "tea", "a"), ("p", "a", "tea"), ("p", "a", "moon")])
    assert judge.account["couples_of_voters"] == 6  # two pairs of texts
    assert judge.account["agreeing_couples"] == 1 + 3  # c prefers the second text


def test_agreement_counts_a_pair_once():
    counted = Agreement(("all", "same"))
    assert counted.account == {}
    counted.add([("p", "a", "b"), ("p", "b", "a"), ("q", "a", "b")], np.ones(3), np.array([1, 1, 0]))
    assert counted.account == {"all": 2, "same": 1}
