"""Where preference probabilities come from: votes, matrices on the disk, generated games; and reference policies."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import nlhf
from nlhf.config import ConfigError, build
from nlhf.games.matrix_file import MatrixFile
from nlhf.games.random_tournament import RandomTournament
from nlhf.games.rock_paper_scissors import RockPaperScissors
from nlhf.io.inputs import InputFile
from nlhf.numerics.streams import stream
from nlhf.references.base import FromFile, RandomLogits, Uniform

pytestmark = pytest.mark.usefixtures("one_thread")

DATA = Path(__file__).resolve().parent / "data"
HEAD = "item_a,item_b,wins_a,wins_b\n"


def votes(path, **options):
    """A family of votes as a config with these differences from conf/game/votes.yaml builds it."""
    defaults = {
        "context": [],
        "where": {},
        "drop": [],
        "pseudo_count": 0,
        "unseen": "half",
        "cluster": [],
        "bootstrap": False,
    }
    return build({"_target_": "nlhf.games.votes.Votes", "path": str(path), **defaults, **options}, "game")


@pytest.fixture
def counted(tmp_path):
    """P of a CSV's text as a dict of (row, column) -> probability, for files without contexts."""

    def table(text, **options):
        instance = drawn(written(tmp_path, text), **options)
        assert instance.contexts == ("all",)
        pairs = itertools.product(range(len(instance.items)), repeat=2)
        return {(instance.items[i], instance.items[j]): instance.preference[0, i, j] for i, j in pairs}

    return table


def written(folder, text):
    path = folder / "votes.csv"
    path.write_text(text, encoding="utf-8")
    return path


def drawn(path, seed=0, **options):
    return votes(path, **options).table(stream(seed, "game"))


# --- votes -----------------------------------------------------------------------------------------------------------


def test_a_preference_is_the_share_of_the_votes(counted):
    P = counted(HEAD + "a,b,3,1\n")
    assert P == {("a", "a"): 0.5, ("a", "b"): 0.75, ("b", "a"): 0.25, ("b", "b"): 0.5}


def test_a_tie_is_half_a_win_for_each(counted):
    assert counted(HEAD + "a,b,1,0\na,b,0.5,0.5\n")["a", "b"] == 1.5 / 2
    assert counted(HEAD + "a,b,1.5,0.5\n")["a", "b"] == 1.5 / 2


def test_all_rows_of_a_pair_are_summed_in_both_orders(counted):
    assert counted(HEAD + "a,b,2,1\nb,a,3,0\na,b,0,1\n")["a", "b"] == 2 / 7


def test_counts_may_be_any_numbers(counted):
    assert counted(HEAD + "a,b,504.434,495.566\n")["a", "b"] == pytest.approx(0.504434, rel=1e-15)


def test_pseudo_votes_are_added_to_both_sides_of_pairs_with_votes(counted):
    P = counted(HEAD + "a,b,3,1\nb,c,2,0\n", pseudo_count=0.5)
    assert (P["a", "b"], P["b", "c"], P["c", "b"]) == (3.5 / 5, 2.5 / 3, 0.5 / 3)
    assert P["a", "c"] == P["a", "a"] == 0.5


def test_columns_of_contexts_split_the_votes(tmp_path):
    path = written(tmp_path, "q,turn,item_a,item_b,wins_a,wins_b\n1,1,a,b,1,0\n1,2,a,b,0,1\n2,1,b,a,3,1\n")
    by_question = drawn(path, context=["q"])
    assert by_question.contexts == ("1", "2")
    assert by_question.preference[:, 0, 1].tolist() == [0.5, 0.25]
    assert drawn(path).preference[:, 0, 1].tolist() == [2 / 6]
    both = drawn(path, context=["q", "turn"])
    assert dict(zip(both.contexts, both.preference[:, 0, 1], strict=True)) == {"1/1": 1.0, "1/2": 0.0, "2/1": 0.25}


def test_contexts_and_items_are_sorted_as_people_do(tmp_path):
    rows = [f"{q},{a},{b},1,2\n" for q in ("10", "9", "x", "2.5", "1") for a, b in (("10", "9"), ("b", "2"))]
    instance = drawn(written(tmp_path, "q," + HEAD + "".join(rows)), context=["q"])
    assert instance.contexts == ("1", "2.5", "9", "10", "x")
    assert instance.items == ("2", "9", "10", "b")


