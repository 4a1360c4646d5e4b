"""Votes in the formats of other programs: right counts from every container, and one sentence for a bad file."""

from __future__ import annotations

import collections
import gzip
import json
import random
from contextlib import suppress

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import nlhf
from nlhf.cli.votes import main
from nlhf.config import ConfigError, build
from nlhf.io.inputs import InputFile
from nlhf.judges.votes_file import read_text_votes
from nlhf.votes.formats.base import Outcomes
from nlhf.votes.formats.table import FORMATS, PREFLIB, format_of
from nlhf.votes.read import Selection, read_votes
from nlhf.votes.source import source_of
from tests import votes_files
from tests.test_games import drawn

pytestmark = pytest.mark.usefixtures("one_thread")
VOTES = votes_files.drawn()
HEAD = "model_a,model_b,winner\n"


def read(path, every_row=False, **options):
    """The votes of a file and the report."""
    return read_votes(InputFile(str(path), "game.path"), Selection(**options), every_row)


def summed(votes):
    """Wins of both sides and ties by pair."""
    counts = collections.Counter()
    for vote in votes:
        for name in ("wins_a", "wins_b", "ties"):
            counts[vote.a, vote.b, name] += getattr(vote, name)
    return {key: count for key, count in counts.items() if count}


def expected(votes=VOTES, both_bad="tie"):
    """`summed`, from the votes that the files were made from."""
    counts = collections.Counter()
    for vote in votes:
        if vote.outcome == "both_bad" and both_bad == "drop":
            continue
        for_a, for_b, tie = votes_files.counts(vote.outcome)
        counts[vote.a, vote.b, "wins_a"] += for_a + tie / 2
        counts[vote.a, vote.b, "wins_b"] += for_b + tie / 2
        counts[vote.a, vote.b, "ties"] += tie
    return {key: count for key, count in counts.items() if count}


def refusal(path, reader=read, **options):
    """The sentence with which a file is refused."""
    with pytest.raises(ConfigError) as refused:
        reader(path, **options)
    message = str(refused.value)
    assert message.endswith(".")
    assert "\n" not in message
    assert path.name in message
    return message


