"""What draws completions: `LanguageModel` and its team of processes, or an inference server behind this protocol.

docs/guides/large-models.md lists what such servers lack today.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np

    from nlhf.language.model import Mixture
    from nlhf.language.reading import Tokens


class Sampler(Protocol):
    """Draws completions of prompts from a mixture of sets of weights."""

    def sample(self, mixture: Mixture, prompts: Sequence[Tokens], uniforms: np.ndarray) -> list[Tokens]:
        """A completion of every prompt, its end token included.

        A completion depends on its prompt, its number and the mixture alone, whatever else is drawn in the same call,
        so runs resume, and policies are compared with the same random numbers. Each token is drawn by inversion of the
        cumulative probabilities of the normalised product of the models' next-token probabilities, each to its
        exponent, at `policy.temperature`. The completion ends after the first end token, or after
        `policy.max_new_tokens` tokens.

        Args:
            mixture: weights with exponents, which may be negative; None is the base model.
            prompts: as tokens.
            uniforms: a number on [0, 1) for each prompt, which seeds its tokens.
        """