@pytest.mark.parametrize(
    ("where", "wins"),
    [
        ({"judge": "human"}, 3),
        ({"judge": ["human", "gpt4"]}, 7),
        ({"q": 1}, 1),
        ({"q": 1.0}, 1),
        ({"q": "1"}, 1),
        ({"q": [1, 2]}, 3),
        ({"q": 2.5}, 4),
        ({"q": [2.5, "2"], "judge": "human"}, 2),
        ({"q": 1234567}, 8),
        (None, 15),
    ],
)
def test_where_keeps_rows_by_one_value_or_a_list(counted, where, wins):
    rows = "human,1,a,b,1,1\nhuman,2,a,b,2,2\ngpt4,2.5,a,b,4,0\nnobody,1234567,a,b,8,0\n"
    total = {3: 6, 7: 10, 1: 2, 4: 4, 2: 4, 8: 8, 15: 18}[wins]
    assert counted("judge,q," + HEAD + rows, where=where)["a", "b"] == wins / total


def test_dropped_items_leave_the_other_pairs_alone(counted):
    P = counted(HEAD + "a,b,3,1\nb,c,2,0\nc,a,1,9\n", drop=["b"])
    assert set(itertools.chain(*P)) == {"a", "c"}
    assert P["a", "c"] == 0.9


def test_pairs_without_a_vote_are_even_by_default(counted):
    P = counted(HEAD + "a,b,3,1\nb,c,2,0\na,c,0,0\n")
    assert P["a", "c"] == P["c", "a"] == 0.5


def test_drop_item_leaves_out_the_item_that_lacks_most(counted):
    P = counted(HEAD + "a,b,3,1\nb,c,2,0\nc,a,1,0\na,d,1,1\n", unseen="drop_item")
    assert set(itertools.chain(*P)) == {"a", "b", "c"}
    assert (P["a", "b"], P["b", "c"], P["c", "a"]) == (0.75, 1.0, 1.0)


def test_drop_item_looks_at_every_context(tmp_path):
    full = [f"1,{a},{b},1,0\n" for a, b in (("a", "b"), ("b", "c"), ("c", "a"))]
    path = written(tmp_path, "q," + HEAD + "".join(full) + "2,b,c,1,1\n")
    instance = drawn(path, context=["q"], unseen="drop_item")
    assert (instance.items, instance.preference.shape) == (("b", "c"), (2, 2, 2))


def test_a_missing_pair_can_be_refused_by_name(counted):
    with pytest.raises(ConfigError, match=r"no vote on a against c in context all .*game\.unseen=half"):
        counted(HEAD + "a,b,3,1\nb,c,2,0\n", unseen="refuse")
    assert counted(HEAD + "a,b,3,1\n", unseen="refuse")["a", "b"] == 0.75


PRIMES = HEAD + "a,b,5,2\nb,c,3,8\nc,a,6,7\n"  # 7, 11 and 13 votes


@pytest.fixture
def resampled(tmp_path):
    """P[a, b], P[b, c], P[c, a] of many seeds."""

    def draw(text, seeds, **options):
        family = votes(written(tmp_path, text), bootstrap=True, **options)
        assert family.random
        tables = [family.table(stream(seed, "game")).preference[0] for seed in range(seeds)]
        assert all(np.abs(P + P.T - 1).max() < 1e-15 for P in tables)
        return np.array([[P[0, 1], P[1, 2], P[2, 0]] for P in tables])

    return draw


def test_bootstrap_keeps_the_number_of_votes_on_every_pair(resampled):
    wins = resampled(PRIMES, 100) * [7, 11, 13]
    assert np.abs(wins - wins.round()).max() < 1e-12
    assert (np.ptp(wins, axis=0) >= 5).all()


def test_bootstrap_is_a_binomial_draw_around_the_raw_shares(resampled):
    draws, share, number = resampled(PRIMES, 1500), np.array([5 / 7, 3 / 11, 6 / 13]), np.array([7, 11, 13])
    variance = share * (1 - share) / number
    assert (np.abs(draws.mean(0) - share) < 4 * np.sqrt(variance / 1500)).all()
    assert draws.var(0) == pytest.approx(variance, rel=0.15)  # relative standard error of a variance: sqrt(2/1500)
    assert np.abs(np.corrcoef(draws.T) - np.eye(3)).max() < 0.12  # pairs are drawn independently


def test_bootstrap_draws_ties_as_ties(resampled):
    assert (resampled(HEAD + "a,b,0.5,0.5\na,b,0.5,0.5\nb,c,1,1\nc,a,1,0\n", 50)[:, [0, 2]] == [0.5, 1.0]).all()
    halves = resampled(HEAD + "a,b,0.5,0.5\na,b,1,0\nb,c,1,1\nc,a,1,0\n", 50)[:, 0]
    assert set(halves) == {0.5, 0.75, 1.0}


