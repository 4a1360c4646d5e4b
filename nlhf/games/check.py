"""Checks of every game that is built: names, shapes, and whether its answers are preferences.

Matrices are checked entry by entry. A game without a matrix answers about two policies and a few pairs, which takes as
long as two queries.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nlhf.config import ConfigError, whole_text
from nlhf.games.listed import Numbered
from nlhf.games.preference import PreferenceTable, check_preference
from nlhf.games.protocol import FiniteGame

if TYPE_CHECKING:
    from torch import Tensor

TOLERANCE = 1e-6  # the same as for tables, which are printed with few digits
PAIRS = 64  # compared in each instance, in a random context
SUPPORT = 8  # actions of the sparse policies


def check_table(table: PreferenceTable, key: str) -> None:
    """Refuse a table that does not define a game.

    Args:
        table: one instance.
        key: the game in messages, `game=MyGame`.

    Raises: ConfigError.
    """
    check_names(table.items, "item", key)
    check_names(table.contexts, "context", key)
    contexts, n = len(table.contexts), len(table.items)
    check_preference(table.preference, key)
    for name, array, shape in (
        ("preference", table.preference, (contexts, n, n)),
        ("votes", table.votes, (2, contexts, n, n)),
        ("wins", table.wins, (contexts, n, n)),
        ("features", table.features, (contexts, None)),
    ):
        _check_array(array, name, shape, key)
    if not 0 <= table.held_out < contexts:
        raise ConfigError(f"{key} holds out {table.held_out} of {contexts} contexts: leave at least one for training.")


def check_names(names: Sequence[str], kind: str, key: str) -> None:
    """Refuse names that are missing, blank or not unique; `kind` is `item` or `context`.

    Raises: ConfigError, with the positions of two equal names.
    """
    if isinstance(names, Numbered):
        return
    if not names:
        raise ConfigError(f"{key} has no {kind}: give at least one.")
    for number, name in enumerate(names, start=1):
        if not isinstance(name, str) or not name:
            raise ConfigError(f"{key}: {kind} {number} is named {name!r}: give a text that is not empty.")
        if "\0" in name:  # NumPy drops it at the end of a text
            raise ConfigError(f"{key}: {kind} {number} is named {name!r}, with a NUL character: remove that.")
        whole_text(name, f"{key}: {kind} {number}")
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        first = names.index(name)
        second = names.index(name, first + 1)
        raise ConfigError(f"{key}: {kind}s {first + 1} and {second + 1} are both named {name!r}: rename one.")


def _check_array(array: Any, name: str, shape: tuple[int | None, ...], key: str) -> None:
    if array is None:
        return
    fits = len(np.shape(array)) == len(shape) and all(
        size in (None, actual) for size, actual in zip(shape, np.shape(array), strict=True)
    )
    if not fits:
        expected = ", ".join("d" if size is None else str(size) for size in shape)
        raise ConfigError(f"{key} has {name} of shape {np.shape(array)}: give ({expected}), as its names say.")
    if not np.isfinite(array).all() or (name in ("votes", "wins") and (np.asarray(array) < 0).any()):
        raise ConfigError(f"{key} has {name} that are not all finite numbers of the right sign: correct them.")


def check_game(game: FiniteGame, provides: frozenset[str], key: str) -> None:
    """Refuse a built game whose answers are not preferences.

    Args:
        game: with or without a matrix.
        provides: the queries that its family answers.
        key: the game in messages, `game=MyGame`.

    Raises: ConfigError for names that are not unique, for P outside [0, 1], for P(y > y') + P(y' > y) != 1, and if
    `payoff` and `compare` disagree.
    """
    from nlhf.games.matrix import MatrixGame

    check_names(game.items, "item", key)
    check_names(game.contexts, "context", key)
    if len(game.items) < 2:
        raise ConfigError(f"{key} has one item only, and nothing to prefer it to: give at least two.")
    if isinstance(game, MatrixGame):
        for table in game.advantage:
            check_preference(table.cpu().numpy() + 0.5, key)
    rng = np.random.default_rng(0)
    if "pairs" in provides:
        _check_pairs(game, key, rng)
    if "advantage" in provides:
        _check_policies(game, "pairs" in provides, key, rng)


def _check_pairs(game: FiniteGame, key: str, rng: np.random.Generator) -> None:
    import torch

    shape = len(game.content), PAIRS
    contexts = torch.from_numpy(rng.integers(len(game.contexts), size=shape))
    first, second = torch.from_numpy(rng.integers(len(game.items), size=(2, *shape, 1)))
    forward, backward = (
        _answer(game.compare(contexts, *pair), first.shape, "compare", key)
        for pair in ((first, second), (second, first))
    )
    _check_sum(forward, backward, f"{key}: compare answers P =")


def _check_policies(game: FiniteGame, pairs: bool, key: str, rng: np.random.Generator) -> None:
    """Check answers about a policy on all actions and one on a few: against each other and against `compare`."""
    import torch

    shape = len(game.content), len(game.contexts), len(game.items)
    support = torch.from_numpy(rng.integers(shape[2], size=(*shape[:2], SUPPORT)))
    weights = torch.from_numpy(rng.dirichlet(np.ones(SUPPORT), size=shape[:2]))
    dense = torch.from_numpy(rng.exponential(size=shape))
    dense /= dense.sum(-1, keepdim=True)
    sparse = torch.zeros(shape, dtype=torch.float64).scatter_add_(-1, support, weights)
    against_dense, against_sparse = (_answer(game.payoff(p), shape, "payoff", key) for p in (dense, sparse))
    against_itself = ((dense, against_dense, dense, against_dense), (sparse, against_sparse, sparse, against_sparse))
    against_others = ((dense, against_sparse, sparse, against_dense),) if game.is_bilinear else ()
    for policy, answer, opponent, reply in (*against_itself, *against_others):
        _check_sum((policy * answer).sum(-1), (opponent * reply).sum(-1), f"{key}: payoff answers P =")
    if pairs:
        contexts = torch.arange(shape[1]).repeat(shape[0], 1)
        first = support[..., :1]
        answers = _answer(game.compare(contexts, first.expand_as(support), support), support.shape, "compare", key)
        difference = (answers * weights).sum(-1) - against_sparse.gather(-1, first)[..., 0]
        if bool((difference.abs() > TOLERANCE).any()):
            raise ConfigError(
                f"{key}: payoff and compare differ by {float(difference.abs().max()):.1g} for one and "
                "the same policy: make both answer for the same game."
            )


def _check_sum(forward: Tensor, backward: Tensor, start: str) -> None:
    """Refuse advantages in both directions whose sum is not 0; `start` begins the message."""
    off = (forward + backward).abs()
    if bool((off > TOLERANCE).any()):
        worst = int(off.argmax())
        values = [float(side.flatten()[worst]) + 0.5 for side in (forward, backward)]
        raise ConfigError(f"{start} {values[0]:g} one way round and {values[1]:g} the other: their sum must be 1.")


def _answer(answer: Tensor, shape: Sequence[int], name: str, key: str) -> Tensor:
    """An answer, P - 1/2, in float64 on the host.

    Raises: ConfigError for another shape, and for values that are not probabilities.
    """
    if tuple(answer.shape) != tuple(shape):
        raise ConfigError(f"{key}: {name} answers with shape {tuple(answer.shape)}: give {tuple(shape)}.")
    values = answer.double().cpu()
    if not bool((values.abs() <= 0.5 + TOLERANCE).all()):  # nan is refused too
        wrong = values[~(values.abs() <= 0.5 + TOLERANCE)][0]
        raise ConfigError(f"{key}: {name} answers P = {float(wrong) + 0.5:g}: give probabilities in [0, 1].")
    return values
