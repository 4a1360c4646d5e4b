"""A tiny policy, its reference, and the pairs of completions on which the losses of TRL and of nlhf are compared."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

WORDS = ("<end>", "<pad>", "the", "a", "sea", "moon", "bread", "is", "was", "good", "kind", "old", "bird", "tea",
         "river", "why", "<unknown>")  # fmt: skip
PROMPTS = ("the sea", "why is the old moon good", "a bird")
FIRST = ((5, 3, 0), (7, 2, 9, 4), (0,))  # of the policy: tokens of a completion for each prompt; one is not finished
SECOND = ((6, 0), (3, 3, 8, 0), (11, 4, 0))  # of the opponent
ONE_TOKEN = ((5,), (7,), (0,))  # of the policy
REWARDS = ((1.3, -0.2, 0.4), (0.3, 0.9, -0.6))  # of FIRST and SECOND, by a reward model
BETA, ALPHA, MIXTURE = 0.1, 0.05, 0.3
LONGEST = 4  # tokens of a completion
GRADIENT = "model.norm.weight"  # the weights whose gradient is compared
POLICY, REFERENCE = 0, 1  # seeds of the weights


def tokenizer() -> Any:
    """A tokenizer of words."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="<unknown>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    special = {"eos_token": "<end>", "pad_token": "<pad>", "unk_token": "<unknown>"}
    return PreTrainedTokenizerFast(tokenizer_object=words, padding_side="left", **special)


def model(seed: int) -> Any:
    """A model in float64 whose weights depend on the seed alone, not on the versions of torch and transformers."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=64,
        eos_token_id=0,
        bos_token_id=None,
        pad_token_id=1,
    )
    module = LlamaForCausalLM(config).double().eval()
    numbers = np.random.RandomState(seed)  # NumPy keeps the stream of this generator
    with torch.no_grad():
        for name, value in sorted(module.named_parameters()):
            centre = 1.0 if "norm" in name else 0.0
            value.copy_(torch.from_numpy(centre + 0.4 * numbers.standard_normal(tuple(value.shape))))
    return module
