"""Runs the tests that need the lab in several labs side by side; each takes a next group when it is done with one.

Within a lab it is one test at a time: some take a service away for a while. The tests start their lab themselves; all
but the first lab are those of copies of this checkout. Tests wait more than they work, so there are three labs, or as
many as TOOLKIT_LABS says. That makes a busy machine, so what fails there is run again alone: it is named as having
failed beside others, and how it ends alone is what counts. Which of the slow tests run is chosen by a seed
(tests/selection.py): TOOLKIT_SEED, or the time.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COPIES = ROOT / "build/labs"
LABS = 3
# What a checkout makes for itself, or is its own history.
LEFT_OUT = (".venv", ".lab", "build", ".git", ".hypothesis", ".mypy_cache", ".ruff_cache", ".pytest_cache")
STARTED, KEEP = ".lab/started-by-tests", "TOOLKIT_LAB_KEEP"
FAILED = ".pytest_cache/v/cache/lastfailed"
HEADING = re.compile(r"=+ (FAILURES|ERRORS) =+")

# Files that share a host of the lab are one group, and so are the few slow ones that need none.
TOGETHER = {
    "trials": ("test_deploy_*", "test_rolling"),
    "stacks": ("test_example_*", "test_four_stacks"),
    "unit": ("tests/unit/*",),
}
# What takes longest is begun with, so that all labs are done at about the same time.
SLOWEST = (
    "trials", "test_recovery", "test_restore_parts", "stacks", "test_watchdog", "test_drill", "test_backup_host",
    "test_secrets_files", "test_doctor", "test_main_job", "test_lab_services", "test_machine_docker_host",
    "test_machine_base_host", "test_machine_firewall_host", "test_source_clickhouse", "test_lab_hosts",
)  # fmt: skip


@dataclass(frozen=True)
class Group:
    """Tests that run one after the other in one lab, by their ids."""

    name: str
    tests: Sequence[str]


@dataclass(frozen=True)
class Ending:
    """What became of the tests that were run again alone, to be said."""

    code: int
    text: str


@dataclass
class Runner:
    """A checkout with its lab; `name` begins each line of what its tests say, `failed` are the tests that did."""

    name: str
    tree: Path
    failed: list[str] = field(default_factory=list)
    why: list[str] = field(default_factory=list)
    """What its last run says of its failures."""

    def run(self, tests: Sequence[str]) -> int:
        (self.tree / FAILED).unlink(missing_ok=True)
        self.why = []
        # Twice -v: the settings are quiet, and a line for each test is the progress.
        argv = [".venv/bin/pytest", "-vv", "--durations=5", "--durations-min=5", *tests]
        with subprocess.Popen(
            argv, cwd=self.tree, env={**os.environ, KEEP: "1"}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace",
        ) as running:  # fmt: skip
            assert running.stdout is not None
            for line in running.stdout:
                _say(f"{self.name}| {line.rstrip()}")
                if self.why or HEADING.match(line):
                    self.why.append(line.rstrip())
        if running.returncode:
            self.failed += self._that_failed(tests)
        return running.returncode

    def _that_failed(self, tests: Sequence[str]) -> list[str]:
        path = self.tree / FAILED
        named = json.loads(path.read_text()) if path.exists() else {}
        # A run that ended before its tests did names none of them.
        return [test for test in tests if test in named] or list(tests)

    def end(self) -> None:
        """Take the lab down, where the tests brought it up."""
        if (self.tree / STARTED).exists() and not os.environ.get(KEEP):
            subprocess.run([".venv/bin/invoke", "lab.down"], cwd=self.tree, check=False)


def main(options: Sequence[str]) -> int:
    os.environ.setdefault("TOOLKIT_SEED", str(int(time.time())))
    found = groups(_chosen(options))
    runners = [Runner("1", ROOT), *_copies(int(os.environ.get("TOOLKIT_LABS", LABS)) - 1)]
    try:
        _share_out(found, runners)
        endings = [_once_more(runner) for runner in runners if runner.failed]
    finally:
        for runner in runners:
            runner.end()
    shutil.rmtree(COPIES)
    # Last of all, since a long output is often kept from its end only.
    for ending in endings:
        _say(ending.text)
    return max((ending.code for ending in endings), default=0)


def groups(tests: Iterable[str]) -> list[Group]:
    """Return the tests in groups, by their ids, what takes longest first."""
    found: dict[str, list[str]] = {}
    for test in tests:
        found.setdefault(_group(test.partition("::")[0]), []).append(test)
    names = sorted(found, key=lambda name: SLOWEST.index(name) if name in SLOWEST else len(SLOWEST))
    return [Group(name, found[name]) for name in names]


def _group(path: str) -> str:
    for name, patterns in TOGETHER.items():
        if any(fnmatch(path, one) or fnmatch(Path(path).stem, one) for one in patterns):
            return name
    return Path(path).stem


def _chosen(options: Sequence[str]) -> list[str]:
    """Return the ids of the tests that run. All are looked at together: a family may be in several files."""
    asked = subprocess.run(
        [".venv/bin/pytest", "--collect-only", *options], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False
    )
    if asked.returncode:
        sys.exit(asked.stdout)
    return [line for line in asked.stdout.splitlines() if line.startswith("tests/") and "::" in line]


def _share_out(found: Sequence[Group], runners: Sequence[Runner]) -> None:
    """Run all groups, each in the lab that is the next to have nothing to do."""
    _say(f"TOOLKIT_SEED={os.environ['TOOLKIT_SEED']}: {sum(len(one.tests) for one in found)} tests")
    waiting = deque(enumerate(found, 1))

    def work(runner: Runner) -> None:
        while True:
            try:
                number, group = waiting.popleft()
            except IndexError:
                return
            _say(f"→ lab {runner.name}: {group.name}, group {number} of {len(found)}, {len(group.tests)} tests")
            runner.run(group.tests)

    with ThreadPoolExecutor(len(runners)) as pool:
        try:
            list(pool.map(work, runners))
        finally:
            # Whoever interrupts this has ended what ran; nothing more is to be begun.
            waiting.clear()


def _once_more(runner: Runner) -> Ending:
    failed, runner.failed = runner.failed, []
    _say(f"→ lab {runner.name}: failed beside others, and run again alone: {', '.join(failed)}")
    code = runner.run(failed)
    lines = [f"→ lab {runner.name}: failed beside others:", *(f"    {test}" for test in failed)]
    lines += (
        [f"  alone {len(runner.failed)} of them failed again:", *runner.why[-200:]] if code else ["  alone they passed"]
    )
    return Ending(code, "\n".join(lines))


def _copies(count: int) -> list[Runner]:
    """Have this checkout so many times more. Those that a run left which was cut may still have their labs."""
    for left in COPIES.glob("*"):
        subprocess.run([".venv/bin/invoke", "lab.down"], cwd=left, check=False)
        shutil.rmtree(left)
    COPIES.mkdir(parents=True, exist_ok=True)
    runners = [Runner(str(number), COPIES / str(number)) for number in range(2, count + 2)]
    for runner in runners:
        shutil.copytree(ROOT, runner.tree, symlinks=True, ignore=lambda at, names: _left_out(Path(at), names))
        (runner.tree / ".venv").symlink_to(ROOT / ".venv")
    return runners


def _left_out(folder: Path, names: Sequence[str]) -> set[str]:
    return {name for name in names if (folder == ROOT and name in LEFT_OUT) or name == "__pycache__"}


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
