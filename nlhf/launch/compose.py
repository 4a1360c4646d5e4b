"""The bridge to Hydra: plain configs from composed ones, one by one or for a whole sweep. No torch import."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from nlhf.config import ConfigError
from nlhf.launch.choices import BUNDLED, Choices
from nlhf.launch.explain import explained
from nlhf.messages import quoted
from nlhf.runner.chosen import CONF


class NotComposedError(ConfigError):
    """Overrides from which Hydra cannot compose a config."""


def plain(config: DictConfig) -> dict[str, Any]:
    """A composed config, less Hydra's own node, resolved to plain dicts and lists.

    Raises: ConfigError where an interpolation or a missing value has nothing to stand for.
    """
    try:
        return {str(key): _resolved(config, str(key)) for key in config if key not in ("hydra", "experiment")}
    except OmegaConfBaseException as error:
        key = error.full_key or "config"
        reason = str(error).partition("\n")[0]
        raise ConfigError(f"{key} cannot be resolved ({reason}): give it a value.") from error


def _resolved(config: DictConfig, key: str) -> Any:
    value = config[key]
    return OmegaConf.to_container(value, resolve=True, throw_on_missing=True) if OmegaConf.is_config(value) else value


@contextmanager
def composed(
    overrides: Sequence[str], name: str = "config", config_dir: str | PathLike[str] | None = None
) -> Iterator[DictConfig]:
    """The config that Hydra composes; its global state is restored after the block.

    Args:
        overrides: as on the command line.
        name: the yaml in conf/ of the command: config for `nlhf run`, arena, train_judge, grade_judge.
        config_dir: a folder with further choices of groups, as `--config-dir`.

    Raises: ConfigError if the overrides do not compose.
    """
    if config_dir is not None and not Path(config_dir).is_dir():
        raise ConfigError(f"config_dir={config_dir} is not a folder: give one with folders such as algorithm/.")
    search = [] if config_dir is None else [f"hydra.searchpath=[{quoted(f'file://{Path(config_dir).resolve()}')}]"]
    available = BUNDLED if config_dir is None else Choices((CONF, Path(config_dir)))
    saved = Singleton.get_state()
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            try:
                config = compose(name, [*search, *overrides], return_hydra_config=True)
            except (HydraException, OmegaConfBaseException, ValueError) as error:
                raise ConfigError(explained(error, overrides, available=available)) from error
            HydraConfig.instance().set_config(config)
            yield config
    finally:
        Singleton.set_state(saved)
