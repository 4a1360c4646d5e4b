"""`nlhf votes show FILE`: what a file of votes shows, before anybody is trained on it.

Pooled over its contexts, and context by context where columns are named for it: the Hodge split and its Bradley-Terry
null, cyclic triples, the Condorcet winner, the support of the Nash equilibrium at beta = 0; and, where the rows tell,
how often two voters of a pair agree and what the item that is shown first gains by it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nlhf.games.votes import Votes
from nlhf.io.inputs import InputFile
from nlhf.leaderboard.nash import Nash, nash
from nlhf.leaderboard.voters import FEW, Cast, agreement, by_question, columns, position, soft
from nlhf.stats.bootstrap import Estimate, redrawn
from nlhf.stats.cyclic import REDRAWS, Diagnosis, Triple, diagnose, pooled

MOST_ITEMS = 40  # in a picture
LARGEST = 1 << 25  # cells of a table of questions and pairs, from which questions are not redrawn


@dataclass(frozen=True)
class Finding:
    """One preference matrix of n items.

    Args:
        name: of the context, or `all`.
        items: n names.
        preference: P, (n, n).
        number: of votes.
        found: scores, cycles and their null.
        winner: the item that is preferred to all others by strict majority, or None.
        nash: an equilibrium at beta = 0, and the shares of all others.
        unseen: pairs without a vote, which count as even.
    """

    name: str
    items: tuple[str, ...]
    preference: np.ndarray
    number: float
    found: Diagnosis
    winner: str | None
    nash: Nash
    unseen: int

    @property
    def triples(self) -> list[Triple]:
        """The cyclic ones."""
        return self.found.triples

    @property
    def mixture(self) -> str:
        """The equilibrium in words."""
        return self.nash.words(self.items)


@dataclass(frozen=True)
class VotesSummary:
    """A file of votes.

    Args:
        pooled: over all contexts.
        contexts: one by one, where columns were named.
        agreement, position: as of `voters`.
        questions: the columns that tell questions apart.
    """

    pooled: Finding
    contexts: list[Finding]
    agreement: Estimate | None
    position: Estimate | None
    questions: Sequence[str]

    @property
    def lines(self) -> Iterator[str]:
        """What is to be said of them."""
        yield f"{self.pooled.number:g} votes on {len(self.pooled.items)} items. {self.pooled.found.sentence}"
        winner = self.pooled.winner
        yield f"Condorcet winner: {winner}." if winner else "No Condorcet winner: no item is preferred to all others."
        yield f"Nash equilibrium at beta = 0: {self.pooled.mixture}."
        if self.pooled.unseen:
            n = len(self.pooled.items)
            yield f"{self.pooled.unseen} of {n * (n - 1) // 2} pairs have no vote: they count as even."
        if self.contexts:
            yield self._of_contexts()
        if self.agreement:
            told = f"a question is told by {', '.join(self.questions)}" if self.questions else "there is one question"
            yield (
                f"Two votes on the same question and pair agree with probability {self.agreement} "
                f"({self.agreement.cases:g} pairs of votes; {told})."
            )
        if self.position:
            biased = not self.position.low <= 0.5 <= self.position.high
            yield (
                f"Of the pairs that are named in both orders, the item named first wins {self.position}: "
                + ("a position bias, if they were shown in that order." if biased else "no position bias is seen.")
            )

    def _of_contexts(self) -> str:
        count = len(self.contexts)
        cyclic = np.mean([context.found.cyclic for context in self.contexts])
        sizes = np.bincount([len(context.nash.support) for context in self.contexts if context.nash.unique])
        many = sum(context.nash.known and not context.nash.unique for context in self.contexts)
        unknown = sum(not context.nash.known for context in self.contexts)
        played = ", ".join(f"{size} in {number}" for size, number in enumerate(sizes) if number)
        triples = np.mean([len(context.triples) for context in self.contexts])
        headless = sum(context.winner is None for context in self.contexts)
        unseen = sum(context.unseen > 0 for context in self.contexts)
        said = [
            f"{count} contexts: {triples:.1f} cyclic triples on average, no Condorcet winner in {headless}, cyclic "
            f"share {cyclic:.2f} on average; items that the equilibrium plays: {played or 'unknown'}"
        ]
        said += [f"in {many}, with ties, there are many equilibria"] if many else []
        said += [f"in {unknown} it is not known whether there are others"] if unknown else []
        said += [f"{unseen} have pairs without a vote, which count as even"] if unseen else []
        return "; ".join(said) + "."


def examine(
    path: str, context: Sequence[str] = (), where: Mapping[str, Any] | None = None, drop: Sequence[str] = ()
) -> VotesSummary:
    """What a file of votes shows.

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
    whole = _findings(Votes(context=[], **options), uncertain, cast)[0]
    apart = _findings(Votes(context=list(context), **options), uncertain, None) if context else []
    return VotesSummary(whole, apart, agreement(cast), position(cast), columns(cast))