def saved(folder, content, name="votes.csv"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


# --- every format in every container ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", votes_files.WITH_ITEMS)
def test_a_format_has_the_same_votes_in_every_container(tmp_path, name):
    for container in votes_files.CONTAINERS:
        for zipped in (False, True):
            path = votes_files.write(tmp_path / f"votes{zipped}.dat", votes_files.rows(name, VOTES), container, zipped)
            for every_row in (False, True):
                votes, report = read(path, every_row)
                assert summed(votes) == expected(), (container, zipped)
                assert report is None or not report.unused


@pytest.mark.parametrize("name", [*votes_files.WITH_TEXTS, "oasst"])
def test_texts_have_the_same_votes_in_every_container(tmp_path, name):
    wins = np.array([votes_files.counts("a" if name == "hh_rlhf" else vote.outcome) for vote in VOTES])
    chosen_first = name in ("chosen", "ultrafeedback", "oasst", "hh_rlhf")
    for container in votes_files.CONTAINERS:
        path = votes_files.write(tmp_path / "votes.dat", votes_files.rows(name, VOTES), container)
        votes = read_text_votes(str(path))
        assert len(votes) == len(VOTES)
        total = [wins[:, :2].sum(), 0, wins[:, 2].sum()] if chosen_first else wins.sum(0)
        assert votes.votes.sum(0).tolist() == list(total), container
        for (first, second), vote in zip(votes.pairs, VOTES, strict=True):
            texts = {votes.answers[first][1], votes.answers[second][1]}
            assert texts == {vote.reply(vote.a), vote.reply(vote.b)}
            assert vote.prompt in votes.answers[first][0]


def test_every_format_is_recognised_by_its_columns_alone():
    titles = {
        name: format_of(set(votes_files.rows(name, VOTES)[0])).title
        for name in (*votes_files.WITH_ITEMS, *votes_files.WITH_TEXTS, "oasst", "ratings")
    }
    one = {"chosen", "ultrafeedback", "hh_rlhf"}  # one format: chosen and rejected
    assert len(set(titles.values())) == len(titles) - len(one) + 1
    assert {known.title for known in FORMATS} == set(titles.values())


def test_columns_for_contexts_filters_and_clusters_are_read(tmp_path):
    table = votes_files.rows("arena_140k", VOTES)
    path = votes_files.write(tmp_path / "v.parquet", table, "parquet")
    further = source_of(InputFile(str(path))).further()
    assert {"order", "time", "language", "category_tag.math", "voter", "is_code"} <= set(further)
    assert not {"conversation_a", "conversation_b", "full_conversation"} & set(further)
    assert set(read(path, every_row=True)[0][0].cells) == {"id", "time", "voter"}
    votes, _ = read(path, context=["category_tag.math"], where={"order": [1, 2]}, cluster=["evaluation_session_id"])
    assert {vote.cells["category_tag.math"] for vote in votes} == {"true", "false"}
    chosen = [vote for row, vote in enumerate(VOTES) if row % 3 < 2]
    assert summed(votes) == expected(chosen)
    path = votes_files.write(tmp_path / "m.json", votes_files.rows("mtbench", VOTES), "json")
    votes, _ = read(path, where={"judge": "voter1"}, context=["question_id", "turn"])
    assert summed(votes) == expected([vote for vote in VOTES if vote.voter == "voter1"])
    words = refusal(path, context=["nothing"])
    assert "game.context=nothing" in words
    assert "voter" in words


def test_text_columns_of_parquet_are_not_read(tmp_path, monkeypatch):
    read_columns = []
    original = pq.ParquetFile.read

    def recorded(self, columns=None, **options):
        read_columns.extend(columns)
        return original(self, columns=columns, **options)

    monkeypatch.setattr(pq.ParquetFile, "read", recorded)
    path = votes_files.write(tmp_path / "v.parquet", votes_files.rows("arena_140k", VOTES), "parquet")
    read(path, context=["language"])
    assert set(read_columns) == {"model_a", "model_b", "winner", "language", "id"}


# --- what is not used is counted; what is unknown is refused ---------------------------------------------------------


@pytest.mark.parametrize("name", ["arena_33k", "arena_140k", "winners"])
def test_votes_that_both_are_bad_are_ties_or_left_out(tmp_path, name):
    path = votes_files.write(tmp_path / "v.json", votes_files.rows(name, VOTES), "json")
    number = sum(vote.outcome == "both_bad" for vote in VOTES)
    _, report = read(path)
    assert report.notes == (f"{number} votes that both are bad are ties (both_bad=drop omits them)",)
    votes, report = read(path, both_bad="drop")
    assert summed(votes) == expected(both_bad="drop")
    assert report.unused == {"say that both are bad": (number, 4)}
    if name != "winners":
        assert len(read_text_votes(str(path), both_bad="drop")) == len(VOTES) - number


def test_rows_that_are_not_used_are_counted_by_reason_with_the_first_row(tmp_path, caplog):
    rows = "x,y,model_a\nx,,model_b\nx,y,\nx,y,NaN\nz,z,tie\nx,y,model_b\n,,\n"
    path = saved(tmp_path, HEAD + rows)
    votes, report = read(path)
    assert summed(votes) == {("x", "y", "wins_a"): 1, ("x", "y", "wins_b"): 1}
    assert report.rows == 6
    assert report.unused == {"have no winner": (2, 4), "name no item": (1, 3), "compare an item with itself": (1, 6)}
    drawn(path)
    assert "4 of 6 rows are not used: 2 have no winner (the first in row 4), 1 name no item" in caplog.text


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("x,y,model_c", "row 3 has winner='model_c', which is neither of its items ('x', 'y')"),
        ("x,y,draw?", "correct it"),
        ("x,y,none", "winner='none'"),
        ("x,y,0.5", "winner='0.5'"),
        ("x,z,y", "neither of its items ('x', 'z')"),
    ],
)
def test_an_unknown_label_is_refused_with_its_row(tmp_path, row, words):
    assert words in refusal(saved(tmp_path, f"{HEAD}x,y,model_a\n{row}\n"))


