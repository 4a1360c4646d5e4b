"""Asking as an experiment: votes are queries, and rows have the certified exploitability next to the true one."""

from __future__ import annotations

import csv
import logging

import numpy as np
import pytest
from scipy.special import logsumexp, rel_entr

from nlhf.asking.certified import Certificate
from nlhf.config import ConfigError
from nlhf.prox.votes import VotesProx
from nlhf.runner.run_one import run_one
from nlhf.runner.specification import specify
from nlhf.stats.certified import VoteBounds
from nlhf.stats.certified_kl import best_regularised
from tests.composing import ASKING, configured
from tests.test_contract import trained

pytestmark = pytest.mark.usefixtures("one_thread")

GAME = ["game=random_tournament", "game.actions=4"]
EMPTY = ("seconds", "step_size", "kl_bound")  # or different every time
VOTES = ["prox=votes", "beta=0", "equilibrium=never", "progress=false", "budget.target=null"]


def config(folder, *words, algorithm="asking", queries=300):
    limit = f"budget.queries={queries}"
    return configured(*VOTES, f"algorithm={algorithm}", limit, f"runs_dir={folder}", *words)


def by_seed(recorder):
    """The rows of every seed, in order."""
    seeds = {}
    for seed, values, table in recorder.rows:
        seeds.setdefault(seed, []).append(
            {name: values[name] for name in values if name not in EMPTY} | {"policy": table.tolist()}
        )
    return list(seeds.values())


def violated(seeds):
    """The share of seeds with a row whose certified exploitability is below the true one."""
    return np.mean([any(row["certified_exploitability"] < row["exploitability"] - 1e-12 for row in rows)
                    for rows in seeds])  # fmt: skip


@pytest.mark.parametrize("algorithm", ASKING)
def test_one_vote_is_one_query(tmp_path, algorithm):
    trainer, recorder, _ = trained(config(tmp_path, *GAME, "game.contexts=2", "seeds=2", algorithm=algorithm))
    votes, wins = trainer.state.votes.numpy(), trainer.state.wins.numpy()
    assert trainer.progress.queries.tolist() == (votes.sum((1, 2, 3)) / 2).tolist()
    np.testing.assert_array_equal(wins + wins.swapaxes(-1, -2), votes)
    np.testing.assert_array_equal(votes, votes.swapaxes(-1, -2))
    assert (votes.sum((-1, -2)) == votes.sum((-1, -2))[0, 0]).all()  # contexts get batches of the same size
    assert [row["queries"] for row in by_seed(recorder)[0]] == list(range(0, 321, 40))


def test_uniform_asking_asks_about_all_pairs_equally_often(tmp_path):
    trainer, _, _ = trained(config(tmp_path, *GAME, "seeds=2", algorithm="asking_uniform", queries=1000))
    numbers = trainer.state.votes.numpy()[:, 0][:, *np.triu_indices(4, 1)]
    assert np.ptp(numbers, axis=1).max() <= 1


def test_votes_follow_the_preferences_of_the_game(tmp_path):
    trainer, _, world = trained(
        config(tmp_path, *GAME, "seeds=3", "algorithm.growth=1", algorithm="asking_uniform", queries=60_000)
    )
    shares = (trainer.state.wins / trainer.state.votes.clamp(min=1)).numpy()
    expected = world.game.dense().numpy() + 0.5
    others = ~np.eye(4, dtype=bool)
    assert np.abs(shares - expected)[..., others].max() < 0.02
    assert np.abs(shares[0] - shares[1])[..., others].max() > 0.05  # each seed has a game of its own


@pytest.mark.parametrize("beta", [0.0, 0.05])
@pytest.mark.parametrize("algorithm", ASKING)
def test_the_certified_exploitability_is_below_the_true_one_in_few_seeds(tmp_path, algorithm, beta):
    words = [*GAME, "seeds=12", f"beta={beta}", "algorithm.delta=0.1", "algorithm.growth=0.5"]
    seeds = by_seed(trained(config(tmp_path, *words, algorithm=algorithm, queries=3000))[1])
    assert violated(seeds) <= 0.1
    first, last = ([rows[end]["certified_exploitability"] for rows in seeds] for end in (0, -1))
    assert np.median(last) < 0.5 * np.median(first)


