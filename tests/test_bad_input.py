"""Bad input is refused before any work, in one sentence that names the key or the row, the value and the remedy."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import nlhf
from nlhf.config import ConfigError

pytestmark = pytest.mark.usefixtures("one_thread")

ROOT = Path(__file__).resolve().parents[1]
HEAD = "item_a,item_b,wins_a,wins_b\n"
VOTES = HEAD + "a,b,3,1\nb,c,2,2\nc,a,4,0\n"
EVEN = np.full((2, 2), 0.5)


def refusal(tmp_path, overrides, content=None, name="input"):
    """The sentence by which overrides are refused; FILE stands for a file of this content."""
    file = tmp_path / name
    if isinstance(content, str | bytes):
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    elif content is not None:
        np.save(file, content)
    runs = tmp_path / "runs"
    overrides = [override.replace("FILE", str(file)) for override in overrides]
    with pytest.raises(ConfigError) as refused:
        nlhf.run([f"runs_dir={runs}", "progress=false", "budget.iterations=1", *overrides])
    assert not list(runs.rglob("*")), "refused, and yet something was written"
    return str(refused.value)


def is_one_sentence(message, *words):
    assert "\n" not in message
    assert message.endswith(".")
    for word in words:
        assert word in message


# key, value and remedy, in the order in which the sentence gives them
KEYS = [
    (["+bta=1"], "bta is not a key", "did you mean beta"),
    (["+algorithm.stepsize=1"], "algorithm.stepsize is not a key of NashMP", "did you mean step_size"),
    (["+game.actions=1"], "game.actions is not a key of Votes", "known keys are path, context"),
    (["+budget.iteration=1"], "budget.iteration is not a key", "did you mean iterations"),
    (["~game.drop"], "game.drop is missing", "give game.drop=VALUE"),
    (["beta=abc"], "beta=abc", "a number"),
    (["beta=null"], "beta=null", "a number"),
    (["beta=true"], "beta=true", "a number"),
    (["beta=nan"], "beta=nan", "a number"),
    (["beta=[1]"], "beta=[1]", "a number"),
    (["beta=???"], "beta", "give it a value"),
    (["beta=${nothing}"], "beta", "nothing", "give it a value"),
    (["beta=-1"], "beta=-1", "give a finite number >= 0"),
    (["beta=inf"], "beta=inf", "give a finite number >= 0"),
    (["seeds=0"], "seeds=0", "give a positive count"),
    (["seeds=5-2"], "seeds=5-2", "give a positive count"),
    (["seeds=[3,3]"], "seeds=[3, 3]", "give a positive count"),
    (["seeds=true"], "seeds=true", "give a positive count"),
    (["device=cuda:77"], "device=cuda:77", "give device=cpu"),
    (["device=quantum"], "device=quantum", "give device=cpu"),
    (["device=''"], "device=", "give device=cpu"),
    (["equilibrium=maybe"], "equilibrium=maybe", "one of auto, always, never"),
    (["log_policy=1"], "log_policy=1", "true or false"),
    (["study=7"], "study=7", "not a text", "quote it, 'study=\"7\"'"),
    (["study=1e5"], "study=100000.0", "not a text", "'study=\"TEXT\"', and replace TEXT by your spelling"),
    (["game.path=7"], "game.path=7", "not a text or null", "quote it, 'game.path=\"7\"'"),
    (["game.drop=[a,1]"], 'game.drop=["a", 1] holds 1, which is not a text', 'quote it, \'game.drop=["a","1"]\''),
    (["game.drop=[1e5]"], "game.drop=[100000.0]", "'game.drop=[\"TEXT\"]', and replace TEXT by your spelling"),
    (["game.drop=[True]"], "game.drop=[true]", "'game.drop=[\"TEXT\"]', and replace TEXT by your spelling"),
    (["game.drop=e"], "game.drop=e is not a list", "write 'game.drop=[e]'"),
    (["study=''"], "study=", "give a relative name"),
    (["study=/tmp"], "study=/tmp", "give a relative name"),
    (["study=../x"], "study=../x", "give a relative name"),
    (["study=a/../../x"], "study=a/../../x", "give a relative name"),
    (["checkpoint_seconds=-1"], "checkpoint_seconds=-1", "give a time >= 0"),
    (["names.game=a/b"], "names.game=a/b", "use letters"),
    (["budget.queries=-1"], "budget.queries=-1", "give a finite number >= 0, or null"),
    (["budget.queries=1.5"], "budget.queries=1.5", "a whole number or null"),
    (["budget.seconds=inf"], "budget.seconds=inf", "give a finite number >= 0, or null"),
    (["budget.target=-1e-3"], "budget.target=-0.001", "give a finite number >= 0, or null"),
    (["budget.target=nan"], "budget.target=nan", "a number or null"),
    (
        ["budget.queries=null", "budget.iterations=null", "budget.target=null"],
        "budget has no limit",
        "null",
        "set one",
    ),
    (["algorithm.step_size=0"], "algorithm.step_size=0", "give a number > 0, .inf or theory"),
    (["algorithm.step_size=-2"], "algorithm.step_size=-2", "give a number > 0, .inf or theory"),
    (["algorithm.step_size=big"], "algorithm.step_size=big", "a number", "theory"),
    (["algorithm=nash_md", "algorithm.step_size=100"], "algorithm.step_size=100", "give at most 1/beta = 20"),
    (["algorithm=nash_md", "beta=0"], "beta=0", "set beta > 0"),
    (["algorithm=nash_md", "beta=0", "algorithm.step_size=inf"], "algorithm.step_size", "inf", "give"),
    (["algorithm=omd", "beta=0"], "beta=0", "set beta > 0"),
    (["algorithm=self_play", "beta=0"], "beta=0", "set beta > 0"),
    (["algorithm=nash_mp", "beta=0", "algorithm.step_size=inf"], "step", "beta > 0"),
    (["game=random_tournament", "game.actions=1"], "game.actions=1", "give at least 2"),
    (["game=random_tournament", "game.actions=2.5"], "game.actions=2.5", "a whole number"),
    (["game=random_tournament", "game.contexts=0"], "game.contexts=0", "give at least 1"),
    (["game=rock_paper_scissors", "game.actions=4"], "game.actions=4", "give an odd number"),
    (["game=rock_paper_scissors", "game.win_probability=1.5"], "game.win_probability=1.5", "give one in [0, 1]"),
    (["reference=random", "reference.scale=-1"], "reference.scale=-1", "give a finite number >= 0"),
    (["game=matrix"], "game.path is not set", "give game.path=FILE"),
    (["game=votes"], "game.path is not set", "give game.path=FILE"),
    (["reference=file"], "reference.path is not set", "give reference.path=FILE"),
    (["game.path=embedded:nothing.csv"], "game.path=embedded:nothing.csv", "embedded are", "tversky1969.csv"),
    (["game._target_=nlhf.nowhere.Game"], "game._target_=nlhf.nowhere.Game", "correct it"),
]


@pytest.mark.parametrize("case", KEYS, ids=lambda case: " ".join(case[0]))
def test_a_bad_value_is_refused_with_its_remedy(tmp_path, case):
    overrides, *words = case
    is_one_sentence(refusal(tmp_path, overrides), *words)


def entry(i, j, value, n=2):
    """An even preference with one wrong entry."""
    P = np.full((n, n), 0.5)
    P[i, j] = value
    return P


MATRICES = {
    "not square": (np.full((2, 3), 0.5), "(2, 3)", "square matrix (n, n)"),
    "no dimension": (np.array(0.5), "give"),
    "one dimension": (np.full(3, 0.5), "(3,)", "square matrix (n, n)"),
    "one item": (np.array([[0.5]]), "one item only", "at least two"),
    "no item": (np.zeros((0, 0)), "(0, 0)", "square matrix (n, n)"),
    "nan": (entry(0, 1, np.nan), "entry [0, 1] = nan", "not a number", "P + P^T = 1"),
    "infinite": (entry(0, 1, np.inf), "entry [0, 1] = inf", "P + P^T = 1"),
    "above 1": (entry(1, 0, 1.2), "entry [1, 0] = 1.2", "outside [0, 1]", "P + P^T = 1"),
    "below 0": (entry(1, 0, -0.2), "entry [1, 0] = -0.2", "outside [0, 1]", "P + P^T = 1"),
    "not complementary": (entry(0, 2, 0.7, n=3), "entry [0, 2] = 0.7", "do not sum to 1", "P + P^T = 1"),
    "diagonal": (entry(1, 1, 0.6), "entry [1, 1] = 0.6", "do not sum to 1", "P + P^T = 1"),
    "second context": (np.stack([EVEN, entry(0, 1, 0.7)]), "entry [1, 0, 1] = 0.7", "do not sum to 1"),
    "texts": (np.array([["a", "b"], ["c", "d"]]), "not numbers", "give preference probabilities"),
    "truth values": (np.array([[False, True], [False, False]]), "bool", "give preference probabilities"),
}


@pytest.mark.parametrize("case", MATRICES)
def test_a_matrix_that_is_no_preference_is_refused(tmp_path, case):
    content, *words = MATRICES[case]
    is_one_sentence(
        refusal(tmp_path, ["game=matrix", "game.path=FILE"], content, "P.npy"), "game.path=", "P.npy", *words
    )


def npz(folder, **arrays):
    np.savez(folder / "made.npz", **arrays)
    return (folder / "made.npz").read_bytes()


def npy(folder, array):
    np.save(folder / "made.npy", array)
    return (folder / "made.npy").read_bytes()


MATRIX_FILES = {
    "a short row": ("P.csv", ".5,.5\n.5\n", "row 2 has 1 cells, not 2", "mend it"),
    "a word": ("P.csv", "a,b\n.5,.5\n.5,x\n", "row 3 has 'x'", "mend it"),
    "an empty file": ("P.csv", "", "is empty", "give a square table"),
    "names alone": ("P.csv", "a,b\n", "give a square matrix"),
    "latin-1": ("P.csv", "é,b\n.5,.5\n.5,.5\n".encode("latin-1"), "P.csv"),
    "another ending": ("P.xlsx", ".5", "ends in .xlsx", "give a file with one of .npy, .npz, .csv"),
    "no npy": ("P.npy", b"hello", "P.npy", "save it with numpy.save"),
    "a torn npy": ("P.npy", b"\x93NUMPY\x01\x00", "P.npy", "save it with numpy.save"),
    "no npz": ("P.npz", b"hello", "P.npz", "save it with numpy.savez"),
    "a torn npz": ("P.npz", lambda folder: npz(folder, preference=EVEN)[:60], "P.npz", "save it with numpy.savez"),
    "arrays without names": ("P.npz", lambda folder: npz(folder, a=EVEN, b=EVEN), "a, b", "`preference`"),
    "names of objects": (
        "P.npz",
        lambda folder: npz(folder, preference=EVEN, items=np.array(["x", "y"], dtype=object)),
        "holds the array `items` of Python objects",
        "numpy.array(names, dtype=str)",
    ),
    "objects": (
        "P.npy",
        lambda folder: npy(folder, np.array([["x"]], dtype=object)),
        "holds an array of Python objects",
        "dtype=float",
    ),
    "rows of other names": ("P.csv", ",a,b\na,.5,.5\nc,.5,.5\n", "different names, c among them", "name both alike"),
    "a row named twice": ("P.csv", ",a,b\na,.5,.5\na,.5,.5\n", "row names 1 and 2 are both named 'a'"),
    "a name too few": ("P.csv", "a,b\n.5,.5,.5\n.5,.5,.5\n", "names 2 columns and has 3", "name each"),
    "a missing number": ("P.csv", ",a,b\na,,.5\nb,.5,.5\n", "row 2 has ''", "mend it"),
    "too few names": (
        "P.npz",
        lambda folder: npz(folder, preference=EVEN, items=["x"]),
        "1 item names",
        "one name each",
    ),
}


@pytest.mark.parametrize("case", MATRIX_FILES)
def test_a_matrix_file_that_cannot_be_read_is_refused(tmp_path, case):
    name, content, *words = MATRIX_FILES[case]
    content = content(tmp_path) if callable(content) else content
    is_one_sentence(refusal(tmp_path, ["game=matrix", "game.path=FILE"], content, name), "game.path=", *words)
    gc.collect()  # a file that was left open would be warned of here


VOTE_FILES = {
    "no file": (None, [], "is not a file"),
    "missing column": ("item_a,item_b,wins_a\na,b,1\n", [], "wins_b", "it has item_a, item_b, wins_a"),
    "empty": ("", [], "is empty: give a file with votes"),
    "no rows": (HEAD, [], "has a header and no votes", "add a row"),
    "no rows and a filter": (HEAD, ["game.where={item_a: a}"], "has a header and no votes", "add a row"),
    "no wins": (HEAD + "a,b,0,0\nb,c,0,0\n", [], "counts no vote", "0 in every row: correct them"),
    "no wins left": (HEAD + "a,b,0,0\nb,c,1,0\n", ["game.drop=[c]"], "0 in every row that is left: correct them"),
    "no wins and no ties": ("item_a,item_b,wins_a,wins_b,ties\na,b,0,0,0\n", [], "counts no vote"),
    "negative": (HEAD + "a,b,1,2\na,b,-1,2\n", [], "row 3", "wins_a=-1", "not negative"),
    "not a number": (HEAD + "a,b,1,many\n", [], "row 2", "wins_b='many'", "mend or remove it"),
    "blank count": (HEAD + "a,b,1,\n", [], "row 2", "wins_b=''", "mend or remove it"),
    "nan": (HEAD + "a,b,nan,1\n", [], "row 2", "wins_a=nan", "finite"),
    "infinite": (HEAD + "a,b,1,inf\n", [], "row 2", "wins_b=inf", "finite"),
    "short row": (HEAD + "a,b,1\n", [], "row 2", "wins_b", "mend or remove it"),
    "short row without its context": (
        "item_a,item_b,wins_a,wins_b,q\na,b,1,1,1\na,b,1,1\n",
        ["game.context=[q]"],
        "row 3",
        "q",
    ),
    "against itself": (HEAD + "a,a,1,1\n", [], "row 2", "'a'", "name two different items"),
    "no name": (HEAD + ",b,1,1\n", [], "row 2", "''", "name two different items"),
    "one item": (VOTES, ["game.drop=[a,b]"], "game.drop"),
    "dropped item unknown": (VOTES, ["game.drop=[z]"], "game.drop=z", "it has a, b, c"),
    "context unknown": (VOTES, ["game.context=[q]"], "game.context=q", "it has item_a"),
    "filter unknown": (VOTES, ["game.where={q: 1}"], "game.where=q", "it has item_a"),
    "filter keeps nothing": (VOTES, ["game.where={item_a: z}"], "game.path", "loosen game.where"),
    "filter no mapping": (VOTES, ["game.where=q"], "game.where=q", "{NAME: VALUE}"),
    "unseen unknown": (VOTES, ["game.unseen=guess"], "game.unseen=guess", "one of half, drop_item, refuse"),
    "unseen refused": (
        HEAD + "a,b,1,1\nb,c,1,1\n",
        ["game.unseen=refuse"],
        "no vote on a against c",
        "game.unseen=half",
    ),
    "unseen drops all": (
        "item_a,item_b,wins_a,wins_b,q\na,b,1,1,1\nb,c,1,1,2\n",
        ["game.unseen=drop_item", "game.context=[q]"],
        "game.unseen=drop_item",
        "game.unseen=half",
    ),
    "pseudo count negative": (VOTES, ["game.pseudo_count=-1"], "game.pseudo_count=-1", "give"),
    "pseudo count infinite": (VOTES, ["game.pseudo_count=inf"], "game.pseudo_count=inf", "give"),
    "bootstrap of fractions": (HEAD + "a,b,1.3,1\n", ["game.bootstrap=true"], "game.bootstrap=true", "whole votes"),
    "latin-1": (HEAD.encode() + "é,b,1,1\n".encode("latin-1"), [], "game.path="),
    "not a text": (b"\x00\xff\x93", [], "game.path="),
}


@pytest.mark.parametrize("case", VOTE_FILES)
def test_votes_that_cannot_be_counted_are_refused(tmp_path, case):
    content, overrides, *words = VOTE_FILES[case]
    is_one_sentence(refusal(tmp_path, ["game=votes", "game.path=FILE", *overrides], content, "votes.csv"), *words)


WEIGHTS = {
    "names of objects": (
        "w.npz",
        lambda folder: npz(folder, weight=np.ones(2), items=np.array(["a", "b"], dtype=object)),
        "holds the array `items` of Python objects",
        "numpy.array(names, dtype=str)",
    ),
    "no file": ("w.csv", None, "is not a file"),
    "too few": ("w.csv", "1,2,3\n", "(1, 3)", "give (5,) or (1, 5)"),
    "too many contexts": ("w.npy", np.ones((2, 5)), "(2, 5)", "give (5,) or (1, 5)"),
    "zero": ("w.csv", "1,1,1,1,0\n", "weight 0", "give positive finite weights"),
    "negative": ("w.csv", "1,1,1,1,-2\n", "weight -2", "give positive finite weights"),
    "infinite": ("w.npy", np.array([1, 1, 1, 1, np.inf]), "weight inf", "give positive finite weights"),
    "a word": ("w.csv", "1,1,x,1,1\n", "'x'", "mend it"),
    "ragged": ("w.csv", "1,2\n1\n", "w.csv", "mend it"),
    "no npy": ("w.npy", b"hello", "w.npy", "numpy.save"),
}


@pytest.mark.parametrize("case", WEIGHTS)
def test_weights_that_are_no_reference_are_refused(tmp_path, case):
    name, content, *words = WEIGHTS[case]
    content = content(tmp_path) if callable(content) else content
    is_one_sentence(
        refusal(tmp_path, ["reference=file", "reference.path=FILE"], content, name), "reference.path=", *words
    )


# --- the command -----------------------------------------------------------------------------------------------------


def command(folder, *overrides):
    """`python main.py OVERRIDES`, in a folder that is not the checkout."""
    arguments = [sys.executable, str(ROOT / "main.py"), *overrides, f"runs_dir={folder / 'runs'}"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(arguments, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["beta=-1"], "beta=-1"),
        (["bta=1"], "did you mean beta=1"),
        (["algorithm=nope"], "nash_mp"),
        (["+algorithm.stepsize=1"], "did you mean step_size"),
        (["game=matrix", "game.path=P.csv"], "entry [0, 1] = 0.7"),  # found after Hydra made the run's folder
    ],
)
def test_the_command_refuses_in_one_line_with_code_2_and_leaves_nothing(tmp_path, overrides, words):
    (tmp_path / "P.csv").write_text("0.5,0.7\n0.4,0.5\n")
    done = command(tmp_path, *overrides)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert words in line
    assert not list((tmp_path / "runs").rglob("*"))


def test_a_bad_member_of_a_multirun_is_refused_and_the_others_complete(tmp_path):
    done = command(tmp_path, "-m", "beta=-1,0.1,0.2", "device=cpu,cuda:77", "budget.iterations=3")
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    refused = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len([line for line in refused if "beta=-1" in line]) == 2
    assert len([line for line in refused if "device=cuda:77" in line]) == 2
    assert "2 completed" in done.stdout
    assert "4 refused" in done.stdout
    table = [line for line in done.stdout.splitlines() if "refused: " in line]
    assert sum("beta=-1" in line for line in table) == 2
    assert any("beta=0.1" in line and "device=cuda" in line for line in table)
    study = tmp_path / "runs" / "default"
    assert len(list(study.glob("*/summary.json"))) == 2
    assert len([entry for entry in study.iterdir() if entry.is_dir()]) == 2


def test_a_multirun_of_good_members_ends_well(tmp_path):
    done = command(tmp_path, "-m", "beta=0.1,0.2", "budget.iterations=3")
    assert done.returncode == 0
    assert "2 completed" in done.stdout
