"""What a run leaves behind: every file of docs/files.md, with its numbers to the bit."""

from __future__ import annotations

import csv
import itertools
import logging
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml

import nlhf
from nlhf.budget import DENSE, SPARSE
from nlhf.equilibria.metrics import Measure
from nlhf.io.files import replacing
from nlhf.io.json_files import read_json, write_json
from nlhf.records import Table, first_hits, permanent

pytestmark = pytest.mark.usefixtures("one_thread")

ROOT = Path(__file__).resolve().parents[1]
COLUMNS = [  # docs/files.md
    "run", "game", "algorithm", "seed", "iteration", "queries", "seconds", "exploitability",
    "exploitability_unregularised", "average_exploitability", "kl_to_equilibrium", "span_to_equilibrium",
    "kl_to_reference", "entropy", "win_rate_vs_reference", "step_size", "kl_bound",
]  # fmt: skip
METRICS = COLUMNS[COLUMNS.index("exploitability") :]
UP_TO_33 = [0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30]


def run(folder, *overrides):
    return nlhf.run([f"runs_dir={folder}", "progress=false", *overrides])


def rows_of(folder, name="metrics.csv"):
    with (folder / name).open(newline="") as stream:
        return list(csv.DictReader(stream))


OVERRIDES = [
    "game=random_tournament", "game.actions=4", "game.contexts=2", "reference=random", "seeds=[7,2]", "beta=0.1",
    "algorithm=nash_mp", "budget.iterations=33", "budget.target=null", "log_policy=true", "study=kept/here",
]  # fmt: skip


@pytest.fixture(scope="module")
def done(tmp_path_factory, one_thread):
    """A completed run of two seeds that ends off the schedule."""
    return run(tmp_path_factory.mktemp("runs"), *OVERRIDES)


# --- metrics.csv -----------------------------------------------------------------------------------------------------


def test_the_columns_are_those_of_the_design_in_their_order(done):
    header = (done.folder / "metrics.csv").read_text().splitlines()[0]
    assert header == ",".join(COLUMNS)


def test_rows_follow_the_schedule_and_the_end(done):
    rows = rows_of(done.folder)
    for seed in ("7", "2"):
        assert [int(row["iteration"]) for row in rows if row["seed"] == seed] == [*UP_TO_33, 33]
    assert len(rows) == 2 * 15


def test_rows_say_what_they_are_of(done):
    for row in rows_of(done.folder):
        assert (row["run"], row["game"], row["algorithm"]) == (done.folder.name, "random_tournament", "nash_mp")
        assert int(row["queries"]) == 2 * int(row["iteration"])  # Nash-MP asks twice


def test_training_seconds_grow_from_zero(done):
    seconds = [float(row["seconds"]) for row in rows_of(done.folder) if row["seed"] == "7"]
    assert seconds[0] == 0
    assert all(earlier < later for earlier, later in itertools.pairwise(seconds))


def test_the_clock_stops_while_measuring(tmp_path, monkeypatch):
    measure, clock = Measure.__call__, SimpleNamespace(now=0.0)

    def slowly(self, policy, average):
        time.sleep(0.05)
        clock.now += 1.0
        return measure(self, policy, average)

    monkeypatch.setattr(Measure, "__call__", slowly)
    monkeypatch.setattr(
        "nlhf.runner.trainer.time", SimpleNamespace(perf_counter=lambda: clock.now, monotonic=time.monotonic)
    )
    summary = run(tmp_path, "budget.iterations=6").summary  # seven rows
    assert summary["progress"]["seconds"] == 0
    assert clock.now > 6
    assert summary["wall_seconds"] > 0.35


@pytest.mark.parametrize(
    ("limit", "iterations", "reason"),
    [("queries=7", 4, "queries"), ("queries=8", 4, "queries"), ("seconds=0", 0, "seconds"), ("target=1", 0, "target")],
)
def test_a_run_stops_at_its_first_limit_and_finishes_what_it_began(tmp_path, limit, iterations, reason):
    summary = run(tmp_path, "budget.queries=null", "budget.iterations=50", f"budget.{limit}").summary
    assert summary["progress"]["iterations"] == [iterations]
    assert summary["progress"]["queries"] == [2 * iterations]
    assert (summary["status"], summary["stop_reason"]) == ("completed", reason)


def test_numbers_are_written_so_that_reading_gives_the_same_bits(done):
    for row in rows_of(done.folder):
        for name in ("seconds", *METRICS):
            assert repr(float(row[name])) == row[name]


