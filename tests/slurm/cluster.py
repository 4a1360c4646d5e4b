"""A real SLURM cluster of one node, for as long as a `with` block: no systemd, nothing outside a temporary folder.

Its daemons are children in the foreground, which the kernel ends if this process dies. The node claims more cores and
memory than there may be, so that the tests see the same cluster on every machine.
"""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

CORES, ARRAY = 4, 4  # of the node; the most tasks in an array
PATIENCE = 180.0  # seconds until a daemon must answer
DAEMONS = ("munged", "slurmctld", "slurmd", "sbatch", "setpriv")
ACCOUNTING = ("slurmdbd", "mariadbd", "mariadb-install-db", "sacctmgr")

SLURM = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
# a requeued task may start again once its credential has expired, by default after 120 s
AuthInfo=socket={folder}/munge.socket,cred_expire=30
SlurmctldPort={controller}
SlurmdPort={node}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
MailProg=/bin/true
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=batch_sched_delay=0,sched_interval=2,sched_min_interval=1,bf_interval=2
SlurmctldParameters=preempt_send_user_signal
SlurmdParameters=config_overrides
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
KillWait=2
ReturnToService=2
MaxArraySize={array}
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} RealMemory=64000
PartitionName=main Nodes={host} Default=YES PriorityTier=1 GraceTime=120 MaxTime=INFINITE
PartitionName=urgent Nodes={host} PriorityTier=10 PreemptMode=OFF MaxTime=INFINITE
"""

WITH_ACCOUNTING = """
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={database_daemon}
AccountingStoragePass={folder}/munge.socket
"""

SLURMDBD = """
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={database_daemon}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
PidFile={folder}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={database}
StorageUser=slurm
StoragePass=slurm
"""

MARIADB = """CREATE USER slurm@'127.0.0.1' IDENTIFIED BY 'slurm';
GRANT ALL ON slurm_acct_db.* TO slurm@'127.0.0.1';
"""


def why_not(accounting: bool) -> str:
    """Why no such cluster can be started here; empty if it can."""
    missing = [name for name in DAEMONS + ACCOUNTING * accounting if shutil.which(name) is None]
    if missing:
        return f"no SLURM here: {', '.join(missing)} not found"
    return "" if os.geteuid() == 0 else "the daemons of SLURM need root"


@contextmanager
def cluster(accounting: bool) -> Iterator[Path]:
    """Run a cluster; gives the slurm.conf that its commands read where SLURM_CONF names it.

    Raises: RuntimeError with the ends of all logs where it does not come up.
    """
    with ExitStack() as stack:
        ports = _free_ports("controller", "node", "database_daemon", "database")
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="slurm-", ignore_cleanup_errors=True)))
        folder.chmod(0o755)  # munged insists
        config = _configure(folder, ports, accounting)
        before = os.environ.get("SLURM_CONF")
        os.environ["SLURM_CONF"] = str(config)
        stack.callback(_restore, before)
        try:
            _start(stack, folder, ports["database"] if accounting else None)
        except (RuntimeError, OSError, subprocess.SubprocessError) as problem:
            ends = [f"--- {log.name}\n{log.read_text()[-2000:]}" for log in sorted(folder.glob("*.log"))]
            raise RuntimeError("\n".join([f"SLURM did not come up: {problem}", *ends])) from problem
        stack.callback(_end_jobs)
        yield config


def _configure(folder: Path, ports: Mapping[str, int], accounting: bool) -> Path:
    """Write all files of configuration; the path of slurm.conf."""
    facts = {"folder": folder, "host": socket.gethostname().partition(".")[0], "cores": CORES, "array": ARRAY + 1}
    text = SLURM + WITH_ACCOUNTING * accounting
    for name in ("state", "spool"):
        (folder / name).mkdir()
    for name, content in (("slurm.conf", text), ("slurmdbd.conf", SLURMDBD), ("init.sql", MARIADB)):
        (folder / name).write_text(content.format(**facts, **ports))
        (folder / name).chmod(0o600)
    (folder / "munge.key").write_bytes(os.urandom(1024))
    (folder / "munge.key").chmod(0o600)
    return folder / "slurm.conf"


def _start(stack: ExitStack, folder: Path, port: int | None) -> None:
    """Start every daemon once the one that it needs answers; the stack stops them in reverse order."""

    def daemon(*command: str) -> None:
        stack.enter_context(_running(command, folder / f"{command[0]}.log"))

    socket_file = folder / "munge.socket"
    daemon("munged", "--foreground", f"--key-file={folder}/munge.key", f"--socket={socket_file}",
           f"--pid-file={folder}/munged.pid", f"--seed-file={folder}/munged.seed")  # fmt: skip
    _until(socket_file.exists, "munged")
    if port:
        shared = ("--no-defaults", "--user=root", f"--datadir={folder}/database", f"--tmpdir={folder}",
                  "--innodb-log-file-size=8M")  # fmt: skip
        _say("mariadb-install-db", *shared, "--auth-root-authentication-method=normal", "--skip-test-db")
        daemon("mariadbd", *shared, "--bind-address=127.0.0.1", f"--port={port}", f"--socket={folder}/mariadb.socket",
               f"--pid-file={folder}/mariadb.pid", f"--init-file={folder}/init.sql", "--skip-name-resolve",
               "--innodb-buffer-pool-size=64M", "--innodb-lock-wait-timeout=900")  # fmt: skip
        _until(lambda: _answers(port), "mariadbd")
        daemon("slurmdbd", "-D")
        _until(_is_known, "slurmdbd")
    daemon("slurmctld", "-D")
    daemon("slurmd", "-D")
    _until(lambda: _say("sinfo", "--noheader", "--format=%t", check=False) in ("idle\nidle\n", "idle\n"), "slurmd")


@contextmanager
def _running(command: Sequence[str], log: Path) -> Iterator[None]:
    """A daemon in the foreground, asked to end, and ended, when the block does."""
    with log.open("w") as stream:
        process = subprocess.Popen(["setpriv", "--pdeathsig", "TERM", *command], stdin=subprocess.DEVNULL,
                                   stdout=stream, stderr=stream, start_new_session=True)  # fmt: skip
    try:
        yield
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
        process.kill()
        process.wait()


def _end_jobs() -> None:
    """Cancel everything, and wait until it is gone, or a daemon would leave its processes behind."""
    _say("scancel", "--user=root", check=False)
    with suppress(RuntimeError):
        _until(lambda: _say("squeue", "--noheader", check=False) in ("", None), "scancel", 20)


def _is_known() -> bool:
    """Has the database this cluster? It is asked to, as often as it takes: the first answers may be errors."""
    _say("sacctmgr", "--immediate", "--quiet", "add", "cluster", "test", check=False)
    return "test" in (_say("sacctmgr", "--noheader", "list", "cluster", "format=cluster", check=False) or "")


def _say(*command: str, check: bool = True) -> str | None:
    """The output of a command; None where it fails and may."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout[-1000:]}{done.stderr[-1000:]}")
    return None if done.returncode else done.stdout


def _until(happened: Callable[[], bool], who: str, patience: float = PATIENCE) -> None:
    deadline = time.monotonic() + patience
    while not happened():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{who} did not answer within {patience:.0f} s")
        time.sleep(0.1)


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _free_ports(*names: str) -> dict[str, int]:
    """A port for each name, on which nobody listens, and below those that connections take for their other end."""
    low = 10_000 + 5_000 * (int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 4)  # its own
    with ExitStack() as stack:
        free: dict[str, int] = {}
        while len(free) < len(names):
            one = stack.enter_context(socket.socket())
            with suppress(OSError):
                one.bind(("127.0.0.1", random.randrange(low, low + 5_000)))
                free[names[len(free)]] = one.getsockname()[1]
        return free


def _restore(before: str | None) -> None:
    if before is None:
        del os.environ["SLURM_CONF"]
    else:
        os.environ["SLURM_CONF"] = before
