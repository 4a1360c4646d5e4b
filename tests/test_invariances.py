"""What must not matter does not: other seeds and contexts, the order of actions, sharing; and extremes stay exact."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from nlhf.algorithms.adaptive import Adaptive
from nlhf.algorithms.nash_md import NashMD
from nlhf.algorithms.nash_mp import NashMP
from nlhf.algorithms.omd import OnlineMirrorDescent
from nlhf.algorithms.optimistic import Optimistic
from nlhf.algorithms.secant import Secant
from nlhf.equilibria.metrics import Measure
from nlhf.equilibria.solve import solve
from nlhf.policies.tabular import TabularPolicy
from tests.adversarial import EPS, FAMILIES, Arena, log_policy, matrix_game

pytestmark = pytest.mark.usefixtures("one_thread")

ALGORITHMS = {
    "nash_mp": NashMP("theory"),
    "omd": OnlineMirrorDescent("theory"),
    "self_play": OnlineMirrorDescent(math.inf),
    "nash_md": NashMD("theory"),
    "optimistic": Optimistic("theory"),
    "adaptive_nash_mp": Adaptive("theory", optimistic=False, grow=1.5, shrink=0.5),
}

SECANT = {
    "secant": Secant("theory", memory=100, grow=4.0, shrink=0.25)
}  # to the bit only where its numbers are the same
and_secant = pytest.mark.parametrize("algorithm", (ALGORITHMS | SECANT).values(), ids=ALGORITHMS | SECANT)
every_algorithm = pytest.mark.parametrize("algorithm", ALGORITHMS.values(), ids=ALGORITHMS)


def contextual(draw, seeds=3, contexts=4, n=17, games=None):
    """Random games (S, X), one per seed or `games` of them, with references."""
    rng = np.random.default_rng(draw)
    families = list(FAMILIES.values())
    preference = [[families[rng.integers(8)](n, rng) for _ in range(contexts)] for _ in range(games or seeds)]
    strengths = tuple(10 ** rng.uniform(-2, 0, seeds))
    return Arena(matrix_game(np.array(preference)), log_policy(2.0, (seeds, contexts, n), rng), strengths)


def mixed(first, second, seeds=slice(None), contexts=slice(None)):
    """`first` with the values of `second` in these seeds and contexts."""
    against, log_reference = first.game.advantage.clone(), first.log_reference.clone()
    against[seeds, contexts] = second.game.advantage[seeds, contexts]
    log_reference[seeds, contexts] = second.log_reference[seeds, contexts]
    return Arena(type(first.game)(against, first.game.items, first.game.contexts), log_reference, first.strengths)


# --- seeds and contexts do not interact ------------------------------------------------------------------------------


@and_secant
def test_a_seed_keeps_its_bits_whatever_the_others_are(algorithm):
    one, other = contextual(0), contextual(1)
    changed = mixed(one, other, seeds=[0, 2])
    changed = Arena(changed.game, changed.log_reference, (other.strengths[0], one.strengths[1], other.strengths[2]))
    before, after = (torch.stack(games.policies(algorithm, 30)) for games in (one, changed))
    assert before[:, 1].equal(after[:, 1])
    assert not before[1, 0].equal(after[1, 0])


@and_secant
def test_a_seed_keeps_its_bits_in_a_game_that_all_share(algorithm):
    one, other = contextual(0, games=1), contextual(1, games=1)
    log_reference = torch.stack([other.log_reference[0], one.log_reference[1], other.log_reference[2]])
    changed = Arena(one.game, log_reference, (other.strengths[0], one.strengths[1], other.strengths[2]))
    before, after = (torch.stack(games.policies(algorithm, 30)) for games in (one, changed))
    assert before[:, 1].equal(after[:, 1])


@pytest.mark.parametrize("name", [*ALGORITHMS, "secant"])
def test_a_context_keeps_its_bits_whatever_the_others_are(name):
    one = contextual(0)
    changed = mixed(one, contextual(1), contexts=[0, 1, 3])
    before, after = (torch.stack(games.policies((ALGORITHMS | SECANT)[name], 30)) for games in (one, changed))
    assert before[:, :, 2].equal(after[:, :, 2])
    assert not before[1, :, 0].equal(after[1, :, 0])


def test_the_grade_of_a_seed_keeps_its_bits_whatever_the_others_are():
    one, other = contextual(0), contextual(1)
    changed = mixed(one, other, seeds=[0, 2])
    equilibria = torch.stack([other.log_equilibrium[0], one.log_equilibrium[1], other.log_equilibrium[2]])
    policy, average = log_policy(1.0, (2, 3, 4, 17), np.random.default_rng(5))
    before = Measure(one.game, one.log_reference, one.beta, one.log_equilibrium)(TabularPolicy(policy), average)
    after = Measure(changed.game, changed.log_reference, one.beta, equilibria)(TabularPolicy(policy), average)
    for column, values in before.items():
        assert values[1].equal(after[column][1]), column


@every_algorithm
def test_a_shared_game_is_the_same_as_a_copy_for_every_seed(algorithm):
    shared = contextual(2, games=1)
    copies = Arena(
        type(shared.game)(shared.game.advantage.repeat(3, 1, 1, 1), shared.game.items, shared.game.contexts),
        shared.log_reference,
        tuple(max(beta, 0.6) for beta in shared.strengths),  # where all algorithms contract
    )
    shared = Arena(shared.game, shared.log_reference, copies.strengths)
    for one, other in zip(shared.policies(algorithm, 40), copies.policies(algorithm, 40), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


# --- the order of the actions ----------------------------------------------------------------------------------------


@every_algorithm
@pytest.mark.parametrize("family", FAMILIES)
def test_permuting_actions_permutes_everything(algorithm, family):
    rng = np.random.default_rng(3)
    preference, order = FAMILIES[family](23, rng), rng.permutation(23)
    log_reference, strengths = log_policy(2.0, (1, 1, 23), rng), (0.7,)
    plain = Arena(matrix_game(preference), log_reference, strengths)
    permuted = Arena(matrix_game(preference[order][:, order]), log_reference[..., order], strengths)
    torch.testing.assert_close(permuted.log_equilibrium, plain.log_equilibrium[..., order], rtol=0, atol=1e-13)
    last, last_permuted = (games.policies(algorithm, 10)[-1] for games in (plain, permuted))
    torch.testing.assert_close(last_permuted, last[..., order], rtol=0, atol=1e-13)
    rows = [
        Measure(games.game, games.log_reference, games.beta, games.log_equilibrium).grade(policy)
        for games, policy in ((plain, last), (permuted, last_permuted))
    ]
    for column, value in rows[0].items():
        torch.testing.assert_close(value, rows[1][column], rtol=1e-9, atol=1e-14, msg=column)


def test_the_two_win_rates_of_two_policies_sum_to_one():
    games = contextual(4)
    policy = log_policy(1.0, (3, 4, 17), np.random.default_rng(6))
    row = Measure(games.game, games.log_reference, games.beta).grade(policy)
    reversed_roles = (games.log_reference.exp() * (games.game.payoff(policy.exp()) + 0.5)).sum(-1).mean(-1)
    torch.testing.assert_close(row["win_rate_vs_reference"], 1 - reversed_roles, rtol=1e-14, atol=0)


# --- extremes --------------------------------------------------------------------------------------------------------


def certain(n, contexts=1):
    rng = np.random.default_rng(n)
    return np.stack([FAMILIES["deterministic"](n, rng) for _ in range(contexts)])


def weights(n, smallest):
    """Log-probabilities of a reference with one weight of `smallest`."""
    return torch.tensor([smallest] + [1.0] * (n - 1), dtype=torch.float64).log().log_softmax(-1)


EXTREMES = {
    "beta of 1e-6": (certain(7), weights(7, 1.0), 1e-6),
    "beta of 1e6": (certain(7), weights(7, 1.0), 1e6),
    "weight of 1e-300": (certain(7), weights(7, 1e-300), 0.1),
    "weight of 1e-300 and beta of 1e-6": (certain(7), weights(7, 1e-300), 1e-6),
    "weight of 1e-300 and beta of 1e6": (certain(7), weights(7, 1e-300), 1e6),
    "two actions": (certain(2), weights(2, 1.0), 0.1),
    "two actions, one of 1e-300, beta of 1e-6": (certain(2), weights(2, 1e-300), 1e-6),
    "all even": (np.full((1, 5, 5), 0.5), weights(5, 1e-300), 1e-6),
    "a thousand contexts": (certain(3, contexts=1000), weights(3, 0.1), 0.05),
}


@pytest.fixture(params=EXTREMES)
def extreme(request):
    preference, reference, beta = EXTREMES[request.param]
    return Arena(matrix_game(preference), reference.expand(1, len(preference), -1).contiguous(), (beta,))


@every_algorithm
def test_policies_stay_normalised_and_finite_at_extremes(extreme, algorithm):
    policies = torch.stack(extreme.policies(algorithm, 30))
    assert policies.isfinite().all()
    assert (policies.logsumexp(-1).abs() < 1e-14).all()
    measure = Measure(extreme.game, extreme.log_reference, extreme.beta, extreme.log_equilibrium)
    row = measure(TabularPolicy(policies[-1]), policies[1])
    assert all(value.isfinite().all() for value in row.values())


def test_equilibria_are_certified_at_extremes(extreme):
    found = solve(extreme.game.dense()[0], extreme.log_reference[0], extreme.strengths[0])
    assert found.certified.all()
    assert (found.exploitability <= 10 * found.floor).all()
    assert (found.log_policy.logsumexp(-1).abs() < 1e-14).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_advantages_are_skew_symmetric_to_the_bit(family):
    preference = FAMILIES[family](31, np.random.default_rng(8))
    advantage = matrix_game(preference).dense()
    assert advantage.equal(-advantage.mT)
    torch.testing.assert_close(advantage[0, 0], torch.from_numpy(preference - 0.5), rtol=0, atol=EPS)


def test_advantages_of_printed_tables_are_skew_symmetric_to_the_bit():
    """0.3 - 1/2 and 0.7 - 1/2 are not negatives of each other in float64."""
    assert 0.3 - 0.5 != -(0.7 - 0.5)
    advantage = matrix_game(np.array([[0.5, 0.3], [0.7, 0.5]])).dense()
    assert advantage.equal(-advantage.mT)
