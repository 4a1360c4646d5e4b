"""Lines of PrefLib files: the header, with names of alternatives, and the ballots or edges below it.

The lines are parsed strictly: preflibtools, which is GPL, reads a ballot that ranks an unknown alternative, the same
one twice or a misspelt number, and a negative number of ballots, without a message.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from nlhf.config import ConfigError
from nlhf.io.inputs import InputFile

RANKINGS = ("soc", "soi", "toc", "toi", "cat")
GRAPHS = ("wmd",)
HEADER = re.compile(r"# (FILE NAME|TITLE|DATA TYPE|NUMBER ALTERNATIVES|NUMBER VOTERS|ALTERNATIVE NAME \d+): ?(.*)")
GROUP = re.compile(r"\{([\d,]*)\}|(\d+)")
BALLOT = re.compile(r"(?:\{[\d,]*\}|\d+)(?:,(?:\{[\d,]*\}|\d+))*")
EDGE = re.compile(r"(\d+),(\d+),(\d+(?:\.\d+)?(?:e[+-]?\d+)?)", re.IGNORECASE)
Ranking = list[list[int]]  # groups of tied alternatives, the best first
Ballots = tuple[int, int, Ranking]  # line, number of equal ballots, ranking


def is_preflib(file: InputFile, head: str) -> bool:
    """True for a file that starts like a PrefLib file, or has the ending of one."""
    return bool(HEADER.match(head)) or _ending(file) in (*RANKINGS, *GRAPHS)


def _ending(file: InputFile) -> str:
    return file.path.removesuffix(".gz").rpartition(".")[2].lower()


def split(file: InputFile) -> tuple[dict[int, str], list[tuple[int, str]], dict[str, str]]:
    """The names of the alternatives, the numbered lines of the votes, and the entries of the header."""
    lines = file.lines()
    if lines and lines[0][1].startswith("#"):
        header = {match[1]: match[2].strip() for _, line in lines if (match := HEADER.match(line))}
        names = {int(key.split()[2]): name for key, name in header.items() if key.startswith("ALTERNATIVE NAME")}
        body = [(number, line) for number, line in lines if not line.startswith("#")]
    else:
        names, body = _old(lines, file.name)
        header = {}
    kind = header.setdefault("DATA TYPE", _ending(file))
    if kind not in (*RANKINGS, *GRAPHS):
        raise ConfigError(f"{file.name} has the PrefLib type {kind!r}: give a file of {', '.join(RANKINGS)} or wmd.")
    if len(names) < 2:
        raise ConfigError(f"{file.name} names {len(names)} alternatives: give a PrefLib file with its header.")
    unique: dict[str, int] = {}
    for number, name in names.items():
        if unique.setdefault(name, number) != number:
            raise ConfigError(f"{file.name}: alternatives {unique[name]} and {number} are both named {name!r}: rename.")
    return names, body, header


def _old(lines: list[tuple[int, str]], source: str) -> tuple[dict[int, str], list[tuple[int, str]]]:
    """The parts of a file without a header: n, n lines `number,name`, a line of totals, and `count,ranking`."""
    try:
        count = int(lines[0][1].split(",")[0])
        names = {int(line.split(",", 1)[0]): line.split(",", 1)[1].strip() for _, line in lines[1 : count + 1]}
    except (ValueError, IndexError) as error:
        raise ConfigError(
            f"{source} has the ending of a PrefLib file but neither its header nor `number,name` lines: correct it."
        ) from error
    graph = len(lines[0][1].split(",")) > 1
    body = lines[count + 1 :] if graph else lines[count + 2 :]
    return names, body if graph else [(number, line.replace(",", ":", 1)) for number, line in body]


def ballot(text: str, index: Mapping[int, int], row: str) -> tuple[int, Ranking]:
    """The number of ballots of a line, and their ranking."""
    count, colon, ranking = "".join(text.split()).partition(":")
    if not colon or not count.isdecimal() or not BALLOT.fullmatch(ranking):
        raise ConfigError(f"{row} is {text[:60]!r}: write a ballot as `count: 1,{{2,3}},4`.")
    groups = [
        [int(name) for name in (match[1] or match[2] or "").split(",") if name] for match in GROUP.finditer(ranking)
    ]
    ranked = [name for group in groups for name in group]
    for name in ranked:
        if name not in index:
            raise ConfigError(f"{row} ranks the alternative {name}, which the header does not name: correct it.")
        if ranked.count(name) > 1:
            raise ConfigError(f"{row} ranks the alternative {name} twice: correct it.")
    return int(count), [[index[name] for name in group] for group in groups]


def edge(text: str, index: Mapping[int, int], row: str) -> tuple[int, int, float]:
    """The alternatives of a line `first,second,number of votes for the first`, and the number."""
    match = EDGE.fullmatch("".join(text.split()))
    names = [int(match[1]), int(match[2])] if match else []
    if match is None or not set(names) <= set(index):
        raise ConfigError(f"{row} is {text[:60]!r}: write an edge as `1,2,votes for 1 over 2`.")
    return index[names[0]], index[names[1]], float(match[3])
