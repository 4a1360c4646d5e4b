"""Contextual games: preferences depend on features of the context, so that a policy can generalise.

In context x with features c, action y has the embedding v_y(x) = tanh(W_y c), and P(y > y' | x) = sigmoid(<Rv_y, v_y'>)
as in `general_preference`. The maps W are the same for all contexts, train and test; the seed draws them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nlhf.config import ConfigError
from nlhf.games.base import GameFamily, check_size, check_spread
from nlhf.games.general_preference import skew_products
from nlhf.games.listed import numbered
from nlhf.games.preference import PreferenceTable
from nlhf.numerics.bradley_terry import sigmoid


@dataclass(frozen=True)
class Contextual(GameFamily):
    """Training contexts come first, then test contexts, which are only measured.

    Args:
        actions: n >= 2.
        contexts: training contexts, X >= 1.
        test_contexts: held-out contexts, >= 0; they do not change the training contexts.
        features: dimension of the context's features.
        dimension: of the embeddings, even.
        scale: multiplies the logits of P.
    """

    actions: int
    contexts: int
    test_contexts: int
    features: int
    dimension: int
    scale: float

    random = True

    def __post_init__(self) -> None:
        check_size(actions=self.actions)
        check_size(smallest=1, contexts=self.contexts, features=self.features)
        check_size(smallest=0, test_contexts=self.test_contexts)
        check_spread(scale=self.scale)
        if self.dimension < 2 or self.dimension % 2:
            raise ConfigError(f"game.dimension={self.dimension} is not an even number >= 2: give one.")

    def table(self, rng: np.random.Generator) -> PreferenceTable:
        maps = rng.standard_normal((self.actions, self.dimension, self.features)) / np.sqrt(self.features)
        features = rng.standard_normal((self.contexts + self.test_contexts, self.features))
        embedding = np.tanh(np.einsum("ydf,xf->xyd", maps, features))
        names = numbered("context", self.contexts) + numbered("test", self.test_contexts)
        return PreferenceTable(
            sigmoid(self.scale * skew_products(embedding)),
            numbered("action", self.actions),
            names,
            features=features,
            held_out=self.test_contexts,
        )
