"""What tests of the report share."""

from __future__ import annotations

import pytest

from tests.analysis.page import write_page, write_study


@pytest.fixture(scope="session")
def report(tmp_path_factory):
    """The page of the study of tests/analysis/page.py, beside its runs."""
    study = write_study(tmp_path_factory.mktemp("report") / "mine")
    return write_page(study, study)
