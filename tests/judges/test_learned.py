"""Judges that are learned: cycles, antisymmetry, no leak between prompts, and what is written down."""

from __future__ import annotations

import itertools
import json
import shutil

import numpy as np
import pytest

from nlhf.stats.calibration import calibration

pytest.importorskip("transformers")

from nlhf.cli.judge import main
from nlhf.cli.judge_train import train
from nlhf.config import ConfigError
from nlhf.io.json_files import CHECKSUM
from nlhf.judges import baselines, grades
from nlhf.judges.cycles import cycles
from nlhf.judges.folder import load
from nlhf.judges.heads import ALL
from nlhf.judges.learned import LearnedJudge, LearnedModel
from nlhf.judges.text_votes import TextVotes
from nlhf.judges.votes_file import read_text_votes
from nlhf.launch.compose import composed, plain
from nlhf.numerics.bradley_terry import sigmoid
from nlhf.runner.specification import specify

pytestmark = pytest.mark.usefixtures("one_thread")
STYLES = {"stone": "stone bread is good", "paper": "- sea\n- moon\n- bird\n- tea", "scissors": "1 2 3 4 5 6 7 8"}
BEATS = {("paper", "stone"), ("scissors", "paper"), ("stone", "scissors")}


def cyclic(prompts=24, seed=0):
    """Three styles that beat each other, each prompt with two texts of each style; lines of a jsonl file."""
    rng, lines = np.random.default_rng(seed), []
    for number in range(prompts):
        texts = [(style, f"{base} {' '.join(rng.choice(['the', 'old', 'kind', 'was'], 3))}")
                 for style, base in STYLES.items() for _ in range(2)]  # fmt: skip
        for (mine, first), (other, second) in itertools.combinations(texts, 2):
            if mine != other:
                votes = [3, 0, 0] if (mine, other) in BEATS else [0, 3, 0]
                lines.append({"prompt": f"write about {number} one", "a": first, "b": second, "votes": votes})
    return lines