def test_the_metrics_are_those_of_the_policies_written_beside_them(done):
    with np.load(done.folder / "game.npz") as game:
        P, log_reference = game["preference"], game["log_reference"]
    policies = rows_of(done.folder, "policies.csv")
    for row in rows_of(done.folder):
        seed = [7, 2].index(int(row["seed"]))
        here = [float(p["log_probability"]) for p in policies
                if (p["seed"], p["iteration"]) == (row["seed"], row["iteration"])]  # fmt: skip
        policy = np.array(here).reshape(2, 4)
        reference = np.exp(log_reference[seed])
        graded = nlhf.exploitability(P[seed], policy, 0.1, reference)
        assert float(row["exploitability"]) == pytest.approx(graded, rel=1e-6, abs=1e-28)
        mass = np.exp(policy)
        assert float(row["entropy"]) == pytest.approx(-(mass * policy).sum(-1).mean(), rel=1e-12)
        kl = (mass * (policy - log_reference[seed])).sum(-1).mean()
        assert float(row["kl_to_reference"]) == pytest.approx(kl, abs=1e-14)
        win_rate = np.einsum("xa,xab,xb->x", mass, P[seed], reference).mean()
        assert float(row["win_rate_vs_reference"]) == pytest.approx(win_rate, rel=1e-14)


@pytest.mark.parametrize(
    ("overrides", "empty"),
    [
        (["equilibrium=never"], {"kl_to_equilibrium", "span_to_equilibrium", "kl_bound"}),
        (["algorithm=self_play"], {"kl_bound"}),  # beta < 1/2: no theorem
        (["algorithm.step_size=9"], {"kl_bound"}),
        (["beta=0", "game=rock_paper_scissors"], {"span_to_equilibrium"}),  # one equilibrium, uniform
        (["beta=0", "game=matrix", "game.path=TWINS"], {"kl_to_equilibrium", "span_to_equilibrium", "kl_bound"}),
        ([], set()),
    ],
)
def test_a_metric_that_a_run_cannot_have_is_an_empty_cell(tmp_path, overrides, empty):
    np.save(tmp_path / "twins.npy", np.full((2, 2), 0.5))  # every policy is an equilibrium
    overrides = [override.replace("TWINS", str(tmp_path / "twins.npy")) for override in overrides]
    for row in rows_of(run(tmp_path / "runs", "budget.iterations=2", "budget.target=null", *overrides).folder):
        assert {name for name in COLUMNS if row[name] == ""} == empty
        assert "nan" not in row.values()


def test_the_schedule_has_ten_rows_a_decade():
    decade = [10, 12, 15, 20, 25, 30, 40, 50, 60, 80]
    expected = [0, 1, 2, 3, 4, 5, 6, 8, *decade, *(10 * k for k in decade), *(100 * k for k in decade)]
    assert [k for k in range(10_000) if DENSE.includes(k)] == expected
    assert not DENSE.includes(10_001)
    for earlier, later in itertools.pairwise(expected):
        assert DENSE.following(earlier) == DENSE.following(later - 1) == later


def test_language_models_have_seven_rows_in_a_hundred_iterations():
    scheduled = [k for k in range(1001) if SPARSE.includes(k)]
    assert scheduled == [0, 5, 10, 20, 40, 70, 100, 200, 400, 700, 1000]
    assert [SPARSE.following(k) for k in (0, 1, 70, 99, 100)] == [5, 5, 100, 100, 200]


# --- the other files -------------------------------------------------------------------------------------------------


def test_the_folder_holds_what_the_design_lists_and_no_more(done):
    files = {path.relative_to(done.folder).as_posix() for path in done.folder.rglob("*") if path.is_file()}
    assert files == {
        "metrics.csv", "summary.json", "game.npz", "policy.npz", "policies.csv", "checkpoint.pt", "run.log",
        ".hydra/config.yaml", ".hydra/overrides.yaml", ".hydra/identity.yaml",
    }  # fmt: skip
    assert done.folder.parent.as_posix().endswith("kept/here")


