"""Every yaml on disk is a plug-in that works: what can be combined runs for three steps, the rest is refused."""

from __future__ import annotations

import functools
import itertools
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from nlhf.config import ConfigError
from nlhf.games.base import GameFamily
from nlhf.launch.compose import composed
from nlhf.policies.base import Memory, Policy
from nlhf.policies.mlp import Inputs
from nlhf.policies.select import choose
from nlhf.runner.assemble import assemble
from nlhf.runner.chosen import CONF
from nlhf.runner.groups import GROUPS
from nlhf.runner.specification import specify
from tests.composing import ASKING, OTHER_SOLUTIONS, UNREGULARISED, configured

ON_DISK = {group: sorted(path.stem for path in (CONF / group).glob("*.yaml")) for group in GROUPS}
TEXTS = ("text", "dialogue")
GAMES, REFERENCES, ALGORITHMS = (
    [g for g in ON_DISK["game"] if g not in TEXTS],
    ON_DISK["reference"],
    ON_DISK["algorithm"],
)
QUICK, THOROUGH = ("matrix", "contextual"), [pytest.mark.thorough]  # games that `make quick` sees; of the others
ENGINES = list(itertools.product([p for p in ON_DISK["policy"] if p != "causal_lm"], ON_DISK["prox"]))


@pytest.fixture(scope="module")
def configs(tmp_path_factory):
    """The node that every choice composes to, files filled in where a plug-in reads one."""
    folder = tmp_path_factory.mktemp("contract")
    matrix = np.array([[0.5, 0.1, 0.9], [0.9, 0.5, 0.2], [0.1, 0.8, 0.5]])
    np.save(folder / "matrix.npy", matrix)
    (folder / "votes.csv").write_text("item_a,item_b,wins_a,wins_b\nx,y,3,1\ny,z,2,1\nz,x,1.5,0.5\n")
    (folder / "ratings.csv").write_text("item,rating\nx,1100\ny,1000\nz,950\n")
    files = {"matrix": folder / "matrix.npy", "votes": folder / "votes.csv", "ratings": folder / "ratings.csv"}
    budget = ("budget.iterations=3", "budget.target=null", "budget.queries=null")
    base = configured(f"runs_dir={folder}", "equilibrium=never", "seeds=2", *budget)
    nodes, composed_nodes = {}, _composed_nodes()
    for group, choice in [(name, choice) for name in GROUPS for choice in ON_DISK[name]]:
        for algorithm in ALGORITHMS if group == "prox" else [None]:
            node = dict(composed_nodes[group, choice, algorithm if choice == "gradient" else None])
            if group == "game" and choice in files:
                node["path"] = str(files[choice])
            if group == "game" and "actions" in node:
                node["actions"] = 3
            if choice == "contextual":
                node |= {"contexts": 4, "test_contexts": 2}
            if choice == "gradient":
                node |= {"contexts": 2, "samples": 2, "inner_steps": min(2, node["inner_steps"])}
            if choice == "mlp":
                node["hidden"] = [4]
            if choice == "sampled":
                node["opponents"] = 2
            nodes[group, choice, algorithm] = node

    weights = functools.cache(lambda game: _weights(folder, nodes["game", game, None]))

    def config(beta=0.05, /, **choices):
        algorithms = {"prox": choices.get("algorithm", "nash_mp")}
        chosen = {group: nodes[group, choice, algorithms.get(group)] for group, choice in choices.items()}
        if choices.get("reference") == "file":
            chosen["reference"] = dict(chosen["reference"], path=str(weights(choices["game"])))
        if choices.get("algorithm") in OTHER_SOLUTIONS:
            chosen["solution"] = nodes["solution", choices["algorithm"], None]
        return {**base, **chosen, "beta": beta}

    return config


