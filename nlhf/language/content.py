"""What a saved model consists of, as a digest: folders with the same files are the same model, wherever they lie."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from nlhf.files import read_json

FILES = ("*.safetensors", "*.json", "*.jinja", "*.txt", "*.model")  # weights, configs, tokenizer, template of chats
ADAPTER, BASE = "adapter_config.json", "base_model_name_or_path"


def content(model: str) -> str:
    """SHA-256 of every file of a model's folder that decides what it says, and of the folder of its base model where it
    is an adapter; a name on the hub stands for itself."""
    folder = Path(model).expanduser()
    if not folder.is_dir():
        return f"hub {model}"
    found = hashlib.sha256()
    for path in sorted({path for pattern in FILES for path in folder.glob(pattern)}):
        status = path.stat()
        found.update(f"{path.name} {_of_file(path, (status.st_size, status.st_mtime_ns))}\n".encode())
    adapter = read_json(folder / ADAPTER)
    if isinstance(adapter, dict) and isinstance(base := adapter.get(BASE), str):
        found.update(content(base).encode())
    return found.hexdigest()


@lru_cache(maxsize=4096)
def _of_file(path: Path, _stamp: tuple[int, int]) -> str:
    """SHA-256 of a file, read once as long as its size and the time of its last change stay."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
