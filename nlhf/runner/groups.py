"""The groups of conf/ that a run is built from, with the base class of their choices. No torch import."""

from __future__ import annotations

from nlhf.algorithms.base import Algorithm
from nlhf.budget import Budget
from nlhf.equilibria.solution import Solution
from nlhf.games.base import GameFamily
from nlhf.games.feedback import Feedback
from nlhf.policies.base import PolicyFamily
from nlhf.prox.base import ProxFamily
from nlhf.references.base import Reference
from nlhf.regularisers.base import Regulariser

GROUPS: dict[str, type] = {
    "game": GameFamily,
    "reference": Reference,
    "regulariser": Regulariser,
    "solution": Solution,
    "policy": PolicyFamily,
    "algorithm": Algorithm,
    "prox": ProxFamily,
    "feedback": Feedback,
    "budget": Budget,
}
