"""A damaged folder of a model or a judge is a sentence, whatever its libraries raise."""

from __future__ import annotations

import shutil
from contextlib import suppress

import pytest

pytest.importorskip("transformers")

from nlhf.config import ConfigError
from nlhf.runner.assemble import assemble
from nlhf.runner.specification import specify

DAMAGES = {
    "empty": lambda _: b"",
    "cut": lambda content: content[: len(content) // 2],
    "garbage": lambda _: b"\x00garbage" * 9,
    "another object": lambda _: b"[]",
    "nothing in it": lambda _: b"{}",
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json"])
def test_a_damaged_model_is_a_sentence_or_loads(tiny_model, text_config, tmp_path, name, damage):
    """A tokenizer may do without its config."""
    folder = tmp_path / "model"
    shutil.copytree(tiny_model, folder)
    (folder / name).write_bytes(DAMAGES[damage]((folder / name).read_bytes()))
    optional = pytest.raises(ConfigError, match=r"^policy\.model=[^\n]*$")
    with suppress(ConfigError) if name.startswith("tokenizer") else optional:
        assemble(specify(text_config(f"policy.model={folder}")))
