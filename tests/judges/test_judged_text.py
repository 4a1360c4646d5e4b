"""What models that judge read: the text of transformers' own template, one start token, and the end of what is long."""
# ruff: noqa: E402 (the extra may be missing)

from __future__ import annotations

import json
from dataclasses import dataclass, field

import numpy as np
import pytest

transformers = pytest.importorskip("transformers")
import torch

from nlhf.config import ConfigError
from nlhf.io.inputs import InputFile
from nlhf.judges import panel as panels
from nlhf.judges.base import TextJudge
from nlhf.judges.classifier import PairwiseModel, RewardModel
from nlhf.judges.encoder import Encoder
from nlhf.judges.ensemble import Ensemble
from nlhf.judges.panel import Panel
from nlhf.judges.truncation import Truncator, max_tokens_of
from nlhf.judges.votes_file import read_text_votes
from nlhf.models import prompt_files, prompts
from nlhf.models.content import InputModel
from nlhf.models.tokens import max_positions

pytestmark = pytest.mark.usefixtures("one_thread")
WORDS = ["<pad>", "<unknown>", "<s>", "</s>", "[system]", "[user]", "[assistant]",
         *"the a sea moon bread is was good kind old bird tea river why write about".split()]  # fmt: skip  # noqa: SIM905
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %} [{{ message['role'] }}] {{ message['content'] }}{% endfor %} </s>"
)
CHAT = [
    {"role": "system", "content": "kind bird"},
    {"role": "user", "content": "why tea"},
    {"role": "assistant", "content": "the sea"},
    {"role": "user", "content": "write about bread"},
]


