"""Names in any script: drawn in an installed font that has them, else written as escapes, with one sentence."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.font_manager import FontProperties, findfont, fontManager
from matplotlib.text import Text

from nlhf.analysis.figures import fonts, games, layout, output
from nlhf.analysis.figures.style import Look, handle
from nlhf.analysis.page import Picture, write
from nlhf.stats.cyclic import diagnose

ELSEWHERE, NOWHERE = "\u1d84", "\U00013000"  # in STIXGeneral and not in DejaVu Sans; a hieroglyph, in neither
P = np.array([[0.5, 0.9, 0.2], [0.1, 0.5, 0.7], [0.8, 0.3, 0.5]])


@pytest.fixture(autouse=True)
def stix(monkeypatch):
    """One font is installed beside the default one: results depend on no font of the machine."""
    (entry,) = [e for e in fontManager.ttflist if (e.name, e.style, e.weight) == ("STIXGeneral", "normal", 400)]
    monkeypatch.setattr(fonts, "installed", lambda: [entry])
    fonts.font_for.cache_clear()
    fonts._undrawn.clear()
    yield
    fonts.font_for.cache_clear()
    fonts._undrawn.clear()


def picture(*items):
    return games.matrix(list(items), P, diagnose(P, None), "a title")


def labels(figure):
    return {text.get_text(): text for text in figure.findobj(Text) if text.get_text()}


def test_only_what_the_default_font_lacks_is_looked_for():
    assert fonts.lacking(f"plain é ± سلام {ELSEWHERE}{NOWHERE}") == {ELSEWHERE, NOWHERE}
    assert fonts.lacking("ASCII $x_1$ \\") == set()
    assert fonts.font_for(ELSEWHERE) == "STIXGeneral"
    assert fonts.font_for(NOWHERE) is None


def test_a_text_falls_back_to_a_font_that_has_its_characters_without_a_warning(tmp_path, capsys):
    figure = picture(f"a{ELSEWHERE}", "b", "c")
    output.save(figure, tmp_path, "matrix")  # warnings of missing glyphs are errors here
    texts = labels(figure)
    assert texts[f"a{ELSEWHERE}"].get_fontfamily()[-1] == "STIXGeneral"
    assert "STIXGeneral" not in texts["b"].get_fontfamily()
    assert output.svg(figure, "matrix").startswith("<svg")
    fonts.warn_of_escapes()
    assert capsys.readouterr() == ("", "")


def test_characters_of_no_font_are_escapes_and_one_sentence_says_so(tmp_path, capsys):
    pictures = [Picture(name, picture(f"{NOWHERE}1", f"\U00013001{ELSEWHERE}", "\u0e44\u0e17\u0e22"), "caption")
                for name in ("one", "two")]  # fmt: skip
    shown = {"\\U000130001", f"\\U00013001{ELSEWHERE}", r"\u0e44\u0e17\u0e22"}
    assert shown < set(labels(pictures[0].figure))
    write(tmp_path, "votes.html.jinja", pictures, title="t", lines=[], sections=[])
    assert capsys.readouterr().err == (
        "No installed font has THAI (ทยไ) and EGYPTIAN (𓀀𓀁): figures show codes; install one that does, such as Noto, "
        "and repeat.\n"
    )
    write(tmp_path, "votes.html.jinja", [], title="t", lines=[], sections=[])
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("name", "shown"),
    [("$x_1$", r"\$x_1\$"), ("<b>&amp;{{ 1 }}", "<b>&amp;{{ 1 }}"), ("\x1b[31m\u202e", r"\x1b[31m\u202e"),
     ("a\nb", r"a\nb"), (r"\$", r"\\$"), ("_hidden", "_hidden"), (f"\\U00013000{NOWHERE}", r"\\U00013000\U00013000")],
)  # fmt: skip
def test_names_are_shown_literally(tmp_path, name, shown):
    assert layout.wrapped(name) == shown
    figure = picture(name, "b", "c")
    layout.below(figure, {name: handle(Look("k", "o"))}, {name: name}, [name])
    output.save(figure, tmp_path, "matrix")
    assert shown in labels(figure)
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == [shown]


def test_very_long_names_are_cut_and_stay_different(tmp_path):
    """A part of a title has at most 120 characters; a digest stands for the middle."""
    names = [f"{'x' * 5000}{middle}{'y' * 5000}" for middle in "abc"]
    shown = [layout.wrapped(name, 200) for name in names]
    assert len(set(shown)) == 3
    assert {len(text) for text in shown} == {120}
    assert all(text.startswith("x" * 100) and text.endswith("y" * 10) for text in shown)
    output.save(picture(*names), tmp_path, "matrix")  # warnings of a layout without room are errors here
    assert layout.wrapped("x" * 120, 200) == "x" * 120


def test_wide_characters_count_twice():
    assert layout.extent(["名前", "ab\nabc"]) == (4, 2)
    assert max(len(line) for line in layout.wrapped("😀" * 60).split("\n")) <= 26


def test_scripts_are_named():
    assert [fonts.script(c) for c in "名ไद😀한"] == ["CJK", "THAI", "DEVANAGARI", "symbols", "HANGUL"]


def test_fonts_that_were_installed_later_are_found(monkeypatch, tmp_path):
    monkeypatch.undo()
    fonts.installed.cache_clear()
    default = findfont(FontProperties())
    damaged = tmp_path / "damaged.ttf"
    damaged.write_bytes(b"no font")
    before = list(fontManager.ttflist)
    try:
        fontManager.ttflist = [entry for entry in before if entry.name != "STIXGeneral"]
        stix = [entry.fname for entry in before if entry.name == "STIXGeneral"]
        monkeypatch.setattr(fonts.font_manager, "findSystemFonts", lambda: [*stix, str(default), str(damaged)])
        names = [entry.name for entry in fonts.installed()]
        assert "STIXGeneral" in names
        assert not [name for name in names if name.startswith(fonts.NOT_FOR_TEXT)]
    finally:
        fontManager.ttflist = before
        fonts.installed.cache_clear()
        fonts.font_for.cache_clear()
