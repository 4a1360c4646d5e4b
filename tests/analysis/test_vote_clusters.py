"""Tests of votes against enumeration and brute force, and studies whose votes are clustered."""

from __future__ import annotations

import csv
import itertools
from collections import Counter
from math import comb

import numpy as np
import pytest

from nlhf.analysis.figures.games import cycle_sentence
from nlhf.cli.votes import main
from nlhf.leaderboard.summary import examine
from nlhf.stats.condorcet import possible_winners
from nlhf.stats.counted import counts_of
from nlhf.stats.cyclic import diagnose
from nlhf.stats.same_wins import redrawn_with_same_wins
from nlhf.stats.transitivity import best_order, weak_transitivity
from nlhf.stats.vote_clusters import signs
from tests.launch.commands import command
from tests.simulations.votes import cast_in_clusters, cast_votes, matrix_of, spread_scores
from tests.test_games import HEAD, drawn, written

CYCLE = matrix_of(3, np.array([0.8, 0.2, 0.8]))


# --- independent votes -----------------------------------------------------------------------------------------------


def test_redrawn_votes_have_the_distribution_of_all_tables_with_the_same_wins():
    """Enumeration of two votes on each of six pairs."""
    votes, i, j = 2 * (1 - np.eye(4)), *np.triu_indices(4, 1)
    wins = np.zeros((4, 4))
    wins[i, j] = [2, 1, 1, 0, 2, 1]
    wins += np.tril(votes - wins.T, -1)
    chance = {}
    for upper in itertools.product(range(3), repeat=6):
        table = np.zeros((4, 4))
        table[i, j] = upper
        table += np.tril(votes - table.T, -1)
        if (table.sum(1) == wins.sum(1)).all():
            chance[upper] = np.prod([comb(2, win) for win in upper])
    redrawn = redrawn_with_same_wins(wins, 20_000, np.random.default_rng(0))
    assert (redrawn.sum(2) == wins.sum(1)).all()
    assert (redrawn + redrawn.swapaxes(1, 2) == votes).all()
    counts = Counter(map(tuple, redrawn[:, i, j].tolist()))
    total = sum(chance.values())
    expected = {upper: 20_000 * weight / total for upper, weight in chance.items()}
    assert set(counts) == set(expected)
    assert sum((counts[upper] - due) ** 2 / due for upper, due in expected.items()) < 28  # 9 degrees of freedom


def test_ties_are_left_out_and_hidden_ties_are_one_tie():
    preference = matrix_of(3, np.array([0.6, 0.5, 0.45]))
    number, ties = 10 * (1 - np.eye(3)), matrix_of(3, np.array([2.0, 0.0, 0.0])) * 0
    ties[0, 1] = ties[1, 0] = 2
    counts = counts_of(preference, np.stack([number, ties]))
    assert counts.wins.tolist() == [[0, 5, 5], [3, 0, 4], [5, 5, 0]]
    assert counts.ties.tolist() == [[0, 2, 0], [2, 0, 1], [0, 1, 0]]
    assert counts.with_ties(counts.wins) == pytest.approx(preference)
    assert counts_of(matrix_of(3, np.array([0.61, 0.5, 0.45])), np.stack([number, ties])) is None


def test_rows_and_counts_of_the_same_votes_have_the_same_p(tmp_path):
    """The embedded rows of MT-bench, and the same votes pooled with their ties."""
    rows = examine("embedded:mtbench_human.csv").pooled
    counts = {}
    with open("nlhf/games/data/mtbench_human.csv", newline="") as stream:
        for row in csv.DictReader(stream):
            a, b, x, y = row["item_a"], row["item_b"], float(row["wins_a"]), float(row["wins_b"])
            tie = x == y == 0.5
            counted = counts.setdefault((a, b), np.zeros(3))
            counted += [0, 0, 1] if tie else [x, y, 0]
    lines = [f"{a},{b},{x:g},{y:g},{tie:g}\n" for (a, b), (x, y, tie) in counts.items()]
    pooled = examine(str(written(tmp_path, "item_a,item_b,wins_a,wins_b,ties\n" + "".join(lines)))).pooled
    assert pooled.votes == rows.votes == 3355
    assert pooled.diagnosis.p == rows.diagnosis.p < 0.05


