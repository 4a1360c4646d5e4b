"""What a file of votes shows: compared with numbers measured without nlhf (tests/data/README.md), and by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import linprog

from nlhf.cli.votes import main
from nlhf.games.votes import Votes
from nlhf.io.inputs import InputFile
from nlhf.leaderboard import summary as ballots
from nlhf.leaderboard import voters
from nlhf.leaderboard.nash import nash
from nlhf.leaderboard.position import position
from nlhf.votes import clusters
from nlhf.votes.file import Vote

DATA = Path(__file__).resolve().parents[1] / "data"


def written(path, header, *rows):
    path.write_text("\n".join([header, *rows]) + "\n")
    return str(path)


# --- published and independently measured numbers --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "where", "drop", "votes", "triples", "winner", "cyclic", "support"),
    [
        ("gambles.csv", {"study": "tversky1969"}, (), 1600, 4, None, 0.923, {"a": 0.635, "d": 0.333, "e": 0.032}),
        ("gambles.csv", {"study": "tversky1969", "subject": "1"}, (), 200, 5, None, 0.983, 5),
        ("consumer.csv", {"domain": "Beer"}, (), 401, 3, None, 0.207, 3),
        ("consumer.csv", {"domain": "Films"}, (), 401, 2, None, 0.396, 3),
        ("vicuna80.csv", {"judge": "human"}, (), 6720, 1, "gpt4", 0.024, 1),
        ("vicuna80.csv", {"judge": "human"}, ("gpt4",), 5040, 1, None, 0.066, 3),
        ("mtbench.csv", {"judge": "human"}, (), 3355, 0, "gpt-4", 0.028, 1),
        ("rrps_bots.csv", {}, (), None, 956, None, 0.302, 5),
    ],
)
def test_published_numbers(name, where, drop, votes, triples, winner, cyclic, support):
    found = ballots.examine(str(DATA / name), where=where, drop=drop).pooled
    assert votes is None or found.votes == votes
    assert len(found.triples) == triples
    assert found.winner == winner
    assert found.diagnosis.cyclic == pytest.approx(cyclic, abs=0.0006)
    if isinstance(support, dict):
        assert {found.items[k]: round(float(found.nash.shares[k]), 3) for k in found.nash.support} == support
    else:
        assert len(found.nash.support) == support
        assert found.nash.unique


def test_published_numbers_context_by_context():
    found = ballots.examine(str(DATA / "vicuna80.csv"), ["question_id"], {"judge": "human"})
    assert len(found.contexts) == 80
    assert {context.votes for context in found.contexts} == {84}
    assert np.mean([len(context.triples) for context in found.contexts]) == pytest.approx(4.2, abs=0.05)
    assert sum(context.winner is None for context in found.contexts) == 54
    assert np.mean([context.diagnosis.cyclic for context in found.contexts]) == pytest.approx(0.44, abs=0.005)
    assert "80 contexts" in "\n".join(found.lines)
    for context in found.contexts:  # equilibria of tied games are many: each is one if nothing beats it
        assert (context.nash.shares @ context.preference).min() > 0.5 - 1e-9


def test_gpt_4_likes_what_it_reads_first_and_humans_hardly():
    found = {judge: ballots.examine(str(DATA / "vicuna80.csv"), where={"judge": judge}).position
             for judge in ("human", "gpt4")}  # fmt: skip
    assert found["gpt4"].low > 0.6
    assert found["human"].low < 0.52
    assert found["human"].high < 0.55


# --- by hand ---------------------------------------------------------------------------------------------------------


def test_agreement_by_hand(tmp_path):
    path = written(tmp_path / "v.csv", "prompt,annotator,item_a,item_b,wins_a,wins_b", "1,x,a,b,1,0", "1,y,b,a,0,1",
                   "1,z,a,b,0,1", "2,x,a,b,0.5,0.5", "2,y,a,b,0.5,0.5", "2,x,a,c,1,0")  # fmt: skip
    found = ballots.examine(path).agreement
    assert found.cases == 3 + 1  # pairs of votes: on prompt 1 three, one of which agrees; on prompt 2 one, which does
    assert found.value == pytest.approx(2 / 4)


def test_agreement_of_independent_voters_is_as_expected_and_covered():
    rng, hits = np.random.default_rng(1), 0
    for _ in range(250):
        share = rng.uniform(0.1, 0.9, 40)
        cast = [Vote({"prompt": str(k), "voter": str(v)}, "a", "b", float(wins), 1 - float(wins), 0.0)
                for k in range(40) for v, wins in enumerate(rng.random(5) < share[k])]  # fmt: skip
        found = voters.agreement(cast)
        assert found.cases == 40 * 10
        hits += found.low <= 0.5 + 2 * (0.8**2 / 12) <= found.high  # E[s^2 + (1-s)^2], s uniform on (0.1, 0.9)
    assert 0.91 < hits / 250 < 0.99


def test_no_pair_of_votes_no_agreement_and_no_order_no_bias(tmp_path):
    found = ballots.examine(written(tmp_path / "v.csv", "item_a,item_b,wins_a,wins_b", "a,b,1,0", "b,c,1,0"))
    assert "1 of 3 pairs have no vote: they count as even." in list(found.lines)
    assert found.agreement is None
    assert found.position is None


@pytest.mark.parametrize("first", [0.5, 0.62])
def test_position_bias_is_found_at_its_size_and_covered(first):
    """The first named wins with probability s + first - 1/2, whatever s is."""
    rng, hits = np.random.default_rng(1), 0
    for _ in range(100):
        cast = [Vote({}, f"a{k}", f"a{k + 1}", 1.0, 1.0, 0.0) for k in range(5)]
        for k in range(6):
            share = rng.uniform(0.2, 0.8)
            for pair, chance in (((f"a{k}", f"b{k}"), share), ((f"b{k}", f"a{k}"), 1 - share)):
                wins = float(rng.binomial(50, chance + first - 0.5))
                cast.append(Vote({}, *pair, wins, 50 - wins, 0.0))
        found = position(cast)
        hits += found.low <= first <= found.high
    assert hits >= 88


@pytest.mark.parametrize("rounds", [50, pytest.param(150, marks=pytest.mark.long)])
def test_position_bias_of_votes_that_go_by_question_is_covered(rounds):
    """Votes on a question are alike, so that the interval is that of questions."""
    rng, hits = np.random.default_rng(0), 0
    for _ in range(rounds):
        cast = []
        for question in range(60):
            moved = rng.normal(0, 0.25)
            for pair in (("a", "b"), ("b", "a")) * 2:
                wins = float(rng.binomial(8, np.clip(0.5 + moved, 0.02, 0.98)))  # the first one, whoever it is
                cast.append(Vote({"prompt": str(question)}, *pair, wins, 8 - wins, 0.0))
        found = position(cast)
        hits += found.low <= 0.5 <= found.high
    assert hits / rounds > 0.88


def test_samples_of_a_prompt_are_one_question_and_rows_that_pool_votes_agree_with_nothing(tmp_path):
    path = written(tmp_path / "v.csv", "prompt,item_a,item_b,wins_a,wins_b,sample",
                   *(f"{k},a,b,0.7,0.3,{sample}" for k in range(3) for sample in range(4)))  # fmt: skip
    cast = Votes(
        path=InputFile(path),
        context=[],
        where={},
        drop=[],
        pseudo_count=0.0,
        unseen="half",
        cluster=[],
        bootstrap=False,
    ).cast()
    assert voters.columns(cast) == ["prompt"]
    assert clusters.clusters_of(cast, ["a", "b"], ["prompt"]).votes.shape == (3, 2, 2)
    assert ballots.examine(written(tmp_path / "w.csv", "item_a,item_b,wins_a,wins_b", "a,b,2,2")).agreement is None


def test_rows_that_are_probabilities_are_no_votes_that_agree():
    cast = [Vote({"prompt": str(k), "voter": str(v)}, "a", "b", 0.7, 0.3, 0.0) for k in range(30) for v in range(3)]
    assert voters.agreement(cast) is None


# --- equilibria ------------------------------------------------------------------------------------------------------


def game(*beats, n):
    preference = np.full((n, n), 0.5)
    for i, j in beats:
        preference[i, j], preference[j, i] = 1.0, 0.0
    return preference


@pytest.mark.parametrize(("preference", "least", "most"), [
    (game((0, 1), (1, 2), (2, 0), n=3), [1 / 3] * 3, [1 / 3] * 3),
    (game((0, 1), (0, 2), (1, 2), n=3), [1, 0, 0], [1, 0, 0]),
    (game((0, 2), (1, 2), n=3), [0, 0, 0], [1, 1, 0]),  # two that are alike
    (game(n=2), [0, 0], [1, 1]),
    (game((0, 1), (1, 2), (2, 3), (3, 0), n=4), [0, 0, 0, 0], [0.5, 0.5, 0.5, 0.5]),  # (t, u, t, u)
])  # fmt: skip
def test_the_shares_of_all_equilibria_by_hand(preference, least, most):
    found = nash(preference)
    np.testing.assert_allclose(found.smallest, least, atol=1e-6)
    np.testing.assert_allclose(found.largest, most, atol=1e-6)
    assert found.unique == found.certified == (least == most)
    assert ("of several" in found.text(tuple("abcd"))) != found.unique


def test_an_equilibrium_is_called_the_only_one_just_when_it_is():
    """Random games with many ties; linear programmes for each item tell whether another one exists."""
    rng, kinds = np.random.default_rng(0), set()
    for _ in range(60):
        n = int(rng.integers(2, 6))
        upper = np.triu(rng.choice([0.0, 0.5, 1.0], (n, n)), 1)
        preference = upper + np.tril(1 - upper.T, -1) + np.eye(n) / 2
        found, advantage = nash(preference), (preference - preference.T) / 2
        spans = []
        for item in range(n):
            wanted = np.eye(n)[item]
            ends = [linprog(sign * wanted, advantage, np.zeros(n), np.ones((1, n)), [1.0], (0, 1)).x[item]
                    for sign in (1, -1)]  # fmt: skip
            spans.append(ends)
            assert [found.smallest[item], found.largest[item]] == pytest.approx(ends, abs=1e-5)
        assert found.unique == (np.ptp(spans, axis=1).max() < 1e-5)
        kinds.add(found.unique)
    assert kinds == {True, False}


# --- the command -----------------------------------------------------------------------------------------------------


def test_the_command_prints_and_writes_a_page(tmp_path, capsys):
    path = written(tmp_path / "v.csv", "prompt,item_a,item_b,wins_a,wins_b", "1,stone,paper,1,9",
                   "1,paper,scissors,1,9", "1,scissors,stone,1,9", "2,stone,paper,9,1",
                   "2,paper,scissors,5,5")  # fmt: skip
    assert main(["show", path, "--context", "prompt", "--details", "--out", str(tmp_path / "page")]) == 0
    told = capsys.readouterr().out
    assert "No item is preferred to all others" in told
    assert "2 contexts" in told
    page = (tmp_path / "page" / "report.html").read_text()
    assert all(item in page for item in ("stone", "paper", "scissors", "<svg", "Condorcet"))


@pytest.mark.parametrize(("words", "said"), [
    (["nowhere.csv"], "nowhere.csv"),
    (["FILE", "--context", "town"], "town"),
    (["FILE", "--where", "prompt=9"], "the column has 1"),
    (["FILE", "--where", "prompt=1", "--drop", "a"], "has no vote left"),
    (["FILE", "--drop", "well"], "well"),
])  # fmt: skip
def test_bad_input_is_a_sentence(tmp_path, capsys, words, said):
    path = written(tmp_path / "v.csv", "prompt,item_a,item_b,wins_a,wins_b", "1,a,b,1,0")
    assert main(["show", *(path if word == "FILE" else word for word in words)]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error


def test_filters_of_one_column_are_alternatives_and_numbers_match_by_value(tmp_path, capsys):
    path = written(tmp_path / "v.csv", "round,item_a,item_b,wins_a,wins_b", "1.0,a,b,1,0", "02,a,b,2,0", "3,a,b,4,0")
    assert main(["show", path, "--where", "round=1", "--where", "round=2", "--out", str(tmp_path / "out")]) == 0
    assert "3 votes on 2 items" in capsys.readouterr().out
