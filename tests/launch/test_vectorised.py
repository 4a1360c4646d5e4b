"""Runs that are computed as one batch leave what each of them leaves alone."""

from __future__ import annotations

import itertools
import json
import signal

import numpy as np
import pandas as pd
import pytest
import torch

from nlhf.games.competition import CompetitionGame
from nlhf.games.linked import ScoreGame, TiledGame
from nlhf.games.sparse import SparseGame
from nlhf.launch import batch
from nlhf.launch.batch import attempt_all, batches
from nlhf.launch.compose import CONF
from nlhf.launch.job import Job
from nlhf.runner.batch import Folders, joined, shape_of
from nlhf.runner.run_one import attempt
from nlhf.runner.specification import specify
from nlhf.runner.table_world import TableWorld
from tests.composing import BY_LOSS, configured

pytestmark = pytest.mark.usefixtures("one_thread")
ALGORITHMS = sorted(path.stem for path in (CONF / "algorithm").glob("*.yaml") if path.stem not in BY_LOSS)
NUMBERS = [{"seeds": [0], "beta": 0.05}, {"seeds": [3, 1], "beta": 0.05}, {"seeds": [0], "beta": 0.3}]
IDENTICAL = ["run", "game", "algorithm", "seed", "iteration", "queries"]


@pytest.fixture
def tasks(tmp_path):
    """Configs of runs that differ in NUMBERS, in a study; and the overrides of their sweep."""

    def made(study, *words, numbers=NUMBERS):
        fixed = ["game=random_tournament", "game.actions=6", "budget.queries=80", "budget.target=null",
                 "vectorise=true", f"runs_dir={tmp_path}", f"study={study}", *words]  # fmt: skip
        base = configured(*fixed)
        found = []
        for own in numbers:
            config = {**base, **{key: value for key, value in own.items() if key != "step_size"}}
            if "step_size" in own:
                config["algorithm"] = {**base["algorithm"], "step_size": own["step_size"]}
            found.append((config, ("seeds=...",)))
        return found

    return made


def folders(tasks):
    return [specify(config).folder for config, _ in tasks]


def same(first, second, tolerance=1e-7, rounding=1e-10):
    """Are the folders of two studies those of the same runs?"""
    for mine, other in zip(folders(first), folders(second), strict=True):
        assert {path.relative_to(mine) for path in mine.rglob("*")} == {
            path.relative_to(other) for path in other.rglob("*")
        }
        table, known = (pd.read_csv(folder / "metrics.csv") for folder in (mine, other))
        pd.testing.assert_frame_equal(table[IDENTICAL], known[IDENTICAL])
        rest = [name for name in table.columns if name not in (*IDENTICAL, "seconds")]
        large = known.exploitability > 1e-14
        pd.testing.assert_frame_equal(table[rest][large], known[rest][large], rtol=tolerance, atol=1e-12)
        policies = [np.load(folder / "policy.npz") for folder in (mine, other)]
        np.testing.assert_allclose(policies[0]["log_policy"], policies[1]["log_policy"], atol=rounding)
        if (mine / "policies.csv").exists():
            paths = [pd.read_csv(folder / "policies.csv") for folder in (mine, other)]
            pd.testing.assert_frame_equal(*paths, atol=1e-9)
        summaries = [json.loads((folder / "summary.json").read_text()) for folder in (mine, other)]
        for key in ("status", "stop_reason", "fingerprint", "seeds", "equilibrium"):
            assert summaries[0][key] == summaries[1][key]
        assert summaries[0].keys() == summaries[1].keys()
    return summaries[0]["vectorised_with"]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("beta", ["some", "none"])
def test_a_batch_leaves_the_folders_of_separate_runs(tasks, algorithm, beta):
    numbers = NUMBERS if beta == "some" else [{**own, "beta": 0.0} for own in NUMBERS]
    together, apart = (tasks(name, f"algorithm={algorithm}", numbers=numbers) for name in ("together", "apart"))
    ended = [attempt(*task) for task in apart]
    found = attempt_all(together)
    assert [one.state for one in found] == [one.state for one in ended]
    if ended[0].state != "refused":
        count = len({folder.name for folder in folders(together)})
        assert same(together, apart) == (len(NUMBERS) - 1 if count == len(NUMBERS) else 0)
        assert [one.state for one in attempt_all(together)] == ["skipped"] * len(NUMBERS)


