"""Estimates from completions of test prompts, with intervals over prompts."""

from __future__ import annotations

import math

import numpy as np

from nlhf.stats.clusters import clustered_mean
from nlhf.stats.skewed import skewed_mean_interval


def estimates(advantage: np.ndarray, divergences: np.ndarray) -> dict[str, float]:
    """The columns of a row about win rates and the KL divergence.

    Completions of one prompt depend on each other, so a prompt is the unit of intervals and standard errors.

    Args:
        advantage: P(policy's completion > reference's) - 1/2, (X, k) for k completions of each of X prompts.
        divergences: the KL divergences to the reference along each completion, (X, k).
    """
    wins, divergence = win_rates(advantage), divergences.mean(-1)
    win_rate, (kl_low, kl_high) = clustered_mean(wins, np.ones(len(wins))), skewed_mean_interval(divergence)
    error = divergence.std(ddof=1) / len(divergence) ** 0.5 if len(divergence) > 1 else math.nan
    return {
        "test_kl_to_reference": float(divergence.mean()),
        "kl_standard_error": float(error),
        "kl_low": kl_low,
        "kl_high": kl_high,
        "test_win_rate_vs_reference": win_rate.value,
        "test_loss_rate_vs_reference": 1 - win_rate.value,
        "win_rate_low": win_rate.low,
        "win_rate_high": win_rate.high,
        "preference_vs_reference": float(advantage.mean()) + 0.5,
    }


def win_rates(advantage: np.ndarray) -> np.ndarray:
    """The share of completions that win on each prompt, ties one half, (X)."""
    return np.asarray((np.sign(advantage) / 2 + 0.5).mean(-1))
