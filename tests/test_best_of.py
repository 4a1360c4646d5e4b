"""The best of n completions as a contestant of the arena, and judges that combine criteria."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pytest

from nlhf.arena.best_of import BestOf, kl_bound
from nlhf.arena.contest import hold
from nlhf.config import ConfigError
from nlhf.judges.base import TextJudge
from nlhf.judges.panel import Panel, ScalarPanel
from nlhf.runner.run_one import run_one

PROMPTS = tuple(f"prompt {number}" for number in range(3000))


@dataclass(frozen=True)
class Larger(TextJudge):
    """Prefers the larger number."""

    def preference(self, pairs):
        return np.array([float(first) > float(second) for _, first, second in pairs], float)


@dataclass(frozen=True)
class Numbers:
    """Writes numbers, drawn uniformly."""

    name: str = "numbers"
    identity: str = "numbers"

    def lacking(self, prompts, samples):
        return {0: "too few"} if samples > 10 else {}

    def complete(self, prompts, samples, seed, first):
        rows = [np.random.default_rng([seed, first + index]).random(samples) for index in range(len(prompts))]
        return [None if prompt == "long" else list(map(str, row)) for prompt, row in zip(prompts, rows, strict=True)]


@pytest.mark.parametrize("count", [2, 4])
def test_the_best_of_n_beats_a_single_completion_with_the_known_probability(count):
    best = BestOf("best", Numbers(), count, Larger(), "larger")
    (first,), (second,) = (zip(*one.complete(PROMPTS, 1, 0, 0), strict=True) for one in (best, Numbers()))
    share = np.mean([float(a) > float(b) for a, b in zip(first, second, strict=True)])
    assert share == pytest.approx(count / (count + 1), abs=4 * 0.5 / len(PROMPTS) ** 0.5)


def test_the_kl_of_the_best_of_n_is_below_its_bound_on_listed_answers():
    """The distribution of the best of n of m equally likely answers with distinct rewards is known."""
    for count, answers in ((2, 3), (4, 50), (8, 50)):
        ends = (np.arange(answers + 1) / answers) ** count
        best = np.diff(ends)
        kl = (best * np.log(best * answers)).sum()
        assert kl < kl_bound(count)
        assert answers < 50 or kl > 0.9 * kl_bound(count)


def test_each_best_is_of_draws_of_its_own():
    best = BestOf("best", Numbers(), 3, Larger(), "larger")
    drawn, chosen = Numbers().complete(["a"], 2, 0, 0)[0], best.complete(["a"], 2, 0, 0)[0]
    assert not set(drawn) & set(chosen)
    assert len(set(chosen)) == 2
    assert best.complete(["long", "a"], 1, 0, 0)[0] is None
    assert best.lacking(["a"], 4) == {0: "too few"}
    identities = {
        best.identity,
        BestOf("best", Numbers(), 2, Larger(), "larger").identity,
        BestOf("best", Numbers(), 3, Larger(), "x").identity,
    }
    assert len(identities) == 3


@pytest.mark.usefixtures("one_thread")
def test_the_best_of_n_plays_in_an_arena(text_config):
    outcome = run_one(text_config("budget.iterations=1"))
    contest = hold([str(outcome.folder)], ["best_of=[3]", "redraws=20", "most_prompts=4"])
    names = contest.ranking.pooled.items
    assert {"reference", "reference-best-of-3", "nash_prox@1", "nash_prox@1-best-of-3"} == set(names)
    assert f"The KL divergence of the best of 3 is at most {np.log(3) - 2 / 3:.2f}." in contest.verdicts
    with pytest.raises(ConfigError, match=r"best_of=\[1\] is out of range: give distinct numbers of 2 or more"):
        hold([str(outcome.folder)], ["best_of=[1]"])


ANSWERS = [
    ("p", text) for text in ("good good good good", "good bad", "a", "the sea is a kind old friend of mine", "no no")
]


def preferences(judge):
    pairs = list(combinations(range(len(ANSWERS)), 2))
    chances = judge.preference([("p", ANSWERS[one][1], ANSWERS[other][1]) for one, other in pairs])
    return dict(zip(pairs, chances.tolist(), strict=True))


def test_a_scalar_panel_is_a_bradley_terry_model_of_the_mean_criterion():
    judge = ScalarPanel(criteria=["diversity", "length"], words=4, scale=2.0)
    scores = Panel(criteria=["diversity", "length"], words=4, margin=0.0).scores(ANSWERS)
    rewards = (scores[:, 0] / 0.44 + scores[:, 1] / 3.1) / 2
    for (one, other), chance in preferences(judge).items():
        assert chance == pytest.approx(1 / (1 + np.exp(-2 * (rewards[one] - rewards[other]))))


@pytest.mark.parametrize(("change", "sentence"), [({"scale": 0.0}, "judge.scale=0.0 is out of range"),
                                                  ({"words": 0}, "judge.words=0 is too small"),
                                                  ({"criteria": []}, "is not a panel")])  # fmt: skip
def test_scalar_panels_that_cannot_work_are_refused(change, sentence):
    with pytest.raises(ConfigError, match=sentence):
        ScalarPanel(**{"criteria": ["length"], "words": 4, "scale": 1.0} | change)
