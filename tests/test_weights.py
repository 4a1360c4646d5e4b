"""Reference weights from a file are matched with the game's items by name, or the order that is assumed is said."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from nlhf.config import ConfigError
from nlhf.games.matrix_file import MatrixFile
from nlhf.io.inputs import InputFile
from nlhf.numerics.streams import stream
from nlhf.references.base import FromFile
from tests.test_games import HEAD, votes

pytestmark = pytest.mark.usefixtures("one_thread")

VOTES = HEAD + "b,a,1,1\nc,a,1,1\n"  # items a, b, c, in another order in the file
CONTEXTS = "q," + HEAD + "2,b,a,1,1\n1,c,a,1,1\n"


@pytest.fixture
def reference(tmp_path):
    """Probabilities (X, n) of a reference file of this content over the items of these votes."""

    def build(content, name="w.csv", text=VOTES, **options):
        (tmp_path / "votes.csv").write_text(text, encoding="utf-8")
        path = tmp_path / name
        if isinstance(content, dict):
            np.savez(path, **content)
        elif isinstance(content, str):
            path.write_text(content, encoding="utf-8")
        else:
            np.save(path, content)
        game = votes(tmp_path / "votes.csv", **options).build([0])
        return np.exp(FromFile(InputFile(str(path), "reference.path")).build(game, [0]).numpy()[0])

    return build


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ("item,weight\nb,2\na,1\nc,5\n", "w.csv"),
        ("weight, item\r\n5,c\r\n2, b\r\n1,a\r\n", "w.csv"),
        ({"weight": [2.0, 1.0, 5.0], "items": ["b", "a", "c"]}, "w.npz"),
    ],
)
def test_weights_are_matched_by_name_whatever_their_order(reference, caplog, content, name):
    assert reference(content, name)[0] == pytest.approx([1 / 8, 2 / 8, 5 / 8], rel=1e-15)
    assert "in the order of" not in caplog.text


def test_weights_that_name_no_context_serve_all(reference):
    shares = reference("item,weight\nb,2\na,1\nc,5\n", text=CONTEXTS, context=["q"])
    assert shares == pytest.approx(np.tile([1 / 8, 2 / 8, 5 / 8], (2, 1)), rel=1e-15)


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ("context,item,weight\n2,a,1\n2,b,1\n2,c,2\n1,c,3\n1,b,4\n1,a,1\n", "w.csv"),
        (
            {"weight": [[1, 2, 1], [4, 3, 1]], "items": ["b", "c", "a"], "contexts": ["2", "1"]},
            "w.npz",
        ),
    ],
)
def test_weights_may_differ_by_context_and_are_matched_by_its_name(reference, content, name):
    shares = reference(content, name, text=CONTEXTS, context=["q"])  # contexts 1 and 2
    assert shares == pytest.approx(np.array([[1 / 8, 4 / 8, 3 / 8], [1 / 4, 1 / 4, 2 / 4]]), rel=1e-15)


@pytest.mark.parametrize(
    ("content", "name"),
    [("1\n2\n5\n", "w.csv"), (np.array([1, 2, 5]), "w.npy"), ({"weight": [1, 2, 5]}, "w.npz")],
)
def test_numbers_without_names_work_and_the_order_is_said(reference, caplog, content, name):
    assert reference(content, name)[0] == pytest.approx([1 / 8, 2 / 8, 5 / 8], rel=1e-15)
    (warning,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "in the order of the game's items, a, b, c;" in warning.getMessage()
    assert "item,weight" in warning.getMessage()


REFUSED = {
    "missing": ("item,weight\na,1\n", "has no weight for b, c: add it"),
    "unknown": ("item,weight\na,1\nb,1\nc,1\nd,1\n", "row 5 names the item 'd'", "it has a, b, c."),
    "twice": ("item,weight\na,1\nb,1\nc,1\n a,2\n", "rows 2 and 5 both give a weight for a"),
    "two columns": ("item,weight,weight\na,1,1\n", "columns 2 and 3 are both named 'weight'"),
    "other column": ("item,weight,q\na,1,1\n", "has the columns item, weight, q", "context,item,weight"),
    "no weight": ("item,wins\na,1\n", "has the columns item, wins"),
    "no number": ("item,weight\na,1\nb,x\nc,1\n", "row 3 has weight='x', not a number"),
    "zero": ("item,weight\na,1\nb,0\nc,1\n", "has the weight 0"),
    "nan": ("item,weight\na,1\nb,nan\nc,1\n", "has the weight nan"),
    "short row": ("item,weight\na,1\nb\n", "row 3 lacks weight"),
    "names alone": ("a,b,c\n1,2,3\n", "row 1 has 'a', not a number", "item,weight"),
    "unknown context": ("context,item,weight\nall,a,1\nsome,b,1\n", "row 3 names the context 'some'"),
    "missing in a context": ("context,item,weight\nall,a,1\nall,b,1\n", "no weight for c in context all"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_weights_that_do_not_fit_the_items_are_refused(reference, case):
    content, *words = REFUSED[case]
    with pytest.raises(ConfigError) as refused:
        reference(content)
    message = str(refused.value)
    assert message.startswith("reference.path=")
    assert message.endswith(".")
    assert all(word in message for word in words), message


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"weight": [1, 2], "items": ["a", "b"]}, "has no weight for c"),
        ({"weight": [1, 2, 3], "items": ["a", "b", "a"]}, "items 1 and 3 are both named 'a'"),
        ({"weight": [1, 2, 3], "items": ["a", "b", "z"]}, "names the item 'z'"),
        ({"weight": [1, 2, 3], "items": ["a", "b"]}, "has 2 items and weights of shape"),
        ({"weight": ["x", "y", "z"], "items": ["a", "b", "c"]}, "has no array `weight` of numbers"),
        ({"other": [1, 2, 3]}, "has no array `weight` of numbers"),
    ],
)
def test_arrays_that_do_not_fit_the_items_are_refused(reference, arrays, words):
    with pytest.raises(ConfigError) as refused:
        reference(arrays, "w.npz")
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("name", "words"), [("m.csv", "items 1 and 3 are both named 'x'"), ("m.npz", "contexts 1 and 2 are both named 'p'")]
)
def test_equal_names_of_a_matrix_are_refused_with_their_positions(tmp_path, name, words):
    path = tmp_path / name
    if path.suffix == ".csv":
        path.write_text("x,y, x\n" + ".5,.5,.5\n" * 3)
    else:
        np.savez(path, preference=np.full((2, 2, 2), 0.5), items=["x", "y"], contexts=["p", "p"])
    with pytest.raises(ConfigError, match=words):
        MatrixFile(InputFile(str(path), "game.path")).table(stream(0, "game"))
