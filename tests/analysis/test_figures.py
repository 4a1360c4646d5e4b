"""What figures show is what the files say: medians, bands, bounds, costs and rates, computed here by other means."""

from __future__ import annotations

import math
import re
import statistics
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from scipy import stats

from nlhf.analysis import AnalysisError
from nlhf.analysis.criterion import Criterion
from nlhf.analysis.figures import comparison, layout, output, sensitivity
from nlhf.analysis.figures.convergence import PALE, convergence, over_cost
from nlhf.analysis.figures.gallery import pictures
from nlhf.analysis.figures.style import INK, looks_of
from nlhf.analysis.results import analyse
from nlhf.analysis.study import load
from nlhf.analysis.wording import MARK
from nlhf.stats.curves import FLOOR
from tests.analysis.synthetic import geometric, write_run

SCHEDULE = [0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 60, 80, 100]
BETA = 0.05
KL = Criterion("kl_to_equilibrium")


def solid(axis):
    return [line for line in axis.lines if line.get_linestyle() == "-"]


def dashed(axis):
    return [line for line in axis.lines if line.get_linestyle() == "--"]


def medians(data, algorithm, metric, x="queries"):
    """cost -> median over seeds of the logarithm of the last value known, by a loop."""
    rows = data[(data["algorithm"] == algorithm) & (data[x] > 0)]
    found = {}
    for cost in sorted(set(rows[x])):
        known = rows[rows[x] <= cost].groupby(["folder", "seed"])[metric].last().dropna()
        found[cost] = math.exp(statistics.median(map(math.log, known)))
    return found


def legend_of(figure):
    (legend,) = figure.legends
    return [text.get_text() for text in legend.get_texts()]


# --- convergence -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Runs of every status; seeds start at other levels and end at other times."""
    root = tmp_path_factory.mktemp("runs")
    for number, (name, status) in enumerate(
        (
            ("nash_mp", "completed"),
            ("omd", "completed"),
            ("nash_md", "interrupted"),
            ("self_play", None),
            ("sppo", "failed"),
        )
    ):
        curves = {
            seed: geometric(
                0.05 + 0.07 * ((seed * 3) % 7), 0.6 + 0.05 * number, SCHEDULE[: 14 - seed % 4], 1 + number % 2
            )
            for seed in range(7)
        }
        bounds = {seed: [3.0 * value for _, _, value in curve] for seed, curve in curves.items()}
        write_run(root, name, beta=BETA, curves=curves, status=status, bounds=bounds if number < 3 else None)
    return load(root)


@pytest.mark.parametrize("x", ["queries", "iteration", "seconds"])
@pytest.mark.parametrize("metric", ["exploitability", "kl_to_equilibrium"])
def test_a_line_is_the_median_over_seeds_of_the_last_values(data, metric, x):
    figure = convergence(data, Criterion(metric, x=x))
    (axis,) = figure.axes
    names = {looks_of(data)[name].colour: name for name in set(data["algorithm"])}
    assert {names[line.get_color()] for line in solid(axis)} == set(data["algorithm"])
    for line in solid(axis):
        expected = medians(data, names[line.get_color()], metric, x)
        assert line.get_xdata().tolist() == list(expected)
        assert line.get_ydata() == pytest.approx(list(expected.values()), rel=1e-12)
    assert (axis.get_xscale(), axis.get_yscale()) == ("log", "log")
    criterion = Criterion(metric, x=x)
    assert (axis.get_xlabel(), axis.get_ylabel(), axis.get_title()) == (
        criterion.cost,
        criterion.title,
        f"random_tournament, beta = {BETA}",
    )