def test_the_summary_says_how_the_run_ended(done):
    summary = read_json(done.folder / "summary.json")
    assert summary == done.summary
    assert (summary["status"], summary["stop_reason"]) == ("completed", "iterations")
    assert summary["run"] == done.folder.name
    assert summary["fingerprint"].startswith(done.folder.name.rpartition("-")[2])
    assert len(summary["fingerprint"]) == 64
    assert summary["seeds"] == [7, 2]
    assert summary["progress"]["iterations"] == [33, 33]
    assert summary["progress"]["queries"] == [66, 66]
    assert summary["equilibrium"]["method"] == "newton"
    assert summary["equilibrium"]["certified"]
    assert summary["equilibrium"]["exploitability"] < 1e-25
    assert 0 < summary["progress"]["seconds"] < summary["wall_seconds"]
    assert summary["peak_memory_bytes"] > 50e6  # torch alone
    assert summary["versions"]["torch"] == torch.__version__
    assert summary["versions"]["numpy"] == np.__version__


def test_the_summary_names_the_commit(done):
    git = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    if git.returncode:
        pytest.skip("not a git checkout")
    assert str(done.summary["commit"]).partition("-")[0] == git.stdout.strip()


def test_the_final_metrics_are_means_over_seeds_of_their_last_rows(done):
    last = [row for row in rows_of(done.folder) if row["iteration"] == "33"]
    assert done.summary["final"] == {name: np.mean([float(row[name]) for row in last]) for name in METRICS}


def test_the_queries_to_a_threshold_are_those_of_the_first_row_below_it(done):
    rows, found = rows_of(done.folder), done.summary["queries_to_exploitability"]
    assert found["resolution"] == "scheduled rows"
    for name, threshold in (("1e-02", 1e-2), ("1e-04", 1e-4), ("1e-06", 1e-6), ("1e-08", 1e-8)):
        for seed in ("7", "2"):
            below = [int(row["queries"]) for row in rows
                     if row["seed"] == seed and float(row["exploitability"]) <= threshold]  # fmt: skip
            assert found[name][seed] == (below[0] if below else None)
    assert found["1e-02"]["7"] > 0  # and not a run that starts below it


def test_game_npz_holds_all_that_figures_need(done):
    with np.load(done.folder / "game.npz") as game:
        assert game["preference"].shape == (2, 2, 4, 4)
        assert game["items"].tolist() == ["action0", "action1", "action2", "action3"]
        assert game["contexts"].tolist() == ["context0", "context1"]
        assert np.exp(game["log_reference"]).sum(-1) == pytest.approx(np.ones((2, 2)), rel=1e-14)
        P, policy, log_reference = game["preference"], game["log_equilibrium"], game["log_reference"]
    fixed = log_reference + np.einsum("gxab,gxb->gxa", P - 0.5, np.exp(policy)) / 0.1
    assert np.ptp(fixed - policy, axis=-1).max() < 1e-12  # log pi* = log ref + A pi*/beta + const


def test_policy_npz_and_policies_csv_hold_the_same_final_policies(done):
    with np.load(done.folder / "policy.npz") as saved:
        log_policy = saved["log_policy"]
        assert saved["seeds"].tolist() == [7, 2]
        assert (saved["items"][0], saved["contexts"][1]) == ("action0", "context1")
    assert log_policy.shape == (2, 2, 4)
    assert np.exp(log_policy).sum(-1) == pytest.approx(np.ones((2, 2)), rel=1e-14)
    written = rows_of(done.folder, "policies.csv")
    assert list(written[0]) == ["seed", "iteration", "context", "action", "log_probability"]
    assert len(written) == 2 * 15 * 2 * 4
    for row in (row for row in written if row["iteration"] == "33"):
        place = [7, 2].index(int(row["seed"])), int(row["context"][-1]), int(row["action"][-1])
        assert float(row["log_probability"]) == log_policy[place]


def test_without_log_policy_there_is_no_policies_csv(tmp_path):
    assert not (run(tmp_path, "budget.iterations=1").folder / "policies.csv").exists()


def test_the_hydra_folder_holds_the_composed_config_and_the_overrides(done):
    config = yaml.safe_load((done.folder / ".hydra" / "config.yaml").read_text())
    assert (config["beta"], config["seeds"], config["study"]) == (0.1, [7, 2], "kept/here")
    assert config["game"]["actions"] == 4
    assert config["names"] == {"game": "random_tournament", "algorithm": "nash_mp"}
    assert "hydra" not in config
    overrides = yaml.safe_load((done.folder / ".hydra" / "overrides.yaml").read_text())
    assert overrides[-len(OVERRIDES) :] == OVERRIDES


def test_copies_of_a_run_without_chance_are_not_replications(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, logger="nlhf"):
        alone = run(tmp_path, "seeds=20", "budget.iterations=1")
    assert "one seed runs instead of 20" in caplog.text
    assert {row["seed"] for row in rows_of(alone.folder)} == {"0"}