def test_bootstrap_gives_a_seed_the_same_bits_alone_and_in_company(tmp_path):
    family = votes(written(tmp_path, PRIMES), bootstrap=True)
    together, alone = family.build([3, 1, 4]).dense(), family.build([1]).dense()
    assert (together[1] == alone[0]).all()
    assert (together[0] != together[1]).any()
    assert (together[0] != together[2]).any()


@pytest.mark.parametrize("row", ["a,b,1.3,2\n", "a,b,1,0.5\n", "a,b,0.25,0.75\n"])
def test_bootstrap_needs_votes_that_can_be_drawn(resampled, row):
    with pytest.raises(ConfigError, match=r"game\.bootstrap=true needs whole votes"):
        resampled(HEAD + row + "b,c,1,1\nc,a,1,1\n", 1)


def test_bootstrap_leaves_no_pair_without_votes_that_had_some(tmp_path):
    family = votes(written(tmp_path, HEAD + "a,b,1,1\nb,c,1,1\nc,a,1,1\n"), bootstrap=True, unseen="drop_item")
    assert family.build([0, 1, 2]).items == ("a", "b", "c")


# --- real votes, against numbers that were measured without nlhf (tests/data/README.md) ------------------------------


def strict_winner(P):
    """The item that beats every other one, or None."""
    winners = [i for i in range(len(P)) if (np.delete(P[i], i) > 0.5).all()]
    return winners[0] if winners else None


def cyclic_triples(P):
    beats = P > 0.5
    triples = itertools.combinations(range(len(P)), 3)
    return sum((beats[i, j] and beats[j, k] and beats[k, i]) or (beats[j, i] and beats[k, j] and beats[i, k])
               for i, j, k in triples)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "drop", "items", "cycles", "winner"),
    [
        ("tversky1969", [], 5, 4, None),
        ("vicuna80_human", [], 8, 1, "gpt4"),
        ("vicuna80_human", ["gpt4"], 7, 1, None),
        ("mtbench_human", [], 6, 0, "gpt-4"),
    ],
)
def test_the_embedded_tables_have_the_published_cycles_and_winners(name, drop, items, cycles, winner):
    instance = drawn(f"embedded:{name}.csv", drop=drop)
    P = instance.preference[0]
    best = strict_winner(P)
    assert (len(P), cyclic_triples(P), best if best is None else instance.items[best]) == (items, cycles, winner)


def test_the_von_neumann_winner_of_the_lotteries_is_the_published_one():
    P = drawn("embedded:tversky1969.csv").preference[0]
    assert np.exp(nlhf.equilibrium(P, beta=0).log_policy) == pytest.approx([0.635, 0, 0, 0.333, 0.032], abs=1e-3)


@pytest.fixture(scope="module")
def vicuna():
    path = DATA / "vicuna80.csv"
    return path, drawn(path, context=["question_id"], where={"judge": "human"})


def test_vicuna_by_question_is_eighty_games_of_eight_models(vicuna):
    _, instance = vicuna
    P = instance.preference
    assert P.shape == (80, 8, 8)
    assert instance.contexts == tuple(str(number) for number in range(1, 81))
    assert np.abs(P + P.swapaxes(1, 2) - 1).max() < 1e-15
    assert P.sum((1, 2)) == pytest.approx(np.full(80, 32.0), rel=1e-15)
    assert np.unique((P * 6).round(9)).tolist() == [0, 1, 2, 3, 4, 5, 6]  # three votes with ties a pair
    assert sum(strict_winner(game) is None for game in P) == 54  # tests/data/README.md
    assert np.mean([cyclic_triples(game) for game in P]) == pytest.approx(4.2, abs=0.05)  # the same


def test_vicuna_by_question_has_the_row_sums_that_pandas_finds(vicuna):
    path, instance = vicuna
    rows = pd.read_csv(path).query("judge == 'human'")
    there = rows.rename(columns={"item_a": "item", "item_b": "other", "wins_a": "wins", "wins_b": "losses"})
    back = rows.rename(columns={"item_b": "item", "item_a": "other", "wins_b": "wins", "wins_a": "losses"})
    pairs = pd.concat([there, back]).groupby(["question_id", "item", "other"])[["wins", "losses"]].sum()
    shares = (pairs["wins"] / (pairs["wins"] + pairs["losses"])).groupby(["question_id", "item"]).sum().unstack()
    expected = shares[list(instance.items)].to_numpy() + 0.5  # and the diagonal
    assert np.abs(instance.preference.sum(2) - expected).max() < 1e-14


