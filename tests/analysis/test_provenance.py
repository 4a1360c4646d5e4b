"""Commands that make the runs again, no more and no fewer; configs, versions, and what is to be cited."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from functools import cache
from itertools import product
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

import nlhf
from nlhf.analysis import provenance
from nlhf.analysis.study import load_study
from nlhf.launch.compose import composed
from nlhf.prox.surrogates import SURROGATES
from nlhf.regularisers.mixed import ForwardKL
from nlhf.runner.specification import specify
from tests.analysis.presets import run_preset
from tests.analysis.synthetic import geometric, write_run
from tests.composing import ASKING, BY_LOSS, UNREGULARISED, configured

pytestmark = pytest.mark.usefixtures("one_thread")
ROOT = Path(nlhf.__file__).parents[1]


def tasks(command):
    """The sets of overrides that a command line stands for, by Hydra's own grammar and its sweeper's rules."""
    program, subcommand, *words = shlex.split(command)
    assert (program, subcommand) == ("nlhf", "run")
    several = words[:1] == ["-m"]
    parsed = OverridesParser.create().parse_overrides(words[1:] if several else words)
    if not several:
        assert not any(override.is_sweep_override() for override in parsed)
    keys = [override.get_key_element() for override in parsed]
    assert len(set(keys)) == len(keys)
    values = [
        list(override.sweep_string_iterator())
        if override.is_sweep_override()
        else [override.get_value_element_as_str()]
        for override in parsed
    ]
    return [
        sorted(key if key.startswith("~") else f"{key}={value}" for key, value in zip(keys, chosen, strict=True))
        for chosen in product(*values)
    ]


def asked(commands):
    return sorted(task for command in commands for task in tasks(command))


def runs(*overrides):
    return [{"overrides": list(words), "config": {"beta": 1}, "summary": {}} for words in overrides]


def test_a_shell_reads_every_word_as_it_was():
    words = ["study=a b", "a\x1b[31mb\u2028'\\n", "x\ny\t\r", '名 $x `y` "z"', r"\x1b", "\x85\u202e\U000e0041", ""]
    quoted = " ".join(map(provenance._quoted, words))
    assert "\n" not in quoted
    assert not set("\x1b\u2028\u202e\x85") & set(quoted)
    done = subprocess.run(["bash", "-c", f"printf '%s\\0' {quoted}"], env=os.environ | {"LC_ALL": "C.UTF-8"},
                          capture_output=True, check=True)  # fmt: skip
    assert done.stdout.decode().split("\0") == [*words, ""]


# --- commands --------------------------------------------------------------------------------------------------------


def test_a_full_sweep_is_one_command():
    made = runs(*(["study=mine", f"algorithm={a}", f"beta={b}"] for a in ("omd", "nash_mp") for b in ("0.1", "1.0")))
    commands = provenance.commands(made)
    assert commands == ["nlhf run -m algorithm=omd,nash_mp beta=0.1,1.0 study=mine"]
    assert asked(commands) == sorted(sorted(run["overrides"]) for run in made)


def test_a_sweep_with_a_hole_is_a_command_a_run():
    made = runs(["algorithm=omd", "beta=1"], ["algorithm=omd", "beta=2"], ["algorithm=sppo", "beta=1"])
    commands = provenance.commands(made)
    assert len(commands) == 3
    assert asked(commands) == sorted(run["overrides"] for run in made)


def test_sweeps_over_other_keys_are_a_command_a_run():
    made = runs(["algorithm=omd"], ["algorithm=omd", "beta=2"])
    assert asked(provenance.commands(made)) == sorted(run["overrides"] for run in made)


def test_one_run_is_no_multirun():
    assert provenance.commands(runs(["algorithm=omd", "beta=1"])) == ["nlhf run algorithm=omd beta=1"]
    assert provenance.commands(runs([])) == ["nlhf run"]


def test_where_and_how_loudly_it_was_run_is_left_out():
    assert provenance.commands(runs(["runs_dir=/tmp/x", "beta=1", "progress=false"])) == ["nlhf run beta=1"]


@pytest.mark.parametrize(
    "word",
    [
        "seeds=[3,7]", "seeds=20-39", "game.where={judge: human}", "game.drop=[a,b]", "game.path=my votes.csv",
        "study='a, b'", 'study="it\'s"', "algorithm.step_size=.inf", "~budget.target", "+new=1", "++beta=2",
        "game.path=", "study=$HOME", "study='a;b'",
    ],
)  # fmt: skip
@pytest.mark.parametrize("others", [["beta=1"], ["beta=1", "beta=2"]])
def test_any_override_survives_the_shell_and_hydra(word, others):
    made = runs(*([word, other] for other in others))
    parser = OverridesParser.create()

    def canonical(words):
        parsed = parser.parse_overrides(words)
        return sorted(
            entry.get_key_element() + ("" if entry.input_line[0] == "~" else "=" + entry.get_value_element_as_str())
            for entry in parsed
        )

    assert asked(provenance.commands(made)) == sorted(canonical(run["overrides"]) for run in made)


def test_a_repeated_key_counts_as_it_was_given_last():
    assert provenance.commands(runs(["beta=1", "beta=2"])) == ["nlhf run beta=2"]


def test_a_run_whose_config_is_lost_has_no_command():
    lost = {"overrides": [], "config": {}, "summary": {}}
    assert provenance.commands([lost]) == []
    assert provenance.commands([lost, *runs(["beta=1"])]) == ["nlhf run beta=1"]


@pytest.mark.parametrize("hole", [False, True])
def test_the_commands_of_a_study_compose_to_the_fingerprints_of_its_runs(tmp_path, hole):
    folder = run_preset("rates", tmp_path, "game.actions=4")
    if hole:
        shutil.rmtree(next(path for path in folder.iterdir() if path.is_dir()))
    found = [specify(configured(*task)).fingerprint for task in asked(provenance.commands(load_study(folder).runs))]
    expected = [json.loads(path.read_text())["fingerprint"] for path in folder.glob("*/summary.json")]
    assert len(expected) == 6 - hole
    assert sorted(found) == sorted(expected)


def test_a_command_of_a_preset_names_every_key_that_the_preset_sweeps(tmp_path):
    """Else the preset's sweep would come in, and make other runs."""
    folder = run_preset("rates", tmp_path, "game.actions=4")
    with composed(["experiment=rates"]) as config:
        swept = set(config.hydra.sweeper.params)
    for task in asked(provenance.commands(load_study(folder).runs)):
        assert swept <= {word.partition("=")[0] for word in task}


