"""Which parts work together: every part declares what it needs and what it provides. No torch import."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nlhf.algorithms.base import Algorithm
from nlhf.config import ConfigError
from nlhf.equilibria.solution import Solution
from nlhf.games.base import GameFamily
from nlhf.games.feedback import Feedback
from nlhf.policies.base import PolicyFamily
from nlhf.prox.base import ProxFamily
from nlhf.regularisers.base import Regulariser
from nlhf.runner.chosen import chosen

CAPABILITIES = {
    "advantage": "a game that answers y -> P(y > policy) for all y: choose another game or prox",
    "pairs": "a game that answers pairs: choose another game or prox",
    "enumerate": "actions that can be listed: choose another game or policy",
    "bilinear": "answers that are linear in the policy: set game.competitors=null, or choose another algorithm",
    "one-turn": "a game of one turn, whose policies are any distributions: choose another game, algorithm or prox",
    "prompts": "prompts to complete: set game=text or game=dialogue, or choose another policy",
    "text": "a policy that writes text: set policy=causal_lm prox=gradient, or choose another game",
    "follower": "a follower that sees the answer: set solution=stackelberg",
    "leader": "a leader and a follower: set algorithm=stackelberg",
    "leads": "steps of a leader and a follower: set prox=exact, or prox=gradient with prox.samples, "
    "prox.surrogate=policy_gradient and another prox.baseline than learned",
    "sees": "a policy that can see an answer and improve it: set policy=tabular, or policy=causal_lm",
    "nash": "policies that play each other, not a follower who sees an answer: set solution=nash, or game=text",
    "table": "a policy that can be any table: set policy=tabular, or prox=gradient",
    "gradient": "a policy with parameters: choose another policy or prox",
    "sample": "a policy that can be sampled: choose another policy or prox",
    "answers": "answers about all actions at once: set prox=exact or prox=sampled",
    "local": "values of single turns, which compared pairs do not give without further draws: set prox=exact, or "
    "algorithm=self_play prox.inner_steps=1, whose gradient is the same",
    "votes": "votes on pairs, from which it works: set prox=votes",
    "asking": "an algorithm that asks for votes: set algorithm=asking, or choose another prox",
    "exact": "exactly solved steps, which it compares its model with: set prox=exact",
    "logistic": "the logistic loss, which defines it: set prox=gradient prox.surrogate=logistic",
    "ipo": "the squared loss, which defines it: set prox=gradient prox.surrogate=ipo",
    "likelihood": "the likelihood of chosen answers, which defines it: set prox=gradient prox.surrogate=likelihood",
    "recorded": "recorded pairs: set prox=gradient prox.recorded=NUMBER, or file",
    "pair-file": "prompts with recorded pairs: set game=text, or prox.recorded to a number of pairs",
    "reverse-kl": "the reverse KL, whose log-ratios it uses: set regulariser=reverse_kl, or choose another algorithm "
    "or prox.surrogate",
    "strongly-convex": "a regulariser that is strongly convex relative to KL, from which its step follows: set "
    "algorithm.step_size to a number, or regulariser=reverse_kl",
    "interior": "policies without exact zeros, as it averages logarithms: set algorithm.step_size to a number, or "
    "regulariser=reverse_kl",
    "self-play": "an algorithm that plays itself without an anchor: set algorithm=online_dpo or algorithm=self_play",
}


def check_compatible(
    game: GameFamily,
    solution: Solution,
    policy: PolicyFamily,
    prox: ProxFamily,
    algorithm: Algorithm,
    regulariser: Regulariser,
    beta: float,
    names: Mapping[str, str],
) -> None:
    """Refuse parts that cannot work together.

    Args:
        names: the names of parts by their groups, as far as the run has them.

    Raises: ConfigError.
    """
    parts: dict[str, Any] = {
        "policy": policy,
        "game": game,
        "algorithm": algorithm,
        "prox": prox,
        "regulariser": regulariser,
        "solution": solution,
    }
    provided = frozenset[str]().union(*(part.provides for part in parts.values()))
    for key, part in parts.items():
        if missing := sorted(part.needs - provided):
            raise ConfigError(f"{key}={names.get(key) or chosen(key, type(part))} needs {CAPABILITIES[missing[0]]}.")
    algorithm.check(beta)
    regulariser.check(beta)


def check_payoff(
    game: GameFamily, solution: Solution, feedback: Feedback, prox: ProxFamily, algorithm: Algorithm
) -> None:
    """Refuse another payoff than P where it is not defined, or where answers are not unbiased estimates of it.

    Raises: ConfigError.
    """
    if game.payoff == "linear":
        return
    key = f"game.payoff={game.payoff}"
    if "advantage" not in game.provides:
        raise ConfigError(f"{key} needs a table of all pairs, which this game does not have: set game.payoff=linear.")
    if "follower" in solution.provides:
        raise ConfigError(f"{key} is not defined for a follower, who answers to P itself: set game.payoff=linear.")
    if not feedback.plain:
        raise ConfigError(
            f"{key} cannot be estimated without bias from votes or noisy answers: set feedback=probability without "
            "flip and position_bias, or game.payoff=linear."
        )
    if "votes" in prox.provides:
        raise ConfigError(
            f"{key} cannot be estimated without bias from the votes of this prox: set game.payoff=linear."
        )
    if "logistic" in algorithm.needs | prox.provides:
        raise ConfigError(
            f"{key} is not a probability, which the logistic loss needs: set game.payoff=linear, or choose another "
            "algorithm and prox.surrogate."
        )