def written(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture(scope="module")
def judges(encoder, tmp_path_factory):
    """Judges of all kinds, learned from the cyclic votes."""
    place = tmp_path_factory.mktemp("judges")
    data = written(place / "votes.jsonl", cyclic())
    return {kind: train([f"data={data}", f"judge={kind}", f"encoder={encoder}", f"out={place / kind}", "folds=3",
                         "inner_folds=2", "pairs=64"])
            for kind in ("general_preference", "bradley_terry", "pairwise_model")}  # fmt: skip


def accuracy(folder):
    return json.loads((folder / "judge.json").read_text())["grades"][-1]["accuracy"]


def test_a_general_preference_learns_a_cycle_and_bradley_terry_cannot(judges):
    found = {kind: accuracy(folder)[kind]["value"] for kind, folder in judges.items()}
    assert found["general_preference"] > 0.95
    assert found["pairwise_model"] > 0.95
    assert found["bradley_terry"] < 0.75  # two of three pairs of a cycle is the most that a score can have right
    card = accuracy(judges["general_preference"])
    assert card["bradley_terry"]["value"] == found["bradley_terry"]  # side by side, in one table


@pytest.mark.parametrize("kind", ["general_preference", "bradley_terry", "pairwise_model"])
def test_a_learned_judge_is_antisymmetric_and_reads_an_answer_once(judges, kind):
    judge = LearnedJudge(LearnedModel(str(judges[kind])), None, 8)
    texts = [*STYLES.values(), "", "a " * 300, "tea"]
    pairs = [("why", a, b) for a in texts for b in texts]
    told = judge.preference(pairs).reshape(6, 6)
    assert np.abs(told + told.T - 1).max() < 1e-12
    assert np.abs(np.diag(told) - 0.5).max() < 1e-12
    assert judge.calls == 6


def test_what_is_loaded_is_what_was_learned(judges):
    """The folder's judge agrees with the styles, and in cycles."""
    judge = LearnedJudge(LearnedModel(str(judges["general_preference"])), None, 8)
    texts = {style: f"{base} the old kind" for style, base in STYLES.items()}
    pairs = [("write about tea", texts[a], texts[b]) for a, b in BEATS]
    assert (judge.preference(pairs) > 0.7).all()
    data = judges["general_preference"].parent / "votes.jsonl"
    found = cycles(judge, read_text_votes(str(data)))
    assert found["triples"] == 24 * 20
    assert found["cyclic_triples"] == pytest.approx(24 * 8, abs=8)  # a text of each style: 2 * 2 * 2 triples a prompt
    assert found["prompts_without_winner"] >= 23


def test_the_same_command_trains_once_and_another_one_is_refused(judges, encoder, capsys):
    folder = judges["bradley_terry"]
    words = [f"data={folder.parent / 'votes.jsonl'}", "judge=bradley_terry", f"encoder={encoder}", f"out={folder}",
             "folds=3", "inner_folds=2", "pairs=64"]  # fmt: skip
    before = (folder / "judge.json").stat().st_mtime_ns
    train(words)
    assert "trained before" in capsys.readouterr().out
    assert (folder / "judge.json").stat().st_mtime_ns == before
    with pytest.raises(ConfigError, match="holds a judge of other votes or options"):
        train([*words, "epochs=3"])


def test_a_judge_that_has_lost_a_part_is_trained_again(judges, encoder, tmp_path, capsys):
    folder = tmp_path / "j"
    words = [f"data={judges['bradley_terry'].parent / 'votes.jsonl'}", "judge=bradley_terry", f"encoder={encoder}",
             f"out={folder}", "folds=2", "inner_folds=1", "epochs=2"]  # fmt: skip
    train(words)
    (folder / "head.safetensors").unlink()
    assert main(["grade", words[0], "judge=bradley_terry", f"judge.model={folder}"]) == 2
    assert "train it again" in capsys.readouterr().err
    train(words)
    assert "trained before" not in capsys.readouterr().out
    train(words)
    assert "trained before" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "damage"),
    [("head.safetensors", lambda _: b""), ("head.safetensors", lambda content: content[: len(content) // 2]),
     ("head.safetensors", lambda content: b"\xff" * 8 + content[8:]),
     ("head.safetensors", lambda content: content[:-4]), ("judge.json", lambda _: b"[]"),
     ("judge.json", lambda content: content.replace(b"temperatures", b"temperature_s")),
     ("judge.json", lambda _: b'{"options": {}}'), ("judge.json", lambda content: content[:-20])],
)  # fmt: skip
def test_a_damaged_judge_is_a_sentence(judges, tmp_path, name, damage):
    folder = tmp_path / "j"
    shutil.copytree(judges["bradley_terry"], folder)
    path = folder / name
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ConfigError, match=r"^game\.judge\.model=.* cannot be read .*: train it again\.$"):
        LearnedJudge(LearnedModel(str(folder)), None, 8).preference([("why", "a", "b")])


@pytest.mark.parametrize("temperature", ["NaN", "Infinity", "0", "-1", '"1"', "null", "[]"])
def test_a_temperature_that_is_no_positive_number_is_a_sentence(judges, tmp_path, temperature):
    folder = tmp_path / "j"
    shutil.copytree(judges["bradley_terry"], folder)
    card = json.loads((folder / "judge.json").read_text())
    card = {key: value for key, value in card.items() if key != CHECKSUM}
    card["temperatures"] = ["TEMPERATURE" for _ in card["temperatures"]]
    (folder / "judge.json").write_text(json.dumps(card).replace('"TEMPERATURE"', temperature))
    with pytest.raises(ConfigError, match=r"cannot be read .*: train it again"):
        LearnedJudge(LearnedModel(str(folder)), None, 8).preference([("why", "a", "b")])


def test_long_texts_are_read(encoder, tmp_path):
    lines = [line | {"b": "sea " * 40_000} for line in cyclic(12)[::12]]
    data = written(tmp_path / "v.jsonl", lines)
    folder = train([f"data={data}", f"encoder={encoder}", f"out={tmp_path / 'j'}", "judge=bradley_terry", "folds=2",
                    "inner_folds=1", "epochs=2"])  # fmt: skip
    assert main(["grade", f"data={data}", "judge=bradley_terry", f"judge.model={folder}"]) == 0


