"""Input files: what is hashed is what is parsed, and a file is read once."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import nlhf
from nlhf.config import ConfigError
from nlhf.io import checksums, containers, contents
from nlhf.io.inputs import InputFile
from nlhf.launch.compose import composed, plain
from nlhf.runner.assemble import assemble
from nlhf.runner.specification import specify

HEAD = "item_a,item_b,wins_a,wins_b\n"
FIRST, SECOND = HEAD + "a,b,9,1\nb,c,8,2\nc,a,7,3\n", HEAD + "a,b,1,9\nb,c,2,8\nc,a,3,7\n"


def specified(tmp_path: Path, *overrides: str):
    with composed([f"runs_dir={tmp_path}/runs", *overrides]) as config:
        return specify(plain(config))


def save_votes(path: Path, number: int) -> None:
    path.write_text((FIRST, SECOND)[number])


def save_matrix(path: Path, number: int) -> None:
    p = (0.9, 0.2)[number]
    with path.open("wb") as stream:
        np.save(stream, np.array([[0.5, p], [1 - p, 0.5]]))


def save_weights(path: Path, number: int) -> None:
    path.write_text(("1,2,3,4,5\n", "5,4,3,2,1\n")[number])


CASES = {
    "votes": ("votes.csv", save_votes, ["game=votes", "game.path=FILE"]),
    "matrix": ("matrix.npy", save_matrix, ["game=matrix", "game.path=FILE"]),
    "reference": ("weights.csv", save_weights, ["reference=file", "reference.path=FILE"]),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("in_place", [True, False])
def test_a_file_that_changes_after_its_fingerprint_was_taken_gives_the_numbers_of_that_fingerprint(
    tmp_path, case, in_place
):
    name, save, words = CASES[case]
    path = tmp_path / name
    words = [word.replace("FILE", str(path)) for word in words]
    save(path, 0)
    before = specified(tmp_path, *words)
    other = path if in_place else tmp_path / "other"
    save(other, 1)
    other.replace(path)
    world, after = assemble(before), specified(tmp_path, *words)
    assert after.fingerprint != before.fingerprint
    save(path, 0)
    assert specified(tmp_path, *words).fingerprint == before.fingerprint
    expected = assemble(specified(tmp_path, *words))
    assert world.game.dense().equal(expected.game.dense())
    assert world.log_reference.equal(expected.log_reference)
    other = assemble(after)  # what this run read was the other content
    assert not (other.game.dense().equal(world.game.dense()) and other.log_reference.equal(world.log_reference))


def test_a_run_whose_file_is_replaced_as_it_starts_has_the_numbers_of_its_fingerprint(tmp_path, monkeypatch):
    path, words = tmp_path / "votes.csv", ["game=votes", "budget.iterations=3"]
    save_votes(path, 0)
    honest = nlhf.run([*words, f"game.path={path}", f"runs_dir={tmp_path}/honest"])

    def replaced(run):
        save_votes(path, 1)
        return assemble(run)

    monkeypatch.setattr("nlhf.runner.assemble.assemble", replaced)
    raced = nlhf.run([*words, f"game.path={path}", f"runs_dir={tmp_path}/raced"])
    assert raced.folder.name == honest.folder.name
    assert raced.log_policy.tolist() == honest.log_policy.tolist()
    assert raced.summary["final"] == honest.summary["final"]


def test_prompts_are_read_once(tmp_path):
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(f'{{"prompt": "why {k}?"}}\n' for k in range(4)))
    words = ["game=text", "policy=causal_lm", "prox=gradient", "game.test_prompts=1", f"game.path={path}"]
    run = specified(tmp_path, *words)
    path.write_text('{"prompt": "how?"}\n' * 4)
    assert [prompt for prompts in run.game.sources for prompt in prompts.prompts] == [f"why {k}?" for k in range(4)]
    assert specified(tmp_path, *words).fingerprint != run.fingerprint


def test_jobs_that_name_the_same_settled_file_share_its_bytes(tmp_path, monkeypatch):
    path = tmp_path / "votes.csv"
    save_votes(path, 0)
    assert InputFile(str(path)).content is not InputFile(str(path)).content  # it may still change within the same tick
    monkeypatch.setattr(checksums, "SETTLED", -(10**18))  # as if it were old
    files = [InputFile(str(path)) for _ in range(3)]
    assert files[0].content is files[1].content is files[2].content
    status = path.stat()
    save_votes(path, 1)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # as `cp -p` does
    assert InputFile(str(path)).content == SECOND.encode()
    assert files[0].content == FIRST.encode()
    shared = len(contents.contents)
    del files
    assert len(contents.contents) == shared - 1  # nobody holds it any more


def test_a_file_that_grows_while_it_is_read_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "votes.csv"
    save_votes(path, 0)
    read = contents.Content

    def grow(data):
        path.write_text(path.read_text() + "a,c,1,1\n")
        return read(data)

    monkeypatch.setattr(contents, "Content", grow)
    with pytest.raises(ConfigError, match=f"^game.path={path} changed while it was read: repeat the command when"):
        _ = InputFile(str(path), "game.path").content


def parquet(path, winner):
    pq.write_table(pa.table({"model_a": ["a"] * 9, "model_b": ["b"] * 9, "winner": [winner] * 9}), path)


def test_a_large_parquet_file_is_hashed_without_holding_it(tmp_path, monkeypatch):
    path = tmp_path / "votes.parquet"
    parquet(path, "model_a")
    whole = InputFile(str(path)).sha256
    monkeypatch.setattr(contents, "LARGE", 10)
    file = InputFile(str(path))
    assert file.sha256 == whole == hashlib.sha256(path.read_bytes()).hexdigest()
    assert containers.frame(file).labels("winner").cells == ["model_a"] * 9
    assert not file.is_read


@pytest.mark.parametrize("hashed_first", [True, False])
def test_a_large_parquet_file_that_changes_between_hash_and_reading_is_refused(tmp_path, monkeypatch, hashed_first):
    path = tmp_path / "votes.parquet"
    parquet(path, "model_a")
    monkeypatch.setattr(contents, "LARGE", 10)
    file = InputFile(str(path), "game.path")
    steps = [lambda: file.sha256, lambda: containers.frame(file).labels("winner").cells]
    first, second = steps if hashed_first else steps[::-1]
    first()
    parquet(path, "tie (bothbad) by another writer")  # a file of another size
    with pytest.raises(ConfigError, match="changed while it was read: repeat the command"):
        second()


def test_lines_end_at_line_feeds_alone_and_a_byte_order_mark_is_no_text(tmp_path):
    path = tmp_path / "lines.txt"
    path.write_bytes("\ufeffone\u2028still one\r\n\ntwo\x0bstill\x85two\n".encode())
    assert InputFile(str(path)).lines() == [(1, "one\u2028still one\r"), (3, "two\x0bstill\x85two")]


def test_a_plug_in_with_a_plain_path_still_has_the_content_in_its_fingerprint(importable):
    (importable / "own_reference.py").write_text(
        "from dataclasses import dataclass\n\nimport numpy as np\n\nfrom nlhf.references.base import Independent\n\n\n"
        "@dataclass(frozen=True)\nclass Own(Independent):\n    path: str\n\n"
        "    def logits(self, contexts, actions, rng):\n        return np.zeros((contexts, actions))\n"
    )
    path = importable / "weights.csv"
    prints = []
    for number in (0, 1, 0):
        save_weights(path, number)
        with composed([f"runs_dir={importable}"]) as config:
            node = {"_target_": "own_reference.Own", "path": str(path)}
            prints.append(specify(plain(config) | {"reference": node}).fingerprint)
    assert prints[0] == prints[2] != prints[1]