def _composed_nodes():
    """The node of every choice, from one config of all choices, as composing is slow; that of prox=gradient depends on
    the algorithm."""
    fixed = [(group, choice) for group in GROUPS if group != "algorithm" for choice in ON_DISK[group]]
    choices = [*fixed, *(("algorithm", algorithm) for algorithm in ALGORITHMS)]
    nodes = {}
    with composed([f"+{group}@{group}_{choice}={choice}" for group, choice in choices]) as config:
        OmegaConf.set_struct(config, False)
        for group, choice in fixed:
            nodes[group, choice, None] = OmegaConf.to_container(config[f"{group}_{choice}"], resolve=True)
        for algorithm in ALGORITHMS:
            config.algorithm = config[f"algorithm_{algorithm}"]
            nodes["algorithm", algorithm, None] = OmegaConf.to_container(config.algorithm, resolve=True)
            nodes["prox", "gradient", algorithm] = OmegaConf.to_container(config.prox_gradient, resolve=True)
    return nodes


def _weights(folder: Path, game) -> Path:
    """A reference of as many weights as the game has items."""
    from nlhf.config import build

    items = len(build(game, "game").build([0]).items)
    path = folder / f"weights{items}.csv"
    path.write_text(",".join(str(1 + index) for index in range(items)) + "\n")
    return path


class Recorder:
    def __init__(self):
        self.rows, self.content = [], None

    def row(self, seed, values, policy):
        self.rows.append((seed, values, policy.log_probabilities[seed].clone()))

    def checkpoint(self, content):
        self.content = content


@pytest.fixture(scope="module", autouse=True)
def _built_once():
    """Build equal games once, as every game is played by every algorithm."""
    original, games = GameFamily.build, {}

    def build(family, seeds):
        key = repr(family), *seeds
        if key not in games:
            games[key] = original(family, seeds)
        return games[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GameFamily, "build", build)
        yield


def trained(config):
    return trained_run(specify(config))


def trained_run(run):
    world = assemble(run)
    recorder = Recorder()
    trainer = world.trainer(run, recorder)
    trainer.run()
    return trainer, recorder, world


def allowed(configs, algorithm, **choices):
    """The choices with the first engine that can take this algorithm's steps, and a beta at which it can."""
    engines = [
        prox for prox in ("exact", "gradient", "votes") if _possible(configs, algorithm=algorithm, prox=prox, **choices)
    ]
    chosen = {"algorithm": algorithm, "prox": engines[0], **choices}
    return chosen, next(beta for beta in (0.05, 0.0) if not refused(configs(beta, **chosen)))


def _possible(configs, **choices):
    return not all(refused(configs(beta, **choices)) for beta in (0.05, 0.0))


def refused(config):
    """The sentence with which a config is refused, or None."""
    try:
        specify(config)
    except ConfigError as refusal:
        return str(refusal)
    return None


def combinations(algorithm, game, references):
    """All engines; `exact` sees all games with all these references, the others all of each with one of the other."""
    for (policy, prox), reference in itertools.product(ENGINES, references):
        if prox == "exact" or reference == "uniform" or game == "contextual":
            yield {"policy": policy, "prox": prox, "game": game, "reference": reference, "algorithm": algorithm}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("game", [pytest.param(name, marks=THOROUGH * (name not in QUICK)) for name in GAMES])
def test_three_steps_or_a_sentence(configs, game, algorithm):
    """With two references, of which one takes turns: every pair of choices, but not every triple, occurs."""
    others = [reference for reference in REFERENCES if reference != "uniform"]
    turn = others[(GAMES.index(game) + ALGORITHMS.index(algorithm)) % len(others)]
    _all_three_steps(configs, combinations(algorithm, game, ["uniform", turn]))


@pytest.mark.long
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("game", GAMES)
def test_three_steps_or_a_sentence_with_every_reference(configs, game, algorithm):
    _all_three_steps(configs, combinations(algorithm, game, REFERENCES))


