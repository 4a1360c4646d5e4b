"""What a run is: its checked parts, its seeds, its fingerprint and its folder. No torch import.

Two commands that mean the same run find the same folder: the fingerprint is taken over the config after coercion by the
dataclasses' types, with the content of input files in place of their paths.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal

from nlhf.algorithms.base import Algorithm
from nlhf.budget import Budget
from nlhf.config import ConfigError, checked, is_number, is_whole, schema, shown
from nlhf.games.base import GameFamily
from nlhf.games.feedback import Feedback
from nlhf.io.inputs import InputFile
from nlhf.io.links import check_path
from nlhf.models.content import InputFolder
from nlhf.numerics.simplex import SINGLE
from nlhf.numerics.streams import LARGEST_SEED
from nlhf.policies.base import PolicyFamily
from nlhf.prox.base import ProxFamily
from nlhf.records import ADDED
from nlhf.references.base import Reference
from nlhf.runner.source import sources

RESULTS_VERSION = 4  # raised when the same config gives other numbers
MOST_SEEDS = 1_000_000
GROUPS: dict[str, type] = {  # of conf/, with the class that their choices are derived from
    "game": GameFamily,
    "reference": Reference,
    "policy": PolicyFamily,
    "algorithm": Algorithm,
    "prox": ProxFamily,
    "feedback": Feedback,
    "budget": Budget,
}
OF_METHOD = ("algorithm", "policy", "prox", "device")  # the rest of what decides results belongs to the setting
APART = ("names", "seeds", "log_policy")  # names are titles, seeds are pooled, and log_policy changes no row
ADDED_LATER = {("game", "round"): False}  # keys that older runs lack, with the values for which these are the same runs
LEFT_OUT = frozenset({"budget", "study", "runs_dir", "progress", "keep_checkpoint", "checkpoint_seconds",
                      "retry_failed", "fail_fast", "dry_run", "vectorise", "force"})  # fmt: skip


@dataclass(frozen=True)
class Options:
    """The top level of conf/config.yaml, groups apart.

    Args:
        names: what the game and the algorithm are called in tables and folders.
        beta: strength of the KL term, >= 0.
        seeds: distinct seeds; `parse_seeds` makes a list of a count or a range.
        device: where tensors live, as torch writes it.
        dtype: of a game's answers about whole policies; policies and all that is measured are float64.
        equilibrium: compute the reference equilibrium always, never, or (`auto`) where that takes seconds.
        log_policy: write policies.csv too.
        study, runs_dir: the run's folder lies in runs_dir/study.
        progress: show a progress bar where the output is a terminal.
        keep_checkpoint: keep checkpoint.pt of a completed run.
        checkpoint_seconds: time between two checkpoints.
        retry_failed: run failed runs again, from their last checkpoint if there is one.
        fail_fast: stop a sweep at the first run that fails.
        dry_run: show what would be run, and run nothing.
        force: move the run's folder aside, NAME to NAME.1, and run anew.
        vectorise: let launchers compute runs of a sweep together that differ in numbers alone.
    """

    names: dict[str, str]
    beta: float
    seeds: list[int]
    device: str
    dtype: Literal["float64", "float32"]
    equilibrium: Literal["auto", "always", "never"]
    log_policy: bool
    study: str
    runs_dir: str
    progress: bool
    keep_checkpoint: bool
    checkpoint_seconds: float
    retry_failed: bool
    fail_fast: bool
    dry_run: bool
    force: bool
    vectorise: bool

    @property
    def rounding(self) -> float:
        """Of answers, relative, where it is coarser than that of policies; else 0."""
        return SINGLE if self.dtype == "float32" else 0.0

    @property
    def caveat(self) -> str | None:
        """Where a run rests because its answers are rounded."""
        if not self.rounding:
            return None
        floor = f"{self.rounding**2 / 4:.1e}/beta" if self.beta else f"{self.rounding:.1e}"
        return f"answers in float32: exploitability below {floor} may be rounding"

    def __post_init__(self) -> None:
        if not 0 <= self.beta < float("inf"):
            raise ConfigError(f"beta={self.beta} is out of range: give a finite number >= 0.")
        for key in ("game", "algorithm"):
            if not re.fullmatch(r"[\w.+-]+", self.names.get(key, "")):
                raise ConfigError(
                    f"names.{key}={self.names.get(key)} cannot name a folder: use letters, digits, . _ + -."
                )
        if not self.runs_dir:
            raise ConfigError("runs_dir= is empty: give a folder.")
        if not self.study or self.study.startswith(("/", ".")) or ".." in Path(self.study).parts:
            raise ConfigError(f"study={self.study} cannot name a folder of runs_dir: give a relative name.")
        name = f"{self.names['game']}-{self.names['algorithm']}-{'0' * 12}"
        folder = f"{self.runs_dir}/{self.study}/{name}"
        for key, path in (("runs_dir", self.runs_dir), ("study", self.study), ("names", name), ("study", folder)):
            check_path(key, path)
        if not self.checkpoint_seconds >= 0:
            raise ConfigError(f"checkpoint_seconds={self.checkpoint_seconds} is negative: give a time >= 0.")


@dataclass(frozen=True)
class Specification:
    """Everything about a run that is known before it starts.

    Args:
        game, reference, policy, algorithm, prox, feedback, budget: built from their config nodes.
        fingerprint: SHA-256 in 64 hex digits; RESULTS_VERSION is kept beside it.
        inputs: digests of input files and folders by the config keys that name them, and of the source of plug-ins.
        digests: of the `setting` and the `method`, by which runs are compared.
        config: the resolved config, for the record.
        collapsed: how many seeds were asked for where nothing is random and one was kept, else 0.
    """

    game: GameFamily
    reference: Reference
    policy: PolicyFamily
    algorithm: Algorithm
    prox: ProxFamily
    feedback: Feedback
    budget: Budget
    options: Options
    fingerprint: str
    inputs: dict[str, str]
    digests: dict[str, str]
    config: dict[str, Any]
    collapsed: int

    @property
    def kind(self) -> str | None:
        """What runs have in common that can be computed as one batch: all but seeds, beta and step size; None where a
        run cannot be part of one."""
        exact = "table" in self.policy.provides and self.prox.exact
        if not (self.options.vectorise and exact and self.budget.seconds is None):
            return None
        algorithm = {
            **self.config["algorithm"],
            "step_size": isinstance(self.config["algorithm"].get("step_size"), str),
        }
        numbers = {"algorithm": algorithm, "beta": self.options.beta > 0, "seeds": None}
        return json.dumps({**self.config, **numbers}, sort_keys=True, default=str)

    @property
    def name(self) -> str:
        """The name of the run and of its folder."""
        names = self.options.names
        return f"{names['game']}-{names['algorithm']}-{self.fingerprint[:12]}"

    @property
    def folder(self) -> Path:
        """Where the run lives."""
        return Path(self.options.runs_dir) / self.options.study / self.name

    @property
    def unforced(self) -> Specification:
        """The run once its old folder was moved aside."""
        return replace(self, options=replace(self.options, force=False))

    @property
    def method(self) -> dict[str, Any]:
        """Where the method is from, and where it rests if that is not the equilibrium, for summary.json."""
        beta, options = self.options.beta, self.options
        cycling = None if self.prox.decreasing and beta > 0 else self.algorithm.cycling(beta)
        caveats = [self.algorithm.caveat(beta), cycling, self.prox.caveat(beta), options.caveat]
        sources = dict.fromkeys((*self.algorithm.sources, *self.prox.sources))
        return {"sources": list(sources), "caveat": "; ".join(filter(None, caveats)) or None}

    @property
    def identity(self) -> dict[str, Any]:
        """Which run it is, for summary.json."""
        return {
            "run": self.name,
            "fingerprint": self.fingerprint,
            "results_version": RESULTS_VERSION,
            "seeds": self.options.seeds,
            "inputs": self.inputs,
            "digests": self.digests,
        }

    def check_same(self, saved: Mapping[str, Any]) -> None:
        """Refuse what another run, or another RESULTS_VERSION, has left in the folder.

        Raises: ConfigError.
        """
        remedy = "choose another study, or give force=true, which moves the folder aside and runs anew."
        if saved.get("results_version") != RESULTS_VERSION:
            raise ConfigError(f"{self.folder} holds results of version {saved.get('results_version')}, this is version "
                              f"{RESULTS_VERSION}: {remedy}")  # fmt: skip
        if saved.get("fingerprint") != self.fingerprint:
            raise ConfigError(f"{self.folder} holds a run of another config: {remedy}")


def specify(config: Mapping[str, Any]) -> Specification:
    """Check a resolved config and build what needs no torch.

    Raises: ConfigError, one sentence, for whatever cannot work.
    """
    nodes = {key: _group(config, key) for key in GROUPS}
    entries = {key: schema(nodes[key], key, base) for key, base in GROUPS.items()}
    top = ADDED | {key: value for key, value in config.items() if key not in GROUPS}
    options = Options(**checked(Options, top | {"seeds": parse_seeds(top.get("seeds"))}))
    parts = {key: target(**values) for key, (target, values) in entries.items()}
    refuse(parts["game"], parts["policy"], parts["prox"], parts["algorithm"], options.beta)
    coerced = {key: {"_target_": nodes[key]["_target_"], **values} for key, (_, values) in entries.items()}
    if "pairs" not in parts["prox"].needs:
        if not parts["feedback"].plain:
            raise ConfigError("feedback is about single pairs, which this prox does not ask about: leave it out, or "
                              "choose prox=sampled, or prox=gradient with prox.samples.")  # fmt: skip
        del coerced["feedback"]
    if options.rounding and "advantage" not in parts["prox"].needs:
        raise ConfigError("dtype=float32 is about answers for all actions at once, which this prox does not ask for: "
                          "leave it out, or choose prox=exact, or prox=gradient prox.samples=null.")  # fmt: skip
    asked = len(options.seeds)
    drawn = any(parts[key].random for key in ("game", "reference", "policy", "prox"))
    options = options if drawn else replace(options, seeds=[0])
    inputs: dict[str, str] = {}
    source = sources({type(part) for part in parts.values()}.union(*map(_classes, coerced.values())))
    deciding = asdict(options) | coerced | {"device": options.device.partition(":")[0]}
    whole = fingerprint(deciding | ({"source": source} if source else {}), inputs)
    return Specification(
        **parts,
        options=options,
        fingerprint=whole,
        inputs=inputs | {f"source of {module}": digest for module, digest in source.items()},
        digests=_digests(deciding, parts),
        config={**config, "seeds": options.seeds, "force": False},
        collapsed=0 if drawn or asked == 1 else asked,
    )


CAPABILITIES = {
    "advantage": "a game that answers y -> P(y > policy) for all y: choose another game or prox",
    "pairs": "a game that answers pairs: choose another game or prox",
    "enumerate": "actions that can be listed: choose another game or policy",
    "prompts": "prompts to complete: set game=text, or choose another policy",
    "text": "a policy that writes: set policy=causal_lm prox=gradient, or choose another game",
    "table": "a policy that can be any table: set policy=tabular, or prox=gradient",
    "gradient": "a policy with parameters: choose another policy or prox",
    "sample": "a policy that can be drawn from: choose another policy or prox",
    "answers": "answers about all actions at once: set prox=exact or prox=sampled",
    "exact": "steps that are solved exactly, by which it judges itself: set prox=exact",
    "logistic": "the logistic loss, which defines it: set prox=gradient prox.surrogate=logistic",
    "self-play": "an algorithm that plays itself without an anchor: set algorithm=online_dpo or algorithm=self_play",
}


def refuse(game: GameFamily, policy: PolicyFamily, prox: ProxFamily, algorithm: Algorithm, beta: float) -> None:
    """Refuse what cannot work together, from what the parts declare, in words of CAPABILITIES.

    Raises: ConfigError.
    """
    provided = game.provides | policy.provides | prox.provides | algorithm.provides
    for key, part in (("policy", policy), ("game", game), ("algorithm", algorithm), ("prox", prox)):
        if missing := sorted(part.needs - provided):
            raise ConfigError(f"{key}={type(part).__name__} needs {CAPABILITIES[missing[0]]}.")
    algorithm.check(beta)


def parse_seeds(value: Any) -> list[int]:
    """The seeds that a config's `seeds` means: a positive count, a range `20-39`, or a list.

    Raises: ConfigError.
    """
    remedy = "give a positive count (20), a range (20-39) or a list of distinct seeds ([3,7])"
    if is_whole(value) and 0 < value <= MOST_SEEDS:
        return list(range(int(value)))
    if isinstance(value, str) and (ends := re.fullmatch(r"(\d{1,15})-(\d{1,15})", value, re.ASCII)):
        first, last = int(ends[1]), int(ends[2])
        if first <= last < first + MOST_SEEDS:
            return list(range(first, last + 1))
    if isinstance(value, list | tuple) and value:
        whole = all(is_whole(seed) and seed >= 0 for seed in value)
        if whole and max(value) > LARGEST_SEED:
            raise ConfigError(f"seeds={shown(value)} has a seed above {LARGEST_SEED} (2^63 - 1), which tables cannot "
                              "hold: give smaller seeds.")  # fmt: skip
        if whole and len(set(value)) == len(value):
            return [int(seed) for seed in value]
    raise ConfigError(f"seeds={shown(value)} names no seeds: {remedy}.")


def fingerprint(coerced: Mapping[str, Any], inputs: dict[str, str] | None = None) -> str:
    """SHA-256 over what decides a run's results, of a config coerced by its dataclasses; `inputs` as of `canonical`."""
    deciding = {name: value for name, value in coerced.items() if name not in LEFT_OUT and ADDED.get(name, "") != value}
    text = json.dumps(canonical(deciding, "", inputs), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def decides(key: str) -> bool:
    """True if a key of a flat config, `game.actions`, is part of a run's setting or method."""
    names = key.split(".")
    nested = [(".".join(names[:depth]), names[depth]) for depth in range(1, len(names))]
    ignored = any(_advises(group, name) or _spares(group, name) for group, name in nested)
    return names[0] not in LEFT_OUT and names[0] not in APART and not ignored


def _digests(deciding: Mapping[str, Any], parts: Mapping[str, Any]) -> dict[str, str]:
    """Digests of a run's setting and of its method, over what the fingerprint is taken over."""
    setting = {"feedback": Feedback(None, "given", 0.0, 0.0), **deciding}  # without pairs, P itself
    digests = {}
    for name in ("setting", "method"):
        half = {key: value for key, value in setting.items()
                if key not in APART and (key in OF_METHOD) == (name == "method")}  # fmt: skip
        source = sources({type(parts[key]) for key in half if key in parts}.union(*map(_classes, half.values())))
        digests[name] = fingerprint(half | ({"source": source} if source else {}))[:16]
    return digests


def canonical(value: Any, key: str = "", inputs: dict[str, str] | None = None) -> Any:
    """A JSON value in which equal numbers are written alike; input files and folders are digests of their content.

    Args:
        value: of the config, coerced by its dataclasses.
        key: of the value.
        inputs: where given, gets the digests of input files and folders by their keys.
    """
    if isinstance(value, str) and key in {f"{group}.path" for group in GROUPS}:
        value = InputFile(value, key)  # of a plug-in that reads the file itself: it may read other bytes later
    if isinstance(value, InputFile | InputFolder):
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
            if not (_advises(key, name) or _spares(key, name) or _is_added(key, name, entry))
        }
        return {name: canonical(entry, f"{key}.{name}".lstrip("."), inputs) for name, entry in deciding.items()}
    if isinstance(value, list | tuple):
        return [canonical(entry, key, inputs) for entry in value]
    if is_number(value):
        return repr(int(value)) if is_whole(value) else repr(value)
    return value


