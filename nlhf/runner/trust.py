"""Configs in run folders are untrusted: their classes are imported only with the user's permission.

The folder may have been downloaded. Its config may name classes of nlhf, and classes of the modules that the command
trusts with `--trust MODULE`; code that comes with a model runs only with `--trust-remote-code`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nlhf.config import ConfigError
from nlhf.io.yaml_files import read_yaml
from nlhf.messages import shown

REMOTE_CODE = "trust_remote_code"
ENDPOINTS = "nlhf.judges.endpoint"  # trusting this module means trusting the addresses that a config gives it


@dataclass(frozen=True)
class Trust:
    """What a command trusts.

    Args:
        modules: a config may name classes of these modules and of their submodules.
        remote_code: True if models may run code that comes with them.
    """

    modules: tuple[str, ...] = ()
    remote_code: bool = False

    @classmethod
    def of(cls, options: argparse.Namespace) -> Trust:
        """The options of `add_options`."""
        return cls(tuple(options.trust), options.trust_remote_code)

    def check(self, config: Mapping[str, Any], run: Path) -> None:
        """Refuse a run folder's config, or a part of it, that needs more trust; imports nothing.

        Raises: ConfigError.
        """
        path = config_file(run)
        for key, value in _leaves(config):
            name = key.rpartition(".")[2]
            if name == "_target_" and not self._allows(str(value)):
                module = str(value).rpartition(".")[0]
                raise ConfigError(
                    f"{path} names {key}={value}, which is not a class of nlhf and would run foreign code: give "
                    f"--trust {module or 'MODULE'} if you trust it."
                )
            if name == REMOTE_CODE and value is not False and not self.remote_code:
                raise ConfigError(
                    f"{path} says {key}={shown(value)}, which runs code that comes with the model: give "
                    "--trust-remote-code if you trust it."
                )
            if name == "base_url" and value is not None and ENDPOINTS not in self.modules:
                raise ConfigError(
                    f"{path} says {key}={value}, an address that would get your API key: give --trust {ENDPOINTS} if "
                    "you trust it."
                )

    def _allows(self, target: str) -> bool:
        return any(target.startswith(f"{module}.") for module in ("nlhf", *self.modules))


NOTHING = Trust()


def config_file(run: Path) -> Path:
    """The config file of a run folder."""
    return run / ".hydra" / "config.yaml"


def untrusted_config(run: Path) -> dict[str, Any] | None:
    """The config of a run folder, not yet checked by a `Trust`; None if it is missing or damaged."""
    config: dict[str, Any] | None = read_yaml(config_file(run), dict)
    return config


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add `--trust MODULE` and `--trust-remote-code` to a command that reads run folders."""
    parser.add_argument("--trust", metavar="MODULE", action="append", default=[],
                        help="let the config of a run folder name classes of this module; repeatable")  # fmt: skip
    parser.add_argument("--trust-remote-code", action="store_true",
                        help="let models run code that comes with them")  # fmt: skip


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of a config at any depth, except mappings and lists, with its dotted key."""
    if isinstance(value, Mapping):
        for name, entry in value.items():
            yield from _leaves(entry, f"{key}.{name}".lstrip("."))
    elif isinstance(value, list | tuple):
        for position, entry in enumerate(value):
            yield from _leaves(entry, f"{key}.{position}")
    else:
        yield key, value
