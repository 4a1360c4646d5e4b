"""`import nlhf`: the same runs as the command line, numpy in and out, nothing imported before it is needed."""

from __future__ import annotations

import csv
import gc
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig

import nlhf
from nlhf.algorithms.nash_mp import NashMP
from nlhf.io.json_files import read_json

pytestmark = pytest.mark.usefixtures("one_thread")

ROOT = Path(__file__).resolve().parents[1]
GAME = ["game=random_tournament", "game.actions=4", "game.contexts=2", "reference=random", "beta=0.1"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def done(runs, one_thread):
    return nlhf.run([*GAME, "seeds=[3,1]", "budget.iterations=12", f"runs_dir={runs}"])


# --- run -------------------------------------------------------------------------------------------------------------


def test_the_metrics_are_the_floats_of_the_file(done):
    with (done.folder / "metrics.csv").open(newline="") as stream:
        written = list(csv.DictReader(stream))
    assert list(done.metrics.columns) == list(written[0])
    assert len(done.metrics) == len(written) == 2 * 10
    for name in ("seconds", *list(written[0])[7:]):
        assert done.metrics[name].tolist() == [float(row[name]) for row in written]
    assert done.metrics["seed"].tolist() == [int(row["seed"]) for row in written]


def test_missing_metrics_are_nan(runs):
    run = nlhf.run(["equilibrium=never", "budget.iterations=1", f"runs_dir={runs}"])
    assert run.metrics["kl_to_equilibrium"].isna().all()
    assert run.metrics["exploitability"].notna().all()


def test_the_policy_and_the_summary_are_those_of_the_folder(done):
    assert done.log_policy.shape == (2, 2, 4)  # seeds, contexts, actions
    assert np.exp(done.log_policy).sum(-1) == pytest.approx(np.ones((2, 2)), rel=1e-14)
    with np.load(done.folder / "policy.npz") as saved:
        assert (done.log_policy == saved["log_policy"]).all()
    assert done.summary == read_json(done.folder / "summary.json")
    assert done.summary["final"]["exploitability"] == done.metrics.groupby("seed").last()["exploitability"].mean()


def test_the_same_run_is_found_again(done, runs):
    again = nlhf.run([*GAME, "seeds=[3,1]", "budget.iterations=12", f"runs_dir={runs}"])
    assert (again.folder, again.summary) == (done.folder, done.summary)


def test_an_interruption_is_a_keyboard_interrupt_and_can_be_gone_on_from(runs, monkeypatch):
    original = NashMP.update

    def update(self, state, prox):
        os.kill(os.getpid(), signal.SIGINT)
        return original(self, state, prox)

    overrides = ["beta=0.3", "budget.iterations=12", f"runs_dir={runs}"]
    with monkeypatch.context() as patched:
        patched.setattr(NashMP, "update", update)
        with pytest.raises(KeyboardInterrupt, match="was interrupted: run it again to go on"):
            nlhf.run(overrides)
    assert nlhf.run(overrides).summary["progress"]["iterations"] == [12]


def test_a_failed_run_is_returned_and_says_why(runs, monkeypatch):
    def update(self, state, prox):
        raise ArithmeticError("broken")

    monkeypatch.setattr(NashMP, "update", update)
    run = nlhf.run(["beta=0.4", f"runs_dir={runs}"])
    assert (run.summary["status"], run.summary["stop_reason"]) == ("failed", "ArithmeticError: broken")


@pytest.mark.parametrize("override", ["bta=1", "algorithm=nope", "beta"])
def test_what_hydra_refuses_is_a_config_error(runs, override):
    with pytest.raises(nlhf.ConfigError, match=r"bta|nope|beta"):
        nlhf.run([override, f"runs_dir={runs}"])


# --- Hydra's global state --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("overrides", [["budget.iterations=1"], ["beta=-1"], ["nothing=1"]])
def test_hydra_is_left_as_it_was_found(tmp_path, overrides):
    def nlhf_run():
        try:
            nlhf.run([f"runs_dir={tmp_path / 'runs'}", *overrides])
        except nlhf.ConfigError:
            return "refused"
        return "run"

    expected = "run" if overrides == ["budget.iterations=1"] else "refused"
    assert nlhf_run() == expected
    assert not GlobalHydra.instance().is_initialized()
    assert not HydraConfig.initialized()

    (tmp_path / "mine.yaml").write_text("mine: 5\n")
    with initialize_config_dir(str(tmp_path), version_base="1.3"):
        HydraConfig.instance().set_config(compose("mine", return_hydra_config=True))
        before = HydraConfig.get().runtime.config_sources
        assert nlhf_run() == expected
        assert GlobalHydra.instance().is_initialized()
        assert compose("mine") == {"mine": 5}
        assert HydraConfig.get().runtime.config_sources == before
    HydraConfig.instance().cfg = None


# --- imports ---------------------------------------------------------------------------------------------------------


def loaded(code):
    """Which of the heavy packages a script imports."""
    script = (
        f"import sys\n{code}\nprint([name for name in ('torch', 'pandas', 'scipy', 'hydra') if name in sys.modules])"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    result = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True,
                            timeout=600, check=True)  # fmt: skip
    return result.stdout.strip()


def test_importing_nlhf_imports_nothing_heavy():
    assert loaded("import nlhf; dir(nlhf)") == "[]"


def test_naming_the_functions_imports_no_torch():
    names = "nlhf.run, nlhf.evaluate, nlhf.equilibrium, nlhf.exploitability, nlhf.ConfigError"
    assert "torch" not in loaded(f"import nlhf; {names}")


def test_analysis_imports_no_torch():
    assert "torch" not in loaded("import nlhf; nlhf.analysis.study")


def test_a_name_that_nlhf_lacks_is_answered_with_those_it_has():
    with pytest.raises(AttributeError, match=r"nlhf has no rum: it offers .*run"):
        _ = nlhf.rum
    assert set(dir(nlhf)) >= {"run", "equilibrium", "exploitability", "evaluate", "analysis", "ConfigError"}


# --- equilibrium and exploitability ----------------------------------------------------------------------------------

ROCK = np.array([[0.5, 0.1, 0.9], [0.9, 0.5, 0.1], [0.1, 0.9, 0.5]])


def preferences(shape, seed=0):
    upper = np.triu(np.random.default_rng(seed).random(shape), 1)
    return upper + np.tril(1 - np.swapaxes(upper, -1, -2), -1) + 0.5 * np.eye(shape[-1])


@pytest.mark.parametrize("beta", [0.01, 0.3, 5.0])
@pytest.mark.parametrize("shape", [(6, 6), (3, 6, 6)])
def test_an_equilibrium_is_the_fixed_point_of_the_best_response(shape, beta):
    P, weights = preferences(shape), np.array([1.0, 2.0, 0.5, 4.0, 1.0, 1e-6])
    found = nlhf.equilibrium(P, beta=beta, reference=weights)
    assert found.method == "newton"
    assert found.log_policy.shape == shape[:-1]
    policy = np.exp(found.log_policy)
    gap = np.log(weights) + np.einsum("...ab,...b->...a", P - 0.5, policy) / beta - found.log_policy
    assert np.ptp(gap, axis=-1).max() < 1e-11
    assert policy.sum(-1) == pytest.approx(np.ones(shape[:-2]), rel=1e-14)
    assert found.exploitability < 1e-20 * beta
    assert nlhf.exploitability(P, found.log_policy, beta, weights) == pytest.approx(found.exploitability, abs=1e-25)


def test_without_regularisation_the_equilibrium_is_a_von_neumann_winner():
    found = nlhf.equilibrium(ROCK, beta=0)
    assert found.method == "interior point"
    assert np.exp(found.log_policy) == pytest.approx(np.full(3, 1 / 3), rel=1e-14)
    assert found.exploitability < 1e-15


def test_two_actions_against_the_formula():
    # log(p/q) = log(r/s) + (P_01 - 1/2)/beta for policy (p, q) and reference (r, s): A pi = a (q, -p), whose entries
    # differ by a
    found = nlhf.equilibrium(np.array([[0.5, 0.8], [0.2, 0.5]]), beta=0.25, reference=[3.0, 1.0])
    assert found.log_policy[0] - found.log_policy[1] == pytest.approx(np.log(3) + 0.3 / 0.25, rel=1e-14)


def test_exploitability_is_the_gain_of_the_best_deviation():
    P, weights, beta = preferences((2, 5, 5), 1), np.arange(1.0, 6.0), 0.2
    policy = np.random.default_rng(2).dirichlet(np.ones(5), size=2)
    log_reference = np.log(weights / weights.sum())
    answer = np.einsum("xab,xb->xa", P - 0.5, policy)
    # max_mu <mu, A pi> - beta KL(mu || ref) is a log-sum-exp; <pi, A pi> = 0
    best = beta * np.log((np.exp(log_reference) * np.exp(answer / beta)).sum(-1))
    kl = (policy * (np.log(policy) - log_reference)).sum(-1)
    assert nlhf.exploitability(P, np.log(policy), beta, weights) == pytest.approx((best + beta * kl).mean(), rel=1e-12)
    unregularised = answer.max(-1).mean()
    assert nlhf.exploitability(P, np.log(policy), 0, weights) == pytest.approx(unregularised, rel=1e-14)


def test_a_pure_policy_may_have_infinite_logarithms():
    with np.errstate(divide="ignore"):
        pure = np.log([1.0, 0.0, 0.0])
    assert nlhf.exploitability(ROCK, pure, beta=0) == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"preference": [[0.5, 0.7], [0.4, 0.5]]}, r"entry \[0, 1\] = 0\.7 .*P \+ P\^T = 1"),
        ({"preference": [[0.5]]}, "one item only"),
        ({"preference": [0.5, 0.5]}, r"shape \(2,\)"),
        ({"preference": "matrix.npy"}, "preference"),
        ({"beta": -1}, r"beta=-1 is out of range"),
        ({"beta": float("nan")}, r"beta=nan is out of range"),
        ({"beta": float("inf")}, r"beta=inf is out of range"),
        ({"reference": [1, 1]}, r"reference has shape \(2,\): give \(3,\) or \(1, 3\)"),
        ({"reference": [1, 1, 0]}, r"reference has the weight 0"),
    ],
)
def test_arguments_that_are_no_game_are_refused(arguments, words):
    good = {"preference": ROCK, "beta": 0.1, "reference": None}
    with pytest.raises(nlhf.ConfigError, match=words):
        nlhf.equilibrium(**(good | arguments))


