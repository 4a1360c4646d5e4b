"""Each algorithm against a formula written by hand, and the equalities between them that docs/algorithms.md states."""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import nlhf
from nlhf.algorithms.adaptive import Adaptive
from nlhf.algorithms.base import State
from nlhf.algorithms.egpo import EGPO
from nlhf.algorithms.enpo import ENPO
from nlhf.algorithms.mnpo import MNPO
from nlhf.algorithms.nash_md import NashMD
from nlhf.algorithms.nash_mp import NashMP
from nlhf.algorithms.omd import OnlineMirrorDescent
from nlhf.algorithms.optimistic import Optimistic
from nlhf.algorithms.proximal_point import ProximalPoint
from nlhf.algorithms.regret_matching import RegretMatching
from nlhf.algorithms.sppo import SPPO
from nlhf.algorithms.xpo import XPO
from nlhf.config import build
from nlhf.games.circle import Circle
from nlhf.policies.tabular import TabularPolicy
from tests.adversarial import FAMILIES, Arena, arena, log_policy, matrix_game
from tests.composing import ASKING, OTHER_SOLUTIONS, UNREGULARISED, configured

pytestmark = pytest.mark.usefixtures("one_thread")
ROOT = Path(nlhf.__file__).parents[1]
INF = math.inf
ADAPTIVE = Adaptive("theory", optimistic=False, grow=1.5, shrink=0.5)
ADAPTIVE_OPTIMISTIC = Adaptive("theory", optimistic=True, grow=1.2, shrink=0.5)


# --- by hand, in numpy and probabilities -----------------------------------------------------------------------------


def small():
    """A, reference and beta of a game of four actions."""
    games = arena("uniform", 4, (0.3,), (1.0,), draw=3)
    return games, games.game.dense()[0, 0].numpy(), games.log_reference[0, 0].exp().numpy(), 0.3


def normal(weights):
    return weights / weights.sum()


def final(algorithm, iterations, start=None):
    games, *_ = small()
    return games.policies(algorithm, iterations, start)[-1][0, 0].exp().numpy()


def test_nash_mp_by_hand():
    _, A, ref, b = small()
    pi, w = ref, 1 / (1 + 2 * b)
    for _ in range(3):
        half = normal(pi**w * ref ** (1 - w) * np.exp(2 * w * A @ pi))
        pi = normal(pi**w * ref ** (1 - w) * np.exp(2 * w * A @ half))
    np.testing.assert_allclose(final(NashMP("theory"), 3), pi, rtol=1e-13)


def test_optimistic_by_hand():
    _, A, ref, b = small()
    step = (b + math.sqrt(b * b + 4)) / 2
    pi, half, w = ref, ref, 1 / (1 + step * b)
    for _ in range(3):
        half = normal(pi**w * ref ** (1 - w) * np.exp(step * w * A @ half))
        pi = normal(pi**w * ref ** (1 - w) * np.exp(step * w * A @ half))
    np.testing.assert_allclose(final(Optimistic("theory"), 3), pi, rtol=1e-13)


def test_online_mirror_descent_is_the_explicit_form_of_inpo():
    """arXiv:2407.00617, tau = beta, eta = beta + 1/lambda: pi+ ∝ exp(P(y > pi)/eta) ref^(tau/eta) pi^(1 - tau/eta)."""
    _, A, ref, b = small()
    pi, eta = ref, b + 1 / 0.7
    for _ in range(3):
        pi = normal(np.exp((A + 0.5) @ pi / eta) * ref ** (b / eta) * pi ** (1 - b / eta))
    np.testing.assert_allclose(final(OnlineMirrorDescent(0.7), 3), pi, rtol=1e-13)


@pytest.mark.parametrize("step", ["theory", 0.8])
def test_nash_md_by_hand(step):
    _, A, ref, b = small()
    pi = ref
    for k in range(4):
        size = 2 / (b * (k + 2)) if step == "theory" else step
        mix = normal(pi ** (1 - size * b) * ref ** (size * b))
        pi = normal(mix * np.exp(size * (A + 0.5) @ mix))
    np.testing.assert_allclose(final(NashMD(step), 4), pi, rtol=1e-13)


def test_mnpo_by_hand():
    _, A, ref, b = small()
    policies, step = [ref], 0.7
    for _ in range(5):
        last = np.array(policies[-3:])
        opponent, anchor = last.mean(0), np.exp(np.log(last).mean(0))
        policies.append(normal((anchor * ref ** (step * b) * np.exp(step * A @ opponent)) ** (1 / (1 + step * b))))
    np.testing.assert_allclose(final(MNPO(step, history=3), 5), policies[-1], rtol=1e-12)


