"""Which values of a parameter `make test` tries; `make test-all` tries all of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def mostly_long(values: Iterable[Any], short: Collection[Any]) -> list[Any]:
    """The values, all but those in `short` marked as long versions."""
    return [value if value in short else pytest.param(value, marks=pytest.mark.long) for value in values]