def test_half_of_a_surrogate_pair_is_refused(encoder, tmp_path, capsys):
    data = written(tmp_path / "v.jsonl", [line | {"a": line["a"] + " \ud800"} for line in cyclic(12)])
    assert main(["train", f"data={data}", f"encoder={encoder}", f"out={tmp_path / 'j'}", "judge=bradley_terry"]) == 2
    assert "line 1: a has U+D800, half of a character, which UTF-8 cannot hold: remove it." in capsys.readouterr().err


def test_held_out_predictions_know_nothing_of_the_prompt(encoder, tmp_path):
    """Votes that only the prompt's own pairs could teach: on others, accuracy is that of a coin."""
    rng = np.random.default_rng(1)
    lines = [{"prompt": f"write {number}", "a": f"the sea {rng.integers(9)}", "b": f"old tea bread {rng.integers(9)}",
              "votes": [5, 0, 0] if number % 2 else [0, 5, 0]} for number in range(60)]  # fmt: skip
    order = rng.permutation(60)
    lines = [lines[k] for k in order]
    folder = train([f"data={written(tmp_path / 'v.jsonl', lines)}", f"encoder={encoder}", f"out={tmp_path / 'j'}",
                    "judge=bradley_terry", "folds=5", "inner_folds=2"])  # fmt: skip
    assert accuracy(folder)["bradley_terry"]["value"] < 0.7


def test_a_trained_encoder_is_saved_and_differs(encoder, tmp_path):
    from safetensors.torch import load_file

    folder = train([f"data={written(tmp_path / 'v.jsonl', cyclic(16))}", f"encoder={encoder}", "fine_tune=true",
                    "pairs=16", "epochs=2", "folds=2", "inner_folds=1", f"out={tmp_path / 'j'}",
                    "encoder_learning_rate=0.01"])  # fmt: skip
    own, start = (load_file(place / "model.safetensors") for place in (folder / "encoder", encoder))
    assert any((own[name] - start[name]).abs().max() > 1e-4 for name in own)
    told = LearnedJudge(LearnedModel(str(folder)), None, 8).preference(
        [("why", "the sea", "tea"), ("why", "tea", "the sea")]
    )
    assert told.sum() == pytest.approx(1, abs=1e-12)


def test_voters_of_a_source_want_their_own_things(encoder, tmp_path):
    """Some like long answers, others short ones: one judge, told apart by the source."""
    rng = np.random.default_rng(0)
    lines = []
    for number in range(40):
        long, short = " ".join(rng.choice(["sea", "moon", "tea"], 20)), "tea"
        source = "many" if number % 2 else "few"
        votes = [4, 0, 0] if source == "many" else [0, 4, 0]
        lines.append({"source": source, "prompt": f"why {number}", "a": long, "b": short, "votes": votes})
    folder = train([f"data={written(tmp_path / 'v.jsonl', lines)}", f"encoder={encoder}", f"out={tmp_path / 'j'}",
                    "judge=bradley_terry", "folds=4", "inner_folds=2"])  # fmt: skip
    assert accuracy(folder)["bradley_terry"]["value"] == 1
    pair = [("why not", "sea " * 20, "tea")]
    assert LearnedJudge(LearnedModel(str(folder)), "many", 8).preference(pair)[0] > 0.8
    assert LearnedJudge(LearnedModel(str(folder)), "few", 8).preference(pair)[0] < 0.2
    with pytest.raises(ConfigError, match=r"voters=none: .* has learned from few, many"):
        LearnedJudge(LearnedModel(str(folder)), "none", 8).preference(pair)


