"""Equilibria and exploitability of games that are NumPy arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from nlhf.config import ConfigError
from nlhf.games.payoff import CLIP, Payoff, PayoffName
from nlhf.games.preference import check_preference
from nlhf.references.base import reference_logits
from nlhf.regularisers.names import WEIGHT, RegulariserName, regulariser_of

SolutionName = Literal["nash", "stackelberg"]

if TYPE_CHECKING:
    from torch import Tensor

    from nlhf.equilibria.certificates import Equilibrium


@dataclass(frozen=True)
class EquilibriumResult:
    """A Nash or a Stackelberg equilibrium and its certificate.

    Args:
        log_policy: log-probabilities (n) or (X, n), as the preference had contexts or not.
        exploitability: measured, the mean over contexts; of a Stackelberg equilibrium, the gap of leader and follower.
        method: `newton` (beta > 0), `interior point` (beta = 0, or another regulariser than the reverse KL), or
            `closed form` (Stackelberg).
        certified: True if the exploitability of every context is at most 1e-12 and can be explained by rounding.
        unique: True if the equilibrium of every context is certified to be the only one; always if beta > 0.
        log_follower: log-probabilities of the follower's answer (last) after each answer of the leader, (n, n) or
            (X, n, n); None for a Nash equilibrium.
    """

    log_policy: np.ndarray
    exploitability: float
    method: str
    certified: bool
    unique: bool
    log_follower: np.ndarray | None = None


def equilibrium(
    preference: Any,
    beta: float,
    reference: Any = None,
    payoff: PayoffName = "linear",
    clip: float = CLIP,
    regulariser: RegulariserName = "reverse_kl",
    weight: float = WEIGHT,
    solution: SolutionName = "nash",
    follower_beta: float | None = None,
) -> EquilibriumResult:
    """The equilibrium of a regularised preference game, exact up to rounding if it is `certified`.

    At beta = 0 it is the limit of the equilibria as beta falls to 0: if there are several, the one closest to the
    reference in KL divergence. With the uniform reference it has the largest entropy.

    Args:
        preference: P(row preferred to column), (n, n) or (X, n, n), P + P^T = 1.
        beta: strength of the regulariser, >= 0; > 0 for another one than the reverse KL.
        reference: positive weights (n) or (X, n); default uniform.
        payoff: what is played for: `linear`, P itself; `logit`, log-odds of P; `sign`, majorities.
        clip: smallest P of the logit.
        regulariser: `reverse_kl`, KL(pi, reference); `forward_kl`, KL(reference, pi); `mixed`; `chi_square`.
        weight: of the reverse KL in `mixed`, in (0, 1).
        solution: `nash`, or `stackelberg`: the leader's policy where a follower sees its answer and improves on it.
        follower_beta: strength of the follower's KL term, >= 0; by default beta.

    Raises: ConfigError for invalid arrays.

    Example:
        >>> import numpy as np
        >>> P = np.array([[0.5, 0.1, 0.9], [0.9, 0.5, 0.1], [0.1, 0.9, 0.5]])
        >>> np.exp(equilibrium(P, beta=0.1).log_policy).round(3)
        array([0.333, 0.333, 0.333])
    """
    if solution == "stackelberg":
        if regulariser != "reverse_kl":
            raise ConfigError(f"regulariser={regulariser} has no leader and follower: give reverse_kl.")
        return _stackelberg(preference, beta, reference, payoff, follower_beta)
    if solution != "nash" or follower_beta is not None:
        raise ConfigError(
            f"solution={solution} with follower_beta={follower_beta} is unknown: give solution=nash without "
            "follower_beta, or solution=stackelberg."
        )
    from nlhf.equilibria.limit import limits
    from nlhf.equilibria.solve import solve

    advantage, log_reference, strength, unit = game_of(preference, beta, reference, Payoff(payoff, clip))
    penalty = regulariser_of(regulariser, weight)
    penalty.check(beta)
    solved = solve(advantage, log_reference, strength, regulariser=penalty)
    if beta == 0:
        solved = limits(advantage, solved, log_reference)
    return _result(preference, solved, unit)


def _stackelberg(
    preference: Any, beta: float, reference: Any, payoff: PayoffName, follower_beta: float | None
) -> EquilibriumResult:
    """`equilibrium` for leader and follower."""
    from nlhf.equilibria.stackelberg import equilibrium_of

    if payoff != "linear":
        raise ConfigError(f"payoff={payoff} is not defined for a follower, who answers to P itself: give linear.")
    advantage, log_reference, strength, _ = game_of(preference, beta, reference, Payoff(payoff))
    tau = strength if follower_beta is None else float(follower_beta)
    if not 0 <= tau < float("inf"):
        raise ConfigError(f"follower_beta={tau} is out of range: give a finite number >= 0.")
    solved, follower = equilibrium_of(advantage, log_reference, strength, tau)
    return _result(preference, solved, 1.0, follower)


def _result(preference: Any, solved: Equilibrium, unit: float, follower: Tensor | None = None) -> EquilibriumResult:
    """The arrays of a solution, without contexts where the preferences have none."""
    chosen = 0 if np.ndim(preference) == 2 else slice(None)
    return EquilibriumResult(
        solved.log_policy.numpy()[chosen],
        float(solved.exploitability.mean()) * unit,
        solved.method,
        bool(solved.certified.all()),
        bool(solved.unique.all()),
        None if follower is None else follower.numpy()[chosen],
    )


def exploitability(
    preference: Any,
    log_policy: Any,
    beta: float,
    reference: Any = None,
    payoff: PayoffName = "linear",
    clip: float = CLIP,
    regulariser: RegulariserName = "reverse_kl",
    weight: float = WEIGHT,
) -> float:
    """max_mu P_beta(mu > pi) - 1/2, averaged over contexts; see `equilibrium` for the arguments.

    With another payoff, Psi(P) - Psi(1/2) takes the place of P - 1/2.

    Args:
        log_policy: log-probabilities (n) or (X, n), normalised.

    Example:
        >>> import numpy as np
        >>> exploitability(np.array([[0.5, 1.0], [0.0, 0.5]]), np.log([0.5, 0.5]), beta=0)
        0.25
    """
    penalty = regulariser_of(regulariser, weight)
    penalty.check(beta)
    advantage, log_reference, strength, unit = game_of(preference, beta, reference, Payoff(payoff, clip))
    policy = normalised(np.asarray(log_policy), tuple(log_reference.shape), "log_policy")[0]
    answer = (advantage @ policy.exp()[..., None])[..., 0]
    return unit * float(penalty.exploitability(policy, answer, log_reference, policy.new_tensor(strength)).mean())


def game_of(preference: Any, beta: float, reference: Any, payoff: Payoff) -> tuple[Tensor, Tensor, float, float]:
    """Payoffs (X, n, n) and beta in units in which payoffs are at most 1/2, log reference (X, n), and the unit."""
    import torch

    if not 0 <= beta < float("inf"):
        raise ConfigError(f"beta={beta} is out of range: give a finite number >= 0.")
    table = check_preference(preference, "preference")
    contexts, n, _ = table.shape
    weights = np.ones(n) if reference is None else reference
    logits = reference_logits(weights, contexts, n, "reference")
    advantage = torch.from_numpy(payoff.scaled((table - table.swapaxes(1, 2)) / 2))
    return advantage, torch.from_numpy(logits).log_softmax(-1), float(beta) / payoff.unit, payoff.unit


def normalised(values: np.ndarray, shape: tuple[int, ...], source: str) -> Tensor:
    """Log-probabilities (n), (X, n) or (S, X, n) as (S, X, n), renormalised."""
    import torch

    if values.dtype.kind not in "fiu":
        raise ConfigError(f"{source}: log_policy holds {values.dtype}, not numbers: give log-probabilities.")
    array = np.array(values, dtype=np.float64, ndmin=3)
    if array.shape[1:] != tuple(shape):
        raise ConfigError(
            f"{source} has shape {np.shape(values)}, the game {shape[0]} contexts and {shape[1]} actions: "
            "pass the game that it was trained in."
        )
    policy = torch.from_numpy(array)
    mass = policy.logsumexp(-1)
    if not bool((mass.abs() < 1e-6).all()):
        raise ConfigError(f"{source} has probabilities that do not sum to 1: give normalised logarithms.")
    return policy.log_softmax(-1)
