"""What a learned judge knows of an answer: sentence embeddings, and a few numbers that one can read."""

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
    """A model of transformers whose mean token states are the embedding of a text.

    Args:
        model: a folder, a name on the hub, or `bundled` (MiniLM).
        max_tokens: tokens that are read of a text, the first ones. Longer texts are counted in a warning.
        batch: texts that are read at once.
        device: where the model is; embeddings are on the CPU.

    Raises: ConfigError for a model that cannot be loaded, or changed since its digest was taken.
    """

    def __init__(self, model: InputModel, max_tokens: int, batch: int, device: str = "cpu") -> None:
        from transformers import AutoModel, AutoTokenizer

        with model.loading() as source:
            folder = str(bundled_embedder()) if source == "bundled" else source
            self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
            module: Any = in_memory(load_complete(AutoModel, folder, unused="pooler", trust_remote_code=False)).eval()
        self.model = module.to(device)
        self.max_tokens, self.batch = min(max_tokens, max_positions(module) or max_tokens), batch
        self.cutter = Truncator(f"the encoder {model}", self.max_tokens, side="right")

    @property
    def size(self) -> int:
        """Numbers of an embedding."""
        return int(self.model.config.hidden_size)

    def __call__(self, texts: Sequence[str], tick: Callable[[int], None] = lambda _: None) -> Tensor:
        """Embeddings of norm 1, float32 (n, size), with a graph where gradients are on. `tick` hears of every batch."""
        import torch

        order = sorted(range(len(texts)), key=lambda place: len(texts[place]))  # little padding
        found: list[Tensor] = [torch.empty(0)] * len(texts)
        for start in range(0, len(order), self.batch):
            chosen = order[start : start + self.batch]
            rows = self._embedded([texts[place] or "." for place in chosen])
            for place, row in zip(chosen, rows, strict=True):
                found[place] = row
            tick(len(chosen))
        return torch.stack(found)

    def _embedded(self, texts: list[str]) -> Tensor:
        import torch

        pad = self.tokenizer.pad_token_id
        batch = padded(self.cutter.ids(self.tokenizer, texts), 0 if pad is None else pad, self.model.device)
        hidden = self.model(**batch).last_hidden_state
        mask = batch["attention_mask"][..., None]
        return torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1).cpu()

    def save(self, folder: Path) -> None:
        """A folder that transformers loads."""
        with replacing_folder(folder) as made:
            self.model.save_pretrained(made)
            self.tokenizer.save_pretrained(made)
