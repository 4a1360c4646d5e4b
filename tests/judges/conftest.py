"""A sentence encoder of a few words, as transformers saves them."""

from __future__ import annotations

import pytest

WORDS = ["the", "a", "sea", "moon", "bread", "is", "was", "good", "kind", "old", "bird", "tea", "river", "why", "write",
         "about", "stone", "paper", "scissors", "one", "two"]  # fmt: skip


@pytest.fixture(scope="session")
def encoder(tmp_path_factory):
    transformers = pytest.importorskip("transformers")
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers

    place = tmp_path_factory.mktemp("encoder")
    known = {word: index for index, word in enumerate(["<pad>", "<unknown>", *WORDS])}
    words = Tokenizer(models.WordLevel(known, unk_token="<unknown>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    transformers.PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unknown>",
                                         pad_token="<pad>").save_pretrained(place)  # fmt: skip
    torch.manual_seed(0)
    config = transformers.BertConfig(vocab_size=len(known), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
                                     intermediate_size=32, max_position_embeddings=64, pad_token_id=0)  # fmt: skip
    transformers.BertModel(config).save_pretrained(place)
    return place