def test_a_label_that_is_also_the_name_of_the_other_item_is_refused(tmp_path):
    path = saved(tmp_path, "item_a,item_b,winner\nb,a,a\n")
    assert "the name of one item and also another outcome" in refusal(path)
    votes, _ = read(saved(tmp_path, "item_a,item_b,winner\na,b,a\na,b,b\n"))
    assert summed(votes) == {("a", "b", "wins_a"): 1, ("a", "b", "wins_b"): 1}


def test_a_count_beside_winners_is_not_ignored(tmp_path):
    path = saved(tmp_path, "left,right,winner,count\nx,y,left,1\nx,y,right,3\n")
    assert "row 3 has count=3, which is not read" in refusal(path)
    votes, _ = read(saved(tmp_path, "left,right,winner,count,tie\nx,y,left,1,0\nx,y,tie,1,1\n"))
    assert len(votes) == 1


@pytest.mark.parametrize(
    ("flags", "words"),
    [("1,1,0", "row 2 has 1 in several of winner_model_a, winner_model_b, winner_tie"), ("0,2,0", "neither 0 nor 1")],
)
def test_columns_of_outcomes_hold_at_most_one_winner(tmp_path, flags, words):
    head = "model_a,model_b,winner_model_a,winner_model_b,winner_tie\n"
    assert words in refusal(saved(tmp_path, f"{head}x,y,{flags}\n"))
    _, report = read(saved(tmp_path, f"{head}x,y,0,0,0\nx,y,1,0,0\n"))
    assert report.unused == {"have no winner": (1, 2)}


def test_preferences_between_one_and_two_are_shares(tmp_path):
    head = "generator_1,generator_2,preference\n"
    votes, report = read(saved(tmp_path, head + "x,y,1.25\nx,y,1.5\nx,y,0\nx,y,\nx,y,nan\n"))
    assert summed(votes) == {("x", "y", "wins_a"): 1.75, ("x", "y", "wins_b"): 1.25, ("x", "y", "ties"): 2}
    assert report.unused == {"have no preference": (2, 5)}
    for cell in ("2.5", "-1", "0.5", "best", "1,5"):
        words = refusal(saved(tmp_path, f'{head}x,y,1\nx,y,"{cell}"\n'))
        assert f"row 3 has preference={cell!r}" in words


# --- names of columns ------------------------------------------------------------------------------------------------


def test_columns_can_have_other_names(tmp_path):
    path = saved(tmp_path, "erste,zweite,besser,wer\nx,y,x,ann\ny,z,2,ben\nx,z,tie,ann\n")
    assert "erste, zweite, besser, wer" in refusal(path)
    names = {"item_a": "erste", "item_b": "zweite", "winner": "besser", "voter": "wer"}
    votes, _ = read(path, every_row=True, columns=names)
    assert [(vote.a, vote.b, vote.wins_a, vote.cells["voter"]) for vote in votes] == [
        ("x", "y", 1, "ann"), ("y", "z", 0, "ben"), ("x", "z", 0.5, "ann")]  # fmt: skip
    assert "columns={item_a: first}" in refusal(path, columns={"item_a": "first"})
    tidy = saved(tmp_path, "l,r,wins_a,wins_b\nx,y,3,1\n")
    assert summed(read(tidy, columns={"item_a": "l", "item_b": "r"})[0])["x", "y", "wins_a"] == 3


# --- what users try --------------------------------------------------------------------------------------------------


