"""Prompts and votes of TRL's datasets: explicit and implicit prompts, chats, files, and folders of save_to_disk."""

from __future__ import annotations

import csv
import json

import pyarrow as pa
import pytest
from pyarrow import parquet

from nlhf.config import ConfigError
from nlhf.io.inputs import InputFile
from nlhf.judges.votes_file import read_text_votes
from nlhf.models import prompt_files
from nlhf.models.content import InputDataset

ASKED = {"role": "user", "content": "why is the sea blue"}
GOOD, BAD = ({"role": "assistant", "content": text} for text in ("it is the sky", "no"))
PLAIN = [
    {"prompt": "the sea", "chosen": " is blue", "rejected": " is red"},
    {"prompt": "a", "chosen": "b", "rejected": "c"},
]
CHATS = [{"prompt": [ASKED], "chosen": [GOOD], "rejected": [BAD]}]
IMPLICIT = [{"chosen": [ASKED, GOOD], "rejected": [ASKED, BAD]}]


def written(folder, rows, ending):
    """A file of rows."""
    path = folder / f"rows.{ending}"
    if ending == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif ending == "json":
        path.write_text(json.dumps(rows))
    elif ending == "parquet":
        parquet.write_table(pa.Table.from_pylist(rows), path)
    else:
        with path.open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(rows[0])
            writer.writerows(
                [cell if isinstance(cell, str) else json.dumps(cell) for cell in row.values()] for row in rows
            )
    return path


def saved(folder, rows, shards=1):
    """A folder as `Dataset.save_to_disk` writes it."""
    folder.mkdir(parents=True)
    names = [f"data-{number:05d}-of-{shards:05d}.arrow" for number in range(shards)]
    for number, name in enumerate(names):
        table = pa.Table.from_pylist(rows[number::shards])
        with pa.OSFile(str(folder / name), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]}))
    (folder / "dataset_info.json").write_text("{}")
    return folder


@pytest.mark.parametrize("ending", ["jsonl", "json", "csv", "parquet"])
@pytest.mark.parametrize(
    ("rows", "expected"),
    [(PLAIN, ["the sea", "a"]), (CHATS, [[ASKED]]), (IMPLICIT, [ASKED["content"]]),
     ([{"messages": [ASKED, GOOD]}], [[ASKED]])],
    ids=["plain", "chats", "implicit", "messages"],
)  # fmt: skip
def test_prompts_are_read_from_every_container(tmp_path, rows, expected, ending):
    assert prompt_files.read(InputFile(str(written(tmp_path, rows, ending)), "game.path")) == expected


def test_a_saved_dataset_gives_prompts_and_votes_without_the_package_datasets(tmp_path):
    folder = saved(tmp_path / "train", PLAIN, shards=2)
    assert prompt_files.of_dataset(InputDataset(str(folder), "game.dataset"), "train") == ["the sea", "a"]
    votes = read_text_votes(str(folder))
    assert votes.votes.tolist() == [[1, 0, 0], [1, 0, 0]]


def test_a_split_of_a_saved_dataset_is_chosen(tmp_path):
    saved(tmp_path / "both" / "train", PLAIN)
    saved(tmp_path / "both" / "test", IMPLICIT)
    (tmp_path / "both" / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "test"]}))
    dataset = InputDataset(str(tmp_path / "both"), "game.dataset")
    assert prompt_files.of_dataset(dataset, "test") == [ASKED["content"]]
    with pytest.raises(ConfigError, match="has no split valid: it has train, test; give one, or its folder"):
        prompt_files.of_dataset(dataset, "valid")
    with pytest.raises(ConfigError, match="has several splits: it has train, test"):
        read_text_votes(str(tmp_path / "both"))


def test_a_damaged_saved_dataset_is_refused_in_a_sentence(tmp_path):
    folder = saved(tmp_path / "train", PLAIN)
    (folder / "data-00000-of-00001.arrow").write_bytes(b"nothing")
    with pytest.raises(ConfigError, match="is missing or damaged: save the dataset again"):
        prompt_files.of_dataset(InputDataset(str(folder), "game.dataset"), "train")


def test_what_save_to_disk_writes_is_read(tmp_path):
    datasets = pytest.importorskip("datasets")
    datasets.Dataset.from_list(CHATS).save_to_disk(tmp_path / "one")
    datasets.DatasetDict({"train": datasets.Dataset.from_list(PLAIN)}).save_to_disk(tmp_path / "dict")
    assert prompt_files.of_dataset(InputDataset(str(tmp_path / "one"), "game.dataset"), "train") == [[ASKED]]
    assert prompt_files.of_dataset(InputDataset(str(tmp_path / "dict"), "game.dataset"), "train") == ["the sea", "a"]
    assert len(read_text_votes(str(tmp_path / "dict" / "train")).votes) == 2


def test_texts_that_share_no_start_have_no_prompt(tmp_path):
    path = written(tmp_path, [{"chosen": "yes", "rejected": "no"}], "jsonl")
    with pytest.raises(ConfigError, match="row 1: its texts share no prompt: add a column prompt"):
        prompt_files.read(InputFile(str(path), "game.path"))
