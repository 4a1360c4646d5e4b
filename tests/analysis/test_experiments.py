"""Every preset of conf/experiment has a figure of its own, drawn here from a miniature of the preset."""

from __future__ import annotations

import numpy as np
import pytest

from nlhf.analysis.criterion import Criterion
from nlhf.analysis.figures.gallery import KINDS, pictures
from nlhf.analysis.figures.preset import preset_names, preset_of
from nlhf.analysis.figures.style import looks_of
from nlhf.analysis.results import analyse
from tests.analysis.presets import PRESETS, SMALL, run_preset
from tests.analysis.synthetic import geometric, write_run
from tests.analysis.test_layout import check

pytestmark = pytest.mark.usefixtures("one_thread")
SCHEDULE = [0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20]


def test_every_preset_has_a_figure_and_every_figure_a_preset():
    assert sorted(preset_names()) == PRESETS


def test_what_a_preset_makes_needless_is_a_kind_of_the_gallery():
    for experiment in map(preset_of, preset_names()):
        assert experiment.same_as <= set(KINDS)
        assert experiment.question.endswith("?")
        assert experiment.caption.endswith(".")


@pytest.mark.parametrize("preset", SMALL)
def test_a_miniature_of_the_preset_is_drawn(preset, tmp_path):
    small = ["game.actions=5"] if preset in ("rates", "intransitivity", "step_size", "tune_step_size") else []
    study = run_preset(preset, tmp_path, *small)
    results = analyse(study, Criterion(target=0.1))
    assert results.study.experiment == preset
    first = next(pictures(results))
    assert first.name == preset
    assert first.caption.startswith(preset_of(preset).caption)
    check(first.figure)


def test_what_is_seldom_said_is_said_of_human_votes(tmp_path):
    study = run_preset("human_votes", tmp_path)
    first, *others = pictures(analyse(study, Criterion()))
    assert not preset_of("human_votes").same_as & {picture.name for picture in others}
    _, *said = first.caption.split("\n")
    assert len(said) == 2  # a sentence a game
    assert any("mtbench" in sentence for sentence in said)
    assert all("are cyclic by majority" in sentence for sentence in said)


def study(root, preset, **config):
    """A synthetic study that says that it is of a preset."""
    for place, name in enumerate(("nash_mp", "omd")):
        for game in ("circle", "votes"):
            curves = {seed: geometric(0.1 + seed / 50, 0.5 + place / 5, SCHEDULE) for seed in range(7)}
            average = {seed: [10 * value for *_, value in curve] for seed, curve in curves.items()}
            write_run(root, name, game, curves=curves, extra={"average_exploitability": average},
                      overrides=[f"experiment={preset}", f"algorithm={name}", f"game={game}"], **config)  # fmt: skip


def test_without_a_kl_term_last_iterates_are_solid_and_averages_dashed(tmp_path):
    study(tmp_path, "unregularised", beta=0.0)
    results = analyse(tmp_path, Criterion(target=1e-3))
    first = next(pictures(results))
    looks = looks_of(results.study.rows)
    assert len(first.figure.axes) == 2
    for axis in first.figure.axes:
        for place, name in enumerate(("nash_mp", "omd")):
            lines = {line.get_linestyle(): line for line in axis.lines if line.get_color() == looks[name].colour}
            expected = 0.16 * (0.5 + place / 5) ** np.array(SCHEDULE[1:])  # the median of seven seeds
            assert lines["-"].get_ydata() == pytest.approx(expected)
            assert lines["--"].get_ydata() == pytest.approx(10 * expected)


def test_certified_values_are_solid_and_true_ones_dashed_and_zeros_stay_in_the_panel(tmp_path):
    certified = {seed: [0.5 * 0.9**k for k in SCHEDULE] for seed in range(7)}
    for name in ("asking", "asking_uniform"):
        curves = {seed: [(k, k, 0.1 if k < 10 else 0.0) for k in SCHEDULE] for seed in range(7)}
        write_run(tmp_path, name, curves=curves, extra={"certified_exploitability": certified},
                  overrides=["experiment=asking", f"algorithm={name}"], beta=0.0)  # fmt: skip
    results = analyse(tmp_path, Criterion())
    assert (results.criterion.metric, results.criterion.target) == ("certified_exploitability", 0.05)
    (axis,) = next(pictures(results)).figure.axes
    look = looks_of(results.study.rows)["asking"]
    lines = {line.get_linestyle(): line for line in axis.lines if line.get_color() == look.colour}
    assert lines["-"].get_ydata() == pytest.approx(0.5 * 0.9 ** np.array(SCHEDULE[1:]))
    assert lines["--"].get_ydata() == pytest.approx([0.1 if k < 10 else 1e-3 for k in SCHEDULE[1:]])


def test_a_study_with_a_method_that_does_not_ask_is_compared_by_the_true_exploitability(tmp_path):
    for name in ("asking", "nash_mp"):
        extra = {"certified_exploitability": {0: [0.5 if name == "asking" else np.nan] * len(SCHEDULE)}}
        write_run(tmp_path, name, curves={0: geometric(0.1, 0.9, SCHEDULE)}, extra=extra)
    assert analyse(tmp_path, Criterion()).criterion == Criterion()


def test_sizes_of_the_action_space_are_lines_of_one_panel_an_algorithm(tmp_path):
    for actions, level in ((10, 1.0), (100, 2.0)):
        for name in ("nash_mp", "omd"):
            write_run(tmp_path, name, curves={0: geometric(level, 0.8, SCHEDULE)}, game__actions=actions,
                      overrides=["experiment=action_space"])  # fmt: skip
    first = next(pictures(analyse(tmp_path, Criterion())))
    assert [axis.get_title() for axis in first.figure.axes] == ["nash_mp", "omd"]
    for axis in first.figure.axes:
        assert sorted(line.get_ydata()[0] for line in axis.lines) == pytest.approx([0.8, 1.6])
    assert len({axis.get_ylim() for axis in first.figure.axes}) == 1
    assert [text.get_text() for text in first.figure.legends[0].get_texts()] == ["10 actions", "100 actions"]


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_without_the_data_of_its_figure_still_has_another_one(tmp_path, preset):
    study(tmp_path, preset)
    assert next(pictures(analyse(tmp_path, Criterion(target=1e-3)))).name in {preset, "convergence"}