# --- first hits ------------------------------------------------------------------------------------------------------


def test_first_hits_are_found_seed_by_seed():
    def row(seed, queries, exploitability):
        return {"seed": seed, "queries": queries, "exploitability": exploitability}

    rows = [row("3", "0", "0.2"), row("5", "0", ""), row("3", "2", "0.01"), row("5", "2", "0.009"),
            row("3", "4", "0.02"), row("5", "4", "1e-07"), row("3", "6", "0.005")]  # fmt: skip
    assert first_hits(rows, [3, 5]) == {
        "1e-02": {"3": 2, "5": 2},
        "1e-04": {"3": None, "5": 4},
        "1e-06": {"3": None, "5": 4},
        "1e-08": {"3": None, "5": None},
    }


def test_only_scheduled_rows_up_to_the_checkpoint_are_permanent():
    def stays(seed, iteration):
        return permanent({"seed": str(seed), "iteration": str(iteration)}, DENSE, {0: 12, 1: 33})

    assert [stays(0, k) for k in (0, 7, 10, 12, 15)] == [True, False, True, True, False]
    assert [stays(1, k) for k in (30, 33, 40)] == [True, False, False]
    assert not stays(2, 0)


# --- writing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mode", "half"), [("w", "half"), ("wb", b"half")])
def test_a_failure_while_writing_leaves_the_old_file_and_nothing_else(tmp_path, mode, half):
    path = tmp_path / "file"
    path.write_text("old")

    def fail():
        with replacing(path, mode) as stream:
            stream.write(half)
            stream.flush()
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    with replacing(path, mode) as stream:
        stream.write(half)
        assert path.read_text() == "old"  # until it is whole
    assert path.read_text() == "half"
    assert list(tmp_path.iterdir()) == [path]


def test_a_table_that_cannot_be_written_leaves_the_old_one(tmp_path):
    table = Table(tmp_path / "t.csv", ("a",))
    table.add(a=1)
    table.flush()
    table.rows.append({"unknown": "2"})
    with pytest.raises(ValueError, match="unknown"):
        table.flush()
    assert (tmp_path / "t.csv").read_text() == "a\n1\n"


NASTY = [0.1 + 0.2, 1 / 3, 5e-324, 1.7976931348623157e308, 1e22, -0.0, 2.0**-1074 * 3, 1e-5, 123456789.123456789]


def test_floats_of_every_size_survive_a_table(tmp_path):
    table = Table(tmp_path / "t.csv", ("a", "b"))
    for value in NASTY:
        table.add(a=value, b=None)
    table.add(a=float("nan"))
    table.flush()
    with table.path.open(newline="") as stream:
        cells = [row["a"] for row in csv.DictReader(stream)]
    assert [float(cell).hex() for cell in cells[:-1]] == [value.hex() for value in NASTY]
    assert cells[-1] == ""
    again = Table(tmp_path / "t.csv", ("a", "b"))
    again.load()
    assert again.rows == table.rows


def test_cells_with_commas_quotes_and_newlines_survive_a_table(tmp_path):
    table = Table(tmp_path / "t.csv", ("a", "b"))
    table.add(a='x, "y"\nz', b=1)
    table.flush()
    again = Table(tmp_path / "t.csv", ("a", "b"))
    again.load()
    assert again.rows == [{"a": 'x, "y"\nz', "b": "1"}]


def test_a_torn_last_line_is_ignored_wherever_it_is_torn(tmp_path):
    table = Table(tmp_path / "t.csv", ("a", "b", "c"))
    for value in (0.125, 0.375):
        table.add(a="name", b=value, c=value)
    table.flush()
    whole = table.path.read_text()
    last = len(whole.splitlines(keepends=True)[-1])
    for cut in range(2, last + 1):  # at 1 only the newline is gone
        table.path.write_text(whole[:-cut])
        torn = Table(table.path, table.columns)
        torn.load()
        assert torn.rows == table.rows[:1], f"torn {cut} characters before the end"


def test_json_has_null_for_what_is_not_finite_and_reads_as_none_where_torn(tmp_path):
    path = tmp_path / "s.json"
    write_json(path, {"a": float("nan"), "b": [float("inf"), 0.1], "c": {1: None}})
    assert read_json(path) == {"a": None, "b": [None, 0.1], "c": {"1": None}}
    path.write_text(path.read_text()[:-5])
    assert read_json(path) is None
    assert read_json(tmp_path / "nothing.json") is None
