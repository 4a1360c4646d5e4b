"""What is compared as one setting: all that the fingerprint is taken over decides, and nothing else does."""

from __future__ import annotations

import pytest
import yaml

from nlhf.analysis.criterion import Criterion
from nlhf.analysis.diff import diff
from nlhf.analysis.labels import label
from nlhf.analysis.results import analyse
from nlhf.analysis.study import load
from nlhf.io.json_files import read_json
from nlhf.launch.compose import composed, plain
from nlhf.runner.fingerprint import APART, LEFT_OUT, decides
from nlhf.runner.specification import specify
from tests.analysis.synthetic import geometric, write_run
from tests.launch.commands import command
from tests.test_config import ENTERS, ENTERS_WHERE_PAIRS_ARE_ASKED, changed, leaves
from tests.test_config import LEFT_OUT as OTHER_VALUES

CURVE = geometric(0.5, 0.5, range(10))
VOTES = "item_a,item_b,wins_a,wins_b\na,b,7,3\nb,c,6,4\na,c,2,8\n"
SAMPLED = {"_target_": "nlhf.prox.sampled.SampledProx", "opponents": 4, "step_limit": None}


@pytest.fixture(scope="module")
def base():
    with composed([]) as config:
        return changed(plain(config), {"game.bootstrap": True})


def leave(root, config, seed=0, **options):
    """The folder of a run of a config, as its specification identifies it."""
    run = specify(config)
    flat = {key.replace(".", "__"): _leaf(config, key) for key in leaves(config) if key != "names"}
    flat = {key: value for key, value in flat.items() if key not in ("beta", "seeds")}
    names = {"algorithm": config["names"]["algorithm"], "game": config["names"]["game"], "beta": config["beta"]}
    write_run(root, **names, curves={seed: CURVE}, summary=run.identity, **flat, **options)
    return run


def _leaf(config, key):
    for name in key.split("."):
        config = config[name]
    return config


def named(root):
    data = load(root)
    return data["setting"].nunique(), data["method"].nunique()


def digests(config):
    return specify(config).digests


@pytest.mark.parametrize("key", [key for key in OTHER_VALUES if key != "game.clip"])  # decides for log-odds only
def test_what_the_fingerprint_leaves_out_splits_no_setting_and_no_method(base, tmp_path, key):
    other = changed(base, {key: OTHER_VALUES[key]})
    assert specify(other).fingerprint == specify(base).fingerprint
    assert digests(other) == digests(base)
    assert not decides(key)
    for place, config in enumerate((base, other)):  # as told by their configs alone
        flat = {
            name.replace(".", "__"): _leaf(config, name) for name in (key, "game.actions") if name in leaves(config)
        }
        write_run(tmp_path / str(place), curves={place: CURVE}, **flat)
    assert named(tmp_path) == (1, 1)


@pytest.mark.parametrize("key", [*ENTERS, *ENTERS_WHERE_PAIRS_ARE_ASKED])
def test_what_enters_the_fingerprint_splits_either_settings_or_methods(base, tmp_path, key):
    if key in ENTERS_WHERE_PAIRS_ARE_ASKED:
        base = changed(base, {"prox": SAMPLED})
    other = changed(base, {key: (ENTERS | ENTERS_WHERE_PAIRS_ARE_ASKED)[key]})
    assert specify(other).fingerprint != specify(base).fingerprint
    differ = [name for name in ("setting", "method") if digests(other)[name] != digests(base)[name]]
    if key.partition(".")[0] in APART:
        assert differ == []
        return
    assert len(differ) == 1
    assert decides(key)
    for place, config in enumerate((base, other)):
        leave(tmp_path / "with digests" / str(place), config, seed=place)
        flat = {"beta": 0.05, key.replace(".", "__"): _leaf(config, key)}
        write_run(tmp_path / "by config" / str(place), curves={place: CURVE}, **flat)
    split = (2, 1) if differ == ["setting"] else (1, 2)
    assert named(tmp_path / "with digests") == split
    assert named(tmp_path / "by config") == split


@pytest.mark.parametrize(("key", "values"), [
    ("policy__micro_batch", (16, 8)), ("policy__shard", ("auto", True)), ("game__judge.batch", (32, 1)),
    ("algorithm__gradient.surrogate", ("ipo", "pair")),
    ("algorithm__inner.gradient.inner_steps", (1, 2)), ("device", ("cuda:0", "cuda:1")),
])  # fmt: skip
def test_what_decides_memory_or_place_splits_nothing(tmp_path, key, values):
    for place, value in enumerate(values):
        write_run(tmp_path, curves={place: CURVE}, **{key: value})
    assert named(tmp_path) == (1, 1)


def test_every_option_that_is_left_out_is_left_out_of_names():
    assert not any(decides(key) for key in LEFT_OUT)
    assert not any(decides(f"{key}.x") for key in LEFT_OUT)


