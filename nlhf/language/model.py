"""A causal language model as a function of its trainable weights: log-probabilities of completions, and samples.

No adapter is ever switched: a policy is a dict of weights, and every evaluation puts its weights into one shared module
for the time of a call (`torch.func.functional_call`). Opponent, anchor, target and learner are dicts of LoRA matrices
(arXiv:2106.09685) beside one copy of the base model, which is the reference.

    log pi(y | x) = sum over the tokens of y, the end token included, of log pi(y_t | x, y_<t)

A completion that reaches `max_new_tokens` has no end token: the lengths are part of the game.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from nlhf.config import ConfigError
from nlhf.language.recurrent import check_recurrent
from nlhf.models.content import in_memory
from nlhf.models.prompts import Prompt, messages, words
from nlhf.models.tokens import end_tokens, positions, rendered
from nlhf.numerics.streams import stream

if TYPE_CHECKING:
    from nlhf.language.policy import CausalLM
    from nlhf.language.team import Team

Weights = Mapping[str, Tensor]
Tokens = tuple[int, ...]
LORA_ABOVE = 200_000_000  # parameters from which `policy.lora=auto` means true


@dataclass(frozen=True)
class Turn:
    """A prompt as the model reads it: its tokens, and the text that a judge reads."""

    tokens: Tokens
    text: str


class OverlongPromptError(ConfigError):
    """A prompt that leaves no room for a completion among the positions of the model.

    Args:
        fact: how long it is, without a remedy.
        room: tokens that the prompt leaves for a completion, 0 or less if it is too long itself.
    """

    def __init__(self, fact: str, room: int) -> None:
        super().__init__(f"{fact}: leave it out" + (f", or give {room} or less." if room > 0 else "."))
        self.fact, self.room = fact, room


class LanguageModel:
    """One base model, its tokenizer, and every completion that was met, by number.

    Args:
        options: of `policy=causal_lm`.
        module, tokenizer: loaded by `load`.
        base: the module without adapters, which shares its weights.
        weights: the trainable ones, by name, at the start of training.
    """

    def __init__(self, options: CausalLM, module: torch.nn.Module, base: torch.nn.Module, tokenizer: Any,
                 weights: Weights) -> None:  # fmt: skip
        self.options, self.module, self.base, self.tokenizer = options, module, base, tokenizer
        self.initial = dict(weights)
        self.device = next(module.parameters()).device
        self.ends = end_tokens(base, tokenizer)
        self.positions = positions(base)
        self.team: Team | None = None  # other processes that share the work
        self.completions: list[Tokens] = []
        self._numbers: dict[Tokens, int] = {}

    def turn(self, prompt: Prompt) -> Turn:
        """A prompt as the model reads it, through the chat template if there is one.

        Raises: OverlongPromptError for a prompt that leaves no room for a completion, ConfigError for messages that
        the chat template refuses.
        """
        text, template = words(prompt), bool(self.tokenizer.chat_template)
        whole = text
        if template:
            key = f"policy.model={self.options.model}"
            whole = rendered(self.tokenizer, messages(prompt), key, add_generation_prompt=True)
        tokens = tuple(self.tokenizer(whole, add_special_tokens=not template, verbose=False).input_ids)
        needed = len(tokens) + self.options.max_new_tokens
        if self.positions is not None and needed > self.positions:
            raise OverlongPromptError(
                f"the prompt '{text[:60]}' has {len(tokens)} tokens, and with policy.max_new_tokens="
                f"{self.options.max_new_tokens} more than the model's {self.positions}",
                self.positions - len(tokens),
            )
        return Turn(tokens, text)

    def number(self, tokens: Tokens) -> int:
        """The number of a completion, a new one if it is new."""
        if tokens not in self._numbers:
            self._numbers[tokens] = len(self.completions)
            self.completions.append(tokens)
        return self._numbers[tokens]

    def text(self, number: int) -> str:
        """A completion as text, without the end token."""
        tokens = self.completions[number][:-1] if self.finished(number) else self.completions[number]
        return str(self.tokenizer.decode(tokens, skip_special_tokens=True)).strip()

    def finished(self, number: int) -> bool:
        """Does the completion have its end token?"""
        return any(token in self.ends for token in self.completions[number][-1:])

    # --- log-probabilities -------------------------------------------------------------------------------------------

    def log_prob(self, weights: Weights | None, prompts: Sequence[Tokens], completions: Sequence[Tokens]) -> Tensor:
        """log pi(y | x) of every row, (n), float32 or better, differentiable in `weights`; None is the base model."""
        there = self.log_prob_here if self.team is None or len(prompts) < self.team.size else self.team.log_prob
        return there(weights, prompts, completions)

    def log_prob_here(
        self, weights: Weights | None, prompts: Sequence[Tokens], completions: Sequence[Tokens]
    ) -> Tensor:
        """The same by this process alone.

        In micro-batches of `policy.micro_batch` rows, whose activations are computed again in the backward pass, so
        that memory is that of one of them, whatever the loss.
        """
        rows = list(zip(prompts, completions, strict=True))
        size = self.options.micro_batch
        chunks = [rows[start : start + size] for start in range(0, len(rows), size)]
        if weights is None or not torch.is_grad_enabled() or len(chunks) == 1:
            return torch.cat([self._scores(weights, chunk) for chunk in chunks])
        names = tuple(weights)
        found: Tensor = _Recomputed.apply(self, names, chunks, *weights.values())  # type: ignore[no-untyped-call]
        return found

    def _scores(self, weights: Weights | None, rows: Sequence[tuple[Tokens, Tokens]]) -> Tensor:
        """The log-probabilities of one micro-batch."""
        prompts, completions = zip(*rows, strict=True)
        past, logits, mask, places = self._read(weights, prompts)
        answers, seen, _ = self.padded([()] * len(rows), completions)
        total = _chosen(logits[:, None], answers[:, :1])
        if answers.shape[1] > 1:
            places = places + torch.arange(1, answers.shape[1], device=self.device)
            mask = torch.cat([mask, seen[:, :-1]], 1)
            logits = self.forward(weights, answers[:, :-1], mask, places, answers.shape[1] - 1, past).logits
            total = torch.cat([total, _chosen(logits, answers[:, 1:])], 1)
        found: Tensor = (total * seen).sum(-1)
        return found

    def _read(self, weights: Weights | None, prompts: Sequence[Tokens]) -> tuple[Any, Tensor, Tensor, Tensor]:
        """Prompts through the model, each once however often it comes.

        Returns: for every one of `prompts`, n in all, the cache, the logits (n, vocabulary) of what comes next, the
        mask (n, length), and the last position (n, 1)."""
        from transformers import DynamicCache

        distinct = {prompt: place for place, prompt in enumerate(dict.fromkeys(prompts))}
        tokens, mask, places = self.padded(list(distinct))
        past = DynamicCache(config=self.module.config)  # type: ignore[arg-type]
        logits = self.forward(weights, tokens, mask, places, 1, past).logits[:, -1]
        each = torch.tensor([distinct[prompt] for prompt in prompts], device=self.device)
        past.reorder_cache(each)  # type: ignore[arg-type]  # the states of recurrent layers too
        return past, logits[each], mask[each], places[each, -1:]

    def padded(self, prompts: Sequence[Tokens], completions: Sequence[Tokens] = ()) -> tuple[Tensor, Tensor, Tensor]:
        """Prompts padded on the left, and their completions on the right: tokens, mask and positions, (n, length)."""
        longest, length = (max(map(len, side), default=0) for side in (prompts, completions))
        ids = np.zeros((len(prompts), longest + length), np.int64)
        mask = np.zeros_like(ids)
        for place, (prompt, completion) in enumerate(zip_longest(prompts, completions, fillvalue=())):
            part = slice(longest - len(prompt), longest + len(completion))
            ids[place, part], mask[place, part] = prompt + completion, 1
        tokens, seen = (torch.from_numpy(array).to(self.device) for array in (ids, mask))
        return tokens, seen, (seen.cumsum(1) - 1).clamp(min=0)

    def forward(self, weights: Weights | None, tokens: Tensor, mask: Tensor, places: Tensor, keep: int,
                past: Any = None) -> Any:  # fmt: skip
        """What the module says with these weights in the place of its own, or the base model, about the last `keep`
        positions."""
        options = {"input_ids": tokens, "attention_mask": mask, "position_ids": places, "logits_to_keep": keep,
                   "use_cache": past is not None, "past_key_values": past}  # fmt: skip
        if weights is None:
            return self.base(**options)
        own = {name: value[0] for name, value in weights.items()}
        tied = self.module is self.base  # LoRA matrices are not, and the search for tied weights is slow
        return torch.func.functional_call(self.module, own, (), options, tie_weights=tied)

    # --- samples -----------------------------------------------------------------------------------------------------

    def sample(self, parts: Sequence[tuple[Weights | None, float]], prompts: Sequence[Tokens],
               uniforms: np.ndarray) -> list[Tokens]:  # fmt: skip
        """A completion of every prompt, of the token-wise geometric mixture of models.

        Args:
            parts: weights and exponents of the models; one with exponent 1 is that model.
            uniforms: on [0, 1), (n), a completion's randomness: it draws the generator of its tokens.
        """
        there = self.sample_here if self.team is None or len(prompts) < self.team.size else self.team.sample
        return there(parts, prompts, uniforms)

    @torch.no_grad()
    def sample_here(self, parts: Sequence[tuple[Weights | None, float]], prompts: Sequence[Tokens],
                    uniforms: np.ndarray) -> list[Tokens]:  # fmt: skip
        """The same by this process alone; every model of the mixture has a cache of its own."""
        options = self.options
        count = len(prompts)
        levels = np.stack([np.random.default_rng(int(u * 2**53)).random(options.max_new_tokens) for u in uniforms])
        levels_on = torch.from_numpy(levels).to(self.device)
        shares = [share for _, share in parts]
        caches, said, masks, lasts = zip(*(self._read(weights, prompts) for weights, _ in parts), strict=True)
        mask, places = masks[0], lasts[0]
        going = torch.arange(count, device=self.device)
        ends = torch.tensor(self.ends, device=self.device)
        drawn = torch.full((count, options.max_new_tokens), self.ends[0], device=self.device)
        for step in range(options.max_new_tokens):
            chosen = self._draw(_mixed(said, shares), levels_on[going, step])
            drawn[going, step] = chosen
            left = torch.isin(chosen, ends, invert=True).nonzero()[:, 0]
            if not len(left) or step + 1 == options.max_new_tokens:
                break
            if len(left) < len(going):
                for past in caches:
                    past.reorder_cache(left)
            going, mask = going[left], mask[left]
            mask = torch.cat([mask, mask.new_ones(len(going), 1)], 1)
            tokens, places = chosen[left, None], places[left] + 1
            said = tuple(
                self.forward(weights, tokens, mask, places, 1, past).logits[:, -1]
                for (weights, _), past in zip(parts, caches, strict=True)
            )
        return [_ended(row, self.ends) for row in drawn.tolist()]

    def _draw(self, logits: Tensor, levels: Tensor) -> Tensor:
        """Tokens (n) by inversion, at the temperature, of the `top_p` likeliest mass."""
        mass = (logits / self.options.temperature).softmax(-1).double()
        if self.options.top_p < 1:
            ordered, order = mass.sort(-1, descending=True)
            ordered = ordered.where(ordered.cumsum(-1) - ordered < self.options.top_p, 0.0)
            mass = torch.zeros_like(mass).scatter_(-1, order, ordered)
        cumulative = mass.cumsum(-1)
        found = torch.searchsorted(cumulative, (levels * cumulative[:, -1])[:, None], right=True)[:, 0]
        return found.clamp(max=mass.shape[-1] - 1)


class _Recomputed(torch.autograd.Function):
    """Log-probabilities of micro-batches, whose graphs are built again one by one in the backward pass."""

    @staticmethod
    def forward(ctx: Any, model: LanguageModel, names: tuple[str, ...], chunks: Any, *values: Tensor) -> Tensor:
        ctx.model, ctx.names, ctx.chunks = model, names, chunks
        ctx.save_for_backward(*values)
        weights = dict(zip(names, values, strict=True))
        return torch.cat([model._scores(weights, chunk) for chunk in chunks])

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> Any:
        values = [value.detach().requires_grad_() for value in ctx.saved_tensors]
        total = [torch.zeros_like(value) for value in values]
        slopes = torch.split(upstream, [len(chunk) for chunk in ctx.chunks])
        for chunk, slope in zip(ctx.chunks, slopes, strict=True):
            with torch.enable_grad():
                scores = ctx.model._scores(dict(zip(ctx.names, values, strict=True)), chunk)
            for kept, gradient in zip(total, torch.autograd.grad(scores, values, slope), strict=True):
                kept += gradient
        return None, None, None, *total


def _chosen(logits: Tensor, tokens: Tensor) -> Tensor:
    """The log-probability of every token, (n, length), of logits (n, length, vocabulary); float32 or better."""
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return logits.gather(-1, tokens[..., None])[..., 0] - logits.logsumexp(-1)


def _mixed(logits: Sequence[Tensor], shares: Sequence[float]) -> Tensor:
    """Logits of the geometric mixture of models, up to a number for each row."""
    if len(logits) == 1 and shares[0] == 1:
        return logits[0]
    parts = [share * said.log_softmax(-1, torch.promote_types(said.dtype, torch.float32))
             for said, share in zip(logits, shares, strict=True)]  # fmt: skip
    return torch.stack(parts).sum(0)


def _ended(row: list[int], ends: Sequence[int]) -> Tokens:
    """The tokens up to and including the first end token."""
    last = next((place for place, token in enumerate(row) if token in ends), len(row))
    return tuple(row[: last + 1])


@cache
def load(options: CausalLM, seed: int, device: str) -> LanguageModel:
    """The model that a policy family describes, with the initial weights of a seed.

    Raises: ConfigError for a model that is not there, or cannot be used.
    """
    try:
        from transformers import AutoModelForCausalLM, AutoTokenizer
    except ImportError as error:
        raise ConfigError('policy=causal_lm needs the extra lm: pip install -e ".[lm]"') from error
    from nlhf.models.bundled import bundled_model, whole

    half = options.dtype == "bfloat16" or (options.dtype == "auto" and device != "cpu")
    with options.model.loading() as source:
        path = str(bundled_model()) if source == "bundled" else source
        own: dict[str, Any] = {"trust_remote_code": options.trust_remote_code, "local_files_only": Path(path).is_dir()}
        tokenizer = AutoTokenizer.from_pretrained(path, **own)
        dtype = torch.bfloat16 if half else torch.float32
        module: Any = in_memory(whole(AutoModelForCausalLM, path, dtype=dtype, **own)).to(device)
    return wrapped(options, module, tokenizer, seed)


def wrapped(options: CausalLM, module: torch.nn.Module, tokenizer: Any, seed: int) -> LanguageModel:
    """A policy's model from a model and its tokenizer. It trains LoRA matrices, or all weights.

    Raises: ConfigError for a model without an end token, and for layers that LoRA or the sampler cannot use.
    """
    if not end_tokens(module, tokenizer):
        raise ConfigError(f"policy.model={options.model} has no end token (eos_token): give a model with one.")
    module.eval().requires_grad_(False)
    check_recurrent(LanguageModel(options, module, module, tokenizer, {}))
    size = sum(value.numel() for value in module.parameters())
    base = module
    if options.lora is True or (options.lora == "auto" and size > LORA_ABOVE):
        from nlhf.language.lora import with_lora

        module, base = with_lora(options, module)
        chosen = {name: value for name, value in module.named_parameters() if ".lora_" in name}
    else:
        chosen = dict(module.named_parameters())
    module.requires_grad_(False)
    return LanguageModel(options, module, base, tokenizer, dict(_started(chosen, seed)))


def _started(chosen: Mapping[str, torch.nn.Parameter], seed: int) -> Iterator[tuple[str, Tensor]]:
    """Weights at the start, with a dimension for the seed: the base model's, LoRA's A uniform as in its paper."""
    rng = stream(seed, "policy")
    for name, value in chosen.items():
        start = value.detach()
        if ".lora_A." in name:
            start = start.new_tensor(rng.uniform(-1, 1, start.shape) / np.sqrt(start.shape[1]))
        yield name, start[None].to(torch.promote_types(start.dtype, torch.float32))
