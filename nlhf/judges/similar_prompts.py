"""Groups of prompts that say the same, so that none of them is both trained on and graded on.

Prompts are first normalised: Unicode form, case, punctuation and white space do not count. Two normalised prompts are
near-duplicates if they contain the same numbers and share at least 70% of their runs of three words (Jaccard
similarity; A. Broder, On the Resemblance and Containment of Documents, 1997). One changed word leaves prompts of 19
words or more near-duplicates. Runs in more than 100 prompts belong to a template and do not count. A group holds all
prompts that near-duplicates connect.

Candidates are found by prefix filtering (R. Bayardo, Y. Ma, R. Srikant, Scaling Up All Pairs Similarity Search, 2007):
two sets this similar share one of the rarest runs of each, so most pairs are never compared. 10,000 prompts of 60
words take about three seconds.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from functools import lru_cache
from math import ceil

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

SIMILAR = 0.7  # share of the runs of words that near-duplicates have in common
RUN = 3  # words
TEMPLATE = 100  # prompts; a run that more of them have is part of a template
WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W_\u3040-\u30ff\u3400-\u9fff]+")  # one word per CJK character


def normalised(prompt: str) -> str:
    """The words of a prompt in lower case, separated by single blanks; the stripped text if it has no word."""
    text = unicodedata.normalize("NFKC", prompt).casefold()
    return " ".join(WORD.findall(text)) or text.strip()


@lru_cache(maxsize=8)
def prompt_groups(prompts: tuple[str, ...]) -> np.ndarray:
    """The number of the group of each prompt, (n), in the order in which groups appear."""
    texts, of_prompt = np.unique([normalised(prompt) for prompt in prompts], return_inverse=True)
    edges = np.array(list(_near_duplicates(texts.tolist())), np.int64).reshape(-1, 2)
    graph = coo_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(len(texts), len(texts)))
    groups = connected_components(graph, directed=False)[1][of_prompt]
    _, first, group = np.unique(groups, return_index=True, return_inverse=True)
    return np.asarray(first.argsort().argsort()[group])


def _near_duplicates(texts: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Pairs of different normalised texts that are near-duplicates, by their numbers."""
    sets = [_runs(text.split()) for text in texts]
    numbers = [tuple(word for word in text.split() if any(letter.isdigit() for letter in word)) for text in texts]
    frequency = Counter(run for runs in sets for run in runs)
    sets = [{run for run in runs if frequency[run] <= TEMPLATE} for runs in sets]
    earlier: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)  # texts by their rarest runs
    for text, runs in enumerate(sets):
        rarest = sorted(runs, key=lambda run: (frequency[run], run))[: len(runs) - ceil(SIMILAR * len(runs)) + 1]
        for other in {candidate for run in rarest for candidate in earlier[run]}:
            if numbers[text] == numbers[other] and _jaccard(runs, sets[other]) >= SIMILAR:
                yield text, other
        for run in rarest:
            if frequency[run] > 1:
                earlier[run].append(text)


def _runs(words: Sequence[str]) -> set[tuple[str, ...]]:
    """All runs of three words; none for shorter texts, which have no near-duplicates."""
    return {tuple(words[start : start + RUN]) for start in range(len(words) - RUN + 1)}


def _jaccard(first: set[tuple[str, ...]], second: set[tuple[str, ...]]) -> float:
    common = len(first & second)
    return common / (len(first) + len(second) - common)