# --- matrices on the disk ---------------------------------------------------------------------------------------------

P3 = np.array([[0.5, 0.9, 0.25], [0.1, 0.5, 1.0], [0.75, 0.0, 0.5]])
CONTEXTS = np.stack([P3, P3.T])


def read(path):
    return MatrixFile(InputFile(str(path), "game.path")).table(stream(0, "game"))


@pytest.mark.parametrize("preference", [P3, CONTEXTS, P3.astype(np.float32), np.array([[0.5, 1], [0, 0.5]])])
def test_npy_files_hold_one_matrix_or_one_per_context(tmp_path, preference):
    np.save(tmp_path / "P.npy", preference)
    instance = read(tmp_path / "P.npy")
    assert (instance.preference == preference).all()
    assert instance.preference.dtype == np.float64
    assert instance.preference.ndim == 3
    assert instance.items == tuple(f"item{i}" for i in range(preference.shape[-1]))
    assert instance.contexts == (("context0", "context1") if preference.ndim == 3 else ("context0",))


def test_npz_files_bring_names(tmp_path):
    np.savez(tmp_path / "P.npz", preference=CONTEXTS, items=["x", "y", "z"], contexts=["p", "q"], other=[1])
    instance = read(tmp_path / "P.npz")
    assert (instance.preference == CONTEXTS).all()
    assert (instance.items, instance.contexts) == (("x", "y", "z"), ("p", "q"))


def test_npz_files_with_a_single_array_need_no_name_for_it(tmp_path):
    np.savez(tmp_path / "P.npz", P3)
    assert (read(tmp_path / "P.npz").preference[0] == P3).all()


@pytest.mark.parametrize("header", ["", "x, y ,z\n", "\ufeffx,y,z\n"])
def test_csv_files_may_begin_with_item_names(tmp_path, header):
    text = header + "\n".join(",".join(map(repr, row)) for row in P3.tolist()) + "\n\n"
    (tmp_path / "P.csv").write_text(text, encoding="utf-8")
    instance = read(tmp_path / "P.csv")
    assert (instance.preference[0] == P3).all()
    assert instance.items == (("x", "y", "z") if header else ("item0", "item1", "item2"))


def test_the_game_that_a_run_leaves_behind_can_be_played_again(tmp_path):
    first = ["game=random_tournament", "game.actions=4", "game.contexts=2", "seeds=[3]"]
    limits = [f"runs_dir={tmp_path}", "budget.iterations=2", "progress=false"]
    run = nlhf.run([*first, *limits])
    again = nlhf.run(["game=matrix", f"game.path={run.folder / 'game.npz'}", *limits])
    assert np.abs(again.log_policy - run.log_policy).max() < 1e-12
    with np.load(run.folder / "policy.npz") as old, np.load(again.folder / "policy.npz") as new:
        for names in ("items", "contexts"):
            assert old[names].tolist() == new[names].tolist()


