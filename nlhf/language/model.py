"""A causal language model as a function of its trainable weights: log-probabilities of completions, and samples.

A policy is a dict of weights. Each evaluation passes its weights to one shared module for the time of a call
(`torch.func.functional_call`), so adapters are never swapped. Opponent, anchor, target and learner are dicts of LoRA
matrices (arXiv:2106.09685) beside one copy of the base model, which is the reference.

    log pi(y | x) = sum over the tokens of y, the end token included, of log pi(y_t | x, y_<t)

Logits are divided by `policy.temperature` first. A completion that reaches `max_new_tokens` has no end token: the
length limit is part of the game.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from nlhf.language import sampling, scoring
from nlhf.models.prompts import Prompt, messages, prompt_text
from nlhf.models.tokens import OverlongPromptError, end_tokens, max_positions, rendered

if TYPE_CHECKING:
    from nlhf.language.policy import CausalLM
    from nlhf.language.team import Team

Weights = Mapping[str, Tensor]
Tokens = tuple[int, ...]
Mixture = Sequence[tuple[Weights | None, float]]  # weights of models with their exponents; None is the base model


@dataclass(frozen=True)
class Turn:
    """A prompt as the model reads it: its tokens, and the text that a judge reads."""

    tokens: Tokens
    text: str


@dataclass(frozen=True)
class ReadPrompts:
    """The state of a model after it has read n prompts.

    Args:
        cache: keys and values, or recurrent states, of transformers.
        logits: of the next token, (n, vocabulary).
        attention_mask: (n, length); prompts are padded on the left.
        last_positions: position id of each prompt's last token, (n, 1).
    """

    cache: Any
    logits: Tensor
    attention_mask: Tensor
    last_positions: Tensor


class LanguageModel:
    """A base model, its tokenizer, and a number for every completion that was sampled.

    Args:
        options: of `policy=causal_lm`.
        module: of transformers or peft, with the trainable weights.
        base: the module without adapters. It shares its weights with `module`.
        tokenizer: of transformers.
        initial: the trainable weights at the start of training, by name.
    """

    def __init__(
        self, options: CausalLM, module: torch.nn.Module, base: torch.nn.Module, tokenizer: Any, initial: Weights
    ) -> None:
        self.options, self.module, self.base, self.tokenizer = options, module, base, tokenizer
        self.initial = dict(initial)
        self.config: Any = module.config
        self.device = next(module.parameters()).device
        self.end_tokens = end_tokens(base, tokenizer)
        self.max_positions = max_positions(base)
        self.team: Team | None = None  # other processes that share the work
        self.completions: list[Tokens] = []
        self.sampled_tokens = 0  # in training
        self._numbers: dict[Tokens, int] = {}

    def turn(self, prompt: Prompt) -> Turn:
        """A prompt as the model reads it, through the chat template if there is one.

        Raises: OverlongPromptError for a prompt that leaves no room for a completion, ConfigError for messages that
        the chat template refuses.
        """
        text, has_template = prompt_text(prompt), bool(self.tokenizer.chat_template)
        model_input = text
        if has_template:
            key = f"policy.model={self.options.model}"
            model_input = rendered(self.tokenizer, messages(prompt), key, add_generation_prompt=True)
        tokens = tuple(self.tokenizer(model_input, add_special_tokens=not has_template, verbose=False).input_ids)
        length = len(tokens) + self.options.max_new_tokens
        if self.max_positions is not None and length > self.max_positions:
            raise OverlongPromptError(
                f"the prompt '{text[:60]}' has {len(tokens)} tokens, and with policy.max_new_tokens="
                f"{self.options.max_new_tokens} more than the model's {self.max_positions}",
                self.max_positions - len(tokens),
            )
        return Turn(tokens, text)

    def number(self, tokens: Tokens) -> int:
        """The number of a completion. A new completion gets the next number."""
        if tokens not in self._numbers:
            self._numbers[tokens] = len(self.completions)
            self.completions.append(tokens)
        return self._numbers[tokens]

    def text(self, number: int) -> str:
        """A completion as text, without the end token."""
        tokens = self.completions[number][:-1] if self.finished(number) else self.completions[number]
        return str(self.tokenizer.decode(tokens, skip_special_tokens=True)).strip()

    def finished(self, number: int) -> bool:
        """True if the completion has its end token."""
        return any(token in self.end_tokens for token in self.completions[number][-1:])

    def log_prob(self, weights: Weights | None, prompts: Sequence[Tokens], completions: Sequence[Tokens]) -> Tensor:
        """log pi(y | x) of every row, (n), float32 or better, differentiable in `weights`; None is the base model."""
        if self.team is not None and len(prompts) >= self.team.size:
            return self.team.log_prob(weights, prompts, completions)
        return scoring.log_prob(self, weights, prompts, completions)

    def divergence_and_entropy(
        self, weights: Weights | None, prompts: Sequence[Tokens], completions: Sequence[Tokens]
    ) -> Tensor:
        """See `nlhf.language.scoring.divergence_and_entropy`, (2, n)."""
        if self.team is not None and len(prompts) >= self.team.size:
            return self.team.divergence_and_entropy(weights, prompts, completions).to(self.device)
        return scoring.divergence_and_entropy(self, weights, prompts, completions)

    def sample(self, mixture: Mixture, prompts: Sequence[Tokens], uniforms: np.ndarray) -> list[Tokens]:
        """A completion of every prompt, from the token-wise geometric mixture of models.

        Args:
            mixture: weights and exponents of the models; a single model with exponent 1 is that model.
            uniforms: numbers on [0, 1), (n). Each seeds the random generator of one completion.
        """
        if self.team is not None and len(prompts) >= self.team.size:
            sampled = self.team.sample(mixture, prompts, uniforms)
        else:
            sampled = sampling.sample(self, mixture, prompts, uniforms)
        self.sampled_tokens += sum(map(len, sampled))
        return sampled

    def read_prompts(self, weights: Weights | None, prompts: Sequence[Tokens]) -> ReadPrompts:
        """Read prompts; a prompt that occurs several times is read once."""
        from transformers import DynamicCache

        row_of = {prompt: row for row, prompt in enumerate(dict.fromkeys(prompts))}
        tokens, attention_mask, position_ids = self.padded(list(row_of))
        cache: Any = DynamicCache(config=self.config)
        logits = self.forward(weights, tokens, attention_mask, position_ids, 1, cache).logits[:, -1]
        rows = torch.tensor([row_of[prompt] for prompt in prompts], device=self.device)
        cache.reorder_cache(rows)  # the states of recurrent layers too
        return ReadPrompts(cache, logits[rows], attention_mask[rows], position_ids[rows, -1:])

    def padded(self, prompts: Sequence[Tokens], completions: Sequence[Tokens] = ()) -> tuple[Tensor, Tensor, Tensor]:
        """Token ids, attention mask and position ids, (n, length): prompts padded left, completions right."""
        prompt_length, completion_length = (max(map(len, side), default=0) for side in (prompts, completions))
        ids = np.zeros((len(prompts), prompt_length + completion_length), np.int64)
        mask = np.zeros_like(ids)
        for row, (prompt, completion) in enumerate(zip_longest(prompts, completions, fillvalue=())):
            columns = slice(prompt_length - len(prompt), prompt_length + len(completion))
            ids[row, columns], mask[row, columns] = prompt + completion, 1
        tokens, attention_mask = (torch.from_numpy(array).to(self.device) for array in (ids, mask))
        return tokens, attention_mask, (attention_mask.cumsum(1) - 1).clamp(min=0)

    def forward(
        self,
        weights: Weights | None,
        tokens: Tensor,
        attention_mask: Tensor,
        position_ids: Tensor,
        logits_to_keep: int,
        cache: Any = None,
    ) -> Any:
        """The module's output with these weights, or the base model's, with logits of the last positions."""
        options = {
            "input_ids": tokens,
            "attention_mask": attention_mask,
            "position_ids": position_ids,
            "logits_to_keep": logits_to_keep,
            "use_cache": cache is not None,
            "past_key_values": cache,
        }
        if weights is None:
            return self.base(**options)
        values = {name: value[0] for name, value in weights.items()}
        tied = self.module is self.base  # LoRA matrices are not tied, and the search for tied weights is slow
        return torch.func.functional_call(self.module, values, (), options, tie_weights=tied)
