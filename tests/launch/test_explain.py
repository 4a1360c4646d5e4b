"""Commands that Hydra cannot compose are refused in one sentence with the key, the value and the remedy, and code 2."""

from __future__ import annotations

import pytest

from nlhf.config import ConfigError
from nlhf.launch.choices import BUNDLED, Choices
from nlhf.launch.compose import composed
from tests.launch.commands import command

# overrides, and parts of the sentence in their order
CASES = [
    (["betta=1"], "betta is not a key", "did you mean beta=1."),
    (["BETA=1"], "did you mean beta=1."),
    (["gamee=tversky"], "did you mean game=tversky."),
    (["algorithm.stepsize=1"], "algorithm.stepsize is not a key", "did you mean algorithm.step_size=1."),
    (["algorithm.step-size=1"], "did you mean algorithm.step_size=1."),
    (["step_size=1"], "did you mean algorithm.step_size=1."),
    (["iterations=4"], "did you mean budget.iterations=4."),
    (["algorithm.beta=1"], "did you mean beta=1."),
    (["launcher=pool"], "did you mean hydra/launcher=pool."),
    (["hydra.job.chdirr=true"], "did you mean hydra.job.chdir=true."),
    (["algorithm.momentum=1"], "known keys are algorithm.step_size"),
    (["beta.x=1"], "beta is a single value", "write beta=1."),
    (["game.actions=5"], "of this game", "random_tournament", "choose one of these, or leave the key out."),
    (["game=tversky", "game.actions=5"], "of game=tversky", "random_tournament", "choose one of these"),
    (["prox.samples=4"], "not a key of this prox", "prox=gradient", "choose it"),
    (["hydra.launcher.workers=3"], "hydra/launcher=pool", "choose it"),
    (["game.where.judge=human"], "write +game.where.judge=human, which adds it."),
    (["+beta=1"], "+beta=1 adds a key that exists already", "write beta=1."),
    (["~betta"], "~betta removes a key that does not exist", "leave it out."),
    (["algorithm=nash-mp"], "algorithm=nash-mp is not a choice of algorithm", "did you mean algorithm=nash_mp."),
    (["algorithm=xyzzy"], "choose one of adaptive_nash_mp", "xpo."),
    (["hydra/launcher=poool"], "did you mean hydra/launcher=pool."),
    (["experiment=rate"], "did you mean experiment=rates."),
    (["hydra/launchr=pool"], "hydra/launchr is not a key", "did you mean hydra/launcher=pool."),
    (["++algorithm=omd"], "algorithm is a group", "write algorithm=omd."),
    (["algorithm@other=omd"], "has no place in this config", "write algorithm=omd."),
    (["judge=panel"], "judge=panel chooses a part of game=text", "write game=text judge@game.judge=panel."),
    (["judge@game.judge=openai"], "write game=text judge@game.judge=openai."),
    (["budget=1000"], "budget=1000 names no choice of budget", "choose one of default", "or set a key of it."),
    (["game=[nope]"], "game=[nope] names no choice of game", "choose one of"),
    (["beta"], "beta is not an override", "write beta=VALUE, without white space around the =."),
    (["1"], "1 is not an override"),
    (["=1"], "=1 is not an override", "write KEY=VALUE"),
    (["seeds: 3"], "seeds: 3 is not an override", "write KEY=VALUE"),
    (["beta =1"], "beta =1 is not an override", "write KEY=VALUE, without white space"),
    (["beta=[1"], "beta=[1 has a [ without its partner", "add that"),
    (["study='a"], "has a ' without its partner", """quote the value, 'study="'"'"'a"'."""),
    (["game.path=a=b.csv"], "quote the value, 'game.path=\"a=b.csv\"'."),
    (["beta=0.1,0.2"], "gives values to run one by one", "add -m", "'beta=[0.1,0.2]' for one list."),
    (["beta=range(1,3)"], "gives values to run one by one", "add -m"),
    (["hydra.job.chdir=maybe"], "hydra.job.chdir=maybe cannot be applied (Value 'maybe' is not a valid bool"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: " ".join(case[0]))
def test_overrides_that_do_not_compose_are_explained_in_one_sentence(case):
    overrides, *words = case
    with pytest.raises(ConfigError) as refused, composed(overrides):
        pass
    sentence = str(refused.value)
    assert "\n" not in sentence
    assert sentence.endswith(".")
    positions = [sentence.find(word) for word in words]
    assert -1 not in positions, sentence
    assert positions == sorted(positions)


def test_a_judge_of_another_command_is_explained_too():
    sentence = r"^judge=panle is not a choice of judge: did you mean judge=panel\.$"
    with pytest.raises(ConfigError, match=sentence), composed(["judge=panle"], "grade_judge"):
        pass


# arguments, and words of the sentence
COMMANDS = [
    (["betta=1"], "did you mean beta=1."),
    (["algorithm=nash-mp"], "did you mean algorithm=nash_mp."),
    (["beta=[1"], "without its partner"),
    (["--beta=1"], "--beta=1 is not an option: write KEY=VALUE without dashes"),
    (["--run", "--multirun"], "Only one of --run, --multirun"),
    (["--config-name", "nope"], "Cannot find primary config 'nope'"),
    (["-m", "betta=1"], "did you mean beta=1."),
    (["-m", "betta=1,2"], "betta is not a key: did you mean beta=1."),
    (["-m", "algorithm=nash-mp,nash_dm"], "algorithm=nash-mp is not a choice of algorithm"),
    (["-m", "game=tversky,vicuna", "game.actions=5,6"], "game.actions is not a key of game=tversky, but of"),
    (
        ["-m", "game=random_tournament,circle", "game.actions=5"],
        "game.actions=5 is not a key of the default game, which a sweep starts from: write ++game.actions=5",
    ),
    (
        ["-m", "game=tversky,circle", "game.actions=5"],
        "game.actions=5 is not a key of game=tversky: sweep over game=circle alone, with ++game.actions=5",
    ),
]


@pytest.mark.parametrize("case", COMMANDS, ids=lambda case: " ".join(case[0]))
def test_the_command_prints_the_sentence_alone_and_ends_with_code_2(tmp_path, case):
    arguments, words = case
    done = command(*arguments, f"runs_dir={tmp_path / 'runs'}", "dry_run=true")
    assert (done.code, done.out) == (2, "")
    (line,) = done.err.splitlines()
    assert line.startswith("error: ")
    assert words in line
    assert not (tmp_path / "runs").exists()


def test_a_key_that_every_game_of_a_sweep_has_is_set_by_two_plus_signs(tmp_path):
    games = "game=random_tournament,circle"
    done = command(games, "-m", "++game.actions=5", f"runs_dir={tmp_path}", "dry_run=true")  # -m may come later too
    assert (done.code, done.err) == (0, "")
    assert "2 would run" in done.out


def test_an_error_of_a_run_is_not_taken_for_one_of_hydra(tmp_path, monkeypatch):
    monkeypatch.setattr("nlhf.cli.run.run_one", lambda *_: [][0] if tmp_path.exists() else None)
    with pytest.raises(IndexError):
        command(f"runs_dir={tmp_path}")
    monkeypatch.setattr("nlhf.cli.run.run_one", lambda *_: int("x"))
    with pytest.raises(ValueError, match="invalid literal"):
        command(f"runs_dir={tmp_path}")


def test_choices_are_read_from_conf():
    assert {"game", "hydra/launcher", "judge"} <= set(BUNDLED.groups)
    assert "actions" in BUNDLED.keys_of("game", "annotators")  # of its default bradley_terry
    assert "judge" in BUNDLED.keys_of("game", "text")
    assert BUNDLED.keys_of("game", "nothing") == frozenset()


@pytest.fixture
def own(tmp_path):
    """A folder with an own algorithm, which has a key of its own."""
    (tmp_path / "own" / "algorithm").mkdir(parents=True)
    (tmp_path / "own" / "algorithm" / "mine.yaml").write_text("defaults: [nash_mp]\ninertia: 0.5\n")
    return tmp_path / "own"


OF_MINE = (
    "error: algorithm.inertia is not a key of this algorithm, but of algorithm=mine: choose it, or leave the key out."
)


@pytest.mark.parametrize("sweep", [[], ["-m", "beta=0.1,0.2"], ["-m", "algorithm=omd,nash_md"]], ids=" ".join)
@pytest.mark.parametrize("option", ["--config-dir={}", "--config-dir {}", "-cd {}"])
def test_the_command_knows_the_keys_of_own_choices(own, option, sweep):
    done = command(*sweep, *option.format(own).split(), "algorithm.inertia=1")
    assert (done.code, done.out) == (2, "")
    assert done.err.replace("of algorithm=omd", "of this algorithm").strip() == OF_MINE


def test_python_knows_the_keys_of_own_choices(own):
    with pytest.raises(ConfigError) as refused, composed(["algorithm.inertia=1"], config_dir=own):
        pass
    assert f"error: {refused.value}" == OF_MINE
    with (
        pytest.raises(ConfigError, match=r"did you mean algorithm\.inertia=1"),
        composed(["algorithm=mine", "algorithm.inertai=1"], config_dir=own),
    ):
        pass


def test_an_own_choice_replaces_none_of_the_bundled_ones(own):
    (own / "algorithm" / "broken.yaml").write_text("a: [")
    available = Choices((*BUNDLED.folders, own))
    assert set(available.groups["algorithm"]) == {*BUNDLED.groups["algorithm"], "mine", "broken"}
    assert {"inertia", "step_size"} <= available.keys_of("algorithm", "mine")
    assert available.keys_of("algorithm", "broken") == frozenset()
