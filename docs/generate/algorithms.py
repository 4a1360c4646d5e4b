"""The page of all algorithms: the overview, what each can be combined with, and what each module says."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from docs.generate.yamls import Choice, cell, choices, code
from nlhf.config import ConfigError, build
from nlhf.runner.specification import specify
from tests.composing import configured

OVERVIEW = Path(__file__).with_suffix(".md")
ENGINES = ("exact", "sampled", "gradient", "votes")
BETAS = (0.05, 0.0)


def page() -> str:
    """The whole page.

    Raises: ValueError if the overview lacks an algorithm of conf/algorithm.
    """
    overview, listed = OVERVIEW.read_text(encoding="utf-8"), choices("algorithm")
    for choice in listed:
        if f"\n| `{choice.path.stem}` |" not in overview:
            raise ValueError(f"{OVERVIEW} has no row for {choice.path.stem}: add one to its first table.")
    configs = {choice.path.stem: _configs(choice.path.stem) for choice in listed}
    written: dict[str, str] = {}
    details = [_details(choice, configs[choice.path.stem]["exact"]["algorithm"], written) for choice in listed]
    return overview.replace("{engines}", _engines(configs)).replace("{details}", "\n".join(details))


def _configs(name: str) -> dict[str, dict[str, Any]]:
    """A config of the algorithm for each engine, on a game with every kind of answer."""
    config = configured(f"algorithm={name}", "prox=gradient", "policy=tabular", "game=contextual")
    closed_form = {engine: configured(f"prox={engine}")["prox"] for engine in ENGINES if engine != "gradient"}
    return {engine: config | {"prox": closed_form.get(engine, config["prox"])} for engine in ENGINES}


def _engines(configs: dict[str, dict[str, dict[str, Any]]]) -> str:
    """The table of the engines that take an algorithm's steps, and of the values of beta that it accepts."""
    lines = ["| algorithm | engines | beta = 0.05 | beta = 0 |", "| --- | --- | --- | --- |"]
    for name, by_engine in configs.items():
        answers = {
            engine: [_refusal(config | {"beta": beta}) for beta in BETAS] for engine, config in by_engine.items()
        }
        possible = [engine for engine, refusals in answers.items() if None in refusals]
        first = [(refusal or "yes").partition(":")[0] for refusal in answers[possible[0]]]
        lines.append(f"| `{name}` | {', '.join(possible)} | {first[0]} | {first[1]} |")
    return "\n".join(lines)


def _refusal(config: dict[str, Any]) -> str | None:
    try:
        specify(config)
    except ConfigError as error:
        return str(error)
    return None


def _details(choice: Choice, node: dict[str, Any], written: dict[str, str]) -> str:
    """The section of one algorithm; `written` remembers the section in which a module's docstring stands."""
    name, algorithm = choice.path.stem, build(node, "algorithm")
    module = type(algorithm).__module__
    lines = [f"### {name}", "", f"{cell(choice.summary)}.", ""]
    if module in written:
        lines += [f"The iteration is described under [{written[module]}](#{written[module]}).", ""]
    else:
        docstring = (sys.modules[module].__doc__ or "").strip()
        lines += ["```text", docstring, "```", ""]
        written[module] = name
    lines += _rules(algorithm)
    if caveat := algorithm.caveat(BETAS[0]):
        lines += [f"Caveat at beta = {BETAS[0]}: {cell(caveat)}.", ""]
    keys = [f"| `{key}` | {code(_short(value))} |" for key, value in node.items() if key != "_target_"]
    lines += [f"Class: `{module}.{type(algorithm).__name__}`. {_sources(algorithm.sources)}", ""]
    lines += ["| key | default |", "| --- | --- |", *keys, ""] if keys else []
    return "\n".join(lines)


def _rules(algorithm: Any) -> list[str]:
    """The docstring of the rule by which an algorithm asks for votes."""
    if (rule := getattr(algorithm, "rule", None)) is None:
        return []
    docstring = (sys.modules[type(rule).__module__].__doc__ or "").strip()
    return [" ".join(["The rule.", _sources(rule.sources)]).strip(), "", "```text", docstring, "```", ""]


def _short(value: Any) -> str:
    """A value in the words of yaml, with the class of a node shortened."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_short(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, bool):
        return str(value).lower()
    text = {None: "null", float("inf"): ".inf"}.get(value, str(value)) if not isinstance(value, list) else str(value)
    return re.sub(r"^nlhf\.(algorithms|asking)\.\w+\.", "", text)


def _sources(numbers: tuple[str, ...]) -> str:
    links = [f"[arXiv:{number}](https://arxiv.org/abs/{number})" for number in numbers]
    return f"Sources: {', '.join(links)}." if links else ""