@pytest.mark.parametrize(
    ("log_policy", "words"),
    [
        (np.log([0.5, 0.5]), r"log_policy has shape \(2,\), the game 1 contexts and 3 actions"),
        (np.array([0.2, 0.3, 0.5]), "give normalised logarithms"),
        (np.array([np.nan, 0.0, 0.0]), "give normalised logarithms"),
        (np.full(3, 1e4), "give normalised logarithms"),
    ],
)
def test_what_is_no_policy_is_refused(log_policy, words):
    with pytest.raises(nlhf.ConfigError, match=words):
        nlhf.exploitability(ROCK, log_policy, beta=0.1)


# --- evaluate --------------------------------------------------------------------------------------------------------


def graded(runs, policy, *overrides):
    return nlhf.evaluate(policy, [*GAME, *overrides, f"runs_dir={runs}"])


def test_a_run_grades_its_own_policy_as_it_did(done, runs):
    row = graded(runs, done.folder / "policy.npz")  # the seeds 3 and 1 come from the file
    expected = {name: value for name, value in done.summary["final"].items() if name in row}
    assert {"exploitability", "kl_to_equilibrium", "span_to_equilibrium", "win_rate_vs_reference"} <= set(expected)
    assert row == pytest.approx(expected, rel=1e-12)
    assert graded(runs, done.folder / "policy.npz", "seeds=[1,3]") != pytest.approx(expected, rel=1e-2)