def votes_of(base, path, algorithm="nash_mp"):
    target = {"nash_mp": "nlhf.algorithms.nash_mp.NashMP", "omd": "nlhf.algorithms.omd.OnlineMirrorDescent"}
    step = {"_target_": target[algorithm], "step_size": "theory"}
    return changed(
        base, {"game.path": str(path), "names.game": "votes", "names.algorithm": algorithm, "algorithm": step}
    )


def test_an_edited_votes_file_is_another_setting_whose_name_has_its_checksum(base, tmp_path):
    path = tmp_path / "votes.csv"
    inputs = []
    for algorithm, text in (("nash_mp", VOTES), ("omd", VOTES.replace("7,3", "3,7"))):
        path.write_text(text)
        inputs.append(leave(tmp_path / "s", votes_of(base, path, algorithm)).inputs["game.path"])
    data = load(tmp_path / "s").drop_duplicates("folder").set_index("algorithm")
    for algorithm, digest in zip(("nash_mp", "omd"), inputs, strict=True):
        assert data.loc[algorithm, "setting"] == f"votes, beta = 0.05, game.path sha256 = {digest[:8]}"
        assert data.loc[algorithm, "inputs.game.path"] == digest
    assert analyse(tmp_path / "s", Criterion(target=0.1)).comparisons.empty
    folders = sorted((tmp_path / "s").iterdir())
    entries, _, _ = diff(*folders)
    assert ("sha256 of game.path", inputs[0][:16], inputs[1][:16]) in entries
    part = label(load(tmp_path / "s").query("algorithm == 'omd'"))
    assert set(part["setting"]) == {"votes, beta = 0.05"}  # where nothing else is like it


def test_equal_files_are_one_setting_wherever_they_lie(base, tmp_path):
    for place, algorithm in (("x", "nash_mp"), ("y", "omd")):
        (tmp_path / place).mkdir()
        (tmp_path / place / "votes.csv").write_text(VOTES)
        leave(tmp_path / "s", votes_of(base, tmp_path / place / "votes.csv", algorithm))
    assert set(load(tmp_path / "s")["setting"]) == {"votes, beta = 0.05"}


def test_a_run_without_digests_is_not_taken_for_one_with_them(base, tmp_path):
    path = tmp_path / "votes.csv"
    path.write_text(VOTES)
    leave(tmp_path / "s", votes_of(base, path))
    write_run(tmp_path / "s", "omd", "votes", curves={0: CURVE}, game__path=str(path))
    assert load(tmp_path / "s")["setting"].nunique() == 2


@pytest.mark.parametrize("content", [None, "", "digests: 3\n", "digests: {setting: 1}\n", "- a\n", "\0"])
def test_a_run_that_was_killed_is_compared_by_what_identifies_it(base, tmp_path, content):
    leave(tmp_path, votes_of(base, "embedded:tversky1969.csv"))
    killed = votes_of(base, "embedded:tversky1969.csv", "omd")
    run = leave(tmp_path, killed, name="killed", status=None)
    assert load(tmp_path)["setting"].nunique() == 2  # nobody knows its data
    identity = yaml.dump(run.identity) if content is None else content
    (tmp_path / "killed" / ".hydra" / "identity.yaml").write_text(identity)
    assert load(tmp_path)["setting"].nunique() == (1 if content is None else 2)


def test_exact_and_sampled_answers_of_one_game_are_one_setting(base):
    sampled = changed(base, {"prox": SAMPLED})
    assert digests(sampled)["setting"] == digests(base)["setting"]
    assert digests(sampled)["method"] != digests(base)["method"]
    both = changed(base, {"feedback.orders": "both"})  # an exact step asks for no pair
    assert digests(both) == digests(base)


def test_a_real_study_whose_votes_were_edited_in_between_claims_no_winner(tmp_path, one_thread, capsys):
    path = tmp_path / "votes.csv"
    for algorithm, text in (("nash_mp", VOTES), ("omd", VOTES.replace("2,8", "8,2"))):
        path.write_text(text)
        command("game=votes", f"game.path={path}", f"algorithm={algorithm}", "budget.iterations=20", "study=s",
                f"runs_dir={tmp_path}", "progress=false")  # fmt: skip
    for folder in (tmp_path / "s").iterdir():
        identity = yaml.safe_load((folder / ".hydra" / "identity.yaml").read_text())
        assert identity["digests"] == (read_json(folder / "summary.json") or {})["digests"]
    results = analyse(tmp_path / "s", Criterion())
    assert results.summary["group"].nunique() == 2
    assert results.comparisons.empty
    command("game=votes", f"game.path={path}", "algorithm=nash_mp", "budget.iterations=20", "study=t", "fail_fast=true",
            f"runs_dir={tmp_path}", "progress=false", "retry_failed=false")  # fmt: skip
    command("game=votes", f"game.path={path.parent}/./votes.csv", "algorithm=omd", "budget.iterations=20", "study=t",
            f"runs_dir={tmp_path}", "progress=false", "vectorise=true")  # fmt: skip
    assert set(load(tmp_path / "t")["setting"]) == {"votes, beta = 0.05"}
