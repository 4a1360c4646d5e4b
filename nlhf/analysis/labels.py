"""Names of runs: `setting`, the game with its varying keys, and `method`, the algorithm with its.

A run's summary holds digests of its setting and of its method, over the same entries as its fingerprint: two runs have
the same setting only if these digests are equal, whatever their configs say. Runs without digests are distinguished by
the config keys that affect results.
"""

from __future__ import annotations

from collections.abc import Hashable

import pandas as pd

from nlhf.runner.fingerprint import OF_METHOD, decides

DIGESTS, INPUTS = "digests.", "inputs."  # prefixes of columns: of the digests, and of the checksums of input files
SHOWN = 8  # hexadecimal digits of a checksum in a name


def label(data: pd.DataFrame) -> pd.DataFrame:
    """Add the columns `setting` and `method`: the game and the algorithm with their varying keys.

    Runs that differ in more than their seeds are never pooled: every key that differs in the data is part of a name.
    Keys of algorithm, policy, prox and the device belong to the method, all others to the setting. Input files are
    compared by their content. If two settings differ in a way that no key shows, their names end in digits of a
    checksum.
    """
    runs = data.drop(columns=["setting", "method"], errors="ignore").drop_duplicates("folder").set_index("folder")
    if "device" in runs:
        runs = runs.assign(device=runs["device"].map(lambda device: str(device).partition(":")[0], na_action="ignore"))
    keys = [str(key) for key in list(runs)[list(runs).index("status") + 1 :]]
    inputs = [key for key in keys if key.startswith(INPUTS)]
    keys = [key for key in keys if not key.startswith((DIGESTS, INPUTS)) and decides(key)]
    of_method = [key for key in keys if key.partition(".")[0] in OF_METHOD]
    of_setting = [key for key in keys if key not in of_method]
    names = {
        column: data["folder"].map(_names(runs, title, keys, f"{DIGESTS}{column}", inputs))
        for column, title, keys in (("setting", "game", of_setting), ("method", "algorithm", of_method))
    }
    return data.assign(**names)


def _names(runs: pd.DataFrame, title: str, keys: list[str], digest: str, inputs: list[str]) -> pd.Series:
    """The name of every run: its `title`, and the values of `keys` that differ between runs of this title."""
    names = pd.Series("", index=runs.index)
    for _, group in runs.groupby(title):
        identities = _identities(group, keys, digest)
        first = group[~identities.duplicated()]
        of_identity = dict(zip(identities[first.index], _distinct(first, title, keys, digest, inputs), strict=True))
        names[group.index] = identities.map(of_identity)
    return names


def _identities(group: pd.DataFrame, keys: list[str], digest: str) -> pd.Series:
    """What runs of one name share: their digest, or else the values of all keys."""
    texts: list[Hashable] = list(zip(*(map(_text, group[key]) for key in keys), strict=True)) or [()] * len(group)
    digests = group[digest] if digest in group else [None] * len(group)
    identities = [text if _absent(value) else str(value) for text, value in zip(texts, digests, strict=True)]
    return pd.Series(identities, index=group.index, dtype=object)


def _distinct(first: pd.DataFrame, title: str, keys: list[str], digest: str, inputs: list[str]) -> list[str]:
    """Different names for different runs of one title."""
    varied = _varied(first, keys)
    last = [name_of(key) for key in varied]
    short = [key if last.count(end) > 1 else end for key, end in zip(varied, last, strict=True)]
    texts = [_texts(first[key]) for key in varied]
    names = []
    for name, *values in zip(first[title], *texts, strict=True):
        parts = [f"{key} = {value}" for key, value in zip(short, values, strict=True) if value is not None]
        names.append(", ".join([str(name), *parts]))
    for name in {name for name in names if names.count(name) > 1}:
        alike = [index for index, candidate in enumerate(names) if candidate == name]
        for index, checksum in zip(alike, _checksums(first.iloc[alike], digest, inputs), strict=True):
            names[index] = f"{name}, {checksum}"
    return names


def _checksums(alike: pd.DataFrame, digest: str, inputs: list[str]) -> list[str]:
    """Texts that distinguish runs with equal configs: checksums of their inputs, or their digests."""
    varied = [key for key in inputs if alike[key].nunique(dropna=False) > 1]
    if len(alike[varied].drop_duplicates()) < len(alike):
        varied = [*varied, digest]
    rows = alike.reindex(columns=varied).to_dict("records")
    return [", ".join(_checksum(str(key), value) for key, value in row.items()) for row in rows]


def _checksum(column: str, value: object) -> str:
    name = "digest" if column.startswith(DIGESTS) else f"{column.removeprefix(INPUTS)} sha256"
    return f"{name} = {'unknown' if _absent(value) else str(value)[:SHOWN]}"


def _varied(group: pd.DataFrame, keys: list[str]) -> list[str]:
    """Beta, and the keys whose values differ, except those that only exist together with another one."""
    texts = pd.DataFrame({key: [_text(value) for value in group[key]] for key in keys}, index=group.index)
    varied = [key for key in keys if key == "beta" or texts[key].nunique() > 1]
    for key in [key for key in varied if texts[key].nunique() == 2 and (texts[key] == "").any()]:
        remaining = [candidate for candidate in varied if candidate != key]
        if (
            key != "beta"
            and remaining
            and len(texts[remaining].drop_duplicates()) == len(texts[varied].drop_duplicates())
        ):
            varied = remaining
    return varied


def name_of(key: str) -> str:
    """The last part of a config key, for titles; for `reference._target_`, the part before."""
    group, _, last = key.rpartition(".")
    return group if last == "_target_" else last


def shown(value: object) -> str:
    """A value for a title: numbers with few digits, classes and files by their last name."""
    if isinstance(value, float):
        return f"{value:g}"
    last = str(value).rpartition("/")[2]
    name = last.rpartition(".")[2]
    return name if name[:1].isupper() or last == ".inf" else last


def _texts(values: pd.Series) -> list[str | None]:
    """Every value for a title, None if absent; in full if the short forms would not be unique."""
    short = {exact(value): shown(value) for value in values if not _absent(value)}
    full = len(set(short.values())) < len(short)
    return [None if _absent(value) else exact(value) if full else shown(value) for value in values]


def _text(value: object) -> str:
    return "" if _absent(value) else exact(value)


def exact(value: object) -> str:
    """A value in full; equal numbers give equal texts."""
    if isinstance(value, float):
        return repr(float(value)).removesuffix(".0")
    return "inf" if value == ".inf" else str(value)


def _absent(value: object) -> bool:
    return value is None or (isinstance(value, float) and value != value)