def test_the_bound_is_dashed_in_the_colour_of_its_line_and_never_far_below_it(data):
    (axis,) = convergence(data, KL).axes
    names = {looks_of(data)[name].colour: name for name in set(data["algorithm"])}
    found = {names[line.get_color()]: line for line in dashed(axis)}
    assert set(found) == {"nash_mp", "omd", "nash_md"}  # the others have none
    for name, line in found.items():
        promised = medians(data, name, "kl_bound")
        assert len(line.get_xdata()) > 5
        for queries, value in zip(line.get_xdata(), line.get_ydata(), strict=True):
            assert value == pytest.approx(promised[queries], rel=1e-12)
        lowest = min(medians(data, name, "kl_to_equilibrium").values())
        assert min(line.get_ydata()) >= lowest / 10
    assert "theorem's bound" in legend_of(convergence(data, KL))


def test_no_bound_is_drawn_against_seconds_or_for_a_metric_that_no_theorem_is_about(data):
    changed = data.assign(average_exploitability=data["exploitability"])
    for criterion in (Criterion(), Criterion("kl_to_equilibrium", x="seconds"), Criterion("average_exploitability")):
        figure = convergence(changed, criterion)
        assert dashed(figure.axes[0]) == []
        assert "theorem's bound" not in legend_of(figure)


def test_what_is_not_completed_is_pale(data):
    (axis,) = convergence(data).axes
    names = {looks_of(data)[name].colour: name for name in set(data["algorithm"])}
    alpha = {names[line.get_color()]: line.get_alpha() for line in solid(axis)}
    assert alpha == {"nash_mp": 1, "omd": 1, "nash_md": PALE, "self_play": PALE, "sppo": PALE}
    assert PALE < 0.5


def test_bands_are_intervals_of_the_median(tmp_path):
    """Of nine ordered seeds, the second and the last but one: both tails of the sign test have 1.95%."""
    write_run(tmp_path, curves={seed: geometric(1.0 + seed, 0.9, SCHEDULE) for seed in range(9)})
    rows = load(tmp_path)
    low, high = 2, 8
    assert stats.binom.cdf(low - 1, 9, 0.5) < 0.025 < stats.binom.cdf(low, 9, 0.5)
    (band,) = convergence(rows).axes[0].collections
    drawn = {tuple(corner) for corner in band.get_paths()[0].vertices.tolist()}
    for queries in SCHEDULE[1:]:
        ends = sorted({y for x, y in drawn if x == queries})
        assert [min(ends), max(ends)] == pytest.approx([low * 0.9**queries, high * 0.9**queries])


def test_fewer_than_five_seeds_have_no_band(tmp_path):
    write_run(tmp_path, curves={seed: geometric(1.0 + seed, 0.9, SCHEDULE) for seed in range(4)})
    assert len(convergence(load(tmp_path)).axes[0].collections) == 0


def test_infinite_values_are_values_and_a_median_that_is_infinite_is_a_gap(tmp_path):
    curves = {seed: geometric(1.0 + seed, 0.5, [0, 1, 2, 3]) for seed in range(5)}
    infinite = {seed: [math.inf] * (4 - (seed > 0) - (seed > 1) - (seed > 2)) for seed in range(5)}
    values = {seed: [*infinite[seed], *[v for *_, v in curves[seed]]][:4] for seed in range(5)}
    write_run(tmp_path, curves=curves, extra={"kl_to_equilibrium": values})
    (axis,) = convergence(load(tmp_path), KL).axes
    (line,) = solid(axis)
    expected = [statistics.median(values[seed][k] for seed in range(5)) for k in (1, 2, 3)]
    assert math.isinf(statistics.median(values[seed][0] for seed in range(5)))
    shown = [value if math.isfinite(value) else math.nan for value in expected]
    assert line.get_ydata() == pytest.approx(shown, nan_ok=True)
    assert np.isfinite(axis.get_ylim()).all()


def test_an_exact_zero_does_not_hide_the_other_values(tmp_path):
    write_run(tmp_path, curves={0: [(0, 0, 0.1), (1, 1, 1e-3), (2, 2, 0.0)]})
    (line,) = solid(convergence(load(tmp_path)).axes[0])
    assert line.get_ydata() == pytest.approx([1e-3, FLOOR], rel=1e-12)


