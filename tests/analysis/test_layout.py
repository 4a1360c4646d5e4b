"""Nothing in a figure is cut off by its edge, and nothing lies over the legend, whatever the names and their number."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from nlhf.analysis.criterion import METRICS, Criterion
from nlhf.analysis.figures import comparison, games, output, sensitivity, simplex
from nlhf.analysis.figures.convergence import convergence
from nlhf.analysis.figures.gallery import pictures
from nlhf.analysis.figures.style import FAMILIAR, style
from nlhf.analysis.results import analyse
from nlhf.analysis.study import load
from tests.analysis.synthetic import geometric, write_run

SCHEDULE = [0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 60, 80, 100]
LOOK = Criterion(target=1e-3)
LONG = "a_very_long_name_that_somebody_chose_without_thinking_of_figures"
ALL = (*FAMILIAR, "comal", "mpo", "regret_matching", "predictive_regret_matching")
BIASED = {
    "method": {"caveat": "with a constant step it is biased: it rests at the equilibrium for beta/(1 - step_size beta)"}
}


def study(root, methods, games_=("circle",), seeds=1, status="completed", **config):
    for number, method in enumerate(methods):
        for game in games_:
            curves = {
                seed: geometric(0.1 + seed / 50, 0.5 + 0.4 * number / len(methods), SCHEDULE) for seed in range(seeds)
            }
            bounds = {seed: [0.9**queries for _, queries, _ in curve] for seed, curve in curves.items()}
            write_run(root, method, game, curves=curves, bounds=bounds, status=status, summary=BIASED, **config)


def check(figure):
    """Lay the figure out as it is saved, and look at the boxes of all its texts."""
    canvas = FigureCanvasAgg(figure)
    with style():
        output.settle(figure)
        canvas.draw()
    renderer = canvas.get_renderer()
    legends = [legend.get_window_extent(renderer) for legend in figure.legends]
    inside = {text for legend in figure.legends for text in legend.findobj(Text)}
    texts = [text for text in figure.findobj(Text) if text.get_visible()]
    of_ticks = {
        label: axis
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        for label in (*axis.get_majorticklabels(), *axis.get_minorticklabels())
    }
    seen = []
    for text in texts:
        if not text.get_text().strip() or (text in of_ticks and not _within(text, of_ticks[text])):
            continue
        box = text.get_window_extent(renderer)
        assert box.x0 >= -1, f"{text.get_text()!r} is cut off on the left"
        assert box.y0 >= -1, f"{text.get_text()!r} is cut off below"
        assert box.x1 <= figure.bbox.x1 + 1, f"{text.get_text()!r} is cut off on the right"
        assert box.y1 <= figure.bbox.y1 + 1, f"{text.get_text()!r} is cut off above"
        if text not in inside:
            assert not any(box.overlaps(legend) for legend in legends), f"{text.get_text()!r} lies over the legend"
        if text not in of_ticks and text not in inside:
            seen.append((text.get_text(), box))
    for legend in legends:
        assert legend.x0 >= -1
        assert legend.y0 >= -1
        assert legend.x1 <= figure.bbox.x1 + 1, "the legend is cut off"
        assert not any(legend.overlaps(axes.get_window_extent(renderer)) for axes in figure.axes)
    for (a, first), (b, second) in combinations(seen, 2):
        assert not first.overlaps(second), f"{a!r} lies over {b!r}"
    for axes in (panel for panel in figure.axes if panel.get_label() != "<colorbar>"):
        box = axes.get_window_extent(renderer)
        assert min(box.width, box.height) > 0.25 * figure.dpi, "a panel has no room left"


def _within(label, axis):
    """Is a tick's label one that is drawn?"""
    low, high = sorted(axis.get_view_interval())
    place = label.get_position()[axis.axis_name == "y"]
    return axis.axes.axison and low <= place <= high


def check_all(root, criterion=LOOK):
    names = []
    for picture in pictures(analyse(root, criterion)):
        check(picture.figure)
        names.append(picture.name)
    return names


def test_one_method_and_one_seed_fit(tmp_path):
    study(tmp_path, ["nash_mp"])
    assert "convergence" in check_all(tmp_path)