@pytest.mark.parametrize("payoff", ["logit", "sign"])
@pytest.mark.parametrize("game", [game for game in GAMES if game != "low_rank"])
def test_every_table_can_be_played_for_every_payoff(configs, game, payoff):
    for choices in ({"prox": "exact"}, {"prox": "sampled"}, {"prox": "gradient", "policy": "mlp"}):
        chosen = {"game": game, "reference": "uniform", "policy": "tabular", "algorithm": "nash_mp", **choices}
        config = configs(0.05, **chosen)
        if refused(config):  # conversations of several turns are for prox=exact
            assert choices["prox"] != "exact"
            continue
        _, recorder, _ = trained({**config, "game": config["game"] | {"payoff": payoff}})
        assert all(values["exploitability"] >= 0 for _, values, _ in recorder.rows)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_three_steps_against_several_competitors_or_a_sentence(configs, algorithm):
    def against_three(beta=0.05, /, **choices):
        config = configs(beta, **choices)
        return {**config, "game": config["game"] | {"competitors": 3}}

    _all_three_steps(against_three, combinations(algorithm, "annotators", ["uniform"]))


@pytest.mark.parametrize("regulariser", ["forward_kl", "mixed", "chi_square"])
@pytest.mark.parametrize("algorithm", [name for name in ALGORITHMS if name not in UNREGULARISED])
def test_three_steps_with_other_regularisers_or_a_sentence(configs, algorithm, regulariser):
    def penalised(beta=0.05, /, **choices):
        return configs(beta, **choices, regulariser=regulariser)

    _all_three_steps(penalised, combinations(algorithm, "matrix", ["random"]))


@pytest.mark.parametrize("regulariser", ["forward_kl", "mixed", "chi_square"])
def test_other_regularisers_work_with_payoffs_contexts_and_competitors(configs, regulariser):
    for game, changes in (("votes", {"payoff": "logit"}), ("contextual", {}), ("annotators", {"competitors": 3})):
        chosen = {"game": game, "reference": "uniform", "policy": "tabular", "prox": "exact"}
        config = configs(0.5, **chosen, algorithm="adaptive_optimistic", regulariser=regulariser)
        config = {**config, "game": config["game"] | changes, "equilibrium": "always"}
        _, recorder, world = trained({**config, "budget": config["budget"] | {"iterations": 12}})
        assert world.certificate["certified"]
        first, last = recorder.rows[0][1], recorder.rows[-1][1]
        assert last["kl_to_equilibrium"] < first["kl_to_equilibrium"] / 10
        assert last["kl_to_equilibrium"] <= last["kl_bound"]
        assert last["regularised_value"] <= last["win_rate_vs_reference"]


def _all_three_steps(configs, combined):
    for choices in combined:
        try:
            _three_steps_or_a_sentence(configs, choices)
        except Exception as problem:
            problem.add_note(" ".join(f"{group}={choice}" for group, choice in choices.items()))
            raise


def _three_steps_or_a_sentence(configs, choices):
    refusals = []
    for beta in (0.05, 0.0):
        try:
            run = specify(configs(beta, **choices))
            break
        except ConfigError as refusal:
            refusals.append(str(refusal))
    else:
        assert re.search(r"^(algorithm|prox)=\w+ needs .+: (set|choose) ", refusals[0])
        return
    trainer, recorder, world = trained_run(run)
    seeds = len(world.beta)
    exact = choices["prox"] == "exact"
    assert len(recorder.rows) == 4 * seeds
    for _, values, policy in recorder.rows:
        assert policy.exp().sum(-1).allclose(torch.ones(1, dtype=torch.float64), atol=1e-12)
        assert values["exploitability"] >= 0
        assert values["iteration"] <= values["queries"]
    (_, first, start), (_, _, end) = recorder.rows[0], recorder.rows[-1]
    apart = first.get("stackelberg_gap", first["exploitability"]) > 0
    assert not exact or start.equal(end) or apart, "the equilibrium is a fixed point"
    assert _leading_dimensions(trainer.state) == {seeds}
    half = choose(torch.arange(seeds) % 2 == 0, trainer.state, trainer.algorithm.init(trainer.policy))
    assert type(half) is type(trainer.state)
    assert half.policy.log_probabilities[0].equal(end if seeds == 1 else recorder.rows[-seeds][2])


