"""Regularisers by the names of their configs, for the Python interface."""

from __future__ import annotations

from typing import Literal, get_args

from nlhf.config import ConfigError
from nlhf.regularisers.base import Regulariser
from nlhf.regularisers.chi_square import ChiSquare
from nlhf.regularisers.mixed import ForwardKL, Mixed
from nlhf.regularisers.reverse_kl import REVERSE_KL

RegulariserName = Literal["reverse_kl", "forward_kl", "mixed", "chi_square"]
WEIGHT = 0.5  # of the reverse KL in a mixture


def regulariser_of(name: RegulariserName, weight: float = WEIGHT) -> Regulariser:
    """The regulariser of this name.

    Args:
        weight: of the reverse KL in `mixed`.

    Raises: ConfigError for an unknown name or weight.
    """
    if name == "mixed":
        return Mixed(weight)
    simple: dict[str, Regulariser] = {"reverse_kl": REVERSE_KL, "forward_kl": ForwardKL(), "chi_square": ChiSquare()}
    if name not in simple:
        raise ConfigError(f"regulariser={name} is unknown: give regulariser={', '.join(get_args(RegulariserName))}.")
    return simple[name]
