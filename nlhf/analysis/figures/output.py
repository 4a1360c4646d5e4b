"""Figures as files and as SVG elements of a page."""

from __future__ import annotations

import io
import re
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from nlhf.analysis.figures.fonts import use_fallbacks
from nlhf.analysis.figures.style import INK, style
from nlhf.io.files import replacing, writing


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write PDF and PNG; returns their paths.

    Raises: WriteError; earlier files are not changed in that case.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}{ending}" for ending in (".pdf", ".png")]
    with style():
        settle(figure)
        for path in paths:
            content, metadata = io.BytesIO(), {"CreationDate": None} if path.suffix == ".pdf" else None
            figure.savefig(content, format=path.suffix[1:], metadata=metadata)
            with replacing(path, "wb") as stream:
                stream.write(content.getbuffer())
    return paths


def svg(figure: Figure, name: str) -> str:
    """The figure as an SVG element in the page's text colour.

    Ids that nothing refers to are removed; the others start with `name`, so that they are unique in the page.
    """
    stream = io.StringIO()
    with style(), mpl.rc_context({"svg.hashsalt": name}):
        settle(figure)
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = stream.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    used = set(re.findall(r'(?:url\(|href=")#([^")]+)', text))
    text = re.sub(r' id="([^"]+)"', lambda match: f' id="{name}-{match[1]}"' if match[1] in used else "", text)
    return re.sub(r'(url\(|href=")#', rf"\1#{name}-", text)


def settle(figure: Figure) -> None:
    """Choose the fonts and lay the figure out, once for all formats."""
    use_fallbacks(figure)
    layout = figure.get_layout_engine()
    if layout is not None:
        layout.execute(figure)
        figure.set_layout_engine("none")
