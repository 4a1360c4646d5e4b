"""What `nlhf votes show` says that votes prove."""

from __future__ import annotations

import re

import numpy as np
import pytest

from nlhf.config import ConfigError
from nlhf.leaderboard.proof import MOST, proof
from nlhf.leaderboard.report import write
from nlhf.leaderboard.summary import examine


@pytest.fixture
def weights(tmp_path):
    def written(*values, items="abcde"):
        path = tmp_path / "weights.csv"
        lines = [f"{item},{value}" for item, value in zip(items, values, strict=True)]
        path.write_text("item,weight\n" + "\n".join(lines) + "\n")
        return str(path)

    return written


def sentences(**options):
    return " ".join(examine("embedded:tversky1969.csv", **options).lines)


def test_the_sentences_have_both_bounds_of_the_best_policy_of_an_item_and_of_the_users_policy(weights):
    """0.075 is from a separate computation; the user's policy gets the bound of the mixture that it is."""
    text = sentences(policy=weights(2, 0, 0, 2, 0))
    assert (
        "no policy is preferred to the mixture a 0.540, d 0.340, c 0.114, b 0.006 with a probability above 0.575"
        in text
    )
    assert "Of single items, a has the smallest bounds: 0.735 and 0.774." in text
    bounds = [float(number) for number in re.search(r"has the bounds (\S+), and (\S+) for one look", text).groups()]
    assert 0.577 < bounds[0] < 0.774
    assert 0.575 < bounds[1] < 0.735
    assert "The given policy has the bounds 0.774, and 0.735 for one look." in sentences(policy=weights(1, 0, 0, 0, 0))


def test_clusters_and_their_absence_are_in_the_sentence():
    assert "These bounds take votes as independent." in sentences()
    assert "These bounds take votes as independent, also those of one subject." in sentences(cluster=["subject"])


@pytest.mark.parametrize(
    ("values", "items", "message"),
    [
        ((1, 1, 1, 1), "abcd", "weights.csv has no weight for e"),
        ((1, 1, 1, 1, -1), "abcde", "has no policy: give each of the 5 items a weight >= 0"),
        ((0, 0, 0, 0, 0), "abcde", "has no policy"),
        ((1, 1, 1, 1, 1), "abcdx", "names the item 'x', which the game does not have"),
    ],
)
def test_a_file_that_is_no_policy_is_refused(weights, values, items, message):
    with pytest.raises(ConfigError, match=message):
        sentences(policy=weights(*values, items=items))


def test_an_item_that_wins_is_certified_alone_and_proves_itself():
    n = 4
    wins = np.triu(np.full((n, n), 90.0), 1) + np.tril(np.full((n, n), 10.0), -1)
    votes = np.stack([100 * (1 - np.eye(n)), np.zeros((n, n))])
    found = proof("abcd", wins, votes)
    assert found.once.policy.tolist() == found.anytime.policy.tolist() == [1.0, 0.0, 0.0, 0.0]
    assert found.once.exploitability == found.anytime.exploitability == 0.0
    assert [line for line in found.lines(None) if "single items" in line] == []


def test_too_few_or_too_many_items_prove_nothing():
    for n in (1, MOST + 1):
        assert proof([str(k) for k in range(n)], np.zeros((n, n)), np.zeros((2, n, n))) is None


def test_the_page_shows_the_bounds_of_every_item(tmp_path):
    page = write(examine("embedded:tversky1969.csv"), "embedded:tversky1969.csv", tmp_path).read_text()
    assert '<tr><td class="text">a</td><td>0.774</td><td>0.735</td>' in page
