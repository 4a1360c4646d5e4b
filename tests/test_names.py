"""Every valid Unicode name survives every file: what is written is read back, character by character."""

from __future__ import annotations

import html
import io
import json
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from pyarrow import csv as arrow_csv

import nlhf
from nlhf.analysis.page import write as write_page
from nlhf.analysis.study import export
from nlhf.arena.games import Arena
from nlhf.arena.meetings import Meetings
from nlhf.arena.rules import Rules
from nlhf.cli.compare import main as analyse
from nlhf.cli.status import main as status
from nlhf.cli.votes import main as votes
from nlhf.config import ConfigError, checked
from nlhf.games.check import check_names
from nlhf.io.arrays import read_arrays
from nlhf.io.inputs import InputFile
from nlhf.io.json_files import read_json, read_json_lines, write_json
from nlhf.io.yaml_files import yaml_text
from nlhf.judges import votes_file
from nlhf.judges.base import TextJudge
from nlhf.leaderboard.sections import PageTable, Section
from nlhf.models import prompt_files
from nlhf.records import Table, parse_rows, read_rows
from nlhf.terminal import visible
from tests.launch.commands import command

pytestmark = pytest.mark.usefixtures("one_thread")

# Characters at which some readers end a line or a cell, and others that look like syntax
BREAKS = "\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029\t\",;'|$%\\[]{}<>&#:=\x1b\x7f\u202e\ufeff\x00"
ANY = st.text(st.one_of(st.characters(codec="utf-8"), st.sampled_from(BREAKS)), max_size=12)
NAME = ANY.filter(lambda text: text == text.strip() and text != "" and "\0" not in text)  # as games name items
few = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@given(st.lists(st.lists(ANY, min_size=2, max_size=2), max_size=5), st.integers(0, 10**6))
def test_tables_give_back_every_cell_and_drop_only_a_torn_row(rows, cut):
    with TemporaryDirectory() as folder:
        table = Table(Path(folder) / "t.csv", ["a", "b"])
        for a, b in rows:
            table.add(a=a, b=b)
        table.flush()
        content = table.path.read_bytes()
        assert read_rows(table.path) == table.rows == [{"a": a, "b": b} for a, b in rows]
        assert parse_rows(table.text) == table.rows
        loaded = Table(table.path, ["a", "b"])
        loaded.load()
        assert loaded.rows == table.rows
        end = cut % (len(content) + 1)
        while end < len(content) and content[end] & 0xC0 == 0x80:  # within a character
            end += 1
        table.path.write_bytes(content[:end])
        kept = read_rows(table.path)
        assert kept == table.rows[: len(kept)]
        assert len(kept) >= len(rows) - 1 or end < len(content) - 1
        assert content.decode().endswith("\n")


@given(st.lists(st.tuples(ANY, ANY), min_size=1, max_size=4))
def test_other_readers_of_csv_read_our_tables(rows):
    rows = [(f"{a}x".replace("\0", ""), f"{b}x".replace("\0", "")) for a, b in rows]  # pandas ends a text at NUL
    with TemporaryDirectory() as folder:
        table = Table(Path(folder) / "t.csv", ["a", "b"])
        for a, b in rows:
            table.add(a=a, b=b)
        table.flush()
        frame = pd.read_csv(table.path, dtype=str, keep_default_na=False, engine="python")
        assert list(frame.itertuples(index=False, name=None)) == rows
        lines = arrow_csv.ParseOptions(newlines_in_values=True)
        types = arrow_csv.ConvertOptions(column_types={"a": "str", "b": "str"})
        arrow = arrow_csv.read_csv(table.path, parse_options=lines, convert_options=types)
        assert [tuple(row.values()) for row in arrow.to_pylist()] == rows


@given(st.dictionaries(ANY, ANY, max_size=4), st.booleans())
def test_json_files_and_lines_give_back_every_text(entry, ascii_only):
    with TemporaryDirectory() as folder:
        path = Path(folder) / "c.jsonl"
        lines = [json.dumps(entry, ensure_ascii=ascii_only), json.dumps({"prompt": "x", **entry})]
        path.write_bytes("".join(f"{line}\n" for line in lines).encode() + b'{"torn": "')
        assert read_json_lines(path) == [entry, {"prompt": "x", **entry}]
        write_json(path, entry)
        assert read_json(path) == entry


@given(st.dictionaries(st.sampled_from("abc"), st.one_of(ANY, st.lists(ANY, max_size=3)), max_size=3))
def test_configs_give_back_every_text(config):
    text = yaml_text(config)
    content = text.encode()
    assert yaml.load(content, yaml.CSafeLoader) == config
    assert yaml.safe_load(content) == config
    assert OmegaConf.to_container(OmegaConf.load(io.BytesIO(content)), resolve=False) == config


