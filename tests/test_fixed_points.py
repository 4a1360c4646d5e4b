"""Where every method of the table of docs/mathematics.md (section 5.2) rests, biased ones included.

A method is started at the point, where it must stay, and at the reference, from where it must arrive.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import optimize

from nlhf.analysis.figures.presets import exploring_losses
from nlhf.config import ConfigError
from nlhf.equilibria import solve as reference_equilibrium
from nlhf.launch.choices import BUNDLED
from nlhf.numerics import simplex
from nlhf.policies.tabular import TabularPolicy
from nlhf.runner.assemble import assemble
from nlhf.runner.specification import specify
from tests.adversarial import FAMILIES
from tests.composing import ASKING, OTHER_SOLUTIONS, configured
from tests.selection import mostly_long
from tests.test_contract import Recorder

pytestmark = pytest.mark.usefixtures("one_thread")

BETA, MIXTURE = 0.4, 0.4
FREE = ["equilibrium=never", "budget.queries=null", "budget.target=null"]
WHOLE = [*FREE, "prox=gradient", "prox.samples=null", "prox.contexts=null", "prox.optimiser=sgd", "prox.momentum=0",
         "prox.learning_rate=1"]  # fmt: skip
RATE, SHARE = ["algorithm.rate=0.1"], [f"algorithm.mixture={MIXTURE}"]
EXTRA = {"nash_prox": RATE, "nash_mp_ema": RATE, "nash_ema_pg": RATE, "nash_md_pg": SHARE, "ipo_md": SHARE,
         "mpo": ["algorithm.inner_steps=2"], "enpo": ["algorithm.extrapolation=3"]}  # fmt: skip


class Nobody:
    """Records nothing."""

    def row(self, seed, values, policy):
        pass

    def checkpoint(self, content):
        pass


@pytest.fixture
def game(tmp_path):
    """The overrides that play P(row > column), against a reference that is not uniform."""

    def overrides(preference):
        np.save(tmp_path / "game.npy", preference)
        weights = 0.2 + np.random.default_rng(9).random(len(preference))
        (tmp_path / "reference.csv").write_text(",".join(map(str, weights)) + "\n")
        return ["game=matrix", f"game.path={tmp_path}/game.npy", "reference=file",
                f"reference.path={tmp_path}/reference.csv", f"runs_dir={tmp_path}"]  # fmt: skip

    return overrides


def drawn(family, n=4):
    return FAMILIES[family](n, np.random.default_rng(0))


def trainer(overrides, *more, algorithm, beta=BETA, iterations=1):
    chosen = [f"algorithm={algorithm}", *EXTRA.get(algorithm, []), f"beta={beta}", f"budget.iterations={iterations}"]
    run = specify(configured(*chosen, *overrides, *more))
    return assemble(run).trainer(run, Nobody())


def after(made, start=None):
    """The policy that a run ends at, from `start` or the reference."""
    if start is not None:
        made.state = made.algorithm.init(TabularPolicy(start))
    made.run()
    return made.state.policy.log_probabilities


def distance(one, other):
    return (one - other).abs().max().item()


def parts(made):
    """Payoffs and log-reference."""
    return made.prox.game.dense()[0], made.prox.reference.log_probabilities


def equilibrium(made, beta=BETA):
    advantage, reference = parts(made)
    return reference_equilibrium.solve(advantage, reference[0], beta).log_policy[None]


def response_to_mixture(made):
    """BR(mix), mix = pi*(beta/(1 - w)), which is the mixture of this best response and the reference."""
    (advantage, reference), mix = parts(made), equilibrium(made, BETA / (1 - MIXTURE))
    response = (reference + mix.exp() @ advantage[0].T / BETA).log_softmax(-1)
    assert distance(((1 - MIXTURE) * response + MIXTURE * reference).log_softmax(-1), mix) < 1e-12
    return response


AT_THE_EQUILIBRIUM = (
    "nash_mp", "nash_prox", "nash_mp_ema", "self_play", "online_ipo", "nash_ema_pg", "inpo", "enpo", "mnpo",
    "extragradient",
)  # fmt: skip
RESTS = [(algorithm, equilibrium, response_to_mixture) for algorithm in AT_THE_EQUILIBRIUM]
RESTS += [(algorithm, response_to_mixture, equilibrium) for algorithm in ("nash_md_pg", "ipo_md")]


@pytest.mark.parametrize(("algorithm", "point", "elsewhere"), RESTS, ids=[algorithm for algorithm, *_ in RESTS])
def test_a_method_rests_where_the_table_says_and_not_elsewhere(game, algorithm, point, elsewhere):
    def made(iterations):
        few = ["prox.inner_steps=2"] if algorithm == "enpo" else []
        return trainer(game(drawn("uniform")), *WHOLE, *few, algorithm=algorithm, iterations=iterations)

    point, elsewhere = point(made(1)), elsewhere(made(1))
    assert simplex.kl(point, elsewhere) > 5e-4
    assert distance(after(made(3), point), point) < 1e-13
    assert distance(after(made(3), elsewhere), elsewhere) > 0.01
    assert simplex.kl(parts(made(1))[1], point) > 0.05
    assert simplex.kl(after(made(500)), point) < 1e-13


def test_what_is_played_against_a_target_or_the_policy_itself_matters_where_beta_is_small(game):
    far = [simplex.kl(equilibrium(made, 0.01), after(made)).item() for made in
           (trainer(game(drawn("cycle", 3)), *FREE, algorithm=algorithm, beta=0.01, iterations=2000)
            for algorithm in ("nash_prox", "nash_mp_ema"))]  # fmt: skip
    assert far[0] < 1e-12
    assert far[1] > 1e-4


# --- online DPO -------------------------------------------------------------------------------------------------------


def test_online_dpo_rests_at_the_rewards_of_a_bradley_terry_model(game):
    def made(iterations):
        overrides = *WHOLE, "prox.learning_rate=3"
        return trainer(game(drawn("bradley_terry")), *overrides, algorithm="online_dpo", iterations=iterations)

    rewards = torch.from_numpy(drawn("bradley_terry"))[:, 0].logit()
    point = (parts(made(1))[1] + rewards / (4 * BETA)).log_softmax(-1)
    assert distance(after(made(3), point), point) < 1e-13
    assert simplex.kl(after(made(600)), point) < 1e-20
    assert simplex.kl(equilibrium(made(1)), point) > 5e-4, "which is not the equilibrium"


def test_online_dpo_elsewhere_rests_near_the_equilibrium_for_beta_dpo_over_four(game):
    """A/s at beta/s has the same equilibrium; sig(z) - 1/2 - z/4 falls as z^3, so that KL falls as 1/s^4."""
    distances = []
    for scale in (1, 2, 10):
        faint = game(0.5 + (drawn("uniform") - 0.5) / scale), *WHOLE, f"prox.learning_rate={3 * scale}"
        made = trainer(*faint, algorithm="online_dpo", beta=BETA / scale, iterations=600)
        point = after(made)
        assert distance(after(trainer(*faint, algorithm="online_dpo", beta=BETA / scale), point), point) < 1e-12
        distances.append(simplex.kl(point, equilibrium(made, BETA / scale)).item())
    assert 1e-4 < distances[0] < 0.05
    assert 400 < distances[1] / distances[2] < 900, "5^4 = 625"


# --- XPO --------------------------------------------------------------------------------------------------------------


def minimiser_of_xpo(made, alpha, b=4 * BETA):
    """Log-probabilities where XPO's gradient vanishes, found by scipy from the loss written in numpy."""
    payoff, (log_reference,) = (part[0].numpy() for part in parts(made))

    def gradient(logits):
        log_pi = logits - np.logaddexp.reduce(logits)
        pi, ref, ratio = np.exp(log_pi), np.exp(log_reference), log_pi - log_reference
        error = 1 / (1 + np.exp(-b * (ratio[:, None] - ratio[None, :]))) - payoff - 0.5
        pull = pi[:, None] * ref[None, :] * error
        in_log_pi = b * (pull.sum(1) - pull.sum(0)) + alpha * ref
        return in_log_pi - pi * in_log_pi.sum() + logits.sum() * 1e-3

    root = optimize.root(gradient, log_reference - log_reference.mean(), tol=1e-13)
    assert np.abs(gradient(root.x)).max() < 1e-11
    return torch.from_numpy(root.x).log_softmax(-1)[None, None]


