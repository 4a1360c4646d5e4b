"""Data reaches the terminal literally: no markup, no control characters, nothing lost."""

from __future__ import annotations

import ast
import io
import logging
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table

from nlhf import terminal
from nlhf.cli.parser import Parser, in_sentences
from nlhf.terminal import LineFormatter, cleaned, console, paragraphs, visible, visible_lines

ROOT = Path(__file__).resolve().parents[1]
HOSTILE = (
    "\x00\x07\x08\t\n\x0b\x0c\r\x1b\x1c\x7f\x80\x85\x9b\xa0\xad\u061c\u200b\u200d\u2028\u2029"
    "\u202e\u2066\ufeff\ud800\udfff\U000e0041\u3164\ufe0f"
)
TEXT = st.text(st.one_of(st.characters(), st.sampled_from(HOSTILE), st.sampled_from("\\\\nrtxuU0159abdef[]/")))


@pytest.mark.parametrize(
    ("text", "shown"),
    [("gpt-4 [temp=0]", "gpt-4 [temp=0]"), ("llama[/INST]", "llama[/INST]"), ("\x1b[31mred", r"\x1b[31mred"),
     ("a\u2028b", r"a\u2028b"), ("a\nb\r\tc", r"a\nb\r\tc"), ("rtl\u202eabc", r"rtl\u202eabc"), ("\x85", r"\x85"),
     ("a\xa0b", r"a\xa0b"), ("zero\u200bwidth", r"zero\u200bwidth"), ("\ud800", r"\ud800"),
     ("\U000e0041", r"\U000e0041"), ("\u3164", r"\u3164"), ("名前 हिन्दी ไทย سلام 😀", "名前 हिन्दी ไทย سلام 😀"),
     (r"\alpha C:\dir", r"\alpha C:\dir"),
     (r"\x1b", r"\\x1b"), (r"\x1b \alpha", r"\\x1b \\alpha"), ("\\\n", r"\\\n"), (1.5, "1.5"), ("", "")],
)  # fmt: skip
def test_hidden_characters_are_shown_as_escapes_and_all_others_as_they_are(text, shown):
    assert visible(text) == shown


@given(TEXT)
def test_what_is_shown_can_be_seen_in_one_line_and_written_in_any_encoding(text):
    shown = visible(text)
    assert shown.isprintable()
    assert not set(shown) & set(HOSTILE)
    shown.encode("utf-8")
    assert visible_lines(text) == "\n".join(visible(line) for line in text.split("\n"))
    assert all(line.isprintable() for line in cleaned(text).split("\n"))


def read_back(shown):
    """The text that `visible` shows."""
    if not terminal.ESCAPED.search(shown):
        return shown
    text, position = "", 0
    while position < len(shown):
        escape = terminal.ESCAPED.match(shown, position)
        if escape is None:
            text, position = text + shown[position], position + 1
            continue
        code, position = escape[0][1:], escape.end()
        text += {"n": "\n", "r": "\r", "t": "\t", "\\": "\\"}.get(code) or chr(int(code[1:], 16))
    return text


@given(TEXT)
def test_nothing_is_lost_so_that_different_texts_stay_different(text):
    assert read_back(visible(text)) == text


def printed(*objects, **options):
    stream = io.StringIO()
    console(60, stream).print(*objects, **options)
    return stream.getvalue()


@given(TEXT)
def test_a_console_shows_every_text_literally_wherever_it_stands(text):
    table = Table(title=text, box=None)
    table.add_column(text, overflow="fold")
    table.add_row(text)
    flat = "".join(printed(text, table, soft_wrap=True).split())
    assert flat == "".join(visible(text).split()) * 4 or not text
    assert not set(flat) & set(HOSTILE)


def test_brackets_and_colons_are_no_markup():
    assert printed("gpt-4 [temp=0] [bold]x[/bold] :smile: [/INST]") == "gpt-4 [temp=0] [bold]x[/bold] :smile: [/INST]\n"


def test_paragraphs_keep_their_line_breaks():
    table = Table(box=None)
    table.add_row(paragraphs("a [b]\nc\x1bd\r"), "one\nline")
    assert [line.split() for line in printed(table).split("\n") if line.strip()] == [
        ["a", "[b]", r"one\nline"], [r"c\x1bd\r"]]  # fmt: skip


