"""Smith sets and strongest cycles: against brute force, and what votes exclude by hand."""

from __future__ import annotations

from itertools import combinations, permutations

import numpy as np
import pytest

from nlhf.leaderboard.cycles import Cycles
from nlhf.leaderboard.summary import examine
from nlhf.stats.smith import possible_smith, smith_set
from nlhf.stats.strongest_cycle import cycle_in_words, strongest_cycle
from tests.simulations.votes import cast_votes, matrix_of

CYCLE = matrix_of(3, np.array([0.7, 0.3, 0.7]))  # 0 beats 1 beats 2 beats 0


def drawn(rng, n, values):
    return matrix_of(n, rng.choice(values, n * (n - 1) // 2))


def smallest_dominating(preference):
    """By definition: the smallest set of items that each beat every item outside it."""
    n = len(preference)
    for size in range(1, n + 1):
        for chosen in combinations(range(n), size):
            others = [k for k in range(n) if k not in chosen]
            if all(preference[i, j] > 0.5 for i in chosen for j in others):
                return list(chosen)
    raise AssertionError


def weakest_wins(preference):
    """The weakest win of every cycle of strict majorities, by brute force."""
    n = len(preference)
    for size in range(3, n + 1):
        for first, *others in permutations(range(n), size):
            if first < min(others):
                wins = [preference[i, j] for i, j in zip([first, *others], [*others, first], strict=True)]
                if min(wins) > 0.5:
                    yield min(wins)


@pytest.mark.parametrize("values", [(0.4, 0.5, 0.6), (0.1, 0.9), tuple(np.linspace(0.05, 0.95, 11).round(2))])
def test_smith_sets_and_strongest_cycles_of_random_games_by_brute_force(values):
    rng, sizes, cycles = np.random.default_rng(0), set(), set()
    for _ in range(80):
        preference = drawn(rng, int(rng.integers(2, 7)), values)
        smith = smith_set(preference)
        assert smith == smallest_dominating(preference)
        cycle, weakest = strongest_cycle(preference), max(weakest_wins(preference), default=None)
        assert (cycle is None) == (weakest is None)
        if cycle is not None:
            wins = [preference[i, j] for i, j in zip(cycle, [*cycle[1:], cycle[0]], strict=True)]
            assert min(wins) == weakest
            assert len(set(cycle)) == len(cycle) >= 3
        sizes.add(len(smith))
        cycles.add(0 if cycle is None else len(cycle))
    assert {1, 3} <= sizes
    assert {0, 3} <= cycles


def test_a_strongest_cycle_may_have_four_items_although_shorter_cycles_exist():
    preference = matrix_of(4, np.array([0.9, 0.55, 0.1, 0.9, 0.55, 0.9]))  # 0 > 1 > 2 > 3 > 0, and weak chords
    assert strongest_cycle(preference) == [0, 1, 2, 3]


def test_words_show_as_many_digits_as_a_majority_needs():
    preference = matrix_of(3, np.array([0.62, 0.498, 0.55]))
    assert (
        cycle_in_words([0, 1, 2], preference, ("a", "b", "c"))
        == "a beats b 62:38, b beats c 55:45, c beats a 50.2:49.8"
    )
    assert cycle_in_words([2, 0], matrix_of(3, np.array([0.5, 0.4999999, 0.5])), ("a", "b", "c")).startswith(
        "c beats a narrowly"
    )


def test_many_votes_exclude_what_is_outside_and_few_exclude_nothing():
    truth = matrix_of(4, np.array([0.7, 0.3, 0.8, 0.7, 0.8, 0.8]))  # the cycle 0 > 1 > 2 > 0 beats item 3
    rng = np.random.default_rng(1)
    assert possible_smith(*cast_votes(truth, 4, 0.0, rng)) == [0, 1, 2, 3]
    assert possible_smith(*cast_votes(truth, 300, 0.0, rng)) == [0, 1, 2]
    assert possible_smith(truth) is None
    preference, votes = cast_votes(truth, 300, 0.0, rng)
    votes[:, 0, 3] = votes[:, 3, 0] = 0  # without votes on this pair, item 3 may beat item 0, and so reach all others
    preference[0, 3] = preference[3, 0] = 0.5
    assert possible_smith(preference, votes) == [0, 1, 2, 3]


@pytest.mark.parametrize(("wins", "possible"), [(15, [0]), (14, [0, 1])])
def test_two_items_are_told_apart_by_an_exact_test_of_their_majority(wins, possible):
    """The p-value of 15 of 20 votes is 0.041, that of 14 is 0.115: the two-sided binomial test."""
    preference = np.array([[0.5, wins / 20], [1 - wins / 20, 0.5]])
    votes = np.array([[[0.0, 20], [20, 0]], np.zeros((2, 2))])
    assert possible_smith(preference, votes, redraws=20_000) == possible


def test_sentences_name_the_set_the_excluded_items_and_the_cycle():
    rng, truth = np.random.default_rng(1), matrix_of(4, np.array([0.7, 0.3, 0.8, 0.7, 0.8, 0.8]))
    preference, votes = cast_votes(truth, 300, 0.0, rng)
    cycles = Cycles.of("abcd", preference, votes, None)
    first, second = cycles.lines("if votes are independent")
    assert first == (
        "Smith set, the smallest set whose items beat all others: a, b, c; with 95% confidence, the votes exclude d, "
        "if votes are independent."
    )
    assert second.startswith("Strongest cycle: a beats b ")
    assert list(Cycles.of("abc", matrix_of(3, np.array([0.7, 0.7, 0.7])), None, None).lines("")) == []


def test_the_strongest_cycle_of_tverskys_gambles_is_on_the_page():
    text = "\n".join(examine("embedded:tversky1969.csv").lines)
    assert "Strongest cycle: a beats c 68:32, c beats e 65:35, e beats a 63:37." in text
    assert "Smith set, the smallest set whose items beat all others: a, b, c, d, e." in text
