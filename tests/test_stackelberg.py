"""Leader and follower: the closed form, its certificate, the steps towards it, and what it plays."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from scipy import optimize

import nlhf
from nlhf.algorithms.stackelberg import StackelbergSteps
from nlhf.config import ConfigError
from nlhf.equilibria.solution import Stackelberg
from nlhf.equilibria.stackelberg import StackelbergMeasure, solve
from nlhf.games.feedback import Feedback
from nlhf.numerics import simplex
from nlhf.policies.tabular import LeaderPolicy, TabularPolicy
from nlhf.prox.base import Parts
from nlhf.prox.exact import ExactProx
from nlhf.runner.assemble import assemble
from nlhf.runner.run_one import run_one
from nlhf.runner.specification import specify
from tests.adversarial import matrix_game
from tests.composing import configured

pytestmark = pytest.mark.usefixtures("one_thread")
CYCLE = {(0, 1): 0.7, (1, 2): 0.8, (2, 0): 0.9, (3, 4): 0.55}
VALUES = (0.2582079776, 0.4432661922, 0.3542183389, 0.4331004523, 0.10010652)
LEADER = (0.0627759213, 0.3994760156, 0.1639686407, 0.3608622579, 0.0129171645)


def preference():
    """Three answers in a cycle; each beats answer 3 a little and answer 4 by far."""
    table = np.full((5, 5), 0.5)
    pairs = CYCLE | {(i, 3): 0.6 for i in range(3)} | {(i, 4): 0.95 for i in range(3)}
    for (i, j), chance in pairs.items():
        table[i, j], table[j, i] = chance, 1 - chance
    return table


def drawn(n, contexts=1, seed=0):
    """Random games (contexts, n, n), references (contexts, n), in numpy."""
    rng = np.random.default_rng(seed)
    upper = np.triu(rng.random((contexts, n, n)), 1)
    table = upper + np.tril(1 - upper.swapaxes(1, 2), -1) + 0.5 * np.eye(n)
    return table, rng.dirichlet(np.ones(n), contexts)


def objective(table, reference, beta, tau, leader, follower):
    """What the leader maximises and the follower minimises, by its definition."""
    pay = (leader[:, None] * follower * table).sum()
    pull = (leader * (follower * np.log(follower / reference)).sum(1)).sum()
    return pay + tau * pull - beta * (leader * np.log(leader / reference)).sum()


# --- the closed form --------------------------------------------------------------------------------------------------


def test_the_closed_form_has_the_values_of_the_worked_example():
    tensors = torch.from_numpy(preference() - 0.5), torch.full((5,), -math.log(5), dtype=torch.float64)
    strength = torch.tensor([0.1], dtype=torch.float64)
    solved = solve(*tensors, strength, strength)
    assert solved.values.tolist() == pytest.approx(VALUES, abs=1e-9)
    assert solved.leader.exp().tolist() == pytest.approx(LEADER, abs=1e-9)
    worth = objective(preference(), np.full(5, 0.2), 0.1, 0.1, *(part.exp().numpy() for part in solved[:2]))
    assert worth == pytest.approx(0.3740825561, abs=1e-9)
    result = nlhf.equilibrium(preference(), beta=0.1, solution="stackelberg")
    np.testing.assert_allclose(np.exp(result.log_policy), LEADER, atol=1e-9)
    np.testing.assert_allclose(np.exp(result.log_follower), solved.follower.exp().numpy(), atol=1e-12)
    assert (result.method, result.certified, result.unique) == ("closed form", True, True)


def test_the_leader_is_not_smith_consistent():
    """Answer 3 loses to the whole cycle, which is the Smith set, and is played with certainty."""
    result = nlhf.equilibrium(preference(), beta=0.01, solution="stackelberg")
    assert np.exp(result.log_policy)[3] == pytest.approx(0.99986, abs=5e-6)
    assert (preference()[:3, 3] > 0.5).all()
    nash = nlhf.equilibrium(preference(), beta=0.0)
    assert np.exp(nash.log_policy)[3:].max() < 1e-12


@pytest.mark.parametrize("seed", range(5))
def test_without_kl_terms_the_leader_is_the_simpson_kramer_winner(seed):
    table, _ = drawn(6, seed=seed)
    worst = table[0].min(1)  # with itself at 1/2
    best = np.flatnonzero(worst == worst.max())
    limit = np.exp(nlhf.equilibrium(table, beta=0.0, solution="stackelberg").log_policy[0])
    near = np.exp(nlhf.equilibrium(table, beta=1e-5, solution="stackelberg").log_policy[0])
    np.testing.assert_allclose(limit[best], 1 / len(best))
    np.testing.assert_allclose(near, limit, atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_the_closed_form_is_a_saddle_point_found_by_another_minimiser(seed):
    """The follower's rows by scipy, then the leader by scipy; no formula of the solver is used."""
    (table,), (reference,) = drawn(4, seed=seed)
    beta, tau = 0.3, 0.2

    def softmax(logits):
        return np.exp(logits - np.logaddexp.reduce(logits))

    def row(first):
        def loss(logits):
            reply = softmax(logits)
            return reply @ table[first] + tau * reply @ np.log(reply / reference)

        return optimize.minimize(loss, np.zeros(4), tol=1e-14)

    rows = [row(first) for first in range(4)]
    values = np.array([solution.fun for solution in rows])
    result = optimize.minimize(
        lambda logits: -(softmax(logits) @ (values - beta * np.log(softmax(logits) / reference))),
        np.zeros(4),
        tol=1e-14,
    )
    solved = nlhf.equilibrium(table, beta, reference, solution="stackelberg", follower_beta=tau)
    np.testing.assert_allclose(np.exp(solved.log_policy), softmax(result.x), atol=1e-5)
    np.testing.assert_allclose(np.exp(solved.log_follower), [softmax(one.x) for one in rows], atol=1e-5)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"solution": "stackelberg", "payoff": "logit"}, r"^payoff=logit is not defined for a follower"),
        ({"solution": "stackelberg", "follower_beta": -1.0}, r"^follower_beta=-1\.0 is out of range: give"),
        ({"solution": "cournot"}, r"^solution=cournot .* is unknown: give solution=nash"),
        ({"follower_beta": 0.1}, r"^solution=nash with follower_beta=0\.1 is unknown"),
    ],
)
def test_what_is_not_defined_is_refused(options, sentence):
    with pytest.raises(ConfigError, match=sentence):
        nlhf.equilibrium(preference(), 0.1, **options)