def test_sentences_are_one_line_each(capsys):
    terminal.say("a\nb \x1b[2J")
    terminal.warn("名\r")
    terminal.say_lines("[1]\n\\n \x07")
    assert capsys.readouterr() == ("a\\nb \\x1b[2J\n[1]\n\\n \\x07\n", "名\\r\n")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_a_stream_that_lacks_characters_gets_escapes(monkeypatch, encoding):
    buffer = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(buffer, encoding=encoding))
    terminal.say("± 名")
    table = Table(title="名")
    table.add_row("∞ é")
    console(60).print(table)
    sys.stdout.flush()
    text = buffer.getvalue().decode(encoding)
    assert ("名" in text) == (encoding == "utf-8")
    assert ("\\u540d" in text) == (encoding != "utf-8")


def test_progress_goes_to_terminals_alone(monkeypatch):
    class Screen(io.StringIO):
        def isatty(self):
            return True

    for stream, shown in ((Screen(), "\r\x1b[Kstep 1\\n\\x1b[J\r\x1b[K"), (io.StringIO(), "")):
        monkeypatch.setattr(sys, "stderr", stream)
        terminal.show_progress("step 1\n\x1b[J")
        terminal.show_progress()
        assert stream.getvalue() == shown
    monkeypatch.setattr(sys, "stderr", Screen())
    monkeypatch.setenv("COLUMNS", "20")
    terminal.show_progress("名" * 30)
    assert sys.stderr.getvalue() == "\r\x1b[K" + "名" * 9 + " "


def test_a_record_of_the_log_is_one_line_before_its_traceback():
    try:
        raise ValueError("x\x1b\ny")
    except ValueError:
        record = logging.LogRecord("n", logging.ERROR, "", 0, "%s failed\n", ("a\x1b[0m",), sys.exc_info())
    first, *others = LineFormatter("%(levelname)s %(message)s").format(record).split("\n")
    assert first == r"ERROR a\x1b[0m failed\n"
    assert others[0].startswith("Traceback")
    assert others[-2:] == [r"ValueError: x\x1b", "y"]


def test_a_warning_that_no_handler_takes_is_shown_literally(monkeypatch, capsys):
    monkeypatch.setattr(logging.lastResort, "formatter", None)
    terminal.show_warnings()
    logging.lastResort.handle(logging.LogRecord("n", logging.WARNING, "", 0, "%s\nx", ("\x1b[2J",), None))
    assert capsys.readouterr().err == "\\x1b[2J\\nx\n"


def test_arguments_are_shown_literally_in_errors(capsys):
    assert in_sentences(Parser("p").parse_args)(["\x1b[31m", "a\nb"]) == 2
    assert capsys.readouterr().err == "error: unrecognized arguments: \\x1b[31m a\\nb: see p --help.\n"


ALLOWED = {"nlhf/terminal.py": {"stdout", "stderr", "Formatter", "Console"},
           "nlhf/runner/console.py": {"stderr", "TextColumn"}, "nlhf/cli/run.py": {"stderr"},
           "nlhf/language/team.py": {"stdout", "stderr"}, "nlhf/cli/output.py": {"stdout", "stderr"}}  # fmt: skip


def printing(tree):
    """Names in a module by which text could reach the terminal without passing through nlhf/terminal.py."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            plain = name == "print" and isinstance(node.func, ast.Name)
            if plain or name in ("ArgumentParser", "Formatter", "Console", "TextColumn", "print_exc", "basicConfig"):
                yield name
        elif isinstance(node, ast.Attribute) and ast.unparse(node) in ("sys.stdout", "sys.stderr"):
            yield node.attr


def test_nothing_is_printed_past_the_one_module():
    files = [*(ROOT / "nlhf").rglob("*.py"), *(ROOT / "hydra_plugins").rglob("*.py"), ROOT / "main.py"]
    for file in files:
        found = set(printing(ast.parse(file.read_text(encoding="utf-8"))))
        assert found <= ALLOWED.get(file.relative_to(ROOT).as_posix(), set()), file
    bars = (ROOT / "nlhf" / "runner" / "console.py").read_text(encoding="utf-8")
    assert bars.count("TextColumn(") == bars.count(", markup=False)")
