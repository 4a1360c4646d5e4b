"""What makes two commands the same run, what the seeds may be, and how a config is checked."""

from __future__ import annotations

import copy
import json
import shutil
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pytest
import yaml

from nlhf.config import ConfigError, build, checked, locate
from nlhf.io.inputs import InputFile
from nlhf.launch.compose import composed, plain
from nlhf.runner.chosen import CONF, chosen
from nlhf.runner.seeds import parse_seeds
from nlhf.runner.specification import specify
from tests.composing import configured


@pytest.fixture(scope="module")
def base():
    """The default config, as plain dicts."""
    with composed([]) as config:
        return plain(config)


def changed(config: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """A copy with other values at dotted keys."""
    config = copy.deepcopy(config)
    for key, value in changes.items():
        node, *path = config, *key.split(".")
        for name in path[:-1]:
            node = node[name]
        node[path[-1]] = value
    return config


def leaves(config: Any, prefix: str = "") -> list[str]:
    """Dotted keys of all values; an empty mapping is one."""
    if not isinstance(config, dict) or not config:
        return [prefix]
    return [leaf for name, value in config.items() for leaf in leaves(value, f"{prefix}.{name}".lstrip("."))]


def fingerprint(config: dict[str, Any], changes: dict[str, Any] | None = None) -> str:
    return specify(changed(config, changes or {})).fingerprint


# --- the fingerprint -------------------------------------------------------------------------------------------------

# docs/files.md, "Fingerprint": keys that change no result
LEFT_OUT = {
    "budget.queries": 5, "budget.iterations": 7, "budget.seconds": 3.0, "budget.target": None, "study": "other",
    "runs_dir": "/elsewhere", "progress": False, "tensorboard": True, "keep_checkpoint": False,
    "checkpoint_seconds": 1.0,
    "game.clip": 0.2, "fail_fast": True, "retry_failed": True, "vectorise": False, "dry_run": True, "force": True,
    "arena": True,
}  # fmt: skip
ENTERS = {
    "beta": 0.1, "seeds": 2, "device": "cuda", "equilibrium": "never", "log_policy": True, "names.game": "other",
    "names.algorithm": "other", "game.path": "embedded:mtbench_human.csv", "game.context": ["subject"],
    "game.where": {"subject": 1}, "game.drop": ["a"], "game.pseudo_count": 1, "game.unseen": "refuse",
    "game.cluster": [], "game.payoff": "sign", "game.competitors": 2,
    "game.columns": {"voter": "subject"}, "game.both_bad": "drop",
    "game.bootstrap": False, "algorithm.step_size": 2.0, "dtype": "float32",
}  # fmt: skip
ENTERS_WHERE_PAIRS_ARE_ASKED = {
    "feedback.votes_per_pair": 1, "feedback.orders": "both", "feedback.flip": 0.1, "feedback.position_bias": 0.5,
}  # fmt: skip


@pytest.fixture(scope="module")
def drawn(base):
    """A config in which the seeds draw something, so that they are kept."""
    return changed(base, {"game.bootstrap": True})


def test_every_key_is_known_to_enter_the_fingerprint_or_not(base):
    undecided = {key for key in leaves(base) if not key.endswith("._target_")} - set(LEFT_OUT) - set(ENTERS)
    undecided -= set(ENTERS_WHERE_PAIRS_ARE_ASKED)
    assert not undecided, f"say in LEFT_OUT or ENTERS what becomes of {undecided}"


@pytest.mark.parametrize("key", [*LEFT_OUT])
def test_how_long_and_where_a_run_runs_is_left_out(drawn, key):
    if key not in leaves(drawn):
        pytest.skip(f"no key {key} yet")
    assert fingerprint(drawn, {key: LEFT_OUT[key]}) == fingerprint(drawn)


@pytest.mark.parametrize("key", [*ENTERS])
def test_whatever_decides_a_result_enters(drawn, key):
    assert fingerprint(drawn, {key: ENTERS[key]}) != fingerprint(drawn)


@pytest.mark.parametrize("key", [*ENTERS_WHERE_PAIRS_ARE_ASKED])
def test_feedback_enters_where_pairs_are_asked_and_is_refused_elsewhere(drawn, key):
    sampled = {"prox": {"_target_": "nlhf.prox.sampled.SampledProx", "opponents": 4, "step_limit": None}}
    change = {key: ENTERS_WHERE_PAIRS_ARE_ASKED[key]}
    assert fingerprint(drawn, sampled | change) != fingerprint(drawn, sampled)
    if key == "feedback.orders":  # without a bias nothing depends on it
        assert fingerprint(drawn, change) == fingerprint(drawn)
    else:
        with pytest.raises(
            ConfigError, match="feedback changes answers about single pairs, which this prox does not ask for"
        ):
            fingerprint(drawn, change)


def test_an_algorithms_advice_to_the_gradient_engine_never_enters_at_any_depth(base):
    step = {"_target_": "nlhf.algorithms.omd.OnlineMirrorDescent", "step_size": "theory"}
    advice = {"gradient": {"surrogate": "ipo", "inner_steps": 3}}
    outer = {"_target_": "nlhf.algorithms.proximal_point.ProximalPoint", "step_size": "theory", "inner_steps": 10,
             "accuracy": 1.0, "grow": 1.0}  # fmt: skip
    plain, *advised = (
        fingerprint(base, {"algorithm": algorithm})
        for algorithm in (
            {**outer, "inner": step},
            {**outer, "inner": step | advice},
            {**outer, "inner": step, **advice},
        )
    )
    assert advised == [plain, plain]


@pytest.mark.parametrize(
    ("algorithm", "known"),
    [
        ("nash_mp", "9fbd763d916220b7"),
        ("sppo", "98e8c092a6fb6d86"),
        ("optimistic", "1e0999c892593da2"),
        ("adaptive_optimistic", "9462d4762c97f34b"),
        ("proximal_point", "1e89382b334b7493"),
        ("mpo", "f1b335234c448cde"),
        ("comal", "fdbc6a59afb0f97c"),
    ],
)
def test_runs_of_earlier_versions_are_found_again(algorithm, known):
    """Fingerprints of default runs since version 0.2.0: another one would orphan their folders."""
    with composed([f"algorithm={algorithm}"]) as config:
        assert fingerprint(plain(config)).startswith(known)


def test_another_class_in_a_group_is_another_run(base):
    names = {"names.game": "same", "names.algorithm": "same"}
    swap = {"algorithm": {"_target_": "nlhf.algorithms.omd.OnlineMirrorDescent", "step_size": "theory"}}
    other = {"reference": {"_target_": "nlhf.references.base.RandomLogits", "scale": 1.0}}
    prints = {fingerprint(base, names | change) for change in ({}, swap, other, swap | other)}
    assert len(prints) == 4


def test_the_kind_of_device_enters_and_its_number_does_not(base):
    cpu, first, second = (fingerprint(base, {"device": d}) for d in ("cpu", "cuda:0", "cuda:1"))
    assert first == second != cpu


@pytest.mark.parametrize(
    ("key", "one", "same"),
    [
        ("beta", 1, 1.0),
        ("beta", 0, -0.0),
        ("game.pseudo_count", 2, 2.0),
        ("algorithm.step_size", 3, 3.0),
        ("seeds", 20, 20.0),
        ("seeds", 20, list(range(20))),
        ("seeds", 4, "0-3"),
        ("seeds", [1, 2], [1.0, 2.0]),
    ],
)
def test_values_that_mean_the_same_have_one_fingerprint(drawn, key, one, same):
    assert fingerprint(drawn, {key: one}) == fingerprint(drawn, {key: same})


def test_a_mapping_of_numbers_is_compared_by_value_too(base):
    numbers = [{"subject": 1}, {"subject": 1.0}]
    assert len({fingerprint(base, {"game.where": where}) for where in numbers}) == 1


def test_the_order_of_keys_is_irrelevant(base):
    def backwards(value):
        return {k: backwards(value[k]) for k in reversed(value)} if isinstance(value, dict) else value

    config = changed(base, {"game.where": {"subject": [1, 2], "item_a": ["a", "b"]}})
    assert json.dumps(backwards(config)) != json.dumps(config)
    assert fingerprint(backwards(config)) == fingerprint(config)


def test_an_input_file_counts_by_content_and_not_by_path(base, tmp_path):
    embedded = base["game"]["path"]
    copies = [tmp_path / "copy.csv", tmp_path / "again.csv"]
    for path in copies:
        shutil.copy(InputFile(embedded).location, path)
    prints = [fingerprint(base, {"game.path": str(path)}) for path in (embedded, *copies)]
    assert len(set(prints)) == 1
    copies[0].write_text(copies[0].read_text().replace("15,5", "14,6", 1))
    assert fingerprint(base, {"game.path": str(copies[0])}) != prints[0]


def test_a_reference_file_counts_by_content(base, tmp_path):
    prints = []
    for name, weights in (("a", [1.0, 2.0, 3.0, 4.0, 5.0]), ("b", [1.0, 2.0, 3.0, 4.0, 5.0]), ("c", [1.0] * 5)):
        np.save(tmp_path / name, np.array(weights))
        node = {"_target_": "nlhf.references.base.FromFile", "path": str(tmp_path / f"{name}.npy")}
        prints.append(fingerprint(base, {"reference": node}))
    assert prints[0] == prints[1] != prints[2]


def test_the_folder_is_named_by_game_algorithm_and_twelve_digits(base):
    run = specify(changed(base, {"study": "s", "runs_dir": "/r"}))
    assert len(run.fingerprint) == 64
    assert run.folder.as_posix() == f"/r/s/tversky-nash_mp-{run.fingerprint[:12]}"


# --- seeds -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "seeds"),
    [
        (1, [0]),
        (3, [0, 1, 2]),
        (3.0, [0, 1, 2]),
        ("20-22", [20, 21, 22]),
        ("7-7", [7]),
        ([3, 7], [3, 7]),
        ([7, 3], [7, 3]),
        ([0], [0]),
        ([2.0], [2]),
        ([3, 2**63 - 1], [3, 2**63 - 1]),
    ],
)
def test_seeds_are_a_count_a_range_or_a_list(value, seeds):
    assert parse_seeds(value) == seeds


