"""An algorithm looks the same in every figure, and not like another one, to colour-blind readers too."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex, to_rgb

from nlhf.analysis.criterion import Criterion
from nlhf.analysis.figures import comparison
from nlhf.analysis.figures.convergence import convergence
from nlhf.analysis.figures.gallery import pictures
from nlhf.analysis.figures.style import COLOURS, FAMILIAR, looks_of
from nlhf.analysis.results import analyse
from tests.analysis.synthetic import geometric, write_run

SCHEDULE = [0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 60, 80, 100]
SIGHTS = {  # G. Machado, M. Oliveira, L. Fernandes (2009), severity 1.0, on linear RGB
    "usual": np.eye(3),
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
}
LINEAR_TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
SEEN_APART = 12.0  # CIE-Lab observations; about two are just noticeable side by side


def lab(colours, sight):
    """CIE-Lab, white D65, of colours as an eye sees them."""
    rgb = np.array([to_rgb(colour) for colour in colours])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = np.clip(linear @ np.array(SIGHTS[sight]).T, 0, 1) @ LINEAR_TO_XYZ.T / [0.9505, 1, 1.089]
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=-1)


def table(*algorithms):
    return pd.DataFrame({"algorithm": algorithms, "method": algorithms})


@pytest.mark.parametrize("sight", SIGHTS)
def test_every_two_colours_are_seen_apart(sight):
    seen = lab(COLOURS, sight)
    nearest = min((np.linalg.norm(a - b), i, j) for (i, a), (j, b) in combinations(enumerate(seen), 2))
    assert nearest[0] > SEEN_APART, [COLOURS[k] for k in nearest[1:]]


def test_every_colour_is_seen_on_white_paper():
    white = lab(["#ffffff"], "usual")
    assert (np.linalg.norm(lab(COLOURS, "usual") - white, axis=1) > 30).all()


def test_no_two_of_fourteen_algorithms_share_colour_and_marker():
    looks = looks_of(table(*FAMILIAR, "comal", "mpo", "regret_matching", "predictive_regret_matching"))
    assert len({(look.colour, look.marker) for look in looks.values()}) == 14
    assert len({looks[name].colour for name in FAMILIAR}) == len(FAMILIAR)


def test_a_familiar_algorithm_looks_the_same_in_every_study():
    alone, among = looks_of(table("omd")), looks_of(table("mine", "nash_mp", "omd", "sppo"))
    assert alone["omd"] == among["omd"]


def test_an_unknown_algorithm_takes_a_colour_that_no_other_one_has():
    looks = looks_of(table("mine", "yours", *FAMILIAR[:7]))
    assert len({look.colour for look in looks.values()}) == 9
    assert len({look.marker for look in looks.values()}) == 9


def test_configurations_of_an_algorithm_are_shades_with_its_marker():
    data = pd.DataFrame({"algorithm": ["omd"] * 3 + ["mine"], "method": ["omd, a", "omd, b", "omd, c", "mine"]})
    looks = looks_of(data)
    shades = [looks[f"omd, {name}"] for name in "abc"]
    assert len({to_hex(look.colour) for look in shades}) == 3
    assert {look.marker for look in shades} == {looks_of(table("omd"))["omd"].marker}
    seen = lab([look.colour for look in shades] + [looks_of(table("omd"))["omd"].colour], "usual")
    assert np.ptp(np.arctan2(seen[:, 2], seen[:, 1])) < 0.5  # one hue


def test_an_algorithm_has_one_look_in_all_figures_of_a_study(tmp_path):
    """A study in which one algorithm has no number for the key of one figure, so that it is not in that figure."""
    for number, name in enumerate(("mine", "nash_mp", "omd", "other")):
        curves = {seed: geometric(0.1 + seed / 100, 0.6 + 0.1 * number, SCHEDULE) for seed in range(6)}
        for step in ("theory",) if name == "mine" else (0.1, 0.3, 1, 3):
            write_run(tmp_path, name, curves=curves, algorithm__step_size=step)
    results = analyse(tmp_path, Criterion(target=1e-3))
    found = {}
    for picture in pictures(results):
        for legend in picture.figure.legends:
            for text, line in zip(legend.get_texts(), legend.get_lines(), strict=True):
                name = text.get_text().partition(",")[0]
                if name in ("mine", "nash_mp", "omd", "other"):
                    found.setdefault(name, {}).setdefault(picture.name, line)
    assert set(found["omd"]) >= {"convergence", "seconds", "step_size", "profile"}
    assert "step_size" not in found["mine"]
    for lines in found.values():
        assert len({line.get_marker() for line in lines.values()}) == 1
        hues = {name: to_rgb(line.get_color()) for name, line in lines.items()}
        seen = lab(hues.values(), "usual")
        assert np.ptp(np.arctan2(seen[:, 2], seen[:, 1])) < 0.6
    markers = [next(iter(lines.values())).get_marker() for lines in found.values()]
    assert len(set(markers)) == 4


def test_lines_have_the_looks_that_the_legend_shows(tmp_path):
    for number, name in enumerate(("nash_mp", "omd", "mine")):
        write_run(tmp_path, name, curves={0: geometric(0.1, 0.5 + 0.1 * number, SCHEDULE)})
    results = analyse(tmp_path, Criterion(target=1e-3))
    looks = looks_of(results.study.rows)
    for figure in (convergence(results.study.rows), comparison.performance_profile(results.observations)):
        expected = {(look.colour, look.marker) for look in looks.values()}
        assert {(line.get_color(), line.get_marker()) for line in figure.axes[0].lines} == expected
        (legend,) = figure.legends
        shown = {
            text.get_text(): (line.get_color(), line.get_marker())
            for text, line in zip(legend.get_texts(), legend.get_lines(), strict=True)
        }
        assert shown == {name: (look.colour, look.marker) for name, look in looks.items()}
