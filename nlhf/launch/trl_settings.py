"""Reads the settings of a TRL script: a config file, and the arguments of its command line."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from nlhf.config import ConfigError
from nlhf.launch.trl_keys import KEYS

TRAINERS = {"nash_md": "nash_md_pg", "xpo": "xpo", "online_dpo": "online_dpo"}  # algorithm of each trainer
OWN_KEYS = {"mixture_coef": "nash_md", "alpha": "xpo"}  # keys of one trainer
ENDINGS = (".yaml", ".yml", ".json")  # of config files


def read_settings(arguments: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """The operands beside config files, and the settings by key; arguments override files.

    Args:
        arguments: as TRL takes them, `--config FILE`, `--key value ...`, `--key=value`, `--flag`, `--no_flag`.

    Raises: ConfigError for a file without keys, a pickle of TRL, and a value of a wrong type.
    """
    operands, of_files, of_words = [], dict[str, Any](), dict[str, Any]()
    for name, values in _arguments(arguments):
        if name == "config" or (not name and values[0].endswith(ENDINGS)):
            of_files |= _file(Path(values[0])) if values else {}
        elif not name and values[0].endswith(".bin"):
            raise ConfigError(
                f"{values[0]} is a Python pickle, which could run code: write trainer.args.to_json_string() to a file "
                "args.json, and give that."
            )
        elif not name:
            operands += values
        elif name.startswith("no_") and name.removeprefix("no_") in KEYS and not values:
            of_words[name.removeprefix("no_")] = False
        else:
            of_words[name] = _typed(name, values)
    settings = {**of_files, **of_words}
    for name, value in settings.items():
        if name in KEYS and KEYS[name].target and not _fits(value, KEYS[name].default):
            raise ConfigError(f"--{name} {value} has the wrong type: TRL's default is {KEYS[name].default}.")
    return operands, settings


def _fits(value: Any, default: Any) -> bool:
    """True if a value has the type of the default: a truth value, a number, or numbers."""
    if isinstance(default, bool) or value is None:
        return isinstance(value, bool) or value is None
    if isinstance(default, list):
        return all(_fits(entry, 1.0) for entry in (value if isinstance(value, list) else [value]))
    if isinstance(default, int | float):
        return isinstance(value, int | float) and not isinstance(value, bool)
    return default is None or value is None or isinstance(value, str | list)


def trainer_of(operands: list[str], settings: Mapping[str, Any]) -> tuple[str, bool]:
    """The trainer that a script or a name means, or that the keys mean; and whether it is certain.

    Raises: ConfigError for another name.
    """
    for word in operands:
        name = Path(word).stem.lower().replace("-", "_").removesuffix("_trainer").removesuffix("_vlm")
        if name not in TRAINERS:
            raise ConfigError(f"{word} is neither a config file nor a trainer: give a .yaml, or {', '.join(TRAINERS)}.")
        return name, True
    trainers = {trainer for key, trainer in OWN_KEYS.items() if key in settings}
    if len(trainers) > 1:
        raise ConfigError(f"the keys {' and '.join(OWN_KEYS)} are of two trainers: give one of {', '.join(TRAINERS)}.")
    return (trainers.pop(), True) if trainers else ("online_dpo", False)


def _arguments(arguments: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """The options with their values; operands have an empty name. An option takes the arguments up to the next one."""
    name, values = "", list[str]()
    for word in arguments:
        if not word.startswith("--"):
            if name:
                values.append(word)
            else:
                yield "", [word]
            continue
        if name:
            yield name, values
        name, equals, value = word.removeprefix("--").partition("=")
        name, values = name.replace("-", "_"), [value] if equals else []
    if name:
        yield name, values


def _file(path: Path) -> dict[str, Any]:
    """The settings of a YAML or JSON file."""
    try:
        content = yaml.safe_load(path.read_bytes())
    except (OSError, yaml.YAMLError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no YAML or JSON"
        raise ConfigError(f"{path} cannot be read ({reason}): give the config of a TRL script.") from error
    if not isinstance(content, Mapping):
        raise ConfigError(f"{path} holds no keys: give the config of a TRL script.")
    content = {str(name): value for name, value in content.items() if name != "env"}
    return {name: _parsed(value) for name, value in content.items()}


def _parsed(value: Any) -> Any:
    """A value with the numbers that YAML reads as texts, such as 1e-5."""
    if isinstance(value, list):
        return [_parsed(entry) for entry in value]
    return _number(value) if isinstance(value, str) else value


def _typed(name: str, values: Sequence[str]) -> Any:
    """The value of an option: a flag, one value, or a list."""
    if not values:
        return True
    typed = [_number(value) for value in values]
    many = len(typed) > 1 or (name in KEYS and isinstance(KEYS[name].default, list))
    return typed if many else typed[0]


def _number(text: str) -> Any:
    """A text as a number, a truth value or None, if it is one."""
    named = {"true": True, "false": False, "none": None, "null": None}
    if text.lower() in named:
        return named[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def positive(name: str, value: Any) -> float:
    """A number > 0. Raises: ConfigError."""
    if not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ConfigError(f"{name}={value} cannot be translated: give a number > 0.")
    return float(value)