def test_other_steps_are_other_lines_other_betas_other_panels_and_more_seeds_the_same_line(tmp_path):
    for step in (0.5, 1):
        write_run(tmp_path, curves={s: geometric(1 + s, 0.9, SCHEDULE) for s in range(3)}, algorithm__step_size=step)
    write_run(tmp_path, curves={s: geometric(1 + s, 0.9, SCHEDULE) for s in (3, 4)}, algorithm__step_size=1)
    write_run(tmp_path, beta=0.3, curves={0: geometric(1, 0.9, SCHEDULE)}, algorithm__step_size=1)
    axes = {axis.get_title(): axis for axis in convergence(load(tmp_path)).axes}
    assert sorted(axes) == ["random_tournament, beta = 0.05", "random_tournament, beta = 0.3"]
    firsts = sorted(line.get_ydata()[0] for line in solid(axes["random_tournament, beta = 0.05"]))
    assert firsts == pytest.approx([0.9 * 2, 0.9 * 3])  # seeds 0-2, and seeds 0-4


def test_more_settings_than_can_be_seen_are_left_out_with_a_word(tmp_path):
    for number in range(layout.MOST_PANELS + 3):
        write_run(tmp_path, curves={0: geometric(1, 0.9, [0, 1, 2])}, game__actions=number)
    figure = convergence(load(tmp_path))
    assert len(figure.axes) == layout.MOST_PANELS
    assert figure.get_suptitle() == f"{layout.MOST_PANELS} of {layout.MOST_PANELS + 3} settings"


def test_a_study_of_first_rows_alone_is_drawn_empty(tmp_path):
    write_run(tmp_path, curves={seed: [(0, 0, 0.1)] for seed in range(3)})
    figure = convergence(load(tmp_path))
    assert solid(figure.axes[0]) == []
    assert figure.legends == []


def test_a_metric_that_was_not_measured_is_refused(data):
    with pytest.raises(AnalysisError, match="measured in no run: give one of exploitability, kl_to_equilibrium"):
        convergence(data, Criterion("span_to_equilibrium"))


def test_thousands_of_times_are_thinned_to_what_can_be_seen(tmp_path):
    curves = {seed: geometric(1, 0.99, range(100)) for seed in range(5)}
    times = {seed: [k + seed / 10 for k in range(100)] for seed in range(5)}
    write_run(tmp_path, curves=curves, extra={"seconds": times})
    (line,) = solid(convergence(load(tmp_path), Criterion(x="seconds")).axes[0])
    assert 40 < len(line.get_xdata()) <= 80
    assert line.get_xdata()[-1] == pytest.approx(99.4)


def test_a_seed_keeps_its_last_value_between_rows_and_after_its_end():
    rows = [("f", 0, 1, 8.0), ("f", 0, 2, 4.0), ("f", 1, 1, 9.0), ("f", 1, 3, 3.0), ("g", 0, 2, 5.0)]
    table = over_cost(pd.DataFrame(rows, columns=["folder", "seed", "queries", "value"]), "value", "queries")
    assert table.index.tolist() == [1, 2, 3]
    assert table["f", 0].tolist() == [8, 4, 4]
    assert table["f", 1].tolist() == [9, 9, 3]
    assert np.isnan(table["g", 0].iloc[0])
    assert table["g", 0].tolist()[1:] == [5, 5]


# --- heatmap and profile ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def solved(tmp_path_factory):
    """Costs to 1e-3 that are known: method -> game -> queries, inf for never, none where it did not run."""
    root = tmp_path_factory.mktemp("solved")
    costs = {
        "nash_mp": {"circle": 20, "votes": 1250},
        "omd": {"circle": 40, "votes": math.inf},
        "sppo": {"circle": 1_500_000},
    }
    for method, games in costs.items():
        for game, cost in games.items():
            end = [(2, 2_000_000, 0.5)] if math.isinf(cost) else [(2, cost, 1e-3)]
            curves = {seed: [(0, 0, 1.0), (1, 1, 0.5 + seed / 100), *end] for seed in range(7)}
            caveat = {"method": {"caveat": "it cycles"}} if method == "sppo" else {}
            write_run(root, method, game, beta=0.02, curves=curves, summary=caveat)
    return analyse(root, Criterion(target=1e-3))


