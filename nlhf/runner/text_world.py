"""The world of a language model: prompts, judge and base model of one run."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from nlhf.config import ConfigError
from nlhf.io.files import replacing
from nlhf.language.game import Text, TextGame
from nlhf.language.loading import load
from nlhf.language.measure import TextMeasure
from nlhf.language.policy import CausalLM, CausalLMPolicy
from nlhf.language.recorded import recorded_pairs
from nlhf.language.refinement import LeaderMeasure
from nlhf.language.team import team
from nlhf.language.turns import split_turns
from nlhf.policies.average import NoAverage
from nlhf.policies.base import Policy
from nlhf.prox.base import Parts
from nlhf.records import COLUMNS, LEADER_COLUMNS, TEXT_COLUMNS, Table
from nlhf.runner.recorder import Recorder
from nlhf.runner.specification import Specification
from nlhf.runner.trainer import Trainer


@dataclass(frozen=True)
class TextWorld:
    """What a language model is trained in and graded by.

    Args:
        game: the game of the training prompts.
        base: the reference policy at the training prompts.
        beta: (1, 1, 1).
        measure: grades on the test prompts.
        follower_beta: of a follower, if there is one, (1, 1, 1).
    """

    game: TextGame
    base: CausalLMPolicy
    beta: Tensor
    measure: TextMeasure
    follower_beta: Tensor | None = None

    listed: ClassVar[bool] = False
    certificate: ClassVar[None] = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of metrics.csv."""
        return (*COLUMNS, *TEXT_COLUMNS, *(() if self.follower_beta is None else LEADER_COLUMNS))

    @property
    def account(self) -> dict[str, Any]:
        """The number and the cost of this process's calls of the judge."""
        return self.game.judge.account

    def trainer(self, run: Specification, recorder: Recorder, **options: Any) -> Trainer:
        """The trainer of a run at its start."""
        parts = Parts(self.game, self.base, self.beta, run.options.seeds, run.feedback)
        prox = run.prox.pair_engine(replace(parts, follower_beta=self.follower_beta))
        policy = self.base.trained(self.game.model.initial, None)
        bound = run.algorithm.bind(self.beta)
        return Trainer(bound, prox, policy, NoAverage(), self.measure, run.budget, recorder, **options)

    def log_policy(self, table: Table, policy: Policy, seed: int, key: dict[str, Any]) -> None:
        """Save the policy as a folder next to `table`, named after its iteration."""
        policy.save(table.path.parent / "policies" / str(key["iteration"]))

    def log_prompts(self, table: Table, policy: Policy, key: dict[str, Any]) -> None:
        """Record win rates and divergences of all test prompts, with five digits, as one row."""
        wins, divergences = (" ".join(f"{value:.5g}" for value in values) for values in self.measure.by_prompt(policy))
        table.add(**key, win_rates=wins, divergences=divergences)

    def save_samples(self, folder: Path, policy: Policy) -> None:
        """Write the completions of the test prompts by the policy and by the reference."""
        _write(folder, self.measure.texts(policy))

    def save(self, folder: Path) -> None:
        """Write nothing: the config names all inputs."""

    def save_policy(self, folder: Path, policy: Policy, seeds: list[int]) -> None:
        """Write the policy as other programs load it, and its completions of the test prompts with the reference's."""
        policy.save(folder)
        _write(folder, self.measure.final_texts(policy))


def _write(folder: Path, entries: list[dict[str, Any]]) -> None:
    with replacing(folder / "completions.jsonl", sync=False) as stream:
        for entry in entries:
            stream.write(json.dumps(entry, ensure_ascii=False) + "\n")


def assemble_text(run: Specification, device: torch.device, beta: Tensor) -> TextWorld:
    """Load the model and the judge.

    Raises: ConfigError.
    """
    if len(run.options.seeds) != 1:
        raise ConfigError(
            f"policy=causal_lm trains one seed at a time, not {len(run.options.seeds)}: sweep seeds=[0],[1]."
        )
    assert isinstance(run.policy, CausalLM)
    assert isinstance(run.game, Text)
    seed, judge = run.options.seeds[0], run.game.judge
    model = (processes.load if (processes := team()) else load)(run.policy, seed, str(device))
    model.sampled_tokens = 0  # a process loads equal models once
    judge.use_device(str(device))
    refine, follower_beta = run.solution.refine, run.solution.follower_strength(beta)
    training, test = split_turns(run.game, model, refine)
    trained, tested = tuple(training.values()), tuple(test.values())
    recorded = recorded_pairs(run.game, model, list(training)) if "pair-file" in run.prox.needs else ()
    graded = TextGame(judge, model, tested), CausalLMPolicy(None, None, model, tested, refine)
    measure = TextMeasure(*graded, run.game.completions, seed)
    if follower_beta is not None:
        measure = LeaderMeasure(*graded, run.game.completions, seed, float(beta), float(follower_beta))
    base = CausalLMPolicy(None, None, model, trained, refine)
    return TextWorld(TextGame(judge, model, trained, recorded), base, beta, measure, follower_beta)