def test_a_history_of_three_is_stable_for_steps_a_tenth_longer_than_those_of_omd():
    beta, step = 0.03, 0.66  # 1.1 times the longest stable step of omd, 2 pi^2 beta
    games = arena("circle", 40, (beta,), (0.0,))
    start = (games.log_equilibrium + 1e-3 * log_policy(1.0, (1, 1, 40), np.random.default_rng(0))).log_softmax(-1)
    at_first = games.exploitability(start).item()
    mnpo, omd = (
        games.exploitability(games.policies(algorithm, 6000, start)[-1]).item()
        for algorithm in (MNPO(step, history=3), OnlineMirrorDescent(step))
    )
    assert mnpo < at_first / 10 < omd
    assert OnlineMirrorDescent(step).cycling(beta) is not None
    assert MNPO(step, history=3).cycling(beta) is None
    assert MNPO(1.2 * step, history=3).cycling(beta) is not None


class Recording:
    """An engine that stores the partners it is called with."""

    def __init__(self, prox):
        self.prox, self.beta, self.reference, self.partners = prox, prox.beta, prox.reference, []

    def __call__(self, **problem):
        self.partners.append(problem["partner"].log_probabilities)
        return self.prox(**problem)


def test_the_second_sampler_of_enpo_extrapolates_the_last_step():
    games, *_ = small()
    prox, algorithm = Recording(games.prox()), ENPO(0.7, extrapolation=20.0)
    states = [algorithm.bind(games.beta).init(TabularPolicy(games.log_reference))]
    for _ in range(3):
        states.append(algorithm.bind(games.beta).update(states[-1], prox))
    log_pi = [state.policy.log_probabilities for state in states]
    assert prox.partners[0].allclose(log_pi[0])
    for before, policy, partner in zip(log_pi, log_pi[1:], prox.partners[1:], strict=False):
        torch.testing.assert_close(partner, (before + 20 * (policy - before)).log_softmax(-1))


def test_the_second_sampler_of_xpo_is_the_reference():
    games, *_ = small()
    prox = Recording(games.prox())
    XPO(games.beta * INF).update(State(TabularPolicy(games.log_reference)), prox)
    assert prox.partners[0].equal(prox.reference.log_probabilities)


def test_sppo_with_a_constant_step_by_hand():
    _, A, ref, _ = small()
    pi = ref
    for _ in range(3):
        pi = normal(pi * np.exp(0.4 * A @ pi))
    np.testing.assert_allclose(final(SPPO(0.4), 3), pi, rtol=1e-13)


def test_sppo_with_the_anytime_step_sums_all_answers():
    _, A, ref, _ = small()
    pi, total = ref, 0
    for k in range(1, 6):
        total = total + A @ pi
        pi = normal(ref * np.exp(2 * math.sqrt(math.log(4) / k) * total))
    np.testing.assert_allclose(final(SPPO("theory"), 5), pi, rtol=1e-12)


@pytest.mark.parametrize("predictive", [False, True])
def test_regret_matching_by_hand(predictive):
    _, A, ref, _ = small()
    pi, R = ref, np.zeros(4)
    for _ in range(6):
        u = A @ pi
        R = np.maximum(R + u - pi @ u, 0)
        Z = np.maximum(R + u - pi @ u, 0) if predictive else R
        pi = Z / Z.sum() if Z.sum() > 0 else np.full(4, 1 / 4)
    np.testing.assert_allclose(final(RegretMatching(predictive), 6), pi, rtol=1e-12)


@pytest.mark.parametrize("optimistic", [False, True])
def test_adaptive_steps_by_hand(optimistic):
    """From a step so long that some are refused."""
    games, A, ref, b = small()
    pi = previous = ref
    step, error, asked, taken = 60.0, 0.0, [], []

    def prox(opponent, anchor):
        w = 1 / (1 + step * b)
        return normal(anchor**w * ref ** (1 - w) * np.exp(step * w * A @ opponent))

    def kl(p, q):
        return float((p * np.log(p / q)).sum())

    for _ in range(8):
        half = prox(previous if optimistic else pi, pi)
        new = prox(half, pi)
        accept = (1 + optimistic) * (1 + step * b) * kl(half, new) <= kl(half, pi) + error
        asked.append(step)
        taken.append(accept)
        if accept:
            pi, previous, error = new, half, optimistic * kl(half, new)
        step *= (1.2 if optimistic else 1.5) if accept else 0.5
    assert not all(taken)
    assert any(taken)
    algorithm = Adaptive(60.0, optimistic=optimistic, grow=1.2 if optimistic else 1.5, shrink=0.5)
    states = [state for state, _ in games.states(algorithm, 8)]
    np.testing.assert_allclose(states[-1].policy.probabilities[0, 0].numpy(), pi, rtol=1e-12)
    assert [state.step_size.item() for state in states[:-1]] == pytest.approx(asked, rel=1e-15)


