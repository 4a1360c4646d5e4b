"""Every game that is built is checked once: a plug-in whose answers are no preferences is refused in one sentence."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch

from nlhf.config import ConfigError
from nlhf.games.base import GameFamily
from nlhf.games.check import check_game
from nlhf.games.listed import Numbered
from nlhf.games.low_rank import LowRank
from nlhf.games.matrix import MatrixGame
from nlhf.games.preference import PreferenceTable
from nlhf.launch.compose import composed, plain
from nlhf.references.base import Reference
from nlhf.runner.assemble import assemble
from nlhf.runner.specification import specify

pytestmark = pytest.mark.usefixtures("one_thread")

P3 = np.array([[0.5, 0.9, 0.25], [0.1, 0.5, 1.0], [0.75, 0.0, 0.5]])
ROWS, ITEMS = ("all",), ("a", "b", "c")


@dataclass(frozen=True)
class Plugin(GameFamily):
    """A user's family of this table, or of this game."""

    answer: Any
    random = False

    def table(self, rng):
        return self.answer

    def structured(self, streams):
        return None if isinstance(self.answer, PreferenceTable) else self.answer


def refusal(answer):
    """The sentence with which a run of this game is refused."""
    with composed(["game=tversky"]) as config:
        run = specify(plain(config))
    with pytest.raises(ConfigError) as refused:
        assemble(replace(run, game=Plugin(answer)))
    message = str(refused.value)
    assert message.startswith("game=Plugin")
    assert message.endswith(".")
    assert "\n" not in message
    return message


def changed(i, j, value):
    table = P3.copy()
    table[i, j] = value
    return table[None]


ODD = changed(0, 1, 1.5)
ODD[0, 1, 0] = -0.5  # sums to 1 with its opposite

TABLES = {
    "above 1": (PreferenceTable(ODD, ITEMS, ROWS), "entry [0, 1] = 1.5 is outside [0, 1]"),
    "no complement": (PreferenceTable(changed(0, 1, 0.8), ITEMS, ROWS), "entry [0, 1] = 0.8", "do not sum to 1"),
    "diagonal": (PreferenceTable(changed(2, 2, 0.6), ITEMS, ROWS), "entry [2, 2] = 0.6", "do not sum to 1"),
    "nan": (PreferenceTable(changed(0, 2, np.nan), ITEMS, ROWS), "entry [0, 2] = nan"),
    "integers": (PreferenceTable(np.array([[[0, 2], [2, 0]]]), ("a", "b"), ROWS), "entry [0, 1] = 2"),
    "no contexts": (PreferenceTable(P3, ITEMS, ROWS), "preference of shape (3, 3)", "give (1, 3, 3)"),
    "too few items": (PreferenceTable(P3[None], ("a", "b"), ROWS), "preference of shape (1, 3, 3)", "give (1, 2, 2)"),
    "too many contexts": (PreferenceTable(P3[None], ITEMS, ("x", "y")), "give (2, 3, 3)"),
    "equal items": (PreferenceTable(P3[None], ("a", "b", "a"), ROWS), "items 1 and 3 are both named 'a'"),
    "equal contexts": (PreferenceTable(np.stack([P3, P3]), ITEMS, ("x", "x")), "contexts 1 and 2", "'x'"),
    "empty name": (PreferenceTable(P3[None], ("a", "", "c"), ROWS), "item 2 is named ''"),
    "number as name": (PreferenceTable(P3[None], ("a", 1, "c"), ROWS), "item 2 is named 1"),
    "votes": (PreferenceTable(P3[None], ITEMS, ROWS, votes=np.ones((2, 3, 3))), "votes of shape (2, 3, 3)"),
    "wins": (PreferenceTable(P3[None], ITEMS, ROWS, wins=-np.ones((1, 3, 3))), "wins", "right sign"),
    "features": (PreferenceTable(P3[None], ITEMS, ROWS, features=np.full((1, 2), np.inf)), "features", "finite"),
    "held out": (PreferenceTable(P3[None], ITEMS, ROWS, held_out=1), "holds out 1 of 1 contexts"),
}


@pytest.mark.parametrize("case", TABLES)
def test_a_table_that_is_no_preference_is_refused(case):
    table, *words = TABLES[case]
    message = refusal(table)
    assert all(word in message for word in words), message


