"""The rows of votes that a command has used before, and what was changed in the file since then.

A row is its items with their counts, its context, and which earlier row has the same voter. Names of voters are not
part of it, so that hashing them changes no row.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from nlhf.config import ConfigError
from nlhf.io.json_files import read_json, write_json
from nlhf.leaderboard.counted import CountedVotes
from nlhf.votes.clusters import values_of
from nlhf.votes.file import Vote

VERSION = 1
DIGITS = 12  # of the hash of a row


@dataclass(frozen=True)
class History:
    """What earlier calls of a command used.

    Args:
        file: the path of the votes.
        settings: what selects and counts votes.
        items: their names.
        rows: a hash for each row that was used, in order.
        accepted: the sentences of changes that the user has accepted.
    """

    file: str
    settings: Mapping[str, Any]
    items: tuple[str, ...]
    rows: tuple[str, ...]
    accepted: tuple[str, ...] = ()

    def write(self, path: Path) -> None:
        """Write it as a JSON file."""
        content = {"version": VERSION, "file": self.file, "settings": self.settings, "items": list(self.items)}
        write_json(path, {**content, "accepted": list(self.accepted), "rows": "".join(self.rows)})

    def change(self, now: History) -> str | None:
        """A clause that says what was changed since; None if rows were only added."""
        for name, value in self.settings.items():
            if now.settings.get(name) != value:
                before, after = (_text(settings.get(name)) for settings in (self.settings, now.settings))
                return f"{name} was {before} in the last call and is {after}"
        if lost := [item for item in self.items if item not in now.items]:
            return f"the item {lost[0]} was named in the last call and is not named now"
        return _changed_rows(self.rows, now.rows)


def read_history(path: Path) -> History | None:
    """The history in a file; None if the file does not exist.

    Raises: ConfigError for a damaged file.
    """
    if not path.exists():
        return None
    content = read_json(path)
    try:
        assert content is not None
        assert content["version"] == VERSION
        text = content["rows"]
        rows = tuple(text[k : k + DIGITS] for k in range(0, len(text), DIGITS))
        items, accepted = (tuple(content[name]) for name in ("items", "accepted"))
        return History(content["file"], content["settings"], items, rows, accepted)
    except (AssertionError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} is damaged, so changes of the votes cannot be detected: remove it.") from error


def row_hashes(counted: CountedVotes, context: Sequence[str]) -> tuple[str, ...]:
    """A hash for each row of votes."""
    voters: dict[tuple[str, ...], int] = {}
    hashes = []
    for vote in counted.cast:
        voter = voters.setdefault(values_of(vote, counted.cluster), len(voters))
        entry = json.dumps([*answer(vote), *values_of(vote, context), voter])
        hashes.append(hashlib.sha256(entry.encode()).hexdigest()[:DIGITS])
    return tuple(hashes)


def answer(vote: Vote) -> tuple[str, str, float, float]:
    """The items in alphabetical order with their wins, which do not depend on the sides."""
    first, second = (vote.a, vote.wins_a), (vote.b, vote.wins_b)
    (a, wins_a), (b, wins_b) = sorted((first, second))
    return a, b, wins_a, wins_b


def _changed_rows(before: Sequence[str], now: Sequence[str]) -> str | None:
    """What happened to earlier rows; None if all of them are still there, in any order."""
    missing = (Counter(before) - Counter(now)).total()
    if not missing:
        return None
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(before, now, strict=False)))
    rows = "1 row of votes was" if missing == 1 else f"{missing:,} rows of votes were"
    later = before[same + missing :]
    if tuple(later) == tuple(now[same : same + len(later)]):
        where = f"row {same + 1:,}" if missing == 1 else f"rows {same + 1:,} to {same + missing:,}"
        return f"{rows} removed, {where}"
    changed = [k for k, (old, new) in enumerate(zip(before, now, strict=False), start=1) if old != new]
    if len(now) >= len(before) and len(changed) == missing:
        first = f"row {changed[0]:,} was changed"
        return first if missing == 1 else f"{missing:,} rows of votes were changed, the first is row {changed[0]:,}"
    return f"{rows} changed or removed, the first is row {same + 1:,}"


def _text(value: Any) -> str:
    """A setting in a message."""
    return json.dumps(value, ensure_ascii=False) if value else "unset"