def test_step_sizes_are_numbers_too(tasks):
    numbers = [{"step_size": 0.5}, {"step_size": 2.0, "beta": 0.1}, {"step_size": 1.0}]
    together, apart = (tasks(name, "seeds=2", "algorithm=nash_mp", numbers=numbers) for name in ("together", "apart"))
    assert [attempt(*task).state for task in apart] == ["completed"] * 3
    attempt_all(together)
    assert same(together, apart) == 2


def test_single_precision_is_one_more_thing_that_runs_share(tasks):
    together, apart = (tasks(name, "seeds=2", "dtype=float32", "budget.queries=20") for name in ("together", "apart"))
    assert [attempt(*task).state for task in apart] == ["completed"] * 3
    attempt_all(together)
    assert same(together, apart, tolerance=1e-3, rounding=1e-5) == 2


def test_every_policy_on_the_schedule_is_that_of_its_run(tasks):
    together, apart = (tasks(name, "algorithm=nash_mp", "log_policy=true") for name in ("together", "apart"))
    for task in apart:
        attempt(*task)
    attempt_all(together)
    assert all((folder / "policies.csv").exists() for folder in folders(together))
    assert same(together, apart) == 2


def test_every_run_stops_by_its_own_limits(tasks):
    words = ["algorithm=nash_mp", "budget.target=1e-4", "budget.queries=400"]
    together, apart = (tasks(name, *words) for name in ("together", "apart"))
    for task in apart:
        attempt(*task)
    attempt_all(together)
    assert same(together, apart) == 2
    last = [pd.read_csv(folder / "metrics.csv").groupby("seed").iteration.max().max() for folder in folders(together)]
    assert len(set(last)) > 1


def test_a_game_that_seeds_share_is_shared_by_runs(tasks):
    words = ["game=rock_paper_scissors", "game.actions=5", "reference=random"]
    numbers = [{"beta": beta} for beta in (0.05, 0.1, 0.2)]
    together, apart = (tasks(name, *words, numbers=numbers) for name in ("together", "apart"))
    for task in apart:
        attempt(*task)
    attempt_all(together)
    assert same(together, apart) == 2


GAMES = {
    "logit": ["game.payoff=logit"],
    "sign": ["game.payoff=sign"],
    "conversations": ["game=tree", "game.actions=2"],
    "conversations, logit": ["game=tree", "game.actions=2", "game.payoff=logit", "log_policy=true"],
    "low rank": ["game=low_rank", "game.actions=9", "game.rank=4"],
    "forward KL": ["regulariser=forward_kl", "game.payoff=logit"],
    "competitors": ["game=annotators", "game.actions=5", "game.competitors=3"],
}


@pytest.mark.parametrize("algorithm", ["nash_mp", "adaptive_optimistic", "proximal_point", "mtpo"])
@pytest.mark.parametrize("game", GAMES)
def test_a_batch_of_any_game_leaves_the_folders_of_separate_runs(tasks, game, algorithm):
    words = [f"algorithm={algorithm}", *GAMES[game]]
    together, apart = (tasks(name, *words) for name in ("together", "apart"))
    ended = [attempt(*task).state for task in apart]
    assert [one.state for one in attempt_all(together)] == ended
    if "refused" not in ended:
        assert same(together, apart) == 2


def instances(game, seeds):
    """The game of a family, by name, small and without a matrix."""
    rng = np.random.default_rng(seeds)
    if game == "scores":
        return ScoreGame(("a", "b", "c"), ("all",), torch.from_numpy(rng.normal(size=(len(seeds), 2, 3))))
    if game == "embeddings":
        return TiledGame(("a", "b", "c"), ("x", "y"), torch.from_numpy(rng.normal(size=(len(seeds), 2, 3, 4))))
    scores = [np.random.default_rng(seed).integers(3, size=(2, 3)) for seed in seeds]
    return CompetitionGame.of(scores, [np.ones(2)] * len(seeds), 2, ("a", "b", "c"))


@pytest.mark.parametrize("game", ["scores", "embeddings", "competition"])
def test_instances_of_games_without_a_matrix_are_joined(game):
    games = [instances(game, seeds) for seeds in ([0, 1], [2])]
    contexts = len(games[0].contexts)
    policies = torch.from_numpy(np.random.default_rng(0).dirichlet(np.ones(3), (3, contexts)))
    beta = torch.full((3, 1, 1), 0.1, dtype=torch.float64)
    worlds = [TableWorld(one, policies[:1].log(), beta[: len(one.content)], None) for one in games]
    assert shape_of(worlds[0]) == shape_of(worlds[1]) is not None
    answers = torch.cat([games[0].payoff(policies[:2]), games[1].payoff(policies[2:])])
    assert joined(worlds).game.payoff(policies) == pytest.approx(answers, abs=1e-15)