def test_a_certificate_without_a_margin_would_be_noticed(tmp_path, monkeypatch):
    """The test above can fail: shares of votes are no bounds."""

    def shares(self, wins, votes, context):
        estimate = np.where(votes[context] > 0, wins[context] / np.maximum(votes[context], 1), 0.5) - 0.5
        bounds = VoteBounds(estimate)
        return Certificate(bounds, *bounds.best())

    monkeypatch.setattr("nlhf.algorithms.asking.Asking._certificate", shares)
    words = [*GAME, "seeds=12", "algorithm.growth=0.3"]
    assert violated(by_seed(trained(config(tmp_path, *words, queries=1000))[1])) > 0.5


@pytest.mark.parametrize("beta", [0.0, 0.1])
def test_the_column_is_the_bound_of_the_policy_that_is_shown_averaged_over_contexts(tmp_path, beta):
    words = [*GAME, "game.contexts=3", "reference=random", f"beta={beta}", "seeds=2"]
    trainer, recorder, world = trained(config(tmp_path, *words))
    last, expected = [rows[-1] for rows in by_seed(recorder)], []
    reference = world.log_reference.exp().expand(2, -1, -1).numpy()
    for seed in range(2):
        values = []
        for context in range(3):
            wins, votes = (getattr(trainer.state, name)[seed, context].numpy() for name in ("wins", "votes"))
            pi = np.exp(last[seed]["policy"][context])
            gains = VoteBounds.anytime(wins, votes, 0.05 / 3).gains(pi)
            if beta == 0:
                values.append(gains.max())
            else:
                best = beta * logsumexp(gains / beta, b=reference[seed, context])
                values.append(best + beta * rel_entr(pi, reference[seed, context]).sum())
        expected.append(np.mean(values))
    assert [row["certified_exploitability"] for row in last] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("beta", [0.3, 0.05, 0.01])
def test_the_best_regularised_policy_is_close_to_the_best_of_many(beta):
    """A random search from the policy that is returned finds none that is better by more than three per cent."""
    rng = np.random.default_rng(0)
    for votes_per_pair in (20, 400):
        votes = votes_per_pair * (1.0 - np.eye(5))
        won = np.triu(rng.binomial(votes_per_pair, rng.random((5, 5))), 1)
        wins = won + np.tril(votes - won.T, -1)
        reference = rng.dirichlet(np.full(5, 3.0))
        bounds = VoteBounds.anytime(wins, votes, 0.05)
        policy, value = best_regularised(bounds, beta, reference, bounds.best()[0])
        assert value == bounds.exploitability(policy, beta, reference)
        logits, smallest = np.log(np.maximum(policy, 1e-6)), value
        for size in np.geomspace(1, 1e-3, 1000):
            trial = logits + size * rng.standard_normal(5)
            other = bounds.exploitability(np.exp(trial - logsumexp(trial)), beta, reference)
            if other < smallest:
                logits, smallest = trial, other
        assert smallest > 0.97 * value


@pytest.mark.parametrize("algorithm", ASKING)
def test_seeds_have_the_rows_in_a_batch_that_they_have_alone(tmp_path, algorithm):
    words = [*GAME, "game.contexts=2", "reference=random"]
    batch = by_seed(trained(config(tmp_path, *words, "seeds=[3,0,8]", algorithm=algorithm))[1])
    for position, seed in enumerate((3, 0, 8)):
        assert by_seed(trained(config(tmp_path, *words, f"seeds=[{seed}]", algorithm=algorithm))[1]) == [
            batch[position]
        ]
    assert batch[0] != batch[1]


def test_a_seed_that_stops_changes_nothing_for_the_others(tmp_path):
    words = [*GAME, "seeds=6", "beta=0.05"]
    free = by_seed(trained(config(tmp_path, *words, queries=800))[1])
    target = float(np.median([min(row["exploitability"] for row in rows[:8]) for rows in free]))
    stopped = by_seed(trained(config(tmp_path, *words, f"budget.target={target}", queries=800))[1])
    lengths = {len(rows) for rows in stopped}
    assert len(lengths) > 1
    for all_rows, some_rows in zip(free, stopped, strict=True):
        assert some_rows == all_rows[: len(some_rows)]
        assert len(some_rows) == len(all_rows) or some_rows[-1]["exploitability"] <= target