def test_fourteen_algorithms_with_footnotes_fit(tmp_path):
    study(tmp_path, ALL, ("circle", "votes"), seeds=6)
    results = analyse(tmp_path, LOOK)
    check(convergence(results.study.rows, LOOK, results.caveats))
    check(comparison.heatmap(results.summary, LOOK, results.caveats))
    check(comparison.performance_profile(results.observations, LOOK, results.caveats))


def test_twenty_settings_fit(tmp_path):
    for cyclicity in (0.1, 0.25, 0.5, 0.75, 1):
        for beta in (0.01, 0.02, 0.05, 0.1):
            study(tmp_path, ["nash_mp", "omd"], ["spinning_top"], game__cyclicity=cyclicity, beta=beta)
    results = analyse(tmp_path, LOOK)
    check(convergence(results.study.rows, LOOK, results.caveats))
    check(comparison.heatmap(results.summary, LOOK, results.caveats))


def test_very_long_names_fit(tmp_path):
    for letter in "ab":
        study(tmp_path, [f"{LONG}_{k}" for k in range(3)], [f"{LONG}_game"], seeds=6,
              game__path=f"/a/{letter * 60}.csv", prox__engine_option=letter * 50)  # fmt: skip
    assert "heatmap" in check_all(tmp_path)


def test_failed_and_unfinished_studies_fit(tmp_path):
    for status in ("failed", None):
        study(tmp_path / str(status), ["nash_mp", "omd"], ("circle", "votes"), seeds=6, status=status)
        results = analyse(tmp_path / str(status), LOOK)
        check(convergence(results.study.rows, LOOK))
        check(comparison.heatmap(results.summary, LOOK))


@pytest.mark.parametrize("metric", METRICS)
def test_every_metric_fits_beside_its_axis_and_above_its_heatmap(tmp_path, metric):
    curves = {seed: geometric(0.1 + seed / 50, 0.8, SCHEDULE) for seed in range(3)}
    values = {seed: [value for *_, value in curve] for seed, curve in curves.items()}
    for method in ("nash_mp", "omd"):
        for game in ("circle", "votes"):
            write_run(tmp_path, method, game, curves=curves, extra={metric: values})
    criterion = Criterion(metric, 1e-3, x="seconds")
    results = analyse(tmp_path, criterion)
    check(convergence(results.study.rows, criterion))
    check(comparison.heatmap(results.summary, criterion))


def test_sweeps_of_a_key_fit(tmp_path):
    for step in (0.001, 0.1, 1, 30):
        study(tmp_path, ALL[:6], ("circle", "votes"), seeds=5, algorithm__step_size=step)
    results = analyse(tmp_path, LOOK)
    table = sensitivity.by_key(results.observations, results.study.rows, "algorithm.step_size")
    for quantity in ("cost", "final", "rate"):
        check(sensitivity.against(table, "algorithm.step_size", quantity, LOOK, results.caveats))


def _write_game(folder, n, name):
    rng = np.random.default_rng(n)
    upper = np.triu(rng.random((n, n)), 1)
    preference = upper + np.tril(1 - upper.T, -1) + np.eye(n) / 2
    logs = np.log(rng.dirichlet(np.ones(n), 2)).reshape(2, 1, 1, n)
    items = [name.format(k) for k in range(n)]
    np.savez(folder / "game.npz", items=items, contexts=[""], log_reference=logs[0], log_equilibrium=logs[1],
             preference=preference[None, None])  # fmt: skip
    return items


@pytest.mark.parametrize(
    ("n", "name"),
    [(2, "{}"), (3, "a_long_name_of_an_answer_{}"), (4, f"{LONG}_{{}}"), (12, "item_{}"), (40, "model-{}b-v1.2-chat")],
)
def test_games_of_few_and_of_many_items_fit(tmp_path, n, name):
    folders = {
        f"{game}, beta = 0.05": write_run(tmp_path, game=game, curves={0: [(0, 0, 0.1), (1, 1, 0.05)]}) for game in "ab"
    }
    for folder in folders.values():
        items = _write_game(folder, n, name)
        if n == 3:
            lines = [f"0,{k},,{item},{math.log(1 / 3)}" for k in range(3) for item in items]
            (folder / "policies.csv").write_text(
                "\n".join(["seed,iteration,context,action,log_probability", *lines]) + "\n"
            )
    title, folder = next(iter(folders.items()))
    check(games.preference_matrix(folder, title))
    check(games.mixtures(folders))
    if n == 3:
        check(simplex.simplex(load(tmp_path).drop_duplicates("folder")))
