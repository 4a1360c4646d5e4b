"""Figures of one game: policies where they are on the simplex, preferences by score, mixtures with their names."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from matplotlib.patches import Rectangle

from nlhf.analysis.criterion import Criterion
from nlhf.analysis.figures import games, simplex
from nlhf.analysis.figures.gallery import first_runs, pictures
from nlhf.analysis.figures.style import looks_of
from nlhf.analysis.results import analyse
from nlhf.analysis.study import load
from nlhf.equilibria.metrics import exploitability_of
from tests.analysis.synthetic import geometric, write_run

SCHEDULE = [0, 1, 2, 3, 4, 5]
NAMES = ("rock", "paper", "scissors")
CYCLE = np.array([[0.5, 0.1, 0.8], [0.9, 0.5, 0.3], [0.2, 0.7, 0.5]])  # scissors beat paper beat rock beat scissors
REFERENCE = np.array([0.6, 0.3, 0.1])
EQUILIBRIUM = np.array([0.25, 0.45, 0.3])
BETA = 0.07


def write_game(
    folder, preference=CYCLE, items=NAMES, contexts=("",), reference=REFERENCE, equilibrium=EQUILIBRIUM, **extra
):
    """game.npz of one instance, as the trainer writes it."""
    contexts = list(contexts)
    arrays = {"items": np.array(items), "contexts": np.array(contexts), **extra}
    shape = (1, len(contexts), len(items))
    arrays["log_reference"] = np.broadcast_to(np.log(reference), shape)
    if equilibrium is not None:
        arrays["log_equilibrium"] = np.broadcast_to(np.log(equilibrium), shape)
    if preference is not None:
        arrays["preference"] = np.broadcast_to(preference, (1, len(contexts), len(items), len(items)))
    np.savez(folder / "game.npz", **arrays)


def write_policies(folder, policies, items=NAMES, seed=0):
    """policies.csv of (iteration, probabilities) pairs."""
    lines = ["seed,iteration,context,action,log_probability"]
    for iteration, policy in policies:
        with np.errstate(divide="ignore"):
            lines += [f"{seed},{iteration},,{a},{float(v)!r}" for a, v in zip(items, np.log(policy), strict=True)]
    (folder / "policies.csv").write_text("\n".join(lines) + "\n")


def runs_of(folder):
    return load(folder).drop_duplicates("folder")


# --- the simplex -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("beta", [0.0, 0.003, 0.07, 2.0])
def test_the_level_sets_are_those_of_the_exploitability_that_runs_are_measured_by(beta):
    rng = np.random.default_rng(1)
    for _ in range(3):
        upper = np.triu(rng.random((3, 3)), 1)
        preference = upper + np.tril(1 - upper.T, -1) + np.eye(3) / 2
        reference, policies = rng.dirichlet(np.ones(3)), rng.dirichlet(np.ones(3), 20)
        found = simplex.exploitability(policies, preference, reference, beta)
        advantage = torch.tensor(policies @ (preference - 0.5).T)
        expected = exploitability_of(
            torch.tensor(policies).log(),
            advantage,
            torch.tensor(reference).log(),
            torch.tensor(beta, dtype=torch.float64),
        )
        assert found == pytest.approx(expected.numpy(), rel=1e-9, abs=1e-12)


def test_the_exploitability_is_finite_on_the_border_of_the_simplex():
    corners = np.vstack([np.eye(3), [0.5, 0.5, 0.0]])
    values = simplex.exploitability(corners, CYCLE, REFERENCE, BETA)
    assert np.isfinite(values).all()
    assert (values > 0).all()


@pytest.fixture
def trajectory(tmp_path):
    """A run with three actions whose policies are known."""
    folder = write_run(tmp_path, "nash_mp", "rock_paper_scissors", BETA, curves={0: geometric(0.1, 0.5, SCHEDULE)})
    write_game(folder)
    path = [(0, REFERENCE), (1, [0.2, 0.5, 0.3]), (2, [0.0, 0.2, 0.8]), (10, [0.3, 0.4, 0.3])]
    write_policies(folder, path)
    return folder, np.array([policy for _, policy in path])


def place(policy):
    """Barycentric coordinates by hand: left, right and upper corner."""
    a, b, c = policy
    assert a + b + c == pytest.approx(1)
    return b + c / 2, c * 3**0.5 / 2


def marker(axis, kind):
    (line,) = (line for line in axis.lines if line.get_marker() == kind)
    return tuple(float(value) for (value,) in (line.get_xdata(), line.get_ydata()))


def test_policies_equilibrium_and_reference_are_where_they_belong(trajectory):
    folder, policies = trajectory
    (axis,) = simplex.simplex(runs_of(folder)).axes
    assert marker(axis, "*") == pytest.approx(place(EQUILIBRIUM))
    assert marker(axis, "o") == pytest.approx(place(REFERENCE))
    assert marker(axis, "s") == pytest.approx(place(policies[-1]))
    (path,) = (line for line in axis.lines if line.get_marker() == ".")
    assert np.column_stack(path.get_data()) == pytest.approx(np.array([place(policy) for policy in policies]))
    assert path.get_color() == looks_of(runs_of(folder))["nash_mp"].colour
    corners = {text.get_text(): text.get_position() for text in axis.texts}
    for name, corner in zip(NAMES, np.eye(3), strict=True):
        assert corners[name] == pytest.approx(place(corner), abs=0.06)


def test_level_sets_fall_towards_the_equilibrium(tmp_path, trajectory):
    folder, _ = trajectory
    (axis,) = simplex.simplex(runs_of(folder)).axes
    filled, *_ = axis.collections
    assert len(filled.levels) == 9
    assert (np.diff(filled.levels) > 0).all()
    grid = np.random.default_rng(0).dirichlet(np.ones(3), 4000)
    values = simplex.exploitability(grid, CYCLE, REFERENCE, BETA)
    assert filled.levels[-1] == pytest.approx(values.max(), rel=0.05)


def test_a_game_of_four_actions_or_without_policies_is_not_on_the_simplex(tmp_path, trajectory):
    folder, _ = trajectory
    (folder / "policies.csv").rename(folder / "elsewhere.csv")
    assert simplex.simplex(runs_of(folder)) is None
    (folder / "elsewhere.csv").rename(folder / "policies.csv")
    write_game(folder, np.full((4, 4), 0.5), "abcd", reference=np.full(4, 0.25), equilibrium=None)
    assert simplex.simplex(runs_of(folder)) is None


@pytest.mark.parametrize("content", ["", "seed,iteration,context,action,log_probability\n"])
def test_a_file_without_policies_is_no_trajectory(trajectory, content):
    folder, _ = trajectory
    (folder / "policies.csv").write_text(content)
    assert simplex.simplex(runs_of(folder)) is None


def test_actions_may_be_called_as_missing_values_and_numbers_are(tmp_path):
    folder = write_run(tmp_path, "nash_mp", "matrix", BETA, curves={0: geometric(0.1, 0.5, SCHEDULE)})
    items = ("NA", "1", "null")
    write_game(folder, items=items)
    write_policies(folder, [(0, REFERENCE), (1, EQUILIBRIUM)], items)
    (axis,) = simplex.simplex(runs_of(folder)).axes
    assert marker(axis, "s") == pytest.approx(place(EQUILIBRIUM))


def test_a_method_that_rests_elsewhere_carries_its_mark_on_the_simplex(trajectory):
    folder, _ = trajectory
    figure = simplex.simplex(runs_of(folder), {"nash_mp": "it does not"})
    assert figure.axes[0].get_title() == "nash_mp †"
    assert "† nash_mp: it does not." in [text.get_text() for text in figure.texts]


# --- preferences -----------------------------------------------------------------------------------------------------


def test_items_stand_in_the_order_of_their_scores_and_cells_hold_their_preferences(tmp_path):
    """A transitive game whose items are written down in another order than that of their strengths."""
    strengths = {"weak": -1.0, "best": 2.0, "good": 0.7, "poor": -2.0}
    s = np.array(list(strengths.values()))
    preference = 1 / (1 + np.exp(s[None, :] - s[:, None]))
    write_game(tmp_path, preference, list(strengths), reference=np.full(4, 0.25), equilibrium=None)
    figure = games.preference_matrix(tmp_path, "title")
    axis = figure.axes[0]
    order = ["best", "good", "weak", "poor"]
    assert [label.get_text() for label in axis.get_xticklabels()] == order
    assert [label.get_text() for label in axis.get_yticklabels()] == order
    (image,) = axis.images
    for i, a in enumerate(order):
        for j, b in enumerate(order):
            assert image.get_array()[i, j] == pytest.approx(1 / (1 + np.exp(strengths[b] - strengths[a])))
    cells = {(round(y), round(x)): text.get_text() for text in axis.texts for x, y in [text.get_position()]}
    assert len(cells) == 12
    assert cells[0, 1] == f"{1 / (1 + np.exp(-1.3)):.2f}".removeprefix("0")
    assert [patch for patch in axis.patches if isinstance(patch, Rectangle)] == []


def test_the_majorities_of_every_cycle_are_framed_and_no_others(tmp_path):
    """A strong item above the cycle: rock beats scissors beats paper beats rock."""
    preference = np.full((4, 4), 0.9)
    preference[1:, 1:] = CYCLE
    preference[0, 0], preference[1:, 0] = 0.5, 0.1
    items = ["strong", *NAMES]
    write_game(tmp_path, preference, items, reference=np.full(4, 0.25), equilibrium=None)
    axis = games.preference_matrix(tmp_path, "title").axes[0]
    order = [label.get_text() for label in axis.get_xticklabels()]
    framed = {(order[round(p.get_y() + 0.44)], order[round(p.get_x() + 0.44)]) for p in axis.patches}
    assert framed == {("rock", "scissors"), ("scissors", "paper"), ("paper", "rock")}
    said = games.cycle_sentence(tmp_path, "title")
    assert said.startswith("title: 1 of 4 triples are cyclic by majority;")
    assert "rock ≻ scissors ≻ paper ≻ rock" in said


def test_chance_is_spoken_of_where_numbers_of_votes_are_known(tmp_path):
    votes = np.zeros((2, 1, 3, 3))
    votes[0] = 200 * (1 - np.eye(3))
    write_game(tmp_path, votes=votes)
    assert "on average under a Bradley-Terry model (p = " in re.sub(
        "p < ", "p = ", games.cycle_sentence(tmp_path, "title")
    )
    write_game(tmp_path)
    assert "not known well enough to test" in games.cycle_sentence(tmp_path, "title")


def test_of_several_contexts_the_first_is_shown_and_named(tmp_path):
    write_game(tmp_path, contexts=("math", "poems"))
    assert games.preference_matrix(tmp_path, "mine").axes[0].get_title() == "mine, context math"
    assert games.cycle_sentence(tmp_path, "mine").startswith("mine, context math: ")


@pytest.mark.parametrize("what", ["no file", "no matrix", "many items"])
def test_without_a_matrix_that_can_be_read_there_is_no_picture(tmp_path, what):
    many = games.MOST_ITEMS + 1
    if what == "no matrix":
        write_game(tmp_path, preference=None)
    elif what == "many items":
        half = np.full((many, many), 0.5)
        write_game(
            tmp_path, half, [f"item {k}" for k in range(many)], reference=np.full(many, 1 / many), equilibrium=None
        )
    assert games.preference_matrix(tmp_path, "title") is None
    assert games.cycle_sentence(tmp_path, "title") == ""


# --- mixtures --------------------------------------------------------------------------------------------------------


def test_mixtures_are_bars_with_the_names_of_items_the_largest_on_top(tmp_path):
    write_game(tmp_path)
    figure = games.mixtures({"mine": tmp_path})
    (axis,) = figure.axes
    names = [label.get_text() for label in axis.get_yticklabels()]
    assert names[::-1] == ["paper", "scissors", "rock"]
    bars = {name: {} for name in names}
    for patch in axis.patches:
        middle = patch.get_y() + patch.get_height() / 2
        row = round(middle)
        bars[names[row]]["equilibrium" if middle > row else "reference"] = patch.get_width()
    for k, name in enumerate(NAMES):
        assert bars[name] == pytest.approx({"equilibrium": EQUILIBRIUM[k], "reference": REFERENCE[k]})
    legend = {text.get_text(): patch.get_facecolor() for text, patch in
              zip(figure.legends[0].get_texts(), figure.legends[0].get_patches(), strict=True)}  # fmt: skip
    upper = [patch for patch in axis.patches if patch.get_y() + patch.get_height() / 2 > round(patch.get_y() + 0.2)]
    assert {patch.get_facecolor() for patch in upper} == {legend["equilibrium"]}


def test_over_contexts_mixtures_are_averages(tmp_path):
    write_game(tmp_path, contexts="ab")
    with np.load(tmp_path / "game.npz") as stored:
        arrays = dict(stored)
    arrays["log_equilibrium"] = np.log(np.array([[[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]]]))
    np.savez(tmp_path / "game.npz", **arrays)
    (axis,) = games.mixtures({"mine": tmp_path}).axes
    widths = sorted(
        patch.get_width() for patch in axis.patches if patch.get_facecolor() != axis.patches[-1].get_facecolor()
    )
    assert widths == pytest.approx([0.3, 0.3, 0.4])


def test_a_game_without_an_equilibrium_has_no_mixture(tmp_path):
    write_game(tmp_path, equilibrium=None)
    assert games.mixtures({"mine": tmp_path}) is None


# --- in a study ------------------------------------------------------------------------------------------------------


def test_every_game_whose_items_are_worth_naming_is_drawn_once(tmp_path):
    curves = {0: geometric(0.1, 0.5, SCHEDULE)}
    for name in ("nash_mp", "omd"):
        write_game(write_run(tmp_path, name, "mine", BETA, curves=curves))
        write_game(write_run(tmp_path, name, "other", BETA, curves=curves))
        write_run(tmp_path, name, "large", BETA, curves=curves)  # no game.npz
    assert list(first_runs(runs_of(tmp_path))) == [f"mine, beta = {BETA}", f"other, beta = {BETA}"]
    found = [picture for picture in pictures(analyse(tmp_path, Criterion())) if "preferences" in picture.name]
    assert [picture.name for picture in found] == ["preferences-1", "preferences-2"]
    assert found[1].caption.startswith(
        f"Sorted by decreasing Bradley-Terry score. other, beta = {BETA}: 1 of 1 triples"
    )


def test_a_run_without_its_game_does_not_hide_that_of_another_run(tmp_path):
    curves = {0: geometric(0.1, 0.5, SCHEDULE)}
    write_run(tmp_path, "a", "mine", BETA, curves=curves)
    folder = write_run(tmp_path, "b", "mine", BETA, curves=curves)
    write_game(folder)
    assert first_runs(runs_of(tmp_path)) == {f"mine, beta = {BETA}": folder}


def test_a_run_without_its_config_has_no_beta_and_no_level_sets(trajectory):
    folder, _ = trajectory
    assert simplex.simplex(runs_of(folder).assign(beta=np.nan)) is None
