"""The bridge to Hydra: plain configs from composed ones. No torch import."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from nlhf.config import ConfigError

CONF = Path(__file__).resolve().parents[2] / "conf"


def plain(config: DictConfig) -> dict[str, Any]:
    """A composed config, less Hydra's own node, resolved to plain dicts and lists.

    Raises: ConfigError where an interpolation or a missing value has nothing to stand for.
    """
    try:
        return {str(key): _resolved(config, str(key)) for key in config if key not in ("hydra", "experiment")}
    except OmegaConfBaseException as error:
        key = error.full_key or "config"
        raise ConfigError(f"{key} cannot be resolved ({str(error).splitlines()[0]}): give it a value.") from error


def _resolved(config: DictConfig, key: str) -> Any:
    value = config[key]
    return OmegaConf.to_container(value, resolve=True, throw_on_missing=True) if OmegaConf.is_config(value) else value


@contextmanager
def composed(overrides: Sequence[str]) -> Iterator[DictConfig]:
    """The config that `python main.py OVERRIDES` would run with; Hydra's global state is put back afterwards.

    Raises: ConfigError with Hydra's words where the overrides do not compose.
    """
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.core.singleton import Singleton
    from hydra.errors import HydraException

    if not CONF.is_dir():
        raise ConfigError(f"{CONF} is not there: nlhf's Python interface needs a checkout or an editable install.")
    saved = Singleton.get_state()
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            try:
                config = compose("config", list(overrides), return_hydra_config=True)
            except (HydraException, OmegaConfBaseException, ValueError) as error:
                raise ConfigError(str(error)) from error
            HydraConfig.instance().set_config(config)
            yield config
    finally:
        Singleton.set_state(saved)
