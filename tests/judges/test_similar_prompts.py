"""Groups of similar prompts against a comparison of all pairs, and the folds that they make."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from nlhf.judges.folds import folds
from nlhf.judges.similar_prompts import SIMILAR, normalised, prompt_groups
from nlhf.judges.text_votes import TextVotes

SENTENCE = (
    "Please write a short and friendly letter to my neighbour about the noise that his dog makes every single night"
)


def grouped(*prompts: str) -> list[int]:
    return prompt_groups(prompts).tolist()


@pytest.mark.parametrize(
    "variant",
    [
        "why is the sky blue?",
        "Why is the sky blue",
        " Why is\tthe sky  blue?\n",
        "WHY IS THE SKY BLUE?!",
        "Why is the sky blue\uff1f",
        "Why is the \ufb02y sky blue?".replace("\ufb02y ", ""),
        "\uff37hy is the sky\u00a0blue?",
    ],
)
def test_case_punctuation_white_space_and_unicode_forms_do_not_count(variant: str) -> None:
    assert grouped("Why is the sky blue?", "What?", variant) == [0, 1, 0]


def test_composed_and_decomposed_letters_are_the_same() -> None:
    assert grouped("caf\u00e9 au lait", "cafe\u0301 au lait", "cafe au lait") == [0, 0, 1]


def test_one_changed_word_leaves_a_long_prompt_a_near_duplicate_and_a_short_one_not() -> None:
    changed = SENTENCE.replace("friendly", "polite")
    assert grouped(SENTENCE, changed, changed + " thanks") == [0, 0, 0]
    assert grouped("Write a poem about cats", "Write a poem about dogs") == [0, 1]


def test_prompts_with_other_numbers_are_others() -> None:
    texts = [f"{SENTENCE} and mention case {number}" for number in range(30)]
    assert grouped(*texts) == list(range(30))
    assert grouped("2 + 2", "2 - 2", "2 + 3") == [0, 0, 1]


def test_what_many_prompts_share_is_a_template() -> None:
    subjects = [f"{a}{b}" for a in "abcdefghijk" for b in "lmnopqrstuv"]
    assert len(set(grouped(*(f"{SENTENCE} and his {subject}" for subject in subjects)))) == len(subjects)
    assert len(set(grouped(*(f"{SENTENCE} and his {subject}" for subject in subjects[:9])))) == 1


def test_texts_without_words_are_compared_as_they_are() -> None:
    assert grouped("?!", " ?! ", "...", "\U0001f600", "", " ") == [0, 0, 1, 2, 3, 3]
    assert normalised("\u5929\u6c14\u600e\u4e48\u6837\uff1f") == "\u5929 \u6c14 \u600e \u4e48 \u6837"


def test_groups_are_those_of_comparing_all_pairs() -> None:
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(list("abcdef"), 14)) for _ in range(40)]
    for text in texts[:20]:  # copies with one to three other words
        words = text.split()
        words[: rng.integers(1, 4)] = rng.choice(list("uvwxyz"), rng.integers(1, 4))
        texts.append(" ".join(words))
    runs = [{tuple(words[k : k + 3]) for k in range(len(words) - 2)} for words in map(str.split, texts)]
    group = list(range(len(texts)))
    for i, j in combinations(range(len(texts)), 2):
        if len(runs[i] & runs[j]) / len(runs[i] | runs[j]) >= SIMILAR:
            group = [group[i] if number == group[j] else number for number in group]
    order = list(dict.fromkeys(group))
    assert grouped(*texts) == [order.index(number) for number in group]
    assert 40 < len(order) < 60


def test_similar_prompts_are_in_the_same_fold_and_differ_in_their_answers() -> None:
    prompts = [f"{name} is the question" for name in "abcdefghij"]
    answers = [(prompt + end, text) for prompt in prompts for end in ("", " ") for text in ("yes", "no")]
    pairs = np.arange(len(answers)).reshape(-1, 2)
    votes = TextVotes(answers, pairs, np.ones((len(pairs), 3)), np.array(["s"] * len(pairs)))
    assert votes.groups.tolist() == np.repeat(np.arange(10), 2).tolist()
    assert len(set(votes.prompts.tolist())) == 20
    for held_out in folds(votes, 5, 0, "outer"):
        assert not {*votes.groups[held_out]} & {*votes.groups[~held_out]}
        assert held_out.sum() == 4
