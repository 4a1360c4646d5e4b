"""The order of the packages: a module imports only what stands before its own package in ORDER, and no file is part of
a cycle of imports. docs/architecture.md explains the order."""

from __future__ import annotations

import ast
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import nlhf

ROOT = Path(nlhf.__file__).parent
ORDER = (
    "messages", "garbage", "config", "budget", "terminal", "io", "records", "environment", "numerics", "stats", "votes",
    "policies", "asking", "games", "references", "regularisers", "equilibria", "prox", "algorithms", "models", "judges",
    "language", "runner", "launch", "exploit", "analysis", "leaderboard", "arena", "cli", "interface", "__main__",
)  # fmt: skip
EXEMPT = {"__init__"}  # of nlhf itself: it offers the Python interface and imports it on first use


def name_of(path):
    """The dotted name of a file of nlhf, without `nlhf.`."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


FILES = {name_of(path): path for path in sorted(ROOT.rglob("*.py"))}


def imports(path):
    """The files of nlhf that a file imports, also inside functions; imports for type checkers are free."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from filter(None, (file_of(alias.name) for alias in node.names))
        elif isinstance(node, ast.ImportFrom):
            names = (file_of(f"{node.module}.{alias.name}") or file_of(str(node.module)) for alias in node.names)
            yield from filter(None, names)


def file_of(module):
    """The file of a module or package of nlhf; None for other modules."""
    short = module.removeprefix("nlhf.")
    return next((name for name in (short, f"{short}.__init__") if module.startswith("nlhf.") and name in FILES), None)


@cache
def all_imports():
    """The files that every file imports; not read while tests are collected, which every worker does."""
    return {name: set(imports(path)) for name, path in FILES.items()}


def test_every_module_belongs_to_a_package_of_the_order():
    unplaced = sorted({name.split(".")[0] for name in FILES} - set(ORDER) - EXEMPT)
    assert not unplaced, f"{unplaced}: move each into a package, or give it a place in ORDER."


def test_modules_import_only_from_packages_below_their_own():
    floor = {package: number for number, package in enumerate(ORDER)}
    for name, imported in all_imports().items():
        package = name.split(".")[0]
        # The old commands, `python -m nlhf.judges`, only point to the new ones.
        if package in EXEMPT or name.endswith(".__main__"):
            continue
        for other in sorted(imported):
            assert floor[other.split(".")[0]] <= floor[package], (
                f"{FILES[name]} imports {FILES[other]}, which lies above it in ORDER: move the code that both need "
                "down, or pass it in as an argument."
            )


def test_no_files_import_each_other_in_a_circle():
    try:
        TopologicalSorter(all_imports()).prepare()
    except CycleError as error:
        circle = " -> ".join(str(FILES[name]) for name in error.args[1])
        raise AssertionError(f"{circle}: move what two of them share into a file of its own.") from None


def test_no_file_holds_the_marks_of_an_unfinished_merge():
    marks = ("<" * 7 + " ", ">" * 7 + " ")
    folders, suffixes = ("nlhf", "conf", "docs", "tests", "benchmarks"), (".py", ".md", ".yaml", ".bib")
    files = (path for folder in folders for path in (ROOT.parent / folder).rglob("*"))
    paths = [path for path in files if path.suffix in suffixes]
    assert len(paths) > 500
    assert [path for path in paths if any(line.startswith(marks) for line in path.read_text().splitlines())] == []
