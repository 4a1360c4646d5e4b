"""Bradley-Terry scores of public votes by choix, evalica and arena-rank, which the tests compare with.

Run it where these three and pandas are installed:

    python -m tests.rating_oracles > tests/data/ratings.json
"""

from __future__ import annotations

import csv
import json
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np

DATA = Path(__file__).parent / "data"
FILES = {"mtbench.csv": "human", "vicuna80.csv": "human"}  # and the judge whose votes count
PACKAGES = ("choix", "evalica", "arena-rank")


def main() -> None:
    """Print the scores as JSON."""
    result = {
        "command": "python -m tests.rating_oracles > tests/data/ratings.json",
        "versions": {name: version(name) for name in PACKAGES},
        "files": {name: _scores(name, judge) for name, judge in FILES.items()},
    }
    json.dump(result, sys.stdout, indent=1)
    print()


def _scores(name: str, judge: str) -> dict[str, object]:
    with (DATA / name).open(newline="", encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row["judge"] == judge]
    items = sorted({row[side] for row in rows for side in ("item_a", "item_b")})
    a, b = (np.array([items.index(row[side]) for row in rows]) for side in ("item_a", "item_b"))
    share = np.array([float(row["wins_a"]) for row in rows])
    natural = {"choix": _choix(len(items), a, b, share), "evalica": _evalica(items, a, b, share)}
    scores = {package: (values - values.mean()).tolist() for package, values in natural.items()}
    ratings, errors = _arena_rank(items, a, b, share)
    return {
        "judge": judge,
        "items": items,
        "scores": {**scores, "arena-rank": ratings.tolist()},
        "errors": {"arena-rank": errors.tolist()},
    }


def _choix(n: int, a: np.ndarray, b: np.ndarray, share: np.ndarray) -> np.ndarray:
    import choix

    wins = np.zeros((n, n))
    np.add.at(wins, (a, b), share)
    np.add.at(wins, (b, a), 1 - share)
    return np.asarray(choix.ilsr_pairwise_dense(wins, max_iter=10_000, tol=1e-13))


def _evalica(items: list[str], a: np.ndarray, b: np.ndarray, share: np.ndarray) -> np.ndarray:
    import evalica

    winners = [{1.0: evalica.Winner.X, 0.0: evalica.Winner.Y, 0.5: evalica.Winner.Draw}[value] for value in share]
    names = ([items[k] for k in side] for side in (a, b))
    result = evalica.bradley_terry(*names, winners, win_weight=1, tie_weight=0.5, tolerance=1e-13, limit=100_000)
    return np.log(result.scores.loc[items].to_numpy())


def _arena_rank(items: list[str], a: np.ndarray, b: np.ndarray, share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores in natural units with mean 0, and their standard errors."""
    import pandas as pd
    from arena_rank.models.bradley_terry import BradleyTerry
    from arena_rank.utils.data_utils import PairDataset

    names = {0.0: "model_b", 0.5: "tie", 1.0: "model_a"}
    frame = pd.DataFrame(
        {
            "model_a": [items[k] for k in a],
            "model_b": [items[k] for k in b],
            "winner": [names[value] for value in share],
        }
    )
    data = PairDataset.from_pandas(frame)
    model = BradleyTerry(len(items), scale=1.0, base=float(np.e), init_rating=0.0, ftol=1e-14, gtol=1e-12)
    result = model.compute_ratings_and_cis(data)
    order = [list(result["competitors"]).index(item) for item in items]
    ratings = np.asarray(result["ratings"])[order]
    return ratings - ratings.mean(), np.sqrt(np.asarray(result["variances"]))[order]


if __name__ == "__main__":
    main()
