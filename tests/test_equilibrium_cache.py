"""What a damaged or crafted file under runs_dir/.equilibria may do: nothing. It is recognised and computed again."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nlhf.equilibria import cache, store
from nlhf.equilibria.cache import reference_equilibria
from nlhf.equilibria.store import digest_of, key_of
from nlhf.games.listed import numbered
from nlhf.games.low_rank import LowRank
from nlhf.games.matrix import MatrixGame
from nlhf.io.arrays import read_arrays
from tests.adversarial import matrix_game, uniform

pytestmark = pytest.mark.usefixtures("one_thread")

N = 5


def game_of(seed):
    return matrix_game(uniform(N, np.random.default_rng(seed)))


GAME, OTHER = game_of(1), game_of(2)
REFERENCE = torch.zeros(1, 1, N, dtype=torch.float64).log_softmax(-1)


def solved(cache, game=GAME, beta=0.1):
    result = reference_equilibria(game, REFERENCE, beta, "always", cache)
    return result.log_policy, result.summary


def same(one, other):
    return torch.equal(one[0].nan_to_num(9), other[0].nan_to_num(9)) and one[1] == other[1]


def arrays_of(path):
    arrays = read_arrays(path)
    assert arrays is not None
    return arrays


def rewritten(change):
    """A damage: the arrays of a file, changed and written back."""
    return lambda path: np.savez(path, **change(arrays_of(path)))


def withdigest_of(path, policy):
    """What somebody writes who knows the format."""
    np.savez(path, log_policy=policy, digest=np.array(digest_of(path.stem, policy)))


def bent(path):
    """Somebody exchanges the equilibrium for the uniform policy, with the right digest."""
    withdigest_of(path, np.full((1, N), -np.log(N)))


DAMAGES = {
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("an equilibrium"),
    "deleted": lambda path: path.unlink(),
    "an npy file": lambda path: path.write_bytes(_npy()),
    "uniform": rewritten(lambda arrays: arrays | {"log_policy": np.full((1, N), -np.log(N))}),
    "claims": lambda path: np.savez(path, log_policy=np.full((1, N), -np.log(N)), exploitability=np.zeros(1),
                                    floor=np.ones(1), unique=np.ones(1, bool)),
    "swapped": rewritten(lambda arrays: dict(zip(arrays, reversed(arrays.values()), strict=True))),
    "no digest": rewritten(lambda arrays: {"log_policy": arrays["log_policy"]}),
    "shape": rewritten(lambda arrays: arrays | {"log_policy": arrays["log_policy"][:, :3]}),
    "more dimensions": rewritten(lambda arrays: arrays | {"log_policy": arrays["log_policy"][None]}),
    "float32": rewritten(lambda arrays: arrays | {"log_policy": arrays["log_policy"].astype(np.float32)}),
    "words": rewritten(lambda arrays: arrays | {"log_policy": np.array([["a"] * N])}),
    "nan": rewritten(lambda arrays: arrays | {"log_policy": np.full((1, N), np.nan)}),
    "nan with digest": lambda path: withdigest_of(path, np.full((1, N), np.nan)),
    "infinite with digest": lambda path: withdigest_of(path, np.full((1, N), np.inf)),
    "not normalised with digest": lambda path: withdigest_of(path, np.zeros((1, N))),
    "permuted": rewritten(lambda arrays: arrays | {"log_policy": arrays["log_policy"][:, ::-1]}),
}  # fmt: skip


def _npy():
    import io

    stream = io.BytesIO()
    np.save(stream, np.zeros((1, N)))
    return stream.getvalue()


@pytest.mark.parametrize("beta", [0.1, 0.0])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_computed_again_and_rewritten(tmp_path, damage, beta):
    first = solved(tmp_path, beta=beta)
    assert first[1]["certified"]
    (path,) = tmp_path.iterdir()
    whole = arrays_of(path)
    DAMAGES[damage](path)
    assert same(solved(tmp_path, beta=beta), first)
    repaired = arrays_of(path)
    assert whole.keys() == repaired.keys()
    assert all(np.array_equal(whole[name], repaired[name]) for name in whole)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_a_whole_file_is_read_and_not_computed_again(tmp_path, monkeypatch):
    first = {beta: solved(tmp_path, beta=beta) for beta in (0.1, 0.0)}
    monkeypatch.setattr(cache, "solve", None)
    for beta in (0.1, 0.0):
        assert same(solved(tmp_path, beta=beta), first[beta])


@pytest.mark.parametrize("beta", [0.1, 0.0])
def test_whatever_a_file_claims_its_exploitability_is_measured(tmp_path, beta, caplog):
    """A crafted uniform "equilibrium" was accepted as certified."""
    solved(tmp_path, beta=beta)
    (path,) = tmp_path.iterdir()
    bent(path)
    log_policy, summary = solved(tmp_path, beta=beta)
    assert not summary["certified"]
    assert summary["exploitability"] > 1e-4
    assert log_policy.isnan().all()
    assert "no certified equilibrium" in caplog.text


@pytest.mark.parametrize("beta", [0.1, 0.0])
def test_another_games_file_is_not_this_games(tmp_path, beta):
    first, other = solved(tmp_path / "a", GAME, beta), solved(tmp_path / "b", OTHER, beta)
    assert not same(first, other)
    (mine,), (theirs,) = (tmp_path / "a").iterdir(), (tmp_path / "b").iterdir()
    assert mine.name != theirs.name
    mine.write_bytes(theirs.read_bytes())
    assert same(solved(tmp_path / "a", GAME, beta), first)


@pytest.mark.parametrize("factor", [1, 8])
def test_every_byte_that_is_flipped_or_cut_gives_the_same_equilibrium(tmp_path, factor):
    first = solved(tmp_path)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    rng = np.random.default_rng(factor)
    for _ in range(60):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(whole), factor):
            damaged[place] ^= 1 << rng.integers(0, 8)
        path.write_bytes(damaged)
        assert same(solved(tmp_path), first)
        path.write_bytes(whole[: rng.integers(0, len(whole))])
        assert same(solved(tmp_path), first)
    assert arrays_of(path).keys() == {"log_policy", "digest"}


def test_a_new_version_of_the_method_reads_no_old_file(tmp_path, monkeypatch):
    solved(tmp_path)
    monkeypatch.setattr(store, "VERSION", store.VERSION + 1)
    solved(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_keys_tell_games_methods_and_strengths_apart():
    tensors = (GAME.dense()[0], REFERENCE[0])
    keys = {key_of(method, pair, beta) for method in ("newton", "interior point") for beta in (0.0, 0.1, 0.2)
            for pair in (tensors, tensors[::-1], (GAME.dense(), REFERENCE))}  # fmt: skip
    assert len(keys) == 2 * 3 * 3


@pytest.mark.parametrize("beta", [0.1, 0.0])
def test_games_without_matrices_are_measured_when_they_are_read_too(tmp_path, beta, monkeypatch):
    monkeypatch.setattr("nlhf.equilibria.cache.LARGEST", {"newton": 2, "interior point": 2})
    game = LowRank(40, 4, 1, 1.5).build([0])
    log_reference = torch.zeros(1, 1, 40, dtype=torch.float64).log_softmax(-1)
    first = reference_equilibria(game, log_reference, beta, "always", tmp_path)
    assert first.summary["certified"]
    (path,) = tmp_path.iterdir()
    withdigest_of(path, np.full((1, 1, 40), -np.log(40)))
    assert not reference_equilibria(game, log_reference, beta, "always", tmp_path).summary["certified"]
    path.write_bytes(path.read_bytes()[:-30])
    again = reference_equilibria(game, log_reference, beta, "always", tmp_path)
    assert again.summary == first.summary
    assert again.solution.log_policy.equal(first.solution.log_policy)


@pytest.mark.parametrize(
    "content",
    [b"", b"PK\x03\x04", b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'fortran_order': False, 'shape': (9999999999999,), }",
     b"\x93NUMPY\x01\x00\x08\x00{'descr'", b"\x93NUMPY\x09\x00", b"\x80\x04."],
)  # fmt: skip
def test_arrays_that_cannot_be_read_are_none(tmp_path, content):
    path = tmp_path / "file.npz"
    path.write_bytes(content)
    assert read_arrays(path) is None


def test_a_member_that_is_no_array_makes_a_file_unreadable(tmp_path):
    """numpy returns the bytes of such a member."""
    import zipfile

    with zipfile.ZipFile(tmp_path / "file.npz", "w") as archive:
        archive.writestr("log_policy.npy", b"no array")
    assert read_arrays(tmp_path / "file.npz") is None
    assert read_arrays(tmp_path) is None
    assert read_arrays(tmp_path / "missing") is None


# --- long solutions are announced ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("actions", "beta", "seconds"),
    [(3000, 1e-3, 30), (3000, 0.05, None), (2400, 1e-8, 51), (2400, 0.5, None), (300, 1e-8, None)],
)
def test_a_solution_that_takes_long_is_announced_before_it_starts(
    tmp_path, caplog, monkeypatch, actions, beta, seconds
):
    """One core took 32 s for 3000 actions at beta = 0.001, and 0.7 s at 0.05."""
    advantage = torch.zeros(1, 1, dtype=torch.float64).expand(1, 1, actions, actions)
    game = MatrixGame(advantage, numbered("item", actions), ("all",))
    reference = torch.full((1, 1, actions), -float(np.log(actions)), dtype=torch.float64)
    announced = []

    def solve(*_):
        announced.extend(record.getMessage() for record in caplog.records)
        raise InterruptedError

    for name in ("solve", "solve_matrix_free"):
        monkeypatch.setattr(cache, name, solve)
    with pytest.raises(InterruptedError):
        reference_equilibria(game, reference, beta, "auto", tmp_path)
    words = f"solving the reference equilibrium of {actions} actions at beta={beta:g} may take about {seconds} s; "
    assert announced == ([f"{words}equilibrium=never skips it"] if seconds else [])


def test_warnings_and_the_summary_are_in_the_users_units(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(cache, "LONG", -1.0)
    plain = solved(tmp_path / "plain")[1]
    assert "solving the reference equilibrium of 5 actions at beta=0.1 may take" in caplog.text
    summary = reference_equilibria(GAME, REFERENCE, 0.1, "always", tmp_path / "scaled", 4.0).summary
    assert "at beta=0.4 may take" in caplog.text
    assert summary["exploitability"] == 4 * plain["exploitability"]
    assert summary["floor"] == 4 * plain["floor"]
