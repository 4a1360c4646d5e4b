"""`nlhf judge grade`: how often a judge agrees with voters, and how often it prefers in cycles."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nlhf.cli.grade_table import WIDTH, grade_table, notes
from nlhf.cli.judge_votes import read_votes
from nlhf.config import build
from nlhf.judges import grades
from nlhf.judges.base import TextJudge, account_text
from nlhf.judges.cycles import cycles
from nlhf.judges.folder import prompts_trained_on
from nlhf.launch.compose import composed, plain
from nlhf.runner.assemble import find_device
from nlhf.terminal import console


def grade(overrides: Sequence[str], config_dir: Path | None = None) -> None:
    """Grade a judge on votes and print the table.

    Args:
        overrides: keys of conf/grade_judge.yaml.
        config_dir: a folder with further choices of groups, such as judge/mine.yaml.

    Raises: ConfigError.
    """
    with composed(overrides, "grade_judge", config_dir) as config:
        name, options = str(config.hydra.runtime.choices["judge"]), plain(config)
    judge: TextJudge = build(options["judge"], "judge", TextJudge)
    judge.use_device(str(find_device(str(options["device"]))))
    votes = read_votes(options)
    rows = grades.table({name: judge.verdicts(votes.texts())}, votes)
    output = console(WIDTH)
    if trained_on := prompts_trained_on(str(getattr(judge, "model", "")), votes):
        output.print(
            f"caution: the judge was trained on {trained_on} of {len(np.unique(votes.prompts))} prompts, so these "
            "grades are too good: judge.json in its folder has the grades on held-out prompts"
        )
    output.print(grade_table(rows))
    for note in notes(rows):
        output.print(note)
    for member_name, member in {name: judge, **getattr(judge, "judges", {})}.items():
        counts = cycles(member, votes)
        output.print(
            f"{member_name}: {counts['cyclic_triples']} of {counts['triples']} triples of completions are cycles; "
            f"{counts['prompts_without_winner']} of {counts['prompts']} prompts have no completion that is "
            "preferred to all others"
        )
    output.print(f"asked: {account_text(judge.account)}")
