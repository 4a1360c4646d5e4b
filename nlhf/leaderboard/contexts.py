"""What the contexts of a file of votes show together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nlhf.leaderboard.matrix import Matrix


def of_contexts(contexts: Sequence[Matrix]) -> str:
    """Cycles and equilibria of the contexts of a file of votes, in one sentence."""
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
