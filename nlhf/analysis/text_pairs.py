"""Differences of win rates between language models, paired by test prompt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nlhf.config import is_number
from nlhf.io.json_files import read_json_lines
from nlhf.stats.paired import paired_mean, paired_p
from nlhf.stats.significance import holm
from nlhf.stats.text import number, shown_p

ALPHA = 0.05
MOST_NAMED = 3  # significant pairs in the sentence
COLUMNS = ("setting", "first", "second", "prompts", "seeds", "first_rate", "second_rate", "difference",
           "difference_low", "difference_high", "p", "p_holm")  # fmt: skip


def win_rates(rows: pd.DataFrame, runs: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """The win rate against the reference on every test prompt, of the last row of every completed run.

    Columns: `setting, method, seed, prompt, win_rate`. Equal prompts are one prompt.
    """
    names = rows.drop_duplicates("folder").set_index("folder")
    tables = []
    for run in runs:
        path = Path(run["folder"]) / "completions.jsonl"
        damaged = any(sentence.startswith(f"{path} ") for sentence in run["damage"])
        if run["status"] == "completed" and not damaged and run["folder"] in names.index:
            pairs = [(entry["prompt"], _win_rate(entry)) for entry in read_json_lines(path) if _is_judged(entry)]
            name = names.loc[run["folder"]]
            table = pd.DataFrame(pairs, columns=["prompt", "win_rate"]).groupby("prompt", as_index=False).mean()
            tables.append(table.assign(setting=name["setting"], method=name["method"], seed=name["seed"]))
    columns = ["setting", "method", "seed", "prompt", "win_rate"]
    return pd.concat(tables)[columns] if tables else pd.DataFrame(columns=columns)


def _is_judged(entry: Mapping[str, Any]) -> bool:
    """True for a line of completions.jsonl with a prompt and the judge's answer."""
    return isinstance(entry.get("prompt"), str) and is_number(entry.get("preference"))


def _win_rate(entry: Mapping[str, Any]) -> float:
    """The share of completions that win; older files have the preference of the first one only."""
    if is_number(entry.get("win_rate")):
        return float(entry["win_rate"])
    return float(np.sign(entry["preference"] - 0.5) / 2 + 0.5)


def paired_differences(rates: pd.DataFrame) -> pd.DataFrame:
    """A row per (setting, pair of methods), the method that wins more first.

    Prompts are the sample. A prompt's difference is the mean over the seeds that both methods ran, since seeds measure
    the same prompts again and add no prompts. The intervals and p-values therefore describe these trained
    policies on other prompts, not other training seeds.

    Columns: `setting, first, second`; `prompts` and `seeds`, their numbers; `first_rate`, `second_rate`, mean win
    rates; `difference` with `difference_low`, `difference_high`; `p`; `p_holm`, corrected for all rows.
    """
    table = [
        {"setting": setting, **row}
        for setting, members in rates.groupby("setting", sort=True)
        for row in _of_setting(members)
    ]
    corrected = holm([row["p"] for row in table])
    listed = [row | {"p_holm": p} for row, p in zip(table, corrected, strict=True)]
    return pd.DataFrame(listed, columns=list(COLUMNS))


def _of_setting(members: pd.DataFrame) -> Iterator[dict[str, Any]]:
    by_method = {
        str(method): part.set_index(["prompt", "seed"])["win_rate"] for method, part in members.groupby("method")
    }
    for pair in combinations(by_method, 2):
        both = pd.concat([by_method[method] for method in pair], axis=1, join="inner", keys=pair)
        if both.empty:
            continue
        first, second = sorted(pair, key=lambda method: -both[method].mean())
        of_prompt = both.groupby("prompt").mean()
        differences = (of_prompt[first] - of_prompt[second]).to_numpy()
        mean = paired_mean(differences)
        yield {
            "first": first,
            "second": second,
            "prompts": len(of_prompt),
            "seeds": both.index.get_level_values("seed").nunique(),
            "first_rate": float(of_prompt[first].mean()),
            "second_rate": float(of_prompt[second].mean()),
            "difference": mean.value,
            "difference_low": mean.low,
            "difference_high": mean.high,
            "p": paired_p(differences),
        }


def sentence(table: pd.DataFrame) -> str:
    """Which methods win more pairs than others on the same prompts; empty without a tested pair."""
    tested = table.dropna(subset="p_holm").sort_values("p_holm", kind="stable")
    if tested.empty:
        return ""
    counts = sorted(set(tested["prompts"]))
    prompts = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    scope = f"On the same {prompts} test prompts"
    several = f", Holm over {len(tested)} pairs" if len(tested) > 1 else ""
    significant = tested[tested["p_holm"] < ALPHA].to_dict("records")
    if not significant:
        best = tested.iloc[0]
        pair = f"{best['first']} and {best['second']} do not" if len(tested) == 1 else "no two methods"
        return f"{scope} {pair} differ significantly in their win rates ({shown_p(best['p_holm'])}{several})."
    several_settings = table["setting"].nunique() > 1
    wins = "; ".join(_win(row, several_settings) for row in significant[:MOST_NAMED])
    rest = f"; {len(significant) - MOST_NAMED} more pairs differ" if len(significant) > MOST_NAMED else ""
    seeds = int(tested["seeds"].max())
    trained = "this one training seed" if seeds == 1 else f"these {seeds} training seeds"
    return f"{scope} {wins}{rest}{several}. The intervals hold for other prompts, and for {trained}."


def _win(row: Mapping[Any, Any], several_settings: bool) -> str:
    setting = f" on {row['setting']}" if several_settings else ""
    difference = f"{row['difference']:.2f} [{row['difference_low']:.2f}, {row['difference_high']:.2f}]"
    first, second, p = row["first"], row["second"], shown_p(row["p_holm"])
    return f"{first} wins {difference} more of the pairs than {second}{setting} ({p})"


def shown_rows(table: pd.DataFrame) -> list[list[str]]:
    """The rows of the report's table."""
    return [
        [
            row["setting"],
            row["first"],
            row["second"],
            f"{row['prompts']} prompts, {row['seeds']} {'seed' if row['seeds'] == 1 else 'seeds'}",
            f"{row['first_rate']:.3f}",
            f"{row['second_rate']:.3f}",
            _difference(row),
            number(row["p"]),
            number(row["p_holm"]),
        ]
        for row in table.to_dict("records")
    ]


def _difference(row: Mapping[Any, Any]) -> str:
    ends = [f"{row[name]:+.3f}" for name in ("difference", "difference_low", "difference_high")]
    return ends[0] if np.isnan(row["difference_low"]) else f"{ends[0]} [{ends[1]}, {ends[2]}]"
