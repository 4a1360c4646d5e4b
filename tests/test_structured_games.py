"""Games without a matrix: they answer as their matrices do, and algorithms walk the same path on both."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
import pytest
import torch

import nlhf
from nlhf.config import ConfigError, build
from nlhf.games.listed import Numbered
from nlhf.games.low_rank import LowRank
from nlhf.games.matrix import MatrixGame
from nlhf.numerics import simplex
from tests.composing import configured

pytestmark = pytest.mark.usefixtures("one_thread")
GAMES = [("low_rank", {"game.rank": 4, "game.contexts": 3}), ("low_rank", {"game.rank": 2, "game.shift": 0}),
         ("general_preference", {}), ("general_preference", {"game.scale": 30}), ("spinning_top", {}),
         ("spinning_top", {"game.cyclicity": 1}), ("bradley_terry", {}), ("bradley_terry", {"game.scale": 20}),
         ("annotators", {})]  # fmt: skip


def structured(name, seeds, actions=700, **options):
    """The game of a family that is told to do without matrices."""
    words = [f"game={name}", f"game.actions={actions}", *(f"{key}={value}" for key, value in options.items())]
    family = build(configured(*words)["game"], "game")
    module = type(family).__module__
    if name == "low_rank":
        return family, family.build(seeds)
    with patch(f"{module}.STRUCTURED", 0):
        return family, family.build(seeds)


def policies(game, seeds, spread=3.0):
    rng = np.random.default_rng(0)
    logits = spread * rng.standard_normal((seeds, len(game.contexts), len(game.items)))
    return torch.from_numpy(logits).log_softmax(-1)


@pytest.mark.parametrize(("name", "options"), GAMES)
@pytest.mark.parametrize("seeds", [[0], [3, 1]])
def test_answers_are_those_of_the_matrix(name, options, seeds):
    family, game = structured(name, seeds, **options)
    matrix = game.dense()
    assert matrix.abs().max() <= 0.5
    assert (matrix + matrix.mT).abs().max() < 1e-15
    if name != "low_rank":  # the matrix is that which the family itself writes down
        assert (matrix - family.build(seeds).dense()).abs().max() < 1e-13
    policy = policies(game, len(seeds)).exp()
    want = (matrix @ policy[..., None])[..., 0]
    assert (game.payoff(policy) - want).abs().max() < 1e-13
    rng = np.random.default_rng(1)
    contexts = torch.from_numpy(rng.integers(len(game.contexts), size=(len(seeds), 50)))
    first, second = torch.from_numpy(rng.integers(len(game.items), size=(2, len(seeds), 50, 3)))
    told = game.compare(contexts, first, second)
    at = torch.arange(len(seeds))[:, None, None]
    assert (told - matrix[at, contexts[..., None], first, second]).abs().max() < 1e-13
    assert (game.compare(contexts, second, first) + told).abs().max() < 1e-14


@pytest.mark.parametrize(("name", "options"), GAMES)
def test_algorithms_walk_the_same_path_as_on_the_matrix(name, options):
    _, game = structured(name, [0, 1], actions=150, **options)
    twin = MatrixGame(game.dense(), tuple(game.items), game.contexts)
    ends = []
    for played in (game, twin):
        reference = simplex_uniform(played)
        beta, step = (torch.full((2, 1, 1), value, dtype=torch.float64) for value in (0.05, 2.0))
        policy = reference
        for _ in range(60):
            half = simplex.proximal_step(policy, reference, played.payoff(policy.exp()), beta, step)
            policy = simplex.proximal_step(policy, reference, played.payoff(half.exp()), beta, step)
        ends.append(policy)
    assert (ends[0] - ends[1]).abs().max() < 1e-11


def simplex_uniform(game):
    return torch.full((2, len(game.contexts), len(game.items)), -np.log(len(game.items)), dtype=torch.float64)


@pytest.fixture
def sparse(tmp_path):
    """A file with votes on a tenth of the pairs, and both games of it."""
    rng, lines = np.random.default_rng(0), ["prompt,item_a,item_b,wins_a,wins_b"]
    for _ in range(300):
        a, b = rng.choice(40, 2, replace=False)
        wins = rng.integers(0, 4, 2) / 2
        lines.append(f"{rng.integers(3)},m{a},m{b},{wins[0]},{wins[1]}")
    (tmp_path / "v.csv").write_text("\n".join(lines) + "\n")

    def both(*words):
        family = build(configured("game=votes", f"game.path={tmp_path / 'v.csv'}", *words)["game"], "game")
        with patch("nlhf.games.votes.STRUCTURED", 0):
            return family.build([0, 1]), family

    return both


@pytest.mark.parametrize("words", [(), ("game.context=[prompt]",), ("game.context=[prompt]", "game.pseudo_count=1")])
def test_sparse_votes_are_the_game_of_the_matrix(sparse, words):
    game, family = sparse(*words)
    matrix = family.build([0])
    assert tuple(game.items) == matrix.items
    assert game.contexts == matrix.contexts
    assert (game.dense() - matrix.dense()).abs().max() < 1e-16
    policy = policies(game, 2).exp()
    assert (game.payoff(policy) - matrix.payoff(policy)).abs().max() < 1e-15
    rng = np.random.default_rng(1)
    contexts = torch.from_numpy(rng.integers(len(game.contexts), size=(2, 60)))
    first, second = torch.from_numpy(rng.integers(40, size=(2, 2, 60, 4)))
    assert (game.compare(contexts, first, second) - matrix.compare(contexts, first, second)).abs().max() < 1e-16


@pytest.mark.parametrize("word", ["game.bootstrap=true", "game.unseen=refuse", "game.unseen=drop_item"])
def test_sparse_votes_refuse_what_lists_all_pairs(sparse, word):
    with pytest.raises(ConfigError, match="items, too many to list all pairs"):
        sparse(word)


def test_twenty_thousand_players_have_an_equilibrium(tmp_path):
    """Everybody has played a few others; a run knows its distance to the equilibrium."""
    rng = np.random.default_rng(0)
    lines = [f"p{a},p{b},{int(rng.random() < 0.7)},{int(rng.random() < 0.3)}" for a in range(20_000)
             for b in rng.choice(20_000, 3) if a != b]  # fmt: skip
    (tmp_path / "v.csv").write_text("\n".join(["item_a,item_b,wins_a,wins_b", *lines]) + "\n")
    run = nlhf.run(["game=votes", f"game.path={tmp_path / 'v.csv'}", "beta=0.1", f"runs_dir={tmp_path}",
                    "budget.queries=300", "budget.target=null"])  # fmt: skip
    assert run.summary["equilibrium"]["certified"]
    assert run.metrics.kl_to_equilibrium.iloc[-1] < 1e-11


def test_a_score_game_is_exact_at_the_edges_of_its_cells():
    from nlhf.games.linked import ScoreGame

    scores = torch.tensor([[[0.0, 1.0, 2.0, 2.0, 3.0 - 1e-15, 1.5, 30.0, 700.0]]], dtype=torch.float64)
    game = ScoreGame(Numbered("action", 8), ("all",), scores)
    policy = policies(game, 1).exp()
    assert (game.payoff(policy) - (game.dense() @ policy[..., None])[..., 0]).abs().max() < 1e-14


def test_a_low_rank_game_has_its_rank_and_the_same_actions_whatever_follows():
    small, large = (LowRank(n, 6, 1, 1.5).build([0]) for n in (100, 70_000))
    assert (small.factors == large.factors[:, :, :100]).all()
    assert np.linalg.matrix_rank(small.dense()[0, 0].numpy()) == 6
    assert small.factors.square().sum(-1).sub(0.5).abs().max() < 1e-15
    alone, together = (LowRank(9, 4, 2, 1.0).build(seeds).factors for seeds in ([5], [2, 5]))
    assert (alone[0] == together[1]).all()


def test_a_rate_does_not_depend_on_the_number_of_actions(tmp_path):
    """The curves of a hundred and of a hundred thousand actions lie on each other."""
    found = []
    for actions in (100, 100_000):
        run = nlhf.run(["game=low_rank", f"game.actions={actions}", "beta=0.1", "budget.iterations=40",
                        "budget.target=null", "budget.queries=null", f"runs_dir={tmp_path}",
                        "equilibrium=never"])  # fmt: skip
        found.append(np.log10(run.metrics.exploitability))
    assert found[0].iloc[-1] < -7
    assert (found[0] - found[1]).abs().max() < 0.7


def test_many_actions_leave_files_without_names_and_can_be_graded(tmp_path):
    words = ["game=low_rank", "game.actions=200000", "game.rank=2", f"runs_dir={tmp_path}", "budget.iterations=2"]
    run = nlhf.run([*words, "equilibrium=never"])
    with np.load(run.folder / "policy.npz") as saved:
        assert "items" not in saved
    graded = nlhf.evaluate(run.folder / "policy.npz", [*words, "equilibrium=never"])
    assert graded["exploitability"] == pytest.approx(run.metrics.exploitability.iloc[-1], rel=1e-9)


def test_names_are_numbered_when_they_are_asked_for():
    names = Numbered("action", 10**9)
    assert len(names) == 10**9
    assert names[7] == "action7"
    assert names[-1] == "action999999999"
    assert names[2:4] == ["action2", "action3"]
    with pytest.raises(IndexError):
        names[10**9]


def test_what_needs_a_matrix_is_refused_where_it_would_be_too_large(tmp_path):
    with pytest.raises(ConfigError, match=r"game\.actions=20000 is too many for a matrix"):
        nlhf.run(["game=low_rank", "game.actions=20000", "reference=bradley_terry", f"runs_dir={tmp_path}"])


@pytest.mark.parametrize(("words", "said"), [("rank=3", "even rank"), ("rank=0", "even rank"), ("shift=-1", "range"),
                                             ("actions=1", "too small")])  # fmt: skip
def test_bad_options_are_a_sentence(words, said):
    config = configured("game=low_rank", f"game.{words}")
    with pytest.raises(ConfigError, match=said):
        build(config["game"], "game")
