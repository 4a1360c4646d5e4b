"""`nlhf judge train|grade`: train a judge on votes over texts, or grade any judge on them."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

from nlhf.cli.parser import Parser, in_sentences
from nlhf.config import ConfigError
from nlhf.terminal import say_lines, show_progress, show_warnings, warn_lines

HELP = """\
usage: nlhf judge train|grade data=FILE judge=NAME [--config-dir DIR] KEY=VALUE ...

  train   learn a judge from votes, grade it on held-out prompts, write runs/judges/JUDGE
  grade   grade any judge of conf/judge on votes

examples:
  nlhf judge train data=votes.jsonl judge=general_preference
  nlhf judge grade data=votes.jsonl judge=panel

conf/train_judge.yaml and conf/grade_judge.yaml explain the keys."""
DESCRIPTIONS = {
    "train": "Learn a judge from votes over texts, grade it on held-out prompts, and write its folder.",
    "grade": "Grade a judge of conf/judge on votes over texts, and count its cycles.",
}


@in_sentences
def main(arguments: Sequence[str]) -> int:
    """Run the subcommand that the first argument names; exit code 130 for an interrupt."""
    name, *operands = arguments or ["--help"]
    if name in ("-h", "--help"):
        say_lines(HELP)
        return 0
    if name not in DESCRIPTIONS:
        raise ConfigError(f"{name} is not a command of nlhf judge: write nlhf judge train or nlhf judge grade.")
    parser = Parser(
        f"nlhf judge {name}",
        f"nlhf judge {name} data=votes.jsonl judge=general_preference",
        description=DESCRIPTIONS[name],
    )
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help=f"keys of conf/{name}_judge.yaml")
    parser.add_config_dir()
    options = parser.parse_intermixed_args(operands)
    show_warnings()
    try:
        command = getattr(importlib.import_module(f"nlhf.cli.judge_{name}"), name)
        command(options.overrides, options.config_dir)
    except ConfigError as error:
        raise ConfigError(str(error).replace("game.judge.", "judge.")) from error  # this judge is not part of a game
    except KeyboardInterrupt:
        show_progress()
        warn_lines("\nstopped: no judge was written.")
        return 130
    return 0