# --- configs and versions --------------------------------------------------------------------------------------------


def test_entries_that_all_runs_share_are_told_apart_from_those_that_differ(tmp_path):
    curves = {0: geometric(0.1, 0.5, [0, 1, 2])}
    write_run(tmp_path, "nash_mp", curves=curves, algorithm__step_size=1, device="cpu")
    write_run(tmp_path, "omd", curves=curves, algorithm__step_size=2, device="cpu", game__actions=3)
    shared, varied = provenance.configs(load_study(tmp_path).runs)
    assert shared["device"] == "cpu"
    assert shared["beta"] == "0.05"
    assert varied["algorithm.step_size"] == ["1", "2"]
    assert varied["game.actions"] == ["3"]  # one run has none
    assert not set(shared) & set(varied)


def made_with(**versions):
    return {"summary": {"versions": versions, "commit": "abc", "platform": "Linux", "threads": 1}}


def test_versions_are_told_and_mixed_ones_counted():
    assert provenance.versions([made_with(torch="2.9")] * 3) == {
        "torch": "2.9", "commit": "abc", "platform": "Linux", "threads": "1"
    }  # fmt: skip
    mixed = provenance.versions([made_with(torch="2.9")] * 2 + [made_with(torch="2.10")])
    assert mixed["torch"] == "mixed: 2.9 (2 of 3 runs), 2.10 (1 of 3 runs)"
    assert mixed["commit"] == "abc"


def test_a_run_without_a_summary_is_of_no_version():
    assert provenance.versions([made_with(torch="2.9"), {"summary": {}}])["torch"] == "2.9"
    assert provenance.versions([{"summary": {}}]) == {}


# --- citations -------------------------------------------------------------------------------------------------------


@cache
def algorithms():
    """(name, the algorithm with its defaults), of every one on disk."""
    found = []
    for path in sorted((ROOT / "conf" / "algorithm").glob("*.yaml")):
        engine = "gradient" if path.stem in BY_LOSS else "votes" if path.stem in ASKING else "exact"
        beta = 0 if path.stem in UNREGULARISED else 0.05
        config = configured(f"algorithm={path.stem}", f"prox={engine}", f"beta={beta}")
        found.append((path.stem, specify(config).algorithm))
    return found


def test_every_source_of_every_algorithm_is_in_the_bibliography():
    entries = provenance.bibliography()
    missing = [
        (name, source) for name, algorithm in algorithms() for source in algorithm.sources if source not in entries
    ]
    assert missing == []


def test_every_entry_is_cited_by_a_part_of_a_run_or_is_that_of_the_statistics():
    cited = {source for _, algorithm in algorithms() for source in algorithm.sources}
    cited |= {source for surrogate in SURROGATES.values() for source in surrogate.sources}
    cited |= set(ForwardKL().sources)
    assert set(provenance.bibliography()) == cited | {"2108.13264", "2401.01879"}


@pytest.mark.parametrize("number", sorted(provenance.bibliography()))
def test_an_entry_is_well_formed(number):
    entry = provenance.bibliography()[number]
    first, *fields, last = entry.split("\n")
    assert (first, last) == (f"@misc{{arXiv-{number},", "}")
    names = [re.fullmatch(r"  (\w+)=\{.+\},?", field)[1] for field in fields]
    assert names == ["title", "author", "year", "eprint", "archivePrefix"]
    assert all(field.endswith("},") for field in fields[:-1])
    depth = 0
    for letter in entry:
        depth += (letter == "{") - (letter == "}")
        assert depth >= 0
    assert depth == 0
    assert f"eprint={{{number}}}" in entry
    assert f"year={{20{number[:2]}}}" in entry
    assert " and " in entry or entry.count("author={Oskari") == 1
    assert entry.isascii()


def test_what_was_run_is_cited_once_in_order_and_the_statistics_last():
    made = [
        {"summary": {"method": {"sources": sources}}} for sources in (["2312.00886"], ["2505.19731", "2312.00886"], [])
    ]
    found = [entry.partition("{arXiv-")[2][:10] for entry in provenance.citations([*made, {"summary": {}}])]
    assert found == ["2312.00886", "2505.19731", "2108.13264"]


def test_an_unknown_source_of_somebodys_own_algorithm_is_left_out():
    made = [{"summary": {"method": {"sources": ["9999.99999"]}}}]
    assert len(provenance.citations(made)) == 1


def test_runs_write_down_what_they_are_to_be_cited_by(tmp_path):
    folder = run_preset("trajectories", tmp_path)
    for path in folder.glob("*/summary.json"):
        config = OmegaConf.load(path.parent / ".hydra" / "config.yaml")
        sources = json.loads(path.read_text())["method"]["sources"]
        assert sources == list(dict(algorithms())[config.names.algorithm].sources)
        assert sources
