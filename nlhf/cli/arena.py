"""`nlhf arena runs/STUDY [MODEL ...] KEY=VALUE`: every policy and checkpoint plays every other one on prompts
under a judge; repeating the command plays only what is missing. Keys are those of conf/arena.yaml."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nlhf.cli.parser import Parser
from nlhf.config import ConfigError, build, checked
from nlhf.io.files import is_moved_aside
from nlhf.io.inputs import InputFile
from nlhf.numerics.streams import LARGEST_SEED
from nlhf.runner.trust import NOTHING, Trust, add_options, untrusted_config
from nlhf.terminal import console, say, say_lines, show_progress, show_warnings, warn, warn_lines

if TYPE_CHECKING:
    from nlhf.arena.contestants import Contestant
    from nlhf.arena.ranking import Standings
    from nlhf.judges.base import TextJudge

USAGE = (
    "nlhf arena runs/STUDY [MODEL ...] judge=NAME KEY=VALUE (see conf/arena.yaml)\n"
    "    --trust MODULE        let the configs of runs name classes of this module; repeatable\n"
    "    --trust-remote-code   let models run code that comes with them"
)
SHOWN = 100  # columns of a table that goes to a file


@dataclass(frozen=True)
class Options:
    """The keys of conf/arena.yaml, which says what they mean."""

    prompts: InputFile | None
    most_prompts: int
    completions: int
    reference: bool
    block: int
    precision: float | None
    redraws: int
    seed: int
    device: str
    out: str | None

    def __post_init__(self) -> None:
        for name in ("most_prompts", "completions", "block", "redraws"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)} is too small: give 1 or more.")
        if not 0 <= self.seed <= LARGEST_SEED:
            raise ConfigError(f"seed={self.seed} is out of range: give a whole number from 0 to {LARGEST_SEED}.")
        if self.precision is not None and not 0 < self.precision < 0.5:
            raise ConfigError(f"precision={self.precision} is out of range: give a number in (0, 0.5), or null.")


def main(arguments: Sequence[str]) -> int:
    """Run the command; exit code 2, with a sentence, for what cannot be done, 130 for what was stopped."""
    if not arguments or {"-h", "--help"} & set(arguments):
        say_lines(f"{__doc__}\n\n{USAGE}")
        return 0
    show_warnings()
    from nlhf.io.files import unusable
    from nlhf.runner.lock import BusyError

    parser = Parser("nlhf arena", add_help=False)
    add_options(parser)
    options, words = parser.parse_known_args(arguments)
    places = [word for word in words if "=" not in word]
    try:
        hold(places, [word for word in words if "=" in word], Trust.of(options))
    except (ConfigError, BusyError, OSError) as problem:
        sentence = unusable(problem) if isinstance(problem, OSError) else str(problem)
        warn(sentence.replace("game.judge.", "judge."))  # which is no game's here
        return 2
    except KeyboardInterrupt:
        warn_lines("\nstopped: what has been played is kept, repeat the same command to go on.")
        return 130
    return 0


def hold(places: Sequence[str], overrides: Sequence[str], trust: Trust = NOTHING) -> Standings:
    """Hold an arena: play what is missing, write the files and the page, print the standings.

    Args:
        places: studies, runs, model folders and files of completions.
        overrides: keys of conf/arena.yaml.
        trust: what the configs of runs may ask for.

    Raises: ConfigError.
    """
    from nlhf.arena.contestants import gathered
    from nlhf.arena.games import Arena, Rules
    from nlhf.arena.page import write
    from nlhf.arena.ranking import standings
    from nlhf.io.files import writing
    from nlhf.judges.base import told
    from nlhf.language.policy import CausalLM
    from nlhf.launch.compose import composed, plain
    from nlhf.runner.fingerprint import canonical
    from nlhf.runner.lock import locked

    with composed(overrides, "arena") as config:
        given = plain(config)
    node, policy = given.pop("judge", None), build(given.pop("policy"), "policy", CausalLM)
    policy = replace(policy, trust_remote_code=policy.trust_remote_code or trust.remote_code)
    options = Options(**checked(Options, given))
    from nlhf.runner.assemble import find_device  # loads torch

    find_device(options.device)
    contestants = gathered(places, policy, options.reference, options.device, trust)
    judge = _judge(node, places, trust)
    judge.use_device(options.device)
    prompts = _prompts(options, places, contestants)
    rules = Rules(prompts, options.completions, options.seed, canonical(judge, "game.judge"))
    folder = Path(options.out or (Path(places[0]) / "arena" if len(places) == 1 and Path(places[0]).is_dir()
                                  else "runs/arena"))  # fmt: skip
    if not prompts:
        raise ConfigError(f"{' '.join(places)} has no prompt to play on: give prompts=FILE, a jsonl file.")
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        arena = Arena(folder, rules, contestants)
        if len(arena.names) < 2:
            raise ConfigError(f"{' '.join(places)} has one policy only, {arena.names[0]}: name another one.")
        new = arena.play(judge, options.block, options.precision, show_progress)
    found = standings(arena.known, arena.of_prompts, len(arena.rules.prompts), options.redraws)
    page = write(folder, found, arena)
    _show(found, f"{new} new verdicts ({told(judge.account)}); in all: {told(arena.account)}.")
    say(page)
    return found


def _judge(node: Any, places: Sequence[str], trust: Trust) -> TextJudge:
    """The judge that was chosen, or that of the runs.

    Raises: ConfigError where the runs have none, or several.
    """
    from nlhf.judges.base import TextJudge

    configs = {} if node is not None else _configs(places)
    for run, config in configs.items():
        trust.check({"game": {"judge": config["game"]["judge"]}}, run)
    nodes = [node] if node is not None else _once([config["game"]["judge"] for config in configs.values()])
    if len(nodes) != 1:
        said = "have different judges" if nodes else "have no judge"
        raise ConfigError(f"the runs of {' '.join(places)} {said}: choose one of conf/judge, judge=panel.")
    judge: TextJudge = build(nodes[0], "judge", TextJudge)
    return judge


def _prompts(options: Options, places: Sequence[str], contestants: Sequence[Contestant]) -> list[Any]:
    """The prompts of the file, or those that no run has trained on."""
    from nlhf.arena.completion_file import Writer
    from nlhf.models import prompts

    if options.prompts is not None:
        return list(prompts.read(options.prompts))[: options.most_prompts]
    games = _once([{key: value for key, value in config["game"].items() if key != "judge"}
                   for config in _configs(places).values()])  # fmt: skip
    if len(games) > 1:
        raise ConfigError(f"the runs of {' '.join(places)} have different prompts: give prompts=FILE.")
    if games:
        from nlhf.judges.panel import Panel

        known = {key: value for key, value in games[0].items() if key != "_target_"}
        panel = Panel(criteria=["length"], words=1, margin=0.0)  # stands for any judge
        from nlhf.language.game import Text

        game = Text(judge=panel, **checked(Text, known, "game", frozenset({"judge"})))
        return list(game.prompts[-game.test_prompts :])[: options.most_prompts]
    for one in contestants:
        if isinstance(one, Writer):
            return _once([prompt for prompt, _ in one.entries()])[: options.most_prompts]
    raise ConfigError(f"{' '.join(places)} names no prompts: give prompts=FILE, a jsonl file.")


def _configs(places: Sequence[str]) -> dict[Path, dict[str, Any]]:
    """The configs of all runs of language models in these places, by folder."""
    found = {}
    for place in map(Path, places):
        for run in (place, *(folder for folder in sorted(place.glob("*")) if not is_moved_aside(folder.name))):
            config = untrusted_config(run) if run.is_dir() else None
            if config and "judge" in (config.get("game") or {}):
                found[run] = config
    return found


def _once(values: Sequence[Any]) -> list[Any]:
    """Each value once, in order."""
    return [value for place, value in enumerate(values) if value not in values[:place]]


def _show(found: Standings, asked: str) -> None:
    """Print the standings."""
    from rich.table import Table

    show_progress()
    output = console(SHOWN)
    table = Table(box=None, padding=(0, 2, 0, 0))
    for title in ("", "contestant", "preferred to others", "exploitability", "equilibrium, redrawn"):
        name = title == "contestant"
        table.add_column(title, justify="left" if name else "right", overflow="fold" if name else "ellipsis")
    for place, k in enumerate(found.order, 1):
        cells = ("{:.3f} [{:.3f}, {:.3f}]".format(*column[k]) for column in
                 (found.field, found.exploitability, found.nash))  # fmt: skip
        table.add_row(str(place), found.pooled.items[k], *cells)
    output.print(table)
    output.print(found.headline, style="bold")
    for line in found.lines:
        output.print(line)
    output.print(asked, style="dim")