# --- the certificate --------------------------------------------------------------------------------------------------


def measured(beta, tau, seed=0, contexts=2):
    """A measure of a random game, and a random leader and follower, with all of them in numpy."""
    table, reference = drawn(4, contexts, seed)
    rng = np.random.default_rng(seed + 100)
    leader, follower = rng.dirichlet(np.ones(4), contexts), rng.dirichlet(np.ones(4), (contexts, 4))
    strengths = (torch.full((1, 1, 1), value, dtype=torch.float64) for value in (beta, tau))
    strength, follower_strength = strengths
    measure = StackelbergMeasure(
        matrix_game(table), torch.from_numpy(np.log(reference))[None], strength, follower_beta=follower_strength
    )
    tables = [torch.from_numpy(np.log(array)).reshape(1, -1, 4) for array in (leader, follower)]
    return measure, LeaderPolicy(tables[0], follower=TabularPolicy(tables[1])), (table, reference, leader, follower)


@pytest.mark.parametrize(("beta", "tau"), [(0.3, 0.2), (0.05, 0.5), (1.0, 0.01)])
def test_the_gap_is_what_both_could_gain_by_deviating(beta, tau):
    measure, policy, parts = measured(beta, tau)
    gaps, worths = [], []
    for table, reference, leader, follower in zip(*parts, strict=True):
        worth = objective(table, reference, beta, tau, leader, follower)
        value = (follower * table).sum(1) + tau * (follower * np.log(follower / reference)).sum(1)
        best_leader = beta * np.log(reference @ np.exp(value / beta))
        least = -tau * np.log((reference * np.exp(-table / tau)).sum(1))
        best_follower = leader @ (least - beta * np.log(leader / reference))
        gaps.append(best_leader - best_follower)
        worths.append(worth)
    row = measure(policy, None)
    assert row["stackelberg_gap"].item() == pytest.approx(np.mean(gaps), rel=1e-9)
    assert row["leader_value"].item() == pytest.approx(np.mean(worths), rel=1e-12)
    assert 0 < row["exploitability"].item() < row["stackelberg_gap"].item() + 1


def test_the_refinement_wins_as_often_as_the_follower_beats_the_answer_that_it_sees():
    measure, policy, (table, _, leader, follower) = measured(0.3, 0.2)
    wins = np.einsum("xi,xij,xij->x", leader, follower, table.swapaxes(1, 2)).mean()
    assert measure(policy, None)["refinement_win_rate"].item() == pytest.approx(wins, rel=1e-12)


def test_the_best_refinement_wins_at_least_as_often_as_any_policy_that_does_not_see_the_answer():
    table, _ = drawn(6, seed=3)
    solved = nlhf.equilibrium(table, beta=1e-4, solution="stackelberg")
    leader, follower = np.exp(solved.log_policy[0]), np.exp(solved.log_follower[0])
    seen = (leader[:, None] * follower * table[0].T).sum()
    assert seen >= (table[0] @ leader).max() - 1e-6


