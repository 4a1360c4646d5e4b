"""What tests of the report share."""

from __future__ import annotations

import fcntl

import pytest

from nlhf.analysis.figures import output
from tests.analysis.page import write_page, write_study


@pytest.fixture(scope="session")
def report(tmp_path_factory, worker_id):
    """The page of the study of tests/analysis/page.py, beside its runs; the first worker that needs it writes it."""
    shared = tmp_path_factory.getbasetemp() if worker_id == "master" else tmp_path_factory.getbasetemp().parent
    study, written = shared / "report" / "mine", shared / "report.written"
    with (shared / "report.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not written.exists():
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(output, "save", lambda *_: [])  # no PDF and PNG files
                write_page(write_study(study), study)
            written.touch()
    return study / "report.html"