# --- one is the other ------------------------------------------------------------------------------------------------


def agree(games, first, second, iterations=40, tolerance=1e-10):
    for one, other in zip(games.policies(first, iterations), games.policies(second, iterations), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=tolerance)


@pytest.mark.parametrize("family", FAMILIES)
def test_egpo_is_nash_mp(family):
    games = arena(family, 9, (0.05, 1.0), (0.0, 3.0))
    agree(games, EGPO("theory"), NashMP("theory"))
    agree(games, EGPO(0.3), NashMP(0.3))


@pytest.mark.parametrize("family", FAMILIES)
def test_proximal_point_with_one_inner_step_of_self_play_is_nash_mp(family):
    games = arena(family, 9, (0.05, 1.0), (0.0, 3.0))
    agree(games, ProximalPoint(2.0, inner=OnlineMirrorDescent(INF), inner_steps=1, accuracy=1.0, grow=1.0), NashMP(2.0))


@pytest.mark.parametrize("step", ["theory", 0.3, INF])
def test_mnpo_with_one_policy_and_enpo_with_exact_answers_are_online_mirror_descent(step):
    games = arena("uniform", 9, (0.6,), (0.0, 3.0)) if step == INF else arena("uniform", 9, (0.05, 1.0), (0.0, 3.0))
    for algorithm in (MNPO(step, history=1), ENPO(step, extrapolation=20.0)):
        agree(games, algorithm, OnlineMirrorDescent(step), tolerance=0)


def test_sppo_with_a_constant_step_is_online_mirror_descent_without_regularisation():
    games = arena("uniform", 9, (0.0,), (0.0, 3.0))
    agree(games, SPPO(0.2), OnlineMirrorDescent(0.2))


def test_sppo_steps_without_regularisation_whatever_the_games_beta():
    with_beta, without = arena("uniform", 9, (0.5,), (1.0,)), arena("uniform", 9, (0.0,), (1.0,))
    for one, other in zip(with_beta.policies(SPPO(0.2), 10), without.policies(SPPO(0.2), 10), strict=True):
        assert one.equal(other)


# --- what theory says of each ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_the_first_adaptive_step_is_always_accepted(family):
    games = arena(family, 13, (1e-2, 0.1, 1.0, 5.0), (0.0, 2.0, 30.0))
    for scale in (0.1, 3.0, 30.0):
        start = log_policy(scale, tuple(games.log_reference.shape), np.random.default_rng(5))
        first, second = (state for state, _ in games.states(ADAPTIVE, 1, start))
        moving = second.policy.log_probabilities.sub(first.policy.log_probabilities).abs().amax(-1) > 1e-9
        grown = (second.step_size / first.step_size)[..., 0]
        assert (grown[moving] == 1.5).all()


def circle_with_random_reference(beta, seeds, scale):
    game = Circle(100).build([0])
    return Arena(game, log_policy(scale, (seeds, 1, 100), np.random.default_rng(0)), (beta,) * seeds)


def queries_to(games, algorithm, target, most=3000):
    """Queries until KL(pi* || pi) <= target in every seed, one seed at a time."""
    counts = []
    for seed in range(len(games.strengths)):
        game = games.game if len(games.game.advantage) == 1 else type(games.game)(
            games.game.advantage[seed : seed + 1], games.game.items, games.game.contexts)  # fmt: skip
        alone = Arena(game, games.log_reference[seed : seed + 1], games.strengths[seed : seed + 1])
        grades = ((nlhf_kl(alone.log_equilibrium, state.policy.log_probabilities), queries)
                  for state, queries in alone.states(algorithm, most))  # fmt: skip
        counts.append(next((queries for grade, queries in grades if grade <= target), INF))
    return float(np.median(counts))


def nlhf_kl(p, q):
    from nlhf.numerics.simplex import kl

    return kl(p, q).mean().item()