@given(st.lists(ANY.filter(lambda text: text.strip()), min_size=1, max_size=4), st.booleans())
def test_prompts_and_votes_over_texts_are_read_as_they_were_written(texts, ascii_only):
    with TemporaryDirectory() as folder:
        path = Path(folder) / "p.jsonl"
        entries = [{"prompt": text, "a": f"{text}1", "b": text, "votes": [1, 0, 0], "source": "s"} for text in texts]
        path.write_bytes("".join(json.dumps(e, ensure_ascii=ascii_only) + "\n" for e in entries).encode())
        assert prompt_files.read(InputFile(str(path), "game.path")) == texts
        votes = votes_file.read_text_votes(str(path))
        assert list(votes.texts()) == [(text, f"{text}1", text) for text in texts]


@dataclass(frozen=True)
class First(TextJudge):
    """Prefers the first one."""

    asked: list = field(default_factory=list)

    def preference(self, pairs):
        return np.full(len(pairs), 0.75)


@dataclass(frozen=True)
class Author:
    """Writes the same text for every prompt."""

    name: str
    text: str

    @property
    def identity(self):
        return repr(self.name)

    def lacking(self, prompts, samples):
        return {}

    def wrote(self, prompt, texts):
        return False

    def complete(self, prompts, samples, seed, first):
        return [[self.text] * samples for _ in prompts]


@few
@given(st.lists(NAME, min_size=2, max_size=3, unique=True), ANY, st.lists(ANY, min_size=1, max_size=2))
def test_an_arena_gives_back_contestants_prompts_and_completions(names, text, asked):
    with TemporaryDirectory() as folder:
        rules = Rules(asked, 1, 0, "judge")
        authors = [Author(name, text + name) for name in names]
        count = Arena(Path(folder), rules, authors).play(First(), 20, Meetings())
        again = Arena(Path(folder), rules, authors)
        assert (again.names, list(again.rules.prompts)) == (names, asked)
        assert again.texts == {(name, n): [text + name] for name in names for n in range(len(asked))}
        assert len(again.votes.rows) == count > 0
        assert {row["item_a"] for row in again.votes.rows} <= set(names)
        assert again.play(First(), 20, Meetings()) == 0


def counted(path, names, context):
    """A file of votes on all pairs of these names, as the csv module writes it."""
    table = Table(path, ["item_a", "item_b", "wins_a", "wins_b", "question"])
    for k, first in enumerate(names):
        for second in names[:k]:
            table.add(item_a=first, item_b=second, wins_a=3 + k, wins_b=2, question=context)
    table.flush()
    return path


@settings(few, max_examples=3)
@example(
    ["a\rb", "a\nb", "a\u2028b", "a\x85b", "a\x0bb", "a\x1cb", "a,b", 'a"b', "名前", "\x1b[31m", "\ufeffa"], "c\r\nd"
)
@given(st.lists(NAME, min_size=3, max_size=4, unique=True), NAME.filter(lambda text: "/" not in text))
def test_a_run_gives_back_items_and_contexts_in_all_its_files_and_goes_on_with_them(names, context):
    with TemporaryDirectory() as folder:
        file = counted(Path(folder) / "votes.csv", names, context)
        words = [f"runs_dir={folder}/runs", "game=votes", f"game.path={file}", "game.context=[question]",
                 "log_policy=true", "budget.target=null", "progress=false", "equilibrium=never"]  # fmt: skip
        nlhf.run([*words, "budget.iterations=3"])
        run = nlhf.run([*words, "budget.iterations=6"]).folder  # goes on from the checkpoint
        whole = nlhf.run([*words, "budget.iterations=6", "study=whole"]).folder
        game, policy = (read_arrays(run / name) for name in ("game.npz", "policy.npz"))
        for arrays in (game, policy):
            assert sorted(arrays["items"].tolist()) == sorted(names)
            assert arrays["contexts"].tolist() == [context]
        rows = read_rows(run / "policies.csv")
        assert rows == read_rows(whole / "policies.csv")
        assert [row["action"] for row in rows[: len(names)]] == game["items"].tolist()
        assert {row["context"] for row in rows} == {context}


