"""The generated pages of docs/ are up to date, short enough where that is promised, and linked correctly."""

from __future__ import annotations

import re

import pytest

from docs.generate import imports
from docs.generate.pages import PAGES, ROOT
from tests.documents import PAGES as ALL_PAGES


@pytest.mark.parametrize("name", PAGES)
def test_a_generated_page_is_up_to_date(name):
    assert (ROOT / name).read_text(encoding="utf-8") == PAGES[name](), "run: python -m docs.generate"


def test_every_arrow_of_the_picture_of_imports_points_down():
    arrows = re.findall(r'd="M\S+ (\S+) C[^"]* (\S+)"/>', imports.picture())
    assert len(arrows) == sum(map(len, imports.edges().values()))
    assert all(float(start) < float(end) for start, end in arrows)


def test_the_page_of_the_architecture_lists_the_packages_in_their_order():
    text = (ROOT / "architecture.md").read_text(encoding="utf-8").partition("| package |")[2]
    positions = [text.index(f"`{package}`") for package in imports.edges()]
    assert positions == sorted(positions)


def test_the_readme_is_short():
    assert len((ROOT.parent / "README.md").read_text(encoding="utf-8").split()) <= 1300


@pytest.mark.parametrize("page", ALL_PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page):
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        target, _, anchor = link.partition("#")
        if not link.startswith("http"):
            other = (page.parent / target).resolve() if target else page
            assert other.exists(), f"{page} links to {link}"
            assert not anchor or anchor in headings(other), f"{page} links to {link}"


def headings(page):
    """The anchors of a page, as code hosts and the site make them."""
    lines = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", line.lower()).strip().replace(" ", "-") for line in lines}
