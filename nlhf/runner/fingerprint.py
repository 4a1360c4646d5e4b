"""The fingerprint of a run, and the digests of its setting and method, which analysis compares. No torch import.

A fingerprint is computed from the config after coercion by the dataclasses' types, with the content of input files
instead of their paths, so that two commands that mean the same run have the same fingerprint.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from nlhf.config import is_number, is_whole
from nlhf.games.feedback import Feedback
from nlhf.io.inputs import Input, InputFile
from nlhf.records import ADDED
from nlhf.runner.groups import GROUPS
from nlhf.runner.source import dataclasses_in, sources

RESULTS_VERSION = 9  # raised when the same config gives other numbers
OF_METHOD = ("algorithm", "policy", "prox", "device")  # the method; all other keys that decide results are the setting
APART = ("names", "seeds", "log_policy")  # titles, seeds (which are pooled), and a key that changes no row
# Keys that older runs lack, with the values that they had implicitly
ADDED_LATER: dict[tuple[str, str], Any] = {
    ("game", "round"): False,
    ("game", "cluster"): [],
    ("game", "columns"): None,
    ("game", "both_bad"): "tie",
    ("game", "payoff"): "linear",
    ("game", "clip"): 0.01,
    ("game", "competitors"): None,
    ("game", "test_path"): None,
    ("game", "duplicates"): "keep",
    ("game", "bundled_prompts"): 300,
    ("algorithm", "restart"): None,
    ("algorithm.inner", "restart"): None,
    ("solution", "refine"): "Improve the previous answer.",
    ("prox", "alpha"): 0.0,
    ("prox", "comparators"): 1,
    ("prox", "weight_decay"): 0.0,
    ("prox", "warmup_steps"): 0,
    ("prox", "recorded"): None,
}
LEFT_OUT = frozenset({"budget", "study", "runs_dir", "progress", "tensorboard", "keep_checkpoint", "checkpoint_seconds",
                      "retry_failed", "fail_fast", "dry_run", "vectorise", "force", "arena"})  # fmt: skip


def fingerprint(coerced: Mapping[str, Any], inputs: dict[str, str] | None = None) -> str:
    """SHA-256 over the entries of a coerced config that decide a run's results; `inputs` as in `canonical`."""
    deciding = {name: value for name, value in coerced.items() if name not in LEFT_OUT and ADDED.get(name, "") != value}
    text = json.dumps(canonical(deciding, "", inputs), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def decides(key: str) -> bool:
    """True if a key of a flat config, `game.actions`, is part of a run's setting or method."""
    names = key.split(".")
    nested = [(".".join(names[:depth]), names[depth]) for depth in range(1, len(names))]
    ignored = any(_advises(group, name) or _affects_memory(group, name) for group, name in nested)
    return names[0] not in LEFT_OUT and names[0] not in APART and not ignored


def digests(deciding: Mapping[str, Any], parts: Mapping[str, Any]) -> dict[str, str]:
    """Digests of a run's setting and of its method; together they cover what the fingerprint covers."""
    setting = {"feedback": Feedback(None, "given", 0.0, 0.0), **deciding}  # without pairs, P itself
    halves = {}
    for name in ("setting", "method"):
        half = {key: value for key, value in setting.items()
                if key not in APART and (key in OF_METHOD) == (name == "method")}  # fmt: skip
        source = sources({type(parts[key]) for key in half if key in parts}.union(*map(dataclasses_in, half.values())))
        halves[name] = fingerprint(half | ({"source": source} if source else {}))[:16]
    return halves


def canonical(value: Any, key: str = "", inputs: dict[str, str] | None = None) -> Any:
    """A JSON value in which equal numbers have one spelling; input files and folders become digests of their content.

    Args:
        value: a value of the config, coerced by its dataclasses.
        key: its key.
        inputs: collects the digests of input files and folders by their keys.
    """
    if isinstance(value, str) and key in {f"{group}.path" for group in GROUPS}:
        value = InputFile(value, key)  # a plug-in that reads the file itself may read different bytes later
    if isinstance(value, Input):
        if inputs is not None and value.identity != str(value):
            inputs[value.key] = value.identity
        return value.identity
    if is_dataclass(value) and not isinstance(value, type):
        entries = getattr(value, "decides", None) or {field.name: getattr(value, field.name) for field in fields(value)}
        return canonical({"_target_": f"{type(value).__module__}.{type(value).__qualname__}", **entries}, key, inputs)
    if isinstance(value, Mapping):
        deciding = {
            str(name): entry
            for name, entry in value.items()
            if not (_advises(key, name) or _affects_memory(key, name) or _is_added(key, name, entry))
            and not (key == "game" and name == "cluster" and not value.get("bootstrap"))  # tests of votes only
            and not (key == "game" and name == "clip" and value.get("payoff") != "logit")  # of log-odds only
        }
        return {name: canonical(entry, f"{key}.{name}".lstrip("."), inputs) for name, entry in deciding.items()}
    if isinstance(value, list | tuple):
        return [canonical(entry, key, inputs) for entry in value]
    if is_number(value):
        return repr(int(value)) if is_whole(value) else repr(value)
    return value


def _advises(key: str, name: object) -> bool:
    """True for a part's advice to another group of the config: the other group holds the values that are used.

    Algorithms, at any depth, and policies advise prox=gradient; engines and policies advise the budget.
    """
    to_gradient = name == "gradient" and key.partition(".")[0] in ("algorithm", "policy")
    return to_gradient or (name == "budget" and key in ("policy", "prox"))


def _affects_memory(key: str, name: object) -> bool:
    """True for keys that affect memory use or whether a run can finish, but none of its results."""
    return (key, name) in {
        ("policy", "micro_batch"),
        ("policy", "micro_batch_tokens"),
        ("policy", "recompute"),
        ("policy", "shard"),
        ("game.judge", "batch"),
        ("game", "long_prompts"),
    }


def _is_added(key: str, name: object, entry: Any) -> bool:
    """True for a key that older runs lack, at the value that they had implicitly."""
    return (key, name) in ADDED_LATER and ADDED_LATER[key, str(name)] == entry