def drawn(family, n, beta, seeds):
    rng = np.random.default_rng(1)
    preference = np.stack([FAMILIES[family](n, rng)[None] for _ in range(seeds)])
    return Arena(matrix_game(preference), torch.full((seeds, 1, n), -math.log(n)).double(), (beta,) * seeds)


@pytest.mark.parametrize(
    ("games", "nash_mp", "adaptive", "optimistic"),  # queries to KL <= 1e-8: docs/mathematics.md, section 4.8
    [
        (lambda: drawn("uniform", 100, 0.01, 3), 874, 225, 190),
        (lambda: drawn("deterministic", 101, 0.003, 1), 2712, 1122, 917),
        (lambda: circle_with_random_reference(0.01, 3, 1.0), 780, 666, 542),
    ],
    ids=["random tournament", "deterministic tournament", "circle"],
)
def test_adaptive_steps_need_no_more_queries_than_the_table_says(games, nash_mp, adaptive, optimistic):
    games = games()
    plain = queries_to(games, NashMP("theory"), 1e-8)
    assert plain <= 1.1 * nash_mp
    for algorithm, promised in ((ADAPTIVE, adaptive), (ADAPTIVE_OPTIMISTIC, optimistic)):
        assert queries_to(games, algorithm, 1e-8) <= min(1.1 * promised, 1.1 * plain)


@pytest.mark.parametrize("family", FAMILIES)
def test_adaptive_steps_never_need_more_than_nash_mp_and_a_tenth(family):
    games = arena(family, 13, (0.02, 0.2), (0.0, 3.0))
    plain = queries_to(games, NashMP("theory"), 1e-8)
    for algorithm in (ADAPTIVE, ADAPTIVE_OPTIMISTIC):
        assert queries_to(games, algorithm, 1e-8) <= max(1.1 * plain, plain + 2)


@pytest.mark.parametrize(("beta", "cycles"), [(0.31, True), (0.325, False)])
def test_self_play_cycles_on_the_circle_below_one_over_pi(beta, cycles):
    games = circle_with_random_reference(beta, 1, 1.0)
    *_, last = games.policies(OnlineMirrorDescent(INF), 4000)
    assert (games.exploitability(last).item() > 1e-6) == cycles


def average(policies, power=0):
    weights = torch.arange(1.0, len(policies) + 1, dtype=torch.float64) ** power
    stacked = torch.stack(policies).exp()
    return ((weights[:, None, None, None] * stacked).sum(0) / weights.sum()).log()


@pytest.mark.parametrize("family", FAMILIES)
def test_the_average_of_sppo_keeps_its_bounds(family):
    games = arena(family, 20, (0.0,), (0.0,))
    for count in (10, 100, 400):
        anytime = games.exploitability(average(games.policies(SPPO("theory"), count - 1)))
        assert (anytime <= math.sqrt(math.log(20) / count)).all()
        step = math.sqrt(8 * math.log(20) / count)
        constant = games.exploitability(average(games.policies(SPPO(step), count - 1)))
        assert (constant <= math.log(20) / (step * count) + step / 8).all()


def test_the_last_iterate_of_sppo_cycles_while_its_average_converges():
    games = arena("cycle", 3, (0.0,), (1.0,))
    policies = games.policies(SPPO(0.1), 4000)
    assert games.exploitability(policies[-1]).item() > games.exploitability(policies[0]).item()
    assert games.exploitability(average(policies)).item() < 0.01


def test_averages_of_regret_matching_converge_and_prediction_helps():
    games = arena("uniform", 20, (0.0,), (0.0,))
    plain = games.exploitability(average(games.policies(RegretMatching(False), 2000), power=1)).item()
    predictive = games.exploitability(average(games.policies(RegretMatching(True), 2000), power=2)).item()
    assert plain < 2e-3
    assert predictive < plain / 50


@pytest.mark.parametrize("family", ["uniform", "deterministic", "cycle", "circle"])
def test_proximal_point_reaches_the_value_of_the_unregularised_game(family):
    """With a doubling step, to 1e-10 of the linear programme's value, which is 0; KL(pi* || anchor) never rises."""
    games = arena(family, 5, (0.0,), (1.0,))
    algorithm = ProximalPoint("theory", inner=ADAPTIVE, inner_steps=None, accuracy=0.01, grow=2.0)
    star = games.log_equilibrium
    best, before = INF, INF
    for state, _ in games.states(algorithm, 20_000):
        p = state.policy.log_probabilities
        distance = nlhf_kl(star, p)
        assert distance <= before * (1 + 1e-9) + 1e-13
        before = distance
        best = min(best, games.exploitability(p).item())
        if best <= 1e-10:
            return
    pytest.fail(f"exploitability stayed at {best}")


