"""The error message for a key that the composed config lacks: misspelt, misplaced, or of another choice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from shlex import quote
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from nlhf.io.tables import listed
from nlhf.launch.choices import Choices
from nlhf.launch.node_fields import fields_of, takes_mapping
from nlhf.messages import nearest

MOST = 12  # names that a sentence lists
HIDDEN = ("_target_", "hydra", "experiment")


def unknown_key(
    override: Override, node: DictConfig, missing: str, parsed: Sequence[Override], multirun: bool, available: Choices
) -> str:
    """The sentence for an override of a key that is not in the config.

    Args:
        override: the wrong one.
        node: the deepest part of the config on the key's path.
        missing: the path of the first part of the key that `node` lacks, algorithm.stepsize.
        parsed: all overrides.
        multirun: True if they are the overrides of a sweep.
        available: the choices of all groups.
    """
    key, value = override.key_or_group, str(override.input_line).partition("=")[2]
    path, _, name = missing.rpartition(".")
    if name in fields_of(node) or _takes_any_key(node, path):
        return f"{key} is not in the config yet: write {quote(f'+{key}={value}')}, which adds it."
    if path and not len(node):
        return f"{key} is not a key, as {path} is a single value: write {quote(f'{path}={value}')}."
    group = path.replace(".", "/")
    if having := [choice for choice in available.groups.get(group, ()) if name in available.keys_of(group, choice)]:
        return _of_other_choices(override, group, having, parsed, multirun)
    suggestions = _elsewhere(node, name, available) or _misspelt(node, path, name, available)
    if suggestions:
        suffix = key.removeprefix(missing)
        written = " or ".join(quote(f"{suggestion}{suffix}={value}") for suggestion in suggestions)
        return f"{key} is not a key: did you mean {written}."
    keys = [f"{path}.{entry}".lstrip(".") for entry in map(str, node) if entry not in HIDDEN]
    return f"{key} is not a key: known keys are {listed(keys, MOST) or 'none'}."


def _takes_any_key(node: DictConfig, path: str) -> bool:
    """True for an empty part of the config that accepts entries of any name, such as `game.where`."""
    if len(node) or not path:
        return False
    above, _, name = path.rpartition(".")
    owner = OmegaConf.select(node._get_root(), above) if above else None
    return path.startswith("hydra.") or (isinstance(owner, DictConfig) and takes_mapping(owner, name))


def _elsewhere(node: DictConfig, name: str, available: Choices) -> list[str]:
    """At most three other keys of the config, or groups of Hydra, with this name."""
    config: Any = OmegaConf.to_container(node._get_root(), resolve=False)
    paths = [path for entry in config if entry not in HIDDEN for path in _paths(config[entry], entry)]
    inner = [group for group in available.groups if "/" in group]
    return [path for path in (*paths, *inner) if path.replace("/", ".").rpartition(".")[2] == name][:3]


def _paths(value: Any, path: str) -> Iterator[str]:
    """The path of a value and of everything in it."""
    yield path
    if isinstance(value, dict):
        for name, entry in value.items():
            yield from _paths(entry, f"{path}.{name}")


def _misspelt(node: DictConfig, path: str, name: str, available: Choices) -> list[str]:
    """The key of this part of the config, or the group, whose name is closest."""
    keys = [str(entry) for entry in node if entry not in HIDDEN]
    close = nearest(name, keys if path else [*keys, *available.groups])
    return [f"{path}.{close}".lstrip(".")] if close else []


def _of_other_choices(
    override: Override, group: str, having: Sequence[str], parsed: Sequence[Override], multirun: bool
) -> str:
    """The error message for a key that only other choices of its group have, such as `game.actions` of game=tversky."""
    line, key = str(override.input_line), override.key_or_group
    chosen = next((candidate for candidate in parsed if candidate.key_or_group == group), None)
    if multirun and chosen and chosen.is_discrete_sweep():
        members = [text.strip("'\"") for text in chosen.sweep_string_iterator()]
        fitting = [choice for choice in members if choice in having]
        if fitting == members:
            return (
                f"{line} is not a key of the default {group}, which a sweep starts from: write "
                f"{quote(f'++{line}')}, which sets it for every {group} of the sweep."
            )
        if fitting:
            lacking = listed([choice for choice in members if choice not in having], MOST)
            return (
                f"{line} is not a key of {group}={lacking}: sweep over {group}={','.join(fitting)} alone, with "
                f"{quote(f'++{line}')}, and run the rest without it."
            )
    owner = f"{group}={chosen.value()}" if chosen and not chosen.is_sweep_override() else f"this {group}"
    choose = "choose it" if len(having) == 1 else "choose one of these"
    return f"{key} is not a key of {owner}, but of {group}={listed(having, MOST)}: {choose}, or leave the key out."
