"""What a run shows of its last row while it goes on: TensorBoard events, and the row in a few words."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nlhf.io.event_files import add_row, open_events
from nlhf.io.files import writing
from nlhf.io.links import make_folder

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

FOLDER = "tensorboard"


class Events:
    """Writes the rows of a run to event files, a TensorBoard run per seed; the step is the number of queries."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.writers = folder / FOLDER, dict[int, "SummaryWriter"]()

    def add(self, seed: int, values: Mapping[str, Any]) -> None:
        """Write a row. A resumed run replaces the events after its checkpoint."""
        step = int(values["queries"])
        with writing(self.folder):
            if seed not in self.writers:
                make_folder(self.folder)
                self.writers[seed] = open_events(self.folder / f"seed-{seed}", first_step=step)
            add_row(self.writers[seed], {name: float(value) for name, value in values.items()}, step)

    def close(self) -> None:
        """Write what is left."""
        with contextlib.ExitStack() as stack:
            for writer in self.writers.values():
                stack.callback(writer.close)
            self.writers.clear()


def row_in_words(row: Mapping[str, float | None]) -> str:
    """The main results of a row: win rate, KL and speed of a language model, else the exploitability."""
    values = {name: value for name, value in row.items() if value is not None and not math.isnan(value)}
    parts = []
    if "exploitability" in values:
        parts.append(f"exploitability {values['exploitability']:.1e}")
    if "win_rate_low" in values:
        ends = f"[{values['win_rate_low']:.2f}, {values['win_rate_high']:.2f}]"
        parts.append(f"win rate {values['test_win_rate_vs_reference']:.2f} {ends}")
        parts.append(f"KL {values['test_kl_to_reference']:.2g}")
    if values.get("sampled_tokens") and values["seconds"] > 0:
        parts.append(f"{values['sampled_tokens'] / values['seconds']:.0f} tokens/s")
    return ", ".join(parts)
