"""Everything about a run that is known before it starts: its checked parts, fingerprint and folder. No torch import."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from nlhf.algorithms.base import Algorithm
from nlhf.budget import Budget
from nlhf.config import ConfigError, checked, schema
from nlhf.equilibria.solution import Solution
from nlhf.games.base import GameFamily
from nlhf.games.feedback import Feedback
from nlhf.messages import shown
from nlhf.policies.base import PolicyFamily
from nlhf.prox.base import ProxFamily
from nlhf.records import ADDED
from nlhf.references.base import Reference
from nlhf.regularisers.base import Regulariser
from nlhf.runner.compatibility import check_compatible, check_payoff
from nlhf.runner.fingerprint import RESULTS_VERSION, digests, fingerprint
from nlhf.runner.groups import GROUPS
from nlhf.runner.options import Options
from nlhf.runner.seeds import parse_seeds
from nlhf.runner.source import dataclasses_in, sources

# Groups that configs of earlier versions lack, with what they had implicitly; not fingerprinted
IMPLICIT = {"regulariser": {"_target_": "nlhf.regularisers.reverse_kl.ReverseKL"},
            "solution": {"_target_": "nlhf.equilibria.solution.Nash"}}  # fmt: skip


@dataclass(frozen=True)
class Specification:
    """Everything about a run that is known before it starts.

    Args:
        game, reference, regulariser, solution, policy, algorithm, prox, feedback, budget: built from their nodes; the
            algorithm has its step sizes in the units of the game, in which payoffs are at most 1/2.
        fingerprint: SHA-256 in 64 hex digits; RESULTS_VERSION is recorded next to it.
        inputs: digests of input files and folders by the config keys that name them, and of the source of plug-ins.
        digests: of the `setting` and the `method`, for comparing runs.
        config: the resolved config, for the record.
        random: True if seeds differ; if nothing is random, one seed replaces all requested ones.
        requested: the number of seeds that were requested.
    """

    game: GameFamily
    reference: Reference
    regulariser: Regulariser
    solution: Solution
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
    random: bool
    requested: int

    @property
    def batch_key(self) -> str | None:
        """Runs with equal keys differ in seeds, beta and step size only and may form a batch; None if it may not."""
        exact = "table" in self.policy.provides and self.prox.exact
        if not (self.options.vectorise and exact and self.budget.seconds is None):
            return None
        algorithm = self.config["algorithm"]
        algorithm = {**algorithm, "step_size": isinstance(algorithm.get("step_size"), str)}
        numbers = {"algorithm": algorithm, "beta": self.options.beta > 0, "seeds": None}
        return json.dumps({**self.config, **numbers}, sort_keys=True, default=str)

    @property
    def beta(self) -> float:
        """The strength of the KL term in the units of the game, in which payoffs are at most 1/2."""
        return self.options.beta / self.game.payoff_unit

    @property
    def few_iterations(self) -> int:
        """A run that ends by its query budget before so many iterations logs a warning."""
        return min(self.policy.few_iterations, self.algorithm.few_iterations)

    @property
    def name(self) -> str:
        """The name of the run and of its folder."""
        names = self.options.names
        return f"{names['game']}-{names['algorithm']}-{self.fingerprint[:12]}"

    @property
    def folder(self) -> Path:
        """The folder of the run."""
        return Path(self.options.runs_dir) / self.options.study / self.name

    @property
    def unforced(self) -> Specification:
        """The same run without force, for use after the old folder was moved aside."""
        return replace(self, options=replace(self.options, force=False))

    @property
    def method(self) -> dict[str, Any]:
        """The sources of the method, and where it stops if not at the equilibrium, for summary.json."""
        beta = self.beta
        cycling = None if self.prox.decreasing and beta > 0 else self.algorithm.cycling(beta, self.game.payoff_unit)
        caveats = [self.solution.caveat, self.algorithm.caveat(beta), cycling, self.prox.caveat(beta)]
        caveats += [self.policy.caveat, self.options.caveat]
        sources = dict.fromkeys((*self.algorithm.cited, *self.prox.cited, *self.regulariser.sources))
        return {"sources": list(sources), "caveat": "; ".join(filter(None, caveats)) or None}

    @property
    def identity(self) -> dict[str, Any]:
        """The entries of summary.json that identify the run."""
        return {
            "run": self.name,
            "fingerprint": self.fingerprint,
            "results_version": RESULTS_VERSION,
            "seeds": self.options.seeds,
            "random": self.random,
            "inputs": self.inputs,
            "digests": self.digests,
        }

    def check_same(self, saved: Mapping[str, Any]) -> None:
        """Refuse files of another run, or of another RESULTS_VERSION, in the run's folder.

        Raises: ConfigError.
        """
        remedy = "choose another study, or give force=true, which moves the folder aside and runs again from the start."
        if saved.get("results_version") != RESULTS_VERSION:
            raise ConfigError(
                f"{self.folder} holds results of version {saved.get('results_version')}, this is version "
                f"{RESULTS_VERSION}: {remedy}"
            )
        if saved.get("fingerprint") != self.fingerprint:
            raise ConfigError(f"{self.folder} holds a run of another config: {remedy}")


def specify(config: Mapping[str, Any]) -> Specification:
    """Check a resolved config and build every part that needs no torch.

    Raises: ConfigError, one sentence, for a config that cannot work.
    """
    nodes = {key: _group({**IMPLICIT, **config}, key) for key in GROUPS}
    entries = {key: schema(nodes[key], key, base) for key, base in GROUPS.items()}
    top = ADDED | {key: value for key, value in config.items() if key not in GROUPS}
    options = Options(**checked(Options, top | {"seeds": parse_seeds(top.get("seeds"))}))
    parts = {key: target(**values) for key, (target, values) in entries.items()}
    together = ("game", "solution", "policy", "prox", "algorithm", "regulariser")
    check_compatible(**{key: parts[key] for key in together}, beta=options.beta, names=options.names)
    parts["algorithm"] = parts["algorithm"].in_units(parts["game"].payoff_unit)
    _check_questions(parts["prox"], parts["feedback"], options)
    check_payoff(**{key: parts[key] for key in ("game", "solution", "feedback", "prox", "algorithm")})
    coerced = {key: {"_target_": nodes[key]["_target_"], **values} for key, (_, values) in entries.items()}
    asks = "pairs" in parts["prox"].needs
    coerced = {key: node for key, node in coerced.items() if node != IMPLICIT.get(key) and (key != "feedback" or asks)}
    requested = len(options.seeds)
    random = any(parts[key].random for key in ("game", "reference", "policy", "prox"))
    options = options if random else replace(options, seeds=[0])
    inputs: dict[str, str] = {}
    source = sources({type(part) for part in parts.values()}.union(*map(dataclasses_in, coerced.values())))
    deciding = asdict(options) | coerced | {"device": options.device.partition(":")[0]}
    digest = fingerprint(deciding | ({"source": source} if source else {}), inputs)
    return Specification(
        **parts,
        options=options,
        fingerprint=digest,
        inputs=inputs | {f"source of {module}": digest for module, digest in source.items()},
        digests=digests(deciding, parts),
        config={**config, "seeds": options.seeds, "force": False},
        random=random,
        requested=requested,
    )


def _check_questions(prox: ProxFamily, feedback: Feedback, options: Options) -> None:
    """Refuse options about questions that this engine does not ask.

    Raises: ConfigError.
    """
    if "pairs" not in prox.needs and not feedback.plain:
        raise ConfigError(
            "feedback changes answers about single pairs, which this prox does not ask for: leave it out, or choose "
            "prox=sampled, or prox=gradient with prox.samples."
        )
    if options.rounding and "advantage" not in prox.needs:
        raise ConfigError(
            "dtype=float32 applies to answers about all actions at once, which this prox does not use: leave it out, "
            "or choose prox=exact, or prox=gradient prox.samples=null."
        )


def _group(config: Mapping[str, Any], key: str) -> dict[str, Any]:
    node = config.get(key)
    if not isinstance(node, Mapping):
        raise ConfigError(f"{key}={shown(node)} does not name a choice of conf/{key}/: give {key}=NAME.")
    return dict(node)
