"""Two processes under torchrun give the results of one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[1]
TWO = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]


@pytest.mark.parametrize(
    ("algorithm", "game", "shard"),
    [
        ("nash_md_pg", "text", False),
        ("nash_md_pg", "text", True),
        ("nash_md_pg", "dialogue", False),
        ("stackelberg", "text", False),
        pytest.param("sppo", "text", True, marks=pytest.mark.long),
    ],
)
def test_two_ranks_give_the_rows_of_one(tiny_model, tmp_path, algorithm, game, shard):
    words = [f"game={game}", "policy=causal_lm", f"policy.model={tiny_model}", "policy.max_new_tokens=6",
             "prox=gradient",
             "prox.contexts=3", "prox.samples=4", "policy.micro_batch=5", "game.test_prompts=8",
             "game.judge.criteria=[diversity,length]", f"algorithm={algorithm}", "algorithm.step_size=1",
             "prox.learning_rate=0.01", "beta=0.1", "budget.queries=null", "budget.target=null", "budget.iterations=3",
             "progress=false"]  # fmt: skip
    if algorithm == "nash_md_pg":
        words.remove("algorithm.step_size=1")
    if algorithm == "stackelberg":
        words.append("solution=stackelberg")
    alone = [sys.executable, "main.py"]
    two = [*TWO, "-m", "nlhf", "run"]
    found = []
    for name, command in (("alone", alone), ("two", [*two, f"policy.shard={str(shard).lower()}"])):
        done = subprocess.run([*command, *words, f"runs_dir={tmp_path}", f"study={name}"], cwd=ROOT, timeout=600,
                              env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True)  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
        table = pd.read_csv(next((tmp_path / name).glob("*/metrics.csv")))
        found.append(table.drop(columns=["seconds", "judge_calls"]).round(4))
    assert found[0]["test_kl_to_reference"].iloc[-1] != 0
    pd.testing.assert_frame_equal(*found, atol=2e-4)
    if (algorithm, game) == ("nash_md_pg", "text"):  # rank 1 ends with rank 0 also if no model is needed
        done = torchrun("-m", "nlhf", "run", *words, f"runs_dir={tmp_path}", "study=two")
        assert (done.returncode, done.stdout.splitlines()[0]) == (0, "completed before: nothing was run")


def torchrun(*arguments):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [*TWO, *arguments], cwd=ROOT, env=environment, timeout=600, capture_output=True, text=True, check=False
    )


def test_an_error_of_one_rank_is_an_error_of_rank_0(tmp_path):
    (tmp_path / "script.py").write_text(
        "from nlhf.language import team\n"
        "from nlhf.language.rank import RankError, Server\n"
        "Server.sample = lambda self, divisor: 1 // divisor\n"
        "team.join()\n"
        "print('both', team.team().call('sample', [(1,), (1,)]), flush=True)\n"
        "for shares in ([(0,), (1,)], [(1,), (0,)]):\n"
        "    try:\n"
        "        team.team().call('sample', shares)\n"
        "    except RankError as error:\n"
        "        print(error, flush=True)\n"
    )
    done = torchrun(str(tmp_path / "script.py"))
    reason = "ZeroDivisionError: integer division or modulo by zero"
    assert done.stdout.splitlines() == ["both [1, 1]", f"rank 0: {reason}", f"rank 1: {reason}"]
    assert done.returncode == 0


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="the names of threads are in /proc")
def test_the_threads_of_the_group_end_before_the_interpreter(tmp_path):
    """A thread of gloo that outlives its group aborts the interpreter in rare cases, with exit code -6."""
    (tmp_path / "script.py").write_text(
        "import atexit\n"
        "from pathlib import Path\n"
        "def names():\n"
        "    return {path.read_text().strip() for path in Path('/proc/self/task').glob('*/comm')}\n"
        "atexit.register(lambda: print('at the end', [name for name in names() if 'gloo' in name], flush=True))\n"
        "from nlhf.language import team\n"
        "team.join()\n"
        "import torch.distributed.nn.functional\n"  # transformers imports it with the model
        "print('before', any('gloo' in name for name in names()), flush=True)\n"
    )
    done = torchrun(str(tmp_path / "script.py"))
    assert (done.returncode, done.stdout.splitlines()) == (0, ["before True", "at the end []"])