def _leading_dimensions(value):
    """First dimensions of all tensors of a state."""
    if isinstance(value, torch.Tensor):
        return {value.shape[0]}
    if isinstance(value, dict):
        return set().union(*(_leading_dimensions(entry) for entry in value.values()))
    if isinstance(value, Inputs):  # the features of contexts may be shared by the seeds
        return {value.log_reference.shape[0]}
    if not hasattr(value, "__dataclass_fields__"):
        return set()
    return set().union(*(_leading_dimensions(getattr(value, name)) for name in value.__dataclass_fields__))


def test_texts_and_language_models_are_for_each_other(configs):
    """What they can be combined with runs on a small model, in tests/test_text_game.py and tests/test_dialogue.py."""
    for game, policy, prox in itertools.product(ON_DISK["game"], ON_DISK["policy"], ON_DISK["prox"]):
        said = refused(configs(game=game, policy=policy, prox=prox, reference="uniform", algorithm="nash_prox"))
        if (game in TEXTS) != (policy == "causal_lm"):
            assert re.search(r"^(game|policy)=\w+ needs .+: (set|choose) ", said)
        elif game in TEXTS:
            assert (said is None) == (prox == "gradient")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_grade_notices_a_perturbed_answer(configs, algorithm):
    """The method does not grade itself: near the equilibrium, a perturbed policy is graded worse."""
    choices, beta = allowed(configs, algorithm, game="matrix", reference="uniform")
    beta = 0.0 if beta == 0 or algorithm == "sppo" else 2.0
    config = configs(beta, **choices)
    steps = 30 if algorithm in ASKING else 200  # rules that ask are closer after few steps, which are slow
    trainer, _, _ = trained({**config, "budget": {**config["budget"], "iterations": steps}})
    policy, average = trainer.state.policy.log_probabilities, trainer.average.total.log().log_softmax(-1)
    grades = trainer.measure(trainer.state.policy, average)
    last, mean = grades["exploitability"].max().item(), grades["average_exploitability"].max().item()
    grade, answer = (last, policy) if last < mean else (mean, average)
    noise = torch.tensor([0.3, -0.2, 0.1], dtype=torch.float64)
    worse = (answer + noise).log_softmax(-1)
    assert grade < trainer.measure.grade(worse)["exploitability"].min().item() / 2


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_state_goes_through_a_checkpoint(configs, algorithm, tmp_path):
    from nlhf.runner.source import dataclasses_in

    choices, beta = allowed(configs, algorithm, game="random_tournament", reference="uniform")
    trainer, recorder, _ = trained(configs(beta, **choices))
    torch.save(recorder.content, tmp_path / "checkpoint.pt")
    with torch.serialization.safe_globals([Memory, *dataclasses_in(trainer.state)]):
        content = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert isinstance(content["state"].policy, Policy)
    assert content["state"].policy.log_probabilities.equal(trainer.state.policy.log_probabilities)


@pytest.mark.parametrize(("group", "choice"), [(group, choice) for group in GROUPS for choice in ON_DISK[group]])
def test_every_yaml_says_what_it_is_and_names_its_class(group, choice):
    text = (CONF / group / f"{choice}.yaml").read_text()
    assert text.startswith("# ")
    config = OmegaConf.load(CONF / group / f"{choice}.yaml")
    assert "_target_" in config or "defaults" in config


@pytest.mark.parametrize("experiment", sorted(path.stem for path in (CONF / "experiment").glob("*.yaml")))
def test_every_experiment_composes(experiment):
    assert specify(configured(f"experiment={experiment}")).fingerprint