def tokenizer_of(**options):
    """A tokenizer of words that puts <s> before every text."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    words = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="<unknown>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    words.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 2)])
    names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unknown>", "pad_token": "<pad>"} | options
    return transformers.PreTrainedTokenizerFast(tokenizer_object=words, **names)


def saved(folder, template=None, pad=0, positions=64, **options):
    """A tiny reward model, as transformers saves it."""
    torch.manual_seed(0)
    config = transformers.GPT2Config(vocab_size=len(WORDS), n_embd=16, n_layer=1, n_head=2, n_positions=positions,
                                     num_labels=1, pad_token_id=pad, initializer_range=0.5)  # fmt: skip
    transformers.GPT2ForSequenceClassification(config).save_pretrained(folder)
    tokenizer = tokenizer_of(**options)
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    return InputModel(str(folder), "game.judge.model")


def reward_model(model, batch=4):
    return RewardModel(model=model, scale=1.0, batch=batch, trust_remote_code=False)


def score(model, ids):
    """The reward of token ids, by the bare model of transformers."""
    module = transformers.AutoModelForSequenceClassification.from_pretrained(model.source).eval()
    module.config.pad_token_id = None  # reads the last token of a single row
    with torch.no_grad():
        return module(torch.tensor([ids])).logits.item()


def logit(chance):
    return float(np.log(chance / (1 - chance)))


@pytest.mark.parametrize("prompt", ["why tea", CHAT], ids=["text", "chat"])
def test_a_reward_model_reads_what_transformers_makes_of_the_chat(tmp_path, prompt):
    """Its messages stay messages, and there is one start token although template and tokenizer both add one."""
    model = saved(tmp_path, TEMPLATE)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    rewards = []
    for text in ("the old sea is good", "a bird"):
        chat = [*prompts.messages(prompt), {"role": "assistant", "content": text}]
        ids = tokenizer.apply_chat_template(chat, return_dict=True)["input_ids"]
        assert ids.count(2) == 1
        rewards.append(score(model, ids))
    chance = reward_model(model).preference([(prompts.prompt_text(prompt), "the old sea is good", "a bird")])[0]
    assert logit(chance) == pytest.approx(rewards[0] - rewards[1], abs=1e-5)


def test_without_a_template_a_text_has_the_tokenizers_start_token(tmp_path):
    model = saved(tmp_path)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    rewards = [score(model, tokenizer(f"why tea\n\n{text}")["input_ids"]) for text in ("the sea", "a bird")]
    chance = reward_model(model).preference([("why tea", "the sea", "a bird")])[0]
    assert logit(chance) == pytest.approx(rewards[0] - rewards[1], abs=1e-5)


def test_a_template_that_refuses_the_roles_is_a_sentence(tmp_path):
    model = saved(tmp_path, "{{ raise_exception('no system message') }}")
    with pytest.raises(ConfigError, match=r"roles system, user, assistant, user, assistant \(no system message\)"):
        reward_model(model).preference([(prompts.prompt_text(CHAT), "the sea", "a bird")])


@pytest.mark.parametrize("limited", ["tokenizer", "positions"])
@pytest.mark.parametrize("template", [None, TEMPLATE], ids=["plain", "chat"])
def test_long_prompts_are_cut_at_their_beginning_with_a_warning(tmp_path, caplog, limited, template):
    """On the right the answers would be cut off, and every pair would be a tie; beyond its positions GPT-2 fails."""
    options = {"model_max_length": 16} if limited == "tokenizer" else {"positions": 16}
    model = saved(tmp_path, template, **options)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    prompt, rewards = "tea " * 50, []
    for text in ("the old sea is good", "a bird"):
        chat = [{"role": "user", "content": prompt}, {"role": "assistant", "content": text}]
        ids = tokenizer.apply_chat_template(chat, return_dict=True) if template else tokenizer(f"{prompt}\n\n{text}")
        ids = ids["input_ids"]
        assert len(ids) > 16
        rewards.append(score(model, [ids[0], *ids[-15:]]))
    judge = reward_model(model)
    chance = judge.preference([(prompt, "the old sea is good", "a bird")])[0]
    assert logit(chance) == pytest.approx(rewards[0] - rewards[1], abs=1e-5)
    assert abs(chance - 0.5) > 1e-3
    assert "reads 16 tokens of a text at most: of 1 of 1 texts so far the beginning was cut off" in caplog.text
    judge.preference([(f"{prompt} {text}", "the moon", "a bird") for text in WORDS[7:15]])
    assert caplog.text.count("cut off") == 2  # again when there are ten times as many
    assert "of 10 of 10 texts so far" in caplog.text
    assert judge.account == {"calls": 18, "cut_texts": 18}


@pytest.mark.parametrize("pad", [{"pad_token": None}, {"pad_token": "</s>"}], ids=["no pad token", "end as pad token"])
def test_a_model_without_a_padding_token_reads_batches_as_single_texts(tmp_path, pad):
    """Each is read at its last token, although this is the end token that a padding token would be taken from."""
    model = saved(tmp_path, TEMPLATE, pad=None, **pad)
    texts = ["the old sea is good", "a bird", "tea " * 9]
    pairs = [("why tea", first, second) for first in texts for second in texts]
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    rewards = []
    for text in texts:
        chat = [{"role": "user", "content": "why tea"}, {"role": "assistant", "content": text}]
        rewards.append(score(model, tokenizer.apply_chat_template(chat, return_dict=True)["input_ids"]))
    expected = [first - second for first in rewards for second in rewards]
    for batch in (1, 3):
        chances = reward_model(model, batch).preference(pairs)
        assert [logit(chance) for chance in chances] == pytest.approx(expected, abs=1e-5)


def test_a_cross_encoder_keeps_the_answers_of_a_long_prompt(tmp_path, caplog):
    model = saved(tmp_path, model_max_length=12)
    judge = PairwiseModel(model=model, scale=1.0, batch=4, trust_remote_code=False, voters=None,
                          template="{prompt}\n\n{first}\n\n{second}")  # fmt: skip
    chance = judge.preference([("tea " * 50, "the old sea", "a bird")])[0]
    assert chance != judge.preference([("tea " * 50, "the old sea", "a moon")])[0]
    assert "of 1 of 1 texts so far the beginning was cut off" in caplog.text


def test_positions_of_roberta_start_behind_its_padding_token():
    config = transformers.RobertaConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=1,
                                        intermediate_size=8, max_position_embeddings=20, pad_token_id=1)  # fmt: skip
    model = transformers.RobertaModel(config).eval()
    assert max_positions(model) == 18
    model(torch.full((1, 18), 5))
    with pytest.raises((IndexError, RuntimeError)):
        model(torch.full((1, 19), 5))


@pytest.mark.parametrize("side", ["left", "right"])
def test_special_tokens_survive_the_cut(side):
    from tokenizers import processors

    tokenizer = tokenizer_of(cls_token="<s>", sep_token="</s>")
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        "<s> $A </s>", special_tokens=[("<s>", 2), ("</s>", 3)]
    )
    truncator = Truncator("a judge", 5, side)
    words = ["sea", "moon", "bread"] if side == "left" else ["the", "a", "sea"]
    assert truncator.ids(tokenizer, ["the a sea moon bread", "tea"]) == [
        [2, *map(WORDS.index, words), 3],
        [2, WORDS.index("tea"), 3],
    ]
    assert (truncator.texts, truncator.cut) == (2, 1)


def test_the_limit_is_the_smaller_one(tmp_path):
    model = transformers.GPT2Model(transformers.GPT2Config(vocab_size=9, n_embd=8, n_layer=1, n_head=1, n_positions=32))
    assert max_tokens_of(tokenizer_of(), model) == 32
    assert max_tokens_of(tokenizer_of(model_max_length=16), model) == 16


def test_an_encoder_counts_the_texts_whose_ends_it_does_not_read(encoder, caplog):
    reader = Encoder(InputModel(str(encoder), "encoder"), 4, 2)
    with torch.no_grad():
        first, second = reader(["the sea is old and good", "the sea is old"])
    assert torch.allclose(first, second)
    assert "reads 4 tokens of a text at most: of 1 of 2 texts so far the end was cut off" in caplog.text


def test_relevance_is_of_the_ends_of_long_texts(encoder, monkeypatch, caplog):
    """Of a prompt this is what it asks."""
    monkeypatch.setattr(panels, "bundled_embedder", lambda: encoder)
    monkeypatch.setattr(panels, "MAX_TOKENS", 4)
    panels._embedder.cache_clear()
    try:
        same, other = panels.relevance([("tea " * 9 + "the sea is old", "the sea is old"), ("tea", "the sea is old")])
    finally:
        panels._embedder.cache_clear()
    assert same == pytest.approx(1, abs=1e-6) != other
    assert "the criterion relevance reads 4 tokens of a text at most: of 1 of 2 texts" in caplog.text


# --- devices ---------------------------------------------------------------------------------------------------------


def test_models_of_judges_are_where_the_run_is(tmp_path, encoder):
    """The device `meta` computes nothing, so it shows where the models would be."""
    rewards = reward_model(saved(tmp_path))
    pairs = PairwiseModel(model=rewards.model, scale=1.0, batch=4, trust_remote_code=False, voters=None, template="")
    panel = Panel(criteria=["length"], words=3, margin=0.0)
    Ensemble(judges={"a": rewards, "b": pairs, "c": panel}, rule="mean").use_device("meta")
    assert [judge._loaded[1].device.type for judge in (rewards, pairs)] == ["meta", "meta"]
    assert panel.run_device == "meta"
    assert Encoder(InputModel(str(encoder), "encoder"), 4, 2, "meta").model.device.type == "meta"


def test_a_run_puts_its_judge_on_its_device(text_config, monkeypatch):
    from nlhf.runner.assemble import assemble
    from nlhf.runner.specification import specify

    placed = []
    monkeypatch.setattr(Panel, "use_device", lambda _, device: placed.append(device))
    assemble(specify(text_config()))
    assert placed == ["cpu"]


# --- prompts ---------------------------------------------------------------------------------------------------------


def written(folder, *rows):
    path = folder / "file.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_text_parts_of_a_message_are_its_text(tmp_path):
    parts = [{"type": "text", "text": "why"}, {"type": "text", "text": "tea"}]
    row = {"prompt": [{"role": "user", "content": parts, "name": "me"}], "a": "x", "b": "y", "votes": [1, 0]}
    path = written(tmp_path, row)
    expected = [{"role": "user", "content": "why\ntea", "name": "me"}]
    assert prompt_files.read(InputFile(path)) == [expected]
    (prompt, _), _ = read_text_votes(path).answers
    assert prompt == "why\ntea"
    assert prompts.messages(prompt) == expected


@pytest.mark.parametrize("content", [None, 7, [], [{"type": "image_url", "image_url": "x"}], [{"type": "text"}], ["x"]])
def test_what_is_no_text_is_refused_with_its_line(tmp_path, content):
    wrong = {"prompt": [{"role": "user", "content": content}], "a": "x", "b": "y", "votes": [1, 0]}
    path = written(tmp_path, {**wrong, "prompt": "why"}, wrong)
    for reader in (lambda: prompt_files.read(InputFile(path)), lambda: read_text_votes(path)):
        with pytest.raises(ConfigError, match=r"line 2.* has a message whose content is not text"):
            reader()


def test_votes_on_chats_keep_their_messages(tmp_path):
    votes = read_text_votes(written(tmp_path, {"prompt": CHAT, "a": "x", "b": "y", "votes": [1, 0]}))
    assert votes.texts()[0][0] == prompts.prompt_text(CHAT)
    assert prompts.messages(votes.texts()[0][0]) == CHAT


# --- counting --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Counter(TextJudge):
    """A judge of somebody else's that caches nothing and counts its calls itself."""

    pairs: list = field(default_factory=list)

    def preference(self, pairs):
        self.pairs.extend(pairs)
        return np.full(len(pairs), 0.5)

    @property
    def calls(self):
        return len(self.pairs)


