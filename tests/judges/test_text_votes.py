"""Votes over texts: a line is read as it is meant, or refused, or left out with a count."""

from __future__ import annotations

import json
import re

import pytest

from nlhf.config import ConfigError
from nlhf.io.inputs import InputFile
from nlhf.judges.votes_file import read_text_votes
from nlhf.models import prompt_files


def line(**entries):
    return json.dumps({"prompt": "why", "a": "sea", "b": "tea", "votes": [1, 0, 0]} | entries)


def written(folder, *lines, name="votes.jsonl"):
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


REFUSED = {
    "a key twice": (['{"prompt": "why", "a": "x", "b": "y", "votes": [1, 0], "votes": [0, 1]}'], "the key votes twice"),
    "ties beside": ([line(ties=2)], "line 1 has ties=2, which is not read"),
    "both bad": ([line(), line(both_bad=True)], "line 2 has both_bad=True, which is not read"),
    "a total": ([line(total=3)], "line 1 has total=3, which is not read, but the other columns give 1"),
    "too many": ([line(votes=[1.5e308, 0.5e308])], "line 1 has votes=", "counts from 0 to 2^53"),
    "source all": ([line(source="all"), line(source="people")], "the source `all` beside others"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_lines_that_would_be_misread_are_refused(tmp_path, case):
    lines, *words = REFUSED[case]
    with pytest.raises(ConfigError) as refused:
        read_text_votes(written(tmp_path, *lines))
    assert all(word in str(refused.value) for word in words), str(refused.value)


def test_counts_that_agree_and_other_keys_are_no_harm(tmp_path):
    votes = read_text_votes(
        written(tmp_path, line(votes=[1, 2, 3], ties=3, total=6, weight=1, gpt4=[1, 1, 0], round=7))
    )
    assert votes.votes.tolist() == [[1, 2, 3]]


def test_pairs_that_are_left_out_are_counted(tmp_path, caplog):
    lines = line(), line(b="sea"), line(votes=[0, 0, 0]), line(votes=[0, 0])
    assert len(read_text_votes(written(tmp_path, *lines))) == 1
    assert "3 pairs are left out: 1 compare a text with itself, 2 have no vote" in caplog.text


def test_pairs_without_a_source_are_a_source_of_their_own_beside_others(tmp_path, caplog):
    votes = read_text_votes(written(tmp_path, line(source="people"), line(), line(source=""), line(source="people ")))
    assert votes.sources.tolist() == ["people", "(none)", "(none)", "people"]
    assert "2 pairs name no source" in caplog.text
    assert "'people' and 'people '" in caplog.text
    assert read_text_votes(written(tmp_path, line(), line(source="all"))).sources.tolist() == ["all", "all"]


def test_ids_that_two_lines_share_are_refused(tmp_path):
    written(tmp_path, '{"prompt_id": 1, "prompt": "why"}', name="prompts.jsonl")
    written(tmp_path, '{"prompt_id": 1, "a": "x", "b": "y", "votes": [1, 0]}', name="comparisons.jsonl")
    texts = ['{"completion_id": "x", "text": "sea"}', '{"completion_id": "y", "text": "tea"}']
    written(tmp_path, *texts, name="completions.jsonl")
    assert read_text_votes(str(tmp_path)).votes.tolist() == [[1, 0, 0]]
    written(tmp_path, *texts, '{"completion_id": "x", "text": "pea"}', name="completions.jsonl")
    with pytest.raises(ConfigError, match="line 3 has completion_id=x, as a line before it"):
        read_text_votes(str(tmp_path))
    written(tmp_path, '{"completion_id": [1], "text": "sea"}', name="completions.jsonl")
    with pytest.raises(ConfigError, match=r"line 1 has completion_id=\[1\]: give a text"):
        read_text_votes(str(tmp_path))


def test_a_prompt_that_is_given_twice_in_a_line_is_refused(tmp_path):
    path = written(tmp_path, '{"prompt": "why"}', '{"prompt": "why", "prompt": "how"}')
    with pytest.raises(ConfigError, match="line 2 has no prompt, or two"):
        prompt_files.read(InputFile(path, "game.path"))


LANGUAGES = [line(a="x", language="English", turn=1), line(a="y", language="German", turn=2), line(a="z", turn=2)]


@pytest.mark.parametrize(
    ("where", "completions"),
    [
        ({"language": "English"}, ["x"]),
        ({"language": ["English", "German"]}, ["x", "y"]),
        ({"turn": 2}, ["y", "z"]),
        ({"turn": 2, "language": ""}, ["z"]),
        ({}, ["x", "y", "z"]),
    ],
)
def test_filters_choose_lines(tmp_path, where, completions):
    votes = read_text_votes(written(tmp_path, *LANGUAGES), where=where)
    assert [votes.answers[first][1] for first, _ in votes.pairs] == completions


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ({"speech": "English"}, "lacks the column speech: it has prompt, a, b, votes, language, turn."),
        ({"language": "French"}, "has no row with language=French: loosen where, the column has English, German"),
        ({"language": "English", "turn": 2}, "has no row that passes all filters (language: 1 rows, turn: 2 rows)"),
    ],
)
def test_filters_that_choose_nothing_are_explained(tmp_path, where, words):
    with pytest.raises(ConfigError, match=re.escape(words)):
        read_text_votes(written(tmp_path, *LANGUAGES), where=where)


def test_filters_choose_rows_of_other_formats(tmp_path):
    rows = [
        {"model_a": "p", "model_b": "q", "winner": side, "language": language, **texts}
        for side, language, texts in (
            ("model_a", "English", {"prompt": "1", "response_a": "x", "response_b": "y"}),
            ("model_b", "German", {"prompt": "2", "response_a": "x", "response_b": "y"}),
        )
    ]
    for row in rows:
        row |= {f"winner_{name}": int(row["winner"] == name) for name in ("model_a", "model_b", "tie")}
        del row["winner"]
    path = tmp_path / "battles.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert read_text_votes(str(path), where={"language": "German"}).votes.tolist() == [[0, 1, 0]]
    assert len(read_text_votes(str(path))) == 2
    with pytest.raises(ConfigError, match="lacks the column turn"):
        read_text_votes(str(path), where={"turn": 1})
