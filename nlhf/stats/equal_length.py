"""Win rates against a reference at equal length of the texts (Y. Dubois et al., arXiv:2404.04475).

P(win) = sigmoid(theta + phi tanh(d / std(d))), with d the length of the text less that of the reference's. The rate at
equal length is sigmoid(theta), the prediction at d = 0. The paper's term for the difficulty of a prompt is left out: it
is shared by many models there, and a prompt has one pair here.
"""

from __future__ import annotations

import numpy as np

from nlhf.numerics.bradley_terry import sigmoid
from nlhf.stats.bootstrap import FEWEST, Estimate
from nlhf.stats.controlled_scores import controlled
from nlhf.stats.paired_votes import PairedVotes
from nlhf.stats.scores import quantile

NOTHING = Estimate(float("nan"), float("nan"), float("nan"), 0.0)


def rate_at_equal_length(wins: np.ndarray, lengths: np.ndarray, prompts: np.ndarray) -> Estimate:
    """The win rate at equal length with its 95% interval over prompts; nan where the pairs do not determine it.

    Args:
        wins: of n pairs, in [0, 1], a tie one half.
        lengths: of the text less that of the reference's, (n).
        prompts: the prompt of each pair, (n).
    """
    spread = lengths.std() if len(lengths) else 0.0
    _, cluster = np.unique(prompts, return_inverse=True)
    if len(np.unique(cluster)) < FEWEST or not spread > 0 or not 0 < wins.mean() < 1:
        return NOTHING
    first, ones = np.zeros(len(wins), dtype=int), np.ones(len(wins))
    votes = PairedVotes(2, first, first + 1, ones, wins.astype(float), cluster, "prompt")
    try:
        fit = controlled(votes, np.tanh(lengths / spread)[:, None])
    except ArithmeticError:
        return NOTHING
    contrast = np.array([1.0, -1.0, 0.0])
    theta, error = float(fit.scores[0] - fit.scores[1]), float(np.sqrt(contrast @ fit.covariance @ contrast))
    half = float(quantile(fit.freedom)) * error
    value, low, high = (float(sigmoid(np.array(end))) for end in (theta, theta - half, theta + half))
    return Estimate(value, low, high, float(len(wins)))
