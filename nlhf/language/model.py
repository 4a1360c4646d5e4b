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
from contextlib import nullcontext
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from nlhf.language import sampling, scoring
from nlhf.language.caches import ReadPrompts, attends_everywhere, new_cache, shared_prefix
from nlhf.language.reading import Answers, Tokens, Turn, first_turn
from nlhf.models.prompts import Prompt
from nlhf.models.tokens import end_tokens, max_positions

if TYPE_CHECKING:
    from nlhf.language.policy import CausalLM
    from nlhf.language.script import Script
    from nlhf.language.sharding import Lockstep
    from nlhf.language.team import Team

Weights = Mapping[str, Tensor]
Mixture = Sequence[tuple[Weights | None, float]]  # weights of models with their exponents; None is the base model


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
        self.lockstep: Lockstep | None = None  # of a base model that is spread over the processes
        self.sampled_tokens = 0  # in training
        self._answers: list[Answers] = []
        self._numbers: dict[Answers, int] = {}

    def turn(self, prompt: Prompt, script: Script | None = None) -> Turn:
        """A prompt as the model reads it; see `nlhf.language.reading.first_turn`."""
        return first_turn(self, prompt, script)

    def number(self, *answers: Tokens) -> int:
        """The number of a completion, or of the answers of a dialogue. What is new gets the next number."""
        if answers not in self._numbers:
            self._numbers[answers] = len(self._answers)
            self._answers.append(answers)
        return self._numbers[answers]

    def tokenised(self, text: str) -> Tokens:
        """A completion as the tokens that the model would draw, with the end token."""
        return (*self.tokenizer(text, add_special_tokens=False, verbose=False).input_ids, self.end_tokens[0])

    def answers(self, number: int) -> Answers:
        """The answers of a number: one, or those of a dialogue in turn."""
        return self._answers[number]

    def text(self, number: int) -> str:
        """The answers as text, without end tokens; what a judge reads is `nlhf.language.reading.transcript`."""
        return "\n\n".join(map(self.decoded, self.answers(number)))

    def decoded(self, answer: Tokens) -> str:
        """One answer as text, without the end token."""
        tokens = answer[:-1] if self.ended(answer) else answer
        return str(self.tokenizer.decode(tokens, skip_special_tokens=True)).strip()

    def ended(self, answer: Tokens) -> bool:
        """True if one answer has its end token."""
        return any(token in self.end_tokens for token in answer[-1:])

    def finished(self, number: int) -> bool:
        """True if all answers have their end tokens."""
        return all(map(self.ended, self.answers(number)))

    def log_prob(self, weights: Weights | None, prompts: Sequence[Tokens], completions: Sequence[Tokens]) -> Tensor:
        """log pi(y | x) of every row, (n), float32 or better, differentiable in `weights`; None is the base model."""
        if self.team is not None and self.team.divides(len(prompts)):
            return self.team.log_prob(weights, prompts, completions)
        return scoring.log_prob(self, weights, prompts, completions)

    def divergence_and_entropy(
        self, weights: Weights | None, prompts: Sequence[Tokens], completions: Sequence[Tokens]
    ) -> Tensor:
        """See `nlhf.language.scoring.divergence_and_entropy`, (2, n)."""
        if self.team is not None and self.team.divides(len(prompts)):
            return self.team.divergence_and_entropy(weights, prompts, completions).to(self.device)
        return scoring.divergence_and_entropy(self, weights, prompts, completions)

    def sample(self, mixture: Mixture, prompts: Sequence[Tokens], uniforms: np.ndarray) -> list[Tokens]:
        """A completion of every prompt, from the token-wise geometric mixture of models.

        Args:
            mixture: weights and exponents of the models; a single model with exponent 1 is that model.
            uniforms: numbers on [0, 1), (n). Each seeds the random generator of one completion.
        """
        return self.scored_sample(mixture, prompts, uniforms)[0]

    def scored_sample(
        self, mixture: Mixture, prompts: Sequence[Tokens], uniforms: np.ndarray
    ) -> tuple[list[Tokens], Tensor | None]:
        """`sample`, and what the tokens' log-probabilities in the mixture sum to, (n); None from several processes."""
        scores: Tensor | None = None
        if self.team is not None and self.team.divides(len(prompts)):
            sampled = self.team.sample(mixture, prompts, uniforms)
        else:
            sampled, scores = sampling.scored_sample(self, mixture, prompts, uniforms)
        self.sampled_tokens += sum(map(len, sampled))
        return sampled, scores

    def read_prompts(self, weights: Weights | None, prompts: Sequence[Tokens]) -> ReadPrompts:
        """Read prompts; a prompt that occurs several times is read once, and so is the start that all share."""
        row_of = {prompt: row for row, prompt in enumerate(dict.fromkeys(prompts))}
        cache = new_cache(self.config)
        prefix = shared_prefix(row_of) if attends_everywhere(cache) else ()
        tokens, attention_mask, position_ids = self.padded([prompt[len(prefix) :] for prompt in row_of])
        if prefix:
            self.forward(weights, *self.padded([prefix]), 1, cache)
            cache.reorder_cache(torch.zeros(len(row_of), dtype=torch.long, device=self.device))
            attention_mask = torch.cat([attention_mask.new_ones(len(row_of), len(prefix)), attention_mask], 1)
            position_ids = position_ids + len(prefix)
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
        with nullcontext() if self.lockstep is None else self.lockstep.step():
            return self._output(weights, options)

    def _output(self, weights: Weights | None, options: dict[str, Any]) -> Any:
        if weights is None:
            return self.base(**options)
        values = {name: value[0] for name, value in weights.items()}
        tied = self.module is self.base  # LoRA matrices are not tied, and the search for tied weights is slow
        return torch.func.functional_call(self.module, values, (), options, tie_weights=tied)
