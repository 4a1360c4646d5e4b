"""Sentence embeddings of texts for trained judges."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nlhf.io.files import replacing_folder
from nlhf.judges.truncation import Truncator, padded
from nlhf.models.bundled import bundled_embedder, load_complete
from nlhf.models.content import InputModel, in_memory
from nlhf.models.tokens import max_positions

if TYPE_CHECKING:
    from torch import Tensor


class Encoder:
    """A model of transformers; the mean of its token states is the embedding of a text.

    Args:
        model: a folder, a name on the hub, or `bundled` (MiniLM).
        max_tokens: how many tokens of a text are read, from the first on. A warning counts longer texts.
        batch: number of texts that are read at once.
        device: of the model; embeddings are on the CPU.

    Raises: ConfigError for a model that cannot be loaded, or that changed since its digest was computed.
    """

    def __init__(self, model: InputModel, max_tokens: int, batch: int, device: str = "cpu") -> None:
        from transformers import AutoModel, AutoTokenizer

        with model.loading() as source:
            folder = str(bundled_embedder()) if source == "bundled" else source
            self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
            module: Any = in_memory(load_complete(AutoModel, folder, unused="pooler", trust_remote_code=False)).eval()
        self.model = module.to(device)
        self.max_tokens, self.batch = min(max_tokens, max_positions(module) or max_tokens), batch
        self.truncator = Truncator(f"the encoder {model}", self.max_tokens, side="right")

    @property
    def size(self) -> int:
        """The dimension of an embedding."""
        return int(self.model.config.hidden_size)

    def __call__(self, texts: Sequence[str], tick: Callable[[int], None] = lambda _: None) -> Tensor:
        """Embeddings of norm 1, float32 (n, size), differentiable if gradients are enabled.

        Args:
            tick: called with the number of texts of every batch.
        """
        import torch

        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))  # less padding
        embeddings: list[Tensor] = [torch.empty(0)] * len(texts)
        for start in range(0, len(order), self.batch):
            batch = order[start : start + self.batch]
            rows = self._embedded([texts[index] or "." for index in batch])
            for index, row in zip(batch, rows, strict=True):
                embeddings[index] = row
            tick(len(batch))
        return torch.stack(embeddings)

    def _embedded(self, texts: list[str]) -> Tensor:
        import torch

        pad = self.tokenizer.pad_token_id
        batch = padded(self.truncator.ids(self.tokenizer, texts), 0 if pad is None else pad, self.model.device)
        hidden = self.model(**batch).last_hidden_state
        mask = batch["attention_mask"][..., None]
        return torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1).cpu()

    def save(self, folder: Path) -> None:
        """Write a folder that transformers loads."""
        with replacing_folder(folder) as target:
            self.model.save_pretrained(target)
            self.tokenizer.save_pretrained(target)
