"""`nlhf judge train`: learn a judge from votes over texts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omegaconf import open_dict

from nlhf.cli.grade_table import WIDTH, grade_table, notes
from nlhf.cli.judge_votes import read_votes
from nlhf.config import checked
from nlhf.judges.options import Training
from nlhf.launch.compose import composed, plain
from nlhf.messages import override
from nlhf.terminal import console, show_progress

PAIRS, PAIRS_FINE_TUNING = 512, 16  # in a step


def train(overrides: Sequence[str], config_dir: Path | None = None) -> Path:
    """Learn a judge, grade it on held-out prompts, and write its folder.

    Args:
        overrides: keys of conf/train_judge.yaml.
        config_dir: a folder with further choices of groups.

    Returns: the judge's folder.

    Raises: ConfigError.
    """
    with composed(overrides, "train_judge", config_dir) as config:
        name = str(config.hydra.runtime.choices["judge"])
        with open_dict(config):
            del config["judge"]  # training uses none of its keys
        keys = plain(config)
    pairs = PAIRS_FINE_TUNING if keys["fine_tune"] is True else PAIRS
    keys |= {"judge": name, "out": keys["out"] or f"runs/judges/{name}", "pairs": keys["pairs"] or pairs}
    options = Training(**checked(Training, keys))
    from nlhf.judges.folds import check_prompts
    from nlhf.runner.assemble import find_device

    find_device(options.device)
    votes = read_votes(keys)
    check_prompts(votes, options)
    from nlhf.judges.pipeline import train_judge

    with _progress() as counter:
        train_judge(options, votes, counter)
    folder = Path(options.out)
    _show(folder)
    return folder


def _show(folder: Path) -> None:
    """Print the grades of a learned judge, and draw its reliability diagram."""
    from nlhf.analysis.figures.calibration import reliability
    from nlhf.analysis.figures.fonts import warn_of_escapes
    from nlhf.analysis.figures.output import save
    from nlhf.io.json_files import read_json
    from nlhf.judges.folder import CARD
    from nlhf.judges.pipeline import ALL_VOTERS

    card: Any = read_json(folder / CARD)
    save(reliability(card["reliability"]), folder, "reliability")
    warn_of_escapes()
    name = card["options"]["judge"]
    output = console(WIDTH)
    output.print(grade_table(card["grades"]))
    output.print(
        f"on held-out prompts; penalty {card['penalty']:g}, {card['epochs']} epochs, temperature "
        f"{card['temperatures'][0]:.2f}"
    )
    for note in notes(card["grades"]):
        output.print(note)
    sources = [row["source"] for row in card["grades"] if row["source"] != "all"]
    choice = f"game=text judge@game.judge={name} {override('game.judge.model', folder)}"
    output.print(f"judge {folder}   ({choice})", soft_wrap=True)
    if len(sources) > 1:
        output.print(
            f"in a run it judges as the row {name}{ALL_VOTERS} says; game.judge.voters={sources[0]}, or another "
            "source, makes it stand for the voters of that one",
            soft_wrap=True,
        )


@contextmanager
def _progress() -> Iterator[Callable[..., Callable[[int], None]]]:
    """Counters on the standard error, if it is a terminal."""

    def counter(title: str, count: bool = True) -> Callable[[int], None]:
        total = 0

        def tick(number: int) -> None:
            nonlocal total
            total = total + number if count else number
            show_progress(f"{title} ({total})")

        return tick

    yield counter
    show_progress()
