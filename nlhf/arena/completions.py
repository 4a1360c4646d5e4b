"""The completions of an arena's contestants: drawn once, and appended to completions.jsonl."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nlhf.config import ConfigError
from nlhf.io.files import writing
from nlhf.io.links import open_log

if TYPE_CHECKING:
    from nlhf.arena.contestants import Contestant
    from nlhf.arena.rules import Rules

log = logging.getLogger("nlhf")
Texts = dict[tuple[str, int], list[str]]  # completions by contestant and prompt number


def check_prompts(contestants: Iterable[Contestant], texts: Texts, rules: Rules) -> None:
    """Warn about contestants that lack completions of some prompts, and do not play on these.

    Raises: ConfigError for a contestant that lacks them for all prompts.
    """
    prompts = rules.prompts
    for contestant in contestants:
        open_prompts = [number for number in range(len(prompts)) if (contestant.name, number) not in texts]
        lacking = contestant.lacking([prompts[number] for number in open_prompts], rules.completions)
        if lacking and len(lacking) == len(prompts):
            raise ConfigError(f"{lacking[0]}; it has too few of every prompt: add them, or give fewer.")
        if lacking:
            reason, count = next(iter(lacking.values())), len(prompts) - len(lacking)
            log.warning("%s: %s plays on %d of %d prompts", reason, contestant.name, count, len(prompts))


def players(contestants: Iterable[Contestant], games: Sequence[tuple[str, str, int]]) -> list[Contestant]:
    """The contestants that play one of these games (a, b, prompt)."""
    names = {name for a, b, _ in games for name in (a, b)}
    return [contestant for contestant in contestants if contestant.name in names]


def draw_missing(
    contestants: Iterable[Contestant],
    prompts: range,
    texts: Texts,
    rules: Rules,
    path: Path,
    progress: Callable[[str], None],
) -> None:
    """Draw the completions that contestants lack on these prompts, into `texts` and the file."""
    for contestant in contestants:
        lacking = [prompt for prompt in prompts if (contestant.name, prompt) not in texts]
        if not lacking:
            continue
        progress(f"prompts {lacking[0] + 1} to {lacking[-1] + 1}: {contestant.name} writes")
        span = range(lacking[0], lacking[-1] + 1)
        chosen = [rules.prompts[prompt] for prompt in span]
        drawn = contestant.complete(chosen, rules.completions, rules.seed, span[0])
        new = {
            prompt: completions
            for prompt, completions in zip(span, drawn, strict=True)
            if prompt in lacking and completions is not None
        }
        texts.update({(contestant.name, prompt): completions for prompt, completions in new.items()})
        _append(path, contestant.name, new)


def _append(path: Path, name: str, completions: dict[int, list[str]]) -> None:
    lines: list[dict[str, Any]] = [
        {"contestant": name, "prompt": prompt, "sample": sample, "text": text}
        for prompt, texts in completions.items()
        for sample, text in enumerate(texts)
    ]
    with writing(path), os.fdopen(open_log(path), "a", encoding="utf-8", newline="\n") as stream:
        stream.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def end_last_line(path: Path) -> None:
    """Create the file, or end a last line that a crash has cut off."""
    with writing(path), os.fdopen(open_log(path), "ab+") as stream:
        if stream.tell():
            stream.seek(-1, 2)
            stream.write(b"" if stream.read() == b"\n" else b"\n")


def with_text(games: Sequence[tuple[str, str, int]], texts: Texts) -> list[tuple[str, str, int]]:
    """The games (a, b, prompt) for which both sides have completions."""
    return [(a, b, prompt) for a, b, prompt in games if (a, prompt) in texts and (b, prompt) in texts]