def test_xpo_without_a_bonus_rests_at_the_rewards_of_a_bradley_terry_model(game):
    overrides = *game(drawn("bradley_terry")), *WHOLE, "prox.learning_rate=3", "prox.alpha=0"
    made = trainer(overrides, algorithm="xpo", iterations=600)
    rewards = torch.from_numpy(drawn("bradley_terry"))[:, 0].logit()
    point = (parts(made)[1] + rewards / (4 * BETA)).log_softmax(-1)
    assert distance(after(trainer(overrides, algorithm="xpo", iterations=3), point), point) < 1e-13
    assert simplex.kl(after(made), point) < 1e-20


@pytest.mark.parametrize("alpha", [0.0, 0.01, 0.1])
@pytest.mark.parametrize("family", ["bradley_terry", "uniform", "cycle"])
def test_xpo_rests_where_its_gradient_vanishes(game, family, alpha):
    """The bonus lowers the reference's likelihood; with the other sign it would raise it."""
    overrides = *game(drawn(family)), *WHOLE, "prox.learning_rate=3", f"prox.alpha={alpha}"
    made = trainer(overrides, algorithm="xpo", iterations=600)
    point, neutral = minimiser_of_xpo(made, alpha), minimiser_of_xpo(made, 0.0)
    assert distance(after(made), point) < 1e-8
    likelihood = [(parts(made)[1].exp() * log_pi).sum() for log_pi in (point, neutral)]
    assert alpha == 0 or likelihood[0] < likelihood[1]
    if family != "bradley_terry" or alpha == 0.1:
        assert simplex.kl(equilibrium(made), point) > 1e-4, "biased, as its caveat says"