# --- plug-ins and docs/algorithms.md ----------------------------------------------------------------------------------


def algorithm_of(name):
    """The algorithm of conf/algorithm/NAME.yaml with its defaults."""
    return build(configured(f"algorithm={name}")["algorithm"], "algorithm")


NAMES = sorted(path.stem for path in (ROOT / "conf" / "algorithm").glob("*.yaml"))


def listed_rows():
    """The cells of the overview of docs/algorithms.md, by name."""
    page = (ROOT / "docs" / "generate" / "algorithms.md").read_text()
    text = page.partition("## Overview")[2].partition("Much of what papers")[0]
    rows = [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in text.splitlines() if line[:3] == "| `"
    ]
    return {row[0].strip("`"): row[1:] for row in rows}


def test_the_overview_lists_every_algorithm():
    assert sorted(listed_rows()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_the_overview_agrees_with_the_module_of_each_algorithm(name):
    algorithm = algorithm_of(name)
    module = sys.modules[type(algorithm).__module__]
    rule = sys.modules[type(getattr(algorithm, "rule", None)).__module__]  # `builtins` without a rule
    text = f"{module.__doc__}\n{rule.__doc__}"
    _, queries, _, _, source = listed_rows()[name]
    for number in re.findall(r"\d{4}\.\d{5}", source):
        assert number in text, f"{module.__name__} does not name its source arXiv:{number}"
    if source == "ours":
        assert "Source: ours" in module.__doc__
    if queries.isdigit():
        games = arena("uniform", 6, (0.0 if name in UNREGULARISED else 0.5,), (1.0,))
        (_, first), *_, (_, last) = games.states(algorithm, 8)
        assert (last - first) // 8 == int(queries)


def test_an_algorithm_is_added_by_one_python_file_and_one_yaml(importable, tmp_path):
    (tmp_path / "conf" / "algorithm").mkdir(parents=True)
    (importable / "my_plug_in.py").write_text(
        "from dataclasses import dataclass\n"
        "from nlhf.algorithms.base import ProximalAlgorithm, State\n\n\n"
        "@dataclass(frozen=True)\n"
        "class MyAlgorithm(ProximalAlgorithm):\n"
        "    def update(self, state, prox):\n"
        "        return State(prox(opponent=state.policy, anchor=prox.reference, step_size=self.step_size))\n"
    )
    (tmp_path / "conf" / "algorithm" / "mine.yaml").write_text("_target_: my_plug_in.MyAlgorithm\nstep_size: 1.0\n")
    overrides = [f"hydra.searchpath=[file://{tmp_path / 'conf'}]", "algorithm=mine", f"runs_dir={tmp_path / 'runs'}"]
    run = nlhf.run([*overrides, "game=rock_paper_scissors", "reference=random", "beta=1", "budget.iterations=50"])
    assert run.summary["status"] == "completed"
    assert set(run.metrics["algorithm"]) == {"mine"}
    assert run.metrics["iteration"].max() >= 3


# --- sources and caveats ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_the_sources_are_those_that_the_readme_names(name):
    sources, told = algorithm_of(name).cited, re.findall(r"\d{4}\.\d{4,5}", listed_rows()[name][4])
    assert set(told) <= set(sources)
    assert len(set(sources)) == len(sources)


CITED = {
    "adaptive_nash_mp": ["2505.19731", "2105.15186"],
    "adaptive_optimistic": ["2505.19731", "2105.15186"],
    "asking": [],
    "asking_bradley_terry": ["2402.10500"],
    "asking_log_barrier": ["2605.09363"],
    "asking_thompson": ["1604.07101"],
    "asking_uniform": [],
    "comal": ["2410.16714", "2410.23223", "2505.19731", "2206.05825", "2407.00617", "2403.08635"],
    "egpo": ["2503.08942"],
    "enpo": ["2606.01382", "2407.00617"],
    "extragradient": ["2503.08942"],
    "inpo": ["2206.05825", "2407.00617", "2403.08635"],
    "ipo_md": ["2312.00886", "2403.08635"],
    "mnpo": ["2509.23102", "2407.00617"],
    "mpo": ["2410.16714", "2410.23223", "2505.19731", "2206.05825", "2407.00617", "2403.08635"],
    "mtpo": ["2405.14655"],
    "nash_ema_pg": ["2505.19731", "2312.00886"],
    "nash_md": ["2312.00886"],
    "nash_md_pg": ["2312.00886", "2403.08635"],
    "nash_mp": ["2505.19731"],
    "nash_mp_ema": ["2505.19731", "2312.00886"],
    "nash_prox": ["2505.19731", "2312.00886"],
    "nash_prox_fast": ["2505.19731", "2312.00886"],
    "nash_rs": ["2503.10990"],
    "offline_dpo": ["2305.18290"],
    "offline_ipo": ["2310.12036"],
    "omd": ["2206.05825", "2407.00617", "2403.08635"],
    "online_dpo": ["2402.04792"],
    "online_ipo": ["2206.05825", "2407.00617", "2403.08635"],
    "optimistic": ["2105.15186", "2512.24818", "2502.16852"],
    "predictive_regret_matching": ["1407.5042", "2007.14358"],
    "proximal_point": ["2410.16714", "2410.23223", "2505.19731", "2105.15186"],
    "regret_matching": ["1407.5042", "2007.14358"],
    "restarted_gradient": ["1311.1869"],
    "restarted_optimistic": ["2505.19731", "2105.15186"],
    "secant": ["2505.19731"],
    "self_play": ["2206.05825", "2407.00617", "2403.08635"],
    "sft": [],
    "sppo": ["2405.00675", "2401.04056"],
    "stackelberg": ["2512.16626"],
    "xpo": ["2405.21046", "2402.04792"],
}


@pytest.mark.parametrize("name", NAMES)
def test_an_algorithm_cites_its_papers_in_order(name):
    assert list(algorithm_of(name).cited) == CITED[name]


def test_an_algorithm_cites_the_one_inside_it_behind_its_own_sources():
    inner = OnlineMirrorDescent("theory")
    outer = ProximalPoint("theory", inner_steps=10, accuracy=1.0, grow=1.0, inner=inner)
    assert outer.cited[0] == "2410.16714"
    assert outer.cited[-len(inner.cited) :] == inner.cited


@pytest.mark.parametrize("name", [name for name in NAMES if name not in (*ASKING, *OTHER_SOLUTIONS)])
def test_an_algorithm_without_a_caveat_comes_to_rest_at_the_equilibrium(name):
    beta = 0.0 if name in UNREGULARISED else 0.6
    algorithm = algorithm_of(name)
    if algorithm.caveat(beta) is not None:
        elsewhere = ("nash_md_pg", "ipo_md", "xpo", "offline_dpo", "offline_ipo", "sft")
        assert name in ("sppo", "regret_matching", "predictive_regret_matching", *elsewhere)
        return
    games = arena("uniform", 6, (beta,), (1.0,))
    *_, (state, _) = games.states(algorithm, 1000 if name in ("nash_mp_ema", "nash_prox") else 400)
    assert games.exploitability(state.policy.log_probabilities).item() < 1e-5


def test_constant_nash_md_rests_elsewhere_and_says_so():
    beta = 0.3
    algorithm, games = NashMD(1.0), arena("uniform", 6, (beta,), (1.0,))
    *_, (before, _), (after, _) = games.states(algorithm, 400)
    assert (after.policy.log_probabilities - before.policy.log_probabilities).abs().max() < 1e-12  # it rests,
    assert games.exploitability(after.policy.log_probabilities).item() > 1e-4  # and not at the equilibrium
    assert "biased" in algorithm.caveat(beta)
    assert NashMD("theory").caveat(beta) is None
    assert algorithm.caveat(0.0) is None  # without a KL term there is no mixture


def test_self_play_without_a_kl_term_cycles_and_says_of_which_game_its_average_is_the_equilibrium():
    algorithm = SPPO(0.5)
    assert "cycles" in algorithm.caveat(0.0)
    assert "beta = 0" not in algorithm.caveat(0.0)
    assert "beta = 0" in algorithm.caveat(0.05)


def test_the_longest_step_is_named_in_the_users_units():
    unit, beta, step = 4.0, 0.01, 1.0
    caveat = OnlineMirrorDescent(step).in_units(unit).cycling(beta / unit, unit)
    longest = 2 * math.pi**2 * beta / unit**2
    assert caveat == f"with a step above {longest:.2g} it can cycle"
    assert OnlineMirrorDescent(0.9 * longest).in_units(unit).cycling(beta / unit, unit) is None
