"""The configs of a sweep's jobs are those that Hydra composes, and come a hundred times faster."""

from __future__ import annotations

import itertools
import time
from contextlib import contextmanager

import pytest
from hydra import initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.singleton import Singleton
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf.errors import OmegaConfBaseException

from nlhf.config import ConfigError
from nlhf.launch.compose import CONF, plain
from nlhf.launch.composer import Composer
from nlhf.launch.explain import explained
from nlhf.launch.job import combinations, side_by_side
from tests.analysis.presets import rows_of
from tests.selection import mostly_long

CHANGES = ["beta=1", "game=a,b", "seeds=range(3)", "study='x,y'", "~log_policy", "++new=1,2", "game=c,b"]
PRESETS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))


@contextmanager
def sweep_of(*overrides):
    """Hydra's loader and the config of a sweep, with Hydra's state as a sweeper finds it."""
    saved = Singleton.get_state()
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            hydra = GlobalHydra.instance().hydra
            master = hydra.compose_config("config", list(overrides), RunMode.MULTIRUN, with_log_configuration=False)
            HydraConfig.instance().set_config(master)
            yield hydra.config_loader, master
    finally:
        Singleton.set_state(saved)


@pytest.fixture(scope="module")
def sweep():
    """One composer for all jobs: what it composed before changes nothing."""
    with sweep_of() as (loader, master):
        yield loader, master, Composer(loader, master)


def composed_by_hydra(loader, master, overrides):
    """What the function that Hydra calls would make of the job."""
    before = HydraConfig.instance().cfg
    config = loader.load_sweep_config(master, list(overrides))
    HydraConfig.instance().set_config(config)
    try:
        return plain(config)
    finally:
        HydraConfig.instance().cfg = before


def typed(value):
    """A value with its types, so that 1 and 1.0 differ."""
    if isinstance(value, dict):
        return {key: typed(entry) for key, entry in value.items()}
    return [typed(entry) for entry in value] if isinstance(value, list) else (type(value), repr(value))


