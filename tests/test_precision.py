"""dtype=float32: tables in single precision, every row measured in double precision."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf

import nlhf
from nlhf import metrics, simplex
from nlhf.config import ConfigError
from nlhf.games.low_rank import LowRank
from nlhf.games.sparse import SparseGame
from nlhf.launch.compose import CONF, composed, plain
from nlhf.specification import specify
from nlhf.world import assemble
from tests.adversarial import matrix_game
from tests.test_structured_games import GAMES, policies, structured

pytestmark = pytest.mark.usefixtures("one_thread")
ALGORITHMS = sorted(path.stem for path in (CONF / "algorithm").glob("*.yaml"))
EPS = torch.finfo(torch.float32).eps


def specified(folder, *words):
    free = ["budget.target=null", "budget.queries=null", "budget.iterations=20"]
    with composed(["dtype=float32", f"runs_dir={folder}", *free, *words]) as config:
        return specify(plain(config))


class Rows:
    """What a trainer records, and the policies' own numbers."""

    def __init__(self):
        self.rows, self.tables = [], []

    def row(self, seed, values, policy):
        self.rows.append(values)
        self.tables.append(policy.log_probabilities[seed].clone())

    def checkpoint(self, content):
        self.content = content


def exact(folder):
    """Algorithms that dtype=float32 can run, with a beta that they take."""
    found = []
    for algorithm in ALGORITHMS:
        for beta in (0.1, 0.0):
            try:
                found.append((algorithm, specified(folder, f"algorithm={algorithm}", f"beta={beta}",
                                                   "game=random_tournament", "game.actions=7", "game.contexts=2",
                                                   "seeds=2", "reference=random", "budget.iterations=20")))  # fmt: skip
                break
            except ConfigError as refusal:
                told = str(refusal)
        else:
            assert algorithm in ("secant", "online_dpo"), told
    return found


def exploitability(table, log_reference, preference, beta):
    """By hand, in double precision: max_mu P(mu > pi) - 1/2 - beta KL(mu || ref) + beta KL(pi || ref)."""
    log_policy = table - np.log(np.exp(table).sum(-1, keepdims=True))
    answer = np.einsum("xij,xj->xi", preference - 0.5, np.exp(log_policy))
    if beta == 0:
        return answer.max(-1).mean()
    best = beta * np.log(np.exp(log_reference + answer / beta).sum(-1))
    return (best + beta * (np.exp(log_policy) * (log_policy - log_reference)).sum(-1)).mean()


def test_tables_stay_single_and_rows_are_measured_in_double_precision(tmp_path):
    runs = exact(tmp_path)
    assert len(runs) > 15
    for algorithm, run in runs:
        world, recorder = assemble(run), Rows()
        trainer = world.trainer(run, recorder)
        trainer.run()
        assert trainer.state.policy.log_probabilities.dtype == trainer.prox.game.advantage.dtype == torch.float32
        assert {answer.dtype for _, answer, _ in recorder.content["prox"]["answers"]} <= {torch.float32}, algorithm
        beta, games = float(world.beta[0]), (world.game.dense() + 0.5).numpy()
        references = world.log_reference.numpy()
        for place, (values, table) in enumerate(zip(recorder.rows, recorder.tables, strict=True)):
            seed = place % 2
            with np.errstate(all="ignore"):
                known = exploitability(table.double().numpy(), references[seed], games[seed], beta)
            if np.isfinite(known):
                assert values["exploitability"] == pytest.approx(known, rel=1e-9, abs=1e-15), (algorithm, place)


def test_what_cannot_is_refused(tmp_path):
    for words in (["algorithm=secant"], ["prox=gradient"], ["prox=sampled"], ["policy=mlp", "prox=gradient"]):
        with pytest.raises(ConfigError, match="needs double precision: set dtype=float64"):
            specified(tmp_path, *words)
    with pytest.raises(ConfigError, match=r"dtype=half is not one of float64, float32"):
        specified(tmp_path, "dtype=half")


@pytest.mark.parametrize(("name", "options"), GAMES)
def test_structured_games_answer_to_rounding(name, options):
    _, game = structured(name, [3, 1], **options)
    policy = policies(game, 2).exp()
    told = game.to(torch.float32).payoff(policy.float())
    assert told.dtype == torch.float32
    assert (told - game.payoff(policy)).abs().max() < 30 * EPS * (1 + 0.05 * (options.get("game.scale", 0)))


