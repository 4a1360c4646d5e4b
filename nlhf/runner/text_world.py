"""The world of a language model: prompts, judge and base model of one run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from nlhf.config import ConfigError
from nlhf.io.files import replacing
from nlhf.language.game import TextGame
from nlhf.language.model import load
from nlhf.language.policy import CausalLM, CausalLMPolicy
from nlhf.language.team import team
from nlhf.language.turns import split_turns
from nlhf.policies.average import NoAverage
from nlhf.prox.base import Parts
from nlhf.records import COLUMNS, TEXT_COLUMNS, Recorder
from nlhf.runner.trainer import Trainer

if TYPE_CHECKING:
    from nlhf.policies.base import Policy
    from nlhf.runner.specification import Specification
from nlhf.language.measure import TextMeasure


@dataclass(frozen=True)
class TextWorld:
    """Prompts, judge and base model of one run.

    Args:
        game: of the prompts that are trained on.
        base: the reference, at these.
        beta: (1, 1, 1).
        measure: on the other prompts.
    """

    game: TextGame
    base: CausalLMPolicy
    beta: Tensor
    measure: TextMeasure

    equilibria = held_out = None
    listed: ClassVar[bool] = False  # actions are not
    columns = COLUMNS + TEXT_COLUMNS

    @property
    def account(self) -> dict[str, Any]:
        """What the judge was asked by this process, and what that cost."""
        return self.game.judge.account

    def trainer(self, run: Specification, recorder: Recorder, **options: Any) -> Trainer:
        """The trainer of a run, at its start."""
        prox = run.prox.engine(Parts(self.game, self.base, self.beta, run.options.seeds, run.feedback))  # type: ignore[arg-type]
        policy = self.base.trained(self.game.model.initial, None)
        bound = run.algorithm.bind(self.beta)
        return Trainer(bound, prox, policy, NoAverage(), self.measure, run.budget, recorder, **options)

    def save(self, folder: Path) -> None:
        """Nothing that the run does not say itself."""

    def save_policy(self, folder: Path, policy: Policy, seeds: list[int]) -> None:
        """The policy as other programs load it, and its completions of the test prompts beside the reference's."""
        policy.save(folder)
        with replacing(folder / "completions.jsonl", sync=False) as stream:
            for entry in self.measure.texts(policy):
                stream.write(json.dumps(entry, ensure_ascii=False) + "\n")


def assemble_text(run: Specification, device: torch.device, beta: Tensor) -> TextWorld:
    """Load the model and the judge.

    Raises: ConfigError.
    """
    if len(run.options.seeds) != 1:
        raise ConfigError(f"policy=causal_lm trains one seed at a time, not {len(run.options.seeds)}: sweep "
                          "seeds=[0],[1].")  # fmt: skip
    assert isinstance(run.policy, CausalLM)
    seed = run.options.seeds[0]
    model = load(run.policy, seed, str(device))
    if (others := team()) is not None:
        others.load(run.policy, seed, str(device))
        model.team = others
    family: Any = run.game
    family.judge.use_device(str(device))
    trained, tested = split_turns(family, model)
    measure = TextMeasure(TextGame(family.judge, model, tested), CausalLMPolicy(None, None, model, tested),
                          family.completions, seed)  # fmt: skip
    game = TextGame(family.judge, model, trained)
    return TextWorld(game, CausalLMPolicy(None, None, model, trained), beta, measure)
