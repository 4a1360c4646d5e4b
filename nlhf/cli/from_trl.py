"""`nlhf from-trl FILE`: the command of nlhf that replaces a training script of TRL."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nlhf.cli.parser import Parser, in_sentences
from nlhf.messages import command, override, quoted
from nlhf.terminal import say

DESCRIPTION = """\
Translate the settings of TRL's Nash-MD, XPO or online DPO trainer into a command of nlhf. TRL's defaults are translated
too. Lines that start with # name the keys whose meaning differs, and those that nothing replaces."""
EXAMPLE = "nlhf from-trl nash_md --config config.yaml --beta 0.1 --mixture_coef 0.25"
FIXED = ("game=text", "policy=causal_lm", "prox=gradient")


@in_sentences
def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    parser = Parser("nlhf from-trl", EXAMPLE, description=DESCRIPTION, usage="nlhf from-trl [TRAINER] [FILE] KEYS ...")
    parser.add_argument(
        "words",
        nargs="*",
        metavar="TRAINER, FILE, KEYS",
        help="nash_md, xpo or online_dpo, or the script's name; a .yaml or .json file; --key value as for the script",
    )
    if not arguments or {"-h", "--help"} & set(arguments):
        parser.parse_args(["--help"])
    for line in _lines(arguments):
        say(line)
    return 0


def _lines(arguments: Sequence[str]) -> list[str]:
    """The command, and the comments below it."""
    from nlhf.launch.trl import Translator
    from nlhf.launch.trl_settings import read_settings, trainer_of

    operands, settings = read_settings(arguments)
    trainer, is_certain = trainer_of(operands, settings)
    name, split = settings.get("dataset_name"), settings.get("dataset_train_split", "train")
    result = Translator(trainer, settings, None if name is None else _prompts(str(name), str(split))).translate()
    parts = [*FIXED, *(_override(key, value) for key, value in result.overrides.items())]
    lines = [f"{command('nlhf', 'run')} \\"]
    lines += [f"    {part} \\" for part in parts[:-1]] + [f"    {parts[-1]}"]
    if not is_certain:
        lines.append("# taken for settings of online DPO: give nash_md or xpo as the first word for another trainer")
    lines += [f"# {key} differs: {note}" for key, note in result.notes.items()]
    return lines + [f"# {setting} has no counterpart: {reason}" for setting, reason in result.missing.items()]


def _prompts(name: str, split: str) -> int | None:
    """The number of prompts of a file or of a saved dataset; None for a name on the hub and for other folders."""
    from nlhf.io.inputs import InputFile
    from nlhf.io.saved_datasets import is_saved
    from nlhf.models import prompt_files
    from nlhf.models.content import InputDataset

    path = Path(name).expanduser()
    if path.is_file():
        return len(prompt_files.read(InputFile(name, "dataset_name")))
    return len(prompt_files.of_dataset(InputDataset(name, "dataset_name"), split)) if is_saved(path) else None


def _override(key: str, value: Any) -> str:
    """An override of Hydra, quoted for the shell."""
    if value is None or isinstance(value, bool | int | float):
        return (
            f"{key}={'null' if value is None else str(value).lower() if isinstance(value, bool) else f'{value:.12g}'}"
        )
    if isinstance(value, list):
        listed = ",".join(quoted(entry) if isinstance(entry, str) else str(entry) for entry in value)
        return command(f"{key}=[{listed}]")
    return override(key, str(value))