# --- generated games -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("actions", [3, 5, 7])
@pytest.mark.parametrize("win", [0.9, 1.0, 0.2])
def test_every_action_of_an_odd_cycle_beats_the_half_before_it(actions, win):
    instance = RockPaperScissors(actions, win).table(stream(0, "game"))
    P = instance.preference[0]
    for i, j in itertools.product(range(actions), repeat=2):
        before = (i - j) % actions
        assert P[i, j] == (0.5 if before == 0 else win if before <= (actions - 1) // 2 else 1 - win)
    assert np.abs(P + P.T - 1).max() < 1e-15
    assert P.sum(1) == pytest.approx(np.full(actions, actions / 2), rel=1e-15)  # uniform is the equilibrium
    assert len(instance.items) == actions


def test_paper_beats_rock_scissors_paper_and_rock_scissors():
    instance = RockPaperScissors(3, 0.9).table(stream(0, "game"))
    item = {name: index for index, name in enumerate(instance.items)}
    for winner, loser in (("paper", "rock"), ("scissors", "paper"), ("rock", "scissors")):
        assert instance.preference[0, item[winner], item[loser]] == 0.9


def test_rock_paper_scissors_is_one_game_for_all_seeds():
    assert len(RockPaperScissors(3, 0.9).build([0, 1, 2]).dense()) == 1


def test_a_random_tournament_is_uniform_and_complementary():
    P = RandomTournament(60, 3).table(stream(0, "game")).preference
    assert P.shape == (3, 60, 60)
    assert np.abs(P + P.swapaxes(1, 2) - 1).max() < 1e-15
    assert (np.diagonal(P, axis1=1, axis2=2) == 0.5).all()
    entries = np.sort(P[:, *np.triu_indices(60, 1)].ravel())
    ranks = (np.arange(len(entries)) + 0.5) / len(entries)
    assert np.abs(entries - ranks).max() < 1.95 / np.sqrt(len(entries))  # Kolmogorov-Smirnov, p = 0.001
    assert (P[0] != P[1])[~np.eye(60, dtype=bool)].all()


def test_seeds_draw_their_own_tournaments_whatever_their_company():
    family = RandomTournament(5, 2)
    together, alone = family.build([0, 7]).dense(), family.build([7]).dense()
    assert (together[1] == alone[0]).all()
    off = ~np.eye(5, dtype=bool)
    assert (together[0] != together[1]).numpy()[:, off].all()
    assert (together == -together.mT).all()  # skew-symmetric to the bit


def test_every_algorithm_meets_the_same_instances(tmp_path):
    options = ["game=random_tournament", "game.actions=4", "reference=random", "seeds=[0,5]", "budget.iterations=0"]
    saved = []
    for algorithm in ("nash_mp", "omd"):
        run = nlhf.run([*options, f"algorithm={algorithm}", f"runs_dir={tmp_path}", "progress=false"])
        with np.load(run.folder / "game.npz") as game:
            saved.append(dict(game))
    for name in ("preference", "log_reference", "log_equilibrium"):
        assert (saved[0][name] == saved[1][name]).all()
    assert np.abs(saved[0]["preference"][0] - saved[0]["preference"][1]).max() > 0.1
    assert np.abs(saved[0]["log_reference"][0] - saved[0]["log_reference"][1]).max() > 0.1


# --- references ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def game():
    """Two contexts, three actions."""
    return RandomTournament(3, 2).build([0])


def test_the_uniform_reference_is_shared_by_all_seeds(game):
    log_reference = Uniform().build(game, [0, 1, 2]).numpy()
    assert log_reference.shape == (1, 2, 3)
    assert np.abs(log_reference + np.log(3)).max() < 1e-15


def test_random_references_have_normal_logits_of_the_given_scale():
    logits = RandomLogits(3.0).logits(40, 100, stream(0, "reference"))
    assert logits.std() == pytest.approx(3.0, rel=0.05)  # standard error of a standard deviation: 1/sqrt(2*4000)
    assert abs(logits.mean()) < 4 * 3 / np.sqrt(4000)


def test_random_references_are_normalised_and_drawn_by_each_seed_alone(game):
    together, alone = RandomLogits(1.0).build(game, [4, 9]), RandomLogits(1.0).build(game, [9])
    assert together.shape == (2, 2, 3)
    assert together.exp().sum(-1).numpy() == pytest.approx(np.ones((2, 2)), rel=1e-15)
    assert (together[1] == alone[0]).all()
    assert (together[0] != together[1]).all()
    assert (together[0, 0] != together[0, 1]).all()


def save_weights(path, weights):
    if path.suffix == ".npy":
        np.save(path, weights)
    else:
        path.write_text("".join(",".join(map(repr, row)) + "\n" for row in np.atleast_2d(weights).tolist()))


@pytest.mark.parametrize("shape", [(3,), (1, 3), (3, 1)])
@pytest.mark.parametrize("ending", ["csv", "npy"])
def test_weights_from_a_file_are_normalised_and_serve_every_context(game, tmp_path, shape, ending):
    weights = np.array([1.0, 2.0, 5.0]).reshape(shape)
    save_weights(tmp_path / f"w.{ending}", weights)
    log_reference = FromFile(InputFile(str(tmp_path / f"w.{ending}"), "reference.path")).build(game, [0, 1]).numpy()
    assert np.exp(log_reference) == pytest.approx(np.broadcast_to([0.125, 0.25, 0.625], (1, 2, 3)), rel=1e-15)


@pytest.mark.parametrize("ending", ["csv", "npy"])
def test_weights_from_a_file_may_differ_by_context(game, tmp_path, ending):
    save_weights(tmp_path / f"w.{ending}", np.array([[1.0, 1.0, 2.0], [3.0, 1.0, 1.0]]))
    log_reference = FromFile(InputFile(str(tmp_path / f"w.{ending}"), "reference.path")).build(game, [0]).numpy()
    assert np.exp(log_reference[0]) == pytest.approx(np.array([[0.25, 0.25, 0.5], [0.6, 0.2, 0.2]]), rel=1e-15)