@given(st.lists(ANY, min_size=1, max_size=4), st.sampled_from(["csv", "parquet"]))
def test_exports_give_back_every_text(texts, ending):
    texts = [f"{text}x".replace("\0", "") for text in texts]
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"e.{ending}"
        export(pd.DataFrame({"method": texts, "value": np.arange(len(texts)) + 0.1}), path)
        if ending == "csv":
            frame = pd.read_csv(path, keep_default_na=False, engine="python", dtype={"method": str})
        else:
            frame = pd.read_parquet(path)
        assert frame["method"].tolist() == texts
        assert frame["value"].tolist() == [k + 0.1 for k in range(len(texts))]


HOSTILE = ["llama[/INST]", "gpt-4 [temp=0]", "gpt-4 [temp=1]", "\x1b[31mred", "a\u2028b", "$x_1$", "<script>", "a\nb"]


def test_commands_print_names_literally(tmp_path, capsys):
    file, study = counted(tmp_path / "votes.csv", HOSTILE, "c"), "[/b] $x$ <b> & {{ 1 }} \u2028\u202e"
    words = [f"runs_dir={tmp_path}", f"study='{study}'", f"game.path={file}", "game=votes", "budget.iterations=3"]
    done = command(*words)
    assert done.code == 0
    first = {line.partition("  ")[0] for line in done.out.split("\n")}
    assert first >= {visible(name) for name in HOSTILE}
    (found,) = (tmp_path / "[").iterdir()
    assert analyse([str(found), "--no-report"]) == 0
    assert votes(["show", str(file), "--out", str(tmp_path / "page")]) == 0
    assert status(["status", str(found)]) == 0
    printed = capsys.readouterr()
    assert f"{visible(found)}: 1 completed" in printed.out
    shown = done.out + done.err + printed.out + printed.err
    assert all(line.isprintable() for line in shown.split("\n"))


class Cells(HTMLParser):
    """The texts of the cells of a page, and every tag."""

    def __init__(self):
        super().__init__()
        self.cells, self.tags, self.inside = [], [], False

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag == "td":
            self.inside = True
            self.cells.append("")

    def handle_endtag(self, tag):
        self.inside = self.inside and tag != "td"

    def handle_data(self, data):
        if self.inside:
            self.cells[-1] += data


@settings(max_examples=30, deadline=None)
@given(st.lists(ANY, min_size=1, max_size=3))
def test_pages_show_every_text_literally(texts):
    shown = Section("question", tables=[PageTable(texts, [texts])])
    with TemporaryDirectory() as folder:
        page = write_page(Path(folder), "votes.html.jinja", [], title=texts[0], lines=texts, sections=[shown])
        content = page.read_bytes().decode()
        parsed = Cells()
        parsed.feed(content)
        assert parsed.cells == [visible(text) for text in texts]
        assert (
            f"<h1>{html.escape(visible(texts[0])).replace('&quot;', '&#34;').replace('&#x27;', '&#39;')}</h1>"
            in content
        )
        assert set(parsed.tags) <= {"html", "head", "meta", "title", "style", "body", "main", "h1", "h2", "p", "div",
                                    "table", "thead", "tbody", "tr", "th", "td"}  # fmt: skip


@dataclass
class Filtered:
    """A part of a config with a mapping of texts."""

    where: dict[str, str | list[str]] | None


def test_what_a_file_cannot_hold_is_refused_in_a_sentence(tmp_path):
    with pytest.raises(
        ConfigError, match=r"^where has U\+D800, half of a character, which UTF-8 cannot hold: remove it"
    ):
        checked(Filtered, {"where": {"a\ud800": "b"}})
    with pytest.raises(ConfigError, match=r"game\.where has U\+DC41"):
        checked(Filtered, {"where": {"judge": ["x", "\udc41"]}}, "game")
    for names, word in ((["a", "a\0"], "NUL"), (["a\udfff", "b"], r"U\+DFFF")):
        with pytest.raises(ConfigError, match=word):
            check_names(names, "item", "game=Own")
    path = tmp_path / "p.jsonl"
    for entry in ({"prompt": "x\ud800"}, {"prompt": [{"role": "user", "content": "\ud800"}]}):
        path.write_text(json.dumps({"a": "1", "b": "2", "votes": [1, 0, 0]} | entry) + "\n")
        with pytest.raises(ConfigError, match=r"line 1.*U\+D800"):
            prompt_files.read(InputFile(str(path), "game.path"))
        with pytest.raises(ConfigError, match=r"line 1.*U\+D800"):
            votes_file.read_text_votes(str(path))
    path.write_text(json.dumps({"prompt": "x", "a": "1", "b": "2", "votes": [1, 0, 0], "source": "s\0"}) + "\n")
    with pytest.raises(ConfigError, match=r"line 1 has source=.*NUL"):
        votes_file.read_text_votes(str(path))
