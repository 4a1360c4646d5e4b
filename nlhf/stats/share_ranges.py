"""The smallest and the largest share of each item over the equilibria of all games that bounds allow.

Every equilibrium q at beta = 0 has A q <= 0. So with lower bounds L <= A, it lies in the polytope of all probabilities
with L q <= 0; with L = A, the polytope is the set of equilibria.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import linprog

TOLERANCE = 1e-10  # of the constraints


def share_ranges(lower: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """The smallest and the largest share of each item, (n) each, by linear programmes; None if the polytope is empty.

    Args:
        lower: bounds of A, (n, n).
    """
    n = len(lower)
    ends = np.empty((2, n))
    options = {"primal_feasibility_tolerance": TOLERANCE, "dual_feasibility_tolerance": TOLERANCE}
    for row, sign in enumerate((1.0, -1.0)):
        for item in range(n):
            result = linprog(
                sign * np.eye(n)[item], lower, np.zeros(n), np.ones((1, n)), [1.0], (0, 1), options=options
            )
            if result.x is None:
                return None
            ends[row, item] = np.clip(sign * result.fun, 0.0, 1.0)
    return ends[0], ends[1]