def test_a_smaller_budget_gets_the_rows_that_a_run_of_that_budget_has(tmp_path):
    """All rows are scheduled, also those between the rows of other algorithms."""
    words = [*GAME, "seeds=4", "beta=0.05"]
    large = run_one(config(tmp_path, *words, queries=800))
    with (large.folder / "metrics.csv").open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["iteration"] == "11"]
    assert len(rows) == 4
    target = max(float(row["exploitability"]) for row in rows)
    small = run_one(config(tmp_path, *words, f"budget.target={target}", queries=800))
    assert small.skipped
    alone = run_one(config(tmp_path / "other", *words, f"budget.target={target}", queries=800))
    expected = {name: value for name, value in alone.summary["final"].items() if value is not None}
    found = small.summary_at_budget["final"]
    assert {name: found[name] for name in expected} == expected
    assert small.summary_at_budget["progress"]["queries"] == alone.summary["progress"]["queries"]


def test_the_folder_of_a_run_has_the_column(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        outcome = run_one(config(tmp_path, *GAME, "seeds=2"))
    assert not caplog.records  # no word about few iterations, as batches grow
    with (outcome.folder / "metrics.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert all(float(row["certified_exploitability"]) >= 0 for row in rows)
    last = [float(row["certified_exploitability"]) for row in rows if row["queries"] == "300"]
    assert outcome.summary["final"]["certified_exploitability"] == pytest.approx(np.mean(last), rel=1e-12)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["prox=exact"], r"^algorithm=asking needs votes on pairs, from which it works: set prox=votes\.$"),
        (["algorithm=nash_mp"], r"^prox=votes needs an algorithm that asks for votes: set algorithm=asking, or "),
        (["policy=mlp"], r"^prox=votes needs a policy that can be any table: set policy=tabular"),
        (["feedback=vote"], r"^feedback changes answers about single pairs, which this prox does not ask for: leave "),
        (["feedback.flip=0.1"], r"^feedback changes answers about single pairs, which this prox does not ask for: "),
        (
            ["game.payoff=sign"],
            r"^game\.payoff=sign cannot be estimated without bias from the votes of this prox: set ",
        ),
        (["dtype=float32"], r"^dtype=float32 applies to answers about all actions at once, which this prox does not"),
        (
            ["algorithm=asking_uniform", "algorithm.delta=0"],
            r"^algorithm\.delta=0\.0 is out of range: give a probability between 0 and 1\.$",
        ),
        (["algorithm.smallest=0"], r"^algorithm\.smallest=0 is too small: give batches of 1 vote or more\.$"),
        (["algorithm.growth=-1"], r"^algorithm\.growth=-1\.0 is out of range: give a part such as 0\.03\.$"),
        (["algorithm.rule.first=0"], r"^algorithm\.rule\.first=0 is too small: "),
    ],
)
def test_what_cannot_work_is_refused_in_a_sentence(tmp_path, words, sentence):
    with pytest.raises(ConfigError, match=sentence):
        specify(config(tmp_path, *GAME, *words))


def test_tables_that_are_too_large_are_refused_in_a_sentence(tmp_path):
    with pytest.raises(
        ConfigError, match=r"^prox=votes counts the votes on every pair, and 5000 actions in 1 contexts"
    ):
        trained(config(tmp_path, "game=low_rank", "game.actions=5000"))


def test_the_engine_solves_no_proximal_problem(tmp_path):
    trainer, _, _ = trained(config(tmp_path, *GAME, queries=20))
    policy = trainer.state.policy
    for call in (
        lambda: trainer.prox(opponent=policy, anchor=policy, step_size=trainer.prox.beta),
        lambda: trainer.prox.advantage(policy),
    ):
        with pytest.raises(ConfigError, match=r"^prox=votes casts votes and solves no proximal problem: choose "):
            call()
    assert VotesProx().random