def test_a_bad_line_of_a_long_file_is_named(tmp_path):
    lines = [json.dumps(row) for row in votes_files.rows("arena_33k", votes_files.drawn(1100))]
    lines[1002] = '{"model_a": "x", '
    path = saved(tmp_path, "\n".join(lines), "v.jsonl")
    assert "row 1003 is not JSON" in refusal(path)
    lines[1002] = "[1]"
    assert "row 1003 is [1], no object" in refusal(saved(tmp_path, "\n".join(lines), "v.jsonl"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"model_a,model_b,winner\n", "0 rows, all used: give a file with votes"),
        (b"model_a,model_b,winner\nx,y,\n", "1 of 1 rows are not used"),
        (b"model_a,model_b,model_a,winner\nx,y,x,tie\n", "columns 1 and 3 are both named 'model_a'"),
        (b"model_a,model_b,winner\nx,y\n", "row 2 lacks winner"),
        (b"[]", "is empty: give a file with votes"),
        (b'{"model_a": "x", "model_a": "y"}', "it has the key model_a twice"),
        (b'[{"model_a": "x"}, 3]', "row 2 is 3, no object"),
        (b"[{]", "is not JSON"),
        (b"PK\x03\x04rest", "is a zip archive or an Excel workbook, no table: save it as CSV"),
        (b"PAR1broken", "is a damaged parquet file: copy or download it again"),
        (b"\x1f\x8b\x08broken", "is a damaged gzip file"),
        (gzip.compress(b"model_a,model_b,winner\nx,y,tie\n" * 50, mtime=0)[:-9], "is a damaged gzip file"),
        ("model_a,model_b,winner\nx,y,tie\n".encode("utf-16"), "is not UTF-8 text"),
        (b"<!DOCTYPE html>", "is a web page, no table: download the file itself"),
        (b"version https://git-lfs.github.com/spec/v1\n", "run git lfs pull"),
        (b"item_a;item_b;wins_a;wins_b\nx;y;0,5;0,5\n", "row 2 has wins_a='0,5', not a number: write a decimal point"),
    ],
)
def test_a_bad_file_is_refused_in_one_sentence(tmp_path, content, words):
    assert words in refusal(saved(tmp_path, content, "votes.gz"))


def test_two_columns_of_one_name_in_parquet_are_refused(tmp_path):
    table = pa.Table.from_arrays([pa.array(["x"]), pa.array(["y"]), pa.array(["x"])], ["model_a", "model_b", "model_a"])
    pq.write_table(table, tmp_path / "v.parquet")
    assert "columns 1 and 3 are both named 'model_a'" in refusal(tmp_path / "v.parquet")


@pytest.mark.parametrize("rows", ["x,y,model_a\n", "x,y,tie\ny,x,tie\n"])
def test_one_vote_and_nothing_but_ties_make_a_game(tmp_path, rows):
    table = drawn(saved(tmp_path, HEAD + rows))
    assert table.items == ("x", "y")
    assert table.preference[0, 0, 1] == (1.0 if rows.count("\n") == 1 else 0.5)


def test_cells_may_have_any_type_in_parquet(tmp_path):
    columns = {
        "model_a": pa.array(["x", "y", None]).dictionary_encode(),
        "model_b": pa.array(["y", "x", "y"], pa.large_string()),
        "winner": pa.array(["model_a", "tie", "model_b"]),
        "turn": pa.array([1, 2, None], pa.int8()),
        "time": pa.array([1, 2, 3], pa.timestamp("s")),
        "flag": pa.array([True, None, False]),
        "tags": pa.array([["a"], [], None]),
        "nothing": pa.nulls(3),
    }
    pq.write_table(pa.table(columns), tmp_path / "v.parquet", row_group_size=1)
    names = ["turn", "flag", "nothing", "time"]
    votes, report = read(tmp_path / "v.parquet", every_row=True, context=names)
    assert report.unused == {"name no item": (1, 3)}
    assert votes[0].cells["turn"] == "1"
    assert votes[1].cells["flag"] == votes[1].cells["nothing"] == ""
    votes, _ = read(tmp_path / "v.parquet", context=["tags"])
    assert {vote.cells["tags"] for vote in votes} == {"['a']", "[]"}


