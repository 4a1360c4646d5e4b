"""Who has beaten whom: completions and verdicts of an arena, kept on the disk and played only once.

    completions.jsonl   contestant, prompt, sample, text
    votes.csv           a verdict in each row: prompt, item_a, item_b, wins_a, wins_b, sample. wins_a is the judge's
                        P(a > b), so that the file is itself a game: game=votes game.context=[prompt]
    prompts.jsonl       the prompts, by number
    arena.json          who takes part, under which rules, and what the judge was asked so far

Completions are random but fixed: those of a prompt depend on the contestant, the seed and the number of the prompt.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nlhf.arena.files import stored_card, stored_texts, stored_verdicts
from nlhf.config import ConfigError
from nlhf.io.files import replacing, writing
from nlhf.io.json_files import write_json
from nlhf.io.links import open_log
from nlhf.judges.base import add_accounts
from nlhf.models.prompts import prompt_text
from nlhf.records import Table

if TYPE_CHECKING:
    from nlhf.judges.base import TextJudge

log = logging.getLogger("nlhf")
COLUMNS = ("prompt", "item_a", "item_b", "wins_a", "wins_b", "sample")
LEAST = 20  # prompts on which a pair has played before it may stop
Pair = tuple[str, str]


@dataclass(frozen=True)
class Rules:
    """What all games of an arena share.

    Args:
        prompts: texts or lists of messages.
        completions: of every contestant for each prompt.
        seed: of the draws.
        judge: what decides its answers.
    """

    prompts: Sequence[Any]
    completions: int
    seed: int
    judge: Any

    @property
    def card(self) -> dict[str, Any]:
        """For arena.json."""
        card = {"prompts": list(self.prompts), "completions": self.completions, "seed": self.seed, "judge": self.judge}
        found: dict[str, Any] = json.loads(json.dumps(card))
        return found


class Arena:
    """The games of one folder.

    Args:
        folder: where they are kept.
        rules: shared by all of them; of the prompts, the folder's may be the first ones, or these the first of those.
        contestants: who plays now, under the names that they have here; who played before stays, and plays with the
            completions that are kept.

    Raises: ConfigError where the folder holds an arena of other rules, or another policy under the same name.
    """

    def __init__(self, folder: Path, rules: Rules, contestants: Sequence[Any]) -> None:
        self.folder, self.rules = folder, rules
        self.votes = Table(folder / "votes.csv", COLUMNS)
        known = stored_card(folder)
        if known is None and self.votes.path.exists():
            raise ConfigError(
                f"out={folder} has verdicts, and no arena.json that tells by which judge: give another folder."
            )
        known = known or {"rules": rules.card, "contestants": {}}
        before, now = known["rules"]["prompts"], rules.card["prompts"]
        if before[: len(now)] == now[: len(before)]:  # the same ones, or some more at the end
            self.rules = rules = replace(rules, prompts=max(before, now, key=len))
            known["rules"]["prompts"] = rules.card["prompts"]
        for key, value in rules.card.items():
            if known["rules"].get(key) != value:
                raise ConfigError(f"out={folder} holds an arena with other {key}: give another folder.")
        self.votes.rows = stored_verdicts(self.votes.path, COLUMNS, rules.completions)
        self.account: dict[str, Any] = known.get("account", {})
        self.identities: dict[str, str] = dict(known["contestants"])
        names = {identity: name for name, identity in self.identities.items()}
        self.contestants = [replace(one, name=names.get(one.identity, one.name)) for one in contestants]
        for contestant in self.contestants:
            if self.identities.setdefault(contestant.name, contestant.identity) == contestant.identity:
                continue
            if not all(
                contestant.wrote(self.rules.prompts[prompt], texts)
                for (name, prompt), texts in self.texts.items()
                if name == contestant.name
            ):
                raise ConfigError(
                    f"out={folder}: another policy has played as {contestant.name} there: give another "
                    "folder, or rename its file."
                )
            self.identities[contestant.name] = contestant.identity  # a file that has grown

    @cached_property
    def texts(self) -> dict[tuple[str, int], list[str]]:
        """The completions of a contestant for the prompt of a number."""
        texts = stored_texts(self.folder / "completions.jsonl", self.rules.completions)
        return {key: written for key, written in texts.items() if 0 <= key[1] < len(self.rules.prompts)}

    @property
    def names(self) -> list[str]:
        """Of all who have ever played here."""
        return list(self.identities)

    @property
    def known(self) -> list[str]:
        """Of those who have a verdict: a command that failed leaves names behind that have none."""
        seen = {row[key] for row in self.votes.rows for key in ("item_a", "item_b")}
        return [name for name in self.names if name in seen]

    def open(self) -> None:
        """Write the prompts and the rules, and end a line of completions that a crash has cut."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "completions.jsonl"
        with writing(path), os.fdopen(open_log(path), "ab+") as stream:
            if stream.tell():
                stream.seek(-1, 2)
                stream.write(b"" if stream.read() == b"\n" else b"\n")
        self._write_card()
        with replacing(self.folder / "prompts.jsonl") as stream:
            for prompt in self.rules.prompts:
                stream.write(json.dumps({"prompt": prompt}, ensure_ascii=False) + "\n")

    def _write_card(self) -> None:
        write_json(
            self.folder / "arena.json",
            {"rules": self.rules.card, "contestants": self.identities, "account": self.account},
        )

    def play(
        self, judge: TextJudge, block: int, precision: float | None, tick: Callable[[str], None] = lambda _: None
    ) -> int:
        """Play what is missing, some prompts at a time; returns the number of new verdicts.

        Args:
            judge: tells who wins.
            block: prompts at a time, after each of which everything is on the disk.
            precision: half of the width of a pair's 95% interval with which it stops, or None.
            tick: hears what is going on.
        """
        self._check()
        self.open()
        spent = self.account
        played = {(row["item_a"], row["item_b"], int(row["prompt"])) for row in self.votes.rows}
        played |= {(b, a, prompt) for a, b, prompt in played}
        pairs, here_now = list(combinations(self.names, 2)), {contestant.name for contestant in self.contestants}
        before = len(self.votes.rows)
        for start in range(0, len(self.rules.prompts), block):
            here = range(start, min(start + block, len(self.rules.prompts)))
            known = self.of_prompts if precision else {}
            going = [pair for pair in pairs if not _settled(known.get(pair, {}), precision)]
            missing = [
                (*pair, prompt)
                for prompt in here
                for pair in going
                if (*pair, prompt) not in played
                and all(name in here_now or (name, prompt) in self.texts for name in pair)
            ]
            if missing:
                self._complete({name for a, b, _ in missing for name in (a, b)}, here, tick)
                missing = [game for game in missing if all((name, game[2]) in self.texts for name in game[:2])]
            if missing:
                tick(f"prompts {start + 1} to {here[-1] + 1}: {len(missing)} games")
                try:
                    self._judge(missing, judge)
                finally:  # what was paid for is counted, whatever ended it
                    self.account = add_accounts(spent, judge.account)
                    self._write_card()
        return len(self.votes.rows) - before

    def _check(self) -> None:
        """Warn of contestants that lack completions of some prompts, on which they do not play.

        Raises: ConfigError for one that lacks them all.
        """
        prompts, samples = self.rules.prompts, self.rules.completions
        for contestant in self.contestants:
            open_prompts = [number for number in range(len(prompts)) if (contestant.name, number) not in self.texts]
            lacking = contestant.lacking([prompts[number] for number in open_prompts], samples)
            if lacking and len(lacking) == len(prompts):
                raise ConfigError(f"{lacking[0]}; it has too few of every prompt: add them, or give fewer.")
            if lacking:
                log.warning(
                    "%s: %s plays on %d of %d prompts",
                    next(iter(lacking.values())),
                    contestant.name,
                    len(prompts) - len(lacking),
                    len(prompts),
                )

    def _complete(self, wanted: set[str], prompts: range, tick: Callable[[str], None]) -> None:
        """Draw what is missing of these contestants' completions, and append it to the file."""
        for contestant in self.contestants:
            lacking = [prompt for prompt in prompts if (contestant.name, prompt) not in self.texts]
            if contestant.name not in wanted or not lacking:
                continue
            tick(f"prompts {lacking[0] + 1} to {lacking[-1] + 1}: {contestant.name} writes")
            span = range(lacking[0], lacking[-1] + 1)
            chosen = [self.rules.prompts[prompt] for prompt in span]
            told = contestant.complete(chosen, self.rules.completions, self.rules.seed, span[0])
            lines = []
            for prompt, texts in zip(span, told, strict=True):
                if prompt in lacking and texts is not None:
                    self.texts[contestant.name, prompt] = texts
                    lines += [
                        {"contestant": contestant.name, "prompt": prompt, "sample": sample, "text": text}
                        for sample, text in enumerate(texts)
                    ]
            path = self.folder / "completions.jsonl"
            with writing(path), os.fdopen(open_log(path), "a", encoding="utf-8", newline="\n") as stream:
                stream.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)

    def _judge(self, games: Sequence[tuple[str, str, int]], judge: TextJudge) -> None:
        """Judge games and write the verdicts; a game on which the judge gives none is left for the next time."""
        texts = self.texts
        asked = [
            (prompt_text(self.rules.prompts[prompt]), mine, other)
            for a, b, prompt in games
            for mine, other in zip(texts[a, prompt], texts[b, prompt], strict=True)
        ]
        told = judge.preference(asked).reshape(len(games), -1)
        refused = judge.refused(asked).reshape(len(games), -1).sum(1).tolist()
        for (a, b, prompt), verdicts, without in zip(games, told.tolist(), refused, strict=True):
            for sample, wins in enumerate([] if without else verdicts):
                self.votes.add(prompt=prompt, item_a=a, item_b=b, wins_a=wins, wins_b=1 - wins, sample=sample)
        self.votes.flush()

    @property
    def of_prompts(self) -> dict[Pair, dict[int, list[float]]]:
        """For each pair (a, b), by prompt, what a won."""
        found: dict[Pair, dict[int, list[float]]] = {}
        for row in self.votes.rows:
            for pair, wins in (
                ((row["item_a"], row["item_b"]), row["wins_a"]),
                ((row["item_b"], row["item_a"]), row["wins_b"]),
            ):
                found.setdefault(pair, {}).setdefault(int(row["prompt"]), []).append(float(wins))
        return found


def _settled(won: Mapping[int, Sequence[float]], precision: float | None) -> bool:
    """Is the interval of a pair's win rate, of what one side won by prompt, narrow enough?

    Two prompts that were won and two that were lost are added (Agresti and Coull 1998): where one looks often and stops
    when the variance happens to be small, 95% would otherwise be as little as 63% (a win rate of 0.95, +-0.05).
    """
    if precision is None or len(won) < LEAST:
        return False
    values = np.array([np.mean(wins) for wins in won.values()] + [0.0, 0.0, 1.0, 1.0])
    return bool(1.96 * values.std(ddof=1) / len(values) ** 0.5 <= precision)