# --- clusters --------------------------------------------------------------------------------------------------------


def test_the_p_values_of_the_readme():
    tversky = examine("embedded:tversky1969.csv", cluster=["subject"]).pooled
    assert tversky.diagnosis.p == 2 / 2**7  # of all signs of eight subjects, only the observed ones and their opposite
    assert "(p = 0.016): this rejects a Bradley-Terry model" in tversky.diagnosis.sentence
    assert tversky.diagnosis.sentence.endswith("with votes clustered by subject (8 clusters).")
    assert examine("embedded:tversky1969.csv").pooled.diagnosis.p < 0.001
    for drop, p in (((), 0.92), (("gpt4",), 0.89)):
        vicuna = examine("embedded:vicuna80_human.csv", drop=drop, cluster=["question_id"]).pooled
        assert vicuna.diagnosis.p == pytest.approx(p, abs=0.03)
    assert examine("embedded:mtbench_human.csv", cluster=["annotator"]).pooled.diagnosis.p == pytest.approx(
        0.06, abs=0.015
    )


def test_few_clusters_have_all_signs_but_the_observed_ones():
    few = signs(6)
    assert len(np.unique(few, axis=0)) == len(few) == 63
    assert not (few == 1).all(1).any()
    assert signs(30, 50).shape == (50, 30)


def test_too_few_clusters_are_not_tested():
    clusters = cast_in_clusters(CYCLE, 5, 20, 1.0, 0.0, np.random.default_rng(0))
    votes = np.stack([clusters.total, 0 * clusters.total])
    diagnosis = diagnose(clusters.preference, votes, clusters)
    assert np.isnan(diagnosis.p)
    assert diagnosis.sentence.endswith("votes clustered by voter have only 5 clusters, and a test needs 6.")
    assert np.isnan(weak_transitivity(clusters.preference, votes, clusters).p)
    assert possible_winners(clusters.preference, votes, clusters) is None


def test_voters_of_different_tastes_are_no_evidence_of_cycles_unless_they_share_one():
    """Ten voters of 40 votes on each pair; alone, each is consistent, and they differ around even preferences."""
    rng, rejected = np.random.default_rng(0), np.zeros(2)
    for _ in range(40):
        clusters = cast_in_clusters(np.full((5, 5), 0.5), 10, 40, 1.0, 0.8, rng)
        votes = np.stack([clusters.total, 0 * clusters.total])
        for k, units in enumerate((None, clusters)):
            rejected[k] += diagnose(clusters.preference, votes, units, redraws=199).p < 0.05
    assert rejected[0] > 30
    assert rejected[1] <= 6
    shared = cast_in_clusters(CYCLE, 10, 40, 1.0, 0.8, rng)
    votes = np.stack([shared.total, 0 * shared.total])
    assert diagnose(shared.preference, votes, shared).p < 0.01


def test_rare_losses_of_few_voters_do_not_reject():
    """Without the test by votes, voters who happen to lose no vote would agree perfectly."""
    truth, rng = spread_scores(3, 2.5), np.random.default_rng(1)
    rejected = 0
    for _ in range(100):
        clusters = cast_in_clusters(truth, 8, 20, 1.0, 0.9, rng)
        votes = np.stack([clusters.total, 0 * clusters.total])
        rejected += diagnose(clusters.preference, votes, clusters, redraws=199).p < 0.05
    assert rejected <= 11


# --- transitivity and winners ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [3, 5, 7])
def test_the_best_order_is_that_of_brute_force(n):
    cost = np.random.default_rng(n).random((n, n))

    def total(order):
        return sum(cost[order[later], order[k]] for k in range(n) for later in range(k + 1, n))

    orders = list(itertools.permutations(range(n)))
    assert total(best_order(cost)) == pytest.approx(min(map(total, orders)), rel=1e-12)


