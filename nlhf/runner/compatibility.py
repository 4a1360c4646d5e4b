"""Which parts work together: every part declares what it needs and what it provides. No torch import."""

from __future__ import annotations

from nlhf.algorithms.base import Algorithm
from nlhf.config import ConfigError
from nlhf.games.base import GameFamily
from nlhf.policies.base import PolicyFamily
from nlhf.prox.base import ProxFamily

CAPABILITIES = {
    "advantage": "a game that answers y -> P(y > policy) for all y: choose another game or prox",
    "pairs": "a game that answers pairs: choose another game or prox",
    "enumerate": "actions that can be listed: choose another game or policy",
    "prompts": "prompts to complete: set game=text, or choose another policy",
    "text": "a policy that writes text: set policy=causal_lm prox=gradient, or choose another game",
    "table": "a policy that can be any table: set policy=tabular, or prox=gradient",
    "gradient": "a policy with parameters: choose another policy or prox",
    "sample": "a policy that can be sampled: choose another policy or prox",
    "answers": "answers about all actions at once: set prox=exact or prox=sampled",
    "exact": "exactly solved steps, which it compares its model with: set prox=exact",
    "logistic": "the logistic loss, which defines it: set prox=gradient prox.surrogate=logistic",
    "self-play": "an algorithm that plays itself without an anchor: set algorithm=online_dpo or algorithm=self_play",
}


def check_compatible(
    game: GameFamily, policy: PolicyFamily, prox: ProxFamily, algorithm: Algorithm, beta: float
) -> None:
    """Refuse parts that cannot work together.

    Raises: ConfigError.
    """
    provided = game.provides | policy.provides | prox.provides | algorithm.provides
    for key, part in (("policy", policy), ("game", game), ("algorithm", algorithm), ("prox", prox)):
        if missing := sorted(part.needs - provided):
            raise ConfigError(f"{key}={type(part).__name__} needs {CAPABILITIES[missing[0]]}.")
    algorithm.check(beta)