def test_the_bonus_of_xpo_moves_it_by_the_square_of_alpha(game):
    made = trainer(game(drawn("bradley_terry", 6)), *WHOLE, algorithm="xpo")
    far = [simplex.kl(minimiser_of_xpo(made, alpha, BETA), minimiser_of_xpo(made, 0.0, BETA)).item()
           for alpha in (0.01, 0.001)]  # fmt: skip
    assert 1e-4 < far[0] < 2e-2
    assert far[0] / far[1] == pytest.approx(100, rel=0.3)


@pytest.mark.parametrize("family", ["bradley_terry", "uniform", "cycle"])
def test_the_figure_of_the_bonus_predicts_where_xpo_rests(game, family):
    made = trainer(game(drawn(family)), *WHOLE, algorithm="xpo")
    (log_reference,) = parts(made)[1][0].numpy()
    for alpha in (0.0, 0.1):
        predicted = exploring_losses.minimiser_of_xpo(drawn(family), log_reference, alpha, 4 * BETA)
        assert np.abs(predicted - minimiser_of_xpo(made, alpha)[0, 0].numpy()).max() < 1e-8


def test_above_b_times_a_win_rate_the_bonus_of_xpo_leaves_no_minimum(game):
    """b = 1.6, and the second action wins with probability 0.05: the limit is alpha = 0.08."""
    overrides = *game(np.array([[0.5, 0.95], [0.05, 0.5]])), *WHOLE, "prox.learning_rate=20", "prox.momentum=0.9"
    for alpha, rests in ((0.07, True), (0.09, False)):
        runs = [trainer(overrides, f"prox.alpha={alpha}", algorithm="xpo", iterations=count) for count in (300, 900)]
        early, late = (after(run)[0, 0, 1].item() for run in runs)
        predicted = exploring_losses.minimiser_of_xpo(
            np.array([[0.5, 0.95], [0.05, 0.5]]), parts(runs[0])[1][0, 0].numpy(), alpha, 4 * BETA
        )
        assert np.isfinite(predicted).all() == rests
        assert abs(late - predicted[1]) < 1e-6 if rests else late < early - 0.5


# --- ENPO -------------------------------------------------------------------------------------------------------------


def test_enpo_without_damping_takes_the_steps_of_online_mirror_descent(game):
    overrides, start = game(drawn("uniform")), torch.tensor([[[0.3, 0.4, 0.2, 0.1]]]).double().log()
    exact = after(trainer(overrides, *FREE, algorithm="omd", iterations=3), start)
    many = "prox.inner_steps=400", "prox.momentum=0.9", "prox.alpha=0"
    assert distance(exact, start) > 0.01
    assert distance(after(trainer(overrides, *WHOLE, *many, algorithm="enpo", iterations=3), start), exact) < 1e-6


def test_alpha_shortens_a_short_step_of_enpo_by_a_quarter_of_itself(game):
    overrides, start = game(drawn("uniform")), torch.tensor([[[0.3, 0.4, 0.2, 0.1]]]).double().log()
    short = "algorithm.step_size=0.02", "prox.learning_rate=0.02"
    many = *WHOLE, *short, "prox.inner_steps=600", "prox.momentum=0.9", "prox.alpha=2"
    exact = after(trainer(overrides, *FREE, short[0], algorithm="omd"), start)
    damped = after(trainer(overrides, *many, algorithm="enpo"), start)
    centred = [change - (start.exp() * change).sum() for change in (damped - start, exact - start)]
    torch.testing.assert_close(centred[0], centred[1] / (1 + 2 / 4), rtol=0.02, atol=1e-5)
    made = trainer(overrides, *WHOLE, "prox.alpha=2", algorithm="enpo", iterations=3)
    point = equilibrium(made)
    assert distance(after(made, point), point) < 1e-13


# --- SPPO -------------------------------------------------------------------------------------------------------------


