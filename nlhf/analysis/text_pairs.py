"""Differences of win rates between language models, paired by test prompt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from nlhf.stats.bootstrap import Estimate
from nlhf.stats.equal_length import NOTHING, rate_at_equal_length
from nlhf.stats.paired import paired_mean, paired_p
from nlhf.stats.significance import holm, sign_flip
from nlhf.stats.text import number, shown_p

ALPHA = 0.05
MOST_NAMED = 3  # significant pairs in the sentence
COLUMNS = (
    *("setting", "first", "second", "prompts", "seeds", "first_rate", "second_rate", "difference", "difference_low"),
    *("difference_high", "p", "p_holm", "exact", "first_controlled", "second_controlled"),
)
OUTCOMES = (0.0, 0.5, 1.0)  # of one completion


def paired_differences(rates: pd.DataFrame) -> pd.DataFrame:
    """A row per (setting, pair of methods), the method that wins more first.

    Prompts are the sample. A prompt's difference is the mean over the seeds that both methods ran, since seeds measure
    the same prompts again and add no prompts. The intervals and p-values therefore describe these trained
    policies on other prompts, not other training seeds.

    Columns: `setting, first, second`; `prompts` and `seeds`, their numbers; `first_rate`, `second_rate`, mean win
    rates; `difference` with `difference_low`, `difference_high`; `p`; `p_holm`, corrected for all rows; `exact`, true
    if p is that of McNemar's exact test, or of its extension to ties, the sign-flip test, as for one completion of each
    prompt and one seed; `first_controlled`, `second_controlled`, win rates at equal length, an `Estimate` each.
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
    at_equal_length = {str(method): _at_equal_length(part) for method, part in members.groupby("method")}
    for pair in combinations(by_method, 2):
        both = pd.concat([by_method[method] for method in pair], axis=1, join="inner", keys=pair)
        if both.empty:
            continue
        first, second = sorted(pair, key=lambda method: -both[method].mean())
        of_prompt = both.groupby("prompt").mean()
        differences = (of_prompt[first] - of_prompt[second]).to_numpy()
        mean, seeds = paired_mean(differences), both.index.get_level_values("seed").nunique()
        exact = seeds == 1 and bool(both.isin(OUTCOMES).all(axis=None))
        yield {
            "first": first,
            "second": second,
            "prompts": len(of_prompt),
            "seeds": seeds,
            "first_rate": float(of_prompt[first].mean()),
            "second_rate": float(of_prompt[second].mean()),
            "difference": mean.value,
            "difference_low": mean.low,
            "difference_high": mean.high,
            "p": sign_flip(differences) if exact else paired_p(differences),
            "exact": exact,
            "first_controlled": at_equal_length[first],
            "second_controlled": at_equal_length[second],
        }


def _at_equal_length(part: pd.DataFrame) -> Estimate:
    """The win rate of a method's first completions at equal length, over all its seeds."""
    if "length" not in part or part["length"].isna().any():
        return NOTHING
    return rate_at_equal_length(*(part[name].to_numpy() for name in ("won", "length", "prompt")))


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
        return f"{scope} {_undecided(tested, several)}. {_validity(tested)}"
    several_settings = table["setting"].nunique() > 1
    wins = "; ".join(_win(row, several_settings) for row in significant[:MOST_NAMED])
    further = f"; {len(significant) - MOST_NAMED} more pairs differ" if len(significant) > MOST_NAMED else ""
    return f"{scope} {wins}{further}{several}. {_validity(tested)}"


def _undecided(tested: pd.DataFrame, several: str) -> str:
    best = tested.to_dict("records")[0]
    if len(tested) > 1:
        return f"no two methods are distinguishable ({shown_p(best['p_holm'])}{several})"
    return (
        f"{best['first']} and {best['second']} are not distinguishable: they win {best['first_rate']:.2f} and "
        f"{best['second_rate']:.2f} of the pairs, a difference of {difference_with_interval(best)} "
        f"({shown_p(best['p_holm'])})"
    )


def _validity(tested: pd.DataFrame) -> str:
    """What the comparison is about."""
    seeds = int(tested["seeds"].max())
    trained = "this one training seed" if seeds == 1 else f"these {seeds} training seeds"
    return f"This compares the trained policies on new prompts, for {trained}."


def length_sentence(table: pd.DataFrame) -> str:
    """The win rates at equal length; empty without any."""
    rates = {
        (row["setting"], row[side]): row[f"{side}_controlled"]
        for row in table.to_dict("records")
        for side in ("first", "second")
    }
    finite = {key: rate for key, rate in rates.items() if not np.isnan(rate.value)}
    if not finite or table["setting"].nunique() > 1:
        return ""
    best = sorted(finite.items(), key=lambda item: -item[1].value)
    listed = "; ".join(f"{method} {rate.value:.2f} [{rate.low:.2f}, {rate.high:.2f}]" for (_, method), rate in best)
    return f"Win rates against the reference at equal length: {listed}."


def _win(row: Mapping[Any, Any], several_settings: bool) -> str:
    setting = f" on {row['setting']}" if several_settings else ""
    first, second, p = row["first"], row["second"], shown_p(row["p_holm"])
    return f"{first} wins {difference_with_interval(row)} more of the pairs than {second}{setting} ({p})"


def difference_with_interval(row: Mapping[Any, Any]) -> str:
    """The difference with its interval, as in a sentence."""
    return f"{row['difference']:.2f} [{row['difference_low']:.2f}, {row['difference_high']:.2f}]"


def shown_rows(table: pd.DataFrame) -> list[list[str]]:
    """The rows of the report's table."""
    return [
        [
            *pair_cells(row),
            f"{row['first_rate']:.3f}",
            f"{row['second_rate']:.3f}",
            *(_controlled(row[f"{side}_controlled"]) for side in ("first", "second")),
            difference_cell(row),
            number(row["p"]),
            number(row["p_holm"]),
        ]
        for row in table.to_dict("records")
    ]


def pair_cells(row: Mapping[Any, Any]) -> list[str]:
    """The cells of a table that say what is compared."""
    seeds = f"{row['seeds']} {'seed' if row['seeds'] == 1 else 'seeds'}"
    return [row["setting"], row["first"], row["second"], f"{row['prompts']} prompts, {seeds}"]


def difference_cell(row: Mapping[Any, Any]) -> str:
    """The difference with its interval, as a cell of a table."""
    ends = [f"{row[name]:+.3f}" for name in ("difference", "difference_low", "difference_high")]
    return ends[0] if np.isnan(row["difference_low"]) else f"{ends[0]} [{ends[1]}, {ends[2]}]"


def _controlled(rate: Estimate) -> str:
    return "-" if np.isnan(rate.value) else str(rate)