@pytest.mark.parametrize(
    "value",
    [0, -1, 1.5, float("inf"), True, None, [], [3, 3], [3, 3.0], [-1], [1.5], [True], ["3"], [[1]], "5-2", "-3", "a",
     "1-2-3", "1-", "²-³", {}],
)  # fmt: skip
def test_seeds_that_name_none_are_refused(value):
    with pytest.raises(ConfigError, match=r"^seeds=.* names no seeds: give a positive count \(20\), a range"):
        parse_seeds(value)


@pytest.mark.parametrize("value", [[2**63], [3, 2**64 - 1], [2**64], [2.0**70], [10**40]])
def test_seeds_that_no_table_holds_are_refused(value):
    with pytest.raises(ConfigError, match=r"^seeds=.* has a seed above 9223372036854775807 .*: give smaller seeds\.$"):
        parse_seeds(value)


@pytest.mark.parametrize(("value", "shown"), [(True, "seeds=true "), ([3, 3], "seeds=[3, 3] "), (None, "seeds=null ")])
def test_refused_seeds_are_shown_as_the_command_line_writes_them(value, shown):
    with pytest.raises(ConfigError) as refused:
        parse_seeds(value)
    assert str(refused.value).startswith(shown)


def test_where_nothing_is_random_one_seed_is_kept(base):
    many = specify(changed(base, {"seeds": 20}))
    assert (many.options.seeds, many.config["seeds"], many.random, many.requested) == ([0], [0], False, 20)
    one = specify(changed(base, {"seeds": [5]}))
    assert (one.options.seeds, one.random, one.requested) == ([0], False, 1)
    assert many.fingerprint == one.fingerprint == specify(base).fingerprint