def panel():
    return Panel(criteria=["length"], words=3, margin=0.0)


@pytest.mark.parametrize(
    ("made", "per_text"),
    [(panel, 1), (lambda: Ensemble(judges={"a": panel(), "b": panel()}, rule="mean"), 2)],
    ids=["panel", "ensemble"],
)
def test_questions_before_and_after_a_stop_are_counted_once(made, per_text):
    first, second = [("why", "tea", "the sea")], [("why", "tea", "a bird")]
    before, after = made(), made()
    before.preference(first)
    after.restore(before.snapshot())
    assert after.question_count == 2 * per_text
    after.preference(first + second)  # the new process reads "tea" and "the sea" again
    assert (after.question_count, after.calls) == (3 * per_text, 3 * per_text)
    third = made()
    third.restore(after.snapshot())
    third.preference(second)
    assert third.question_count == 3 * per_text
    third.restore({"earlier": 7})  # of an older version, which kept the number alone
    assert third.question_count == 7 + per_text * (len(first[0]) - 1)


def test_a_judge_that_counts_its_calls_itself_goes_on_from_their_number():
    before, after = Counter(), Counter()
    before.preference([("why", "a", "b")] * 3)
    after.restore(before.snapshot())
    after.preference([("why", "a", "b")] * 2)
    assert (before.question_count, after.question_count) == (3, 5)
