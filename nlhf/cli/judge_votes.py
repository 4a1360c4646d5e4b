"""The votes that `nlhf judge` trains or grades a judge on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

import numpy as np

from nlhf.config import ConfigError, coerce, field_type
from nlhf.judges.options import Training
from nlhf.judges.text_votes import TextVotes
from nlhf.judges.votes_file import read_text_votes
from nlhf.votes.formats.base import BothBad


def read_votes(keys: Mapping[str, Any]) -> TextVotes:
    """The votes that the keys of conf/train_judge.yaml or conf/grade_judge.yaml choose.

    Raises: ConfigError for data that cannot be read, and for a source that they lack.
    """
    data, sources, both_bad = keys["data"], keys["source"], keys["both_bad"]
    if both_bad not in get_args(BothBad):
        raise ConfigError(f"both_bad={both_bad} is not a choice: give tie or drop.")
    where = coerce(keys["where"], field_type(Training, "where"), "where")
    votes = read_text_votes(data, keys["columns"], both_bad, where)
    existing = np.unique(votes.sources).tolist()
    for source in sources or ():
        if source not in existing:
            raise ConfigError(f"source={source} is not in the data: it has {', '.join(existing)}.")
    return votes.at(np.isin(votes.sources, sources)) if sources else votes
