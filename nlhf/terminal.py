"""Text for the terminal. Data is shown literally: markup is never interpreted and hidden characters become visible.

Every line that nlhf prints passes through this module. Two different texts never look the same: `a<ESC>b` is shown as
`a\\x1bb`, and a text that holds a backslash followed by `x1b` as `a\\\\x1bb`.
"""

from __future__ import annotations

import logging
import re
import shutil
import sys
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

NAMED = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}
BLANK = re.compile(  # characters that Unicode counts as printable although fonts draw nothing
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
HTTP_CLIENTS = ("httpx", "httpx2", "httpcore", "httpcore2", "urllib3", "openai")  # loggers
ESCAPED = re.compile(r"\\(?:[\\nrt]|x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})")  # what `visible` writes


def visible(value: object) -> str:
    r"""A text in one line of characters that can be seen; different texts stay different.

    Line breaks, control and format characters (such as U+202E, which reverses text), surrogates and unusual spaces are
    written as escapes. Backslashes are doubled only where they could be mistaken for an escape.

    >>> print(visible("a\x1b[31mb\nc"), visible("gpt-4 [temp=0]"), visible(r"\alpha"), visible(r"\x1b"))
    a\x1b[31mb\nc gpt-4 [temp=0] \alpha \\x1b
    """
    text = str(value)
    return text if _is_plain(text) and not ESCAPED.search(text) else _escaped(text.replace("\\", "\\\\"))


def visible_lines(value: object) -> str:
    """The same for a text of several lines: line feeds stay line breaks."""
    return "\n".join(map(visible, str(value).split("\n")))


def cleaned(text: str) -> str:
    """A prepared text of several lines, such as a log or a traceback: like `visible_lines`, but backslashes stay."""
    return "\n".join(line if _is_plain(line) else _escaped(line) for line in text.split("\n"))


def _is_plain(text: str) -> bool:
    return text.isprintable() and (text.isascii() or not BLANK.search(text))


def _escaped(text: str) -> str:
    return "".join(character if _is_plain(character) else escape(character) for character in text)


def escape(character: str) -> str:
    r"""The escape of a character, such as `\n` or `\u2028`."""
    code = ord(character)
    return NAMED.get(character) or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else
                                    f"\\U{code:08x}")  # fmt: skip


def say(value: object = "") -> None:
    """Print one line on the standard output."""
    _write(visible(value) + "\n", sys.stdout)


def say_lines(text: str) -> None:
    """Print a prepared text of several lines on the standard output."""
    _write(cleaned(text) + "\n", sys.stdout)


def warn(value: object) -> None:
    """Print one line on the standard error."""
    _write(visible(value) + "\n", sys.stderr)


def warn_lines(text: str) -> None:
    """Print a prepared text of several lines, such as a traceback, on the standard error."""
    _write(cleaned(text) + "\n", sys.stderr)


def show_progress(value: object = "") -> None:
    """Replace the line of progress; an empty text removes it. Does nothing if the standard error is not a terminal."""
    if sys.stderr.isatty():
        from rich.cells import cell_len, set_cell_size

        text, columns = visible(value), shutil.get_terminal_size().columns - 1
        _write(f"\r\x1b[K{text if cell_len(text) <= columns else set_cell_size(text, columns)}", sys.stderr)


def _write(text: str, stream: IO[str]) -> None:
    stream = tolerant(stream)
    stream.write(text)
    stream.flush()


def tolerant(stream: IO[str]) -> IO[str]:
    """The stream, set to write characters that its encoding lacks as escapes instead of failing."""
    with suppress(AttributeError, ValueError):  # a stream in memory, one that is closed
        if getattr(stream, "errors", None) != "backslashreplace":
            stream.reconfigure(errors="backslashreplace")  # type: ignore[attr-defined]
    return stream


def console(columns: int = 100, stream: IO[str] | None = None) -> Console:
    """A rich console that shows every text as `visible` does, in print, in tables and in their titles.

    Args:
        columns: the width of output to a file; a terminal has its own width.
        stream: standard output by default.
    """
    from rich.console import Console

    class LiteralConsole(Console):
        """Shows texts literally."""

        def render_str(self, text: str, **options: Any) -> Text:
            literal = visible(text).encode(self.encoding, "backslashreplace").decode(self.encoding)  # before layout
            return super().render_str(literal, **{**options, "markup": False, "emoji": False})

    stream = tolerant(stream or sys.stdout)
    width = None if stream.isatty() else columns
    return LiteralConsole(file=stream, width=width, markup=False, emoji=False, highlight=False)


def completion(text: str) -> str:
    """A completion for people to read: an empty one is shown as (empty)."""
    return text if text.strip() else "(empty)"


def paragraphs(value: object) -> Text:
    """A text of several lines for a cell of a table."""
    from rich.text import Text

    return Text(visible_lines(value))


def hush_http() -> None:
    """Keep HTTP clients, of the hub and of endpoints, from logging a line for each request."""
    for name in HTTP_CLIENTS:
        logging.getLogger(name).setLevel(logging.WARNING)


def show_warnings() -> None:
    """Let warnings of the log that no handler takes reach the standard error literally, one line each."""
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(LineFormatter("%(message)s"))


class LineFormatter(logging.Formatter):
    """Formats a record as one line, followed by its traceback."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (logging's name)
        record.message = visible(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802 (logging's name)
        return cleaned(super().formatException(ei))
