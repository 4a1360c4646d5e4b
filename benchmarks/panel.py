"""What the criteria of the judge `panel` say about completions of the bundled model (extra lm).

    python -m benchmarks.panel

Prints the standard deviation of each criterion between completions of a prompt, the units of `scalar_panel`, and how
many triples of completions of the same prompt are in a strict cycle, for two sets of criteria. There are four
completions of 24 tokens for each of 64 prompts.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

from benchmarks.iteration import assembled
from benchmarks.language_study_results import cyclic_triples
from nlhf.config import build
from nlhf.io.yaml_files import read_yaml
from nlhf.judges.panel import SPREADS, Panel
from nlhf.runner.chosen import CONF

PROMPTS, COMPLETIONS = 64, 4
SETS = (("relevance", "sentiment", "diversity", "length"), ("sentiment", "diversity", "length"))


def main() -> None:
    """Draw completions and print both."""
    overrides = [f"game.test_prompts={PROMPTS}", f"game.completions={COMPLETIONS}", "algorithm=online_ipo"]
    with assembled(["experiment=language_study", "seeds=[0]", *overrides]) as (trainer, _):
        measure: Any = trainer.measure
        game, numbers = measure.game, measure.reference[0].tolist()
        answers = {
            turn.text: [game.text(place, number) for number in numbers[place]] for place, turn in enumerate(game.turns)
        }
    names = [name for name in SPREADS if name in SETS[0]]
    criteria = panel(names)
    scores = np.stack([criteria.scores([(prompt, text) for text in texts]) for prompt, texts in answers.items()])
    for name, spread in zip(names, np.sqrt(scores.var(1, ddof=1).mean(0)), strict=True):
        print(f"{name}: standard deviation {spread:.2g} (SPREADS has {SPREADS[name]:g})")
    triples = PROMPTS * len(list(combinations(range(COMPLETIONS), 3)))
    for chosen in SETS:
        cyclic = cyclic_triples(panel(chosen), answers)
        print(f"panel of {', '.join(chosen)}: {cyclic} of {triples} triples are cyclic")


def panel(criteria: Sequence[str]) -> Panel:
    """The judge `panel` with these criteria."""
    values = read_yaml(CONF / "judge" / "panel.yaml", dict) | {"criteria": list(criteria)}
    judge: Panel = build(values, "judge", Panel)
    return judge


if __name__ == "__main__":
    main()
