"""The Python sessions of README.md and docs/ print what they show."""

from __future__ import annotations

import doctest

import pytest

from tests.documents import PAGES, ROOT, blocks

SESSIONS = [page for page in PAGES if blocks(page, "pycon")]


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("page", SESSIONS, ids=lambda page: page.stem)
def test_a_session_prints_what_it_shows(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    session = "".join(blocks(page, "pycon"))
    test = doctest.DocTestParser().get_doctest(session, {}, page.stem, str(page.relative_to(ROOT)), 0)
    assert doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test).failed == 0