def _classes(value: Any) -> set[type]:
    """The dataclasses of the objects in a value."""
    if isinstance(value, Mapping):
        return set().union(*map(_classes, value.values()))
    if isinstance(value, list | tuple):
        return set().union(*map(_classes, value))
    if not is_dataclass(value) or isinstance(value, type):
        return set()
    return {type(value)}.union(*(_classes(getattr(value, field.name)) for field in fields(value)))


def _advises(key: str, name: object) -> bool:
    """True for a part's advice to another group of the config: the other group holds the values that are used.

    Algorithms, at any depth, and policies advise prox=gradient; engines and policies advise the budget.
    """
    to_gradient = name == "gradient" and key.partition(".")[0] in ("algorithm", "policy")
    return to_gradient or (name == "budget" and key in ("policy", "prox"))


def _spares(key: str, name: object) -> bool:
    """True for keys that change whether a run can finish, in its memory or at all, but none of its results."""
    return (key, name) in {("policy", "micro_batch"), ("game.judge", "batch"), ("game", "long_prompts")}


def _is_added(key: str, name: object, entry: Any) -> bool:
    """True for a key that older runs lack, at the value that they had implicitly."""
    return (key, name) in ADDED_LATER and ADDED_LATER[key, str(name)] == entry


def _group(config: Mapping[str, Any], key: str) -> dict[str, Any]:
    node = config.get(key)
    if not isinstance(node, Mapping):
        raise ConfigError(f"{key}={shown(node)} is no choice of conf/{key}/: give {key}=NAME.")
    return dict(node)
