"""The gradient engine on recorded pairs: of a file, or drawn from the reference and compared once.

With a number n, the first steps draw new pairs from the reference and put them to the judge; once there are n of them,
batches are drawn from these with replacement. One query is one pair that is read, also where it was read before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nlhf.prox.gradient_steps import SampledGradient

if TYPE_CHECKING:
    from torch import Tensor

    from nlhf.games.protocol import PairGame, RecordedGame
    from nlhf.policies.base import Policy
    from nlhf.policies.distributions import Distribution
    from nlhf.prox.base import Parts
    from nlhf.prox.draws import Draws
    from nlhf.prox.gradient import GradientProx
    from nlhf.prox.problem import Problem


@dataclass(frozen=True)
class Pairs:
    """Compared pairs of every seed.

    Args:
        contexts, first, second: of each pair, (S, N).
        gain: P(first > second) - 1/2 as it was answered, (S, N).
    """

    contexts: Tensor
    first: Tensor
    second: Tensor
    gain: Tensor

    @property
    def tensors(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The four tensors."""
        return self.contexts, self.first, self.second, self.gain

    def at(self, rows: Tensor) -> Pairs:
        """Some pairs of every seed, by their numbers (S, B)."""
        return Pairs(*(tensor.expand(len(rows), -1).gather(1, rows) for tensor in self.tensors))

    def joined(self, pairs: Pairs) -> Pairs:
        """These pairs and others behind them."""
        import torch

        return Pairs(*(torch.cat(both, 1) for both in zip(self.tensors, pairs.tensors, strict=True)))


class Recorded:
    """The pairs of a batch as draws; see `nlhf.prox.draws.Draws`."""

    def __init__(self, pairs: Pairs) -> None:
        self._pairs, self.queries = pairs, pairs.gain.shape[1]

    def actions(self, policy: Distribution) -> tuple[Tensor, Tensor | float]:
        raise NotImplementedError("GradientProx refuses losses of single actions")

    def pairs(self, first: Distribution, second: Distribution) -> tuple[Tensor, Tensor, float]:
        return self._pairs.first[..., None], self._pairs.second[..., None], 1.0

    def spread(self, policy: Distribution, value: Callable[[Tensor], Tensor]) -> Tensor:
        raise NotImplementedError("GradientProx refuses losses of pairs that no one compared")

    def against_opponent(self, actions: Tensor) -> Tensor:
        raise NotImplementedError("GradientProx refuses losses against the opponent")

    def duel(self, first: Tensor, second: Tensor) -> Tensor:
        return self._pairs.gain[..., None]

    def centred(self, gain: Tensor) -> Tensor:
        return gain


class RecordedGradient(SampledGradient):
    """Expectations are means over recorded pairs."""

    batch: Pairs
    pairs: Pairs | None = None

    def __init__(self, parts: Parts[PairGame], options: GradientProx, samples: int) -> None:
        super().__init__(parts, options, samples)
        self.limit = options.recorded if isinstance(options.recorded, int) else None
        if self.limit is None:
            game: RecordedGame = parts.game  # type: ignore[assignment]
            self.pairs = Pairs(*game.recorded)

    def batch_contexts(self) -> Tensor:
        contexts = self.options.contexts or self.value.shape[1]
        self.batch = self._read(contexts * self.samples // 2)
        return self.batch.contexts

    def draws(self, problem: Problem, opponent: Policy, contexts: Tensor) -> Draws:
        return Recorded(self.batch)

    def _read(self, count: int) -> Pairs:
        """The next batch: new pairs up to the limit, then recorded ones."""
        size = 0 if self.pairs is None else self.pairs.gain.shape[1]
        if self.limit is not None and size < self.limit:
            new = self._new(min(count, self.limit - size))
            self.pairs = new if self.pairs is None else self.pairs.joined(new)
            return new
        assert self.pairs is not None
        return self.pairs.at((self.uniforms(count, active=self.active) * size).long())

    def _new(self, count: int) -> Pairs:
        """Pairs that the reference draws, compared by the judge."""
        contexts = (self.uniforms(count, active=self.active) * self.value.shape[1]).long()
        drawn = self.reference.at(contexts).sample(self.uniforms(count, 2, active=self.active))
        gain = self.judge(contexts, drawn[..., :1], drawn[..., 1:], self.active)
        return Pairs(contexts, drawn[..., 0], drawn[..., 1], gain[..., 0])

    def snapshot(self) -> dict[str, Any]:
        if self.limit is None or self.pairs is None:
            return super().snapshot()
        contexts, first, second, gain = self.pairs.tensors
        actions = [self.reference.stored(side) for side in (first, second)]
        return super().snapshot() | {"pairs": [contexts, *actions, gain]}

    def restore(self, snapshot: dict[str, Any]) -> None:
        super().restore(snapshot)
        if (stored := snapshot.get("pairs")) is not None:
            contexts, first, second, gain = stored
            self.pairs = Pairs(contexts, self.reference.loaded(first), self.reference.loaded(second), gain)