def test_a_learned_judge_is_a_games_and_its_content_is_in_the_fingerprint(judges, tmp_path):
    def fingerprint(folder, kind="general_preference"):
        words = ["game=text", "policy=causal_lm", "prox=gradient", f"judge@game.judge={kind}",
                 f"game.judge.model={folder}"]  # fmt: skip
        with composed(words) as config:
            return specify(plain(config)).fingerprint

    import shutil

    copy = shutil.copytree(judges["general_preference"], tmp_path / "copy")
    assert fingerprint(copy) == fingerprint(judges["general_preference"])
    assert fingerprint(judges["bradley_terry"], "bradley_terry") != fingerprint(copy)
    (copy / "head.safetensors").write_bytes((judges["pairwise_model"] / "head.safetensors").read_bytes())
    assert fingerprint(copy) != fingerprint(judges["general_preference"])
    assert fingerprint(judges["pairwise_model"], "pairwise_model")
    with pytest.raises(ConfigError, match=r"has no judge\.json"):
        fingerprint(tmp_path)


@pytest.mark.parametrize(("line", "words"), [
    ('{"prompt": "p", "a": "x"}', "line 1 lacks b"),
    ("[1]", "row 1 is 1, no object"),
    ("{", "line 1 is not JSON"),
    ('{"prompt": "p", "a": "x", "b": 3, "votes": [1, 0, 0]}', "line 1: b is 3, no text"),
    ('{"prompt": "p", "a": "x", "b": "y", "votes": [1, -1, 0]}', r"votes=\[1, -1, 0\]"),
    ('{"prompt": "p", "a": "x", "b": "y", "votes": "ab"}', "votes="),
    ('{"prompt": "p", "a": "x", "b": "x", "votes": [1, 0, 0]}', "no pair of different completions"),
])  # fmt: skip
def test_bad_votes_are_a_sentence(tmp_path, line, words):
    (tmp_path / "v.jsonl").write_text(line + "\n")
    with pytest.raises(ConfigError, match=words):
        read_text_votes(str(tmp_path / "v.jsonl"))


