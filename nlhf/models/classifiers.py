"""Loading of sequence classification models: whole ones, and adapters that peft has saved with their head."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from logging import ERROR
from pathlib import Path
from typing import Any

from nlhf.models.bundled import load_complete
from nlhf.models.content import ADAPTER

WEIGHTS = "adapter_model.safetensors"
HEAD = re.compile(r"\.(score|classifier|classifier\.out_proj|classification_head\.out_proj)\.weight$")
PREFIX = "base_model.model."  # of the names of weights in an adapter's file


def sequence_classifier(source: str, **options: Any) -> Any:
    """A sequence classification model of transformers; an adapter is merged into its base model.

    Args:
        source: a folder, or a name on the hub.
        options: of `from_pretrained`.

    Raises: ValueError for missing weights, which transformers would draw at random; errors of transformers and peft.
    """
    from transformers import AutoModelForSequenceClassification

    folder = Path(source)
    if not (folder / ADAPTER).is_file():
        return load_complete(AutoModelForSequenceClassification, source, **options)
    from peft import PeftConfig, PeftModel

    adapter = PeftConfig.from_pretrained(source)
    if adapter.task_type != "SEQ_CLS":
        raise ValueError(f"its adapter is for the task {adapter.task_type}, not SEQ_CLS")
    shapes = _shapes(folder / WEIGHTS)
    labels = [shape[0] for name, shape in shapes.items() if HEAD.search(name)]
    options |= {"num_labels": labels[0]} if labels else {}
    with _without_report():
        base, report = AutoModelForSequenceClassification.from_pretrained(
            adapter.base_model_name_or_path, output_loading_info=True, **options
        )
    if missing := sorted(name for name in report["missing_keys"] if PREFIX + name not in shapes):
        raise ValueError(f"neither the adapter nor its base model has {len(missing)} weights, such as {missing[0]}")
    return PeftModel.from_pretrained(base, folder).merge_and_unload()


@contextmanager
def _without_report() -> Iterator[None]:
    """Hide the warning of transformers that the head, which the adapter has, is missing in the base model."""
    from transformers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity(ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(level)


def _shapes(path: Path) -> dict[str, list[int]]:
    """The shapes of the weights in a file, by name."""
    from safetensors import safe_open

    with safe_open(path, "pt") as weights:
        return {name: weights.get_slice(name).get_shape() for name in weights.keys()}  # noqa: SIM118