def write(ballots: VotesSummary, path: str, folder: Path) -> Path:
    """Write folder/report.html and its figure; returns the page's path."""
    from nlhf.analysis.figures.games import matrix
    from nlhf.analysis.page import Picture
    from nlhf.analysis.page import write as write_page

    pooled = ballots.pooled
    pictures = []
    if len(pooled.items) <= MOST_ITEMS:
        caption = "By falling Bradley-Terry score; framed majorities are part of a cycle."
        figure = matrix(list(pooled.items), pooled.preference, pooled.found, Path(path).name)
        pictures.append(Picture("preferences", figure, caption))
    rows = [
        [
            context.name,
            f"{context.number:g}",
            len(context.triples),
            f"{context.found.cyclic:.2f}",
            context.winner or "none",
            context.mixture,
        ]
        for context in ballots.contexts
    ]
    return write_page(
        folder,
        "votes.html.jinja",
        pictures,
        title=Path(path).name,
        lines=list(ballots.lines),
        rows=rows,
        scores=_ranking(pooled),
    )


def _ranking(pooled: Finding) -> list[list[str]]:
    """Items by falling Bradley-Terry score: name, score, mean probability of being preferred, share at equilibrium."""
    others = (pooled.preference.sum(1) - 0.5) / (len(pooled.items) - 1)
    return [
        [pooled.items[k], f"{pooled.found.scores[k]:+.2f}", f"{others[k]:.3f}", f"{pooled.nash.shares[k]:.3f}"]
        for k in np.argsort(-pooled.found.scores, kind="stable")
    ]


def _findings(game: Votes, uncertain: bool, cast: Cast | None) -> list[Finding]:
    """Of every context. Rows that are probabilities (`uncertain`) say nothing of chance by their number: `cast`, of one
    context, tells the noise of its questions."""
    table = game.table(np.random.default_rng(0))
    assert table.votes is not None
    noise = _noise(cast, table.items) if uncertain and cast is not None else None
    return [
        finding(
            name,
            table.items,
            table.preference[place],
            table.votes[:, place],
            noise,
            tested=not uncertain or noise is not None,
        )
        for place, name in enumerate(table.contexts)
    ]


def _noise(cast: Cast, items: Sequence[str]) -> np.ndarray | None:
    """Draws (R, n, n) of the error of P that comes of the choice of questions, or None where too little is known."""
    wins, votes = by_question(cast, items)
    if complete(votes).sum() < FEW or REDRAWS * wins[0].size > LARGEST:
        return None
    return np.asarray(pooled(wins, votes, redrawn(len(wins), REDRAWS)) - pooled(wins, votes))


def complete(votes: np.ndarray) -> np.ndarray:
    """Of which questions is every pair asked? (Q), for votes (Q, n, n)."""
    return np.asarray(((votes > 0) | np.eye(votes.shape[-1], dtype=bool)).all((1, 2)))


def finding(
    name: str,
    items: Sequence[str],
    preference: np.ndarray,
    votes: np.ndarray,
    noise: np.ndarray | None = None,
    tested: bool = True,
) -> Finding:
    """What a preference matrix P (n, n) shows.

    Args:
        votes: (2, n, n), how many there are of each pair, and how many of these are ties.
        noise: as of `diagnose`.
        tested: are cycles held against chance?
    """
    beats = (preference > 0.5) | np.eye(len(items), dtype=bool)
    winners = np.flatnonzero(beats.all(1))
    unseen = int((votes[0][np.triu_indices(len(items), 1)] == 0).sum())
    found = diagnose(preference, votes if tested else None, noise=noise)
    return Finding(
        name,
        tuple(items),
        preference,
        float(votes[0].sum() / 2),
        found,
        items[winners[0]] if len(winners) else None,
        nash(preference),
        unseen,
    )
