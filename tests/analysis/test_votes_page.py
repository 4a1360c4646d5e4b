"""The page of a file of votes: its certificate over the number of votes, and the CSV files beside it."""

from __future__ import annotations

import csv
import re
import shlex

import numpy as np
import pytest

from nlhf.cli.votes import main
from nlhf.leaderboard.growth import growth_of_units, growth_of_votes
from nlhf.leaderboard.proof import Certified, proof, proof_of_units
from nlhf.leaderboard.report import answers, write
from nlhf.leaderboard.summary import examine
from nlhf.leaderboard.units import units_of, units_of_shares
from nlhf.stats.certified import VoteBounds
from nlhf.votes.file import Vote

pytestmark = pytest.mark.usefixtures("no_figure_files")

ITEMS = ("ant", "bee", "cat")


def ballots(number, seed=0, **cells):
    """Single votes on random pairs of items, of which the first beats all others in three of four votes."""
    rng = np.random.default_rng(seed)
    votes = []
    for row in range(number):
        i, j = rng.choice(3, 2, replace=False)
        won = float(rng.random() < (0.75 if i == 0 else 0.25 if j == 0 else 0.5))
        values = {name: str(value(row)) for name, value in cells.items()}
        votes.append(Vote(values, ITEMS[i], ITEMS[j], won, 1 - won, 0.0))
    return votes


def counted(votes):
    """Wins and votes of every pair, by a plain loop."""
    wins = np.zeros((3, 3))
    for vote in votes:
        i, j = ITEMS.index(vote.a), ITEMS.index(vote.b)
        wins[i, j] += vote.wins_a
        wins[j, i] += vote.wins_b
    return wins, wins + wins.T


def bounds(votes):
    wins, total = counted(votes)
    each = VoteBounds.once(wins, total, 0.05, ties=False), VoteBounds.anytime(wins, total, 0.05)
    return [Certified.of(part, None).exploitability for part in each]


def test_the_curve_has_the_certificates_of_the_first_votes_of_the_file():
    votes = ballots(300)
    growth = growth_of_votes(votes, ITEMS)
    assert growth.numbers[-1] == 300
    assert len(growth.numbers) > 10
    assert growth.order == "in the order of the file"
    for number, once, anytime in zip(growth.numbers, growth.once, growth.anytime, strict=True):
        assert [once, anytime] == bounds(votes[:number])


@pytest.mark.parametrize(
    "time", [lambda row: 1.5e9 - row, lambda row: f"2025-06-01T{20 - row // 60:02d}:{59 - row % 60:02d}"]
)
def test_the_column_time_decides_the_order(time):
    votes = ballots(300, time=time)
    growth = growth_of_votes(votes, ITEMS)
    assert growth.order == "in the order of the column time"
    assert [growth.once[0], growth.anytime[0]] == bounds(votes[::-1][: growth.numbers[0]])
    assert [growth.once[5], growth.anytime[5]] == bounds(votes[::-1][: growth.numbers[5]])


def test_votes_without_an_order_are_put_in_a_random_one():
    counts = (("ant", "bee", 60.0, 20.0, 0.0), ("bee", "cat", 41.0, 39.0, 2.0), ("ant", "cat", 70.0, 10.0, 0.0))
    pooled = [Vote({}, *each) for each in counts]
    by_pair = sorted(ballots(240), key=lambda vote: sorted((vote.a, vote.b)))
    for votes in (pooled, by_pair):
        growth = growth_of_votes(votes, ITEMS)
        assert growth.order.startswith("in a random order")
        assert growth.numbers[-1] == 240
        assert growth == growth_of_votes(votes, ITEMS)
        assert growth.once[0] < 0.5  # every pair has votes early
    wins, total = counted(by_pair)
    assert growth.once[-1] == Certified.of(VoteBounds.once(wins, total, 0.05, ties=False), None).exploitability


def test_a_curve_needs_votes_and_few_items():
    assert growth_of_votes(ballots(1), ITEMS) is None
    assert growth_of_votes(ballots(10), [*ITEMS, *map(str, range(60))]) is None
    assert growth_of_votes([Vote({}, "ant", "bee", 1e9, 1e9, 0.0)], ITEMS) is None
    assert growth_of_units(units_of(ballots(10, voter="x".format), ITEMS, ["voter"]), ITEMS) is None


