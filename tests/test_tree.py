"""Conversations of several turns: soft backward induction, rates for any horizon, and independent equilibria."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.optimize import linprog, minimize

import nlhf
from nlhf.algorithms.adaptive import Adaptive
from nlhf.algorithms.mtpo import MTPO
from nlhf.algorithms.nash_md import NashMD
from nlhf.algorithms.nash_mp import NashMP
from nlhf.algorithms.omd import OnlineMirrorDescent
from nlhf.algorithms.optimistic import Optimistic
from nlhf.config import ConfigError, build
from nlhf.equilibria import solve as reference_equilibrium
from nlhf.equilibria.metrics import best_response, exploitability_of
from nlhf.games.tree import RandomTree
from nlhf.numerics import simplex
from nlhf.policies.tabular import TabularPolicy
from nlhf.runner.specification import specify
from tests.adversarial import exact
from tests.composing import configured

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPES = ((2, 3, 2), (2, 4, 3), (3, 2, 2), (4, 2, 1))  # turns, actions, replies
HORIZONS = pytest.mark.parametrize("shape", SHAPES, ids=str)
SEEDS = [0, 1, 2, 3]
BETAS = (1.0, 0.3, 0.1, 0.02)


class Problem:
    """Four trees, one per seed, each with its own beta and with normal logits of the reference."""

    def __init__(self, shape, betas=BETAS, scale=1.0):
        self.game = RandomTree(*shape).build(SEEDS)
        self.tree, self.betas = self.game.tree, betas
        self.beta = torch.tensor(betas, dtype=torch.float64)[:, None, None]
        logits = scale * torch.from_numpy(np.random.default_rng(5).standard_normal((4, 1, len(self.game.items))))
        self.log_reference = self.tree.with_replies(logits.log_softmax(-1))

    def equilibrium(self):
        n = len(self.game.items)
        solved = [
            reference_equilibrium.solve(
                self.game.dense()[seed], self.log_reference[seed], beta, self.tree.part([seed]).flat()
            )
            for seed, beta in enumerate(self.betas)
        ]
        assert all(bool(one.certified.all()) for one in solved)
        return torch.stack([one.log_policy for one in solved]).view(4, 1, n)

    def policies(self, algorithm, iterations, start=None):
        """Log-probabilities after every iteration, and the queries that the last one has taken."""
        prox, bound = exact(self.game, TabularPolicy(self.log_reference), self.beta), algorithm.bind(self.beta)
        state = bound.init(TabularPolicy(self.log_reference if start is None else start))
        policies = [state.policy.log_probabilities]
        for _ in range(iterations):
            state = bound.update(state, prox)
            policies.append(state.policy.log_probabilities)
        return policies, int(prox.queries[0])

    def random_policy(self, draw, scale=1.0):
        rng = np.random.default_rng(draw)
        return self.tree.nearest(torch.from_numpy(scale * rng.standard_normal(self.log_reference.shape)))


def turn_by_turn(tree, seed, function):
    """The sum over nodes of the probability of a node times `function(node)`, by recursion over nodes.

    Args:
        function: of the turn and the number of the node.
    """

    def value(turn, node, own):
        answers = tree.answers[turn]
        total = function(turn, node)
        if turn + 1 < len(tree.answers):
            for answer in range(answers):
                replies = tree.replies[turn][seed, 0, node * answers + answer].tolist()
                for number, chance in enumerate(replies):
                    child = (node * answers + answer) * len(replies) + number
                    total += own[turn][node][answer] * chance * value(turn + 1, child, own)
        return total

    return value


@HORIZONS
def test_kl_of_conversations_is_the_sum_of_the_expected_kl_of_turns(shape):
    problem = Problem(shape)
    first, second = problem.random_policy(1), problem.random_policy(2)
    own, other = ([turn.numpy() for turn in problem.tree.turns(policy)] for policy in (first, second))
    for seed in SEEDS:
        shares = [np.exp(turn[seed, 0]) for turn in own]

        def kl(turn, node, seed=seed, shares=shares):
            return float((shares[turn][node] * (own[turn][seed, 0, node] - other[turn][seed, 0, node])).sum())

        by_turns = turn_by_turn(problem.tree, seed, kl)(0, 0, shares)
        assert simplex.kl(first, second)[seed, 0].item() == pytest.approx(by_turns, rel=1e-12)


@HORIZONS
def test_every_policy_gives_replies_their_probabilities(shape):
    problem = Problem(shape)
    policy = problem.random_policy(1)
    assert policy.exp().sum(-1).allclose(torch.ones(4, 1, dtype=torch.float64), rtol=1e-14)
    assert problem.tree.contains(policy)
    moved = (policy + 0.1 * problem.random_policy(3)).log_softmax(-1)
    assert problem.tree.contains(moved) is (shape[2] == 1)
    table = policy.exp()[0, 0].reshape(shape[1], shape[2], -1).sum(-1)
    given = table / table.sum(1, keepdim=True)
    assert given.allclose(problem.tree.replies[0][0, 0], rtol=1e-12)


@HORIZONS
def test_backward_induction_maximises_the_proximal_problem(shape):
    """No policy of the tree does better, and the gap to any of them is kappa KL, as on a simplex."""
    problem, step = Problem(shape), torch.full((4, 1, 1), 3.0, dtype=torch.float64)
    prox = exact(problem.game, TabularPolicy(problem.log_reference), problem.beta)
    opponent, anchor = TabularPolicy(problem.random_policy(1)), TabularPolicy(problem.random_policy(2))
    solution = prox(opponent=opponent, anchor=anchor, step_size=step).log_probabilities
    gains = problem.game.payoff(opponent.probabilities)

    def objective(policy):
        regularised = problem.beta[:, 0] * simplex.kl(policy, problem.log_reference)
        moved = simplex.kl(policy, anchor.log_probabilities) / step[:, 0]
        return simplex.mean_under(policy, gains) - regularised - moved

    kappa = problem.beta[:, 0] + 1 / step[:, 0]
    for draw, scale in itertools.product(range(3, 8), (0.1, 3.0)):
        other = problem.random_policy(draw, scale)
        gap = objective(solution) - objective(other)
        torch.testing.assert_close(gap, kappa * simplex.kl(other, solution), rtol=1e-9, atol=1e-13)


@HORIZONS
def test_identity_m_holds_for_any_half_step(shape):
    """KL(p*||n) + lambda beta [KL(p*||n) + KL(h||p*)] = KL(p*||a) - KL(h||a) + (1 + lambda beta) KL(h||n)."""
    problem = Problem(shape)
    equilibrium = problem.equilibrium()
    step = torch.full((4, 1, 1), 1.7, dtype=torch.float64)
    prox = exact(problem.game, TabularPolicy(problem.log_reference), problem.beta)
    half, anchor = problem.random_policy(1), problem.random_policy(2)
    new = prox(opponent=TabularPolicy(half), anchor=TabularPolicy(anchor), step_size=step).log_probabilities
    growth = (1 + step * problem.beta)[:, 0]
    left = growth * simplex.kl(equilibrium, new) + (growth - 1) * simplex.kl(half, equilibrium)
    right = simplex.kl(equilibrium, anchor) - simplex.kl(half, anchor) + growth * simplex.kl(half, new)
    torch.testing.assert_close(left, right, rtol=1e-8, atol=1e-12)
    assert (left > 1e-3).all()


RATES = {
    "nash_mp": (NashMP("theory"), lambda beta, k: (1 + 2 * beta) ** -k),
    "optimistic": (Optimistic("theory"), lambda beta, k: (1 + beta * (beta + (beta**2 + 4) ** 0.5) / 2) ** -k),
    "omd": (OnlineMirrorDescent("theory"), lambda beta, k: (1 + 4 * beta**2) ** -k),
    "adaptive_nash_mp": (  # a rejected step waits
        Adaptive("theory", optimistic=False, grow=1.5, shrink=0.5),
        lambda beta, k: (1 + 2 * beta) ** (-k / 2),
    ),
}


@HORIZONS
@pytest.mark.parametrize("name", RATES)
def test_rates_of_one_turn_hold_for_any_horizon(name, shape):
    problem, (algorithm, rate) = Problem(shape), RATES[name]
    equilibrium = problem.equilibrium()
    policies, _ = problem.policies(algorithm, 60)
    start = simplex.kl(equilibrium, policies[0])
    for k in (1, 5, 20, 60):
        bound = rate(problem.beta[:, 0], float(k)) * start
        assert (simplex.kl(equilibrium, policies[k]) <= bound * (1 + 1e-9) + 1e-26).all()
        assert problem.tree.contains(policies[k])


@HORIZONS
def test_nash_md_keeps_its_bound_with_the_nearest_policy_to_its_mixture(shape):
    problem = Problem(shape)
    equilibrium = problem.equilibrium()
    policies, _ = problem.policies(NashMD("theory"), 100)
    for k in (1, 10, 100):
        assert (simplex.kl(equilibrium, policies[k]) <= 1 / (2 * problem.beta[:, 0] ** 2 * (k + 1))).all()


def test_an_opponent_outside_the_tree_becomes_the_nearest_policy():
    problem = Problem((2, 3, 2))
    first, second = problem.random_policy(1), problem.random_policy(2)
    mixture = TabularPolicy(first.lerp(second, 0.5).log_softmax(-1))
    assert not problem.tree.contains(mixture.log_probabilities)
    prox = exact(problem.game, TabularPolicy(problem.log_reference), problem.beta)
    nearest = problem.tree.nearest(mixture.log_probabilities)
    assert prox.advantage(mixture).allclose(problem.game.payoff(nearest.exp()), rtol=1e-13)
    for draw in range(3, 8):
        other = problem.random_policy(draw)
        excess = simplex.kl(other, mixture.log_probabilities) - simplex.kl(nearest, mixture.log_probabilities)
        torch.testing.assert_close(excess, simplex.kl(other, nearest), rtol=1e-10, atol=1e-14)


# --- MTPO ------------------------------------------------------------------------------------------------------------


def test_mtpo_by_hand():
    """Every node by recursion, as in arXiv:2405.14655."""
    problem, turns = Problem((2, 3, 2)), 2
    (start, after), _ = problem.policies(MTPO(0.8), 1, start=problem.random_policy(1))
    tree = problem.tree
    assert len(tree.answers) == turns
    own, reference, result = (tree.turns(policy) for policy in (start, problem.log_reference, after))
    gains = problem.game.payoff(start.exp())
    for seed, beta in enumerate(problem.betas):
        eta = 0.8 / (1 + 0.8 * beta)
        last = gains[seed, 0].view(6, 3)
        log_ratio = own[1][seed, 0] - reference[1][seed, 0]
        value = (own[1][seed, 0].exp() * (last - beta * log_ratio)).sum(-1).view(3, 2)
        first = (tree.replies[0][seed, 0] * value).sum(-1)
        for turn, values in ((0, first[None]), (1, last)):
            base = (1 - eta * beta) * own[turn][seed, 0] + eta * beta * reference[turn][seed, 0]
            expected = (base + eta * values).log_softmax(-1)
            assert result[turn][seed, 0].allclose(expected, rtol=1e-12)


def test_mtpo_converges_slower_than_nash_mp_at_a_small_beta():
    problem = Problem((2, 3, 2), betas=(0.01,) * 4)
    equilibrium = problem.equilibrium()
    local, queries = problem.policies(MTPO("theory"), 2000)
    together, charged = problem.policies(NashMP("theory"), 1000)
    assert queries == charged == 2000
    slow, fast = (simplex.kl(equilibrium, policies[-1]) for policies in (local, together))
    assert (slow < 0.01).all()
    assert (slow > 10 * fast).all()
    assert slow.mean() > 1e4 * fast.mean()


@HORIZONS
def test_the_equilibrium_is_a_fixed_point(shape):
    problem = Problem(shape)
    equilibrium = problem.equilibrium()
    for algorithm in (NashMP("theory"), MTPO(2.0), OnlineMirrorDescent("theory")):
        after = problem.policies(algorithm, 1, start=equilibrium)[0][-1]
        assert (simplex.kl(equilibrium, after) < 1e-24).all()


# --- one turn, and no chance -----------------------------------------------------------------------------------------


def test_without_chance_a_tree_is_the_matrix_game_over_its_conversations():
    problem = Problem((3, 2, 1))
    n = len(problem.game.items)
    for algorithm in (NashMP("theory"), Optimistic("theory")):
        policies, _ = problem.policies(algorithm, 20)
        matrix = RandomTree(1, n, 1).build(SEEDS)
        assert matrix.advantage.equal(problem.game.advantage)
        prox, bound = exact(matrix, TabularPolicy(problem.log_reference), problem.beta), algorithm.bind(problem.beta)
        state = bound.init(TabularPolicy(problem.log_reference))
        for _ in range(20):
            state = bound.update(state, prox)
        torch.testing.assert_close(policies[-1], state.policy.log_probabilities, rtol=1e-12, atol=1e-12)


# --- equilibria by other methods -------------------------------------------------------------------------------------


def plans(tree, seed):
    """All pure plans, an answer for every node, as distributions over conversations: (plans, n)."""
    first, second = tree.answers
    replies = tree.replies[0].shape[-1]
    zeros = torch.zeros(1, 1, first * replies * second, dtype=torch.float64)
    weight = (tree.part([seed]).with_replies(zeros).exp() * first * second)[0, 0].numpy()
    rows = []
    for answer, *others in itertools.product(range(first), *[range(second)] * replies):
        row = np.zeros((first, replies, second))
        for reply, other in enumerate(others):
            row[answer, reply, other] = 1
        rows.append(row.ravel() * weight)
    return np.array(rows)


def test_beta_zero_against_a_linear_programme_over_pure_plans():
    problem = Problem((2, 3, 2), betas=(0.0,) * 4)
    equilibrium = problem.equilibrium()
    for seed in SEEDS:
        pure, advantage = plans(problem.tree, seed), problem.game.dense()[seed, 0].numpy()
        assert pure.sum(1) == pytest.approx(np.ones(len(pure)))
        gain = (pure @ advantage @ equilibrium[seed, 0].exp().numpy()).max()
        assert gain == pytest.approx(0, abs=1e-14)
        matrix = pure @ advantage @ pure.T
        count = len(pure)
        solution = linprog(
            np.r_[np.zeros(count), 1.0], A_ub=np.c_[matrix, -np.ones(count)], b_ub=np.zeros(count),
            A_eq=np.r_[np.ones(count), 0.0][None], b_eq=[1.0], bounds=[(0, None)] * count + [(None, None)],
        )  # fmt: skip
        mixed = torch.from_numpy(solution.x[:count] @ pure)
        assert mixed.numpy() == pytest.approx(equilibrium[seed, 0].exp().numpy(), abs=1e-9)


def test_beta_above_zero_against_a_general_minimiser():
    """The equilibrium is the zero of the exploitability, minimised over the logits of the nodes."""
    problem = Problem((2, 2, 2), betas=(0.3,) * 4)
    equilibrium = problem.equilibrium()
    for seed in SEEDS[:2]:
        tree, advantage = problem.tree.part([seed]), problem.game.dense()[seed, 0]
        reference, beta = problem.log_reference[seed : seed + 1], torch.tensor(0.3, dtype=torch.float64)
        sizes = [2, 8]

        def policy(logits, tree=tree, sizes=sizes):
            nodes = torch.split(logits, sizes)
            tables = [nodes[0].view(1, 1, 1, 2).log_softmax(-1), nodes[1].view(1, 1, 4, 2).log_softmax(-1)]
            first = tables[0].flatten(-2)[..., None] + tree.replies[0].log()
            return (first.flatten(-2)[..., None] + tables[1]).flatten(-2)

        def gap(values, policy=policy, advantage=advantage, reference=reference, tree=tree, beta=beta):
            logits = torch.tensor(values, requires_grad=True)
            log_policy = policy(logits)
            gains = (advantage @ log_policy.exp()[0, 0])[None, None]
            own = (log_policy.exp() * (log_policy - reference)).sum()
            soft = tree_value(tree, reference[0, 0] + gains[0, 0] / beta)
            objective = beta * (soft + own)
            objective.backward()
            return objective.item(), logits.grad.numpy()

        solution = minimize(gap, np.zeros(10), jac=True, method="BFGS", options={"gtol": 1e-12})
        mass = policy(torch.from_numpy(solution.x)).exp()
        assert mass.numpy() == pytest.approx(equilibrium[seed : seed + 1].exp().numpy(), abs=1e-6)


def tree_value(tree, logits):
    """The log-sum-exp of two turns of two answers with two replies, written out."""
    chance = tree.replies[0][0, 0]
    later = (logits.view(2, 2, 2) - chance.log()[..., None]).logsumexp(-1)
    return (chance * later).sum(-1).logsumexp(0)


@HORIZONS
def test_exploitability_is_what_the_best_response_gains(shape):
    problem = Problem(shape)
    policy = problem.random_policy(1)
    gains = problem.game.payoff(policy.exp())
    response = best_response(gains, problem.log_reference, problem.beta, problem.tree)

    def value(other):
        return simplex.mean_under(other, gains) - problem.beta[:, 0] * simplex.kl(other, problem.log_reference)

    value_gap = value(response) - value(policy)
    measured = exploitability_of(policy, gains, problem.log_reference, problem.beta, problem.tree)
    torch.testing.assert_close(measured, value_gap, rtol=1e-10, atol=1e-14)
    at_zero = problem.tree.largest(gains)
    sharp = best_response(gains, problem.log_reference, problem.beta * 0 + 1e-6, problem.tree)
    torch.testing.assert_close(at_zero, simplex.mean_under(sharp, gains), rtol=0, atol=1e-4)
    assert (at_zero < gains.amax(-1)).all() or shape[2] == 1


# --- games, files and refusals ---------------------------------------------------------------------------------------


def test_rows_of_a_tree_of_one_turn_are_those_of_the_matrix_game(tmp_path):
    shared = ["seeds=2", "beta=0.05", "budget.iterations=30", "budget.target=null", f"runs_dir={tmp_path}"]
    columns = None
    for algorithm in ("nash_mp", "adaptive_optimistic", "nash_md"):
        tree, matrix = (
            nlhf.run([f"algorithm={algorithm}", *game, *shared]).metrics
            for game in (["game=tree", "game.turns=1", "game.actions=7"], ["game=random_tournament", "game.actions=7"])
        )
        columns = [name for name in tree.columns if name not in ("run", "game", "seconds")]
        pd.testing.assert_frame_equal(tree[columns], matrix[columns], check_exact=True)
    assert {"exploitability", "kl_to_equilibrium", "kl_bound", "queries"} <= set(columns)


def test_mtpo_with_one_turn_is_online_mirror_descent():
    problem = Problem((1, 5, 1))
    local, _ = problem.policies(MTPO(0.7), 20)
    together, _ = problem.policies(OnlineMirrorDescent(0.7), 20)
    torch.testing.assert_close(local[-1], together[-1], rtol=1e-13, atol=1e-13)


def test_a_run_stores_the_policy_at_every_node_and_its_own_policy_is_graded_alike(tmp_path):
    run = nlhf.run(["game=bread", "beta=0.05", f"runs_dir={tmp_path}", "progress=false"])
    with np.load(run.folder / "policy.npz") as saved:
        nodes = dict(zip(saved["answers"].tolist(), np.exp(saved["log_answers"][0, 0]).tolist(), strict=True))
        policy = dict(zip(saved["items"].tolist(), np.exp(saved["log_policy"][0, 0]).tolist(), strict=True))
    assert nodes["explain"] + nodes["ask"] == pytest.approx(1)
    assert len(nodes) == 2 + 8
    product = nodes["ask"] * 0.5 * nodes["ask > hurried > short"]
    assert policy["ask > hurried > short"] == pytest.approx(product, rel=1e-12)
    graded = nlhf.evaluate(run.folder / "policy.npz", ["game=bread", "beta=0.05", f"runs_dir={tmp_path}"])
    assert graded["exploitability"] == pytest.approx(run.metrics["exploitability"].iloc[-1], rel=1e-6)
    np.save(tmp_path / "uniform.npy", np.log(np.full(8, 1 / 8)))
    with pytest.raises(ConfigError, match="replies of the user other probabilities"):
        nlhf.evaluate(tmp_path / "uniform.npy", ["game=bread", f"runs_dir={tmp_path}"])


def test_the_example_is_intransitive_and_its_best_conversation_cannot_be_chosen():
    game = build(configured("game=bread")["game"], "game").build([0])
    advantage = game.dense()[0, 0]
    wins, items = advantage > 0, list(game.items)
    names = ("explain > patient > short", "ask > hurried > short", "explain > patient > detailed")
    cycle = [items.index(name) for name in names]
    assert all(wins[first, second] for first, second in itertools.pairwise([*cycle, cycle[0]]))
    best = items.index("ask > patient > detailed")
    assert wins[best].sum() == len(items) - 1
    reference = game.tree.with_replies(torch.zeros(1, 1, 8, dtype=torch.float64))
    solved = reference_equilibrium.solve(game.dense()[0], reference[0], 0.0, game.tree.flat())
    assert solved.certified.all()
    first = solved.log_policy.exp().view(2, 4).sum(-1)
    assert first.tolist() == pytest.approx([10 / 17, 7 / 17], abs=1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"chances": [[[0.7, 0.4], [0.5, 0.5]]]}, "positive probabilities that sum to 1"),
        ({"chances": [[[1.0, 0.0], [0.5, 0.5]]]}, "positive probabilities that sum to 1"),
        ({"chances": [[[0.5, 0.5]]]}, "give 2 of 2"),
        ({"replies": []}, "one list of replies"),
        ({"preference": [[0.5, 0.5], [0.5, 0.5]]}, "compares 2 conversations"),
        ({"answers": [["a > b", "c"], ["short", "detailed"]]}, "without ' > '"),
    ],
)
def test_listed_conversations_that_do_not_fit_are_refused(change, message):
    node = configured("game=bread")["game"] | change
    with pytest.raises(ConfigError, match=message):
        build(node, "game").build([0])


@pytest.mark.parametrize("override", ["algorithm=egpo", "algorithm=secant", "prox=gradient", "policy=mlp"])
def test_what_cannot_keep_the_replies_is_refused_in_a_sentence(override):
    with pytest.raises(ConfigError, match=r"needs a (game of one turn|policy that can be any table)"):
        specify(configured("game=tree", override))


def test_restarts_reach_an_equilibrium_without_a_kl_term():
    problem = Problem((2, 3, 2), betas=(0.0,) * 4)
    algorithm = Adaptive("theory", optimistic=True, grow=1.2, shrink=0.5, restart=0.3)
    policies, _ = problem.policies(algorithm, 1000)
    gains = problem.game.payoff(policies[-1].exp())
    assert (problem.tree.largest(gains) < 1e-6).all()


@pytest.mark.parametrize("payoff", ["logit", "sign"])
def test_other_payoffs_keep_the_turns(tmp_path, payoff):
    run = nlhf.run(["game=bread", f"game.payoff={payoff}", "beta=0.3", f"runs_dir={tmp_path}", "budget.target=1e-12"])
    assert run.summary["equilibrium"]["certified"]
    assert run.metrics["kl_to_equilibrium"].iloc[-1] < 1e-10
    with np.load(run.folder / "policy.npz") as saved:
        policy = np.exp(saved["log_policy"][0, 0]).reshape(2, 2, 2).sum(-1)
    assert (policy / policy.sum(1, keepdims=True)).ravel() == pytest.approx([0.7, 0.3, 0.5, 0.5], rel=1e-12)


@HORIZONS
def test_a_short_step_in_every_turn_is_a_short_step_of_whole_conversations(shape):
    """To first order in the step both are the same mirror step, as their problems have the same gradient at pi."""
    problem = Problem(shape)
    policy = TabularPolicy(problem.random_policy(3))
    prox = exact(problem.game, TabularPolicy(problem.log_reference), problem.beta)
    moved = []
    for size in (1e-3, 1e-5):
        step = torch.full((4, 1, 1), size, dtype=torch.float64)
        local = prox.local_step(policy, step).log_probabilities
        whole = prox(opponent=policy, anchor=policy, step_size=step).log_probabilities
        moved.append([((new - policy.log_probabilities) / size) for new in (local, whole)])
    assert min(local.abs().max() for local, _ in moved) > 0.1
    gaps = [(local - whole).abs().max().item() for local, whole in moved]
    assert gaps[1] < 1e-4
    assert gaps[1] < gaps[0] / 50  # the difference is of second order