@pytest.mark.parametrize("name", ["arena_140k", "arena_55k", "alpaca_eval", "tidy", "helpsteer", "oasst", "chosen"])
def test_a_file_that_was_cut_or_changed_never_ends_in_a_traceback(tmp_path, name):
    rng = random.Random(0)
    for container in votes_files.CONTAINERS:
        path = votes_files.write(tmp_path / "v.dat", votes_files.rows(name, VOTES[:12]), container, rng.random() < 0.3)
        content = path.read_bytes()
        for _ in range(12):
            changed = bytearray(content[: rng.randrange(len(content))])
            for _ in range(rng.randrange(3) if container != "parquet" else 0):
                changed[rng.randrange(max(len(changed), 1)) : 0] = rng.choice([b"\xff", b'"', b"\n", b"{", b",", b"\0"])
            for reader in (lambda path: read(path, True), lambda path: read_text_votes(str(path))):
                with suppress(ConfigError):
                    reader(saved(tmp_path, bytes(changed), "changed.dat"))


# --- PrefLib ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [votes_files.PREFLIB, votes_files.OLD_PREFLIB])
def test_a_ranking_is_a_vote_on_every_pair_of_its_alternatives(tmp_path, text):
    votes, report = read(saved(tmp_path, text, "poll.toi"), every_row=True)
    wins = collections.Counter()
    for vote in votes:
        wins[vote.a, vote.b] += vote.wins_a
        wins[vote.b, vote.a] += vote.wins_b
    assert wins["amber", "birch"] == 3 + 0.5
    assert wins["birch", "amber"] == 2 + 0.5
    assert wins["birch", "cedar"] == 3 + 1
    assert wins["delta", "amber"] == 1
    assert wins["amber", "delta"] == 3
    assert len({vote.cells["ballot"] for vote in votes}) == 6
    assert len(votes) == 3 * 6 + 2 * 3 + 3
    assert report.notes == ("1 of 7 ballots rank fewer than two alternatives and hold no vote",)


def test_edges_of_preflib_are_counted(tmp_path):
    votes, _ = read(saved(tmp_path, votes_files.MATCHING, "weights.wmd"))
    assert summed(votes) == {("amber", "birch", "wins_a"): 5, ("birch", "amber", "wins_a"): 3}


def test_many_equal_ballots_are_not_written_out(tmp_path):
    text = votes_files.PREFLIB.replace("3: 1,2,3,4", "3000000000: 1,2,3,4")
    votes, report = read(saved(tmp_path, text, "poll.toi"), every_row=True)
    assert max(vote.wins_a for vote in votes) == 3e9
    assert any("no column `ballot`" in note for note in report.notes)
    assert any("the header announces 7 voters, but the file has 3,000,000,004 ballots" in note for note in report.notes)


@pytest.mark.parametrize(
    "line",
    ["1: 3,2,7", "1: 1,2,2", "1: 3,{2,1", "1: 1,x,3", "1: 1;2;3", "two: 1,2", "1,2,3", "-2: 1,2,3", "1: ", "1: 1,,2"],
)
def test_a_broken_ballot_is_refused_with_its_row(tmp_path, line):
    words = refusal(saved(tmp_path, votes_files.PREFLIB + line + "\n", "poll.toi"))
    assert "row 15 " in words


def test_preflibtools_reads_the_same_votes(tmp_path):
    instances = pytest.importorskip("preflibtools.instances")
    rng = np.random.default_rng(1)
    head = votes_files.PREFLIB.partition("3: 1,2")[0].replace("4\n", "6\n", 1)
    names = "".join(f"# ALTERNATIVE NAME {k}: item{k}\n" for k in (5, 6))
    lines = []
    for _ in range(40):
        ranked = rng.permutation(6)[: rng.integers(2, 7)] + 1
        cut = rng.integers(1, len(ranked))
        tied = "{" + ",".join(map(str, ranked[:cut])) + "}" if cut > 1 else str(ranked[0])
        lines.append(f"{rng.integers(1, 4)}: {tied},{','.join(map(str, ranked[cut:]))}\n")
    path = saved(tmp_path, head + names + "".join(lines), "poll.toi")
    instance = instances.OrdinalInstance(str(path))
    wins = collections.Counter()
    for order in instance.orders:
        for position, group in enumerate(order):
            for first in group:
                for second in {name for below in order[position + 1 :] for name in below}:
                    wins[first, second] += instance.multiplicity[order]
    numbers = {name: number for number, name in instance.alternatives_name.items()}
    votes, _ = read(path)
    ours = collections.Counter()
    for vote in votes:
        ours[numbers[vote.a], numbers[vote.b]] += vote.wins_a - vote.ties / 2
        ours[numbers[vote.b], numbers[vote.a]] += vote.wins_b - vote.ties / 2
    assert +ours == +wins


