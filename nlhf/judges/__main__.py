"""`python -m nlhf.judges train data=FILE judge=NAME`: learn a judge from votes; `grade data=FILE judge=NAME`: grade any
judge of conf/judge on votes. Keys are those of conf/train_judge.yaml and conf/grade_judge.yaml."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any

from nlhf.config import ConfigError, build, checked

if TYPE_CHECKING:
    import numpy as np
    from rich.console import Console

    from nlhf.judges.options import Training
    from nlhf.judges.votes import TextVotes

USAGE = (
    "python -m nlhf.judges train|grade data=FILE judge=NAME KEY=VALUE ... (see conf/train_judge.yaml, grade_judge.yaml)"
)

SHOWN = 160  # columns of a table that goes to a file
MORE, FEWER = 512, 16  # pairs in a step, without and with an encoder that is trained
UNNAMED = " of all voters"  # what it is called where it isn't told whose votes it stands for


def main(arguments: Sequence[str]) -> int:
    """Run a command; exit code 2, with a sentence, for what cannot be done, 130 for what was stopped."""
    from nlhf.records import WriteError

    commands = {"train": train, "grade": grade}
    if not arguments or {"-h", "--help"} & set(arguments):
        print(__doc__, USAGE, sep="\n\n")
        return 0
    try:
        if arguments[0] not in commands:
            raise ConfigError(f"{arguments[0]} is no command: {USAGE}.")
        commands[arguments[0]](arguments[1:])
    except (ConfigError, WriteError) as problem:
        print(str(problem).replace("game.judge.", "judge."), file=sys.stderr)  # here a judge is nobody's game
        return 2
    except KeyboardInterrupt:
        print("\nstopped: no judge was written.", file=sys.stderr)
        return 130
    return 0


def train(overrides: Sequence[str]) -> Path:
    """Learn a judge, grade it on prompts that were held out, and write its folder, which is returned.

    Raises: ConfigError.
    """
    from nlhf.judges.votes import read
    from nlhf.launch.compose import composed, plain

    with composed(overrides, "train_judge") as config:
        name = str(config.hydra.runtime.choices["judge"])
        given = plain(_without(config, "judge"))
    given |= {"judge": name, "out": given["out"] or f"runs/judges/{name}",
              "pairs": given["pairs"] or (FEWER if given["fine_tune"] is True else MORE)}  # fmt: skip
    from nlhf.judges.options import Training
    from nlhf.judges.training import enough

    options = Training(**checked(Training, given))
    votes = _chosen(read(options.data), options.source)
    enough(votes, options)
    card = {"options": asdict(options), "data": _digest(votes)}
    folder = Path(options.out)
    if _trained_before(folder, card):
        print(f"trained before: {folder}")
    else:
        _try(folder)
        _learn(options, votes, folder, card)
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


def _try(folder: Path) -> None:
    """Write something into a folder that will be needed in some minutes.

    Raises: WriteError.
    """
    from nlhf.records import writing

    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass


def _digest(votes: TextVotes) -> str:
    return hashlib.sha256(repr((votes.answers, votes.pairs.tolist(), votes.votes.tolist(),
                                votes.sources.tolist())).encode()).hexdigest()  # fmt: skip


def _trained_before(folder: Path, card: dict[str, Any]) -> bool:
    """Is this very judge there?

    Raises: ConfigError where another one is.
    """
    from nlhf.judges.learned import CARD
    from nlhf.records import read_json

    known = read_json(folder / CARD)
    if known is None:
        return False
    spared = {"batch": 0, "out": "", "data": ""}
    if known.get("data") != card["data"] or {**known["options"], **spared} != {**card["options"], **spared}:
        raise ConfigError(f"out={folder} holds a judge of other votes or options: give another folder, or remove it.")
    return True


def _learn(options: Training, votes: TextVotes, folder: Path, card: dict[str, Any]) -> None:
    import numpy as np

    from nlhf.analysis.figures import base
    from nlhf.analysis.figures.calibration import reliability
    from nlhf.bradley_terry import sigmoid
    from nlhf.folder import environment
    from nlhf.judges import grades, learned, training
    from nlhf.judges.encoder import Encoder
    from nlhf.judges.reader import Reader

    encoder = Encoder(options.encoder, options.max_tokens, options.batch, "encoder")
    voters = {name: place for place, name in enumerate(np.unique(votes.sources).tolist(), 1)}
    voters = voters if len(voters) > 1 else {}
    with _progress() as tick:
        reader = Reader.of(options, votes, encoder, tick(f"reading {len(votes.answers)} completions"))
        kinds = dict.fromkeys((options.judge, "bradley_terry"))
        logits: dict[str, np.ndarray] = {}
        for kind in kinds:
            mine = Reader(replace(options, judge=kind), votes, encoder, reader.table)
            own, shared = training.grade(mine, voters, tick(f"{kind}: fold of {options.folds}", count=False))
            logits |= {kind: own} | ({f"{kind}{UNNAMED}": shared} if voters else {})
        judge = training.fit(reader, np.arange(len(votes)), voters)
    chances = {method: sigmoid(values) for method, values in logits.items()}
    rows = grades.table(chances, votes)
    chance = chances[options.judge]
    curves = {row["source"]: grades.calibration(*_of(chance, votes, row["source"]))[1] for row in rows}
    base.save(reliability(curves), folder, "reliability")
    _write_predictions(folder / learned.PREDICTIONS, votes, logits)
    learned.save(folder, judge, {**card, "grades": rows, "reliability": curves, **environment()})


def _of(chance: np.ndarray, votes: TextVotes, source: str) -> tuple[np.ndarray, TextVotes]:
    chosen = (votes.sources == source) | (source == "all")
    return chance[chosen], votes.at(chosen)


def _write_predictions(path: Path, votes: TextVotes, logits: dict[str, np.ndarray]) -> None:
    """A row for each pair: where it is from, its votes, and the logits of judges that knew nothing of its prompt."""
    from nlhf.records import Table

    names = {kind: f"logit_{kind}" for kind in logits}
    table = Table(path, ["source", "prompt", "a", "b", "votes_a", "votes_b", "ties", *names.values()])
    for place, (a, b) in enumerate(votes.pairs.tolist()):
        first, second, ties = votes.votes[place].tolist()
        table.add(source=votes.sources[place], prompt=votes.answers[a][0], a=votes.answers[a][1], b=votes.answers[b][1],
                  votes_a=first, votes_b=second, ties=ties,
                  **{name: float(logits[kind][place]) for kind, name in names.items()})  # fmt: skip
    table.flush()


def grade(overrides: Sequence[str]) -> None:
    """Grade a judge on votes, and say how often it prefers in cycles.

    Raises: ConfigError.
    """
    import numpy as np

    from nlhf.judges import grades
    from nlhf.judges.base import TextJudge, told
    from nlhf.judges.learned import learned_from
    from nlhf.judges.votes import read
    from nlhf.launch.compose import composed, plain

    with composed(overrides, "grade_judge") as config:
        name, given = str(config.hydra.runtime.choices["judge"]), plain(config)
    judge = build(given["judge"], "judge")
    assert isinstance(judge, TextJudge)
    votes = _chosen(read(given["data"]), given["source"])
    rows = grades.table({name: judge.preference(votes.texts())}, votes)
    console = _console()
    if seen := learned_from(getattr(judge, "model", None), votes):
        console.print(f"caution: {seen} of {len(np.unique(votes.prompts))} prompts are among those that the judge was "
                      "learned from, on which it looks too good: judge.json in its folder has the grades on prompts "
                      "that were held out")  # fmt: skip
    console.print(_table(rows))
    for each, one in {name: judge, **getattr(judge, "judges", {})}.items():
        found = grades.cycles(one, votes)
        console.print(f"{each}: {found['cyclic_triples']} of {found['triples']} triples of completions are cycles; "
                      f"{found['prompts_without_winner']} of {found['prompts']} prompts have no completion that is "
                      "preferred to all others")  # fmt: skip
    console.print(f"asked: {told(judge.account)}")


def _show(folder: Path) -> None:
    """The grades of a learned judge."""
    from nlhf.judges.learned import CARD
    from nlhf.records import read_json

    card: Any = read_json(folder / CARD)
    name = card["options"]["judge"]
    console = _console()
    console.print(_table(card["grades"]))
    console.print(f"on prompts that were held out; penalty {card['penalty']:g}, {card['epochs']} epochs, temperature "
                  f"{card['temperatures'][0]:.2f}; 95% intervals over prompts")  # fmt: skip
    sources = [row["source"] for row in card["grades"] if row["source"] != "all"]
    console.print(f"judge {folder}   (game=text judge@game.judge={name} game.judge.model={folder})", soft_wrap=True)
    if len(sources) > 1:
        console.print(f"in a run it judges as the row {name}{UNNAMED} says; game.judge.voters={sources[0]}, or another "
                      "source, makes it stand for the voters of that one", soft_wrap=True)  # fmt: skip


def _console() -> Console:
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else SHOWN, highlight=False, markup=False)


def _table(rows: Sequence[dict[str, Any]]) -> Any:
    """A block of lines for each source: accuracy and log-loss of judges, baselines, and voters among themselves."""
    from rich.table import Table

    from nlhf.analysis.bootstrap import Estimate
    from nlhf.judges.grades import VOTER

    table = Table(box=None, padding=(0, 2, 0, 0))
    for title in ("source (pairs/prompts)", "method", "accuracy", "over longer wins", "log-loss", "calibration error"):
        table.add_column(title, no_wrap=title == "method")
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
    shown = sys.stderr.isatty()

    def counter(title: str, count: bool = True) -> Callable[[int], None]:
        done = 0

        def tick(number: int) -> None:
            nonlocal done
            done = done + number if count else number
            if shown:
                print(f"\r\x1b[K{title} ({done})", end="", file=sys.stderr, flush=True)

        return tick

    yield counter
    if shown:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
