"""`game.payoff` in runs: the scaling by 2M, fixed points, units of all that is reported, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

import nlhf
from nlhf.config import ConfigError
from nlhf.games.matrix import MatrixGame
from nlhf.games.payoff import Payoff
from nlhf.launch.compose import composed, plain
from nlhf.runner.assemble import assemble
from nlhf.runner.specification import specify

SMALL = ("progress=false", "equilibrium=always", "budget.target=null", "budget.queries=null")


def specified(*overrides, folder="unused"):
    with composed([*SMALL, "budget.iterations=1", f"runs_dir={folder}", *overrides]) as config:
        return specify(plain(config))


def run(folder, *overrides):
    return nlhf.run([*SMALL, f"runs_dir={folder}", *overrides])


@pytest.mark.parametrize("algorithm", ["self_play", "nash_mp"])
def test_one_step_of_self_play_on_log_odds_maximises_reward(tmp_path, algorithm):
    """On a Bradley-Terry game, from anywhere: ref exp(reward/beta). Nash Mirror Prox tends to it."""
    steps = 1 if algorithm == "self_play" else 400
    result = run(
        tmp_path, "game=bradley_terry", "game.actions=8", "game.payoff=logit", "game.clip=1e-4", "beta=0.4", "seeds=2",
        "reference=random", f"algorithm={algorithm}", f"budget.iterations={steps}",
    )  # fmt: skip
    with np.load(result.folder / "game.npz") as saved:
        preference, log_reference = saved["preference"][:, 0], saved["log_reference"][:, 0]
    rewards = np.log(preference[:, :, 0] / (1 - preference[:, :, 0]))  # differences to item 0
    expected = log_reference + rewards / 0.4
    expected -= np.logaddexp.reduce(expected, axis=-1, keepdims=True)
    assert result.log_policy[:, 0] == pytest.approx(expected, abs=1e-10 if algorithm == "self_play" else 1e-6)
    assert result.metrics["exploitability"].iloc[-1] < 1e-12


@pytest.mark.parametrize(
    "algorithm", ["nash_mp", "optimistic", "adaptive_optimistic", "nash_md", "omd", "proximal_point"]
)
def test_iterates_are_those_of_the_scaled_game(tmp_path, algorithm):
    """(A', beta, lambda) has the iterates of (A'/2M, beta/2M, 2M lambda), and rows have the units of A'."""
    rng, payoff, beta = np.random.default_rng(0), Payoff("logit", 0.02), 0.5
    upper = np.triu(rng.random((5, 5)), 1)
    preference = upper + np.tril(1 - upper.T, -1) + np.eye(5) / 2
    np.save(tmp_path / "original.npy", preference)
    np.save(tmp_path / "scaled.npy", payoff.scaled((preference - preference.T) / 2) + 0.5)
    common = [f"algorithm={algorithm}", "game=matrix", "budget.iterations=30", "reference=random"]
    for step in ("theory", 0.11):
        first = run(
            tmp_path, *common, f"game.path={tmp_path / 'original.npy'}", "game.payoff=logit", "game.clip=0.02",
            f"beta={beta}", f"algorithm.step_size={step}",
        )  # fmt: skip
        scaled_step = step if step == "theory" else step * payoff.unit
        second = run(
            tmp_path, *common, f"game.path={tmp_path / 'scaled.npy'}", f"beta={beta / payoff.unit!r}",
            f"algorithm.step_size={scaled_step!r}".replace("'", ""),
        )  # fmt: skip
        assert first.log_policy == pytest.approx(second.log_policy, abs=1e-9)
        ours, scaled = first.metrics, second.metrics
        units = {
            "exploitability": payoff.unit,
            "exploitability_unregularised": payoff.unit,
            "step_size": 1 / payoff.unit,
        }
        for column in ("kl_to_equilibrium", "kl_bound", "kl_to_reference", *units):
            unit = units.get(column, 1.0)
            expected = unit * scaled[column].to_numpy()
            assert ours[column].to_numpy() == pytest.approx(expected, rel=1e-5, abs=1e-20, nan_ok=True)


def test_rows_agree_with_the_definitions(tmp_path):
    """Exploitability in the payoff, win rates of P, and the theory's step 1/M of Nash Mirror Prox."""
    result = run(tmp_path, "game=tversky", "game.payoff=sign", "beta=0.05", "budget.iterations=3", "algorithm=nash_mp")
    with np.load(result.folder / "game.npz") as saved:
        preference, payoff = saved["preference"][0, 0], saved["payoff"][0, 0]
    np.testing.assert_array_equal(payoff, np.sign(preference - preference.T) / 2)
    last, log_policy = result.metrics.iloc[-1], result.log_policy[0, 0]
    expected = nlhf.exploitability(preference, log_policy, 0.05, payoff="sign")
    assert last["exploitability"] == pytest.approx(expected, rel=1e-9)
    assert last["win_rate_vs_reference"] == pytest.approx((np.exp(log_policy) @ preference).mean(), abs=1e-12)
    logit = run(
        tmp_path, "game=tversky", "game.payoff=logit", "game.clip=0.1", "budget.iterations=1", "algorithm=nash_mp"
    )
    assert logit.metrics["step_size"].iloc[-1] == pytest.approx(1 / np.log(9))
    graded = nlhf.evaluate(result.folder / "policy.npz", ["game=tversky", "game.payoff=sign", "beta=0.05"])
    assert graded["exploitability"] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("payoff", ["logit", "sign"])
