"""Self-contained pages from templates, with their figures as separate files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape
from matplotlib.figure import Figure

from nlhf.analysis.figures import output
from nlhf.analysis.figures.fonts import warn_of_escapes
from nlhf.io.files import replacing, writing
from nlhf.terminal import cleaned, visible, visible_lines

NARROW = 5  # inches; on a phone, wider figures scroll instead of shrinking


def _shown(value: Any) -> Any:
    """The value with visible hidden characters; markup is unchanged."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


@dataclass(frozen=True)
class Picture:
    """A figure of a page, with its file name and caption."""

    name: str
    figure: Figure
    caption: str


def write(folder: Path, template: str, pictures: Iterable[Picture], **context: Any) -> Path:
    """Write folder/report.html and folder/figures/*.pdf, *.png; returns the page's path.

    Raises: WriteError, which leaves earlier files unchanged.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for picture in pictures:
        output.save(picture.figure, folder / "figures", picture.name)
        svg, width = output.svg(picture.figure, picture.name), picture.figure.get_size_inches()[0]
        drawn.append({"name": picture.name, "caption": picture.caption, "svg": svg, "narrow": width < NARROW})
    warn_of_escapes()
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(
        loader=loader,
        autoescape=True,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["paragraphs"] = lambda text: escape(visible_lines(text))
    environment.filters["prepared"] = lambda text: escape(cleaned(text))
    written = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    page = environment.get_template(template).render(**context, pictures=drawn, written=written)
    with replacing(folder / "report.html") as stream:
        stream.write(page)
    return folder / "report.html"
