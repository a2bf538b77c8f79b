"""Measuring whole processes: wall time, CPU seconds of the process and its children, and the most memory resident.

Machines are shared and noisy, so contenders take turns (A B A B) and the median of their turns counts.
"""

import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Sample:
    """One run of one process. Children count as far as somebody waited for them."""

    wall: float
    cpu: float
    resident: int
    output: str


def run(argv: Sequence[str], *, cwd: Path, env: Mapping[str, str] | None = None) -> Sample:
    """Run a process to its end and return what it cost. Ends the benchmark, with its words, when it fails."""
    with tempfile.TemporaryFile() as said:
        start = time.perf_counter()
        process = subprocess.Popen(
            argv, cwd=cwd, env=environment(env or {}), stdin=subprocess.DEVNULL, stdout=said, stderr=said
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        output = said.read().decode(errors="replace")
    if process.returncode:
        raise SystemExit(f"exit code {process.returncode} from {' '.join(argv)}:\n{output[-4000:]}")
    return Sample(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, output)


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of all contenders: bytecode is cached for each of them, as on a user's machine."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"} | dict(more)


def in_turns(contenders: Mapping[str, Callable[[], Sample]], rounds: int) -> dict[str, Sample]:
    """Let every contender run once per round and return the median of each."""
    samples: dict[str, list[Sample]] = {name: [] for name in contenders}
    for number in range(1, rounds + 1):
        for name, contender in contenders.items():
            samples[name].append(contender())
            print(f"turn {number}: {name}: {samples[name][-1].wall:.2f} s", file=sys.stderr, flush=True)
    return {name: median(found) for name, found in samples.items()}


def median(samples: Sequence[Sample]) -> Sample:
    """Return the median of each figure, with the output of the last run."""
    return Sample(
        statistics.median(one.wall for one in samples),
        statistics.median(one.cpu for one in samples),
        int(statistics.median(one.resident for one in samples)),
        samples[-1].output,
    )


def machine() -> str:
    """Return what it was measured on, in one line."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown CPU")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    load = os.getloadavg()[0]
    return f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB, Linux {platform.release()}, load average {load:.1f}"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return rows as a Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