# --- the steps --------------------------------------------------------------------------------------------------------


def engine(table, reference, beta, tau, seeds=1):
    strength, follower_strength = (torch.full((seeds, 1, 1), value, dtype=torch.float64) for value in (beta, tau))
    plain = Feedback(votes_per_pair=None, orders="given", flip=0.0, position_bias=0.0)
    parts = Parts(
        matrix_game(table),
        TabularPolicy(reference),
        strength,
        list(range(seeds)),
        plain,
        follower_beta=follower_strength,
    )
    return ExactProx().engine(parts)


def test_one_iteration_is_the_proximal_step_of_every_problem():
    """The follower of answer y is a proximal step against the policy that always gives y."""
    table, reference = drawn(4, seed=5)
    log_reference = torch.from_numpy(np.log(reference))[None]
    beta, tau, step, follower_step = 0.3, 0.2, 1.5, 0.7
    prox = engine(table, log_reference, beta, tau)
    algorithm = StackelbergSteps(step_size=step, follower_step_size=follower_step).bind(prox.beta)
    start = algorithm.init(TabularPolicy(log_reference))
    policy = algorithm.update(algorithm.update(start, prox), prox).policy

    def mirror(anchor, gain, strength, length):
        logits = np.log(anchor) / length + strength * np.log(reference[0]) + gain
        weights = np.exp(logits / (strength + 1 / length))
        return weights / weights.sum(-1, keepdims=True)

    leader, follower = reference[0], np.tile(reference[0], (4, 1))
    for _ in range(2):
        follower = mirror(follower, table[0].T, tau, follower_step)
        gain = (follower * table[0]).sum(1) + tau * (follower * np.log(follower / reference[0])).sum(1)
        leader = mirror(leader, gain, beta, step)
    np.testing.assert_allclose(policy.log_probabilities[0, 0].exp(), leader, atol=1e-12)
    np.testing.assert_allclose(policy.follower.log_probabilities[0].exp(), follower, atol=1e-12)
    assert prox.queries.tolist() == [2 * 4]


def spans(table, steps, beta, tau, iterations):
    """Spans of leader and follower to their solutions, by iteration."""
    log_reference = torch.full((1, 1, len(table)), -math.log(len(table)), dtype=torch.float64)
    prox = engine(table[None], log_reference, beta, tau)
    solved = solve(torch.from_numpy(table - 0.5), log_reference[0, 0], *(prox.beta[0, 0] * 0 + s for s in (beta, tau)))
    algorithm = StackelbergSteps(step_size=steps[0], follower_step_size=steps[1]).bind(prox.beta)
    state, rows = algorithm.init(TabularPolicy(log_reference)), []
    for _ in range(iterations):
        state = algorithm.update(state, prox)
        apart = state.policy.log_probabilities[0, 0] - solved.leader
        replies = state.policy.follower.log_probabilities[0] - solved.follower
        rows.append([(apart.max() - apart.min()).item(), (replies.amax(-1) - replies.amin(-1)).max().item()])
    return np.array(rows)


def test_the_steps_have_the_rates_that_the_docstring_states():
    beta, tau, steps = 0.2, 0.1, (3.0, 20.0)
    rows = spans(preference(), steps, beta, tau, 20)
    ratios = rows[1:] / rows[:-1]
    np.testing.assert_allclose(ratios[:10, 1], 1 / (1 + steps[1] * tau), rtol=1e-6)
    np.testing.assert_allclose(ratios[-5:, 0], 1 / (1 + steps[0] * beta), rtol=1e-3)


def test_no_step_is_too_long():
    leader, follower = spans(preference(), (math.inf, math.inf), 0.1, 0.1, 1)[0]
    assert max(leader, follower) < 1e-12
    assert spans(preference(), (1e6, 1e6), 0.01, 0.02, 3)[-1].max() < 1e-8


# --- runs -------------------------------------------------------------------------------------------------------------


def summary_of(tmp_path, *overrides):
    run = nlhf.run([f"runs_dir={tmp_path}", "algorithm=stackelberg", "solution=stackelberg", *overrides])
    return run, json.loads((run.folder / "summary.json").read_text())


def test_a_run_of_several_seeds_and_contexts_reaches_the_certified_solution(tmp_path):
    words = ["game=contextual", "game.actions=5", "game.contexts=3", "game.test_contexts=0", "seeds=3", "beta=0.2"]
    run, summary = summary_of(tmp_path, *words, "reference=random", "budget.target=1e-20")
    assert summary["stop_reason"] == "target"
    assert summary["equilibrium"]["method"] == "closed form"
    assert summary["equilibrium"]["certified"]
    assert "not Smith-consistent" in summary["method"]["caveat"]
    assert "2512.16626" in summary["method"]["sources"]
    last = run.metrics.groupby("seed").tail(1)
    assert len(last) == 3
    assert (last["stackelberg_gap"] < 1e-18).all()
    assert (last["kl_to_equilibrium"] < 1e-18).all()