@dataclass(frozen=True, eq=False)
class Wrapped:
    """A game without a matrix, and a change of its answers."""

    game: Any
    payoff_change: Any = lambda _, answer: answer
    compare_change: Any = lambda _, answer: answer

    def __getattr__(self, name):
        return getattr(self.game, name)

    def payoff(self, probabilities):
        return self.payoff_change(probabilities, self.game.payoff(probabilities))

    def compare(self, contexts, first, second):
        return self.compare_change(second - first, self.game.compare(contexts, first, second))


def structured(**changes):
    return Wrapped(LowRank(300, 4, 2, 1.0).build([0]), **changes)


STRUCTURED = {
    "payoff above 1": ({"payoff_change": lambda _, a: 20 * a}, "payoff answers P ="),
    "payoff nan": ({"payoff_change": lambda _, a: a * float("nan")}, "payoff answers P = nan"),
    "payoff shape": ({"payoff_change": lambda _, a: a[..., :-1]}, "payoff answers with shape (1, 2, 299)"),
    "payoff not skew": ({"payoff_change": lambda p, a: a + 0.01 * p}, "payoff answers P =", "their sum must be 1"),
    "payoff shifted": ({"payoff_change": lambda _, a: a + 0.001}, "payoff answers P =", "their sum must be 1"),
    "payoff of another game": ({"payoff_change": lambda _, a: a / 2}, "payoff and compare differ"),
    "compare above 1": ({"compare_change": lambda _, a: a + 1}, "compare answers P ="),
    "compare nan": ({"compare_change": lambda _, a: a * float("nan")}, "compare answers P = nan"),
    "compare shape": ({"compare_change": lambda _, a: a[..., 0]}, "compare answers with shape (1, 64)"),
    "compare not skew": ({"compare_change": lambda _, a: a.abs()}, "compare answers P =", "their sum must be 1"),
    "compare of another game": ({"compare_change": lambda d, _: 0.01 * d.sign().double()}, "payoff and compare differ"),
}


@pytest.mark.parametrize("case", STRUCTURED)
def test_a_game_without_a_matrix_that_is_no_preference_is_refused(case):
    changes, *words = STRUCTURED[case]
    message = refusal(structured(**changes))
    assert all(word in message for word in words), message


def test_a_game_without_a_matrix_that_is_one_passes():
    check_game(structured(), frozenset({"advantage", "enumerate", "pairs"}), "game=Plugin")


def test_names_of_a_game_without_a_matrix_are_unique_too():
    game = LowRank(3, 2, 1, 1.0).build([0])
    assert "items 2 and 3 are both named 'b'" in refusal(replace(game, items=("a", "b", "b")))


def test_matrices_that_a_plugin_builds_itself_are_checked_entry_by_entry():
    advantage = torch.zeros(1, 1, 100, 100, dtype=torch.float64)
    advantage[0, 0, 3, 7] = advantage[0, 0, 7, 3] = 0.4
    game = MatrixGame(advantage, Numbered("action", 100)[:], ("all",))
    assert "entry [3, 7] = 0.9 and its opposite do not sum to 1" in refusal(game)


@dataclass(frozen=True)
class Weights(Reference):
    """A user's reference with these logarithms."""

    answer: Any

    def build(self, game, seeds):
        return torch.tensor(self.answer, dtype=torch.float64)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ([[[0.0] * 5]], "do not sum to 1"),
        ([[[0.0, 0.0, -np.inf, 0.0, 0.0]]], "zero"),
        ([[[np.nan] * 5]], "infinite"),
        ([[[-np.log(4)] * 4]], "has shape (1, 1, 4): give (1, 1, 5)"),
    ],
)
def test_a_reference_that_is_no_policy_is_refused(answer, words):
    with composed(["game=tversky"]) as config:
        run = specify(plain(config))
    with pytest.raises(ConfigError, match=r"^reference=Weights ") as refused:
        assemble(replace(run, reference=Weights(answer)))
    assert words in str(refused.value)


def test_a_scale_that_overflows_is_refused():
    with composed(["game=tversky", "reference=random", "reference.scale=1e308"]) as config:
        run = specify(plain(config))
    with pytest.raises(ConfigError, match=r"^reference=RandomLogits .*nearer to each other"):
        assemble(run)