def test_a_cell_says_the_median_cost_or_nothing_but_a_dash_and_is_empty_where_nothing_ran(solved):
    (axis,) = comparison.heatmap(solved.summary, solved.criterion, solved.caveats).axes
    columns = [label.get_text() for label in axis.get_xticklabels()]
    rows = [label.get_text() for label in axis.get_yticklabels()]
    assert columns == ["nash_mp", "omd", "sppo †"]  # by mean rank
    cells = {(rows[round(t.get_position()[1])], columns[round(t.get_position()[0])]): t.get_text() for t in axis.texts}
    assert cells == {
        ("circle, beta = 0.02", "nash_mp"): "20",
        ("circle, beta = 0.02", "omd"): "40",
        ("circle, beta = 0.02", "sppo †"): "1.5M",
        ("votes, beta = 0.02", "nash_mp"): "1.2k",
        ("votes, beta = 0.02", "omd"): "–",
    }
    assert axis.figure.get_suptitle() == "preference queries to exploitability ≤ 0.001"
    assert "† sppo: it cycles." in [text.get_text() for text in axis.figure.texts]


def test_cells_are_readable_on_their_colour_and_grey_where_there_is_no_number(solved):
    (axis,) = comparison.heatmap(solved.summary, solved.criterion).axes
    (image,) = axis.images
    shown = image.to_rgba(image.get_array())
    for text in axis.texts:
        column, row = (round(value) for value in text.get_position())
        ground, ink = shown[row, column, :3], np.array(to_rgb(text.get_color()))
        brightness = [0.2126, 0.7152, 0.0722] @ np.abs(ground - ink)
        assert brightness > 0.3, text.get_text()
        grey = ground.max() - ground.min() < 0.01
        assert grey == (text.get_text() == "–")


@pytest.mark.parametrize("value", [0.0, math.inf])
def test_a_heatmap_without_a_positive_number_still_says_what_there_is(value):
    rows = [{"group": g, "method": m, "cost": value, "rank": 1} for g in "ab" for m in "xy"]
    (axis,) = comparison.heatmap(pd.DataFrame(rows)).axes
    assert [text.get_text() for text in axis.texts] == ["0" if value == 0 else "–"] * 4
    assert axis.get_xlim() == (-0.5, 1.5)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (7, "7"), (0.0123, "0.012"), (850, "850"), (999.6, "1.0k"), (1249, "1.2k"), (31_400, "31k"),
     (999_600, "1.0M"), (2_500_000, "2.5M"), (31e6, "31M"), (12.4, "12"), (3.25, "3.2")],
)  # fmt: skip
def test_counts_are_written_in_few_characters(value, text):
    assert comparison.compact(value) == text


def test_a_profile_is_the_share_of_instances_solved_within_a_factor(solved):
    figure = comparison.performance_profile(solved.observations, solved.criterion)
    (axis,) = figure.axes
    looks = looks_of(solved.observations)
    lines = {name: next(line for line in axis.lines if line.get_color() == look.colour) for name, look in looks.items()}
    for line in lines.values():
        assert line.get_drawstyle() == "steps-post"
    at = {name: dict(zip(np.round(line.get_xdata(), 6), line.get_ydata(), strict=True)) for name, line in lines.items()}
    factors = sorted(at["omd"])
    assert (factors[0], factors[-1]) == (1, 1000)
    assert {at["nash_mp"][f] for f in factors} == {1.0}
    assert [at["omd"][f] for f in factors] == [0.5 if f >= 2 else 0.0 for f in factors]
    assert {at["sppo"][f] for f in factors} == {0.0}  # 75,000 times too slow on the one game that it ran on
    assert legend_of(figure) == ["nash_mp", "omd", "sppo"]  # by how much they solve