def test_a_strong_cycle_rejects_weak_transitivity_and_a_chain_that_no_scores_explain_does_not():
    rng = np.random.default_rng(0)
    cycle = weak_transitivity(*cast_votes(CYCLE, 60, 0.2, rng))
    assert cycle.p < 0.01
    assert "there is no order of the items" in cycle.sentence(("a", "b", "c"))
    chain = cast_votes(matrix_of(3, np.array([0.95, 0.55, 0.95])), 400, 0.0, rng)
    assert diagnose(*chain).p < 0.01
    result = weak_transitivity(*chain)
    assert result.p > 0.5
    assert "they contradict the order a, b, c least, if votes are independent" in result.sentence(("a", "b", "c"))


def test_weak_transitivity_needs_three_to_twelve_items():
    assert weak_transitivity(np.full((2, 2), 0.5)) is None
    assert weak_transitivity(np.full((13, 13), 0.5)) is None


def test_the_set_of_winners_shrinks_with_votes():
    rng, truth = np.random.default_rng(0), matrix_of(3, np.array([0.7, 0.7, 0.5]))
    assert possible_winners(*cast_votes(truth, 4, 0.0, rng)) == [0, 1, 2]
    assert possible_winners(*cast_votes(truth, 400, 0.0, rng)) == [0]
    assert possible_winners(*cast_votes(CYCLE, 400, 0.0, rng)) == []
    assert possible_winners(truth) is None


# --- the game and the command ----------------------------------------------------------------------------------------


def test_a_bootstrap_of_clusters_draws_whole_voters(tmp_path):
    rows = "".join(f"v{k},a,b,{k % 2},{1 - k % 2}\nv{k},a,b,{k % 2},{1 - k % 2}\n" for k in range(10))
    file = written(tmp_path, "voter," + HEAD + rows)
    shares = [drawn(file, seed, bootstrap=True, cluster=["voter"]).preference[0, 0, 1] for seed in range(300)]
    assert np.var(shares) == pytest.approx(0.25 / 10, rel=0.25)  # of ten voters, not of twenty votes
    assert drawn(file, bootstrap=True, cluster=["voter"]).votes[0, 0, 0, 1] == 20


def test_the_command_names_its_clusters(tmp_path, capsys):
    rng = np.random.default_rng(0)
    rows = [
        f"v{voter},{a},{b},{wins},{10 - wins}"
        for voter in range(8)
        for a, b in (("x", "y"), ("y", "z"), ("z", "x"), ("y", "x"))
        for wins in [rng.binomial(10, 0.7 if (a, b) != ("y", "x") else 0.3)]
    ]
    (tmp_path / "v.csv").write_text("\n".join(["voter,item_a,item_b,wins_a,wins_b", *rows]) + "\n")
    words = ["show", str(tmp_path / "v.csv"), "--details", "--out", str(tmp_path / "out")]
    assert main(words) == 0
    alone = " ".join(capsys.readouterr().out.split())
    assert "if votes are independent" in alone
    assert "add --cluster voter" in alone
    assert main([*words, "--cluster", "voter"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    page = " ".join((tmp_path / "out" / "report.html").read_text().split())
    for text in (printed, page):
        assert text.count("with votes clustered by voter (8 clusters)") == 5  # ratings, cycles, order, winner, position
        assert "if votes are independent" not in text
    assert main([*words, "--cluster", "town"]) == 2
    assert "game.cluster=town" in capsys.readouterr().err


def test_the_report_of_runs_tests_votes_as_votes_show_does(tmp_path):
    """The subjects of Tversky's gambles are the independent units in both."""
    assert command("game=tversky", "algorithm=nash_mp", "budget.iterations=2", f"runs_dir={tmp_path}").code == 0
    (run,) = (tmp_path / "default").glob("tversky-*")
    sentence = cycle_sentence(run, "tversky")
    shown = " ".join(examine("embedded:tversky1969.csv", cluster=["subject"]).lines)
    assert sentence.partition(": ")[2].partition(" Framed")[0] in shown
    assert "with votes clustered by subject (8 clusters)" in sentence