def test_evaluation_leaves_no_run_behind(done, tmp_path):
    graded(tmp_path, done.folder / "policy.npz")
    assert not list(tmp_path.rglob("metrics.csv"))


def test_an_npy_file_is_graded_in_every_seed_of_the_game(runs, tmp_path):
    np.save(tmp_path / "uniform.npy", np.full(3, -np.log(3)))
    game = ["game=rock_paper_scissors", "game.win_probability=1", "beta=0.5", f"runs_dir={runs}"]
    row = nlhf.evaluate(tmp_path / "uniform.npy", game)
    assert row["exploitability"] == pytest.approx(0, abs=1e-30)
    assert row["entropy"] == pytest.approx(np.log(3), rel=1e-15)
    np.save(tmp_path / "rock.npy", np.log([[1 - 2e-9, 1e-9, 1e-9]]))
    assert nlhf.evaluate(str(tmp_path / "rock.npy"), game)["exploitability_unregularised"] == pytest.approx(0.5)


POLICIES = {
    "no file": (None, "is not a file: give an npz with log_policy, or an npy"),
    "empty": (b"", "cannot be read"),
    "garbage": (b"garbage", "cannot be read"),
    "no log_policy": ({"policy": np.zeros(3)}, "has no array log_policy, but policy: name it so"),
    "too few actions": (
        {"log_policy": np.log(np.full((1, 2, 3), 1 / 3))},
        r"shape \(1, 2, 3\), the game 2 .* 4 actions",
    ),
    "too few contexts": ({"log_policy": np.log(np.full((2, 1, 4), 1 / 4))}, "the game 2 contexts and 4 actions"),
    "too many dimensions": ({"log_policy": np.log(np.full((1, 1, 2, 4), 1 / 4))}, "the game 2 contexts and 4 actions"),
    "too many seeds": (
        {"log_policy": np.log(np.full((3, 2, 4), 1 / 4))},
        "holds 3 seeds and the game has 1",
    ),
    "probabilities": ({"log_policy": np.full((1, 2, 4), 1 / 4)}, "give normalised logarithms"),
    "texts": ({"log_policy": np.full((1, 2, 4), "a")}, "log_policy"),
    "other items": (
        {"log_policy": np.log(np.full((1, 2, 4), 1 / 4)), "items": np.array(list("abcd"))},
        "is over other items .* choose its game",
    ),
}