def test_sparse_votes_answer_to_rounding_and_keep_their_keys():
    rng = np.random.default_rng(0)
    pairs = {(int(x), *map(int, rng.choice(4000, 2, replace=False))) for x in rng.integers(2, size=3000)}
    wins = {(x, min(i, j), max(i, j)): float(rng.random()) for x, i, j in pairs}
    game = SparseGame.of(wins, ("a", "b"), tuple(map(str, range(4000))))
    other = game.to(torch.float32)
    assert (other.keys.dtype, other.values.dtype) == (torch.int64, torch.float32)
    policy = torch.from_numpy(rng.standard_normal((2, 2, 4000))).log_softmax(-1).exp()
    assert (other.payoff(policy.float()) - game.payoff(policy)).abs().max() < EPS


def test_a_game_that_is_there_already_is_not_made_again():
    low_rank, scores = LowRank(10, 2, 1, 1.0).build([0]), structured("bradley_terry", [0])[1]
    for game in (low_rank, scores, matrix_game(np.full((3, 3), 0.5))):
        assert game.to(torch.float64) is game.to(torch.device("cpu")) is game


def test_many_actions_are_normalised_in_double_precision():
    rng = np.random.default_rng(0)
    table = torch.from_numpy(rng.standard_normal((1, 1, 300_000))).log_softmax(-1).float()
    found = simplex.exact(table)
    assert found.dtype == torch.float64
    assert abs(found.logsumexp(-1).item()) < 1e-12
    torch.testing.assert_close(found, table.double().log_softmax(-1), rtol=0, atol=1e-12)
    assert simplex.exact(found) is found


def test_the_floor_of_a_run_is_that_of_its_precision(tmp_path):
    for dtype, size in (("float32", EPS), ("float64", torch.finfo(torch.float64).eps)):
        words = ["game=random_tournament", "reference=random", "beta=0.1", "seeds=3", f"dtype={dtype}"]
        run = specified(tmp_path, *words, "budget.iterations=700")
        world, recorder = assemble(run), Rows()
        world.trainer(run, recorder).run()
        policy = torch.stack(recorder.tables[-3:]).double()
        floor = metrics.exploitability_floor(policy, world.log_reference, world.beta[..., 0]).mean(-1)
        floor *= (size / torch.finfo(torch.float64).eps) ** 2
        reached = torch.tensor([values["exploitability"] for values in recorder.rows[-3:]])
        assert (reached < floor).all()
        assert (reached > 1e-5 * floor).all()


def test_a_run_goes_on_to_the_bit_and_is_another_one_than_in_double_precision(tmp_path):
    words = ["game=random_tournament", "algorithm=adaptive_nash_mp", "seeds=3", "dtype=float32", "progress=false",
             "budget.target=null", "budget.queries=null"]  # fmt: skip
    parts = [[*words, f"runs_dir={tmp_path}/{name}"] for name in ("whole", "cut")]
    whole = nlhf.run([*parts[0], "budget.iterations=40"])
    nlhf.run([*parts[1], "budget.iterations=13"])
    cut = nlhf.run([*parts[1], "budget.iterations=40"])
    pd.testing.assert_frame_equal(*(found.metrics.drop(columns="seconds") for found in (whole, cut)), check_exact=True)
    assert (whole.log_policy == cut.log_policy).all()
    assert whole.log_policy.dtype == np.float64
    assert np.abs(np.exp(whole.log_policy).sum(-1) - 1).max() < 1e-14
    row = nlhf.evaluate(whole.folder / "policy.npz", ["game=random_tournament"])
    assert row["exploitability"] == pytest.approx(whole.summary["final"]["exploitability"], rel=1e-9)
    assert specified(tmp_path, *words[:3]).fingerprint == whole.summary["fingerprint"]
    double = specified(tmp_path, *words[:3], "dtype=float64")
    assert double.fingerprint != whole.summary["fingerprint"]


def test_a_run_from_before_there_was_a_choice_is_one_in_double_precision(tmp_path):
    words = ["game=tversky", "dtype=float64", "seeds=1", "budget.iterations=3", "progress=false"]
    run = nlhf.run([*words, f"runs_dir={tmp_path}"])
    path = run.folder / ".hydra" / "config.yaml"
    before = OmegaConf.load(path)
    del before["dtype"]
    assert specify(plain(before)).fingerprint == run.summary["fingerprint"]
    path.write_text(OmegaConf.to_yaml(before))
    assert set(nlhf.analysis.load(tmp_path)["dtype"]) == {"float64"}
    assert nlhf.run([*words, f"runs_dir={tmp_path}"]).folder == run.folder
