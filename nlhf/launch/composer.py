"""The configs of a sweep's jobs, a hundred times faster than composing each: plain dicts, equal to Hydra's own.

Hydra composes once per combination of group choices (`game=`, `algorithm=`, ...); overrides of values are applied to a
copy of that. Whatever is neither (additions, deletions, packages, Hydra's own keys) is left to Hydra.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from nlhf.config import ConfigError
from nlhf.launch.compose import plain


class Composer:
    """Composes the jobs of one sweep.

    Args:
        loader: Hydra's.
        master: the config of the sweep itself.
    """

    def __init__(self, loader: ConfigLoader, master: DictConfig) -> None:
        self.loader, self.master = loader, master
        self._parsed: dict[str, tuple[Override, bool]] = {}
        self._bases: dict[tuple[str, ...], DictConfig] = {}

    def __call__(self, overrides: Sequence[str]) -> dict[str, Any]:
        """The plain config of a job.

        Raises: ConfigError, with Hydra's words where it does not compose.
        """
        try:
            parsed = [self._parse(text) for text in overrides]
            config = copy.deepcopy(self._base(tuple(str(entry.input_line) for entry, simple in parsed if not simple)))
            ConfigLoaderImpl._apply_overrides_to_config([entry for entry, simple in parsed if simple], config)
            return plain(config)
        except (HydraException, OmegaConfBaseException) as error:
            raise ConfigError(str(error).partition("\n")[0]) from error

    def _parse(self, text: str) -> tuple[Override, bool]:
        """An override, and whether it only sets a value."""
        if text not in self._parsed:
            override = self._parser.parse_override(text)
            self._parsed[text] = override, self._is_value(override)
        return self._parsed[text]

    @cached_property
    def _parser(self) -> OverridesParser:
        return OverridesParser.create(config_loader=self.loader)

    def _is_value(self, override: Override) -> bool:
        """Does it set a value that is there already, and choose nothing?"""
        simple = not (override.package or override.is_add() or override.is_delete() or override.is_force_add())
        key = override.key_or_group
        return simple and not key.startswith("hydra") and not self.loader.get_group_options(key)

    def _base(self, groups: tuple[str, ...]) -> DictConfig:
        """What Hydra composes for these choices, without its own node."""
        if groups not in self._bases:
            config = self.loader.load_sweep_config(self.master, list(groups))
            before = HydraConfig.instance().cfg
            HydraConfig.instance().set_config(config)
            try:
                _resolve_hydra(config)
            finally:
                HydraConfig.instance().cfg = before
            OmegaConf.set_struct(config, False)
            config.pop("hydra")
            OmegaConf.set_struct(config, True)
            self._bases[groups] = config
        return self._bases[groups]


def _resolve_hydra(config: DictConfig) -> None:
    """Replace interpolations of Hydra's own config, which goes, by what they stand for."""
    raw = OmegaConf.to_container(config, resolve=False)
    assert isinstance(raw, dict)
    for path in _interpolated({key: value for key, value in raw.items() if key != "hydra"}):
        OmegaConf.update(config, path, OmegaConf.select(config, path))


def _interpolated(node: dict[Any, Any], prefix: str = "") -> list[str]:
    found = []
    for key, value in node.items():
        if isinstance(value, dict):
            found += _interpolated(value, f"{prefix}{key}.")
        elif isinstance(value, str) and "${hydra:" in value:
            found.append(f"{prefix}{key}")
    return found