# --- texts -----------------------------------------------------------------------------------------------------------


def test_texts_that_cannot_be_used_are_counted_by_reason(tmp_path, caplog):
    good = votes_files.arena_140k(VOTES[0], 0)
    picture = {**good, "conversation_a": [{"role": "user", "content": [{"type": "image", "image": "x", "text": None}]}]}
    other = {**good, "conversation_b": [{"role": "user", "content": "another"}, {"role": "assistant", "content": "y"}]}
    silent = {**good, "conversation_b": good["conversation_b"][:1]}
    half = {**good, "conversation_b": [*good["conversation_b"][:1], {"role": "assistant", "content": "\ud83d"}]}
    path = saved(tmp_path, json.dumps([good, picture, other, silent, half]), "v.json")
    assert len(read_text_votes(str(path))) == 1
    for words in ("4 of 5 rows", "1 show pictures (the first in row 2)", "1 share no prompt", "1 lack a reply",
                  "1 hold half of a character"):  # fmt: skip
        assert words in caplog.text


def test_texts_that_are_json_stay_texts_and_lists_may_be_written_as_python_prints_them(tmp_path):
    row = {"prompt": "[1, 2]", "chosen": '{"a": 1}', "rejected": "[]"}
    for container in votes_files.CONTAINERS:
        votes = read_text_votes(str(votes_files.write(tmp_path / "v.dat", [row], container)))
        assert votes.answers == [("[1, 2]", '{"a": 1}'), ("[1, 2]", "[]")]
    table = [{**row, **{name: repr(row[name]) for name in ("conversation_a", "conversation_b")}}
             for row in votes_files.rows("arena_33k", VOTES)]  # fmt: skip
    assert len(read_text_votes(str(votes_files.write(tmp_path / "v.csv", table, "csv")))) == len(VOTES)


def test_votes_on_texts_of_a_file_without_texts_are_refused(tmp_path):
    words = refusal(saved(tmp_path, HEAD + "x,y,tie\n"), lambda path: read_text_votes(str(path)))
    assert "has no votes on texts: use game=votes, nlhf votes show" in words
    path = votes_files.write(tmp_path / "v.json", votes_files.rows("helpsteer", VOTES), "json")
    assert "has no votes on items: use nlhf judge train, nlhf judge grade, nlhf votes convert" in refusal(path)


def test_a_judge_takes_the_voters_of_a_column(tmp_path):
    path = votes_files.write(tmp_path / "v.json", votes_files.rows("mtbench", VOTES), "json")
    assert set(read_text_votes(str(path)).sources) == {"all"}
    votes = read_text_votes(str(path), {"source": "judge"})
    assert votes.sources.tolist() == [vote.voter for vote in VOTES]
    assert source_of(InputFile(str(path)), {"source": "judge"}).format.title == "MT-bench judgments"


def test_a_text_ends_with_the_judged_turn(tmp_path):
    table = votes_files.rows("mtbench", VOTES[:1])
    more = [{"role": "user", "content": "And?"}, {"role": "assistant", "content": "No."}]
    for row in table:
        row["conversation_a"] = row["conversation_a"] + more
        row["conversation_b"] = row["conversation_b"] + more
    (first, second) = read_text_votes(str(votes_files.write(tmp_path / "m.json", table, "json"))).answers
    assert (first[1], second[1]) == (VOTES[0].reply(VOTES[0].a), VOTES[0].reply(VOTES[0].b))
    table[0]["turn"] = 2
    (first, _) = read_text_votes(str(votes_files.write(tmp_path / "n.json", table, "json"))).answers
    assert first[1] == f"assistant: {VOTES[0].reply(VOTES[0].a)}\n\nuser: And?\n\nassistant: No."