@pytest.mark.parametrize(("words", "said"), [
    (["data=nowhere"], "data=nowhere is not a file"),
    (["data=x", "judge=panel"], "judge=panel is not one of"),
    (["data=x", "epochs=0"], "epochs=0 is too small"),
    (["data=x", "epoch=3"], "epoch"),
    (["data=x", "seed=9223372036854775808"], "seed=9223372036854775808 is too large"),
    (["data=x", "dimensions=3"], "dimensions=3 is odd"),
    (["data=x", "fine_tune=true", "pairs=512"], "pairs=512 is too much"),
])  # fmt: skip
def test_bad_options_are_a_sentence_and_exit_code_2(capsys, words, said):
    assert main(["train", *words]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error


def votes_of(share, number, prompts):
    answers = [(f"p{prompt}", text) for prompt in sorted(set(prompts)) for text in ("a", "bb")]
    pairs = np.array([(2 * sorted(set(prompts)).index(prompt), 2 * sorted(set(prompts)).index(prompt) + 1)
                      for prompt in prompts])  # fmt: skip
    number, share = np.asarray(number, float), np.asarray(share, float)
    votes = np.stack([share * number, (1 - share) * number, 0 * number], 1)
    return TextVotes(answers, pairs, votes, np.array(["s"] * len(pairs)))


def test_grades_against_hand_computed_numbers():
    votes = votes_of([1, 0, 0.5, 0.75], [4, 2, 2, 4], [0, 1, 2, 3])
    chance = np.array([0.8, 0.6, 0.9, 0.5])
    assert grades.right(chance, votes)[0].tolist() == [1, 0, 0.5, 0.5]
    assert grades.log_loss(chance, votes)[:2] == pytest.approx([-np.log(0.8), -np.log(0.4)])
    same, couples = baselines.agreement(votes)
    assert couples.tolist() == [6, 1, 1, 6]
    assert same == pytest.approx([1, 1, 0, (3 * 2 / 2) / 6])
    votes_of_three = TextVotes(votes.answers, votes.pairs[:2], np.array([[2.0, 1, 0], [1, 1, 1]]), votes.sources[:2])
    right, cases = baselines.another_voter(votes_of_three)
    assert cases.tolist() == [1, 2]  # who votes with one of two others finds these even; so does who calls a tie
    assert right.tolist() == [0, 0]  # the second one against two; the two that disagree against each other and a tie
    assert baselines.against_others(np.array([0.9, 0.1]), votes_of_three)[0].tolist() == [1, 0.5]
    error, bins = calibration(np.full(4, 0.5), votes.share, votes.number, bins=1)
    assert error == pytest.approx(0)
    assert bins == [pytest.approx((0.5, 0.5, 24))]
    rows = grades.table({"judge": chance}, votes)
    assert len(rows) == 1
    assert rows[0]["accuracy"]["judge"]["value"] == pytest.approx((4 + 0 + 1 + 2) / 12)  # of voters that are left out
    assert rows[0]["accuracy"][grades.LONGER]["value"] in (pytest.approx(3 / 12), pytest.approx(9 / 12))
    single = TextVotes(votes.answers, votes.pairs, np.sign(votes.votes), votes.sources)
    assert grades.majorities_leave_one_out(votes)
    assert not grades.majorities_leave_one_out(single.at(np.array([0, 1, 3])))


def test_temperature_is_that_of_the_votes():
    from nlhf.judges.temperature import fit_temperature

    rng = np.random.default_rng(0)
    logits = rng.normal(size=4000) * 2
    share = rng.binomial(20, sigmoid(logits)) / 20
    votes = votes_of(share, np.full(4000, 20), list(range(4000)))
    assert fit_temperature(3 * logits, votes, np.ones(4000)) == pytest.approx(3, rel=0.05)


def test_temperatures_of_few_pairs_stay_near_what_is_expected():
    from nlhf.judges.temperature import fit_temperature

    nothing = votes_of([], [], [])
    assert fit_temperature(np.array([]), nothing, np.array([]), expected=1.7) == 1.7
    right = votes_of([1.0, 1.0], [1, 1], [0, 1])  # two pairs that are right would be sure of everything
    assert 0.5 < fit_temperature(np.array([2.0, 2.0]), right, np.ones(2)) < 1
    many = votes_of(np.ones(500), np.ones(500), range(500))
    assert fit_temperature(np.full(500, 2.0), many, np.ones(500)) < 0.5


def test_grades_are_of_judges_that_were_fitted_without_the_prompt_in_every_fold(encoder, monkeypatch, tmp_path):
    from nlhf.judges import optimise
    from nlhf.judges import train as training

    fitted, trained = [], []
    fit, train_one = training.fit, optimise.train_head

    def watched_fit(reader, pairs, voters):
        fitted.append(set(reader.votes.prompts[pairs]))
        trained.clear()
        return fit(reader, pairs, voters)

    def watched_train(reader, pairs, voters, penalty, epochs, held=None):
        if held is not None:
            inner = set(reader.votes.prompts[held])
            assert not inner & set(reader.votes.prompts[pairs])
            assert inner <= fitted[-1]
        assert set(reader.votes.prompts[pairs]) <= fitted[-1]
        return train_one(reader, pairs, voters, penalty, epochs, held)

    monkeypatch.setattr(training, "fit", watched_fit)
    monkeypatch.setattr(optimise, "train_head", watched_train)
    train([f"data={written(tmp_path / 'v.jsonl', cyclic(12))}", f"encoder={encoder}", f"out={tmp_path / 'j'}",
           "judge=bradley_terry", "folds=3", "inner_folds=2", "epochs=2"])  # fmt: skip
    assert [len(prompts) for prompts in fitted] == [8, 8, 8, 12]
    assert not set.intersection(*fitted[:3])  # every prompt is left out once


def test_calibration_by_hand_and_of_a_judge_that_is_too_sure():
    votes = votes_of([1, 0.5], [2, 2], [0, 1])
    error, bins = calibration(
        np.array([0.9, 0.8]), votes.share, votes.number, bins=2
    )  # .1 and .2 against 0 and .5; and mirrored
    assert bins == [pytest.approx((0.15, 0.25, 4)), pytest.approx((0.85, 0.75, 4))]
    assert error == pytest.approx(0.1)
    rng = np.random.default_rng(0)
    logits = rng.normal(size=4000)
    share = rng.binomial(10, sigmoid(logits)) / 10
    many = votes_of(share, np.full(4000, 10), list(range(4000)))
    assert calibration(sigmoid(logits), many.share, many.number)[0] < 0.015
    sure = calibration(sigmoid(3 * logits), many.share, many.number)[0]
    assert sure == pytest.approx(np.abs(sigmoid(3 * logits) - sigmoid(logits)).mean(), abs=0.015)


def test_a_judge_of_all_voters_is_learned_beside_the_others_and_changes_nothing_for_them(encoder, tmp_path):
    """Two groups of voters want opposite things of length and agree on lists; only what they agree on is left."""
    rng = np.random.default_rng(0)
    lines = []
    for number in range(60):
        long, short = " ".join(rng.choice(["sea", "moon", "tea"], 20)), "tea"
        listed = "\n".join(f"- {word}" for word in rng.choice(["sea", "moon"], 2))
        votes = [4, 0, 0] if number % 2 else [0, 4, 0]
        lines += [
            {"source": f"s{number % 2}", "prompt": f"why {number}", "a": long, "b": short, "votes": votes},
            {"source": f"s{number % 2}", "prompt": f"why {number}", "a": listed, "b": short, "votes": [4, 0, 0]},
        ]
    folder = train([f"data={written(tmp_path / 'v.jsonl', lines)}", f"encoder={encoder}", f"out={tmp_path / 'j'}",
                    "judge=bradley_terry", "folds=4", "inner_folds=2"])  # fmt: skip
    told = [LearnedJudge(LearnedModel(str(folder)), voters, 8).preference([("why not", "sea " * 20, "tea"),
                                                             ("why not", "- sea\n- moon", "tea")])
            for voters in ("s0", "s1", None)]  # fmt: skip
    assert told[0][0] < 0.2 < 0.8 < told[1][0]
    assert load(str(folder), 8)[0].head.own.weight[ALL].abs().max() > 1e-3  # its weights of its own have learned
    assert 0.2 < told[2][0] < 0.8
    assert min(chances[1] for chances in told) > 0.7
    card = json.loads((folder / "judge.json").read_text())["grades"][-1]
    assert card["calibration_error"]["bradley_terry of all voters"]["value"] < 0.1


def test_a_judge_of_another_kind_is_refused_and_prompts_that_were_learned_are_said(judges, capsys):
    folder = judges["general_preference"]
    with pytest.raises(
        ConfigError, match=r"is a general_preference, no bradley_terry: choose judge=general_preference"
    ):
        LearnedJudge(LearnedModel(str(folder)), None, 8, "bradley_terry").preference([("why", "sea", "tea")])
    words = [f"data={folder.parent / 'votes.jsonl'}", "judge=bradley_terry", f"judge.model={folder}"]
    assert main(["grade", *words]) == 2
    assert capsys.readouterr().err.startswith("error: judge.model=")
    assert main(["grade", words[0], "judge=general_preference", words[2]]) == 0
    assert "caution: the judge was trained on 24 of 24 prompts, so these grades are too good" in capsys.readouterr().out


def test_what_cannot_be_learned_is_said_before_anything_is_read(encoder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("nlhf.judges.encoder.Encoder.__init__", None)
    words = [f"data={written(tmp_path / 'v.jsonl', cyclic(4))}", f"encoder={encoder}"]
    assert main(["train", *words, f"out={tmp_path / 'j'}"]) == 2
    assert "folds=5 wants 5 folds, and" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert main(["train", *words, "folds=2", "inner_folds=2", f"out={tmp_path / 'file' / 'j'}"]) == 1
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize("use", ["outer", "inner"])
def test_a_prompt_is_in_one_fold_with_all_its_pairs(tmp_path, use):
    from nlhf.judges.folds import folds

    votes = read_text_votes(str(written(tmp_path / "v.jsonl", cyclic(10))))
    masks = np.array(list(folds(votes, 4, 0, use)))
    assert (masks.sum(0) == 1).all()
    held = [set(votes.prompts[mask].tolist()) for mask in masks]
    assert sum(map(len, held)) == len(set().union(*held)) == 10
    assert all(held)
