"""What runs are called: `setting`, the game and all that varies around it, and `method`, the algorithm and its own."""

from __future__ import annotations

import pandas as pd

_BOOKKEEPING = ("seeds", "study", "runs_dir", "progress", "keep_checkpoint", "checkpoint_seconds", "log_policy",
                "names.", "budget.")  # fmt: skip
_OF_METHOD = ("algorithm.", "policy.", "prox.", "device")


def label(data: pd.DataFrame) -> pd.DataFrame:
    """Add the columns `setting` and `method`: the game and the algorithm with all that varies around them.

    Runs that differ in more than their seeds are never pooled: what differs within the data is part of the name, of the
    setting for keys of the game, the reference and the rest, of the method for keys of algorithm, policy, prox and the
    device.
    """
    runs = data.drop(columns=["setting", "method"], errors="ignore").drop_duplicates("folder").set_index("folder")
    first = list(runs).index("status") + 1
    keys = [str(key) for key in list(runs)[first:] if not str(key).startswith(_BOOKKEEPING)]
    of_method = [key for key in keys if key.startswith(_OF_METHOD)]
    of_setting = [key for key in keys if key not in of_method]
    names = {
        column: data["folder"].map(_names(runs, name, varied))
        for column, name, varied in (("setting", "game", of_setting), ("method", "algorithm", of_method))
    }
    return data.assign(**names)


def _names(runs: pd.DataFrame, name: str, keys: list[str]) -> pd.Series:
    """For every run its `name`, with the values of `keys` that differ between runs of this name: other values, other
    names."""
    parts = pd.Series("", index=runs.index)
    for title, group in runs.groupby(name):
        varied = _varied(group, keys)
        last = [name_of(key) for key in varied]
        short = [key if last.count(end) > 1 else end for key, end in zip(varied, last, strict=True)]
        texts = [_texts(group[key]) for key in varied]
        for folder, *values in zip(group.index, *texts, strict=True):
            known = [f"{key} = {value}" for key, value in zip(short, values, strict=True) if value is not None]
            parts[folder] = ", ".join([str(title), *known])
    return parts


def _varied(group: pd.DataFrame, keys: list[str]) -> list[str]:
    """Beta, and the keys whose values differ; not those that merely come with another one, as a class's only option."""
    texts = pd.DataFrame({key: ["" if _absent(value) else exact(value) for value in group[key]] for key in keys})
    kept = [key for key in keys if key == "beta" or texts[key].nunique() > 1]
    for key in [key for key in kept if texts[key].nunique() == 2 and (texts[key] == "").any()]:
        others = [other for other in kept if other != key]
        if key != "beta" and others and len(texts[others].drop_duplicates()) == len(texts[kept].drop_duplicates()):
            kept = others
    return kept


def name_of(key: str) -> str:
    """A config key as titles write it: the last part, but `reference` where that is what says most."""
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
    """Every value for a title, None where there is none; in full where what is shown would make two values one."""
    short = {exact(value): shown(value) for value in values if not _absent(value)}
    full = len(set(short.values())) < len(short)
    return [None if _absent(value) else exact(value) if full else shown(value) for value in values]


def exact(value: object) -> str:
    """A value in full; equal numbers are written alike."""
    if isinstance(value, float):
        return repr(float(value)).removesuffix(".0")
    return "inf" if value == ".inf" else str(value)


def _absent(value: object) -> bool:
    return value is None or (isinstance(value, float) and value != value)
