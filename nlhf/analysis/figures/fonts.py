"""Fonts of figures: names in any script use an installed font that has their characters.

Characters without an installed font are written as escapes, `\\u540d`, so that different names stay different.
"""

from __future__ import annotations

import unicodedata
from contextlib import suppress
from functools import cache

from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.font_manager import FontEntry, FontProperties, fontManager
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text

from nlhf.terminal import escape, warn

REGULAR = 400  # weight
NOT_FOR_TEXT = ("Last Resort", "STIXNon", "STIXSize", "cm")  # Matplotlib's fonts of boxes and of parts of formulas
_undrawn: set[str] = set()  # characters that figures wrote as escapes since the last warning


def legible(text: str) -> str:
    """The text with escapes in place of the characters that no installed font has."""
    undrawn = {character for character in lacking(text) if font_for(character) is None}
    _undrawn.update(undrawn)
    return "".join(escape(character) if character in undrawn else character for character in text)


def use_fallbacks(figure: Figure) -> None:
    """Add fallback fonts to every text of a figure that needs them."""
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        names = {font_for(character) for character in lacking(text.get_text())} - {None, *text.get_fontfamily()}
        if names:
            text.set_fontfamily([*text.get_fontfamily(), *sorted(filter(None, names))])


def warn_of_escapes() -> None:
    """Print one sentence on the characters that figures wrote as escapes since the last call, if any."""
    if not _undrawn:
        return
    examples: dict[str, str] = {}
    for character in sorted(_undrawn):
        examples[script(character)] = (examples.get(script(character), "") + character)[:3]
    _undrawn.clear()
    scripts = " and ".join(f"{name} ({characters})" for name, characters in examples.items())
    warn(f"No installed font has {scripts}: figures show codes; install one that does, such as Noto, and repeat.")


def script(character: str) -> str:
    """The script of a letter, such as CJK or THAI, from its Unicode name; `symbols` for the rest."""
    is_letter = unicodedata.category(character)[0] in "LM"
    return unicodedata.name(character, "unnamed letters").partition(" ")[0] if is_letter else "symbols"


def lacking(text: str) -> set[str]:
    """The characters that the default font of figures lacks."""
    if text.isascii():
        return set()
    default = font_manager.findfont(FontProperties())
    return {character for character in text if not character.isascii() and not _has(str(default), character)}


@cache
def font_for(character: str) -> str | None:
    """The name of an installed font that has a character, or None."""
    for entry in installed():
        if _has(entry.fname, character):
            return entry.name
    return None


@cache
def installed() -> list[FontEntry]:
    """All fonts for text, Noto first; also fonts that were installed after Matplotlib listed them."""
    listed = {entry.fname for entry in fontManager.ttflist}
    for path in set(font_manager.findSystemFonts()) - listed:
        with suppress(Exception):  # FreeType raises many kinds of errors for damaged or bitmap fonts
            fontManager.addfont(path)
    usable = {
        entry.name: entry
        for entry in fontManager.ttflist
        if entry.style == "normal"
        and entry.weight == REGULAR
        and getattr(entry, "index", 0) == 0
        and not entry.name.startswith(NOT_FOR_TEXT)
    }
    return sorted(
        usable.values(), key=lambda entry: ("Noto Sans" not in entry.name, "Sans" not in entry.name, entry.name)
    )


@cache
def _has(path: str, character: str) -> bool:
    face = _face(path)
    return face is not None and face.get_char_index(ord(character)) != 0


@cache
def _face(path: str) -> FT2Font | None:
    try:
        return FT2Font(path)
    except (OSError, RuntimeError):
        return None
