"""What a file of votes shows before any policy is trained on it.

Pooled over its contexts, and per context if columns are named for it: the Hodge decomposition with its Bradley-Terry
null, cyclic triples, the Condorcet winner, and the support of the Nash equilibrium at beta = 0. Where the rows allow
it, also how often two voters of a pair agree, and the advantage of the item that is shown first. Tests take votes as
independent, unless columns name clusters of votes that may be alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nlhf.games.preference import PreferenceTable
from nlhf.games.votes import Votes
from nlhf.io.inputs import InputFile
from nlhf.leaderboard.contexts import of_contexts
from nlhf.leaderboard.controlled import ControlledRatings, controlled_ratings
from nlhf.leaderboard.growth import Growth, growth_of_units, growth_of_votes
from nlhf.leaderboard.matrix import Matrix, matrix_of
from nlhf.leaderboard.next_pairs import NextPairs, next_pairs
from nlhf.leaderboard.position import position, position_clusters
from nlhf.leaderboard.proof import Proof, policy_of, proof, proof_of_units
from nlhf.leaderboard.ratings import Intervals, Ratings, ratings_of
from nlhf.leaderboard.trust import notes, verdicts
from nlhf.leaderboard.units import units_of
from nlhf.leaderboard.voters import agreement, columns, person
from nlhf.stats.bootstrap import Estimate
from nlhf.stats.cyclic import assumption
from nlhf.stats.vote_clusters import Clusters
from nlhf.votes.clusters import clusters_of, soft
from nlhf.votes.formats.base import BothBad
from nlhf.votes.read import Selection
from nlhf.votes.table import Report

SAMPLES = 200  # bootstrap samples whose equilibria are computed


@dataclass(frozen=True)
class VotesSummary:
    """A file of votes.

    Args:
        pooled: over all contexts.
        contexts: one matrix per context, if columns were named.
        agreement, position: as in `voters` and `position`.
        position_basis: which votes the interval of `position` takes as independent.
        questions: the columns that identify a question.
        person: a column that may name people, if the votes are taken as independent.
        report: which rows of the file are not used; None if every row is.
        proof: what independent votes prove about policies; None if rows are probabilities, or for too many items.
        clustered: what the votes prove if those of one cluster may be alike; None without clusters.
        growth: the certificate of `clustered`, or else of `proof`, as a function of the number of observations.
        next_pairs: the pairs to vote on next; None as `proof`.
        ratings: of the items; None if counts differ too much in size.
        controlled: ratings at equal style of the texts, if that was asked for.
        selection: which votes of the file these are.
    """

    pooled: Matrix
    contexts: list[Matrix]
    agreement: Estimate | None
    position: Estimate | None
    position_basis: str
    questions: Sequence[str]
    person: str | None
    report: Report | None
    proof: Proof | None
    clustered: Proof | None
    growth: Growth | None
    next_pairs: NextPairs | None
    ratings: Ratings | None
    controlled: ControlledRatings | None
    selection: Selection

    @property
    def lines(self) -> Iterator[str]:
        """All sentences."""
        explanations = [line for verdict in verdicts(self) for line in verdict.lines]
        yield from dict.fromkeys([*self.best_lines, *explanations, *notes(self)])

    @property
    def best_lines(self) -> Iterator[str]:
        """The sentences that say who is best."""
        yield f"{self.pooled.votes:g} votes on {len(self.pooled.items)} items."
        yield from self.pooled.best_lines
        for rated in (self.ratings, self.controlled):
            if rated:
                yield from rated.lines
        if self.contexts:
            yield of_contexts(self.contexts)


def examine(
    path: str,
    context: Sequence[str] = (),
    where: Mapping[str, Any] | None = None,
    drop: Sequence[str] = (),
    cluster: Sequence[str] = (),
    names: Mapping[str, str] | None = None,
    both_bad: BothBad = "tie",
    policy: str | None = None,
    intervals: Intervals = "sandwich",
    control: Sequence[str] = (),
) -> VotesSummary:
    """The summary of a file of votes; the arguments are keys of game=votes, and `names` is `game.columns`.

    Args:
        policy: a file with the weights of a policy to certify.
        intervals: what the intervals of ratings are based on.
        control: measures of the style of texts that ratings are controlled for.

    Raises: ConfigError for bad input, as `game=votes`.
    """
    options: dict[str, Any] = {
        "path": InputFile(path, "game.path"),
        "where": dict(where or {}),
        "drop": list(drop),
        "pseudo_count": 0.0,
        "unseen": "half",
        "cluster": list(cluster),
        "bootstrap": False,
        "columns": dict(names or {}) or None,
        "both_bad": both_bad,
    }
    cast = Votes(context=list(context), **options).cast()
    family = Votes(context=[], **options)
    pooled = family.table(np.random.default_rng(0))
    contexts = Votes(context=list(context), **options).table(np.random.default_rng(0)) if context else None
    assert pooled.votes is not None
    users_policy = None if policy is None else policy_of(policy, pooled)
    uncertain = soft(cast)
    alike = cluster or (columns(cast) if uncertain else [])  # columns
    clusters = clusters_of(cast, pooled.items, alike) if cluster or uncertain else None
    chosen = Selection((), where or {}, drop, alike, names or {}, both_bad)
    units = units_of(cast, pooled.items, alike) if alike else None
    basis, number = position_clusters(cast, cluster)
    wins = None if uncertain or pooled.wins is None else pooled.wins[0]
    if units:
        growth = growth_of_units(units, pooled.items, at_random=True)
    else:
        growth = None if uncertain else growth_of_votes(cast, pooled.items)
    return VotesSummary(
        _matrices(pooled, clusters, not uncertain, SAMPLES)[0],
        _matrices(contexts, None, False) if contexts else [],
        agreement(cast),
        position(cast, cluster),
        assumption(number, ", ".join(basis)),
        columns(cast),
        None if cluster or uncertain else person(cast),
        family.report,
        None if wins is None else proof(pooled.items, wins, pooled.votes[:, 0], users_policy),
        None if units is None else proof_of_units(pooled.items, units, users_policy),
        growth,
        next_pairs(pooled.items, wins, pooled.votes[0, 0], units),
        ratings_of(pooled, cast, alike if cluster or uncertain else None, intervals),
        controlled_ratings(options["path"], chosen, pooled.items, control) if control else None,
        chosen,
    )


def _matrices(table: PreferenceTable, clusters: Clusters | None, counted: bool, samples: int = 0) -> list[Matrix]:
    """A matrix per context.

    Rows that are probabilities are not `counted`: their number says nothing about chance, but clusters do.
    """
    assert table.votes is not None
    return [
        matrix_of(name, table.items, table.preference[k], table.votes[:, k], clusters, counted, samples)
        for k, name in enumerate(table.contexts)
    ]
