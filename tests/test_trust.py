"""A run folder may have been downloaded: its config runs nothing that the user does not trust."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
import yaml

from nlhf.cli import arena as arena
from nlhf.cli import exploit
from nlhf.config import ConfigError, build
from nlhf.games.base import GameFamily
from nlhf.launch.compose import composed, plain
from nlhf.runner.groups import GROUPS
from nlhf.runner.run_one import run_one
from nlhf.runner.specification import specify
from nlhf.runner.trust import ENDPOINTS, NOTHING, Trust, untrusted_config

MARK = "from pathlib import Path\nPath(__file__).with_suffix('.ran').touch()\n"
HELPERS = (
    MARK
    + """
from dataclasses import dataclass
from nlhf.language.policy import CausalLM

@dataclass(frozen=True)
class X(CausalLM):
    pass
"""
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tiny_model):
    """A run of the tiny model."""
    words = ["game=text", "policy=causal_lm", f"policy.model={tiny_model}", "policy.max_new_tokens=6",
             "prox=gradient", "prox.contexts=3", "prox.samples=4", "game.test_prompts=4", "beta=0.1",
             "game.judge.criteria=[diversity,length]", "algorithm=nash_prox", "prox.learning_rate=0.01",
             "budget.queries=null", "budget.iterations=1",
             f"runs_dir={tmp_path_factory.mktemp('runs')}"]  # fmt: skip
    with composed(words) as config:
        return run_one(plain(config)).folder


@pytest.fixture
def run(trained, importable, tmp_path):
    """A copy of the run, in a study of its own, and modules that a command there could import."""
    (importable / "helpers.py").write_text(HELPERS)
    return Path(shutil.copytree(trained, tmp_path / "study" / trained.name))


def change(run: Path, **entries: object) -> None:
    """Set entries of the config of a run folder by dotted keys, __ for dots."""
    path = run / ".hydra" / "config.yaml"
    config = yaml.safe_load(path.read_text())
    for key, value in entries.items():
        *parts, name = key.split("__")
        node = config
        for part in parts:
            node = node[part]
        node[name] = value
    path.write_text(yaml.safe_dump(config))


def refusal(capsys: pytest.CaptureFixture[str], main, *words: str) -> str:
    """The sentence with which a command refuses."""
    assert main(list(words)) == 2
    sentence = capsys.readouterr().err.strip()
    assert "\n" not in sentence
    return sentence


COMMANDS = {"exploit": lambda run: (exploit.main, str(run)), "arena": lambda run: (arena.main, str(run.parent))}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("key", ["policy___target_", "game__judge___target_"])
def test_a_class_of_another_module_is_not_even_imported(run, capsys, command, key):
    change(run, **{key: "helpers.X"})
    main, place = COMMANDS[command](run)
    sentence = refusal(capsys, main, place)
    assert "._target_=helpers.X, which is not a class of nlhf" in sentence
    assert "give --trust helpers if you trust it" in sentence
    assert not (run.parents[1] / "helpers.ran").exists()
    assert "helpers" not in sys.modules


def test_exploit_refuses_an_algorithm_of_another_module_which_the_arena_does_not_use(run, capsys):
    change(run, algorithm___target_="helpers.X")
    assert "--trust helpers" in refusal(capsys, exploit.main, str(run))
    assert arena.main([str(run.parent), "redraws=20", "most_prompts=4"]) == 0
    assert not (run.parents[1] / "helpers.ran").exists()


def test_a_module_that_is_trusted_is_imported(run, capsys):
    change(run, policy___target_="helpers.X")
    assert arena.main([str(run.parent), "--trust", "helpers", "redraws=20", "most_prompts=4"]) == 0
    assert (run.parents[1] / "helpers.ran").exists()
    assert "now describes the run" in refusal(capsys, exploit.main, str(run), "--trust=helpers")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_class_of_nlhf_must_be_of_the_expected_kind(run, capsys, command):
    change(run, policy___target_="nlhf.games.votes.Votes")
    main, place = COMMANDS[command](run)
    assert "policy._target_=nlhf.games.votes.Votes is not a subclass of " in refusal(capsys, main, place)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("value", [True, 1, "true"])
def test_a_folder_cannot_say_that_code_of_models_runs(run, capsys, command, value):
    change(run, policy__trust_remote_code=value)
    main, place = COMMANDS[command](run)
    assert "give --trust-remote-code if you trust it." in refusal(capsys, main, place)


def test_the_command_line_can(run):
    change(run, policy__trust_remote_code=True)
    assert arena.main([str(run.parent), "--trust-remote-code", "redraws=20", "most_prompts=4"]) == 0


def test_an_address_that_would_get_the_key_must_be_trusted(tmp_path):
    config = {"game": {"judge": {"_target_": "nlhf.judges.endpoint.Endpoint", "base_url": "http://somewhere/v1"}}}
    with pytest.raises(ConfigError, match=rf"game.judge.base_url=http://somewhere/v1, .* give --trust {ENDPOINTS}"):
        NOTHING.check(config, tmp_path)
    Trust((ENDPOINTS,)).check(config, tmp_path)
    config["game"]["judge"]["base_url"] = None
    NOTHING.check(config, tmp_path)


@pytest.mark.parametrize("target", ["nlhf_evil.X", "os.system", "nlhf", "", None, "helpers.nlhf.X"])
def test_only_modules_below_nlhf_or_a_trusted_one_are_allowed(tmp_path, target):
    config = {"algorithm": {"inner": [{"_target_": target}]}}
    with pytest.raises(ConfigError, match=r"names algorithm.inner.0._target_="):
        Trust(("helper",)).check(config, tmp_path)
    Trust(("helpers",)).check({"algorithm": {"_target_": "helpers.sub.X"}}, tmp_path)


def test_interpolations_of_a_downloaded_config_stay_text(run, capsys, monkeypatch):
    monkeypatch.setenv("SECRET", "geheim")
    change(run, policy__model="${oc.env:SECRET}")
    sentence = refusal(capsys, exploit.main, str(run))
    assert "geheim" not in sentence
    assert untrusted_config(run)["policy"]["model"] == "${oc.env:SECRET}"


# --- the command line ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [*GROUPS])
def test_a_target_that_is_not_of_the_groups_kind_is_refused_in_a_sentence(key):
    with composed([]) as config:
        given = plain(config)
    given[key] = {"_target_": "nlhf.io.inputs.InputFile", "path": "x"}
    with pytest.raises(
        ConfigError, match=rf"^{key}\._target_=nlhf.io.inputs.InputFile is not a subclass of \w+: derive it from nlhf\."
    ):
        specify(given)


@pytest.mark.parametrize("target", [".os", "os", "..", "a..b", "os.", ".", "", None, 3, ["os.path"]])
def test_a_target_that_names_no_class_is_refused(target):
    with pytest.raises(
        ConfigError, match=r"^game\._target_=.* names no class: choose one of conf/game/ as game=NAME\.$"
    ):
        build({"_target_": target}, "game")


BAD_CODE = ["1 / 0", "raise SystemExit(3)", "import sys; sys.exit()", "def", "raise ExceptionGroup('x', [OSError()])",
            "\0", "assert False, 'two\\nlines'"]  # fmt: skip


@pytest.mark.parametrize("code", BAD_CODE)
def test_a_module_that_fails_on_import_is_refused_in_a_sentence(importable, code):
    (importable / "failing_plug_in.py").write_text(code + "\n")
    with pytest.raises(
        ConfigError, match=r"^game\._target_=failing_plug_in\.X cannot be imported \(.*\): correct it\.$"
    ):
        build({"_target_": "failing_plug_in.X"}, "game")


@pytest.mark.parametrize("target", ["os.path", "os.getcwd", "os.sep", "os.PathLike"])
def test_what_is_no_dataclass_is_refused(target):
    with pytest.raises(ConfigError, match=rf"^game\._target_={target} is not a dataclass"):
        build({"_target_": target}, "game", GameFamily)
