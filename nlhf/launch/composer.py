"""Composes the configs of a sweep's jobs faster than Hydra, and to the same result. No torch import."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from nlhf.config import ConfigError
from nlhf.launch.compose import NotComposedError, plain
from nlhf.launch.explain import explained

Kind = Literal["group", "value", "other"]
INTERPOLATION = re.compile(r"\$\{(?:oc\.select:)?([A-Za-z_][\w.]*)[,}]")  # that reads one key


class Composer:
    """The plain configs of a sweep's jobs, equal to what Hydra composes for each, and a hundred times faster.

    Hydra composes once per combination of group choices (`game=`, `algorithm=`, ...); overrides of values are applied
    to a copy of that. Whatever is neither (additions, deletions, packages, interpolations, Hydra's own keys) is left to
    Hydra, with the values that it touches.

    Args:
        loader: Hydra's.
        master: the config of the sweep itself.
    """

    def __init__(self, loader: ConfigLoader, master: DictConfig) -> None:
        self.loader, self.master, self.parser = loader, master, OverridesParser.create(config_loader=loader)
        self._groups: dict[str, bool] = {}
        self._parsed: dict[str, tuple[Override, Kind]] = {}
        self._bases: dict[tuple[str, ...], tuple[DictConfig, DictConfig]] = {}
        self._plains: dict[tuple[str, ...], _Plain | None] = {}

    def __call__(self, overrides: Sequence[str]) -> dict[str, Any]:
        """The plain config of a job.

        Raises: NotComposedError, or another ConfigError.
        """
        hydra: Any = HydraConfig.instance()
        before = hydra.cfg
        try:
            parsed = {text: self._parse(text) for text in overrides}
            others = [override.key_or_group for override, kind in parsed.values() if kind == "other"]
            if any("${hydra" in text for text in overrides):  # which may stand for any of the others
                others += [override.key_or_group for override, _ in parsed.values()]
            fast = {text: override for text, (override, kind) in parsed.items()
                    if kind == "value" and not any(_overlap(override.key_or_group, key) for key in others)}  # fmt: skip
            rest = tuple(text for text in overrides if text not in fast)
            whole, task = self._base(rest)
            hydra.cfg = whole  # what ${hydra:...} stands for
            if (known := self._plain(rest, task)) is not None and all(map(known.takes, fast.values())):
                return known.with_values(fast.values())
            config = copy.deepcopy(task)
            ConfigLoaderImpl._apply_overrides_to_config(list(fast.values()), config)
            return plain(config)
        except ConfigError:
            raise
        except (HydraException, OmegaConfBaseException, ValueError) as error:
            raise NotComposedError(explained(error, overrides)) from error
        finally:
            hydra.cfg = before

    def _parse(self, text: str) -> tuple[Override, Kind]:
        """An override, and whether it chooses from a group, sets a value that is there, or does something else."""
        if text not in self._parsed:
            override = self.parser.parse_overrides([text])[0]
            kind: Kind = "other"
            key, changes = override.key_or_group, override.is_add() or override.is_delete() or override.is_force_add()
            if key not in self._groups:
                self._groups[key] = bool(self.loader.get_group_options(key))
            if self._groups[key]:
                kind = "other" if isinstance(override.value(), dict) else "group"
            elif not (changes or override.package or key.partition(".")[0] == "hydra" or "${" in text):
                kind = "value"
            self._parsed[text] = override, kind
        return self._parsed[text]

    def _base(self, overrides: tuple[str, ...]) -> tuple[DictConfig, DictConfig]:
        """What Hydra composes for these, with and without its own node."""
        if overrides not in self._bases:
            whole = self.loader.load_sweep_config(self.master, list(overrides))
            with open_dict(task := copy.deepcopy(whole)):
                del task["hydra"]
            self._bases[overrides] = whole, task
        return self._bases[overrides]

    def _plain(self, overrides: tuple[str, ...], task: DictConfig) -> _Plain | None:
        """What these compose to as plain values, where no interpolation can read what a job overrides."""
        if overrides not in self._plains:
            text = json.dumps(OmegaConf.to_container(task, resolve=False), default=str)
            read = INTERPOLATION.findall(text)
            simple = text.count("${") == text.count("${hydra:runtime.choices.") + len(read) and "???" not in text
            self._plains[overrides] = _Plain(plain(task), frozenset(read)) if simple else None
        return self._plains[overrides]


class _Plain:
    """A plain config of which numbers, texts and lists of them can be replaced.

    Args:
        config: with its interpolations resolved.
        read: the keys that these interpolations read, which cannot be replaced.
    """

    def __init__(self, config: dict[str, Any], read: frozenset[str]) -> None:
        self.text, self.config, self.read = json.dumps(config), config, read
        self.faithful = json.loads(self.text) == config  # infinity is, nan and other keys than texts are not

    def takes(self, override: Override) -> bool:
        """Is this a value in place of one that is there?"""
        value, (node, name) = override.value(), _place(self.config, override)
        there = node is not None and name in node and not isinstance(node[name], dict)
        scalars = value if isinstance(value, list) else [value]
        known = all(type(entry) in (int, float, str, bool, type(None)) and entry != "???" for entry in scalars)
        unread = not any(_overlap(override.key_or_group, key) for key in self.read)
        return self.faithful and there and known and unread

    def with_values(self, overrides: Iterable[Override]) -> dict[str, Any]:
        """A copy with them; each is one that it `takes`."""
        config: dict[str, Any] = json.loads(self.text)
        for override in overrides:
            node, name = _place(config, override)
            assert node is not None
            value: Any = override.value()
            node[name] = list(value) if isinstance(value, list) else value
        return config


def _place(config: dict[str, Any], override: Override) -> tuple[dict[str, Any] | None, str]:
    """The node that an override's key lies in, None where there is none, and its last part."""
    *path, name = override.key_or_group.split(".")
    node: Any = config
    for key in path:
        node = node.get(key) if isinstance(node, dict) else None
    return node if isinstance(node, dict) else None, name


def _overlap(one: str, other: str) -> bool:
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")
