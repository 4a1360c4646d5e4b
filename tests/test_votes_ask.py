"""`nlhf votes ask`: the pairs to vote on next, until the votes prove enough."""

from __future__ import annotations

import csv
import gzip
import itertools
import json
import stat

import numpy as np
import pytest

from nlhf.cli.votes import main
from nlhf.leaderboard.counted import count_votes
from nlhf.leaderboard.next_votes import predicted
from nlhf.votes.read import Selection

HEADER = "item_a,item_b,wins_a,wins_b"
ITEMS = ["a", "b", "c", "d"]
CYCLE = {("a", "b"): 0.8, ("b", "c"): 0.8, ("a", "c"): 0.2, ("a", "d"): 0.9, ("b", "d"): 0.9, ("c", "d"): 0.9}
QUICK = ["--simulations", "0"]


@pytest.fixture
def votes(tmp_path, monkeypatch):
    """A file of 40 rows of votes in the working folder."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    rows = [f"{a},{b},{w},{1 - w}" for a, b in 7 * list(itertools.combinations(ITEMS, 2)) for w in [rng.integers(2)]]
    file = tmp_path / "votes.csv"
    file.write_text("\n".join([HEADER, *rows[:40]]) + "\n")
    return file


def ask(*options, file="votes.csv", out="pairs.csv"):
    return main(["ask", str(file), "--out", str(out), *map(str, options)])


def pairs_in(path, delimiter=","):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream, delimiter=delimiter))


def fill_in(path, rng, wins=CYCLE):
    """Answer each row of a file of pairs at random."""
    rows = pairs_in(path)
    for row in rows:
        a, b = row["item_a"], row["item_b"]
        first = rng.random() < (wins[a, b] if (a, b) in wins else 1 - wins[b, a])
        row["wins_a"], row["wins_b"] = str(int(first)), str(int(not first))
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def append(path, votes):
    """`tail -n +2 pairs.csv >> votes.csv`."""
    with votes.open("a") as stream:
        stream.write("".join(path.read_text().splitlines(keepends=True)[1:]))


def test_asking_voting_and_appending_ends_at_the_target(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    votes, pairs, rng = tmp_path / "votes.csv", tmp_path / "pairs.csv", np.random.default_rng(0)
    votes.write_text(HEADER + "\n")
    for _ in range(60):
        before = votes.read_bytes()
        assert ask("--items", "a,b,c,d", "--target", 0.1, *QUICK) == 0
        assert votes.read_bytes() == before
        if not pairs_in(pairs):
            break
        fill_in(pairs, rng)
        append(pairs, votes)
    printed = capsys.readouterr().out
    assert "The target is reached: no more votes are needed." in printed
    assert "confidence" in printed
    counted = count_votes("votes.csv", Selection())
    assert 200 < counted.votes.sum() / 2 < 1500
    assert counted.votes[0, 3, :3].sum() < counted.votes[0, :3, :3].sum() / 2  # d is out of the question


def test_the_estimate_names_its_spread(votes, capsys):
    assert ask("--target", 0.2, "--simulations", 5) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "more votes, these included, reach the target; with a probability of 67% between" in printed
    assert "by 5 simulated continuations." in printed


@pytest.mark.parametrize(("number", "low", "level"), [(1, 1, 0.0), (5, 1, 4 / 6), (20, 1, 19 / 21), (59, 3, 0.9)])
def test_the_range_of_remaining_votes_has_the_stated_probability(number, low, level):
    shuffled = np.random.default_rng(0).permutation(np.arange(1.0, number + 1))
    lowest, middle, highest, stated = predicted(shuffled)
    assert (lowest, highest, stated) == (low, number + 1 - low, pytest.approx(level))
    assert middle == pytest.approx((number + 1) / 2, abs=0.5)


def test_the_seed_decides_order_and_sides(votes, tmp_path):
    texts = []
    for seed in (0, 0, 1):
        (tmp_path / "pairs.csv").unlink(missing_ok=True)
        assert ask("--batch", 60, "--seed", seed, *QUICK) == 0
        texts.append((tmp_path / "pairs.csv").read_text())
    assert texts[0] == texts[1] != texts[2]
    rows = pairs_in(tmp_path / "pairs.csv")
    assert len(rows) == 60
    pairs = [tuple(sorted((row["item_a"], row["item_b"]))) for row in rows]
    assert pairs != sorted(pairs)
    assert 10 < sum(row["item_a"] < row["item_b"] for row in rows) < 50
    assert all(row["wins_a"] == row["wins_b"] == "" for row in rows)


def lines_of(votes):
    return votes.read_text().splitlines(keepends=True)


def change_row(lines):
    lines[17] = "a,b,5,0\n"


def remove_rows(lines):
    del lines[11:14]


def change_and_append(lines):
    change_row(lines)
    lines += ["a,b,1,0\n"] * 3


def remove_and_append(lines):
    remove_rows(lines)
    lines += ["a,b,0,4\n"] * 2


def remove_apart(lines):
    del lines[30], lines[5]


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (change_row, "row 17 was changed since"),
        (change_and_append, "row 17 was changed since"),
        (remove_rows, "3 rows of votes were removed, rows 11 to 13 since"),
        (remove_and_append, "3 rows of votes were removed, rows 11 to 13 since"),
        (remove_apart, "2 rows of votes were changed or removed, the first is row 5 since"),
    ],
)
def test_changes_of_earlier_votes_are_explained(votes, tmp_path, capsys, edit, sentence):
    lines = [HEADER + "\n", *(f"a,{ITEMS[1 + k % 3]},{k},{40 - k}\n" for k in range(40))]  # all rows differ
    votes.write_text("".join(lines))
    assert ask(*QUICK) == 0
    edit(lines)
    votes.write_text("".join(lines))
    capsys.readouterr()
    before = (tmp_path / "pairs.csv").read_bytes(), (tmp_path / "pairs.state.json").read_bytes()
    assert ask(*QUICK) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert "--accept-changes" in error
    assert ((tmp_path / "pairs.csv").read_bytes(), (tmp_path / "pairs.state.json").read_bytes()) == before
    assert ask("--accept-changes", *QUICK) == 0
    assert ask(*QUICK) == 0
    assert sentence.removesuffix(" since") in " ".join(capsys.readouterr().out.split())


def test_added_and_sorted_rows_change_no_vote(votes):
    assert ask(*QUICK) == 0
    header, *rows = lines_of(votes)
    votes.write_text("".join([header, "b,a,1,0\n", *sorted(rows)]))
    assert ask(*QUICK) == 0


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--drop", "d"], '--drop was unset in the last call and is ["d"]'),
        (["--both-bad", "drop"], '--both-bad was "tie" in the last call and is "drop"'),
    ],
)
def test_another_selection_is_a_change(votes, capsys, options, sentence):
    assert ask(*QUICK) == 0
    assert ask(*options, *QUICK) == 2
    assert sentence in capsys.readouterr().err


def test_items_may_be_added_and_not_be_left_out(votes, capsys):
    assert ask("--items", "a,b,c,d,e", *QUICK) == 0
    assert ask(*QUICK) == 2
    assert "the item e was named in the last call and is not named now since" in capsys.readouterr().err
    assert ask("--items", "a,b,c,d,e,f", *QUICK) == 0


def test_probabilities_need_clusters(votes, capsys):
    rows = [f"{a},{b},0.{k}5,0.{9 - k}5,{k}" for a, b in itertools.combinations("abc", 2) for k in range(8)]
    votes.write_text("\n".join([HEADER + ",prompt", *rows]) + "\n")
    assert ask(*QUICK) == 2
    assert "has probabilities, whose number says nothing about chance" in capsys.readouterr().err
    assert ask("--cluster", "prompt", *QUICK) == 0
    assert count_votes("votes.csv", Selection(cluster=["prompt"])).votes[0, 0].tolist() == [0, 8, 8]


@pytest.mark.parametrize(
    ("name", "text", "note"),
    [
        ("votes.tsv", "item_a\titem_b\twins_a\twins_b\na\tb\t3\t1\n", ""),
        ("votes.csv", "item_a,item_b,wins_a,wins_b\na,b,3,1", "votes.csv does not end with a line feed"),
        ("votes.csv.gz", "item_a,item_b,wins_a,wins_b\na,b,3,1\n", "votes.csv.gz is another format"),
        ("votes.jsonl", '{"item_a": "a", "item_b": "b", "wins_a": 3, "wins_b": 1}\n', "votes.jsonl is another format"),
        ("battles.csv", "model_a,model_b,winner\na,b,model_a\n", "battles.csv is another format"),
    ],
)
def test_files_to_which_answers_cannot_be_appended_are_named(tmp_path, monkeypatch, capsys, name, text, note):
    monkeypatch.chdir(tmp_path)
    content = text.encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    columns = ["--columns", "item_a=model_a,item_b=model_b"] if name == "battles.csv" else []
    assert ask(*QUICK, *columns, file=name) == 0
    printed = capsys.readouterr().out
    assert note in printed
    assert bool(note) == ("append" in printed or "convert" in printed)
    separator = "\t" if name == "votes.tsv" else ","
    assert {row["item_a"] for row in pairs_in(tmp_path / "pairs.csv", separator)} == {"a", "b"}


def test_answers_that_were_not_appended_are_not_lost(votes, tmp_path, capsys):
    pairs = tmp_path / "pairs.csv"
    assert ask(*QUICK) == 0
    fill_in(pairs, np.random.default_rng(0))
    assert ask(*QUICK) == 2
    assert "pairs.csv has 20 answers that are not in the file of votes" in capsys.readouterr().err
    append(pairs, votes)
    assert ask(*QUICK) == 0


def test_a_damaged_history_is_refused(votes, tmp_path, capsys):
    assert ask(*QUICK) == 0
    state = tmp_path / "pairs.state.json"
    state.write_text(state.read_text().replace("votes.csv", "others.csv"))
    assert ask(*QUICK) == 2
    assert "pairs.state.json is damaged" in capsys.readouterr().err


def test_voters_are_hashed_with_a_salt_of_the_user(votes, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    rows = [f"{a},{b},1,0,{voter}" for a, b in itertools.combinations(ITEMS, 2) for voter in ("Ada", "Bob", "")]
    votes.write_text("\n".join([HEADER + ",annotator", *rows]) + "\n")
    before = votes.read_bytes()
    assert ask("--hash-voters", *QUICK) == 0
    assert votes.read_bytes() == before
    salt = tmp_path / "home" / "nlhf" / "voters.salt"
    assert stat.S_IMODE(salt.stat().st_mode) == 0o600
    assert str(salt) in capsys.readouterr().out.replace("\n", "")
    copy = tmp_path / "pairs.hashed.csv"
    names = [row["annotator"] for row in pairs_in(copy)]
    assert len(set(names)) == 3
    assert names[2] == ""
    assert {"Ada", "Bob"}.isdisjoint(names)
    for file in tmp_path.glob("pairs*"):
        assert "Ada" not in file.read_text()
        assert salt.read_bytes().hex() not in file.read_text()
    first = copy.read_text()
    assert ask("--hash-voters", "annotator", *QUICK) == 0
    assert copy.read_text() == first
    votes.write_text(first)  # the hashed copy has the same votes
    assert ask(*QUICK) == 0
    salt.write_bytes(b"short")
    assert ask("--hash-voters", *QUICK) == 2
    assert "is not a salt" in capsys.readouterr().err


def test_a_voter_votes_once_on_a_pair(votes, capsys):
    rows = ["a,b,1,0,Ada"] * 5 + ["b,a,1,0,Ada", "a,b,0,1,Bob", "a,b,1,0,", "a,b,1,0,", "c,a,0.5,0.5,Ada"]
    votes.write_text("\n".join([HEADER + ",voter", *rows]) + "\n")
    counted = count_votes("votes.csv", Selection(cluster=["voter"]))
    assert counted.votes[0, 0].tolist() == [0, 4, 1]
    assert counted.wins[0, 0, 1] == pytest.approx(5 / 6 + 0 + 2)
    assert counted.wins[0, 0, 2] == 0.5
    assert ask("--cluster", "voter", *QUICK) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "all votes of one voter on a pair count as one, their mean" in printed


def test_ballots_of_preflib_are_clusters(votes, tmp_path, capsys):
    lines = ["# FILE NAME: poll.soc", "# TITLE: poll", "# DATA TYPE: soc", "# NUMBER ALTERNATIVES: 3"]
    lines += ["# NUMBER VOTERS: 30", "# NUMBER UNIQUE ORDERS: 2"]
    lines += [f"# ALTERNATIVE NAME {k}: {name}" for k, name in enumerate("xyz", start=1)]
    poll = tmp_path / "poll.soc"
    poll.write_text("\n".join([*lines, "20: 1,2,3", "10: 3,1,2"]) + "\n")
    assert ask(*QUICK, file=poll) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "Votes of one ballot may be alike, and are not independent" in printed
    assert "nlhf votes convert FILE --out votes.csv" in printed
    assert list(pairs_in(tmp_path / "pairs.csv")[0]) == HEADER.split(",")


def test_pairs_have_the_columns_and_separator_of_the_votes(votes, tmp_path):
    rows = [f"{judge};{a};{b};1;0;0;{q}" for a, b in itertools.combinations("abc", 2) for q in "xy" for judge in "hm"]
    votes.write_text("\n".join(["judge;item_a;item_b;wins_a;wins_b;ties;topic", *rows]) + "\n")
    assert ask("--where", "judge=h", "--context", "topic", "--batch", 21, *QUICK) == 0
    written = pairs_in(tmp_path / "pairs.csv", ";")
    assert list(written[0]) == ["judge", "item_a", "item_b", "wins_a", "wins_b", "ties", "topic"]
    assert {row["judge"] for row in written} == {"h"}
    assert {row["ties"] for row in written} == {"0"}
    assert sorted([row["topic"] for row in written].count(topic) for topic in "xy") == [10, 11]


def test_contexts_share_the_probability_of_an_error(votes, capsys):
    rows = [f"{a},{b},9,0,{q}" for a, b in itertools.combinations("abc", 2) for q in "xyz"]
    votes.write_text("\n".join([HEADER + ",topic", *rows]) + "\n")
    from nlhf.leaderboard.next_votes import suggest

    rng = np.random.default_rng(0)
    each = suggest(count_votes("votes.csv", Selection(context=["topic"])), 20, 0.05, 0, rng).certificates
    alone = suggest(count_votes("votes.csv", Selection(where={"topic": ["x"]})), 20, 0.05, 0, rng).certificates
    assert len(each) == 3
    assert all(one.exploitability > alone[0].exploitability for one in each)


def test_items_may_stand_in_a_file(votes, tmp_path):
    (tmp_path / "items.txt").write_text("a\nb\n\nc\nd\n new one \n")
    assert ask("--items", "items.txt", *QUICK) == 0
    names = {row[side] for row in pairs_in(tmp_path / "pairs.csv") for side in ("item_a", "item_b")}
    assert "new one" in names


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--batch", 0], "--batch 0 is too small: ask for 1 vote or more."),
        (["--target", 0], "--target 0 is out of range"),
        (["--target", 0.5], "--target 0.5 is out of range"),
        (["--simulations", -1], "--simulations -1 is negative"),
        (["--seed", -1], "--seed -1 is negative"),
        (["--items", "a,b,a"], "--items names a twice"),
        (["--items", "a,b,c"], "--items lacks d, which has votes in votes.csv"),
        (["--hash-voters"], "votes.csv has no column of voters"),
        (["--hash-voters", "rater"], "--hash-voters rater is not a column of the votes"),
        (["--cluster", "rater"], "game.cluster=rater: votes.csv lacks the column rater"),
        (["--out", "votes.csv"], "--out votes.csv would replace the votes"),
        (["--out", "other.csv"], "--out other.csv is not a file of pairs"),
    ],
)
def test_what_cannot_work_is_refused_in_a_sentence(votes, tmp_path, monkeypatch, capsys, options, sentence):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    (tmp_path / "other.csv").write_text("x,y\n1,2\n")
    before = votes.read_bytes()
    assert ask(*QUICK, *options) == 2
    assert sentence in capsys.readouterr().err
    assert votes.read_bytes() == before


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (HEADER, "votes.csv has a header and no votes: name the items, as in --items a,b,c."),
        ("", "votes.csv is empty"),
        (HEADER + "\na,b,0.3,0.7", "votes.csv has probabilities, whose number says nothing about chance"),
        (HEADER + "\na,b,,", "row 2 has wins_a=''"),
    ],
)
def test_files_without_votes_are_refused_in_a_sentence(votes, capsys, text, sentence):
    votes.write_text(text + "\n" if text else "")
    assert ask(*QUICK) == 2
    assert sentence in capsys.readouterr().err


def test_the_history_holds_no_names_of_voters(votes, tmp_path):
    votes.write_text(HEADER + ",voter\na,b,1,0,Ada\nb,a,1,0,Bob\n")
    assert ask("--cluster", "voter", *QUICK) == 0
    content = json.loads((tmp_path / "pairs.state.json").read_text())
    assert "Ada" not in json.dumps(content)
    assert len(content["rows"]) == 2 * 12
