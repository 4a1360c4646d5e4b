"""Any tree of runs becomes one table: nothing is dropped in silence, nothing pooled that differs in more than seeds."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

import nlhf
from nlhf.analysis.errors import AnalysisError
from nlhf.analysis.labels import label, shown
from nlhf.analysis.study import export, load, load_study
from nlhf.records import COLUMNS
from tests.analysis.synthetic import geometric, write_run

CURVE = geometric(0.5, 0.5, range(4))
TWO = {0: CURVE, 1: geometric(0.25, 0.5, range(3))}


@pytest.fixture
def study(tmp_path):
    """A run of every status, by status, in two folders of studies."""
    folders = {
        "completed": write_run(tmp_path / "a", "nash_mp", curves=TWO, checksums=False),
        "failed": write_run(
            tmp_path / "a", "omd", curves={0: [(0, 0, 0.5), (1, 1, float("nan"))]}, status="failed", checksums=False
        ),
        "interrupted": write_run(tmp_path / "b" / "deep", "mpo", curves=TWO, status="interrupted", checksums=False),
        "unfinished": write_run(tmp_path / "b" / "deep", "nash_md", curves=TWO, status=None),
    }
    return tmp_path, folders


def named(data, column):
    return data.drop_duplicates("folder").set_index("folder")[column]


def test_all_rows_of_all_runs_below_a_folder_are_loaded(study):
    root, folders = study
    everything = load(root)
    assert len(everything) == 7 + 2 + 7 + 7
    assert everything.groupby("folder").size().to_dict() == {
        str(folder): 2 if status == "failed" else 7 for status, folder in folders.items()
    }
    assert everything.index.equals(pd.RangeIndex(23))
    alone = load(str(folders["interrupted"]))
    assert set(alone["algorithm"]) == {"mpo"}
    assert alone["exploitability"].tolist() == [0.5, 0.25, 0.125, 0.0625, 0.25, 0.125, 0.0625]


def test_every_run_is_marked_by_what_became_of_it(study):
    root, folders = study
    assert named(load(root), "status").to_dict() == {str(folder): status for status, folder in folders.items()}


def test_a_failed_run_keeps_its_rows_and_nan_where_nothing_was_measured(study):
    failed = load(study[1]["failed"])
    assert failed["exploitability"].tolist() == pytest.approx([0.5, np.nan], nan_ok=True)
    assert failed["kl_bound"].isna().all()


def test_runs_without_rows_are_recorded(study):
    root, folders = study
    (folders["completed"] / "metrics.csv").unlink()
    (folders["failed"] / "metrics.csv").write_text(",".join(COLUMNS) + "\n")
    (folders["interrupted"] / "metrics.csv").write_text("")
    loaded = load_study(root)
    assert {run["folder"]: (run["status"], run["rows"]) for run in loaded.runs} == {
        str(folder): (status, 7 if status == "unfinished" else 0) for status, folder in folders.items()
    }
    assert set(loaded.rows["folder"]) == {str(folders["unfinished"])}


def test_a_record_holds_config_overrides_and_summary(tmp_path):
    write_run(tmp_path, curves=TWO, overrides=["game=random_tournament", "beta=0.05"], algorithm__step_size="theory",
              summary={"final": {"exploitability": None}, "commit": "abc"})  # fmt: skip
    (record,) = load_study(tmp_path).runs
    assert record["overrides"] == ["game=random_tournament", "beta=0.05"]
    assert record["config"]["algorithm.step_size"] == "theory"
    assert (record["summary"]["commit"], record["summary"]["final"]) == ("abc", {"exploitability": None})


def test_config_columns_are_joined_by_dots_and_metrics_keep_theirs(tmp_path):
    one = write_run(tmp_path, curves={0: CURVE}, algorithm__step_size=1, game__actions=100, budget__seconds=None)
    two = write_run(tmp_path, "omd", curves={0: CURVE}, algorithm__step_size="theory", game__actions=100,
                    game__context=["a", "b"])  # fmt: skip
    data = load(tmp_path)
    assert data.columns[: len(COLUMNS)].tolist() == list(COLUMNS)
    assert named(data, "algorithm.step_size").to_dict() == {str(one): 1, str(two): "theory"}
    assert set(data["game.actions"]) == {100}
    assert data["game.actions"].dtype == np.int64
    assert set(data["game.context"].dropna()) == {"['a', 'b']"}
    assert data["budget.seconds"].isna().all()
    assert data["step_size"].dtype == float  # the column of metrics.csv
    assert set(data["algorithm"]) == {"nash_mp", "omd"}


def test_numbers_are_loaded_to_the_bit(tmp_path):
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2**63, 400, dtype=np.uint64) & np.uint64(0x7FEFFFFFFFFFFFFF)
    values = [*bits.view(np.float64).tolist(), 5e-324, 1.7976931348623157e308, 0.1, 1e23, float("inf"), 0.0]
    write_run(tmp_path, curves={2**40: [(k, 2**53 + k, value) for k, value in enumerate(values)]})
    data = load(tmp_path)
    assert data["exploitability"].tolist() == values
    assert data["queries"].tolist() == [2**53 + k for k in range(len(values))]
    assert set(data["seed"]) == {2**40}


def test_a_torn_last_line_is_no_row(tmp_path):
    folder = write_run(tmp_path, curves={0: CURVE}, checksums=False)
    whole = (folder / "metrics.csv").read_bytes()
    torn = load_of(folder, whole + whole.splitlines()[-1][:-5])
    assert torn["exploitability"].tolist() == [0.5, 0.25, 0.125, 0.0625]
    assert load_of(folder, whole[:-1])["exploitability"].tolist() == [0.5, 0.25, 0.125]
    assert load_of(folder, whole.replace(b"\n", b"\r\n"))["kl_to_equilibrium"].tolist() == [0.5, 0.25, 0.125, 0.0625]


def load_of(folder, content):
    (folder / "metrics.csv").write_bytes(content)
    return load(folder)


def test_versions_with_other_columns_are_joined_by_name(tmp_path):
    old = [name for name in COLUMNS if name not in ("kl_bound", "span_to_equilibrium")]
    new = [*COLUMNS, "best_response_entropy"]
    write_run(tmp_path / "1", "omd", curves={0: CURVE}, columns=old)
    write_run(tmp_path / "2", "mpo", curves={0: CURVE}, columns=list(reversed(new)),
              extra={"best_response_entropy": {0: [1.0, 2.0, 3.0, 4.0]}}, game__new_key=3)  # fmt: skip
    data = load(tmp_path).set_index("algorithm")
    assert data["exploitability"].tolist() == 2 * [0.5, 0.25, 0.125, 0.0625]
    assert data.loc["mpo", "best_response_entropy"].tolist() == [1, 2, 3, 4]
    assert data.loc["omd", "best_response_entropy"].isna().all()
    assert data.loc["omd", "game.new_key"].isna().all()


@pytest.mark.parametrize("broken", ["removed", "torn", "a list", "binary"])
def test_a_config_that_cannot_be_read_costs_the_run_its_columns_alone(tmp_path, broken):
    folder = write_run(tmp_path, curves=TWO, checksums=False)
    place = folder / ".hydra" / "config.yaml"
    content = {"torn": b"beta: [0.0", "a list": b"- 1\n", "binary": b"\xff\xfe\x00"}.get(broken)
    place.unlink() if content is None else place.write_bytes(content)
    data = load(tmp_path)
    assert data["exploitability"].tolist() == [value for curve in TWO.values() for _, _, value in curve]
    assert (set(data["setting"]), set(data["method"])) == ({"random_tournament"}, {"nash_mp"})
    assert "beta" not in data


@pytest.mark.parametrize("content", ['{"status": "compl', "[]", '{"status": null}', "{}"])
def test_a_summary_that_says_nothing_makes_the_run_unfinished(tmp_path, content):
    folder = write_run(tmp_path, curves=TWO)
    (folder / "summary.json").write_text(content)
    with pytest.warns(UserWarning, match=r"summary.json is damaged, so the run counts as unfinished: repeat the c"):
        data = load(tmp_path)
    assert set(data["status"]) == {"unfinished"}


def test_a_config_written_by_hand_may_hold_dates_and_whole_keys(tmp_path):
    folder = write_run(tmp_path, curves={0: CURVE}, checksums=False)
    (folder / ".hydra" / "config.yaml").write_text("beta: 1\nstudy: 2024-05-01\nnames:\n  3: {a: {b: .inf}}\n")
    data = load(tmp_path)
    assert set(data["study"]) == {"2024-05-01"}
    assert set(data["names.3.a.b"]) == {np.inf}


def test_a_stray_hydra_folder_hides_no_runs(tmp_path):
    folder = write_run(tmp_path / "study", curves={0: CURVE})
    (tmp_path / ".hydra").mkdir()
    (tmp_path / "study" / "metrics.csv").write_text("")
    assert set(load(tmp_path)["folder"]) == {str(folder)}


def test_hidden_folders_hold_no_runs(tmp_path):
    write_run(tmp_path / ".trash", curves={0: CURVE})
    folder = write_run(tmp_path, curves={0: CURVE})
    assert set(load(tmp_path)["folder"]) == {str(folder)}


# --- what is one, and what is not ------------------------------------------------------------------------------------


def test_runs_that_differ_in_seeds_and_bookkeeping_alone_are_one_method_on_one_setting(tmp_path):
    write_run(tmp_path, curves={0: CURVE, 1: CURVE}, study="first", budget__queries=100, progress=True)
    write_run(tmp_path, curves={2: CURVE}, study="second", budget__queries=200, progress=False)
    data = load(tmp_path)
    assert set(zip(data["setting"], data["method"], strict=True)) == {("random_tournament, beta = 0.05", "nash_mp")}
    assert set(data["seed"]) == {0, 1, 2}


def test_the_same_seed_in_two_runs_is_refused_with_both_folders(tmp_path):
    one = write_run(tmp_path, curves={0: CURVE, 3: CURVE}, study="first")
    two = write_run(tmp_path, curves={3: CURVE, 4: CURVE}, study="second")
    with pytest.raises(
        AnalysisError, match=r"both have seed 3 of nash_mp on random_tournament, beta = 0\.05: remove"
    ) as e:
        load(tmp_path)
    assert str(one) in str(e.value)
    assert str(two) in str(e.value)
    write_run(tmp_path / "other", curves={0: CURVE}, beta=0.1)
    assert len(load(tmp_path / "other")) == 4


@pytest.mark.parametrize(
    ("key", "values", "column", "names"),
    [
        ("beta", (0.05, 0.1), "setting", ("beta = 0.05", "beta = 0.1")),
        ("game__actions", (10, 100), "setting", ("beta = 0.05, actions = 10", "beta = 0.05, actions = 100")),
        ("game__path", ("x/one.csv", "y/two.csv"), "setting",
         ("beta = 0.05, path = one.csv", "beta = 0.05, path = two.csv")),
        ("game__path", ("x/v.csv", "y/v.csv"), "setting",
         ("beta = 0.05, path = x/v.csv", "beta = 0.05, path = y/v.csv")),
        ("reference___target_", ("nlhf.references.base.Uniform", "nlhf.references.base.Random"), "setting",
         ("beta = 0.05, reference = Uniform", "beta = 0.05, reference = Random")),
        ("equilibrium", ("auto", "never"), "setting",
         ("beta = 0.05, equilibrium = auto", "beta = 0.05, equilibrium = never")),
        ("algorithm__step_size", (".inf", 0.5), "method", ("step_size = inf", "step_size = 0.5")),
        ("algorithm__step_size", ("theory", 2), "method", ("step_size = theory", "step_size = 2")),
        ("algorithm__step_size", (0.1234567, 0.1234568), "method", ("step_size = 0.1234567", "step_size = 0.1234568")),
        ("algorithm__step_size", ("0.5", "1.5"), "method", ("step_size = 0.5", "step_size = 1.5")),
        ("device", ("cpu", "cuda"), "method", ("device = cpu", "device = cuda")),
        ("prox__steps", (None, 3), "method", ("", "steps = 3")),
    ],
)  # fmt: skip
def test_whatever_else_differs_is_in_the_name_and_not_pooled(tmp_path, key, values, column, names):
    for value in values:
        write_run(tmp_path / str(values.index(value)), curves={0: CURVE}, **{key: value})
    data = load(tmp_path)
    name = {"setting": "random_tournament", "method": "nash_mp"}[column]
    assert data[column].unique().tolist() == [", ".join([name, text] if text else [name]) for text in names]
    assert data[{"setting": "method", "method": "setting"}[column]].nunique() == 1


def test_equal_numbers_of_other_types_are_one(tmp_path):
    write_run(tmp_path, curves={0: CURVE}, algorithm__step_size=1)
    write_run(tmp_path, curves={1: CURVE}, algorithm__step_size=1.0)
    write_run(tmp_path, curves={0: CURVE}, algorithm__step_size=float("inf"))
    write_run(tmp_path, curves={1: CURVE}, algorithm__step_size=".inf")
    assert sorted(load(tmp_path)["method"].unique()) == ["nash_mp, step_size = 1", "nash_mp, step_size = inf"]


def test_keys_of_other_groups_with_the_same_last_word_are_told_apart(tmp_path):
    write_run(tmp_path, curves={0: CURVE}, game__path="x", reference__path="y")
    write_run(tmp_path, curves={0: CURVE}, game__path="y", reference__path="x")
    assert sorted(load(tmp_path)["setting"].unique()) == [
        "random_tournament, beta = 0.05, game.path = x, reference.path = y",
        "random_tournament, beta = 0.05, game.path = y, reference.path = x",
    ]


def test_an_option_that_comes_with_a_class_is_not_named_unless_it_differs(tmp_path):
    classes = {"uniform": "nlhf.references.base.Uniform", "random": "nlhf.references.base.Random"}
    write_run(tmp_path, curves={0: CURVE}, reference___target_=classes["uniform"])
    write_run(tmp_path, curves={0: CURVE}, reference___target_=classes["random"], reference__scale=1.0)
    start = "random_tournament, beta = 0.05, reference = "
    assert sorted(load(tmp_path)["setting"].unique()) == [f"{start}Random", f"{start}Uniform"]
    write_run(tmp_path, curves={0: CURVE}, reference___target_=classes["random"], reference__scale=2.0)
    assert sorted(load(tmp_path)["setting"].unique()) == [
        f"{start}Random, scale = 1", f"{start}Random, scale = 2", f"{start}Uniform",
    ]  # fmt: skip


def test_what_differs_between_games_alone_is_in_no_name(tmp_path):
    write_run(tmp_path, game="circle", curves={0: CURVE}, game__actions=10)
    write_run(tmp_path, game="votes", curves={0: CURVE}, game__actions=20, game__drop=["a"])
    assert load(tmp_path)["setting"].unique().tolist() == ["circle, beta = 0.05", "votes, beta = 0.05"]


def test_a_part_of_the_data_is_named_by_what_differs_within_it(tmp_path):
    for beta in (0.05, 0.1):
        for step in (1, 2):
            write_run(tmp_path, curves={0: CURVE}, beta=beta, algorithm__step_size=step)
    part = load(tmp_path).query("`algorithm.step_size` == 1")
    assert set(part["method"]) == {"nash_mp, step_size = 1"}
    assert set(label(part)["method"]) == {"nash_mp"}
    assert set(label(part)["setting"]) == set(part["setting"])


@pytest.mark.parametrize(
    ("value", "title"),
    [(0.05, "0.05"), (1 / 3, "0.333333"), (3, "3"), (True, "True"), ("nlhf.references.base.Uniform", "Uniform"),
     ("/data/votes.csv", "votes.csv"), ("theory", "theory"), ("1.5", "1.5")],
)  # fmt: skip
def test_a_value_in_a_title_is_short(value, title):
    assert shown(value) == title


# --- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", ["nothing", "an empty folder", "a file"])
def test_a_folder_without_runs_is_refused_with_a_remedy(tmp_path, make):
    folder = tmp_path / "study"
    if make == "an empty folder":
        (folder / "deep").mkdir(parents=True)
    if make == "a file":
        folder.write_text("run,game\n")
    with pytest.raises(AnalysisError, match=r"study holds no run .*: give the folder of a study"):
        load(folder)


def test_runs_without_rows_are_refused_with_a_remedy(tmp_path):
    write_run(tmp_path, curves={})
    (write_run(tmp_path, "omd", curves={0: CURVE}, checksums=False) / "metrics.csv").unlink()
    with pytest.raises(AnalysisError, match="has rows yet: wait"):
        load(tmp_path)


HEAD = ",".join(COLUMNS)
ROW = "r,g,a,0,0,0,0.0,0.5,,,,,,,,,"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("a,b\n1,2\n", "lacks the column run: remove it"),
        (HEAD.replace("exploitability,", "loss,", 1) + "\n", "lacks the column exploitability: remove it"),
        ("\n", "lacks the column run"),
        (f"{HEAD},queries\n{ROW},0\n", "has the column queries twice: remove it"),
        (f"{HEAD}\n{ROW}\nr,g,a,0\n", "cannot be read .*Expected 17 columns.*: restore it, or remove its folder"),
        (f"{HEAD}\n{ROW.replace('0.5', 'half')}\n", "cannot be read .*half.*: restore it"),
        (f"{HEAD}\n{ROW.replace('g,a,0', 'g,a,zero')}\n", "cannot be read .*zero.*: restore it"),
        (f"{HEAD}\n{ROW.replace('g,a,0', 'g,a,')}\n", r"cannot be read \(a row without seed\): restore it"),
        (b"\xff\xfe\x00\x01\n\x02", "lacks the column run"),
    ],
)
def test_a_file_that_is_no_metrics_csv_is_named_with_its_problem_and_a_remedy(tmp_path, content, problem):
    sound = write_run(tmp_path, curves={0: CURVE})
    place = write_run(tmp_path, "omd", curves={0: CURVE}, checksums=False) / "metrics.csv"
    place.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.warns(UserWarning, match=problem) as warned:
        data = load(tmp_path)
    assert str(place) in str(warned[0].message)
    assert set(data["folder"]) == {str(sound)}
    with pytest.raises(AnalysisError, match=problem) as refused:
        load(place.parent)
    assert str(place) in str(refused.value)


def test_a_metrics_csv_that_is_a_folder_is_no_missing_file(tmp_path):
    place = write_run(tmp_path, curves={0: CURVE}, checksums=False) / "metrics.csv"
    place.unlink()
    place.mkdir()
    with pytest.raises(AnalysisError, match=r"metrics.csv cannot be read \(Is a directory\): restore it"):
        load(tmp_path)


# --- export ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def mixed(tmp_path):
    write_run(tmp_path, curves={0: [(k, k, value) for k, value in enumerate([0.1, 1 / 3, 1e-300, 0.0])]},
              algorithm__step_size=1, budget__seconds=None)  # fmt: skip
    write_run(tmp_path, "omd", curves={0: CURVE}, algorithm__step_size="theory")
    return load(tmp_path)


def test_an_exported_csv_holds_the_same_numbers_to_the_bit(mixed, tmp_path):
    export(mixed, tmp_path / "new" / "all.csv")
    read = pd.read_csv(tmp_path / "new" / "all.csv")
    assert read.columns.tolist() == mixed.columns.tolist()
    for name in ("exploitability", "queries", "beta", "kl_bound"):
        assert read[name].equals(mixed[name].astype(read[name].dtype))
    assert read["algorithm.step_size"].tolist() == [str(value) for value in mixed["algorithm.step_size"]]


def test_an_exported_parquet_holds_the_same_numbers_with_mixed_columns_as_text(mixed, tmp_path):
    export(mixed, tmp_path / "all.parquet")
    read = pd.read_parquet(tmp_path / "all.parquet")
    assert read.columns.tolist() == mixed.columns.tolist()
    numbers = mixed.select_dtypes("number")
    assert read[numbers.columns.tolist()].equals(numbers)
    assert read["algorithm.step_size"].tolist() == [str(value) for value in mixed["algorithm.step_size"]]
    assert read["budget.seconds"].isna().all()


def test_another_ending_is_refused_with_a_remedy(mixed, tmp_path):
    with pytest.raises(
        AnalysisError, match=r"--export=.*all.xlsx has an unknown ending: give FILE.csv or FILE.parquet"
    ):
        export(mixed, tmp_path / "all.xlsx")


# --- real runs -------------------------------------------------------------------------------------------------------


def test_what_the_trainer_leaves_is_loaded_as_the_interface_returns_it(tmp_path, one_thread):
    limits = [f"runs_dir={tmp_path}", "game=random_tournament", "game.actions=4", "seeds=2", "budget.iterations=3"]
    done = nlhf.run([*limits, "algorithm.step_size=1"])
    loaded = nlhf.analysis.load(done.folder)
    assert loaded[list(done.metrics.columns)].equals(done.metrics)
    assert json.loads((done.folder / "summary.json").read_text())["status"] == loaded["status"].iloc[0]
    assert set(loaded["algorithm.step_size"]) == {1}
    assert set(loaded["reference._target_"]) == {"nlhf.references.base.Uniform"}
    assert list(done.metrics.columns) == list(COLUMNS)