# --- against a key ---------------------------------------------------------------------------------------------------

STEPS = (0.1, 0.3, 1.0, 3.0)


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """Ratios that grow with the step; at the last one the target is not reached; one algorithm has no number."""
    root = tmp_path_factory.mktemp("swept")
    for beta in (0.05, 0.1):
        for name, shift in (("nash_mp", 0.0), ("nash_md", 0.02)):
            for place, step in enumerate(STEPS):
                ratio = (0.5, 0.6, 0.7, 0.99)[place] + shift * (place < 3)
                curves = {seed: geometric(0.1 + seed / 50, ratio, SCHEDULE) for seed in range(7)}
                bounds = {seed: [0.8**queries for _, queries, _ in curve] for seed, curve in curves.items()}
                biased = {"method": {"caveat": "it is biased"}} if name == "nash_md" else {}
                write_run(
                    root, name, beta=beta, curves=curves, bounds=bounds, algorithm__step_size=step, summary=biased
                )
        curves = {seed: geometric(0.1 + seed / 50, 0.9, SCHEDULE) for seed in range(7)}
        write_run(root, "omd", beta=beta, curves=curves, algorithm__step_size="theory")
    return analyse(root, Criterion(target=1e-3))


def test_a_line_against_a_key_is_the_median_cost_and_crosses_stand_where_the_target_is_not_reached(swept):
    """level ratio^queries = 1e-3 in closed form; the median seed is the fourth of seven."""
    table = sensitivity.by_key(swept.observations, swept.study.rows, "algorithm.step_size")
    figure = sensitivity.against(table, "algorithm.step_size", "cost", swept.criterion, swept.caveats)
    assert [axis.get_title() for axis in figure.axes] == [f"random_tournament, beta = {beta}" for beta in (0.05, 0.1)]
    looks = looks_of(swept.study.rows.assign(method=swept.study.rows["algorithm"]))
    for axis in figure.axes:
        heights = []
        for name, shift in (("nash_mp", 0.0), ("nash_md", 0.02)):
            lines = [line for line in axis.lines if line.get_color() == looks[name].colour]
            (line,) = (found for found in lines if found.get_linestyle() == "-")
            (crosses,) = (found for found in lines if found.get_marker() == "x")
            expected = [math.log(1e-3 / 0.16) / math.log(ratio + shift) for ratio in (0.5, 0.6, 0.7)]
            assert line.get_xdata().tolist() == list(STEPS)
            assert line.get_ydata()[:3] == pytest.approx(expected, rel=1e-9)
            assert np.isnan(line.get_ydata()[3])
            assert crosses.get_xdata().tolist() == [3.0]
            heights.append(crosses.get_transform().transform((3.0, crosses.get_ydata()[0]))[1])
            curve = axis.transData.transform([(1.0, max(expected))])[0, 1]
            assert heights[-1] > curve
        assert len(set(heights)) == 2
        assert axis.get_xscale() == "log"
        assert (axis.get_xlabel(), axis.get_ylabel()) == ("step size", "preference queries to 0.001")
    assert {"nash_md †", "nash_mp"} < set(legend_of(figure))
    assert "† nash_md: it is biased." in [text.get_text() for text in figure.texts]


def test_rates_stand_beside_the_slope_that_the_theorem_promises(swept):
    table = sensitivity.by_key(swept.observations, swept.study.rows, "algorithm.step_size")
    figure = sensitivity.against(table, "algorithm.step_size", "rate", swept.criterion)
    looks = looks_of(swept.study.rows.assign(method=swept.study.rows["algorithm"]))
    (line,) = (found for found in solid(figure.axes[0]) if found.get_color() == looks["nash_mp"].colour)
    assert line.get_ydata() == pytest.approx([-math.log(ratio) for ratio in (0.5, 0.6, 0.7, 0.99)], rel=1e-6)
    (bound,) = (found for found in dashed(figure.axes[0]) if found.get_color() == looks["nash_mp"].colour)
    assert bound.get_ydata() == pytest.approx([-math.log(0.8)] * 4, rel=1e-9)
    assert figure.axes[0].get_ylabel() == "decrease of ln exploitability\nper preference query"
    assert "theorem" in legend_of(figure)


