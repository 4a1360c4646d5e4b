"""One run on several processes of one machine: torchrun starts them, and starts them anew where one was killed.

A signal that ends a task of SLURM reaches all of its processes: rank 0 alone handles it, and writes a checkpoint.
`python -m nlhf.launch.ranks TASK RESULT` is the program of each process.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from nlhf.runner.outcome import Ended
from nlhf.runner.stop import preemption_signal, stop_on_signal

RESTARTS = 3  # of all processes of a run, which goes on from its last checkpoint
POLL = 1.0  # seconds


def attempt_on_ranks(config: Mapping[str, Any], overrides: Sequence[str], processes: int) -> Ended:
    """`attempt` on several processes; after a preemption it does not return, as SLURM requeues the task."""
    with tempfile.TemporaryDirectory() as folder, stop_on_signal() as stop:
        task, result = Path(folder, "task.json"), Path(folder, "result.json")
        task.write_text(json.dumps([config, list(overrides)]))
        arguments = ["--standalone", f"--nproc-per-node={processes}", f"--max-restarts={RESTARTS}"]
        program = ["-m", "torch.distributed.run", *arguments, "-m", __name__, str(task), str(result)]
        threads = max(1, int(os.environ.get("SLURM_CPUS_PER_TASK", 1)) // processes)
        with subprocess.Popen(
            [sys.executable, *program],
            env=os.environ | {"OMP_NUM_THREADS": str(threads)},
            process_group=0,
            preexec_fn=_ignore_preemption,
        ) as group:
            while group.poll() is None:
                with suppress(subprocess.TimeoutExpired):
                    group.wait(POLL)
                if stop.received and group.poll() is None:  # again, as rank 0 may not have listened yet
                    os.killpg(group.pid, stop.received)
        if result.exists():
            return Ended(*json.loads(result.read_text()))
    return Ended(" ".join(overrides), "failed", message=f"torchrun ended with exit code {group.returncode}")


def _ignore_preemption() -> None:
    """Let torchrun and the ranks survive the signal, until rank 0 handles it."""
    signal.signal(preemption_signal(), signal.SIG_IGN)


def main() -> None:
    """Rank 0 runs the task and writes how it ended; the other ranks serve it."""
    from nlhf.language.team import join
    from nlhf.runner.run_one import attempt

    join()
    task, result = map(Path, sys.argv[1:])
    config, overrides = json.loads(task.read_text())
    result.write_text(json.dumps(attempt(config, overrides)))


if __name__ == "__main__":
    main()
