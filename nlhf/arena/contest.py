"""A contest: policies play each other under a judge; what was played before is not played again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nlhf.analysis.arena_ranking import write_ranking
from nlhf.arena.best_of import BestOf, kl_bound
from nlhf.arena.completion_file import CompletionFile
from nlhf.arena.contestants import Contestant, gathered
from nlhf.arena.games import Arena
from nlhf.arena.meetings import Meetings
from nlhf.arena.model import Model
from nlhf.arena.options import Options
from nlhf.arena.page import ranking_of, write
from nlhf.arena.ranking import Ranking, rank
from nlhf.arena.rules import Rules
from nlhf.config import ConfigError, build, checked
from nlhf.io.files import is_moved_aside, writing
from nlhf.judges.base import TextJudge, account_text
from nlhf.judges.panel import Panel
from nlhf.language.game import Text
from nlhf.language.policy import CausalLM
from nlhf.launch.compose import composed, plain
from nlhf.models import prompt_files
from nlhf.runner.assemble import find_device
from nlhf.runner.fingerprint import canonical
from nlhf.runner.lock import locked
from nlhf.runner.trust import NOTHING, Trust, untrusted_config


@dataclass(frozen=True)
class Contest:
    """The results of a contest.

    Args:
        ranking: ratings, exploitabilities and equilibrium of the contestants.
        page: the file of the report.
        verdicts: a sentence with the number of verdicts and their cost.
    """

    ranking: Ranking
    page: str
    verdicts: str


def hold(
    paths: Sequence[str],
    overrides: Sequence[str] = (),
    trust: Trust = NOTHING,
    config_dir: str | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Contest:
    """Play the missing games, rank the contestants, and write the files and the page.

    Args:
        paths: studies, runs, model folders and files of completions.
        overrides: keys of conf/arena.yaml.
        trust: what the configs of runs may name.
        config_dir: a folder with further choices of groups, such as judge/mine.yaml.
        progress: called with a line of progress.

    Raises: ConfigError; BusyError if another process plays in the same folder.
    """
    options, policy, judge_config = _composed(overrides, config_dir)
    policy = replace(policy, trust_remote_code=policy.trust_remote_code or trust.remote_code)
    contestants = gathered(paths, policy, options.reference, options.device, trust)
    judge = _judge(judge_config, paths, trust)
    judge.use_device(options.device)
    decides = canonical(judge, "game.judge")
    contestants = [
        player
        for contestant in contestants
        for player in (contestant, *_bests(contestant, options.best_of, judge, decides))
    ]
    prompts = _prompts(options, paths, contestants)
    if not prompts:
        raise ConfigError(f"{' '.join(paths)} has no prompt to play on: give prompts=FILE, a jsonl file.")
    rules = Rules(prompts, options.completions, options.seed, decides)
    folder = _folder(options, paths)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        arena = Arena(folder, rules, contestants)
        if len(arena.names) < 2:
            raise ConfigError(f"{' '.join(paths)} has one policy only, {arena.names[0]}: name another one.")
        meetings = Meetings(options.next, options.precision, options.target)
        new = arena.play(judge, options.block, meetings, progress)
    ranking = rank(arena.judged, arena.wins_by_prompt, len(arena.rules.prompts), options.redraws)
    write_ranking(folder, ranking_of(ranking, arena))
    verdicts = f"{new} new verdicts ({account_text(judge.account)}); in all: {account_text(arena.account)}."
    bounds = "".join(f" The KL divergence of the best of {n} is at most {kl_bound(n):.2f}." for n in options.best_of)
    return Contest(ranking, str(write(folder, ranking, arena)), verdicts + bounds)


def _bests(contestant: Contestant, counts: Sequence[int], judge: TextJudge, decides: Any) -> list[Contestant]:
    """The best of several completions of a model, next to it, so that it is loaded once; none of other contestants."""
    if not isinstance(contestant, Model):
        return []
    return [BestOf(f"{contestant.name}-best-of-{count}", contestant, count, judge, decides) for count in counts]


def _composed(overrides: Sequence[str], config_dir: str | None) -> tuple[Options, CausalLM, Any]:
    """The options, how models sample, and the config of the judge, or None."""
    with composed(overrides, "arena", config_dir) as config:
        keys = plain(config)
    judge_config, policy = keys.pop("judge", None), build(keys.pop("policy"), "policy", CausalLM)
    options = Options(**checked(Options, keys))
    find_device(options.device)
    return options, policy, judge_config


def _folder(options: Options, paths: Sequence[str]) -> Path:
    """The folder of the files: `out`, or `arena` in the only study, or runs/arena."""
    if options.out:
        return Path(options.out)
    return Path(paths[0]) / "arena" if len(paths) == 1 and Path(paths[0]).is_dir() else Path("runs/arena")


def _judge(node: Any, paths: Sequence[str], trust: Trust) -> TextJudge:
    """The judge that the overrides chose, or else the judge of the runs.

    Raises: ConfigError if the runs have no judge, or several.
    """
    configs = {} if node is not None else _configs(paths)
    for run, config in configs.items():
        trust.check({"game": {"judge": config["game"]["judge"]}}, run)
    nodes = [node] if node is not None else _distinct([config["game"]["judge"] for config in configs.values()])
    if len(nodes) != 1:
        problem = "have different judges" if nodes else "have no judge"
        raise ConfigError(f"the runs of {' '.join(paths)} {problem}: choose one of conf/judge, judge=panel.")
    judge: TextJudge = build(nodes[0], "judge", TextJudge)
    return judge


def _prompts(options: Options, paths: Sequence[str], contestants: Sequence[Contestant]) -> list[Any]:
    """The prompts of the file, or else the test prompts of the runs, or those of a file of completions."""
    if options.prompts is not None:
        return list(prompt_files.read(options.prompts))[: options.most_prompts]
    configs = [config["game"] for config in _configs(paths).values()]
    if any("turns" in config for config in configs):
        raise ConfigError(
            f"the runs of {' '.join(paths)} are of game=dialogue, and an arena compares single answers: give prompts="
            "FILE to compare first answers."
        )
    games = _distinct([{key: value for key, value in config.items() if key != "judge"} for config in configs])
    if len(games) > 1:
        raise ConfigError(f"the runs of {' '.join(paths)} have different prompts: give prompts=FILE.")
    if games:
        keys = {key: value for key, value in games[0].items() if key != "_target_"}
        any_judge = Panel(criteria=["length"], words=1, margin=0.0)  # the prompts do not depend on it
        game = Text(judge=any_judge, **checked(Text, keys, "game", frozenset({"judge"})))
        return game.test.prompts[: options.most_prompts]
    for contestant in contestants:
        if isinstance(contestant, CompletionFile):
            return _distinct([prompt for prompt, _ in contestant.entries()])[: options.most_prompts]
    raise ConfigError(f"{' '.join(paths)} names no prompts: give prompts=FILE, a jsonl file.")


def _configs(paths: Sequence[str]) -> dict[Path, dict[str, Any]]:
    """The configs of all runs of language models in these studies and runs, by folder."""
    configs = {}
    for path in map(Path, paths):
        for run in (path, *(folder for folder in sorted(path.glob("*")) if not is_moved_aside(folder.name))):
            config = untrusted_config(run) if run.is_dir() else None
            if config and "judge" in (config.get("game") or {}):
                configs[run] = config
    return configs


def _distinct(values: Sequence[Any]) -> list[Any]:
    """The values without repetitions, in order; they need not be hashable."""
    return [value for index, value in enumerate(values) if value not in values[:index]]