def test_last_values_against_a_key_are_medians(swept):
    table = sensitivity.by_key(swept.observations, swept.study.rows, "algorithm.step_size")
    figure = sensitivity.against(table, "algorithm.step_size", "final", swept.criterion)
    looks = looks_of(swept.study.rows.assign(method=swept.study.rows["algorithm"]))
    (line,) = (found for found in solid(figure.axes[0]) if found.get_color() == looks["nash_mp"].colour)
    expected = [0.16 * ratio**100 for ratio in (0.5, 0.6, 0.7, 0.99)]
    assert line.get_ydata() == pytest.approx(expected, rel=1e-6)


def test_a_narrow_range_of_a_key_is_linear(tmp_path):
    for value in (0.0, 0.5, 1.0):
        write_run(tmp_path, curves={0: geometric(1, 0.5, SCHEDULE)}, game__cyclicity=value)
    results = analyse(tmp_path, Criterion())
    table = sensitivity.by_key(results.observations, results.study.rows, "game.cyclicity")
    (axis,) = sensitivity.against(table, "game.cyclicity", "cost", results.criterion).axes
    assert axis.get_xscale() == "linear"
    assert axis.get_title() == "random_tournament, beta = 0.05"


def test_rates_without_a_positive_value_are_drawn_on_a_linear_scale(swept):
    table = sensitivity.by_key(swept.observations, swept.study.rows, "beta")
    for rate in (-0.1, np.nan):
        figure = sensitivity.against(table.assign(rate=rate, bound_rate=np.nan), "beta", "rate", swept.criterion)
        assert {axis.get_yscale() for axis in figure.axes} == {"linear"}
        output.settle(figure)


def test_where_no_algorithm_reaches_the_target_there_are_crosses_alone(tmp_path):
    for step in STEPS:
        write_run(tmp_path, curves={0: geometric(1, 0.99, SCHEDULE)}, algorithm__step_size=step)
    results = analyse(tmp_path, Criterion(target=1e-9))
    table = sensitivity.by_key(results.observations, results.study.rows, "algorithm.step_size")
    figure = sensitivity.against(table, "algorithm.step_size", "cost", results.criterion)
    (crosses,) = (line for line in figure.axes[0].lines if line.get_marker() == "x")
    assert crosses.get_xdata().tolist() == list(STEPS)
    output.svg(figure, "name")


# --- which pictures, their files, their words ------------------------------------------------------------------------


def test_a_study_has_the_pictures_that_its_data_allow(solved, swept):
    assert [picture.name for picture in pictures(solved)] == [
        "convergence", "kl_to_equilibrium", "seconds", "heatmap", "profile", "robustness"
    ]  # fmt: skip
    assert {picture.name for picture in pictures(swept)} >= {"convergence", "heatmap", "profile", "step_size"}
    for picture in pictures(swept):
        assert picture.caption.endswith(".")


def test_more_methods_than_can_be_shown_are_the_best_configuration_of_each_algorithm(tmp_path):
    for name in ("nash_mp", "omd"):
        for place in range(7):
            curves = {seed: geometric(1 + seed, 0.5 + place / 20, SCHEDULE) for seed in range(5)}
            write_run(tmp_path, name, curves=curves, algorithm__step_size=place + 1)
    found = {picture.name: picture.figure for picture in pictures(analyse(tmp_path, Criterion(target=1e-3)))}
    assert legend_of(found["convergence"]) == ["nash_mp, step_size = 1", "omd, step_size = 1"]
    assert len(solid(found["step_size"].axes[0])[0].get_xdata()) == 7  # this one shows every configuration