def test_the_seeds_of_a_batch_are_what_each_is_alone(tmp_path):
    words = [
        "game=random_tournament",
        "game.actions=4",
        "beta=0.1",
        "solution.follower_beta=0.3",
        "budget.iterations=7",
    ]
    many, _ = summary_of(tmp_path, *words, "seeds=[3,5]")
    alone, _ = summary_of(tmp_path, *words, "seeds=[5]")
    np.testing.assert_allclose(many.log_policy[1], alone.log_policy[0], atol=1e-12)
    columns = ["stackelberg_gap", "leader_value", "refinement_win_rate"]
    rows = many.metrics[many.metrics["seed"] == 5][columns].to_numpy()
    np.testing.assert_allclose(rows, alone.metrics[columns].to_numpy(), rtol=1e-9, atol=1e-18)


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["algorithm=nash_mp", "solution=stackelberg"], r"^solution=stackelberg needs a leader and a follower: set "),
        (["prox=sampled"], r"^algorithm=stackelberg needs steps of a leader and a follower: set prox=exact"),
        (["game=tree"], r"^algorithm=stackelberg needs a game of one turn"),
        (["game=annotators", "game.competitors=2"], r"^algorithm=stackelberg needs a game that answers pairs"),
        (["game.payoff=logit"], r"^game\.payoff=logit is not defined for a follower"),
        (["solution.follower_beta=0"], r"^solution\.follower_beta=0\.0 is out of range: give a finite number > 0"),
        (["algorithm.follower_step_size=0"], r"^algorithm\.follower_step_size=0\.0 is not positive: give"),
        (["beta=0", "algorithm.follower_step_size=.inf"], r"^beta=0 leaves an infinite step no solution"),
    ],
)
def test_what_cannot_work_is_refused_in_a_sentence(overrides, sentence):
    words = overrides if "algorithm=nash_mp" in overrides else ["algorithm=stackelberg", *overrides]
    with pytest.raises(ConfigError, match=sentence):
        specify(configured(*words))


def test_too_many_answers_for_a_table_are_refused_with_a_remedy_that_helps(tmp_path):
    words = ["algorithm=stackelberg", "game=low_rank", "game.actions=100000", "reference=uniform", "beta=0.1"]
    with pytest.raises(ConfigError, match=r"too many for a matrix.*: give fewer, or choose solution=nash with another"):
        run_one(configured(*words, "equilibrium=never", f"runs_dir={tmp_path}"))


def test_the_algorithm_needs_its_solution():
    config = configured("algorithm=stackelberg") | {"solution": {"_target_": "nlhf.equilibria.solution.Nash"}}
    with pytest.raises(ConfigError, match=r"^algorithm=stackelberg needs a follower .*: set solution=stackelberg"):
        specify(config)


def test_solutions_are_never_pooled_and_old_configs_are_of_nash():
    stackelberg = specify(configured("algorithm=stackelberg"))
    nash = configured("algorithm=nash_mp")
    old = {key: value for key, value in nash.items() if key != "solution"}
    assert specify(old).fingerprint == specify(nash).fingerprint
    assert specify(nash).digests["setting"] != stackelberg.digests["setting"]
    other = configured("algorithm=stackelberg", "solution.follower_beta=0.3")
    assert len({specify(other).fingerprint, stackelberg.fingerprint}) == 2


def test_a_policy_from_elsewhere_is_graded_by_what_its_leader_loses():
    world = assemble(specify(configured("game=rock_paper_scissors", "algorithm=stackelberg", "beta=0.2")))
    table = world.game.dense()[0, 0]
    uniform = torch.full((3,), -math.log(3), dtype=torch.float64)
    strength = torch.tensor([0.2], dtype=torch.float64)
    values = solve(table, uniform, strength, strength).values
    assert simplex.value_against(uniform.expand(3, 3), table, uniform, strength).shape == (3,)
    best = 0.2 * torch.logsumexp(uniform + values / 0.2, 0)
    policy = torch.tensor([[[0.2, 0.3, 0.5]]], dtype=torch.float64).log()
    loses = best - (policy[0, 0].exp() * (values - 0.2 * (policy[0, 0] - uniform))).sum()
    assert world.measure.grade(policy)["exploitability"].item() == pytest.approx(loses.item(), rel=1e-9)
    assert isinstance(specify(configured("algorithm=stackelberg")).solution, Stackelberg)
