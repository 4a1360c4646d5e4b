"""How far votes can be trusted: short verdicts, each with the sentences that it rests on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from nlhf.io.tables import listed
from nlhf.leaderboard.matrix import Matrix
from nlhf.leaderboard.proof import SHOWN, Proof
from nlhf.leaderboard.sections import Verdict
from nlhf.stats.bootstrap import Estimate

if TYPE_CHECKING:
    from nlhf.leaderboard.summary import VotesSummary


def notes(votes: VotesSummary) -> Iterator[str]:
    """What a reader should see without opening a verdict."""
    proof = votes.clustered or votes.proof
    if proof and (line := proof.line_of_user):
        yield line
    if votes.person:
        yield f"Votes of one {votes.person} may be alike: add --cluster {votes.person} to take them as one unit."
    if votes.pooled.unseen:
        yield f"{votes.pooled.unseen_pairs} have no vote: they count as even."
    if votes.position and _is_biased(votes.position):
        yield _of_position(votes)
    if names := _same_in_lower_case(votes.pooled.items):
        yield f"These items differ by upper and lower case alone, and are different items here: {listed(names, 12)}."


def verdicts(votes: VotesSummary) -> Iterator[Verdict]:
    """The certificates, the tests of scores and of an order, other samples of votes, agreement and position bias."""
    yield from _certificates(votes)
    matrix = votes.pooled
    yield Verdict(matrix.diagnosis.verdict, [matrix.diagnosis.sentence])
    if matrix.transitivity and (sentence := matrix.transitivity.sentence(matrix.items)):
        yield Verdict(matrix.transitivity.verdict, [sentence])
    if matrix.mixtures is not None:
        yield _of_samples(matrix, matrix.mixtures)
    if votes.agreement:
        columns = ", ".join(votes.questions)
        question = f"a question is identified by {columns}" if columns else "there is one question"
        yield Verdict(
            f"Two votes on the same question and pair agree with probability {votes.agreement}.",
            [
                f"Two votes on the same question and pair agree with probability {votes.agreement} "
                f"({votes.agreement.cases:g} pairs of votes; {question})."
            ],
        )
    if votes.position:
        verdict = "Voters prefer one position, if items were shown in the order of the file."
        yield Verdict(verdict if _is_biased(votes.position) else "No position bias is visible.", [_of_position(votes)])


def _is_biased(position: Estimate) -> bool:
    return position.low > 0.5 or position.high < 0.5  # False without an interval


def _of_position(votes: VotesSummary) -> str:
    """How often the item wins that is named first."""
    assert votes.position is not None
    biased = _is_biased(votes.position)
    verdict = "a position bias, if they were shown in that order" if biased else "no position bias is visible"
    return (
        f"In pairs that are named in both orders, the item named first wins {votes.position}: {verdict}, "
        f"{votes.position_basis}."
    )


def _same_in_lower_case(items: Sequence[str]) -> list[str]:
    """The items whose names differ from another one by upper and lower case alone."""
    number = Counter(item.casefold() for item in items)
    return sorted((item for item in items if number[item.casefold()] > 1), key=lambda item: (item.casefold(), item))


def _certificates(votes: VotesSummary) -> Iterator[Verdict]:
    proof, alike = votes.clustered or votes.proof, votes.pooled.diagnosis.cluster
    if proof:
        yield Verdict(
            f"For one look, with numbers of votes that were fixed in advance, the bound is {_bound(proof)}.",
            list(proof.lines(alike if proof is votes.proof else None)),
        )
    if votes.clustered and votes.proof:
        independent = 0.5 + votes.proof.anytime.exploitability
        yield Verdict(
            f"If all votes were independent, the bound would be {independent:.3f}, and {_bound(votes.proof)} for one "
            "look.",
            list(votes.proof.lines(alike)),
        )


def _bound(proof: Proof) -> str:
    """The bound of the best policy for one look."""
    return f"{0.5 + proof.once.exploitability:.3f}"


def _of_samples(matrix: Matrix, ends: np.ndarray) -> Verdict:
    """The range of the equilibria of bootstrap samples."""
    low, high = ends
    played = [k for k in np.argsort(-high, kind="stable") if high[k] >= SHOWN]
    ranges = ", ".join(f"{matrix.items[k]} {low[k]:.3f} to {high[k]:.3f}" for k in played)
    unit, widest = matrix.diagnosis.cluster or "votes", int((high - low).argmax())
    verdict = (
        "Other samples of such votes have the same equilibrium."
        if (high - low).max() < SHOWN
        else "Other samples of such votes have other equilibria: "
        f"the share of {matrix.items[widest]} is from {low[widest]:.3f} to {high[widest]:.3f}."
    )
    return Verdict(
        verdict,
        [
            f"95% of the equilibria of bootstrap samples ({unit} drawn with replacement) have shares of {ranges}. "
            "They are not confidence intervals, as an equilibrium can change abruptly."
        ],
    )