@pytest.mark.parametrize("case", POLICIES)
def test_a_policy_file_that_does_not_fit_is_refused(runs, tmp_path, case):
    content, words = POLICIES[case]
    path = tmp_path / "policy.npz"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        np.savez(path, **content)
    with pytest.raises(nlhf.ConfigError, match=words):
        graded(runs, path)


def test_a_torn_policy_file_is_refused_and_closed(done, runs, tmp_path):
    (tmp_path / "policy.npz").write_bytes((done.folder / "policy.npz").read_bytes()[:200])
    with pytest.raises(nlhf.ConfigError, match="cannot be read"):
        graded(runs, tmp_path / "policy.npz")
    gc.collect()  # a file that was left open would be warned of here


# --- analysis --------------------------------------------------------------------------------------------------------


def test_analysis_is_offered_by_name_and_loads_what_a_run_left(done):
    data = nlhf.analysis.load(done.folder.parent)
    mine = data[data["folder"] == str(done.folder)]
    assert mine["exploitability"].tolist() == done.metrics["exploitability"].tolist()
    assert (mine["game.actions"] == 4).all()


@pytest.mark.parametrize(
    ("own", "policy"),
    [({}, "passive"), ({"OMP_WAIT_POLICY": "active"}, "active"), ({"GOMP_SPINCOUNT": "10"}, "None")],
)
def test_threads_sleep_while_they_wait_unless_the_user_decides(own, policy):
    unset = {name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    code = "import sys, nlhf, os; assert 'torch' not in sys.modules; print(os.environ.get('OMP_WAIT_POLICY'))"
    done = subprocess.run([sys.executable, "-c", code], env=unset | own, capture_output=True, text=True, check=True)
    assert done.stdout == f"{policy}\n"
