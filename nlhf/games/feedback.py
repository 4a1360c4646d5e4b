"""The annotator: answers about single pairs, with noise.

    q = sigmoid(logit((1 - flip) P + flip (1 - P)) + position_bias)        probability of choosing the first one

`flip` and `position_bias` are the annotator's noise, part of the game that is played; metrics keep P.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from nlhf.config import ConfigError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from nlhf.games.protocol import PairGame
    from nlhf.numerics.streams import Uniforms


@dataclass(frozen=True)
class Feedback:
    """The choices of `feedback=<name>`: the answer about a pair.

    Args:
        votes_per_pair: votes on every pair in every order; null gives the annotator's probability itself.
        orders: `given`, the order in which the algorithm names the pair; `random`, a fair coin; `both`, the mean of the
            two, which makes the answer antisymmetric. A pair is one query in each case.
        flip: probability that an annotator chooses the action they do not prefer, in [0, 1/2].
        position_bias: added to the logit of the action that is shown first.
    """

    votes_per_pair: int | None
    orders: Literal["given", "random", "both"]
    flip: float
    position_bias: float

    def __post_init__(self) -> None:
        if self.votes_per_pair is not None and self.votes_per_pair < 1:
            raise ConfigError(f"feedback.votes_per_pair={self.votes_per_pair} is too small: give 1 or more, or null.")
        if not 0 <= self.flip <= 0.5:
            raise ConfigError(f"feedback.flip={self.flip} is out of range: give a probability in [0, 0.5].")
        if not abs(self.position_bias) < float("inf"):
            raise ConfigError(f"feedback.position_bias={self.position_bias} is infinite: give a finite number.")

    @property
    def plain(self) -> bool:
        """True if answers are P itself."""
        return self.votes_per_pair is None and self.flip == 0 and self.position_bias == 0


class Judge:
    """Answers about pairs, with the annotator's noise.

    Args:
        game: gives P.
        feedback: the noise.
        uniforms: random numbers of votes and orders.
    """

    def __init__(self, game: PairGame, feedback: Feedback, uniforms: Uniforms) -> None:
        self.game, self.feedback, self.uniforms = game, feedback, uniforms

    def __call__(self, contexts: Tensor, first: Tensor, second: Tensor, active: np.ndarray) -> Tensor:
        """Estimates of P(first > second | context) - 1/2, float64, for contexts (S, B) and actions (S, B, k)."""
        advantage = self.game.compare(contexts, first, second)
        noise = self.feedback
        if noise.flip:
            advantage = advantage * (1 - 2 * noise.flip)
        if noise.orders == "both":
            return (self._shown(advantage, active) - self._shown(-advantage, active)) / 2
        if noise.orders == "random" and noise.position_bias:
            sign = (self.uniforms(*first.shape[1:], active=active) < 0.5).to(advantage.dtype) * 2 - 1
            return self._shown(advantage * sign, active) * sign
        return self._shown(advantage, active)

    def _shown(self, advantage: Tensor, active: np.ndarray) -> Tensor:
        """The answer minus 1/2, for pairs whose first action has this advantage and is shown first."""
        if self.feedback.position_bias:
            chosen = ((advantage + 0.5).logit() + self.feedback.position_bias).sigmoid()
        else:
            chosen = advantage + 0.5
        if (votes := self.feedback.votes_per_pair) is None:
            return chosen - 0.5
        draws = self.uniforms(*advantage.shape[1:], votes, active=active)
        return (draws < chosen[..., None]).to(advantage.dtype).mean(-1) - 0.5
