"""The defaults of language models on the bundled one, where it is installed: a step stays near the reference."""

from __future__ import annotations

import math

import pytest

pytest.importorskip("transformers")
pytest.importorskip("peft")

from nlhf.config import ConfigError
from nlhf.runner.assemble import assemble
from nlhf.runner.specification import specify
from tests.composing import configured
from tests.test_contract import Recorder

pytestmark = pytest.mark.usefixtures("one_thread")

SHORT = ["policy.max_new_tokens=4", "game.test_prompts=4", "prox.contexts=2", "budget.iterations=1"]


def test_a_step_with_the_readmes_command_does_not_leave_the_reference():
    """At the learning rate of tables, KL to the reference is above 3 after five steps (docs/defaults.md)."""
    words = ["game=text", "policy=causal_lm", "prox=gradient", "algorithm=nash_prox_fast", "beta=0.05"]
    run = specify(configured(*words, *SHORT))
    try:
        world = assemble(run)
    except ConfigError as problem:
        pytest.skip(str(problem))
    recorder = Recorder()
    trainer = world.trainer(run, recorder)
    recorder.row = lambda seed, values, policy: recorder.rows.append((seed, values, policy))
    trainer.run()
    (_, first, _), (_, last, _) = recorder.rows
    assert (first["iteration"], last["iteration"]) == (0, 1)
    assert first["test_kl_to_reference"] == 0
    assert math.isfinite(last["test_kl_to_reference"])
    assert 0 < abs(last["test_kl_to_reference"]) < 1