# --- ratings ---------------------------------------------------------------------------------------------------------


def ratings(path, **options):
    node = {"_target_": "nlhf.games.ratings.Ratings", "path": str(path), "drop": [], "unit": "elo", **options}
    return build(node, "game").table(np.random.default_rng(0))


def test_ratings_are_a_bradley_terry_game(tmp_path):
    path = saved(tmp_path, "model;elo;votes\nx;1000;5\ny;1400;6\nz;900;7\n")
    table = ratings(path)
    assert table.items == ("x", "y", "z")
    assert table.preference[0, 1, 0] == pytest.approx(10 / 11, abs=1e-15)
    assert np.allclose(table.preference + table.preference.swapaxes(1, 2), 1)
    natural = ratings(saved(tmp_path, "item,score\nx,0\ny,1\n", "natural.csv"), unit="natural")
    assert natural.preference[0, 1, 0] == pytest.approx(1 / (1 + np.exp(-1)))
    assert ratings(path, drop=["z"]).items == ("x", "y")
    own = saved(tmp_path, "player,strength\nx,1\ny,2\n", "own.csv")
    assert ratings(own, columns={"item": "player", "rating": "strength"}).items == ("x", "y")
    words = ["game=ratings", f"game.path={path}", "beta=0.1", f"runs_dir={tmp_path}", "budget.iterations=5"]
    assert nlhf.run(words).summary["status"] == "completed"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("item,rating\nx,1\ny,high\n", "row 3 has rating='high', no finite number"),
        ("item,rating\nx,1\ny,\n", "row 3 has rating=''"),
        ("item,rating\nx,1\nx,2\n", "row 3 names 'x' again"),
        ("item,rating\nx,1\n,2\n", "row 3 names no item"),
        ("item,rating\nx,1\n", "has 1 rated items"),
        ("a,b\nx,1\n", "name those that are item and rating"),
        (HEAD + "x,y,tie\n", "has no ratings: use game=votes"),
    ],
)
def test_bad_ratings_are_refused(tmp_path, text, words):
    assert words in refusal(saved(tmp_path, text), ratings)


def test_ratings_are_no_votes(tmp_path):
    assert "has no votes on items: use game=ratings" in refusal(saved(tmp_path, "item,rating\nx,1\ny,2\n"))


# --- commands --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*votes_files.WITH_ITEMS, "poll"])
def test_converted_votes_are_the_same_game(tmp_path, name):
    if name == "poll":
        path = saved(tmp_path, votes_files.PREFLIB, "poll.toi")
    else:
        path = votes_files.write(tmp_path / "v.parquet", votes_files.rows(name, VOTES), "parquet")
    assert main(["convert", str(path), "--out", str(tmp_path / "out" / "votes.csv")]) == 0
    before, after = drawn(path), drawn(tmp_path / "out" / "votes.csv")
    assert before.items == after.items
    assert np.array_equal(before.preference, after.preference)
    assert np.array_equal(before.votes, after.votes)
    _, report = read(path)
    written = json.loads((tmp_path / "out" / "votes.json").read_text())
    assert written["votes.csv"]["unused"] == {}
    assert report is None or written["votes.csv"] == {**report.entries, "file": str(path)}
    if name in votes_files.WITH_TEXTS:
        ours, theirs = read_text_votes(str(tmp_path / "out" / "votes.jsonl")), read_text_votes(str(path))
        assert ours.answers == theirs.answers
        assert np.array_equal(ours.votes, theirs.votes)
        assert ours.sources.tolist() == theirs.sources.tolist()


def test_converting_keeps_columns_and_counts_what_it_leaves_out(tmp_path, capsys):
    path = saved(tmp_path, "l,r,winner,voter,time\nx,y,x,ann,5\nx,y,,ben,6\nx,y,both_bad,ann,7\n")
    names = ["--columns", "item_a=l,item_b=r", "--both-bad", "drop"]
    assert main(["convert", str(path), "--out", str(tmp_path / "tidy.csv"), *names]) == 0
    assert (tmp_path / "tidy.csv").read_text() == "item_a,item_b,wins_a,wins_b,voter,time\nx,y,1,0,ann,5\n"
    assert not (tmp_path / "tidy.jsonl").exists()
    unused = json.loads((tmp_path / "tidy.json").read_text())["tidy.csv"]["unused"]
    assert unused == {"have no winner": {"rows": 1, "first": 3}, "say that both are bad": {"rows": 1, "first": 4}}
    assert "2 of 3 rows are not used" in capsys.readouterr().out


