"""What a file of votes shows before any policy is trained on it.

Pooled over its contexts, and per context if columns are named for it: the Hodge decomposition with its Bradley-Terry
null, cyclic triples, the Condorcet winner, and the support of the Nash equilibrium at beta = 0. Where the rows allow
it, also how often two voters of a pair agree, and the advantage of the item that is shown first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nlhf.games.votes import Votes
from nlhf.io.inputs import InputFile
from nlhf.leaderboard.matrix import Matrix, complete, matrix_of
from nlhf.leaderboard.voters import FEW, Cast, agreement, by_question, columns, position, soft
from nlhf.stats.bootstrap import Estimate, redrawn
from nlhf.stats.cyclic import REDRAWS, pooled

LARGEST = 1 << 25  # cells of a table of questions and pairs; with more, questions are not redrawn


@dataclass(frozen=True)
class VotesSummary:
    """A file of votes.

    Args:
        pooled: over all contexts.
        contexts: one matrix per context, if columns were named.
        agreement, position: as in `voters`.
        questions: the columns that identify a question.
    """

    pooled: Matrix
    contexts: list[Matrix]
    agreement: Estimate | None
    position: Estimate | None
    questions: Sequence[str]

    @property
    def lines(self) -> Iterator[str]:
        """The sentences of the page."""
        matrix = self.pooled
        yield f"{matrix.votes:g} votes on {len(matrix.items)} items. {matrix.diagnosis.sentence}"
        if matrix.winner:
            yield f"Condorcet winner: {matrix.winner}."
        else:
            yield "No Condorcet winner: no item is preferred to all others."
        yield f"Nash equilibrium at beta = 0: {matrix.mixture}."
        if matrix.unseen:
            yield f"{matrix.unseen_pairs} have no vote: they count as even."
        if self.contexts:
            yield self._of_contexts()
        if self.agreement:
            columns = ", ".join(self.questions)
            question = f"a question is identified by {columns}" if columns else "there is one question"
            yield (
                f"Two votes on the same question and pair agree with probability {self.agreement} "
                f"({self.agreement.cases:g} pairs of votes; {question})."
            )
        if self.position:
            biased = not self.position.low <= 0.5 <= self.position.high
            verdict = "a position bias, if they were shown in that order" if biased else "no position bias is visible"
            yield f"In pairs that are named in both orders, the item named first wins {self.position}: {verdict}."

    def _of_contexts(self) -> str:
        contexts = self.contexts
        cyclic = np.mean([context.diagnosis.cyclic for context in contexts])
        triples = np.mean([len(context.triples) for context in contexts])
        sizes = np.bincount([len(context.nash.support) for context in contexts if context.nash.unique])
        support = ", ".join(f"{size} in {count}" for size, count in enumerate(sizes) if count) or "unknown"
        counts = {
            "no Condorcet winner": sum(context.winner is None for context in contexts),
            "several equilibria, because of ties": sum(c.nash.known and not c.nash.unique for c in contexts),
            "an equilibrium that may not be the only one": sum(not context.nash.known for context in contexts),
            "pairs without a vote, which count as even": sum(context.unseen > 0 for context in contexts),
        }
        further = "".join(f"; {count} with {name}" for name, count in counts.items() if count)
        return (
            f"{len(contexts)} contexts: {triples:.1f} cyclic triples and a cyclic share of {cyclic:.2f} on average; "
            f"items in the equilibrium: {support}{further}."
        )


def examine(
    path: str, context: Sequence[str] = (), where: Mapping[str, Any] | None = None, drop: Sequence[str] = ()
) -> VotesSummary:
    """The summary of a file of votes.

    Raises: ConfigError for bad input, as `game=votes`.
    """
    options: dict[str, Any] = {
        "path": InputFile(path, "game.path"),
        "where": dict(where or {}),
        "drop": list(drop),
        "pseudo_count": 0.0,
        "unseen": "half",
        "bootstrap": False,
    }
    cast = Votes(context=list(context), **options).cast()
    uncertain = soft(cast)
    pooled_matrix = _matrices(Votes(context=[], **options), uncertain, cast)[0]
    contexts = _matrices(Votes(context=list(context), **options), uncertain, None) if context else []
    return VotesSummary(pooled_matrix, contexts, agreement(cast), position(cast), columns(cast))


def _matrices(game: Votes, uncertain: bool, cast: Cast | None) -> list[Matrix]:
    """A matrix per context.

    If rows are probabilities (`uncertain`), their number says nothing about chance; the votes `cast` on a single
    context give the noise of its questions instead.
    """
    table = game.table(np.random.default_rng(0))
    assert table.votes is not None
    noise = _noise(cast, table.items) if uncertain and cast is not None else None
    tested = not uncertain or noise is not None
    return [
        matrix_of(name, table.items, table.preference[k], table.votes[:, k], noise, tested)
        for k, name in enumerate(table.contexts)
    ]


def _noise(cast: Cast, items: Sequence[str]) -> np.ndarray | None:
    """Draws (R, n, n) of the error of P from the choice of questions; None if they are too few or many."""
    wins, votes = by_question(cast, items)
    if complete(votes).sum() < FEW or REDRAWS * wins[0].size > LARGEST:
        return None
    return np.asarray(pooled(wins, votes, redrawn(len(wins), REDRAWS)) - pooled(wins, votes))