def test_sppo_rests_at_an_interior_equilibrium_of_the_unregularised_game(game):
    cycle = 0.5 + np.array([[0, 0.1, -0.2], [-0.1, 0, 0.4], [0.2, -0.4, 0]])
    point = torch.tensor([[[4.0, 2.0, 1.0]]], dtype=torch.float64).log().log_softmax(-1)  # A pi = 0
    fixed = "algorithm.step_size=0.5"
    made = [trainer(game(cycle), *WHOLE, fixed, algorithm="sppo", beta=0, iterations=3) for _ in range(2)]
    assert distance(after(made[0], point), point) < 1e-13
    start = parts(made[1])[1]
    assert distance(after(made[1], start), start) > 0.01


def test_sppo_drops_a_normalisation_of_second_order(game):
    """Its exact minimiser leaves a residual log Z = lambda^2 Var/2 in the regression, and is off by less than that."""
    start, steps, residuals, errors = torch.tensor([[[0.3, 0.4, 0.2, 0.1]]]).double().log(), (0.4, 0.2, 0.1), [], []
    for step in steps:
        many = f"algorithm.step_size={step}", f"prox.learning_rate={step}", "prox.inner_steps=600", "prox.momentum=0.9"
        made = trainer(game(drawn("uniform")), *WHOLE, *many, algorithm="sppo", beta=0)
        gain = step * (start.exp() @ parts(made)[0][0].T)
        found, exact = after(made, start), (start + gain).log_softmax(-1)
        variance = (start.exp() * gain**2).sum().item()
        residuals.append((found - start - gain).abs().max().item() / (variance / 2))
        errors.append(distance(found, exact) / step**2)
    assert residuals == pytest.approx([1, 1, 1], rel=0.1)
    assert errors[0] < 0.002
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.1), "once normalised the error is of third order"
    assert errors[1] / errors[2] == pytest.approx(2, rel=0.1)


# --- limits -----------------------------------------------------------------------------------------------------------

MANY = ["prox.inner_steps=300", "prox.momentum=0.9"]
NEVER = {"adaptive_nash_mp", "adaptive_optimistic", "comal", "online_dpo", "xpo", "predictive_regret_matching",
         "proximal_point", "regret_matching", "restarted_gradient", "restarted_optimistic", "secant",
         *ASKING, *OTHER_SOLUTIONS}  # fmt: skip


ALGORITHMS = BUNDLED.groups["algorithm"]
SHORT = {"nash_mp", "nash_md", "online_ipo", "sppo", "nash_prox_fast"} | NEVER


@pytest.mark.parametrize("algorithm", mostly_long(ALGORITHMS, SHORT))
def test_many_enumerated_gradient_steps_are_the_exact_step(game, algorithm):
    """INPO's case, ipo from frozen pairs, is one of these: its minimiser is the step of online mirror descent."""
    overrides, start = game(drawn("uniform", 3)), torch.tensor([[[0.3, 0.5, 0.2]]]).double().log()
    try:
        exact = after(trainer(overrides, *FREE, algorithm=algorithm, iterations=2), start)
        made = [trainer(overrides, *WHOLE, *MANY, f"prox.surrogate={surrogate}", algorithm=algorithm, iterations=2)
                for surrogate in ("policy_gradient", "pair", "ipo", "uniform_pair")]  # fmt: skip
    except ConfigError:
        assert algorithm in NEVER
        return
    assert distance(exact, start) > 0.01
    assert max(distance(after(engine, start), exact) for engine in made) < 1e-6


# --- seeds ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("surrogate", ["policy_gradient", "pair", "ipo", "uniform_pair", "sppo", "logistic"])
@pytest.mark.parametrize("policy", ["tabular", "mlp"])
@pytest.mark.parametrize("reference", ["uniform", "random"])
def test_seeds_that_share_a_table_or_do_not_are_what_each_is_alone(tmp_path, surrogate, policy, reference):
    algorithm = "online_dpo" if surrogate == "logistic" else "nash_mp"
    words = ["game=random_tournament", "game.actions=4", "game.contexts=2", f"reference={reference}",
             f"policy={policy}", *(["policy.hidden=[4]"] if policy == "mlp" else []), f"runs_dir={tmp_path}", *WHOLE,
             f"prox.surrogate={surrogate}"]  # fmt: skip
    several = after(trainer(words, "seeds=3", algorithm=algorithm, iterations=3))
    for seed in range(3):
        alone = after(trainer(words, f"seeds=[{seed}]", algorithm=algorithm, iterations=3))
        assert distance(several[seed], alone[0]) < (1e-12 if policy == "tabular" else 1e-5)


def test_inner_gradient_steps_go_on_from_the_inner_policy():
    """MPO's inner iterations would stay close to the anchor if each of them started there."""
    run = specify(configured("prox=gradient", "algorithm=mpo", "game=tversky", "beta=0.05", "prox.samples=null",
                             "prox.contexts=null", "budget.iterations=200", *FREE))  # fmt: skip
    recorder = Recorder()
    assemble(run).trainer(run, recorder).run()
    assert recorder.rows[-1][1]["exploitability"] < 1e-6