def test_converting_replaces_files_only_with_force(tmp_path, capsys):
    path = saved(tmp_path, HEAD + "x,y,tie\n")
    (tmp_path / "tidy.json").write_text("mine")
    words = ["convert", str(path), "--out", str(tmp_path / "tidy.csv")]
    assert main(words) == 2
    assert f"{tmp_path / 'tidy.json'} exists: give another name, or add --force" in capsys.readouterr().err
    assert (tmp_path / "tidy.json").read_text() == "mine"
    assert not (tmp_path / "tidy.csv").exists()
    assert main([*words, "--force"]) == 0
    assert json.loads((tmp_path / "tidy.json").read_text())["tidy.csv"]["unused"] == {}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["convert", "FILE", "--out", "FILE"], "would replace the file that is read"),
        (["convert", "FILE", "--out", "OUT", "--columns", "item_a"], "is not NAME=COLUMN"),
        (["convert", "FILE", "--out", "OUT", "--columns", "item_a=nothing"], "lacks the column nothing"),
        (["convert", "FILE", "--out", "OUT", "--both-bad", "half"], "invalid choice"),
        (["convert", "FILE"], "--out"),
        (["show", "FILE", "--both-bad", "drop", "--columns", "item_a=q"], "lacks the column q"),
    ],
)
def test_wrong_options_are_refused(tmp_path, capsys, words, sentence):
    path = saved(tmp_path, HEAD + "x,y,tie\n")
    words = [{"FILE": str(path), "OUT": str(tmp_path / "o.csv")}.get(word, word) for word in words]
    assert main(words) == 2
    assert sentence in capsys.readouterr().err
    assert path.read_text() == HEAD + "x,y,tie\n"


def test_show_reads_every_format_and_reports_rows(tmp_path, capsys, caplog):
    path = votes_files.write(tmp_path / "v.jsonl", votes_files.rows("arena_33k", VOTES), "jsonl", zipped=True)
    assert main(["show", str(path), "--out", str(tmp_path / "page"), "--both-bad", "drop"]) == 0
    words = f"{caplog.text} {capsys.readouterr().out}"
    number = sum(vote.outcome == "both_bad" for vote in VOTES)
    assert f"{number} of 60 rows are not used: {number} say that both are bad" in " ".join(words.split())
    assert words.count("are not used") == 1
    assert "not used" in (tmp_path / "page" / "report.html").read_text(encoding="utf-8")


def test_a_run_reads_every_format_and_new_keys_do_not_change_its_name(tmp_path):
    path = votes_files.write(tmp_path / "v.parquet", votes_files.rows("arena_140k", VOTES), "parquet")
    words = ["game=votes", f"game.path={path}", f"runs_dir={tmp_path}", "beta=0.1", "budget.iterations=3"]
    one, two = nlhf.run([*words, "game.context=[language]"]), nlhf.run([*words, "game.both_bad=drop"])
    assert one.folder != two.folder
    same = nlhf.run([*words, "game.context=[language]", "game.both_bad=tie", "game.columns=null"])
    assert same.folder == one.folder


def test_a_reader_of_outcomes_has_a_row_for_every_row_of_the_file(tmp_path):
    for name in votes_files.WITH_ITEMS:
        source = source_of(
            InputFile(str(votes_files.write(tmp_path / f"{name}.json", votes_files.rows(name, VOTES), "json")))
        )
        if source.format.votes:
            outcomes = source.format.votes(source.frame)
            assert isinstance(outcomes, Outcomes)
            assert len(outcomes.wins_a) == len(outcomes.ties) == len(source.frame) == len(VOTES)
    assert PREFLIB.votes is not None
