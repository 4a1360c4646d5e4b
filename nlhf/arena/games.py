"""The games of an arena: completions and verdicts, stored on disk and never repeated.

    completions.jsonl   contestant, prompt, sample, text
    votes.csv           one verdict per row: prompt, item_a, item_b, wins_a, wins_b, sample, judge, order. wins_a is
                        the judge's P(a > b), so the file is itself a game: game=votes game.context=[prompt]
    prompts.jsonl       the prompts, by number
    arena.json          the contestants, the rules, and the judge's account so far

Completions are random but reproducible: they depend only on the contestant, the seed and the prompt's number.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nlhf.arena.completions import Texts, check_prompts, draw_missing, end_last_line, players, with_text
from nlhf.arena.files import stored_card, stored_texts, stored_verdicts, won_by_prompt
from nlhf.arena.meetings import Meetings, Pair
from nlhf.arena.rules import Rules
from nlhf.config import ConfigError
from nlhf.io.files import replacing
from nlhf.io.json_files import write_json
from nlhf.judges.base import add_accounts
from nlhf.models.prompts import prompt_text
from nlhf.records import Table

if TYPE_CHECKING:
    from nlhf.judges.base import TextJudge

COLUMNS = ("prompt", "item_a", "item_b", "wins_a", "wins_b", "sample", "judge", "order")
Game = tuple[str, str, int]  # both names, and the number of the prompt


class Arena:
    """The games of one folder.

    Args:
        folder: where they are stored.
        rules: shared by all games. The folder may hold more prompts, if they begin with these, or fewer.
        contestants: who plays now, under the names that the folder gives them. Earlier contestants stay, and play with
            their stored completions.

    Raises: ConfigError if the folder holds an arena with other rules, or another policy under the same name.
    """

    def __init__(self, folder: Path, rules: Rules, contestants: Sequence[Any]) -> None:
        self.folder, self.completions_path = folder, folder / "completions.jsonl"
        self.votes = Table(folder / "votes.csv", COLUMNS)
        card = stored_card(folder)
        if card is None and self.votes.path.exists():
            raise ConfigError(
                f"out={folder} has verdicts but no arena.json that names their judge: give another folder."
            )
        card = card or {"rules": rules.card, "contestants": {}}
        self.rules = self._joined(rules, card["rules"])
        self.votes.rows = stored_verdicts(self.votes.path, COLUMNS, self.rules)
        self.account: dict[str, Any] = card.get("account", {})
        self.identities: dict[str, str] = dict(card["contestants"])
        names = {identity: name for name, identity in self.identities.items()}
        self.contestants = [replace(one, name=names.get(one.identity, one.name)) for one in contestants]
        for contestant in self.contestants:
            self._register(contestant)

    def _joined(self, rules: Rules, stored: dict[str, Any]) -> Rules:
        """The rules with the longer list of prompts, of the folder or of this command.

        Raises: ConfigError if they differ otherwise.
        """
        before, now = stored["prompts"], rules.card["prompts"]
        if before[: len(now)] == now[: len(before)]:
            rules = replace(rules, prompts=max(before, now, key=len))
            stored["prompts"] = rules.card["prompts"]
        for key, value in rules.card.items():
            if stored.get(key) != value:
                raise ConfigError(f"out={self.folder} holds an arena with other {key}: give another folder.")
        return rules

    def _register(self, contestant: Any) -> None:
        """Add a contestant; a file of completions may have grown since it last played.

        Raises: ConfigError if another policy has played under this name.
        """
        if self.identities.setdefault(contestant.name, contestant.identity) == contestant.identity:
            return
        stored = ((prompt, texts) for (name, prompt), texts in self.texts.items() if name == contestant.name)
        if not all(contestant.wrote(self.rules.prompts[prompt], texts) for prompt, texts in stored):
            raise ConfigError(
                f"out={self.folder}: another policy has played as {contestant.name} there: give another folder, or "
                "rename its file."
            )
        self.identities[contestant.name] = contestant.identity

    @cached_property
    def texts(self) -> Texts:
        """The completions by contestant and prompt number."""
        texts = stored_texts(self.completions_path, self.rules.completions)
        return {key: written for key, written in texts.items() if 0 <= key[1] < len(self.rules.prompts)}

    @property
    def names(self) -> list[str]:
        """The names of all contestants that ever played here."""
        return list(self.identities)

    @property
    def judged(self) -> list[str]:
        """The names with a verdict; a command that failed may leave names without one."""
        judged = {row[key] for row in self.votes.rows for key in ("item_a", "item_b")}
        return [name for name in self.names if name in judged]

    def open(self) -> None:
        """Write the prompts and the rules, and end a line of completions that a crash has cut off."""
        self.folder.mkdir(parents=True, exist_ok=True)
        end_last_line(self.completions_path)
        self._write_card()
        with replacing(self.folder / "prompts.jsonl") as stream:
            for prompt in self.rules.prompts:
                stream.write(json.dumps({"prompt": prompt}, ensure_ascii=False) + "\n")

    def _write_card(self) -> None:
        card = {"rules": self.rules.card, "contestants": self.identities, "account": self.account}
        write_json(self.folder / "arena.json", card)

    def play(
        self, judge: TextJudge, block: int, meetings: Meetings, progress: Callable[[str], None] = lambda _: None
    ) -> int:
        """Play the missing games, a block of prompts at a time; returns the number of new verdicts.

        Args:
            judge: decides who wins.
            block: number of prompts after which everything is written to disk.
            meetings: chooses the pairs of each block.
            progress: called with a sentence about the current work.
        """
        check_prompts(self.contestants, self.texts, self.rules)
        self.open()
        spent, count = self.account, len(self.votes.rows)
        draw = partial(draw_missing, texts=self.texts, rules=self.rules, path=self.completions_path, progress=progress)
        numbers = range(len(self.rules.prompts))
        blocks = [numbers[start : start + block] for start in numbers[::block]]
        if meetings.foreseen:  # every model is loaded once, not for every block
            games_of = [self._missing(prompts, meetings) for prompts in blocks]
            for contestant in self.contestants:
                for prompts, games in zip(blocks, games_of, strict=True):
                    draw(players([contestant], games), prompts)
        for number, prompts in enumerate(blocks):
            games = self._missing(prompts, meetings)
            draw(players(self.contestants[:: 1 if number % 2 == 0 else -1], games), prompts)  # the last model begins
            games = with_text(games, self.texts)
            if games:
                progress(f"prompts {prompts[0] + 1} to {prompts[-1] + 1}: {len(games)} games")
                try:
                    self._judge(games, judge)
                finally:  # also after an error, the account includes what was paid for
                    self.account = add_accounts(spent, judge.account)
                    self._write_card()
        return len(self.votes.rows) - count

    def _missing(self, prompts: range, meetings: Meetings) -> list[Game]:
        """The games that can be played on these prompts and have no verdict, of the pairs that meet."""
        played = {(row["item_a"], row["item_b"], int(row["prompt"])) for row in self.votes.rows}
        played |= {(b, a, prompt) for a, b, prompt in played}
        present = {contestant.name for contestant in self.contestants}
        numbers = meetings.numbers(self.names, self.wins_by_prompt, prompts, self.rules.seed)
        return [
            (a, b, prompt)
            for number, prompt in enumerate(prompts)
            for (a, b), most in numbers.items()
            if number < most and (a, b, prompt) not in played
            if all(name in present or (name, prompt) in self.texts for name in (a, b))
        ]

    def _judge(self, games: Sequence[Game], judge: TextJudge) -> None:
        """Judge games and write the verdicts; games that the judge refuses stay open for the next command."""
        texts = self.texts
        questions = [
            (prompt_text(self.rules.prompts[prompt]), first, second)
            for a, b, prompt in games
            for first, second in zip(texts[a, prompt], texts[b, prompt], strict=True)
        ]
        preferences = judge.verdicts(questions).reshape(len(games), -1)
        refused = np.any(judge.refused(questions).reshape(len(games), -1), axis=1)
        order = 1 + max((int(row["order"]) for row in self.votes.rows), default=-1)
        for (a, b, prompt), verdicts, skipped in zip(games, preferences.tolist(), refused.tolist(), strict=True):
            for sample, wins in enumerate([] if skipped else verdicts):
                self.votes.add(prompt=prompt, item_a=a, item_b=b, wins_a=wins, wins_b=1 - wins, sample=sample,
                               judge=self.rules.judge_name, order=order)  # fmt: skip
                order += 1
        self.votes.flush()

    @property
    def wins_by_prompt(self) -> dict[Pair, dict[int, list[float]]]:
        """For each pair (a, b), by prompt, what a won."""
        return won_by_prompt(self.votes.rows)
