"""Ratings at equal length and style of texts, and the table of `nlhf votes show`."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import optimize

from nlhf.cli.votes import main
from nlhf.config import ConfigError
from nlhf.leaderboard.summary import examine
from nlhf.numerics.bradley_terry import sigmoid
from nlhf.stats.controlled_scores import controlled
from nlhf.stats.paired_votes import PairedVotes
from nlhf.votes.style import MEASURES, measures_of

ITEMS = ("amber", "birch", "cedar")
SCORES = np.array([0.6, 0.0, -0.6])
EFFECT = 1.5  # of the difference in length


@pytest.fixture
def battles(tmp_path):
    """Votes in which birch writes longer texts, and longer texts win."""

    def written(number=600, length=None, broken=0):
        rng, path = np.random.default_rng(0), tmp_path / "battles.jsonl"
        lines = []
        for k in range(number):
            a, b = rng.choice(3, 2, replace=False)
            sizes = [length or int(60 * np.exp(0.8 * (item == 1) + 0.4 * rng.standard_normal())) + 1 for item in (a, b)]
            difference = (sizes[0] - sizes[1]) / sum(sizes)
            won = rng.random() < sigmoid(SCORES[a] - SCORES[b] + EFFECT * difference)
            talks = [
                [{"role": "user", "content": f"Question {k}?"}, {"role": "assistant", "content": "xyz"[item] * size}]
                for item, size in zip((a, b), sizes, strict=True)
            ]
            if k < broken:
                talks[0] = talks[0][:1]
            row = {"question_id": str(k), "model_a": ITEMS[a], "model_b": ITEMS[b], "judge": f"voter{k % 40}"}
            winner = "model_a" if won else "model_b"
            lines.append(json.dumps(row | {"winner": winner, "conversation_a": talks[0], "conversation_b": talks[1]}))
        path.write_text("\n".join(lines))
        return str(path)

    return written


@pytest.mark.parametrize(
    ("measure", "text", "count"),
    [
        ("length", "abc\n", 4),
        ("headers", "# One\ntext # no\n### Two\n#no\n```\n# code\n```\n", 2),
        ("lists", "- a\n  * b\n1. c\n12) d\n-e\n1.5 f\n", 4),
        ("bold", "**a b** and __c__, 2**3**, **\n**", 3),
        ("bold", "```\n**code**", 0),
    ],
)
def test_measures_of_style(measure, text, count):
    assert MEASURES[measure](text) == count


def test_names_of_measures():
    assert measures_of("style") == ["length", "headers", "lists", "bold"]
    assert measures_of("bold,length,bold") == ["bold", "length"]
    assert measures_of("") == []
    with pytest.raises(ConfigError, match="--control size is not a measure of texts: give style or any of length"):
        measures_of("size")


@pytest.mark.parametrize("clustered", [False, True])
def test_the_fit_and_its_covariance_are_those_of_numerical_derivatives(clustered):
    rng = np.random.default_rng(1)
    a = rng.integers(0, 3, 800)
    b, z = (a + rng.integers(1, 3, 800)) % 3, rng.normal(0, 0.4, (800, 2))
    won = (rng.random(800) < sigmoid(SCORES[a] - SCORES[b] + z @ [1.0, -0.5])).astype(float)
    unit = np.arange(800) // 8 if clustered else np.arange(800)

    def losses(free):
        """The negative log-likelihood of each unit; the first score is 0."""
        s = np.concatenate([[0.0], free[:2]])
        logits = s[a] - s[b] + z @ free[2:]
        return np.bincount(unit, won * np.logaddexp(0, -logits) + (1 - won) * np.logaddexp(0, logits))

    best = optimize.minimize(lambda free: losses(free).sum(), np.zeros(4), tol=1e-12).x
    h, axes = 1e-4, np.eye(4)
    gradients = np.array([(losses(best + h * e) - losses(best - h * e)) / (2 * h) for e in axes])
    signs = [(p, q) for p in (1, -1) for q in (1, -1)]
    hessian = np.array(
        [[sum(p * q * losses(best + h * (p * e + q * f)).sum() for p, q in signs) for f in axes] for e in axes]
    ) / (4 * h * h)
    inverse, units = np.linalg.inv(hessian), unit[-1] + 1
    free = np.zeros((5, 5))
    free[1:, 1:] = inverse @ (gradients @ gradients.T) @ inverse * units / (units - 1)
    centre = np.eye(5)
    centre[:3, :3] -= 1 / 3
    fit = controlled(PairedVotes(3, a, b, np.ones(800), won, unit if clustered else None), z)
    assert fit.coefficients == pytest.approx(best[2:], abs=1e-5)
    assert fit.scores - fit.scores[0] == pytest.approx([0, *best[:2]], abs=1e-5)
    assert fit.covariance == pytest.approx(centre @ free @ centre.T, rel=1e-3, abs=1e-6)


def test_the_effect_of_length_is_taken_out_of_the_ratings(battles):
    summary = examine(battles(3000), control=["length"])
    plain, equal = summary.ratings, summary.controlled
    assert plain.ratings[1] > 1040  # birch seems better than it is
    truth = 1000 + 400 / np.log(10) * SCORES
    assert ((equal.ends[0] < truth) & (truth < equal.ends[1])).all()
    assert equal.wins[1, 0] < sigmoid(EFFECT / 3) < equal.wins[2, 0]
    assert "one wins with this probability if it has: twice the length 0." in " ".join(summary.lines)


def test_clusters_rows_without_texts_and_constant_measures(battles):
    summary = examine(battles(broken=20), control=["length", "bold"], cluster=["judge"])
    assert (summary.controlled.names, summary.controlled.constant) == (("length",), ("bold",))
    text = " ".join(summary.controlled.lines)
    assert "The texts never differ in bold." in text
    assert "20 of 600 votes have no two different texts and do not count in these ratings." in text


def test_files_whose_texts_cannot_be_used_are_refused(battles, tmp_path):
    with pytest.raises(ConfigError, match=r"--control length: the texts of .* never differ in it: leave it out"):
        examine(battles(60, length=50), control=["length"])
    with pytest.raises(ConfigError, match=r"--control needs votes with items and texts, and game.path=embedded"):
        examine("embedded:tversky1969.csv", control=["length"])
    path = tmp_path / "evalica_votes.csv"
    path.write_text("left,right,winner\na,b,left\nb,a,left\n")
    with pytest.raises(ConfigError, match=r"--control needs a file with texts: .* is a file of Evalica"):
        examine(str(path), control=["length"])


def test_the_command_prints_a_table_of_ratings(battles, tmp_path, capsys):
    assert main(["show", battles(), "--control", "length", "--out", str(tmp_path / "out")]) == 0
    output = capsys.readouterr().out
    rows = {
        line.split()[3 if " to " in line[:10] else 1]: line
        for line in output.splitlines()
        if "[" in line and "." in line
    }
    assert "at equal length" in " ".join(output.split())
    for item in ITEMS:
        assert rows[item].count("[") == 2
    assert main(["show", "embedded:tversky1969.csv", "--intervals", "none"]) == 2
