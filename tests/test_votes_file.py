"""Files of votes: nothing is read wrongly in silence, and what cannot be read is refused in one sentence."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nlhf
from nlhf.config import ConfigError
from nlhf.votes.file import Vote, context_name
from nlhf.votes.where import matches, parsed
from tests.test_games import HEAD, drawn, votes, written

pytestmark = pytest.mark.usefixtures("one_thread")


def refusal(folder, text, **options):
    """The sentence with which a file is refused."""
    with pytest.raises(ConfigError) as refused:
        drawn(written(folder, text), **options)
    message = str(refused.value)
    assert message.endswith(".")
    assert "\n" not in message
    return message


def pairs(instance, context=0):
    """P by the names of row and column."""
    names = itertools.product(enumerate(instance.items), repeat=2)
    return {(a, b): instance.preference[context, i, j] for (i, a), (j, b) in names}


@pytest.mark.parametrize("separator", [";", "\t"])
def test_semicolons_and_tabs_separate_columns_too(tmp_path, separator):
    text = HEAD + "a,b,3,1\n"
    table = drawn(written(tmp_path, text.replace(",", separator)))
    assert pairs(table) == pairs(drawn(written(tmp_path, text)))


# --- columns ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("item_a,item_b,wins_a,wins_b,wins_b", "columns 4 and 5 are both named 'wins_b'"),
        ("q,item_a,item_b,wins_a,wins_b, q", "columns 1 and 6 are both named 'q'"),
        ("item_a,item_b,wins_a,wins_b,,", "columns 5 and 6 are both named ''"),
    ],
)
def test_two_columns_of_one_name_are_refused_with_their_positions(tmp_path, header, words):
    row = ",".join(["a", "b"] + ["1"] * (header.count(",") - 1))
    assert words in refusal(tmp_path, f"{header}\n{row}\n")


def test_a_header_that_lacks_a_column_shows_what_cannot_be_seen(tmp_path):
    assert r"it has 'item_a\u200b', item_b" in refusal(tmp_path, "item_a\u200b,item_b,wins_a,wins_b\na,b,1,2\n")


def test_a_quote_that_is_never_closed_does_not_swallow_rows(tmp_path):
    text = 'item_a,item_b,wins_a,wins_b,note\na,b,1,2,"open\na,b,50,0,\n'
    assert "is not CSV in UTF-8 (unexpected end of data)" in refusal(tmp_path, text)


# --- white space -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "item_a, item_b, wins_a, wins_b\nx, y, 3, 1\nz, y , 1, 1\n",
        "\ufeffitem_a,item_b,wins_a,wins_b\r\nx,y,3,1\r\nz,y ,1,1\r\n",
        "item_a ,item_b,wins_a,wins_b\t\nx,\u00a0y,3,1\n,,,\n z,y,1,1 \n   \n".replace("   \n", "\n"),
    ],
)
def test_white_space_around_names_is_removed_with_one_notice(tmp_path, caplog, text):
    family = votes(written(tmp_path, text))
    instance = family.table(np.random.default_rng(0))
    assert instance.items == ("x", "y", "z")
    assert pairs(instance)["x", "y"] == 0.75
    family.cast()
    (notice,) = [record.getMessage() for record in caplog.records]
    assert "white space was removed around" in notice
    assert "y' are now one name" in notice or "y ' are now one name" in notice


def test_numbers_and_clean_names_give_no_notice(tmp_path, caplog):
    drawn(written(tmp_path, HEAD + "a,b, 3,1 \nb,c,1,1\n"))
    assert not caplog.records


# --- contexts --------------------------------------------------------------------------------------------------------


def test_contexts_of_different_cells_never_merge(tmp_path):
    text = "p,q," + HEAD + "a/b,c,x,y,1,0\na,b/c,x,y,0,1\n"
    instance = drawn(written(tmp_path, text), context=["p", "q"])
    assert dict(zip(instance.contexts, instance.preference[:, 0, 1], strict=True)) == {r"a\/b/c": 1.0, r"a/b\/c": 0.0}


def test_an_empty_cell_is_a_context_of_its_own(tmp_path):
    instance = drawn(written(tmp_path, "q," + HEAD + ",x,y,1,0\nall,x,y,0,1\n(empty),x,y,1,1\n"), context=["q"])
    values = dict(zip(instance.contexts, instance.preference[:, 0, 1], strict=True))
    assert values == {"(empty)": 1.0, "all": 0.0, r"\(empty)": 0.5}


cells = st.lists(st.sampled_from(["a", "/", "\\", "(empty)", "(", " "]), max_size=4).map("".join)


@given(st.lists(st.tuples(cells, cells), max_size=30), st.lists(cells, max_size=30))
def test_names_of_contexts_are_reversible(double, single):
    assert len({context_name(pair) for pair in double}) == len(set(double))
    assert len({context_name([cell]) for cell in single}) == len(set(single))


def test_many_contexts_of_confusable_cells_are_in_one_order(tmp_path):
    rows = [f"{p},{q},x,y,1,1\n" for p, q in itertools.product(("a/b", "a", "", "1", "1.0"), ("c", "b/c", "/"))]
    orders = {
        drawn(written(tmp_path, "p,q," + HEAD + "".join(rows[k:] + rows[:k])), context=["p", "q"]).contexts
        for k in range(len(rows))
    }
    assert len(orders) == 1
    assert len(set(*orders)) == len(rows)


def test_columns_of_counts_are_no_contexts(tmp_path):
    message = refusal(tmp_path, "item_a,item_b,wins_a,wins_b,ties\na,b,1,1,0\n", context=["ties"])
    assert "game.context=ties counts votes" in message


# --- filters ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "value", "expected"),
    [
        ("1", 1, True),
        ("1.0", 1, True),
        ("01", 1, True),
        ("1e0", 1.0, True),
        ("+1", 1, True),
        ("10", 1, False),
        ("0.10", 0.1, True),
        ("0.1", 0.10000000001, False),
        ("-0", 0, True),
        ("one", 1, False),
        ("", 0, False),
        ("9007199254740993", 9007199254740993, True),
        ("9007199254740992", 9007199254740993, False),
        ("1_0", 10, False),
        ("1e999999999", 1, False),
        ("true", 1, False),
        ("1", True, False),
        ("1", "1", True),
        ("1.0", "1", False),
        ("01", "01", True),
        ("", "", True),
        ("a", "a ", True),
        ("A", "a", False),
        ("true", True, True),
        ("True", True, True),
        ("FALSE", False, True),
        ("true", False, False),
        ("True", "true", False),
    ],
)
def test_numbers_match_by_value_texts_by_text_and_truth_values_likewise(cell, value, expected):
    assert matches(cell, value) == expected


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("1", 1),
        ("1.0", 1),
        ("2.5", 2.5),
        ("9007199254740993", 9007199254740993),
        ("true", True),
        ("False", False),
        ("human", "human"),
        ("nan", "nan"),
        ("inf", "inf"),
        ("", ""),
    ],
)
def test_words_of_a_command_line_are_read_as_what_they_look_like(word, value):
    assert (parsed(word), type(parsed(word))) == (value, type(value))


ROUNDS = f"""round,judge,ok,{HEAD}1,human,True,a,b,1,0
1.0,human,true,a,b,1,0
01,gpt4,False,a,b,0,1
2,gpt4,x,a,b,0,1
"""


@pytest.mark.parametrize(
    ("where", "share"),
    [
        ({"round": 1.0}, 2 / 3),
        ({"round": 1}, 2 / 3),
        ({"round": "01"}, 0),
        ({"round": ["1", 2]}, 1 / 2),
        ({"ok": True}, 1),
        ({"ok": "True"}, 1),
        ({"round": 1, "judge": "gpt4"}, 0),
        ({"judge": " human "}, 1),
    ],
)
def test_filters_keep_the_rows_with_the_value(tmp_path, where, share):
    assert pairs(drawn(written(tmp_path, ROUNDS), where=where))["a", "b"] == share


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ({"round": 3}, "no row with round=3: loosen game.where, the column has 1, 1.0, 01, 2."),
        ({"judge": "humn"}, "judge=humn: loosen game.where, the column has human, gpt4."),
        ({"judge": ["human", "gtp4"]}, "judge=gtp4: loosen game.where, the column has human, gpt4."),
        ({"ok": 1}, "ok=1: loosen game.where, the column has True, true, False, x."),
        ({"judge": "human", "round": 2}, "passes all filters (judge: 2 rows, round: 1 rows): loosen game.where."),
    ],
)
def test_a_filter_that_matches_nothing_says_what_there_is(tmp_path, where, words):
    assert words in refusal(tmp_path, ROUNDS, where=where)


def test_a_column_of_many_values_is_shown_in_part(tmp_path):
    text = "q," + HEAD + "".join(f"{q},a,b,1,1\n" for q in range(25)) + ",a,b,1,1\n"
    assert "has 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 16 more." in refusal(tmp_path, text, where={"q": 99})


# --- ties and other counts -------------------------------------------------------------------------------------------


def test_ties_are_half_a_win_for_each_and_counted_as_ties(tmp_path):
    text = "item_a,item_b,wins_a,wins_b,ties\na,b,3,0,1\nb,a,1,2,3\n"
    family = votes(written(tmp_path, text))
    instance = family.table(np.random.default_rng(0))
    assert pairs(instance)["a", "b"] == (3 + 0.5 + 2 + 1.5) / 10
    assert instance.votes[:, 0, 0, 1].tolist() == [10, 4]
    assert instance.wins[0].tolist() == [[0, 7], [3, 0]]
    cells = {"item_a": "a", "item_b": "b", "wins_a": "3", "wins_b": "0"}
    assert family.cast()[0] == Vote(cells, "a", "b", 3.5, 0.5, 1.0)


def test_a_column_of_ties_and_half_wins_mean_the_same(tmp_path):
    counted = drawn(written(tmp_path, "item_a,item_b,wins_a,wins_b,ties\na,b,3,1,2\n"))
    halves = drawn(written(tmp_path, HEAD + "a,b,3,1\na,b,0.5,0.5\na,b,0.5,0.5\n"))
    assert (counted.preference == halves.preference).all()
    assert (counted.votes == halves.votes).all()
    seeds = {
        drawn(written(tmp_path, "item_a,item_b,wins_a,wins_b,ties\na,b,0,0,5\n"), seed, bootstrap=True).preference[
            0, 0, 1
        ]
        for seed in range(5)
    }
    assert seeds == {0.5}


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ("0.5,0.5,1", "row 2 has ties=1 and half wins"),
        ("1,1,", "row 2 has ties='', not a number"),
        ("1,1,x", "row 2 has ties='x', not a number"),
        ("1,1,-1", "row 2 has ties=-1: counts are finite and not negative"),
    ],
)
def test_ties_that_cannot_be_counted_are_refused(tmp_path, cells, words):
    assert words in refusal(tmp_path, f"item_a,item_b,wins_a,wins_b,ties\na,b,{cells}\n")


@pytest.mark.parametrize(
    ("column", "cell"),
    [
        ("tie", "1"),
        ("Ties", "2"),
        ("draws", "3"),
        ("both_bad", "1"),
        ("tie (bothbad)", "1"),
        ("winner_tie", "True"),
        ("num_ties", "many"),
        ("total", "5"),
        ("votes", "5"),
        ("Count", "5"),
        ("weight", "2"),
    ],
)
def test_a_column_that_looks_like_a_count_and_is_not_read_is_refused(tmp_path, column, cell):
    message = refusal(tmp_path, f"item_a,item_b,wins_a,wins_b,{column}\na,b,1,2,{cell}\n")
    assert f"row 2 has {column}={cell}, which is not read" in message
    assert "count ties in `ties`" in message


@pytest.mark.parametrize(
    ("column", "wins", "cell"),
    [
        ("tie", "1,0", "0"),
        ("tie", "0.5,0.5", "1"),
        ("winner_tie", "0.5,0.5", "True"),
        ("draw", "1,0", "False"),
        ("draws", "2,3", ""),
        ("total", "2,3", "5"),
        ("votes", "504.434,495.566", "1000"),
        ("weight", "2,3", "1.0"),
        ("vote", "1,0", "3"),
        ("round", "1,0", "7"),
    ],
)
def test_a_column_that_agrees_with_the_counts_is_no_harm(tmp_path, column, wins, cell):
    drawn(written(tmp_path, f"item_a,item_b,wins_a,wins_b,{column}\na,b,{wins},{cell}\n"))


def test_a_column_that_is_filtered_or_split_by_may_have_any_name(tmp_path):
    path = written(tmp_path, "weight," + HEAD + "1,a,b,1,0\n2,a,b,0,1\n")
    assert pairs(drawn(path, where={"weight": 2}))["a", "b"] == 0
    assert drawn(path, context=["weight"]).contexts == ("1", "2")


# --- size ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (HEAD + "a,b,1,1\na,b,1.5e308,0.5e308\n", "row 3 has wins_a=1.5e308: counts are exact up to 2^53 only"),
        (HEAD + "a,b,1,9007199254740994\n", "row 2 has wins_b=9007199254740994"),
        (HEAD + "a,b,9e15,1\na,b,1,9e15\n", "has 1.8e+16 votes, and counts are exact up to 2^53 only"),
        (HEAD + "a,b,1_0,1\n", "row 2 has wins_a='1_0', not a number"),
    ],
)
def test_counts_beyond_exact_numbers_are_refused_before_any_work(tmp_path, text, words):
    assert words in refusal(tmp_path, text)
    path, runs = written(tmp_path, text), tmp_path / "runs"
    with pytest.raises(ConfigError):
        nlhf.run(["game=votes", f"game.path={path}", f"runs_dir={runs}", "progress=false"])
    assert not list(runs.rglob("*"))


@pytest.mark.parametrize(("wins_a", "wins_b"), [("9007199254740000", "1"), ("1e-300", "3e-300"), ("3e15", "1e15")])
def test_counts_of_any_other_size_give_their_share(tmp_path, wins_a, wins_b):
    share = float(wins_a) / (float(wins_a) + float(wins_b))
    assert pairs(drawn(written(tmp_path, HEAD + f"a,b,{wins_a},{wins_b}\n")))["a", "b"] == pytest.approx(
        share, rel=1e-15
    )


def test_pseudo_votes_beyond_exact_numbers_are_refused(tmp_path):
    assert "game.pseudo_count=1e+308 is out of range" in refusal(tmp_path, HEAD + "a,b,1,1\n", pseudo_count=1e308)


# --- comparisons -----------------------------------------------------------------------------------------------------

APART = "the votes never compare items of different groups, not even indirectly, and all such pairs count as even: "


@pytest.mark.parametrize(
    ("rows", "options", "words"),
    [
        ("a,b,3,1\nc,d,2,2\n", {}, APART + "(a, b) and (c, d)"),
        ("a,b,3,1\nb,c,1,1\nd,e,0,0\n", {}, APART + "(a, b, c) and (d) and 1 more"),
        ("a,b,3,1\nb,c,2,2\n", {}, None),
        ("a,b,3,1\nc,d,2,2\n", {"unseen": "drop_item"}, None),
        ("a,b,3,1\nc,d,2,2\n", {"drop": ["c", "d"]}, None),
    ],
)
def test_items_that_are_not_compared_even_indirectly_are_warned_of_once(tmp_path, caplog, rows, options, words):
    file = written(tmp_path, "item_a,item_b,wins_a,wins_b\n" + rows)
    votes(file, bootstrap=True, **options).build([0, 1, 2])
    assert [record.getMessage().partition(": ")[2] for record in caplog.records] == ([words] if words else [])


def test_contexts_whose_votes_do_not_compare_all_items_are_counted(tmp_path, caplog):
    file = written(tmp_path, "item_a,item_b,wins_a,wins_b,q\na,b,3,1,x\nb,c,1,1,x\na,b,1,1,y\na,c,0,0,y\n")
    votes(file, context=["q"]).build([0])
    (notice,) = [record.getMessage() for record in caplog.records]
    assert notice.endswith(f"in 1 of 2 contexts, first in y, {APART}(a, b) and (c)")


def test_the_votes_that_come_with_nlhf_compare_all_items(caplog):
    for name in ("tversky1969", "mtbench_human", "vicuna80_human"):
        votes(f"embedded:{name}.csv").build([0])
    assert not caplog.records


# --- copies ----------------------------------------------------------------------------------------------------------


def ballots(count, columns="", cells=""):
    """A header, and rows of single votes on pairs of nine items."""
    rng = np.random.default_rng(4)
    rows = [f"{a},{b},{row % 2},{1 - row % 2}{cells.format(row, row // 2, row % 2)}\n" for row in range(count)
            for a, b in [rng.choice(9, 2, replace=False)]]  # fmt: skip
    return f"item_a,item_b,wins_a,wins_b{columns}\n", rows


@pytest.mark.parametrize(
    ("columns", "cells", "change", "times"),
    [
        ("", "", lambda rows: 2 * rows, "twice"),
        ("", "", lambda rows: 4 * rows, "4 times"),
        (",vote_id", ",{}", lambda rows: sorted(3 * rows), "3 times"),
        (",question,annotator", ",{1},{2}", lambda rows: sorted(2 * rows), "twice"),
    ],
)
def test_a_file_that_was_appended_to_itself_is_warned_of_once(tmp_path, caplog, columns, cells, change, times):
    header, rows = ballots(24, columns, cells)
    votes(written(tmp_path, header + "".join(change(rows)))).build([0, 1])
    (notice,) = [record.getMessage() for record in caplog.records]
    assert f" holds every row {times}, as if it had been appended to itself" in notice


@pytest.mark.parametrize(
    ("columns", "cells", "change"),
    [
        ("", "", lambda rows: rows),
        ("", "", lambda rows: 2 * rows[:9]),  # few rows
        ("", "", lambda rows: sorted(2 * rows)),  # may be two votes each
        ("", "", lambda rows: 30 * rows[:1]),  # thirty voters agree
        ("", "", lambda rows: 2 * rows + rows[:1]),
        (",question", ",{}", lambda rows: sorted(3 * rows)),  # three voters agree on each question
        (",vote_id", ",{}", lambda rows: 2 * rows + rows[:1]),
    ],
)
def test_equal_rows_that_may_be_different_votes_give_no_warning(tmp_path, caplog, columns, cells, change):
    header, rows = ballots(24, columns, cells)
    votes(written(tmp_path, header + "".join(change(rows)))).build([0])
    assert not [record for record in caplog.records if "holds every row" in record.getMessage()]
