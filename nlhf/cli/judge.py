"""`nlhf judge train data=FILE judge=NAME`: learn a judge from votes; `grade data=FILE judge=NAME`: grade any
judge of conf/judge on votes. Keys are those of conf/train_judge.yaml and conf/grade_judge.yaml."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nlhf.config import ConfigError, build, checked
from nlhf.messages import override
from nlhf.terminal import console, say_lines, show_progress, show_warnings, warn, warn_lines

if TYPE_CHECKING:
    from nlhf.judges.text_votes import TextVotes

USAGE = "nlhf judge train|grade data=FILE judge=NAME KEY=VALUE ... (see conf/train_judge.yaml, grade_judge.yaml)"

SHOWN = 160  # columns of a table that goes to a file
MORE, FEWER = 512, 16  # pairs in a step, without and with an encoder that is trained


def main(arguments: Sequence[str]) -> int:
    """Run a command; exit code 2, with a sentence, for what cannot be done, 130 for what was stopped."""
    from nlhf.io.files import unusable

    show_warnings()
    commands = {"train": train, "grade": grade}
    if not arguments or {"-h", "--help"} & set(arguments):
        say_lines(f"{__doc__}\n\n{USAGE}")
        return 0
    try:
        if arguments[0] not in commands:
            raise ConfigError(f"{arguments[0]} is no command: {USAGE}.")
        commands[arguments[0]](arguments[1:])
    except (ConfigError, OSError) as problem:
        words = unusable(problem) if isinstance(problem, OSError) else str(problem)
        warn(words.replace("game.judge.", "judge."))  # here a judge is nobody's game
        return 2
    except KeyboardInterrupt:
        warn_lines("\nstopped: no judge was written.")
        return 130
    return 0


def train(overrides: Sequence[str]) -> Path:
    """Learn a judge, grade it on prompts that were held out, and write its folder, which is returned.

    Raises: ConfigError.
    """
    from nlhf.judges.text_votes import read
    from nlhf.launch.compose import composed, plain

    with composed(overrides, "train_judge") as config:
        name = str(config.hydra.runtime.choices["judge"])
        given = plain(_without(config, "judge"))
    given |= {"judge": name, "out": given["out"] or f"runs/judges/{name}",
              "pairs": given["pairs"] or (FEWER if given["fine_tune"] is True else MORE)}  # fmt: skip
    from nlhf.judges.options import Training
    from nlhf.judges.train import enough
    from nlhf.runner.assemble import find_device

    options = Training(**checked(Training, given))
    find_device(options.device)
    votes = _chosen(read(options.data), options.source)
    enough(votes, options)
    from nlhf.judges.folder import learn

    with _progress() as counter:
        learn(options, votes, counter)
    folder = Path(options.out)
    _show(folder)
    return folder


def _without(config: Any, key: str) -> Any:
    from omegaconf import open_dict

    with open_dict(config):
        del config[key]
    return config


def _chosen(votes: TextVotes, sources: Sequence[str] | None) -> TextVotes:
    import numpy as np

    known = np.unique(votes.sources).tolist()
    for source in sources or ():
        if source not in known:
            raise ConfigError(f"source={source} is not in the data: it has {', '.join(known)}.")
    return votes.at(np.isin(votes.sources, sources)) if sources else votes


def grade(overrides: Sequence[str]) -> None:
    """Grade a judge on votes, and say how often it prefers in cycles.

    Raises: ConfigError.
    """
    import numpy as np

    from nlhf.judges import grades
    from nlhf.judges.base import TextJudge, told
    from nlhf.judges.learned import learned_from
    from nlhf.judges.text_votes import read
    from nlhf.launch.compose import composed, plain

    with composed(overrides, "grade_judge") as config:
        name, given = str(config.hydra.runtime.choices["judge"]), plain(config)
    judge: TextJudge = build(given["judge"], "judge", TextJudge)
    from nlhf.runner.assemble import find_device

    judge.use_device(str(find_device(str(given["device"]))))
    votes = _chosen(read(given["data"]), given["source"])
    rows = grades.table({name: judge.preference(votes.texts())}, votes)
    output = console(SHOWN)
    if seen := learned_from(str(getattr(judge, "model", "")), votes):
        output.print(f"caution: {seen} of {len(np.unique(votes.prompts))} prompts are among those that the judge was "
                      "learned from, on which it looks too good: judge.json in its folder has the grades on prompts "
                      "that were held out")  # fmt: skip
    output.print(_table(rows))
    for each, one in {name: judge, **getattr(judge, "judges", {})}.items():
        found = grades.cycles(one, votes)
        output.print(f"{each}: {found['cyclic_triples']} of {found['triples']} triples of completions are cycles; "
                      f"{found['prompts_without_winner']} of {found['prompts']} prompts have no completion that is "
                      "preferred to all others")  # fmt: skip
    output.print(f"asked: {told(judge.account)}")


def _show(folder: Path) -> None:
    """Print the grades of a learned judge, and draw its reliability diagram."""
    from nlhf.analysis.figures.calibration import reliability
    from nlhf.analysis.figures.fonts import warn_of_escapes
    from nlhf.analysis.figures.output import save
    from nlhf.io.json_files import read_json
    from nlhf.judges.folder import UNNAMED
    from nlhf.judges.learned import CARD

    card: Any = read_json(folder / CARD)
    save(reliability(card["reliability"]), folder, "reliability")
    warn_of_escapes()
    name = card["options"]["judge"]
    output = console(SHOWN)
    output.print(_table(card["grades"]))
    output.print(f"on prompts that were held out; penalty {card['penalty']:g}, {card['epochs']} epochs, temperature "
                  f"{card['temperatures'][0]:.2f}; 95% intervals over prompts")  # fmt: skip
    sources = [row["source"] for row in card["grades"] if row["source"] != "all"]
    chosen = f"game=text judge@game.judge={name} {override('game.judge.model', folder)}"
    output.print(f"judge {folder}   ({chosen})", soft_wrap=True)
    if len(sources) > 1:
        output.print(f"in a run it judges as the row {name}{UNNAMED} says; game.judge.voters={sources[0]}, or another "
                      "source, makes it stand for the voters of that one", soft_wrap=True)  # fmt: skip


def _table(rows: Sequence[dict[str, Any]]) -> Any:
    """A block of lines for each source: accuracy and log-loss of judges, baselines, and voters among themselves."""
    from rich.table import Table

    from nlhf.judges.grades import VOTER
    from nlhf.stats.bootstrap import Estimate

    table = Table(box=None, padding=(0, 2, 0, 0))
    for title in ("source (pairs/prompts)", "method", "accuracy", "over longer wins", "log-loss", "calibration error"):
        table.add_column(
            title, no_wrap=title == "method", overflow="fold" if title.startswith("source") else "ellipsis"
        )
    for row in rows:
        head = f"{row['source']} ({row['pairs']}/{row['prompts']})"
        for method, loss in row["log_loss"].items():
            cells = [str(Estimate(**known)) if (known := row[column].get(method)) else ""
                     for column in ("accuracy", "over_longer")]  # fmt: skip
            error = row["calibration_error"].get(method)
            table.add_row(head, method, *cells, str(Estimate(**loss)), "" if error is None else f"{error:.3f}")
            head = ""
        table.add_row("", VOTER, str(Estimate(**row["accuracy"][VOTER])))
        table.add_row("", "two voters agree", str(Estimate(**row["two_voters_agree"])))
    return table


@contextmanager
def _progress() -> Iterator[Callable[..., Callable[[int], None]]]:
    """Counters on the standard error, where it is a terminal."""

    def counter(title: str, count: bool = True) -> Callable[[int], None]:
        done = 0

        def tick(number: int) -> None:
            nonlocal done
            done = done + number if count else number
            show_progress(f"{title} ({done})")

        return tick

    yield counter
    show_progress()
