"""Do the tests notice faults? `python -m tests.mutations [NAME ...]` applies listed faults, one at a time, to a copy.

Every mutation names the text that it changes and the test files that must catch it; these run as `make test` selects
them. The command prints `caught` or `survived` for each and exits with 1 if one survived, if a text is no longer there,
or if the tests fail without a mutation.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COPIED = (
    "nlhf",
    "conf",
    "hydra_plugins",
    "tests",
    "main.py",
    "README.md",
    "LICENSE",
    ".gitignore",
    "pyproject.toml",
    "Makefile",
    "docs",
    "CONTRIBUTING.md",
    "CITATION.cff",
)
CAUGHT, PASSED, HUNG = 1, 0, -1  # exit codes of pytest, and one more
TIMEOUT = 1800.0  # seconds


@dataclass(frozen=True)
class Mutation:
    """A fault that somebody could make.

    Args:
        name: what is wrong.
        file: below the root of the repository.
        before, after: the text that is replaced, which must occur exactly once, and the faulty text.
        tests: the files that must catch it.
    """

    name: str
    file: str
    before: str
    after: str
    tests: tuple[str, ...]

    def apply(self, root: Path) -> str:
        """Change the file below `root`; returns its former content.

        Raises: ValueError if the text does not occur exactly once.
        """
        path = root / self.file
        content = path.read_text(encoding="utf-8")
        if content.count(self.before) != 1:
            raise ValueError(f"{self.name}: {self.file} contains {content.count(self.before)} times: {self.before!r}")
        path.write_text(content.replace(self.before, self.after), encoding="utf-8")
        return content


MUTATIONS = [
    Mutation(
        "one of several equilibria at beta = 0 is not the analytic centre",
        "nlhf/equilibria/interior.py",
        "    _repeat(path, _centre)\n",
        "",
        ("tests/test_interior_point.py",),
    ),
    Mutation(
        "the KL term has the wrong sign",
        "nlhf/equilibria/metrics.py",
        "(gain / beta).add_(log_weight)",
        "(gain / beta).sub_(log_weight)",
        ("tests/test_reference_equilibrium.py", "tests/test_fixed_points.py"),
    ),
    Mutation(
        "a rate has beta instead of 2 beta",
        "nlhf/algorithms/omd.py",
        "1 + 2 * step * beta - step**2 / 4",
        "1 + step * beta - step**2 / 4",
        ("tests/test_rates.py",),
    ),
    Mutation(
        "the second step of Nash Mirror Prox plays the first policy instead of the half step",
        "nlhf/algorithms/nash_mp.py",
        "prox(opponent=half, anchor=pi, step_size=self.step_size, start=half)",
        "prox(opponent=pi, anchor=pi, step_size=self.step_size, start=half)",
        ("tests/test_algorithms.py",),
    ),
    Mutation(
        "the weights of averages are off by one",
        "nlhf/budget.py",
        "power * np.log1p(np.where(active, self.iterations, self.iterations.max()))",
        "power * np.log1p(np.where(active, self.iterations, self.iterations.max()) + 1)",
        ("tests/test_average.py",),
    ),
    Mutation(
        "the mask of active seeds is inverted",
        "nlhf/prox/engine.py",
        "as_mask(self.active, self.beta)",
        "as_mask(~self.active, self.beta)",
        ("tests/test_resume.py",),
    ),
    Mutation(
        "a sampled answer costs one action less",
        "nlhf/prox/sampled.py",
        "return answer, contexts * actions * self.opponents",
        "return answer, contexts * (actions - 1) * self.opponents",
        ("tests/test_judge.py", "tests/test_prox_accounting.py"),
    ),
    Mutation(
        "policies of float32 games lose their double precision",
        "nlhf/prox/exact.py",
        "return TabularPolicy(step)",
        "return TabularPolicy(step.to(self.game.advantage.dtype).double())",
        ("tests/test_precision.py",),
    ),
    Mutation(
        "the fingerprint ignores a key",
        "nlhf/runner/fingerprint.py",
        'LEFT_OUT = frozenset({"budget",',
        'LEFT_OUT = frozenset({"beta", "budget",',
        ("tests/test_config.py",),
    ),
    Mutation(
        "a resumed run draws the random numbers of its start again",
        "nlhf/prox/sampled.py",
        'self.uniforms.restore(snapshot["uniforms"])',
        'snapshot["uniforms"]',
        ("tests/test_resume_sampled.py",),
    ),
    Mutation(
        "the bill is no part of a checkpoint",
        "nlhf/prox/ledger.py",
        'self.queries = np.array(snapshot["queries"], dtype=np.int64)',
        'self.queries = 0 * np.array(snapshot["queries"], dtype=np.int64)',
        ("tests/test_resume.py",),
    ),
    Mutation(
        "the last permanent row before a checkpoint is dropped",
        "nlhf/records.py",
        "schedule.includes(iteration) and iteration <= iterations.get",
        "schedule.includes(iteration) and iteration < iterations.get",
        ("tests/test_records.py",),
    ),
    Mutation(
        "exploitability is clipped where a difference of logarithms would be",
        "nlhf/equilibria/metrics.py",
        "scale * simplex.kl(policy, response)",
        "(scale * simplex.kl(policy, response)).clamp(min=1e-16)",
        ("tests/test_reference_equilibrium.py", "tests/test_rates.py"),
    ),
    Mutation(
        "Holm's correction is skipped",
        "nlhf/stats/significance.py",
        "(len(ascending) - rank) * p_values[index]",
        "p_values[index]",
        ("tests/analysis/test_statistics.py",),
    ),
    Mutation(
        "the bootstrap draws without replacement",
        "nlhf/stats/bootstrap.py",
        "np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), draws).astype(float)",
        "np.ones((draws, n))",
        ("tests/analysis/test_bootstrap.py",),
    ),
    Mutation(
        "the ends of Wilson's interval are swapped",
        "nlhf/stats/proportions.py",
        "float(max(0.0, middle - half)), float(min(1.0, middle + half))",
        "float(min(1.0, middle + half)), float(max(0.0, middle - half))",
        ("tests/analysis/test_bootstrap.py",),
    ),
    Mutation(
        "ties do not count as half a win",
        "nlhf/games/votes.py",
        "votes[0] + votes[2] / 2",
        "votes[0]",
        ("tests/test_games.py",),
    ),
    Mutation(
        "annotators who flip answer the other way round",
        "nlhf/games/feedback.py",
        "advantage * (1 - 2 * noise.flip)",
        "advantage * (2 * noise.flip - 1)",
        ("tests/test_judge.py",),
    ),
    Mutation(
        "LoRA has half its scale",
        "nlhf/language/lora.py",
        "lora_alpha=2 * rank",
        "lora_alpha=rank",
        ("tests/test_language_model.py",),
    ),
    Mutation(
        "completions are drawn from one model of the mixture",
        "nlhf/language/sampling.py",
        "return torch.stack(weighted).sum(0)",
        "return weighted[0]",
        ("tests/test_language_model.py",),
    ),
    Mutation(
        "a run writes rows after another process has taken it over",
        "nlhf/runner/folder.py",
        '''"""Write the rows to the disk."""
        self.check()''',
        '''"""Write the rows to the disk."""''',
        ("tests/launch/test_failures.py",),
    ),
    Mutation(
        "summary.json says completed while the rows of an extension are written",
        "nlhf/runner/folder.py",
        """        if path.exists():
            started =""",
        """        if not path.exists():
            started =""",
        ("tests/test_crash.py",),
    ),
    Mutation(
        "a file with the right size counts as intact",
        "nlhf/io/checksums.py",
        'return current == record.get("stamp") or sha256(path) == record.get("sha256")',
        "return True",
        ("tests/test_fuzz.py",),
    ),
    Mutation(
        "the checksum of a checkpoint is not verified",
        "nlhf/io/checksums.py",
        "return content if seal == SEAL + hashlib.sha256(content).hexdigest().encode() else None",
        "return content",
        ("tests/test_fuzz.py",),
    ),
]


def main(arguments: Sequence[str]) -> int:
    """Run the mutations whose names contain one of the given words, or all."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutations", description=__doc__)
    parser.add_argument("words", nargs="*", metavar="NAME", help="only mutations whose name contains this")
    parser.add_argument("--no-baseline", action="store_true", help="do not run the tests without a mutation first")
    options = parser.parse_args(arguments)
    chosen = [one for one in MUTATIONS if not options.words or any(word in one.name for word in options.words)]
    with tempfile.TemporaryDirectory(prefix="mutations") as folder:
        root = Path(folder)
        _copy(root)
        for mutation in chosen:  # a text that is gone is told before anything runs
            (root / mutation.file).write_text(mutation.apply(root), encoding="utf-8")
        if not options.no_baseline:
            files = sorted({file for mutation in chosen for file in mutation.tests})
            if (code := _test(root, files)) != PASSED:
                print(f"the tests fail without a mutation (exit code {code}): mend them first")
                return 1
        survived = [mutation.name for mutation in chosen if not _is_caught(root, mutation)]
    print(f"{len(chosen) - len(survived)} of {len(chosen)} mutations were caught")
    return 1 if survived else 0


def _copy(root: Path) -> None:
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            shutil.copy2(source, root / name)


def _is_caught(root: Path, mutation: Mutation) -> bool:
    started, before = time.monotonic(), mutation.apply(root)
    try:
        code = _test(root, mutation.tests, "-x")
    finally:
        (root / mutation.file).write_text(before, encoding="utf-8")
    state = {CAUGHT: "caught", PASSED: "SURVIVED", HUNG: "NEVER ENDED"}.get(code, f"BROKE PYTEST (exit code {code})")
    print(f"{state}  {mutation.name}  ({time.monotonic() - started:.0f} s)", flush=True)
    return code == CAUGHT


def _test(root: Path, files: Sequence[str], *more: str) -> int:
    """The exit code of pytest on these files, selected as `make test` selects."""
    command = [sys.executable, "-m", "pytest", "-m", "not long", "-p", "no:cacheprovider", *more, *files]
    environment = os.environ | {"PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            command, cwd=root, env=environment, capture_output=True, text=True, check=False, timeout=TIMEOUT
        )
    except subprocess.TimeoutExpired:
        return HUNG
    if done.returncode not in (CAUGHT, PASSED):
        print(done.stdout[-2000:], done.stderr[-2000:])
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
