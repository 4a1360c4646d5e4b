"""The votes that `nlhf judge` trains or grades a judge on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nlhf.config import ConfigError
from nlhf.judges.text_votes import TextVotes
from nlhf.judges.votes_file import read_text_votes


def read_votes(data: str, sources: Sequence[str] | None) -> TextVotes:
    """The votes of a file or folder; if sources are named, only the votes of these.

    Raises: ConfigError for data that cannot be read, and for a source that they lack.
    """
    votes = read_text_votes(data)
    existing = np.unique(votes.sources).tolist()
    for source in sources or ():
        if source not in existing:
            raise ConfigError(f"source={source} is not in the data: it has {', '.join(existing)}.")
    return votes.at(np.isin(votes.sources, sources)) if sources else votes
