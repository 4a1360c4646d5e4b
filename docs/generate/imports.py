"""The picture of the imports between packages, an SVG in which every arrow points down."""

from __future__ import annotations

from collections import defaultdict
from graphlib import TopologicalSorter

from tests.test_architecture import ORDER, all_imports

WIDTH, ROW, HEIGHT, MARGIN = 760, 74, 26, 14
STYLE = """
  text { font: 13px sans-serif; text-anchor: middle; fill: #222; }
  rect { fill: #e8eefc; stroke: #5b6ea8; }
  path { fill: none; stroke: #8a94ad; }
  polygon { fill: #8a94ad; }
  @media (prefers-color-scheme: dark) {
    text { fill: #eee; } rect { fill: #2b3350; stroke: #8fa0d8; } path { stroke: #7d88a8; } polygon { fill: #7d88a8; }
  }
"""


def edges() -> dict[str, set[str]]:
    """The packages that each package imports, without those that it also reaches through another package."""
    direct: dict[str, set[str]] = {package: set() for package in ORDER if package != "__main__"}
    for name, imported in all_imports().items():
        package = name.split(".")[0]
        if package in direct and not name.endswith("__main__"):
            direct[package] |= {imported_package.split(".")[0] for imported_package in imported} & set(direct) - {
                package
            }
    reached: dict[str, set[str]] = {}
    for package in TopologicalSorter(direct).static_order():
        reached[package] = direct[package].union(*(reached[imported_package] for imported_package in direct[package]))
    return {
        package: {
            imported_package for imported_package in below if not any(imported_package in reached[via] for via in below)
        }
        for package, below in direct.items()
    }


def picture() -> str:
    """The SVG."""
    below = edges()
    floors: dict[str, int] = {}
    for package in TopologicalSorter(below).static_order():
        floors[package] = max((floors[imported_package] + 1 for imported_package in below[package]), default=0)
    rows = defaultdict(list)
    for package in below:
        rows[floors[package]].append(package)
    top = max(rows)
    centre: dict[str, tuple[float, float]] = {}
    for floor in range(top + 1):
        names = sorted(
            rows[floor], key=lambda name: _mean([centre[imported_package][0] for imported_package in below[name]])
        )
        for number, name in enumerate(names):
            shift = 40 * (floor % 2 * 2 - 1) if len(names) < 4 else 0
            centre[name] = (WIDTH * (number + 0.5) / len(names) + shift, MARGIN + HEIGHT / 2 + (top - floor) * ROW)
    lines = [
        _arrow(centre[name], centre[imported_package]) for name in below for imported_package in sorted(below[name])
    ]
    lines += [_box(name, *centre[name]) for name in below]
    height = 2 * MARGIN + HEIGHT + top * ROW
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="Imports between packages">\n<style>{STYLE}</style>\n' + "\n".join(lines) + "\n</svg>\n"
    )


def _mean(numbers: list[float]) -> float:
    return sum(numbers) / len(numbers) if numbers else WIDTH / 2


def _arrow(start: tuple[float, float], end: tuple[float, float]) -> str:
    (x1, y1), (x2, y2) = start, end
    y1, y2 = y1 + HEIGHT / 2, y2 - HEIGHT / 2
    assert y1 < y2, "every arrow points down"
    middle = (y2 - y1) / 2
    curve = f"M{x1:.0f} {y1:.0f} C{x1:.0f} {y1 + middle:.0f} {x2:.0f} {y2 - middle:.0f} {x2:.0f} {y2 - 6:.0f}"
    head = f"{x2 - 4:.0f},{y2 - 7:.0f} {x2 + 4:.0f},{y2 - 7:.0f} {x2:.0f},{y2:.0f}"
    return f'<path d="{curve}"/><polygon points="{head}"/>'


def _box(name: str, x: float, y: float) -> str:
    width = 16 + 8 * len(name)
    corner = f'x="{x - width / 2:.0f}" y="{y - HEIGHT / 2:.0f}"'
    return f'<rect {corner} width="{width}" height="{HEIGHT}" rx="5"/><text x="{x:.0f}" y="{y + 4:.0f}">{name}</text>'
