"""One sentence with the key, the value and the remedy for every error of Hydra. No torch import."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, ValueType
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from nlhf.io.tables import listed
from nlhf.launch.choices import BUNDLED, Choices
from nlhf.launch.unknown_key import unknown_key
from nlhf.messages import nearest, quoted_override

MOST = 60  # choices that a sentence lists
PARTNER = {"]": "[", "}": "{", ")": "("}
INNER = {"judge": "judge@game.judge"}  # groups that are chosen within another one


def explained(error: Exception, overrides: Sequence[str], multirun: bool = False, available: Choices = BUNDLED) -> str:
    """A sentence that says why Hydra cannot compose these overrides, and what to write instead.

    Args:
        error: raised by Hydra or OmegaConf.
        overrides: of the command line, or of one job of a sweep.
        multirun: True if they are the overrides of a sweep.
        available: the choices of all groups.
    """
    if isinstance(error, OverrideParseException):
        return _syntax(error.override)
    if isinstance(error, MissingConfigException) and error.options and error.missing_cfg_file:
        group, _, choice = error.missing_cfg_file.rpartition("/")
        close = nearest(choice, error.options)
        remedy = f"did you mean {group}={close}" if close else f"choose one of {listed(error.options, MOST)}"
        return f"{group}={choice} is not a choice of {group}: {remedy}."
    parsed, message = _parsed(overrides), str(error)
    culprit = next((override for override in parsed if _is_named(override, message)), None)
    cause = error if isinstance(error, OmegaConfBaseException) else error.__cause__
    node = cause.parent_node if isinstance(cause, ConfigKeyError | ConfigAttributeError) else None
    if culprit and isinstance(node, DictConfig) and isinstance(cause, OmegaConfBaseException):
        return unknown_key(culprit, node, str(cause.full_key), parsed, multirun, available)
    if sentence := _wrong_kind(culprit, message, available) if culprit else _no_name(parsed, available):
        return sentence
    if isinstance(cause, OmegaConfBaseException):
        message = str(cause).partition("\n")[0]
    reason = " ".join(message.partition("Config search path:")[0].split()).rstrip(".")
    if culprit:
        return f"{culprit.input_line} cannot be applied ({reason}): correct it."
    return f"Hydra cannot start this command ({reason}): correct its overrides."


def _parsed(overrides: Iterable[str]) -> list[Override]:
    """The overrides that can be parsed; options of the command line and their values cannot."""
    parser, parsed = OverridesParser.create(), list[Override]()
    for text in overrides:
        try:
            parsed += parser.parse_overrides([text])
        except HydraException:
            continue
    return parsed


def _is_named(override: Override, message: str) -> bool:
    """True if a message of Hydra quotes this override or its key."""
    line = str(override.input_line)
    quotable = (line, override.key_or_group, override.get_key_element().lstrip("+~"))
    named = any(f"'{text}'" in message for text in quotable) or f"override {line}" in message
    return named or f"Multiple values for {override.key_or_group}." in message


def _syntax(text: str) -> str:
    """The sentence for a text that is not an override."""
    key, equals, value = text.partition("=")
    if not equals:
        key = text if re.fullmatch(r"[+\w./@-]+", text) else "KEY"
        remedy = "~KEY" if text.startswith("~") else f"{key}=VALUE, without white space around the ="
        return f"{text} is not an override: write {remedy}."
    if not re.fullmatch(r"[+~]{0,2}[\w./@:$-]+", key):
        return f"{text} is not an override: write KEY=VALUE, without white space around the =."
    remedy = f"quote the value, {quoted_override(key, value)}"
    if lonely := _lonely(value):
        return f"{text} has a {lonely} without its partner: add that, or, if it is part of a name, {remedy}."
    return f"{text} has a value that cannot be read, as some characters have a meaning in overrides: {remedy}."


def _lonely(value: str) -> str | None:
    """The first bracket or quote that has no partner."""
    opened: list[str] = []
    for character in value:
        if opened and opened[-1] in "'\"":
            if character == opened[-1]:
                opened.pop()
        elif character in "[{('\"":
            opened.append(character)
        elif character in PARTNER and (not opened or opened.pop() != PARTNER[character]):
            return character
    return opened[0] if opened else None


def _no_name(parsed: Iterable[Override], available: Choices) -> str | None:
    """The sentence for an override without a key, or a group that is set to no name, such as budget=1000."""
    for override in parsed:
        if not (group := override.key_or_group):
            return _syntax(str(override.input_line))
        sweeps = override.is_sweep_override() or override.is_delete()
        if group in available.groups and not sweeps and not isinstance(override.value(), str):
            choices = listed(available.groups[group], MOST)
            return f"{override.input_line} names no choice of {group}: choose one of {choices}, or set a key of it."
    return None


def _wrong_kind(override: Override, message: str, available: Choices) -> str | None:
    """The sentence for an override whose kind does not fit its key; None for any other fault."""
    line, key = str(override.input_line), override.key_or_group
    bare = line.lstrip("+~")
    if override.is_sweep_override():
        if override.is_hydra_override():
            return f"{line} lists values, and no sweep can vary a key of Hydra itself: give one value."
        single = shlex.quote(f"{key}=[{bare.partition('=')[2]}]")
        simple = override.value_type == ValueType.SIMPLE_CHOICE_SWEEP
        as_list = f", or write {single} for one list" if simple else ""
        return f"{line} gives values to run one by one: add -m, nlhf run -m ...{as_list}."
    if override.is_force_add() and key in available.groups:
        return f"{line} sets a key, and {key} is a group: write {shlex.quote(bare)}."
    if "Multiple values" in message:
        return f"{key} is chosen more than once: leave one choice."
    if override.is_add() and "already at" in message:
        return f"{line} adds a key that exists already: write {shlex.quote(bare)}."
    if override.is_delete():
        return f"{line} removes a key that does not exist: leave it out."
    value = bare.partition("=")[2]
    if inner := INNER.get(key):
        return f"{line} chooses a part of game=text: write game=text {inner}={value}."
    if key in available.groups and override.package is not None:
        return f"{line} has no place in this config: write {key}={value}."
    return None