def test_the_reference_equilibrium_is_that_of_the_payoff(tmp_path, payoff):
    world = assemble(specified("game=vicuna", "game.drop=[gpt4]", f"game.payoff={payoff}", "beta=0.1", folder=tmp_path))
    preference = world.game.linear.dense()[0, 0].numpy() + 0.5
    expected = nlhf.equilibrium(preference, 0.1, payoff=payoff)
    assert world.equilibria.log_policy[0, 0].numpy() == pytest.approx(expected.log_policy, abs=1e-9)
    assert world.certificate["certified"]
    assert world.certificate["exploitability"] <= world.certificate["floor"]


def test_a_bradley_terry_reference_is_fitted_to_preferences_whatever_the_payoff(tmp_path):
    worlds = [
        assemble(
            specified(
                "game=spinning_top", "game.actions=6", "reference=bradley_terry", f"game.payoff={name}", folder=tmp_path
            )
        )
        for name in ("linear", "sign")
    ]
    assert worlds[0].log_reference.equal(worlds[1].log_reference)


def test_held_out_contexts_and_soft_pairs_have_the_payoff_too(tmp_path):
    world = assemble(
        specified("game=contextual", "game.contexts=3", "game.test_contexts=2", "game.payoff=sign", folder=tmp_path)
    )
    for part in (world, world.held_out):
        assert isinstance(part.game, MatrixGame)
        assert set(part.game.advantage.unique().tolist()) <= {-0.5, 0.0, 0.5}
        assert part.game.preference.shape == part.game.advantage.shape
    result = run(
        tmp_path, "game=rock_paper_scissors", "game.payoff=sign", "prox=sampled", "budget.iterations=20",
        "reference=random", "beta=0.3", "algorithm=omd",
    )  # fmt: skip
    assert result.metrics["exploitability"].iloc[-1] < result.metrics["exploitability"].iloc[0]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["game=tversky", "game.payoff=sign", "prox=sampled", "feedback=vote"], "cannot be estimated without bias"),
        (["game=tversky", "game.payoff=sign", "prox=sampled", "feedback.flip=0.1"], "cannot be estimated without bias"),
        (["game=tversky", "game.payoff=logit", "algorithm=online_dpo", "prox=gradient"], "is not a probability"),
        (["game=tversky", "game.payoff=logit", "game.clip=0.5"], r"clip=0.5 is out of range"),
        (["game=tversky", "game.payoff=mean"], "game.payoff='?mean"),
    ],
)
def test_what_is_not_defined_or_biased_is_refused(overrides, message):
    with pytest.raises(ConfigError, match=message):
        specified(*overrides)


@pytest.mark.parametrize("choices", [["game=low_rank"], ["game=bradley_terry", "game.actions=9000"]])
def test_games_without_a_table_are_refused(choices, tmp_path):
    with pytest.raises(ConfigError, match=r"game.payoff=logit needs the table of all pairs"):
        assemble(specified(*choices, "game.payoff=logit", "equilibrium=never", folder=tmp_path))


def test_runs_from_before_there_were_payoffs_keep_their_fingerprint():
    with composed([*SMALL, "budget.iterations=1", "game=tversky"]) as config:
        now = plain(config)
    before = {**now, "game": {key: value for key, value in now["game"].items() if key not in ("payoff", "clip")}}
    assert len(before["game"]) == len(now["game"]) - 2
    assert specify(before).fingerprint == specify(now).fingerprint


def test_fingerprints_change_only_where_the_payoff_does():
    linear, clipped = specified("game=tversky"), specified("game=tversky", "game.clip=0.2")
    assert linear.fingerprint == clipped.fingerprint
    options = (["game.payoff=logit"], ["game.payoff=logit", "game.clip=0.2"], ["game.payoff=sign"])
    others = [specified("game=tversky", *chosen) for chosen in options]
    assert len({linear.fingerprint, *(other.fingerprint for other in others)}) == 4
    assert len({linear.digests["setting"], *(other.digests["setting"] for other in others)}) == 4  # never pooled
    assert len({linear.digests["method"], *(other.digests["method"] for other in others)}) == 1
