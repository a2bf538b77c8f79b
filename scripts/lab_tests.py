"""Runs the tests that need the lab in two labs side by side, each with about half of the work.

Within a lab it is one test at a time: some take a service away for a while. The tests start their lab themselves and
end what they started; the second lab is that of a copy of this checkout. Two labs make a busy machine, so what fails
there is run again alone: it is named as having failed beside the other lab, and how it ends alone is what counts.
Both halves choose among slow tests by the same seed (tests/selection.py): TOOLKIT_SEED, or the time.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COPY = ROOT / "build/second-lab"
# What a checkout makes for itself, or is its own history.
LEFT_OUT = (".venv", ".lab", "build", ".git", ".hypothesis", ".mypy_cache", ".ruff_cache", ".pytest_cache")
# The first half of the work; what is not named here is in the second. Files that share a host stay together.
FIRST = ("tests/unit", "tests/lab/test_[a-f]*.py")


@dataclass(frozen=True)
class Half:
    """Some files of tests in one checkout; `name` begins each line of what they say."""

    name: str
    tree: Path
    files: Sequence[str]

    def run(self, *options: str) -> int:
        # Twice -v: the settings are quiet, and a line for each test is the progress.
        argv = [".venv/bin/pytest", *self.files, "-vv", "--durations=10", *options]
        with subprocess.Popen(
            argv, cwd=self.tree, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        ) as running:
            assert running.stdout is not None
            for line in running.stdout:
                _say(f"{self.name}| {line.rstrip()}")
        return running.returncode


def main(options: Sequence[str]) -> int:
    _lay_copy()
    os.environ.setdefault("TOOLKIT_SEED", str(int(time.time())))
    first = [path for pattern in FIRST for path in sorted(ROOT.glob(pattern))]
    second = [path for path in sorted(ROOT.glob("tests/*/test_*.py")) if not {path, path.parent} & set(first)]
    halves = [Half("1", ROOT, _names(first)), Half("2", COPY, _names(second))]
    with ThreadPoolExecutor(2) as pool:
        codes = list(pool.map(lambda half: half.run(*options), halves))
    worst = 0
    for half, code in zip(halves, codes, strict=True):
        if code:
            _say(f"→ half {half.name} ended with {code} beside the other lab; what failed is run again alone")
            again = half.run("--last-failed", "--last-failed-no-failures=none", *options)
            _say(
                f"→ half {half.name} alone: "
                + (f"still failing ({again})" if again else "passed; see above what did not")
            )
            worst = worst or again
    shutil.rmtree(COPY)
    return worst


def _names(paths: Sequence[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


def _lay_copy() -> None:
    """Have this checkout once more. One that a run left which was cut may still have its lab."""
    if COPY.exists():
        subprocess.run([".venv/bin/invoke", "lab.down"], cwd=COPY, check=False)
        shutil.rmtree(COPY)
    shutil.copytree(ROOT, COPY, symlinks=True, ignore=lambda folder, names: _left_out(Path(folder), names))
    (COPY / ".venv").symlink_to(ROOT / ".venv")


def _left_out(folder: Path, names: Sequence[str]) -> set[str]:
    return {name for name in names if (folder == ROOT and name in LEFT_OUT) or name == "__pycache__"}


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
