"""The arena: games are played once, a crash costs a block, votes.csv is a game, and standings are right."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from nlhf.arena.completion_file import CompletionFile
from nlhf.arena.contest import hold
from nlhf.arena.contestants import gathered
from nlhf.arena.games import Arena
from nlhf.arena.intervals import exploitability_bounds
from nlhf.arena.meetings import Meetings
from nlhf.arena.model import Model
from nlhf.arena.ranking import rank
from nlhf.arena.rules import FEWEST_PROMPTS, Rules, is_precise
from nlhf.cli.arena import main
from nlhf.config import ConfigError, build
from nlhf.games.votes import Votes
from nlhf.io.inputs import InputFile
from nlhf.judges.base import TextJudge
from nlhf.leaderboard.summary import examine
from nlhf.models.content import InputModel, model_digest
from nlhf.runner.run_one import run_one

NAMES = ("stone", "paper", "scissors", "well")
PROMPTS = tuple(f"prompt {number}" for number in range(6))
RULES = Rules(PROMPTS, 2, 0, "a judge")


@dataclass(frozen=True)
class Wheel(TextJudge):
    """Texts say who wrote them: the next one in the wheel wins, and `well` draws; `ends` cuts the connection."""

    asked: list[Any] = field(default_factory=list)
    ends: int | None = None

    def preference(self, pairs):
        for pair in pairs:
            if self.ends is not None and len(self.asked) >= self.ends:
                raise ConnectionError("the judge has left")
            self.asked.append(pair)
        return np.array([self._one(first.split()[0], second.split()[0]) for _, first, second in pairs])

    def _one(self, first, second):
        if "well" in (first, second):
            return 0.5
        return {0: 0.5, 1: 0.9, 2: 0.1}[(NAMES.index(first) - NAMES.index(second)) % 3]


@dataclass(frozen=True)
class Hand:
    """Writes its name, the prompt's number and the sample's."""

    name: str
    written: list[Any] = field(default_factory=list)

    @property
    def identity(self):
        return self.name.upper()

    def lacking(self, prompts, samples):
        return {}

    def wrote(self, prompt, texts):
        return False

    def complete(self, prompts, samples, seed, first):
        self.written.extend(prompts)
        return [[f"{self.name} {first + place} {sample}" for sample in range(samples)] for place in range(len(prompts))]


def hands(*names):
    return [Hand(name) for name in names]


def votes(folder):
    table = pd.read_csv(folder / "votes.csv")
    return {(row.prompt, *sorted([row.item_a, row.item_b]), row["sample"]):
            row.wins_a if row.item_a < row.item_b else row.wins_b for _, row in table.iterrows()}  # fmt: skip


# --- games are played once -------------------------------------------------------------------------------------------


def test_every_pair_plays_on_every_prompt_and_a_repetition_plays_nothing(tmp_path):
    judge = Wheel()
    assert Arena(tmp_path, RULES, hands(*NAMES[:3])).play(judge, 4, Meetings()) == 3 * 6 * 2
    assert all(mine.split()[1:] == other.split()[1:] for _, mine, other in judge.asked)  # samples of one prompt meet
    table = pd.read_csv(tmp_path / "votes.csv")
    assert (table.wins_a + table.wins_b == 1).all()
    assert table.groupby("prompt").size().tolist() == [6] * 6
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    again, players = Wheel(), hands(*NAMES[:3])
    assert Arena(tmp_path, RULES, players).play(again, 4, Meetings()) == 0
    assert again.asked == []
    assert [player.written for player in players] == [[], [], []]
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_new_contestant_plays_the_missing_games_only(tmp_path):
    Arena(tmp_path, RULES, hands("stone", "paper")).play(Wheel(), 20, Meetings())
    first, judge, players = votes(tmp_path), Wheel(), hands("stone", "paper", "well")
    assert Arena(tmp_path, RULES, players).play(judge, 20, Meetings()) == 2 * 6 * 2
    assert all("well" in (mine + other) for _, mine, other in judge.asked)
    assert [len(player.written) for player in players] == [0, 0, 6]
    assert votes(tmp_path).items() >= first.items()
    arena = Arena(tmp_path, RULES, hands("scissors"))  # who is not named now plays by what is kept
    assert arena.play(Wheel(), 20, Meetings()) == 3 * 6 * 2
    assert arena.names == ["stone", "paper", "well", "scissors"]
    found = rank(arena.names, arena.wins_by_prompt, len(PROMPTS), 20)
    assert found.complete == len(PROMPTS)


def test_the_same_policy_keeps_the_name_that_it_has(tmp_path):
    Arena(tmp_path, RULES, hands("stone", "paper")).play(Wheel(), 20, Meetings())
    again = Arena(tmp_path, RULES, [_Alias("stone-ab12", "STONE"), Hand("paper")])
    assert again.names == ["stone", "paper"]
    assert again.play(Wheel(), 20, Meetings()) == 0


@dataclass(frozen=True)
class _Alias:
    """A contestant that is known under another name."""

    name: str
    identity: str

    def lacking(self, prompts, samples):
        assert not prompts
        return {}

    def complete(self, prompts, samples, seed, first):
        raise AssertionError("nothing is to be written")


@pytest.mark.parametrize("ends", [1, 11, 12, 13, 30])
def test_a_crash_keeps_what_was_judged_and_what_follows_is_the_same(tmp_path, ends):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    Arena(whole, RULES, hands(*NAMES)).play(Wheel(), 1, Meetings())
    with pytest.raises(ConnectionError):
        Arena(cut, RULES, hands(*NAMES)).play(Wheel(ends=ends), 1, Meetings())
    kept = len(votes(cut)) if (cut / "votes.csv").exists() else 0
    assert kept == ends // 12 * 12  # a prompt has 6 pairs and 2 samples
    judge = Wheel()
    assert Arena(cut, RULES, hands(*NAMES)).play(judge, 1, Meetings()) == len(judge.asked) == 72 - kept
    assert votes(cut) == votes(whole)
    assert (cut / "completions.jsonl").read_bytes() == (whole / "completions.jsonl").read_bytes()


@pytest.mark.parametrize("cut", range(1, 200, 7))
def test_lines_that_a_crash_has_cut_are_played_again(tmp_path, cut):
    Arena(tmp_path, RULES, hands("stone", "paper")).play(Wheel(), 20, Meetings())
    before, completions = votes(tmp_path), tmp_path / "completions.jsonl"
    completions.write_bytes(completions.read_bytes()[:-cut])
    Arena(tmp_path, RULES, hands("stone", "paper", "well")).play(Wheel(), 20, Meetings())
    arena = Arena(tmp_path, RULES, hands("stone", "paper", "well"))
    names = ("stone", "paper", "well")
    assert arena.texts == {(name, number): [f"{name} {number} 0", f"{name} {number} 1"]
                           for name in names for number in range(6)}  # fmt: skip
    assert votes(tmp_path).items() >= before.items()


def test_other_rules_and_another_policy_of_the_same_name_are_refused(tmp_path):
    Arena(tmp_path, RULES, hands("stone", "paper")).play(Wheel(), 20, Meetings())
    for key, other in (("prompts", PROMPTS[1:]), ("completions", 1), ("seed", 1), ("judge", "another")):
        with pytest.raises(ConfigError, match=f"other {key}"):
            Arena(tmp_path, replace(RULES, **{key: other}), hands("stone", "paper"))
    (tmp_path / "stone.jsonl").write_text("")
    with pytest.raises(ConfigError, match="another policy has played as stone"):
        Arena(tmp_path, RULES, [CompletionFile("stone", InputFile(f"{tmp_path}/stone.jsonl"))])


def test_more_prompts_are_added_and_fewer_change_nothing(tmp_path):
    fewer = replace(RULES, prompts=PROMPTS[:4])
    Arena(tmp_path, fewer, hands("stone", "paper")).play(Wheel(), 3, Meetings())
    first, judge = votes(tmp_path), Wheel()
    assert Arena(tmp_path, RULES, hands("stone", "paper")).play(judge, 3, Meetings()) == 2 * 2
    assert {prompt for prompt, *_ in judge.asked} == set(PROMPTS[4:])
    assert votes(tmp_path).items() >= first.items()
    arena = Arena(tmp_path, fewer, hands("stone", "paper"))
    assert arena.play(Wheel(), 3, Meetings()) == 0
    assert list(arena.rules.prompts) == list(PROMPTS)
    with pytest.raises(ConfigError, match="other prompts"):
        Arena(tmp_path, replace(RULES, prompts=[*PROMPTS[:4], "another"]), hands("stone"))


def test_a_file_of_completions_may_grow_but_not_change(tmp_path):
    files(tmp_path, {"near": 5, "far": 9})
    players = [CompletionFile(name, InputFile(f"{tmp_path}/{name}.jsonl")) for name in ("near", "far")]
    arena = Arena(tmp_path / "arena", Rules(list(PROMPTS[:4]), 1, 0, "a judge"), players)
    assert arena.play(_Longer(), 20, Meetings()) == 4
    path = tmp_path / "near.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines, json.dumps({"prompt": "more", "completion": "tea"})]) + "\n")
    more = Rules(list(PROMPTS), 1, 0, "a judge")
    again = Arena(
        tmp_path / "arena",
        more,
        [CompletionFile(name, InputFile(f"{tmp_path}/{name}.jsonl")) for name in ("near", "far")],
    )
    assert again.play(_Longer(), 20, Meetings()) == 2
    path.write_text("\n".join([*lines[1:], json.dumps({"prompt": PROMPTS[0], "completion": "another"})]) + "\n")
    with pytest.raises(ConfigError, match="another policy has played as near"):
        Arena(tmp_path / "arena", more, [CompletionFile("near", InputFile(str(path)))])


@dataclass(frozen=True)
class _Longer(TextJudge):
    """The longer one wins, or no verdict is given on prompts in `silent`."""

    silent: frozenset[str] = frozenset()

    def preference(self, pairs):
        return np.array([0.5 + 0.5 * np.sign(len(first) - len(second)) for _, first, second in pairs])

    def refused(self, pairs):
        return np.array([prompt in self.silent for prompt, *_ in pairs])


def test_a_game_without_a_verdict_is_left_for_the_next_time(tmp_path):
    silent = _Longer(frozenset({PROMPTS[2]}))
    assert Arena(tmp_path, RULES, hands("stone", "scissors")).play(silent, 20, Meetings()) == 5 * 2
    assert {prompt for prompt, *_ in votes(tmp_path)} == set(range(6)) - {2}
    assert Arena(tmp_path, RULES, hands("stone", "scissors")).play(_Longer(), 20, Meetings()) == 2


def test_verdicts_without_a_card_are_of_nobody_knows_which_judge(tmp_path):
    Arena(tmp_path, RULES, hands("stone", "paper")).play(Wheel(), 20, Meetings())
    (tmp_path / "arena.json").unlink()
    with pytest.raises(ConfigError, match=r"no arena\.json that names their judge"):
        Arena(tmp_path, RULES, hands("stone", "paper"))


def test_what_a_failed_block_asked_is_counted(tmp_path):
    with pytest.raises(ConnectionError):
        Arena(tmp_path, RULES, hands("stone", "paper")).play(_Counting(ends=5), 2, Meetings())
    assert json.loads((tmp_path / "arena.json").read_text())["account"] == {"calls": 5}


def test_what_the_judge_was_asked_is_added_up(tmp_path):
    for names in (("stone", "paper"), ("scissors",), ("well",)):
        Arena(tmp_path, RULES, hands(*names)).play(_Counting(), 2, Meetings())
    assert json.loads((tmp_path / "arena.json").read_text())["account"] == {"calls": 6 * 6 * 2}


@dataclass(frozen=True)
class _Counting(Wheel):
    """Counts every pair."""

    @property
    def calls(self):
        return len(self.asked)


FILES = ("model/model.safetensors", "model/tokenizer.json", "model/chat_template.jinja", "base/model.safetensors")


@pytest.mark.parametrize("changed", FILES)
def test_a_model_is_known_by_all_that_decides_its_words(tmp_path, changed):
    """By the middle of a large file, the tokenizer, the template of chats, and what an adapter is put on."""
    for name in (
        "model/model.safetensors",
        "model/tokenizer.json",
        "model/chat_template.jinja",
        "base/model.safetensors",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"0" * 4_000_001)
    model = tmp_path / "model"
    (model / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(tmp_path / "base")}))
    before = model_digest(str(model))
    assert model_digest(str(shutil.copytree(model, tmp_path / "copy"))) == before
    (tmp_path / changed).write_bytes(b"0" * 2_000_000 + b"1" + b"0" * 2_000_000)
    assert model_digest(str(model)) != before


# --- sequential stopping ---------------------------------------------------------------------------------------------


def test_pairs_stop_when_their_interval_is_tight(tmp_path):
    rules = Rules([f"prompt {number}" for number in range(100)], 1, 0, "a judge")
    Arena(tmp_path, rules, hands("stone", "paper")).play(Wheel(), 5, Meetings(precision=0.2))
    assert len(votes(tmp_path)) == FEWEST_PROMPTS  # always 0.9
    assert Arena(tmp_path, rules, hands("stone", "paper")).play(Wheel(), 5, Meetings(precision=0.2)) == 0
    assert Arena(tmp_path, rules, hands("stone", "paper")).play(Wheel(), 5, Meetings()) == 100 - FEWEST_PROMPTS


def test_a_pair_does_not_stop_because_its_first_verdicts_are_equal():
    won = {k: [1.0] for k in range(FEWEST_PROMPTS)}
    assert not is_precise(won, 0.05)
    assert is_precise({k: [1.0] for k in range(80)}, 0.05)


@dataclass(frozen=True)
class Ladder(TextJudge):
    """Prefers the completion that is earlier in the alphabet."""

    judge_calls = 0

    def preference(self, pairs):
        return np.array([0.62 if first < second else 0.38 for _, first, second in pairs])


def met(folder):
    """The prompts of each pair."""
    table = pd.read_csv(folder / "votes.csv")
    return {tuple(sorted(pair)): sorted(rows.prompt) for pair, rows in table.groupby(["item_a", "item_b"])}


def test_the_certificate_chooses_the_pairs_and_a_repetition_chooses_the_same(tmp_path):
    rules, names = Rules([f"prompt {number}" for number in range(120)], 1, 0, "a judge"), list("abcdef")
    meetings = Meetings("certified")
    new = Arena(tmp_path, rules, hands(*names)).play(Ladder(), 20, meetings)
    assert new <= 120 * 5  # of 120 * 15 games
    prompts = met(tmp_path)
    assert len(prompts["a", "b"]) > 3 * len(prompts["e", "f"])
    assert Arena(tmp_path, rules, hands(*names)).play(Ladder(), 20, meetings) == 0


def test_choices_use_verdicts_on_earlier_prompts_alone():
    names = ("a", "b", "c")
    won = {("a", "b"): {k: [0.9] for k in range(60)}, ("a", "c"): {k: [0.8] for k in range(60)}}
    won |= {(b, a): {k: [1 - wins[0]] for k, wins in prompts.items()} for (a, b), prompts in won.items()}
    later = {pair: prompts | {60: [0.0], 99: [1.0]} for pair, prompts in won.items()}
    for meetings in (Meetings("certified"), Meetings(precision=0.05), Meetings(target=0.2)):
        chosen = meetings.numbers(names, won, range(40, 60), 0)
        first = {pair: {k: v for k, v in prompts.items() if k < 40} for pair, prompts in won.items()}
        assert chosen == meetings.numbers(names, first, range(40, 60), 0)
        assert meetings.numbers(names, later, range(60, 80), 0) == meetings.numbers(names, won, range(60, 80), 0)


def test_all_pairs_stop_at_the_target(tmp_path):
    rules = Rules([f"prompt {number}" for number in range(200)], 1, 0, "a judge")
    arena = Arena(tmp_path, rules, hands("a", "b", "c"))
    arena.play(Ladder(), 20, Meetings(target=0.1))
    last = max(prompt for prompts in met(tmp_path).values() for prompt in prompts)
    assert 39 <= last < 190
    found = rank(arena.names, arena.wins_by_prompt, 200, 20)
    assert 0 < found.proof.anytime.exploitability <= 0.1
    before = {pair: {k: v for k, v in won.items() if k < last - 19} for pair, won in arena.wins_by_prompt.items()}
    assert rank(arena.names, before, 200, 20).proof.anytime.exploitability > 0.1
    assert found.proof.units.size == last + 1
    assert arena.play(Ladder(), 20, Meetings(target=0.1)) == 0


# --- the votes are a game --------------------------------------------------------------------------------------------


def test_votes_are_a_game_whose_contexts_are_prompts_and_whose_equilibrium_is_that_of_the_standings(tmp_path):
    arena = Arena(tmp_path, RULES, hands(*NAMES))
    arena.play(Wheel(), 20, Meetings())
    found = rank(arena.names, arena.wins_by_prompt, len(PROMPTS), 50)
    game = Votes(path=InputFile(str(tmp_path / "votes.csv")), context=["prompt"], where={}, drop=[], pseudo_count=0.0,
                 unseen="half", cluster=[], bootstrap=False)  # fmt: skip
    apart, pooled = game.table(np.random.default_rng(0)), replace(game, context=[]).table(np.random.default_rng(0))
    assert sorted(apart.contexts) == [str(number) for number in range(len(PROMPTS))]
    order = [pooled.items.index(name) for name in found.pooled.items]
    for matrix in (*apart.preference, pooled.preference[0]):
        np.testing.assert_allclose(matrix[np.ix_(order, order)], found.pooled.preference, atol=1e-12)


def test_standings_of_stone_paper_scissors_by_hand(tmp_path):
    arena = Arena(tmp_path, RULES, hands(*NAMES[:3]))
    arena.play(Wheel(), 20, Meetings())
    found = rank(arena.names, arena.wins_by_prompt, len(PROMPTS), 50)
    np.testing.assert_allclose(found.nash[:, 0], 1 / 3, atol=1e-9)
    np.testing.assert_allclose(found.exploitability[:, 0], 0.4, atol=1e-12)
    np.testing.assert_allclose(found.field[:, 0], 0.5, atol=1e-12)
    assert found.pooled.winner is None
    assert (found.headless, found.tied, found.complete) == (6, 0, 6)
    assert "No contestant" in found.headline


def test_standings_with_a_winner_say_who_it_is():
    won = {}
    for (i, a), (j, b) in combinations(enumerate("abc"), 2):
        won[a, b] = {k: [0.5 + 0.1 * (j - i)] for k in range(30)}
        won[b, a] = {k: [0.5 - 0.1 * (j - i)] for k in range(30)}
    found = rank("abc", won, 30, 50)
    assert found.order == [0, 1, 2]
    assert re.match(r"a is preferred to all others here: exploitability 0 \[0.000, 0.0\d\d\]", found.headline)
    np.testing.assert_allclose(found.exploitability[:, 0], [0, 0.1, 0.2], atol=1e-12)
    np.testing.assert_allclose(found.nash[:, 0], [1, 0, 0], atol=1e-9)


def test_intervals_agree_with_the_normal_ones():
    rng = np.random.default_rng(1)
    wins = (rng.random(400) < 0.6).astype(float)
    won = {("a", "b"): {k: [w] for k, w in enumerate(wins)}, ("b", "a"): {k: [1 - w] for k, w in enumerate(wins)}}
    found = rank("ab", won, 400, 4000)
    half = 1.96 * wins.std(ddof=1) / 20
    assert found.field[0, 1:] == pytest.approx([found.low[0, 1], found.high[0, 1]], abs=1e-12)
    assert found.low[0, 1] == pytest.approx(wins.mean() - half, abs=0.005)
    assert found.high[0, 1] == pytest.approx(wins.mean() + half, abs=0.005)


def test_bounds_of_an_exploitability_are_those_of_its_worst_opponents():
    """Single votes on ten prompts: the exact intervals, at a level of 1 - 0.05/2 for two opponents."""
    counts = np.array([[0, 3, 9], [7, 0, 5], [1, 5, 0]])
    wins = (np.arange(10)[:, None, None] < counts).astype(float)
    played = np.broadcast_to(1 - np.eye(3), wins.shape)
    low, high = exploitability_bounds(wins, played, wins.mean(0) + np.eye(3) / 2)[0]
    worst, other = (stats.binomtest(won, 10).proportion_ci(0.975, "exact") for won in (7, 1))
    assert (low, high) == pytest.approx((max(worst.low, other.low, 0.5) - 0.5, worst.high - 0.5), abs=1e-12)


def test_few_prompts_leave_pairs_without_an_interval_and_exploitabilities_open():
    won = {pair: {k: [share] for k in range(4)} for pair, share in ((("a", "b"), 0.8), (("b", "a"), 0.2))}
    found = rank("ab", won, 4, 50)
    assert np.isnan(found.low[0, 1])
    assert found.cells(0) == ["0.800", "0.000 [0.000, 0.500]", "1.000 [1.000, 1.000]"]


def test_who_never_met_may_be_exploited_by_anything():
    won = {("a", "b"): {k: [0.9] for k in range(30)}, ("b", "a"): {k: [0.1] for k in range(30)}}
    found = rank("abc", won, 30, 50)
    assert (found.exploitability[:, 2] == 0.5).all()
    assert "2 of 3 pairs have never played" in "\n".join(found.lines)


@pytest.mark.parametrize(("cycle", "low", "high"), [(0.0, 0.0, 0.12), (0.15, 0.95, 1.0)])
def test_cycles_of_soft_verdicts_are_held_against_noise_of_their_own_size(cycle, low, high, monkeypatch):
    """Five contestants with Bradley-Terry scores and, maybe, a cycle of three; verdicts are probabilities, and those of
    a prompt move together. How often transitivity is rejected at 5%."""
    monkeypatch.setattr("nlhf.arena.ranking.MIXTURES", 2)
    rng, found = np.random.default_rng(0), []
    scores = np.array([0.0, 0.1, 0.2, 0.4, 0.6])
    turn = np.zeros((5, 5))
    turn[[0, 1, 2], [1, 2, 0]], turn[[1, 2, 0], [0, 1, 2]] = cycle, -cycle
    mean = 1 / (1 + np.exp(scores - scores[:, None])) + turn
    for _ in range(100):
        moved = rng.normal(0, 0.1, (40, 5))
        won = {(a, b): {} for a in "abcde" for b in "abcde" if a != b}
        for prompt, level in enumerate(moved):
            for (i, a), (j, b) in combinations(enumerate("abcde"), 2):
                wins = float(np.clip(mean[i, j] + level[i] - level[j] + rng.normal(0, 0.05), 0, 1))
                won[a, b][prompt], won[b, a][prompt] = [wins], [1 - wins]
        found.append(rank("abcde", won, 40, 200).pooled.diagnosis.p)
    assert low <= np.mean(np.array(found) < 0.05) <= high


def test_the_file_of_votes_shows_the_same_as_the_standings(tmp_path):
    """P, the equilibrium and the null of `analysis votes` are those of the arena, up to the redraws."""
    rng = np.random.default_rng(3)
    rules = Rules([f"prompt {number}" for number in range(40)], 1, 0, "a judge")

    @dataclass(frozen=True)
    class Noisy(Wheel):
        def _one(self, first, second):
            return float(np.clip(super()._one(first, second) + rng.normal(0, 0.2), 0, 1))

    arena = Arena(tmp_path, rules, hands(*NAMES))
    arena.play(Noisy(), 20, Meetings())
    mine = rank(arena.names, arena.wins_by_prompt, 40, 1000).pooled
    found = examine(str(tmp_path / "votes.csv"))
    order = [found.pooled.items.index(name) for name in mine.items]
    np.testing.assert_allclose(found.pooled.preference[np.ix_(order, order)], mine.preference, atol=1e-12)
    np.testing.assert_allclose(found.pooled.nash.shares[order], mine.nash.shares, atol=1e-6)
    assert found.pooled.diagnosis.cyclic == pytest.approx(mine.diagnosis.cyclic, abs=1e-12)
    assert found.pooled.diagnosis.null == pytest.approx(mine.diagnosis.null, rel=0.1)
    assert found.pooled.diagnosis.p < 0.05 > mine.diagnosis.p
    ranking = rank(arena.names, arena.wins_by_prompt, 40, 20)
    assert found.clustered.anytime.items[order] == pytest.approx(ranking.proof.anytime.items, abs=1e-9)
    assert found.clustered.once.exploitability == pytest.approx(ranking.proof.once.exploitability, abs=1e-9)
    assert found.growth.anytime[-1] == pytest.approx(ranking.growth.anytime[-1], abs=1e-9)
    assert found.agreement is None  # a probability is no vote that another one could agree with


def test_a_chain_without_noise_is_no_cycle():
    names = "abcde"
    won = {(a, b): {k: [1.0 if a < b else 0.0] for k in range(40)} for a in names for b in names if a != b}
    assert rank(names, won, 40, 200).pooled.diagnosis.p > 0.5


def test_few_prompts_and_pairs_that_never_met_are_not_tested():
    won = {(a, b): {k: [0.8 if a < b else 0.2] for k in range(40)} for a in "abc" for b in "abc" if a != b}
    assert np.isnan(rank("abcd", won, 40, 50).pooled.diagnosis.p)
    few = {pair: {k: wins[k] for k in range(5)} for pair, wins in won.items()}
    found = rank("abc", few, 5, 50)
    assert np.isnan(found.pooled.diagnosis.p)
    assert any("too few to test for cycles" in line for line in found.lines)


def test_a_command_that_failed_leaves_nobody_in_the_standings(tmp_path, capsys):
    near, far = files(tmp_path / "in", {"near": 5, "far": 9})
    (tmp_path / "short.jsonl").write_text(json.dumps({"prompt": "another", "completion": "tea"}) + "\n")
    out = f"out={tmp_path / 'arena'}"
    assert main([near, str(tmp_path / "short.jsonl"), *PANEL, f"prompts={near}", out]) == 2
    capsys.readouterr()
    assert main([near, far, *PANEL, out]) == 0
    assert "short" not in capsys.readouterr().out


def test_pairs_that_have_played_on_some_prompts_count_by_what_they_played():
    won = {("a", "b"): {0: [1.0], 1: [0.0, 0.5]}, ("b", "a"): {0: [0.0], 1: [1.0, 0.5]}}
    found = rank("abc", won, 5, 50)
    assert found.pooled.preference[0, 1] == pytest.approx((1 + 0.25) / 2)
    assert found.pooled.preference[0, 2] == 0.5  # never played
    assert found.games[0, 1] == 2
    assert found.complete == 0
    assert any("2 of 3 pairs have never played" in line for line in found.lines)
    assert found.field[0, 0] == pytest.approx((1 + 0.25) / 2)  # of those that it has met


def test_prompts_that_some_lack_are_a_sentence():
    won = {(a, b): {k: [0.8 if a < b else 0.2] for k in range(40 - 5 * ("c" in a + b))}
           for a in "abc" for b in "abc" if a != b}  # fmt: skip
    found = rank("abc", won, 40, 50)
    assert found.complete == 35
    assert any("a contestant lacks completions: all pairs have played on 35 prompts" in line for line in found.lines)


def test_ties_at_the_top_are_told_from_cycles(tmp_path):
    arena = Arena(tmp_path, RULES, hands("stone", "well"))
    arena.play(Wheel(), 20, Meetings())
    found = rank(arena.names, arena.wins_by_prompt, len(PROMPTS), 20)
    assert (found.headless, found.tied) == (6, 6)


# --- the command -----------------------------------------------------------------------------------------------------


def files(folder, words):
    """A jsonl of completions for each name, of so many words."""
    folder.mkdir(exist_ok=True)
    for name, number in words.items():
        lines = [{"prompt": prompt, "completion": "tea " * number} for prompt in PROMPTS]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return [str(folder / f"{name}.jsonl") for name in words]


PANEL = ("judge=panel", "judge.criteria=[length]", "judge.words=5", "redraws=20")


def test_files_of_completions_play_and_the_page_shows_them(tmp_path, capsys):
    places = files(tmp_path / "in", {"near": 5, "far": 9, "farther": 20})
    assert main([*places, *PANEL, f"out={tmp_path / 'arena'}"]) == 0
    told = capsys.readouterr().out
    assert "near is preferred to all others here" in told
    assert "18 new verdicts" in told
    page = (tmp_path / "arena" / "report.html").read_text()
    assert all(name in page for name in ("near", "far", "farther", "tea tea"))
    assert main([*places, *PANEL, f"out={tmp_path / 'arena'}"]) == 0
    assert "0 new verdicts" in capsys.readouterr().out


def test_a_file_that_lacks_prompts_plays_on_those_that_both_have(tmp_path, capsys, caplog):
    near, far = files(tmp_path / "in", {"near": 5, "far": 9})
    path = tmp_path / "in" / "far.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:2] + lines[3:]) + "\n")
    for number in range(2):
        assert main([near, far, *PANEL, f"out={tmp_path / 'arena'}"]) == 0
        assert f"{far} has 0 completions of the prompt '{PROMPTS[2]}', and completions=1 are required" in caplog.text
        assert "far plays on 5 of 6 prompts" in caplog.text
        assert f"{5 * (1 - number)} new verdicts" in capsys.readouterr().out
        caplog.clear()
    assert set(pd.read_csv(tmp_path / "arena" / "votes.csv").prompt) == {0, 1, 3, 4, 5}
    more = files(tmp_path / "in", {"more": 7})
    assert main([near, far, *more, *PANEL, f"out={tmp_path / 'arena'}"]) == 0
    assert "11 new verdicts" in capsys.readouterr().out


def test_the_messages_of_a_chat_name_its_completions(tmp_path, capsys):
    """In any order of their keys, and with their text in parts."""
    chats = (
        [{"role": "user", "content": "why"}],
        [{"content": [{"type": "text", "text": "why"}], "role": "user"}],
        "why",
    )
    for name, chat in zip(("one", "two", "three"), chats, strict=True):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"prompt": chat, "completion": name}) + "\n")
    places = [str(tmp_path / f"{name}.jsonl") for name in ("one", "two", "three")]
    assert main([*places, *PANEL, f"out={tmp_path / 'arena'}"]) == 0
    assert "3 new verdicts" in capsys.readouterr().out


def test_an_empty_completion_is_visible_on_the_page(tmp_path, capsys):
    near, far = files(tmp_path / "in", {"near": 0, "far": 9})
    assert main([near, far, *PANEL, f"out={tmp_path / 'arena'}"]) == 0
    assert "(empty)" in (tmp_path / "arena" / "report.html").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "near.jsonl names no policy but near|has one policy only"),
        (("nowhere",), "nowhere has no policy"),
        (("precision=0.7",), "precision=0.7 is out of range"),
        (("completions=0",), "completions=0 is too small"),
        (("seed=-1",), "seed=-1 is out of range"),
        (("seed=9223372036854775808",), "seed=9223372036854775808 is out of range"),
        (("completions=2", "other"), "has 1 completions of the prompt"),
        (("prompts=lost.jsonl", "other"), "prompts=lost.jsonl"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(tmp_path, capsys, words, said):
    (near,) = files(tmp_path / "in", {"near": 5})
    (other,) = files(tmp_path / "in", {"other": 6})
    words = [other if word == "other" else word for word in words]
    assert main([near, *PANEL, f"out={tmp_path / 'arena'}", *words]) == 2
    captured = capsys.readouterr()
    assert re.search(said, captured.err), captured.err
    assert "Traceback" not in captured.err
    assert captured.err.count("\n") == 1


def test_a_stop_keeps_what_was_played_and_says_so(tmp_path, capsys, monkeypatch):
    places, words = files(tmp_path / "in", {"near": 5, "far": 9}), [*PANEL, "block=2", f"out={tmp_path / 'arena'}"]
    judged = Arena._judge

    def stopped(self, games, judge):
        if len(self.votes.rows) >= 4:
            raise KeyboardInterrupt
        judged(self, games, judge)

    with monkeypatch.context() as patched:
        patched.setattr(Arena, "_judge", stopped)
        assert main([*places, *words]) == 130
    assert "repeat the same command" in capsys.readouterr().err
    assert len(votes(tmp_path / "arena")) == 4
    assert main([*places, *words]) == 0
    assert "2 new verdicts" in capsys.readouterr().out


def test_files_have_no_judge_of_their_own(tmp_path, capsys):
    assert main([*files(tmp_path / "in", {"near": 5, "other": 6}), f"out={tmp_path / 'arena'}"]) == 2
    assert "have no judge: choose one of conf/judge" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff\xfe", "is not UTF-8"),
        (b"", "has no prompt|names no prompts"),
        (b'{"prompt": "p", "completion": null}\n', "line 1 is not an object"),
    ],
)
def test_bad_files_are_a_sentence(tmp_path, capsys, content, said):
    (tmp_path / "bad.jsonl").write_bytes(content)
    (near,) = files(tmp_path / "in", {"near": 5})
    assert main([str(tmp_path / "bad.jsonl"), near, *PANEL, f"out={tmp_path / 'arena'}"]) == 2
    captured = capsys.readouterr().err
    assert re.search(said, captured), captured


def test_a_line_separator_within_a_text_ends_no_line(tmp_path, capsys):
    for name in ("one", "two"):
        lines = [json.dumps({"prompt": p, "completion": f"{name}\u2028tea"}, ensure_ascii=False) for p in PROMPTS]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    words = [str(tmp_path / "one.jsonl"), str(tmp_path / "two.jsonl"), *PANEL, f"out={tmp_path / 'arena'}"]
    assert main(words) == 0
    assert main([*words, f"prompts={tmp_path / 'arena' / 'prompts.jsonl'}"]) == 0


def test_two_arenas_do_not_play_in_one_folder(tmp_path, capsys):
    from nlhf.runner.lock import locked

    (tmp_path / "arena").mkdir()
    with locked(tmp_path / "arena"):
        code = main([*files(tmp_path / "in", {"near": 5, "far": 9}), *PANEL, f"out={tmp_path / 'arena'}"])
    assert code == 2
    assert "arena" in capsys.readouterr().err


def test_a_line_that_is_no_completion_is_named(tmp_path, capsys):
    near, other = files(tmp_path / "in", {"near": 5, "other": 6})
    with open(other, "a") as stream:
        stream.write("{}\n")
    assert main([near, other, *PANEL, f"out={tmp_path / 'arena'}"]) == 2
    assert "other.jsonl: line 7 is not an object with prompt and completion" in capsys.readouterr().err


# --- policies of runs ------------------------------------------------------------------------------------------------


def test_a_study_plays_its_checkpoints_and_reference_under_its_own_judge(text_config, tmp_path):
    outcome = run_one(text_config("log_policy=true", "budget.iterations=6", "study=played"))
    study = outcome.folder.parent
    found = hold([str(study)], ["redraws=20", "most_prompts=4", "block=2"]).ranking
    names = set(found.pooled.items)
    assert {"reference", "nash_prox@6"} < names
    assert any(name.startswith("nash_prox@") and name != "nash_prox@6" for name in names), names
    assert found.complete == 4
    table = pd.read_csv(study / "arena" / "votes.csv")
    assert Counter(table.item_a) + Counter(table.item_b) == dict.fromkeys(names, 4 * (len(names) - 1))


def test_a_model_plays_on_the_prompts_that_it_can_read(tmp_path, tiny_model, capsys, caplog):
    """The others are named by their numbers."""
    pytest.importorskip("peft")
    prompts = ["the sea", "tea " * 70, "a moon"]
    (tmp_path / "near.jsonl").write_text(
        "".join(json.dumps({"prompt": p, "completion": "tea"}) + "\n" for p in prompts)
    )
    words = [
        str(tmp_path / "near.jsonl"),
        str(tiny_model),
        *PANEL,
        "policy.max_new_tokens=6",
        f"out={tmp_path / 'out'}",
    ]
    assert main(words) == 0
    assert "does not play on prompt 2: the prompt 'tea tea" in caplog.text
    assert "2 new verdicts" in capsys.readouterr().out


def test_the_judge_is_on_the_device_of_the_arena(tmp_path, monkeypatch, capsys):
    from nlhf.judges.panel import Panel

    placed = []
    monkeypatch.setattr(Panel, "use_device", lambda _, device: placed.append(device))
    places = files(tmp_path / "in", {"near": 5, "far": 9})
    assert main([*places, *PANEL, f"out={tmp_path / 'arena'}"]) == 0
    assert placed == ["cpu"]
    assert main([*places, *PANEL, f"out={tmp_path / 'arena'}", "device=nothing"]) == 2
    assert "device=nothing is not available" in capsys.readouterr().err


def test_a_models_completions_do_not_depend_on_the_block_and_models_draw_apart(text_config, tmp_path, tiny_model):
    pytest.importorskip("peft")
    policy = build(text_config()["policy"], "policy")
    twin = tmp_path / "twin"
    shutil.copytree(tiny_model, twin)
    (twin / "generation_config.json").write_text("{}")  # the same weights, another model
    mine, other = (
        Model(name, InputModel(str(place)), policy, "cpu") for name, place in (("a", tiny_model), ("b", twin))
    )
    prompts = ["the sea", "a moon", "why tea", "old bird is kind"] * 8
    whole = mine.complete(prompts, 2, 0, 0)
    parts = [text for start in range(0, len(prompts), 3)
             for text in mine.complete(prompts[start : start + 3], 2, 0, start)]  # fmt: skip
    assert whole == parts
    assert whole != other.complete(prompts, 2, 0, 0)
    assert whole != mine.complete(prompts, 2, 1, 0)
    assert len({contestant.identity for contestant in gathered([str(tiny_model), str(twin)], policy, True, "cpu")}) == 2


PROMPTS_OF_WORDS = ("tea", "sea", "moon", "a")


@pytest.mark.parametrize(("options", "loads"), [((), 3), (("target=0.0001",), 3 + 2 + 2 + 2)], ids=["level", "target"])
def test_models_stay_loaded_between_blocks(text_config, tmp_path, tiny_model, monkeypatch, options, loads):
    """Where verdicts decide who meets, the model that wrote last in a block is the first to write in the next."""
    pytest.importorskip("peft")
    folders = [tiny_model]
    for name in ("b", "c"):
        folders.append(tmp_path / name)
        shutil.copytree(tiny_model, folders[-1])
        (folders[-1] / "generation_config.json").write_text(json.dumps({"top_k": len(folders)}))
    loaded, load = [], Model.load
    monkeypatch.setattr(Model, "load", lambda model: (loaded.append(model.name), load(model))[1])
    lines = [json.dumps({"prompt": prompt}) + "\n" for prompt in PROMPTS_OF_WORDS]
    (tmp_path / "prompts.jsonl").write_text("".join(lines))
    words = [*map(str, folders), *PANEL, "policy.max_new_tokens=4", f"prompts={tmp_path / 'prompts.jsonl'}", "block=1"]
    assert main([*words, f"out={tmp_path / 'out'}", *options]) == 0
    assert len(loaded) == loads
    assert main([*words, f"out={tmp_path / 'out'}", *options]) == 0
    assert len(loaded) == loads, "what is written is not written again"
    lines = map(json.loads, (tmp_path / "out" / "completions.jsonl").read_text().splitlines())
    texts = {(line["contestant"], line["prompt"]): line["text"] for line in lines}
    policy = build(text_config("policy.max_new_tokens=4")["policy"], "policy")
    (contestant,) = gathered([str(folders[0])], policy, True, "cpu")
    for number, prompt in enumerate(PROMPTS_OF_WORDS):
        ((drawn,),) = contestant.complete([prompt], 1, 0, number)
        assert texts[contestant.name, number] == drawn
