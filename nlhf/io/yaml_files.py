"""YAML files: texts are written so that PyYAML and OmegaConf read them back unchanged."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

EXPONENT = re.compile(r"[-+]?([0-9][0-9_]*\.?[0-9_]*|\.[0-9_]+)[eE][-+]?[0-9]+$")


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """Also quotes texts such as 1e3, which PyYAML reads as texts and OmegaConf as numbers.

    OmegaConf.to_yaml does not replace it: it changes U+0085, refuses the text "${", and takes 13 times as long.
    """

    def ignore_aliases(self, data: Any) -> bool:
        """Write an object that occurs twice in full both times."""
        return True


_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", EXPONENT, list("-+.0123456789"))


def yaml_text(content: Any) -> str:
    """Lists, mappings, texts and numbers as YAML."""
    text: str = yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    return text


def read_yaml(path: Path, kind: type) -> Any:
    """The content of a YAML file if it is of type `kind`, a list or a dict; else None, also for a damaged file."""
    try:
        content = yaml.load(path.read_bytes(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        json.dumps(content, default=str)  # refuses a content that contains itself
    except Exception:  # the parser raises many types
        return None
    return content if isinstance(content, kind) else None
