"""dtype=float32: a game answers in single precision; policies and all that is measured stay in double precision."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf

import nlhf
from nlhf.config import ConfigError
from nlhf.games.low_rank import LowRank
from nlhf.games.sparse import SparseGame
from nlhf.io.checksums import file_record
from nlhf.io.json_files import write_json
from nlhf.launch.compose import CONF, plain
from nlhf.runner.fingerprint import fingerprint
from nlhf.runner.specification import specify
from tests.adversarial import matrix_game
from tests.composing import ASKING, BY_LOSS, OTHER_SOLUTIONS, UNREGULARISED, configured
from tests.test_contract import trained
from tests.test_structured_games import GAMES, policies, structured

pytestmark = pytest.mark.usefixtures("one_thread")
ALGORITHMS = sorted(
    path.stem for path in (CONF / "algorithm").glob("*.yaml") if path.stem not in (*BY_LOSS, *ASKING, *OTHER_SOLUTIONS)
)
EPS = torch.finfo(torch.float32).eps
GAME = ["game=random_tournament", "game.actions=7", "game.contexts=2", "reference=random", "seeds=2"]


def config(folder, *words):
    free = ["budget.target=null", "budget.queries=null", "budget.iterations=20"]
    return configured("dtype=float32", f"runs_dir={folder}", *free, *words)


def specified(folder, *words):
    return specify(config(folder, *words))


def exploitability(log_policy, log_reference, preference, beta):
    """By hand: max_mu P(mu > pi) - 1/2 - beta KL(mu || ref) + beta KL(pi || ref)."""
    answer = np.einsum("xij,xj->xi", preference - 0.5, np.exp(log_policy))
    if beta == 0:
        return answer.max(-1).mean()
    best = beta * np.log(np.exp(log_reference + answer / beta).sum(-1))
    return (best + beta * (np.exp(log_policy) * (log_policy - log_reference)).sum(-1)).mean()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_rows_are_measured_in_double_precision_and_close_to_those_of_double_answers(tmp_path, algorithm):
    beta = 0.0 if algorithm in UNREGULARISED else 0.1
    words = [*GAME, f"algorithm={algorithm}", f"beta={beta}", "equilibrium=never"]
    trainer, recorder, world = trained(config(tmp_path, *words))
    assert trainer.prox.game.advantage.dtype == torch.float32
    assert world.game.advantage.dtype == trainer.state.policy.log_probabilities.dtype == torch.float64
    games, references = (world.game.dense() + 0.5).numpy(), world.log_reference.numpy()
    for seed, values, table in recorder.rows:
        with np.errstate(all="ignore"):
            known = exploitability(table.numpy(), references[seed], games[seed], beta)
        if np.isfinite(known):
            assert values["exploitability"] == pytest.approx(known, rel=1e-9, abs=1e-15)
    _, other, _ = trained(config(tmp_path, *words, "dtype=float64"))
    pairs = zip(recorder.rows, other.rows, strict=True)
    apart = [(one.exp() - two.exp()).abs().max().item() for (*_, one), (*_, two) in pairs]
    assert max(apart[:4]) < 1e-6
    assert 0 < max(apart) < 1e-3  # the growth of a rounding over 20 iterations of the wildest


@pytest.mark.parametrize(
    "algorithm",
    ["nash_mp", "adaptive_nash_mp", "adaptive_optimistic", "optimistic", "egpo", "omd", "proximal_point", "mpo",
     "comal", "secant", "inpo", "nash_prox_fast"],
)  # fmt: skip
def test_what_converges_goes_on_below_the_rounding_of_answers(tmp_path, algorithm):
    """(eps/2 / beta)^2 is the most that answers that are off by eps/2 do to a fixed point."""
    enough = 300 if algorithm == "secant" else 3000
    words = [*GAME, f"algorithm={algorithm}", "beta=0.1", f"budget.iterations={enough}"]
    _, recorder, _ = trained(config(tmp_path, *words))
    for _, values, _ in recorder.rows[-2:]:
        assert 1e-19 < values["kl_to_equilibrium"] <= (EPS / 2 / 0.1) ** 2
        assert not values["kl_bound"] < values["kl_to_equilibrium"]


@pytest.mark.parametrize(
    ("algorithm", "step_size", "enough"),
    [("adaptive_nash_mp", 1e-5, 4000), pytest.param("nash_mp", 0.02, 40000, marks=pytest.mark.long)],
)
def test_short_steps_and_small_games_are_no_trouble(tmp_path, algorithm, step_size, enough):
    words = [f"algorithm={algorithm}", f"algorithm.step_size={step_size}", "beta=0.05", f"budget.iterations={enough}"]
    _, recorder, _ = trained(config(tmp_path, *GAME, *words))
    assert recorder.rows[-1][1]["exploitability"] < 1e-15


def test_what_is_said_of_a_run(tmp_path):
    for words, caveat in ((["beta=0.1"], "3.6e-15/beta"), (["beta=0"], "1.2e-07")):
        run = specified(tmp_path, *words, "algorithm=nash_mp")
        assert f"answers in float32: exploitability below {caveat} may be rounding" in run.method["caveat"]
        assert run.method["sources"]
    assert specified(tmp_path, "dtype=float64").method["caveat"] is None


@pytest.mark.parametrize(
    "words", [["prox=gradient"], ["prox=sampled"], ["game=text", "policy=causal_lm", "prox=gradient"]]
)
def test_a_choice_without_effect_is_refused(tmp_path, words):
    with pytest.raises(ConfigError, match="dtype=float32 applies to answers about all actions at once"):
        specified(tmp_path, *words)


def test_a_word_that_is_no_choice_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"dtype=half is not one of float64, float32"):
        specified(tmp_path, "dtype=half")


@pytest.mark.parametrize("policy", ["tabular", "mlp"])
@pytest.mark.parametrize("surrogate", ["policy_gradient", "pair", "ipo", "sppo"])
def test_gradient_steps_on_enumerated_actions_take_it(tmp_path, policy, surrogate):
    words = [*GAME, "prox=gradient", "prox.samples=null", f"prox.surrogate={surrogate}", f"policy={policy}"]
    words += ["policy.hidden=[4]"] if policy == "mlp" else []
    single, double = (trained(config(tmp_path, *words, f"dtype={name}"))[0] for name in ("float32", "float64"))
    assert single.prox.game.advantage.dtype == torch.float32
    tables = [each.state.policy.log_probabilities for each in (single, double)]
    torch.testing.assert_close(*tables, rtol=0, atol=1e-3)


@pytest.mark.parametrize(("name", "options"), GAMES)
def test_structured_games_answer_to_rounding(name, options):
    _, game = structured(name, [3, 1], **options)
    policy = policies(game, 2).exp()
    told = game.to(torch.float32).payoff(policy)
    assert told.dtype == torch.float64
    difference = (told - game.payoff(policy)).abs().max()
    assert difference < 30 * EPS * (1 + 0.05 * options.get("game.scale", 0))
    assert (difference > 0) == (name not in ("bradley_terry", "annotators") and options.get("game.cyclicity") != 0)


def test_sparse_votes_answer_to_rounding_and_keep_their_keys():
    rng = np.random.default_rng(0)
    pairs = {(int(x), *map(int, rng.choice(4000, 2, replace=False))) for x in rng.integers(2, size=3000)}
    wins = {(x, min(i, j), max(i, j)): float(rng.random()) for x, i, j in pairs}
    game = SparseGame.of(wins, ("a", "b"), tuple(map(str, range(4000))))
    other = game.to(torch.float32)
    assert (other.keys.dtype, other.values.dtype) == (torch.int64, torch.float32)
    policy = torch.from_numpy(rng.standard_normal((2, 2, 4000))).log_softmax(-1).exp()
    told = other.payoff(policy)
    assert told.dtype == torch.float64
    assert 0 < (told - game.payoff(policy)).abs().max() < EPS


def test_a_game_that_is_there_already_is_not_made_again():
    low_rank, scores = LowRank(10, 2, 1, 1.0).build([0]), structured("bradley_terry", [0])[1]
    for game in (low_rank, scores, matrix_game(np.full((3, 3), 0.5))):
        assert game.to(torch.float64) is game.to(torch.device("cpu")) is game


def test_a_run_goes_on_to_the_bit_and_is_another_one_than_in_double_precision(tmp_path):
    words = ["game=random_tournament", "algorithm=adaptive_nash_mp", "seeds=3", "dtype=float32", "progress=false",
             "budget.target=null", "budget.queries=null"]  # fmt: skip
    parts = [[*words, f"runs_dir={tmp_path}/{name}"] for name in ("whole", "cut")]
    whole = nlhf.run([*parts[0], "budget.iterations=40"])
    nlhf.run([*parts[1], "budget.iterations=13"])
    cut = nlhf.run([*parts[1], "budget.iterations=40"])
    pd.testing.assert_frame_equal(*(found.metrics.drop(columns="seconds") for found in (whole, cut)), check_exact=True)
    assert (whole.log_policy == cut.log_policy).all()
    row = nlhf.evaluate(whole.folder / "policy.npz", ["game=random_tournament"])
    assert row["exploitability"] == pytest.approx(whole.summary["final"]["exploitability"], rel=1e-9)
    assert specified(tmp_path, *words[:3]).fingerprint == whole.summary["fingerprint"]
    assert specified(tmp_path, *words[:3], "dtype=float64").fingerprint != whole.summary["fingerprint"]


def test_a_run_from_before_there_was_a_choice_is_one_in_double_precision(tmp_path):
    words = ["game=tversky", "dtype=float64", "seeds=1", "budget.iterations=3", "progress=false"]
    run = nlhf.run([*words, f"runs_dir={tmp_path}"])
    path = run.folder / ".hydra" / "config.yaml"
    before = OmegaConf.load(path)
    del before["dtype"]
    assert specify(plain(before)).fingerprint == run.summary["fingerprint"]
    assert fingerprint({"beta": 1, "dtype": "float64"}) == fingerprint({"beta": 1})  # as it was taken then
    assert fingerprint({"beta": 1, "dtype": "float32"}) != fingerprint({"beta": 1})
    path.write_text(OmegaConf.to_yaml(before))
    files = run.summary["files"] | {".hydra/config.yaml": file_record(path)}
    write_json(run.folder / "summary.json", run.summary | {"files": files})
    assert set(nlhf.analysis.load(tmp_path)["dtype"]) == {"float64"}
    assert nlhf.run([*words, f"runs_dir={tmp_path}"]).folder == run.folder


def test_a_rate_is_read_off_above_the_rounding(tmp_path):
    words = ["game=random_tournament", "reference=random", "seeds=2", "beta=0.05", "algorithm=nash_mp",
             "progress=false", "budget.iterations=2000", "budget.target=null", "budget.queries=null",
             f"runs_dir={tmp_path}"]  # fmt: skip
    rates = {}
    for dtype in ("float64", "float32"):
        run = nlhf.run([*words, f"dtype={dtype}"])
        table = nlhf.analysis.observations(nlhf.analysis.load(run.folder))
        rates[dtype] = table["rate"].to_numpy(), table["bound_rate"].to_numpy()
    np.testing.assert_allclose(rates["float32"][0], rates["float64"][0], rtol=0.05)
    np.testing.assert_allclose(rates["float32"][1], math.log(1.1) / 2, rtol=0.01)
