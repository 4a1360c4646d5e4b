"""The file of verdicts: what is paid for is kept, and nothing that is damaged is believed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from nlhf.config import ConfigError
from nlhf.judges.base import add_accounts
from nlhf.judges.ledger import Ledger, _check, _name

ROOT = Path(__file__).resolve().parents[2]
PAIR, OTHER, THIRD = ("why", "a", "b"), ("why", "b", "a"), ("how", "a", "b")


def line(pair, verdict, **more):
    return json.dumps({"pair": _name(pair), "verdict": verdict, **more}) + "\n"


def sealed(pair, verdict):
    entry = {"pair": _name(pair), "verdict": verdict}
    return line(pair, verdict, check=_check(entry))


def ledger_of(tmp_path, *lines):
    path = tmp_path / "verdicts.jsonl"
    path.write_bytes("".join(lines).encode() if all(isinstance(one, str) for one in lines) else b"".join(lines))
    return Ledger(path)


DAMAGED = {
    "above 1": line(PAIR, 5),
    "below 0": line(PAIR, -3),
    "nan": line(PAIR, float("nan")),
    "infinite": line(PAIR, float("inf")),
    "beyond double precision": f'{{"pair": "{_name(PAIR)}", "verdict": 1e999}}\n',
    "a large whole number": line(PAIR, 10**400),
    "5,000 digits": f'{{"pair": "{_name(PAIR)}", "verdict": {"9" * 5000}}}\n',
    "true": line(PAIR, True),
    "text": line(PAIR, "1"),
    "null": line(PAIR, None),
    "a list": line(PAIR, [1]),
    "an edited verdict": sealed(PAIR, 0.0).replace('"verdict": 0.0', '"verdict": 1.0'),
    "an edited pair": sealed(OTHER, 1.0).replace(_name(OTHER), _name(PAIR)),
    "an edited checksum": sealed(PAIR, 1.0).replace('"check": "', '"check": "0'),
    "a checksum that is no text": line(PAIR, 1, check=7),
    "a mark that is none": line(PAIR, 1, unreadable="yes"),
    "no pair": '{"verdict": 1}\n',
    "no verdict": f'{{"pair": "{_name(PAIR)}"}}\n',
    "no digest": '{"pair": "why", "verdict": 1}\n',
    "a cut line": line(PAIR, 1)[:-9],
    "no object": "[1, 2]\n",
    "nested": "[" * 100_000 + "\n",
    "two lines in one": line(PAIR, 1)[:40] + line(PAIR, 0),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_line_is_ignored_counted_and_asked_again(tmp_path, damage, caplog):
    ledger = ledger_of(tmp_path, sealed(THIRD, 0.5), DAMAGED[damage])
    assert PAIR not in ledger
    assert ledger[THIRD] == 0.5
    assert f"1 lines of {ledger.path} are damaged and ignored" in caplog.text
    ledger.add(PAIR, 1.0)
    again = Ledger(ledger.path)
    assert (again[PAIR], again[THIRD]) == (1.0, 0.5)


@pytest.mark.parametrize("verdict", [0, 1, 0.0, 0.5, 1.0, 0.25, 1e-300])
def test_lines_without_a_checksum_are_kept_if_they_are_valid(tmp_path, verdict, caplog):
    """They were written by an earlier version, and paid for."""
    assert ledger_of(tmp_path, line(PAIR, verdict))[PAIR] == verdict
    assert not caplog.text


def test_bytes_that_are_no_text_cost_one_line(tmp_path):
    ledger = ledger_of(tmp_path, sealed(PAIR, 1.0).encode(), b"\xff\xfe\x00\n", sealed(OTHER, 0.0).encode())
    assert (ledger[PAIR], ledger[OTHER]) == (1.0, 0.0)


def test_separators_of_other_scripts_end_no_line(tmp_path):
    ledger = ledger_of(tmp_path, sealed(PAIR, 1.0).replace("{", '{"note": "a\u2028b\x85c", ', 1))
    assert ledger[PAIR] == 1.0


def test_the_first_of_two_lines_about_a_pair_counts(tmp_path):
    """Whoever read the file before the second was written has used it; a line that is appended changes no answer."""
    ledger = ledger_of(tmp_path, line(PAIR, 5), sealed(PAIR, 1.0), sealed(PAIR, 0.0), line(PAIR, 0.5))
    assert ledger[PAIR] == 1.0
    assert len(ledger) == 1


def test_an_unreadable_answer_stays_one(tmp_path):
    ledger = ledger_of(tmp_path)
    ledger.add(PAIR, None)
    again = Ledger(ledger.path)
    assert (again[PAIR], again.unreadable) == (0.5, 1)


@pytest.mark.parametrize("verdict", [2.0, -0.5, float("nan"), float("inf"), True, "1", [1]])
def test_what_is_no_verdict_is_written_as_an_unreadable_answer(tmp_path, verdict):
    ledger = ledger_of(tmp_path)
    ledger.add(PAIR, verdict)
    assert ledger[PAIR] == 0.5
    assert Ledger(ledger.path)[PAIR] == 0.5
    assert ledger.unreadable == 1


def test_a_folder_in_place_of_the_file_is_a_sentence(tmp_path):
    (tmp_path / "verdicts.jsonl").mkdir()
    with pytest.raises(ConfigError, match=r"verdicts\.jsonl holds verdicts and cannot be read"):
        Ledger(tmp_path / "verdicts.jsonl")


WRITER = """
import sys
from pathlib import Path
from nlhf.judges.ledger import Ledger
ledger = Ledger(Path(sys.argv[1]))
for k in range(100):
    ledger.add(("prompt", sys.argv[2], str(k)), (k % 3) / 2)
"""


def test_two_processes_write_at_once_and_no_line_is_lost(tmp_path, caplog):
    path = tmp_path / "verdicts.jsonl"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(path), name], cwd=ROOT) for name in "ab"]
    assert [writer.wait(600) for writer in writers] == [0, 0]
    ledger = Ledger(path)
    assert [ledger["prompt", name, str(k)] for name in "ab" for k in range(100)] == [k % 3 / 2 for k in range(100)] * 2
    assert not caplog.text


MALFORMED = [None, "many", True, -5, float("nan"), float("inf"), -float("inf"), 10**400, {"a": 1}, [3], 1e300, "12"]


@pytest.mark.parametrize("value", MALFORMED, ids=lambda value: f"{value}"[:12])
def test_tokens_that_are_no_number_count_as_none(tmp_path, value):
    ledger = ledger_of(tmp_path)
    for usage in (value, SimpleNamespace(prompt_tokens=value, completion_tokens=7), SimpleNamespace()):
        ledger.paid(SimpleNamespace(usage=usage))
    ledger.paid(SimpleNamespace())
    assert (ledger.calls, ledger.tokens_in, ledger.tokens_out) == (4, 0, 7)


def test_accounts_of_damaged_files_add_up_to_numbers():
    now = {"calls": 2, "cost": 0.5, "judges": {"a": {"calls": 2}}}
    for before in (
        {},
        None,
        7,
        {"calls": None, "cost": float("nan"), "judges": 3},
        {"calls": "x", "judges": {"a": []}},
    ):
        assert add_accounts(before, now) == now
    assert add_accounts({"calls": 1, "judges": {"a": {"calls": 4}}}, now) == {
        "calls": 3, "cost": 0.5, "judges": {"a": {"calls": 6}}
    }  # fmt: skip