@pytest.mark.parametrize(
    "change",
    [
        {"game.bootstrap": True},
        {"game": {"_target_": "nlhf.games.random_tournament.RandomTournament", "actions": 3, "contexts": 1}},
        {"reference": {"_target_": "nlhf.references.base.RandomLogits", "scale": 1.0}},
    ],
)
def test_whatever_is_random_keeps_the_seeds(base, change):
    run = specify(changed(base, change | {"seeds": [4, 2]}))
    assert (run.options.seeds, run.random, run.requested) == ([4, 2], True, 2)


# --- checking --------------------------------------------------------------------------------------------------------


@dataclass
class Sample:
    number: float
    count: int
    limit: int | None
    word: str
    flag: bool
    choice: Literal["half", "refuse"]
    step: float | Literal["theory"]
    names: list[str]
    table: dict[str, float]


GOOD: dict[str, Any] = {
    "number": 0.5, "count": 2, "limit": None, "word": "w", "flag": True, "choice": "half", "step": "theory",
    "names": ["a"], "table": {"a": 1.0},
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "given", "taken"),
    [
        ("number", 2, 2.0),
        ("number", float("inf"), float("inf")),
        ("count", 3.0, 3),
        ("limit", 5.0, 5),
        ("step", 2, 2.0),
        ("names", (), []),
        ("table", {1: 2}, {"1": 2.0}),
    ],
)
def test_whole_floats_serve_as_ints_and_ints_as_floats(name, given, taken):
    value = checked(Sample, GOOD | {name: given})[name]
    assert value == taken
    assert repr(value) == repr(taken)