def test_a_cluster_is_one_observation_of_a_pair_however_often_it_votes():
    voters = ballots(40, voter=lambda row: row)
    many = [vote for vote in voters for _ in range(50)]
    for votes in (voters, many):
        units = units_of(votes, ITEMS, ["voter"])
        wins, total = units.table(3)
        assert units.size == 40
        assert (wins == counted(voters)[0]).all()
        assert (total == counted(voters)[1]).all()
    independent = proof(ITEMS, counted(many)[0], np.stack([counted(many)[1], np.zeros((3, 3))]))
    clustered = proof_of_units(ITEMS, units)
    assert clustered.anytime.exploitability > independent.anytime.exploitability + 0.1
    assert "only its 40 values as independent" in " ".join(clustered.lines(None))
    assert clustered.anytime.bounds.spread is None  # no bound of mixtures


def test_ballots_that_are_sorted_by_content_are_put_in_a_random_order():
    """The votes of the file begin with one pair; in a random order every pair has votes early."""
    pairs = [("bee", "cat")] * 40 + [("ant", "bee")] * 40 + [("ant", "cat")] * 40
    votes = [Vote({"voter": str(row)}, a, b, 1.0, 0.0, 0.0) for row, (a, b) in enumerate(pairs)]
    units = units_of(votes, ITEMS, ["voter"])
    sorted_, random = growth_of_units(units, ITEMS), growth_of_units(units, ITEMS, at_random=True)
    assert random.order == "in a random order"
    assert random.anytime[-1] == sorted_.anytime[-1] == 0
    middle = len(random.numbers) // 2
    assert random.anytime[middle] < sorted_.anytime[middle]


def test_shares_of_a_cluster_are_means():
    votes = [Vote({"q": "x"}, "ant", "bee", 0.7, 0.3, 0.0), Vote({"q": "x"}, "bee", "ant", 0.6, 0.4, 0.0)]
    wins, total = units_of(votes, ITEMS, ["q"]).table(3)
    assert wins[0, 1] == pytest.approx(0.55)
    assert wins[1, 0] == pytest.approx(0.45)
    assert total[0, 1] == total[1, 0] == 1
    first = units_of_shares(["prompt"], {(7, 0, 1): 1.0, (3, 0, 1): 0.25}).table(3, first=1)
    assert first[0][0, 1] == 0.25


def test_bounds_of_clusters_hold_where_votes_of_a_cluster_are_equal():
    """Thirty voters cast ten equal votes on every pair: bounds of independent votes fail, those of clusters hold."""
    wrong = {"votes": 0, "clusters": 0}
    for seed in range(60):
        rng, votes = np.random.default_rng(seed), []
        for voter in range(30):
            for a, b in ((0, 1), (1, 2), (0, 2)):
                won = float(rng.random() < 0.5)
                votes += [Vote({"voter": str(voter)}, ITEMS[a], ITEMS[b], won, 1 - won, 0.0)] * 10
        wins, total = counted(votes)
        independent = proof(ITEMS, wins, np.stack([total, np.zeros((3, 3))])).anytime.bounds
        clustered = proof_of_units(ITEMS, units_of(votes, ITEMS, ["voter"])).anytime.bounds
        wrong["votes"] += bool((independent.upper < 0).any())
        wrong["clusters"] += bool((clustered.upper < 0).any())
    assert wrong["votes"] > 20
    assert wrong["clusters"] <= 3


# --- the files beside the page ---------------------------------------------------------------------------------------


