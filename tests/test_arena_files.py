"""Damaged files of an arena: games are played again, or one sentence says what to do; no other number is shown."""

from __future__ import annotations

import json
from contextlib import suppress

import numpy as np
import pytest

from nlhf.arena.games import Arena
from nlhf.arena.meetings import Meetings
from nlhf.config import ConfigError
from tests.test_arena import RULES, Wheel, hands, votes

NAMES = ("stone", "paper", "scissors")


def played(folder):
    arena = Arena(folder, RULES, hands(*NAMES))
    new = arena.play(Wheel(), 20, Meetings())
    return votes(folder), new


def edited(line, **cells):
    """A row of votes.csv (prompt, item_a, item_b, wins_a, wins_b, sample, judge, order) with other cells."""
    names = ("prompt", "item_a", "item_b", "wins_a", "wins_b", "sample", "judge", "order")
    return ",".join((dict(zip(names, line.split(","), strict=True)) | cells).values())


@pytest.mark.parametrize(
    "cells",
    [{"wins_a": "5", "wins_b": "-4"}, {"wins_a": "nan"}, {"wins_a": "0.7"}, {"wins_a": ""}, {"wins_a": "inf"},
     {"wins_a": "a"}, {"prompt": "x"}, {"prompt": "-1"}, {"sample": "7"}, {"sample": "1"}, {"order": "x"}],
)  # fmt: skip
def test_a_damaged_verdict_is_judged_again(tmp_path, cells, caplog):
    before, _ = played(tmp_path)
    path = tmp_path / "votes.csv"
    lines = path.read_text().split("\n")
    assert lines[1].endswith(",0,a judge,0")
    path.write_text("\n".join([lines[0], edited(lines[1], **cells), *lines[2:]]))
    after, new = played(tmp_path)
    assert (after, new) == (before, 2)  # both samples of the game
    assert "damaged, and will be played again" in caplog.text
    assert played(tmp_path) == (before, 0)


def test_a_file_of_an_earlier_version_gets_the_judge_and_the_order(tmp_path):
    before, _ = played(tmp_path)
    path = tmp_path / "votes.csv"
    whole = path.read_text()
    path.write_text("".join(",".join(line.split(",")[:6]) + "\n" for line in whole.splitlines()))
    assert played(tmp_path) == (before, 0)
    Arena(tmp_path, RULES, hands(*NAMES, "well")).play(Wheel(), 20, Meetings())
    lines = path.read_text().splitlines()
    assert lines[: len(whole.splitlines())] == whole.splitlines()
    assert [line.rpartition(",")[2] for line in lines[1:]] == [str(number) for number in range(len(lines) - 1)]


def test_a_file_with_other_columns_is_a_sentence(tmp_path):
    played(tmp_path)
    path = tmp_path / "votes.csv"
    path.write_text(path.read_text().replace("wins_a", "wins_x", 1))
    with pytest.raises(ConfigError, match=r"votes\.csv has other columns than prompt, item_a"):
        played(tmp_path)


@pytest.mark.parametrize("change", [
    {"rules": 7}, {"rules": {"prompts": "x"}}, {"contestants": ["stone"]}, {"contestants": {"stone": 4}},
])  # fmt: skip
def test_a_damaged_card_is_a_sentence(tmp_path, change):
    played(tmp_path)
    path = tmp_path / "arena.json"
    card = json.loads(path.read_text())
    changed = {key: (card | change)[key] for key in ("rules", "contestants", "account")}  # without its checksum
    path.write_text(json.dumps(changed))
    with pytest.raises(ConfigError, match=r"arena\.json is damaged: restore it from a copy"):
        played(tmp_path)


def test_completions_that_are_none_are_written_again(tmp_path):
    before, _ = played(tmp_path)
    path = tmp_path / "completions.jsonl"
    lines = path.read_text().split("\n")
    for line in ("7", '{"contestant": 3, "prompt": 0, "sample": 0, "text": "a"}', '{"prompt": 0}', "[" * 100_000,
                 '{"contestant": "stone", "prompt": 99, "sample": 0, "text": "a"}'):  # fmt: skip
        path.write_text("\n".join([line, *lines[1:]]))
        assert played(tmp_path) == (before, 0)


@pytest.mark.parametrize("name", ["votes.csv", "arena.json", "completions.jsonl", "prompts.jsonl"])
def test_flipped_bytes_leave_verdicts_that_were_given_or_are_a_sentence(tmp_path, name):
    before, _ = played(tmp_path)
    given, path = {*before.values(), *(round(1 - wins, 9) for wins in before.values())}, tmp_path / name
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for _ in range(20):
        damaged = bytearray(whole)
        damaged[rng.integers(0, len(whole))] ^= 1 << rng.integers(0, 8)
        path.write_bytes(damaged)
        with suppress(ConfigError):
            rows = Arena(tmp_path, RULES, hands(*NAMES)).votes.rows
            assert {round(float(row["wins_a"]), 9) for row in rows} <= given
        path.write_bytes(whole)
