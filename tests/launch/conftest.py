"""What the tests of commands and launchers share."""

from __future__ import annotations

import pytest

from tests.launch.commands import close_all


@pytest.fixture(autouse=True)
def no_process_is_left():
    """A test that fails leaves no process and no open pipe to the next one."""
    yield
    close_all()
