"""What several test modules share."""

from __future__ import annotations

import gc
import os
import signal
import sys

import hypothesis
import pytest


def pytest_configure():
    hypothesis.settings.register_profile("without deadline", deadline=None)  # a busy machine is no fault
    hypothesis.settings.load_profile("without deadline")
    os.fsync = os.fstat  # a wait of milliseconds that a test cannot see; it still refuses closed descriptors
    gc.disable()  # until all tests are collected: their modules and nodes stay
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in the background of a shell
        signal.signal(signal.SIGINT, signal.default_int_handler)  # the programs that tests start inherit it


def pytest_collection_modifyitems(items):
    """Start with the tests that wait longest for other processes, so that the other workers have enough to do."""
    items.sort(key=lambda item: "tests/slurm/" not in item.nodeid)


def pytest_collection_finish():
    gc.freeze()  # so that collections during tests do not look at them again and again
    gc.enable()


WORDS = ["<end>", "<unknown>", *"the a sea moon bread is was good kind old bird tea river why write about".split()]  # noqa: SIM905


@pytest.fixture(scope="module")
def one_thread():
    """On small tensors a second thread only waits for the first, and for long where the machine is busy."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def no_figure_files(monkeypatch):
    """Pages show their figures, without PDF and PNG files beside them, which take half of the time."""
    from nlhf.analysis.figures import output

    monkeypatch.setattr(output, "save", lambda *_: [])


@pytest.fixture
def importable(tmp_path, monkeypatch):
    """A folder whose modules this process can import. It forgets them after the test."""
    from nlhf.runner import source

    before = set(sys.modules)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]
            source._digests.pop(name, None)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    """A model and a tokenizer of a few words, as transformers saves them."""
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("peft")
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers

    place = tmp_path_factory.mktemp("model")
    words = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="<unknown>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<end>", unk_token="<unknown>")
    tokenizer.save_pretrained(place)
    torch.manual_seed(0)
    config = transformers.LlamaConfig(vocab_size=len(WORDS), hidden_size=16, intermediate_size=32, num_hidden_layers=2,
                                      num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=64,
                                      eos_token_id=0, bos_token_id=None, pad_token_id=None)  # fmt: skip
    transformers.LlamaForCausalLM(config).save_pretrained(place)
    return place


@pytest.fixture
def text_config(tiny_model, tmp_path):
    """Composes `game=text`, or another game of texts, with the tiny model, and what a test overrides."""
    from tests.composing import configured

    def made(*overrides, game="text"):
        fixed = [f"game={game}", "policy=causal_lm", f"policy.model={tiny_model}", "policy.max_new_tokens=6",
                 "prox=gradient", "prox.contexts=3", "prox.samples=4", "game.test_prompts=8",
                 "game.judge.criteria=[diversity,length]", "algorithm=nash_prox", "prox.learning_rate=0.01",
                 "beta=0.1", "game.judge.words=4", "progress=false",
                 "budget.queries=null", "budget.target=null", "budget.iterations=4",
                 f"runs_dir={tmp_path}"]  # fmt: skip
        return configured(*fixed, *overrides)

    return made


READ = ["the", "a", "sea", "moon", "bread", "is", "was", "good", "kind", "old", "bird", "tea", "river", "why", "write",
         "about", "stone", "paper", "scissors", "one", "two"]  # fmt: skip


@pytest.fixture(scope="session")
def encoder(tmp_path_factory):
    """A sentence encoder of a few words, as transformers saves them."""
    transformers = pytest.importorskip("transformers")
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers

    place = tmp_path_factory.mktemp("encoder")
    known = {word: index for index, word in enumerate(["<pad>", "<unknown>", *READ])}
    words = Tokenizer(models.WordLevel(known, unk_token="<unknown>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    transformers.PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unknown>",
                                         pad_token="<pad>").save_pretrained(place)  # fmt: skip
    torch.manual_seed(0)
    config = transformers.BertConfig(vocab_size=len(known), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
                                     intermediate_size=32, max_position_embeddings=64, pad_token_id=0)  # fmt: skip
    transformers.BertModel(config).save_pretrained(place)
    return place
