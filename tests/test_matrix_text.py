"""A matrix is read as NumPy, pandas, R and spreadsheets write it, with its names; two digits are rounded if wanted."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd
import pytest

from nlhf.config import ConfigError
from nlhf.games.matrix_file import MatrixFile
from nlhf.io.inputs import InputFile
from nlhf.numerics.streams import stream

P = np.array([[0.5, 0.7, 0.125], [0.3, 0.5, 0.6], [0.875, 0.4, 0.5]])
NAMES = ["gpt 4", "b", "c"]
NUMBERED = ("item0", "item1", "item2")


def frame(**options):
    return pd.DataFrame(P, **options)


def read(path, **options):
    return MatrixFile(InputFile(str(path), "game.path"), **options).table(stream(0, "game"))


# how a file is written, and the names that it gives the items
WRITERS = {
    "pandas": (lambda path: frame(index=NAMES, columns=NAMES).to_csv(path), NAMES),
    "pandas, a named index": (
        lambda path: frame(index=pd.Index(NAMES, name="item"), columns=NAMES).to_csv(path),
        NAMES,
    ),
    "pandas, no index": (lambda path: frame(columns=NAMES).to_csv(path, index=False), NAMES),
    "pandas, no header": (lambda path: frame(index=NAMES).to_csv(path, header=False), NAMES),
    "pandas, numbered": (lambda path: frame().to_csv(path), ["0", "1", "2"]),
    "pandas, numbered, a named index": (lambda path: frame().rename_axis("n").to_csv(path), ["0", "1", "2"]),
    "pandas, numbered, no index": (lambda path: frame().to_csv(path, index=False), ["0", "1", "2"]),
    "pandas, numbered rows": (lambda path: frame(columns=NAMES).to_csv(path), NAMES),
    "pandas, semicolons": (lambda path: frame(index=NAMES, columns=NAMES).to_csv(path, sep=";"), NAMES),
    "pandas, decimal commas": (
        lambda path: frame(index=NAMES, columns=NAMES).to_csv(path, sep=";", decimal=","),
        NAMES,
    ),
    "pandas, decimal commas, no index": (
        lambda path: frame(columns=NAMES).to_csv(path, sep=";", decimal=",", index=False),
        NAMES,
    ),
    "decimal commas alone": (
        lambda path: frame().to_csv(path, sep="\t", decimal=",", index=False, header=False),
        NUMBERED,
    ),
    "pandas, years": (
        lambda path: frame(columns=[2019, 2020, 2021]).to_csv(path, index=False),
        ["2019", "2020", "2021"],
    ),
    "pandas, counts": (lambda path: frame(columns=[1, 2, 3]).to_csv(path, index=False), ["1", "2", "3"]),
    "pandas, tabs": (lambda path: frame(index=NAMES, columns=NAMES).to_csv(path, sep="\t"), NAMES),
    "pandas, other lines": (lambda path: frame(columns=NAMES).to_csv(path, lineterminator="\r\n"), NAMES),
    "savetxt": (lambda path: np.savetxt(path, P), NUMBERED),
    "savetxt, short": (lambda path: np.savetxt(path, P, fmt="%8.3f"), NUMBERED),
    "savetxt, commas": (lambda path: np.savetxt(path, P, delimiter=","), NUMBERED),
    "savetxt, names": (lambda path: np.savetxt(path, P, header="a b c"), ["a", "b", "c"]),
    "savetxt, names with commas": (lambda path: np.savetxt(path, P, header=",".join(NAMES)), NAMES),
    "savetxt, a comment": (lambda path: np.savetxt(path, P, header="preferences, by people"), NUMBERED),
    "savetxt, bare names": (lambda path: np.savetxt(path, P, header="a b c", comments=""), ["a", "b", "c"]),
    "savetxt, names and a footer": (lambda path: np.savetxt(path, P, header="a\tb\tc", footer="end"), ["a", "b", "c"]),
    "R": (
        lambda path: path.write_text('"x y" "b" "c"\n"x y" 0.5 0.7 0.125\n"b" 0.3 0.5 0.6\n"c" 0.875 0.4 0.5\n'),
        ["x y", "b", "c"],
    ),
    "a spreadsheet": (
        lambda path: path.write_bytes(
            "\ufeff;a;b;c\r\na;0,5;0,7;0,125\r\nb;,3;0,5;0,6\r\nc;0,875;0,4;0,5\r\n".encode()
        ),
        ["a", "b", "c"],
    ),
    "rows in another order": (
        lambda path: frame(index=NAMES, columns=NAMES).loc[["c", "gpt 4", "b"]].to_csv(path),
        NAMES,
    ),
    "names that start with #": (
        lambda path: path.write_text("#1,#2,#3\n" + "\n".join(",".join(map(str, row)) for row in P)),
        ["#1", "#2", "#3"],
    ),
}


@pytest.mark.parametrize("suffix", [".csv", ".txt"])
@pytest.mark.parametrize("writer", WRITERS)
def test_a_matrix_is_read_as_people_write_it(tmp_path, writer, suffix):
    write, names = WRITERS[writer]
    write(tmp_path / f"P{suffix}")
    table = read(tmp_path / f"P{suffix}")
    np.testing.assert_array_equal(table.preference, P[None])
    assert table.items == tuple(names)


@pytest.mark.parametrize("size", [2, 3, 7])
@pytest.mark.parametrize("separator", [",", ";", "\t", " "])
def test_sizes_and_separators(tmp_path, size, separator):
    draws = np.random.default_rng(size).random((size, size)).round(4)
    preference = (np.triu(draws, 1) + np.tril(1 - draws.T, -1) + np.eye(size) / 2).round(4)
    names = [f"m{index}" for index in range(size)]
    for options in ({}, {"index": False}, {"header": False}, {"index": False, "header": False}):
        pd.DataFrame(preference, names, names).to_csv(tmp_path / "P.csv", sep=separator, **options)
        table = read(tmp_path / "P.csv")
        np.testing.assert_array_equal(table.preference[0], preference)
        assert table.items == tuple(names) or len(options) == 2


def test_names_that_are_bytes_are_texts(tmp_path):
    np.savez(tmp_path / "P.npz", preference=P, items=np.array([b"a", b"b", b"c"]))
    assert read(tmp_path / "P.npz").items == ("a", "b", "c")


# --- two digits ------------------------------------------------------------------------------------------------------

ROUGH = np.array([[0.5, 0.67, 0.13], [0.34, 0.5, 0.6], [0.88, 0.4, 0.5]])  # sums of 1.01


@pytest.mark.parametrize("ending", ["csv", "npy"])
def test_two_digits_are_rounded_with_a_notice_if_wanted(tmp_path, caplog, ending):
    path = tmp_path / f"P.{ending}"
    np.savetxt(path, ROUGH, delimiter=",", fmt="%.2f") if ending == "csv" else np.save(path, ROUGH)
    with pytest.raises(ConfigError, match=r"entry \[0, 1\] = 0.67 .* differs by up to 0.01: set game.round=true\.$"):
        read(path)
    with caplog.at_level(logging.WARNING):
        table = read(path, round=True)
    np.testing.assert_allclose(table.preference[0], [[0.5, 0.665, 0.125], [0.335, 0.5, 0.6], [0.875, 0.4, 0.5]])
    np.testing.assert_allclose(table.preference + table.preference.swapaxes(1, 2), 1, rtol=1e-15)
    assert [record.getMessage() for record in caplog.records] == [
        f"game.path={path}: P + P^T differed from 1 by up to 0.01 and was rounded"
    ]


def test_a_sum_that_is_too_small_is_rounded_too_and_several_contexts(tmp_path):
    np.save(tmp_path / "P.npy", np.stack([P, 1 - ROUGH]))
    table = read(tmp_path / "P.npy", round=True)
    np.testing.assert_allclose(table.preference[0], P)
    assert table.preference[1, 0, 1] == pytest.approx(0.335)


def test_exact_preferences_are_not_changed_by_rounding(tmp_path, caplog):
    np.save(tmp_path / "P.npy", P)
    np.testing.assert_array_equal(read(tmp_path / "P.npy", round=True).preference[0], P)
    assert not caplog.records


@pytest.mark.parametrize("options", [{}, {"round": True}], ids=str)
def test_larger_deviations_stay_refused(tmp_path, options):
    wrong = ROUGH.copy()
    wrong[0, 1] = 0.68
    np.save(tmp_path / "P.npy", wrong)
    with pytest.raises(ConfigError, match=r"differs by up to 0.02: game.round=true rounds 0.01 at most\.$"):
        read(tmp_path / "P.npy", **options)


def test_what_is_no_preference_is_refused_whatever_is_rounded(tmp_path):
    for wrong in (np.where(P == 0.5, 1.2, P), np.full((2, 3), 0.5), np.array([["a", "b"], ["c", "d"]])):
        np.save(tmp_path / "P.npy", wrong)
        with pytest.raises(ConfigError) as refused:
            read(tmp_path / "P.npy", round=True)
        assert "game.round" not in str(refused.value)


def test_rows_that_are_named_by_counts_follow_the_columns(tmp_path):
    path = tmp_path / "P.csv"
    frame(index=[1, 2, 3], columns=[1, 2, 3]).loc[:, [3, 1, 2]].to_csv(path)
    table = read(path)
    assert table.items == ("3", "1", "2")
    np.testing.assert_array_equal(table.preference[0], P[np.ix_([2, 0, 1], [2, 0, 1])])
