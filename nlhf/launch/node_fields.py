"""The fields of the dataclass that a config node names."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any

from nlhf.config import ConfigError, field_type, locate


def fields_of(node: Mapping[str, Any]) -> frozenset[str]:
    """The fields of the dataclass that a config node names; empty if it does not name a dataclass."""
    try:
        return frozenset(field.name for field in dataclasses.fields(locate(node, "", object)) if field.init)
    except ConfigError:
        return frozenset()


def takes_mapping(node: Mapping[str, Any], name: str) -> bool:
    """True if a field of the dataclass that a config node names can be a mapping."""
    if name not in fields_of(node):
        return False
    hint = field_type(locate(node, "", object), name)
    return any(typing.get_origin(option) is dict for option in (hint, *typing.get_args(hint)))