@pytest.mark.parametrize(
    "preset", mostly_long(PRESETS, ("baselines", "human_votes", "language_model", "neural", "noise"))
)
def test_every_preset_composes_as_with_hydra(preset):
    with sweep_of(f"experiment={preset}", "study=mine", "seeds=3") as (loader, master):
        params = {key: str(value).split(",") for key, value in (master.hydra.sweeper.params or {}).items()}
        compose, jobs = (
            Composer(loader, master),
            list(itertools.product(rows_of(master.hydra.sweeper), *params.values())),
        )
        for row, *values in (jobs[0], jobs[len(jobs) // 3], jobs[-1]):
            job = [*row, *(f"{key}={value}" for key, value in zip(params, values, strict=True))]
            job += [f"experiment={preset}", "study=mine", "seeds=3"]
            assert typed(compose(job)) == typed(composed_by_hydra(loader, master, job))


SWEEPS = [
    ["beta=0.1", "seeds=[3,7]", "study=a/b"],
    ["beta=1", "beta=2"],
    ["game=circle", "algorithm=omd", "algorithm.step_size=.inf", "budget.queries=null", "log_policy=true"],
    ["game.actions=7", "game=random_tournament", "reference=random", "reference.scale=2"],
    ["game=votes", "game.path=votes.csv", "game.where={judge: human, turn: [1,2]}", "game.drop=[a,'b c']"],
    ["game=votes", "game.path='a b=c,d.csv'", r"study='it\'s'", "runs_dir=\"quo ted\""],
    ["game=votes", r"game.path=with\ space\,comma.csv"],
    ["seeds=20-39", "device=cuda:1", "budget.target=1e-8", "budget.seconds=0x10", "names.game=mine"],
    ["+game.extra=1", "game.extra=2"],
    ["+extra.key={a: 1, b: [2]}", "beta=0.3"],
    ["++beta=0.4", "++new=1", "seeds=2"],
    ["~log_policy", "beta=0.3"],
    ["~game.drop", "game.context=[subject]"],
    ["beta=0.3", "~beta"],
    ["beta=0.3", "++beta=0.4"],
    ["budget.queries=7", "budget={queries: 5, iterations: 6}"],
    ["budget={queries: 5}", "budget.queries=7"],
    ["names={game: other}", "names.game=mine"],
    ["experiment=baselines", "beta=0.7", "game=circle", "budget.target=null"],
    ["~experiment", "beta=0.7"],
    ["hydra.launcher.workers=3", "hydra/launcher=pool", "beta=0.7"],
    ["hydra.sweep.dir=elsewhere", "hydra.job.chdir=false", "beta=0.7"],
    ["study=${game.actions}", "game=random_tournament", "game.actions=11"],
    ["study=${hydra:runtime.choices.game}_x", "game=circle", "beta=0.7"],
    ["study='${hydra:overrides.task}'", "game=circle", "beta=0.7"],
    ["study='beta_${beta}_${algorithm.step_size}'", "algorithm=omd", "algorithm.step_size=3", "beta=0.7"],
    ["study=${oc.env:HOME}", "beta=0.7"],
    ["study=${hydra:nope}", "beta=0.7"],
    ["algorithm._target_=a.b.C", "algorithm.step_size=theory"],
    ["prox=gradient", "algorithm=inpo", "algorithm.gradient.inner_steps=4", "prox.clip=2", "beta=0.7"],
    ["prox=sampled", "prox.budget.default.queries=7", "beta=0.7"],
    ["prox=sampled", "budget=long", "budget.queries=7", "prox.opponents=2"],
    ["study=null", "seeds=[]", "game.drop=null"],
    ["study=''", "runs_dir='é'"],
]  # fmt: skip


@pytest.mark.parametrize("job", SWEEPS, ids=" ".join)
def test_whatever_can_be_overridden_composes_as_with_hydra(sweep, job):
    loader, master, compose = sweep
    before = HydraConfig.instance().cfg
    assert typed(compose(job)) == typed(composed_by_hydra(loader, master, job))
    assert HydraConfig.instance().cfg is before


@pytest.mark.parametrize(
    "job",
    [
        ["bta=1"],
        ["game.actoins=3"],
        ["game=nope"],
        ["hydra/launcher=nope"],
        ["nope/nope=1"],
        ["beta@here=1"],
        ["+beta=1"],
        ["~nope"],
        ["beta=[1"],
        ["study=${nope}"],
        ["experiment=null"],
        ["+experiment=rates"],
        ["study=???"],
        ["beta.deeper=1"],
    ],
    ids=" ".join,
)
def test_what_hydra_refuses_is_refused_for_the_same_reason(sweep, job):
    loader, master, compose = sweep
    with pytest.raises((HydraException, OmegaConfBaseException, ValueError)) as words:
        composed_by_hydra(loader, master, job)
    with pytest.raises(ConfigError) as refused:
        compose(job)
    expected = words.value if isinstance(words.value, ConfigError) else explained(words.value, job)
    assert "\n" not in str(refused.value)
    assert str(refused.value) == str(expected)


def test_a_sweep_has_the_jobs_of_the_basic_sweeper(sweep):
    loader, _, _ = sweep
    overrides = OverridesParser.create(loader).parse_overrides(CHANGES)
    (expected,) = BasicSweeper.split_arguments(overrides, None)
    assert combinations(overrides) == expected
    assert len(expected) == 12


def test_values_that_go_together_are_paired(sweep):
    parse = OverridesParser.create(sweep[0]).parse_overrides
    rows = side_by_side(parse(["beta=0.1,0.2", "seeds=[1,2],[3]"]))
    assert rows == [["beta=0.1", "seeds=[1,2]"], ["beta=0.2", "seeds=[3]"]]
    assert side_by_side([]) == [[]]
    with pytest.raises(ConfigError, match=r"together has 2 of beta, 1 of seeds: give each key the same number"):
        side_by_side(parse(["beta=0.1,0.2", "seeds=3"]))


def test_options_and_remedies_are_given(sweep):
    _, _, compose = sweep
    with pytest.raises(ConfigError, match=r"choose one of annotators, .* tversky"):
        compose(["game=nope"])
    with pytest.raises(ConfigError, match=r"bta is not a key: did you mean beta=1\."):
        compose(["bta=1"])


def test_jobs_share_nothing(sweep):
    _, _, compose = sweep
    first = compose(["game.drop=[a]"])
    first["game"]["drop"].append("b")
    first["budget"]["queries"] = 0
    assert compose(["game.drop=[a]"])["game"]["drop"] == ["a"]
    assert compose([])["budget"]["queries"] != 0


def test_a_job_takes_a_few_milliseconds(sweep):
    loader, master, compose = sweep
    algorithms, seeds = ("omd", "egpo"), range(60)
    jobs = [["game=random_tournament", f"algorithm={algorithm}", f"seeds=[{seed}]", "game.actions=5", "beta=0.3"]
            for algorithm, seed in itertools.product(algorithms, seeds)]  # fmt: skip
    for job in jobs[:: len(seeds)]:
        compose(job)
    started = time.process_time()
    for job in jobs[:5]:
        composed_by_hydra(loader, master, job)
    between = time.process_time()
    for job in jobs:
        compose(job)
    ours, hydras = (time.process_time() - between) / len(jobs), (between - started) / 5
    assert ours < 0.015
    assert ours < hydras / 8
