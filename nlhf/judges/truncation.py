"""Token ids of texts for judges. Texts that are too long for a model are truncated, counted, and named in a warning."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from nlhf.models.tokens import max_positions

log = logging.getLogger("nlhf")

AGAIN = 10  # the warning is repeated when so many times as many texts were truncated


def max_tokens_of(tokenizer: Any, model: Any) -> int | None:
    """The number of tokens that a model reads: the smaller limit of its tokenizer and its positions."""
    longest = tokenizer.model_max_length  # a huge number for a tokenizer without a limit
    limits = [limit for limit in (longest if longest < 10**9 else None, max_positions(model)) if limit is not None]
    return min(limits, default=None)


@dataclass
class Truncator:
    """Truncates texts that are too long for a model, and warns how many they are.

    Args:
        name: of the model, for the warning.
        limit: tokens of a text, special ones included; None for no limit.
        side: where tokens are removed. The start token stays, and so do the special tokens at the end.
    """

    name: str
    limit: int | None
    side: Literal["left", "right"] = "left"
    texts: int = 0
    cut: int = 0
    _warn_at: int = 1

    def ids(self, tokenizer: Any, texts: Sequence[str], special: bool = True) -> list[list[int]]:
        """The token ids of texts, at most `limit` each.

        Args:
            special: add the tokenizer's special tokens. A chat template has added them already.
        """
        added = tokenizer.num_special_tokens_to_add() if special else 0
        rows: list[list[int]] = tokenizer(list(texts), add_special_tokens=special, verbose=False)["input_ids"]
        start_tokens = {tokenizer.bos_token_id, tokenizer.cls_token_id}
        cut = 0
        for index, row in enumerate(rows):
            if self.limit is not None and len(row) > self.limit:
                head = int(row[0] in start_tokens)
                rows[index] = self._truncated(row, self.limit, head, max(0, added - head))
                cut += 1
        self._count(len(texts), cut)
        return rows

    def _truncated(self, row: list[int], limit: int, head: int, tail: int) -> list[int]:
        """The first or last tokens of a row, with the `head` and `tail` special tokens at its ends."""
        excess = len(row) - limit
        if self.side == "left":
            return row[:head] + row[head + excess :]
        return row[: len(row) - tail - excess] + row[len(row) - tail :]

    def _count(self, texts: int, cut: int) -> None:
        self.texts, self.cut = self.texts + texts, self.cut + cut
        if cut and self.cut >= self._warn_at:
            removed = "beginning" if self.side == "left" else "end"
            log.warning(
                "%s reads %d tokens of a text at most: of %d of %d texts so far the %s was cut off",
                *(self.name, self.limit, self.cut, self.texts, removed),
            )
            self._warn_at = AGAIN * self.cut


def padded(rows: Sequence[Sequence[int]], pad: int, device: Any) -> dict[str, Any]:
    """Rows of token ids as a batch for a model, padded on the right: `input_ids` and `attention_mask`."""
    import torch

    length = max(map(len, rows))
    ids = torch.tensor([[*row, *[pad] * (length - len(row))] for row in rows], device=device)
    mask = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in rows], device=device)
    return {"input_ids": ids, "attention_mask": mask}