def test_a_game_declares_that_its_instances_cannot_be_joined():
    """A sparse table holds one instance, without a dimension of instances."""
    game = SparseGame.of({(0, 0, 1): 0.7}, ("all",), ("a", "b"))
    beta = torch.full((1, 1, 1), 0.1, dtype=torch.float64)
    assert shape_of(TableWorld(game, torch.zeros(1, 1, 2, dtype=torch.float64), beta, None)) is None


@pytest.fixture
def stopped_at_ten(monkeypatch):
    """A signal at the first row of iteration 10 of a batch."""
    rows = Folders.row

    def row(self, seed, values, policy):
        if values["iteration"] == 10:
            signal.raise_signal(signal.SIGTERM)
        rows(self, seed, values, policy)

    monkeypatch.setattr(Folders, "row", row)


@pytest.mark.parametrize("algorithm", ["nash_mp", "adaptive_optimistic", "proximal_point", "nash_md"])
def test_runs_that_were_stopped_together_go_on_alone(tasks, algorithm, stopped_at_ten):
    together, apart = (tasks(name, f"algorithm={algorithm}") for name in ("together", "apart"))
    for task in apart:
        attempt(*task)
    assert {one.state for one in attempt_all(together)} == {"interrupted"}
    assert all((folder / "checkpoint.pt").exists() for folder in folders(together))
    assert {one.state for one in attempt_all(together)} == {"completed"}
    assert same(together, apart) == 0


def test_runs_go_on_where_another_one_had_ended_before_the_stop(tasks, stopped_at_ten):
    words, numbers = ["algorithm=nash_mp", "budget.target=1e-3", "budget.queries=400"], NUMBERS[::-1]
    together, apart = (tasks(name, *words, numbers=numbers) for name in ("together", "apart"))
    for task in apart:
        attempt(*task)
    attempt_all(together)
    done = [json.loads((folder / "summary.json").read_text())["progress"]["iterations"] for folder in folders(together)]
    assert max(done[0]) < 10 <= min(done[1])
    attempt_all(together)
    assert same(together, apart) == 0


def test_a_run_that_fails_leaves_the_others_alone(tasks):
    """One that fails where beta is below 0.1, among others: they are all run alone."""
    numbers = [{"beta": 0.2}, {"beta": 0.05}, {"beta": 0.3}]
    failing = "algorithm._target_=tests.launch.plugins.Failing"
    together, apart = (tasks(name, failing, numbers=numbers) for name in ("together", "apart"))
    for task in apart:
        attempt(*task)
    assert [one.state for one in attempt_all(together)] == ["completed", "failed", "completed"]
    assert same(together[::2], apart[::2]) == 0


def jobs(tasks):
    return [Job(overrides, config, specify(config)) for config, overrides in tasks]


def test_packs_hold_what_is_alike_and_fits(tasks, monkeypatch):
    alike = jobs(tasks("s", "algorithm=omd"))
    other = jobs(tasks("s", "algorithm=nash_mp", numbers=[{"seeds": [5]}]))
    sampled = jobs(tasks("s", "prox=sampled", "algorithm=omd", "beta=0.2"))
    plain_runs = jobs(tasks("s", "vectorise=false", "algorithm=sppo"))
    unlimited = jobs(tasks("s", "algorithm=optimistic", "budget.seconds=3"))
    found = batches([*alike, *other, *sampled, *plain_runs, *unlimited], 1)
    assert sorted(map(len, found), reverse=True) == [3] + [1] * 10
    assert [len(pack) for pack in batches(alike, 3)] == [1, 1, 1]  # one for every worker
    monkeypatch.setattr(batch, "ENTRIES", 2 * 36 * 2)
    assert [len(pack) for pack in batches(alike, 1)] == [2, 1]
    names = list(itertools.chain.from_iterable([job.run.name for job in pack] for pack in found))
    assert len(names) == 13


def test_runs_that_cannot_be_a_batch_are_run_alone(tasks):
    """Games of other sizes than the config tells, and a run that has begun before."""
    begun = tasks("s", "algorithm=omd", "budget.queries=20")
    attempt(*begun[0])
    longer = tasks("s", "algorithm=omd")
    apart = tasks("apart", "algorithm=omd")
    for task in apart:
        attempt(*task)
    assert [one.state for one in attempt_all(longer)] == ["completed"] * 3
    assert same(longer, apart) == 0