def rows_of(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def tversky(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tversky")
    summary = examine("embedded:tversky1969.csv", context=["subject"], cluster=["subject"])
    return summary, folder, write(summary, "embedded:tversky1969.csv", folder).read_text()


def test_the_files_hold_the_numbers_of_the_summary_with_all_digits(tversky):
    summary, folder, _ = tversky
    matrix = summary.pooled
    names = {path.stem for path in folder.glob("*.csv")}
    assert names == {"items", "pairs", "cycles", "mixture", "sensitivity", "certificate", "next", "contexts"}
    items = rows_of(folder / "items.csv")
    assert [row["item"] for row in items] == [matrix.items[k] for k in summary.ratings.order]
    for row in items:
        k = matrix.items.index(row["item"])
        assert float(row["share"]) == matrix.nash.shares[k]
        assert float(row["rating"]) == summary.ratings.ratings[k]
        assert [int(row["rank_from"]), int(row["rank_to"])] == summary.ratings.ranks[:, k].tolist()
        assert float(row["bound_anytime"]) == summary.proof.anytime.items[k]
        assert float(row["clustered_bound_once"]) == summary.clustered.once.items[k]
    pairs = rows_of(folder / "pairs.csv")
    assert len(pairs) == 10
    assert sum(float(row["votes"]) for row in pairs) == matrix.votes
    for row in pairs:
        assert float(row["low_anytime"]) <= float(row["low_once"]) + 0.05 < float(row["share_a"]) + 0.05
        assert (
            float(row["share_a"])
            == matrix.preference[matrix.items.index(row["item_a"]), matrix.items.index(row["item_b"])]
        )
    for row in rows_of(folder / "cycles.csv"):
        assert min(float(row[name]) for name in ("a_over_b", "b_over_c", "c_over_a")) > 0.5
    assert len(rows_of(folder / "cycles.csv")) == 4
    assert [float(row["anytime"]) for row in rows_of(folder / "certificate.csv")] == summary.growth.anytime
    assert len(rows_of(folder / "mixture.csv")) == 5 * (1 + 8)
    other = [float(row["share"]) for row in rows_of(folder / "sensitivity.csv") if float(row["beta"]) == 0.1]
    assert other == matrix.sensitivity.by_beta[matrix.sensitivity.betas.index(0.1)].tolist()
    assert [row["context"] for row in rows_of(folder / "contexts.csv")] == [
        context.name for context in summary.contexts
    ]


def test_the_page_shows_the_numbers_of_the_files(tversky):
    _, folder, page = tversky
    for row in rows_of(folder / "items.csv"):
        cells = [f"{0.5 + float(row[f'clustered_bound_{name}']):.3f}" for name in ("anytime", "once")]
        assert f'<td class="text">{row["item"]}</td>' + "".join(f"<td>{cell}</td>" for cell in cells) in page
    for row in rows_of(folder / "next.csv"):
        assert f'<td class="text">{row["item_b"]}</td><td>{row["votes"]}</td>' in page


def test_the_page_answers_three_questions_in_this_order(tversky):
    page = tversky[2]
    titles = re.findall('<h2>(.*?)</h2>\n<p class="headline">(.*?)</p>', page)
    assert [title for title, _ in titles] == ["Who is best?", "Can I trust it?", "Which comparisons should I buy next?"]
    assert titles[0][1].startswith(
        "In these votes, no item is preferred to all others, and no item is preferred to the mixture"
    )
    assert titles[1][1].startswith("Not yet: all that the votes prove is that no policy is preferred to the mixture")
    assert titles[1][1].endswith("with 95% confidence, if the 8 values of subject are independent.")
    verdicts = re.findall("<summary>(.*?)</summary>\n<p>(.*?)</p>", page)
    assert [verdict for verdict, _ in verdicts] == [
        "For one look, with numbers of votes that were fixed in advance, the bound is 0.851.",
        "If all votes were independent, the bound would be 0.577, and 0.575 for one look.",
        "Scores do not explain the votes, which reject a Bradley-Terry model (p = 0.016).",
        "The votes do not reject that the majorities follow an order of the items (p = 0.45).",
        "Other samples of such votes have other equilibria: the share of a is from 0.000 to 1.000.",
    ]
    assert "These bounds take all votes with one value of subject on a pair as one observation" in verdicts[0][1]
    assert re.match(r"Ask for 20 votes, each with another value of subject: a against b \(\d+\)", titles[2][1])
    assert "nlhf votes ask embedded:tversky1969.csv --cluster subject" in page


def test_the_command_that_asks_reads_the_same_votes(tmp_path):
    path = tmp_path / "my votes.csv"
    path.write_text("left,item_b,wins_a,wins_b,judge,who\n" + "ant,bee,9,3,x,1\nant,cat,9,4,y z,2\nant,dog,3,9,x,3\n")
    summary = examine(str(path), where={"judge": ["x", "y z"]}, drop=["dog"], cluster=["who"], names={"item_a": "left"})
    (command,) = answers(summary, str(path))[2].commands
    words = shlex.split(command)
    assert words[:4] == ["nlhf", "votes", "ask", str(path)]
    options = ["--where", "judge=x", "--where", "judge=y z", "--drop", "dog", "--cluster", "who"]
    assert words[4:] == [*options, "--columns", "item_a=left"]


def test_the_terminal_shows_the_bounds_of_clusters_and_the_users_policy(tmp_path, capsys):
    weights = tmp_path / "weights.csv"
    weights.write_text("item,weight\na,1\nb,1\nc,1\nd,1\ne,1\n")
    main(["show", "game=tversky", "--policy", str(weights), "--out", str(tmp_path / "out")])
    printed = " ".join(capsys.readouterr().out.split())
    assert "0.635 0.979 0.994" in printed
    assert "The given policy has the bounds 0.861, and 0.869 for one look." in printed


def test_a_position_bias_and_names_that_differ_by_case_are_seen_without_opening_a_verdict(tmp_path):
    path = tmp_path / "votes.csv"
    rows = "ant,bee,1,0\nbee,ant,1,0\nAnt,bee,1,0\nbee,Ant,1,0\n" * 40 + "ant,bee,0,1\n" * 3
    path.write_text("item_a,item_b,wins_a,wins_b\n" + rows)
    lines = answers(examine(str(path)), str(path))[1].lines
    (biased,) = (line for line in lines if "the item named first wins 0.9" in line)
    assert "a position bias, if they were shown in that order" in biased
    assert "These items differ by upper and lower case alone, and are different items here: Ant, ant." in lines


def test_an_item_that_no_policy_can_beat_needs_no_votes(tmp_path):
    page = write(examine("embedded:vicuna80_human.csv"), "embedded:vicuna80_human.csv", tmp_path).read_text()
    assert '<p class="headline">None: with 95% confidence, no policy is preferred to gpt4.</p>' in page
    assert "no policy is preferred to gpt4 with a probability above 0.500" in page


def test_tables_of_an_earlier_command_do_not_stay(tmp_path, capsys):
    path = tmp_path / "votes.csv"
    path.write_text("item_a,item_b,wins_a,wins_b,topic\nant,bee,9,3,x\nbee,cat,9,4,x\ncat,ant,9,2,y\n")
    main(["show", str(path), "--context", "topic", "--out", str(tmp_path / "out")])
    assert (tmp_path / "out" / "contexts.csv").exists()
    assert len(rows_of(tmp_path / "out" / "cycles.csv")) == 1
    path.write_text("item_a,item_b,wins_a,wins_b\nant,bee,9,3\nbee,cat,9,4\nant,cat,9,2\n")
    main(["show", str(path), "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out" / "contexts.csv").exists()
    assert not (tmp_path / "out" / "cycles.csv").exists()
    capsys.readouterr()


def test_probabilities_prove_something_by_question_and_nothing_without(tmp_path):
    path = tmp_path / "votes.csv"
    lines = [f"q{k},ant,bee,{0.6 + 0.3 * (k % 2)},{0.4 - 0.3 * (k % 2)}" for k in range(200)]
    path.write_text("question,item_a,item_b,wins_a,wins_b\n" + "\n".join(lines) + "\n")
    summary = examine(str(path))
    assert summary.proof is None
    assert summary.clustered.units.size == 200
    assert summary.clustered.anytime.items[0] == 0.0
    path.write_text("item_a,item_b,wins_a,wins_b\nant,bee,0.7,0.3\n")
    summary = examine(str(path))
    assert summary.proof is None
    assert summary.clustered is None
    assert "Nothing is proved" in write(summary, str(path), tmp_path / "out").read_text()


def test_rankings_have_no_position_bias(tmp_path):
    path = tmp_path / "votes.csv"
    path.write_text("ballot,item_a,item_b,wins_a,wins_b\n1,ant,bee,1,0\n2,bee,ant,1,0\n3,ant,bee,1,0\n")
    assert examine(str(path)).position is None
    path.write_text(path.read_text() + "4,ant,bee,0,1\n")
    assert examine(str(path)).position is not None


def test_pairs_without_a_vote_are_asked_about_also_where_votes_are_probabilities(tmp_path):
    """A judge compares two models with a baseline alone: their pair gets votes too."""
    path = tmp_path / "votes.csv"
    lines = [f"q{k},base,{model},{0.3 + 0.4 * (k % 2)},{0.7 - 0.4 * (k % 2)}" for k in range(40) for model in "xy"]
    path.write_text("question,item_a,item_b,wins_a,wins_b\n" + "\n".join(lines) + "\n")
    summary = examine(str(path))
    numbers = {(a, b): number for a, b, number in summary.next_pairs.pairs}
    assert numbers["x", "y"] >= 4
    assert sum(numbers.values()) == 20
    assert "1 of 3 pairs have no vote" in " ".join(summary.lines)