def test_methods_with_a_caveat_carry_a_mark_and_a_footnote(data):
    caveats = {"nash_md": "it is biased", "sppo": "its last iterate cycles"}
    figure = convergence(data, caveats=caveats)
    assert {name for name in legend_of(figure) if name.endswith(MARK)} == {"nash_md †", "sppo †"}
    (note,) = (text.get_text() for text in figure.texts if text.get_text())
    assert note.split("\n") == ["† nash_md: it is biased.", "† sppo: its last iterate cycles."]


def test_a_footnote_says_nothing_of_methods_that_are_not_shown(data):
    figure = convergence(data[data["algorithm"] == "nash_mp"], caveats={"nash_md": "it is biased"})
    assert [text.get_text() for text in figure.texts if text.get_text()] == []


def test_a_figure_is_saved_as_pdf_and_png(data, tmp_path):
    paths = output.save(convergence(data), tmp_path / "new" / "folder", "name")
    assert [path.name for path in paths] == ["name.pdf", "name.png"]
    assert paths[0].read_bytes().startswith(b"%PDF")
    assert paths[1].read_bytes().startswith(b"\x89PNG")


def test_the_same_figure_is_saved_to_the_same_bytes(data, tmp_path):
    first, second = (output.save(convergence(data), tmp_path / name, "name") for name in ("a", "b"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_figures_of_a_page_have_ids_of_their_own_and_refer_to_nothing_else(data):
    texts = [output.svg(convergence(data), name) for name in ("one", "two")]
    ids = [re.findall(r' id="([^"]+)"', text) for text in texts]
    assert len({*ids[0], *ids[1]}) == len(ids[0]) + len(ids[1])
    for text, own in zip(texts, ids, strict=True):
        used = re.findall(r"url\(#([^)]+)\)", text) + re.findall(r'href="#([^"]+)"', text)
        assert set(used) == set(own)
        assert text.startswith("<svg")
        assert INK not in text
        assert "currentColor" in text


def test_dollars_are_shown_and_are_no_mathematics(tmp_path):
    write_run(tmp_path, "costs_$5_or_$6", "game_of_$1_and_$2", curves={0: geometric(1, 0.5, SCHEDULE)})
    figure = convergence(load(tmp_path), caveats={"costs_$5_or_$6": "pay $1 or $2"})
    output.svg(figure, "name")
    texts = [figure.axes[0].title, *figure.legends[0].get_texts(), *figure.texts]
    for text in texts:
        shown, mathematics = text._preprocess_math(text.get_text())
        assert not mathematics
        assert shown.count("$") == (4 if "pay" in shown else 2)
        assert "\\" not in shown


def test_long_titles_are_broken_behind_commas_and_within_long_words():
    assert layout.wrapped("circle, beta = 0.05") == "circle, beta = 0.05"
    assert (
        layout.wrapped("general_preference, beta = 0.05, cyclicity = 0.25")
        == "general_preference, beta = 0.05,\ncyclicity = 0.25"
    )
    lines = layout.wrapped(f"game, path = {'x' * 100}", 30).split("\n")
    assert all(len(line) <= 31 for line in lines)
    assert "".join(lines).count("x") == 100


def test_ticks_on_a_short_axis_are_numbered_and_do_not_touch(tmp_path):
    write_run(tmp_path, curves={seed: geometric(0.1 + seed / 100, 0.9, range(5)) for seed in range(5)})
    figure = convergence(load(tmp_path))
    output.svg(figure, "name")
    axis = figure.axes[0].xaxis
    numbers = [tick.label1 for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()) if tick.label1.get_text()]
    low, high = figure.axes[0].get_xlim()
    boxes = sorted(
        (label.get_window_extent() for label in numbers if low <= label.get_position()[0] <= high), key=lambda b: b.x0
    )
    assert len(boxes) >= 3
    assert all(a.x1 < b.x0 for a, b in pairwise(boxes))