@pytest.mark.parametrize(
    ("name", "given", "sentence"),
    [
        ("number", "x", "key.number=x is not a number: give one."),
        ("number", True, "key.number=true is not a number: give one."),
        ("number", float("nan"), "key.number=nan is not a number: give one."),
        ("number", None, "key.number=null is not a number: give one."),
        ("count", 1.5, "key.count=1.5 is not a whole number: give one."),
        ("count", "2", "key.count=2 is not a whole number: give one."),
        ("count", float("inf"), "key.count=inf is not a whole number: give one."),
        ("limit", "x", "key.limit=x is not a whole number or null: give one."),
        ("word", 5, "key.word=5 is not a text: quote it, 'key.word=\"5\"'."),
        ("flag", 1, "key.flag=1 is not true or false: give one."),
        ("flag", "true", "key.flag=true is not true or false: give one."),
        ("choice", "haf", "key.choice=haf is not one of half, refuse: give one."),
        ("step", "theorem", "key.step=theorem is not a number or one of theory: give one."),
        ("names", "a", "key.names=a is not a list, [A,B], each entry a text: write 'key.names=[a]'."),
        ("names", 1, "key.names=1 is not a list, [A,B], each entry a text: give one."),
        (
            "names",
            ["a", 1],
            'key.names=["a", 1] holds 1, which is not a text: quote it, \'key.names=["a","1"]\'.',
        ),
        ("table", [1], "key.table=[1] is not a mapping, {NAME: VALUE}, each value a number: give one."),
        ("table", {"a": "b"}, "key.table.a=b is not a number: give one."),
    ],
)
def test_a_wrong_type_is_refused_with_key_value_and_what_is_wanted(name, given, sentence):
    with pytest.raises(ConfigError) as refused:
        checked(Sample, GOOD | {name: given}, "key")
    assert str(refused.value) == sentence


@pytest.mark.parametrize(
    ("name", "remedy"), [("nubmer", "did you mean number"), ("xyz", "known keys are number, count, limit")]
)
def test_an_unknown_key_is_answered_with_the_nearest_or_all(name, remedy):
    with pytest.raises(ConfigError, match=rf"^key\.{name} is not a key of Sample: {remedy}"):
        checked(Sample, GOOD | {name: 1}, "key")


def test_unknown_keys_are_found_in_groups_and_at_the_top(base):
    for key, nearest in (("algorithm.stepsize", "step_size"), ("game.pseudocount", "pseudo_count"), ("bta", "beta")):
        with pytest.raises(ConfigError, match=f"^{key} is not a key of .*did you mean {nearest}"):
            specify(changed(base, {key: 1}))


@pytest.mark.parametrize("written", [".inf", "inf"])
def test_an_infinite_step_may_be_written_on_the_command_line_as_in_yaml(written):
    with composed(["algorithm=omd", f"algorithm.step_size={written}"]) as config:
        run = specify(plain(config))
    assert run.algorithm.step_size == float("inf")


def test_a_missing_key_is_named_with_how_to_give_it(base):
    config = copy.deepcopy(base)
    del config["game"]["drop"]
    with pytest.raises(ConfigError, match=r"^game\.drop is missing: give game\.drop=VALUE"):
        specify(config)


def test_a_huge_whole_number_is_refused_or_taken_and_never_an_overflow(base):
    with pytest.raises(ConfigError, match=r"^beta=1"):
        specify(changed(base, {"beta": 10**400}))


@pytest.mark.parametrize(
    ("node", "sentence"),
    [
        ({}, r"game\._target_=None names no class"),
        ({"_target_": "nlhf.nowhere.Game"}, "cannot be imported"),
        ({"_target_": "nlhf.games.votes.Nothing"}, "cannot be imported"),
        ({"_target_": "pathlib.Path"}, "is not a dataclass"),
    ],
)
def test_a_target_that_is_no_plug_in_is_refused(node, sentence):
    with pytest.raises(ConfigError, match=sentence):
        build(node, "game")


def test_a_group_without_a_choice_is_refused(base):
    with pytest.raises(ConfigError, match=r"^prox=null does not name a choice of conf/prox/: give prox=NAME\.$"):
        specify(changed(base, {"prox": None}))


@pytest.mark.parametrize("group", ["policy", "prox", "regulariser", "solution"])
def test_refusals_name_the_choice_of_a_part(group):
    for file in sorted((CONF / group).glob("*.yaml")):
        target = yaml.safe_load(file.read_text())["_target_"]
        assert chosen(group, locate({"_target_": target}, group, object)) == file.stem


def test_refusals_name_the_algorithm_as_the_run_does():
    refused = r"^algorithm=nash_mp_averaged needs answers that are linear in the policy"
    with pytest.raises(ConfigError, match=refused):
        specify(
            configured("algorithm=secant", "names.algorithm=nash_mp_averaged", "game=annotators", "game.competitors=2")
        )
    assert chosen("algorithm", int) == "int", "no file of conf/ makes a class of another package"
