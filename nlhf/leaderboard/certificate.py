"""The certificate on a page: its sentence, and its figure over the number of votes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nlhf.leaderboard.growth import Growth
from nlhf.leaderboard.proof import DELTA, Proof

if TYPE_CHECKING:
    from nlhf.analysis.page import Picture

WEAK = 0.75  # a bound of the best policy above which votes prove little


def answer(proof: Proof) -> str:
    """What votes prove at any time, in one sentence."""
    bound, policy = 0.5 + proof.anytime.exploitability, proof.mixture(proof.anytime.policy)
    if proof.units is None:
        basis = "if votes are independent"
    else:
        basis = f"if the {proof.units.size} values of {proof.units.name} are independent"
    if bound > WEAK:
        return (
            f"Not yet: all that the votes prove is that no policy is preferred to {policy} with a probability above "
            f"{bound:.3f}, with {1 - DELTA:.0%} confidence, {basis}."
        )
    return (
        f"With {1 - DELTA:.0%} confidence, no policy is preferred to {policy} with a probability above {bound:.3f}, "
        f"{basis}."
    )


def pictures(growth: Growth | None) -> list[Picture]:
    """The figure of the bounds after the first observations; empty for None."""
    if growth is None:
        return []
    from nlhf.analysis.figures.certificate import certificate
    from nlhf.analysis.page import Picture

    caption = (
        f"The certificate of the best policy after the first {growth.unit}, {growth.order}: with {1 - DELTA:.0%} "
        "confidence, no policy is preferred to it with a higher probability. The broken line holds if the numbers of "
        "votes were fixed in advance, the other one whenever the votes are looked at."
    )
    return [Picture("certificate", certificate(growth.numbers, growth.once, growth.anytime, growth.unit), caption)]
