"""What a drill beside production takes from it: requests that the stack answers meanwhile, and without one.

`python -m benchmarks.drill` prints the table of benchmarks/README.md that is about drills, measured here and now:
taskflow on a lab host, asked by one client without a pause, alone and while a drill of level 4 runs on the same host
with `--beside-production`, in turns. Needs the lab; its host is removed at the end.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks import measure
from tests.drilled import Drilled, drilled
from toolkit.faces import render
from toolkit.lab import Lab

ROOT = Path(__file__).resolve().parent.parent
# $1: seconds. Answers come from the database, through the API.
_ASK = """
import http.client, json, sys, time
took, failed, end = [], 0, time.monotonic() + float(sys.argv[1])
while time.monotonic() < end:
    begun = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", 3000, timeout=10)
    connection.request("GET", "/tasks?limit=50")
    answer = connection.getresponse()
    answer.read()
    failed += answer.status >= 500
    connection.close()
    took.append(time.monotonic() - begun)
took.sort()
at = lambda share: took[int(len(took) * share)]
print(json.dumps({"rate": len(took) / float(sys.argv[1]), "middle": at(0.5), "late": at(0.99), "failed": failed}))
"""


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--seconds", type=float, default=25.0)
    given = options.parse_args()
    lab, folder = Lab.of(ROOT, render.listener(stream=sys.stderr)), ROOT / ".lab" / "benchmarks" / "drill"
    shutil.rmtree(folder, ignore_errors=True)
    lab.up(hosts=0)
    try:
        site = drilled(folder, lab, lab.s3())
        print(f"{measure.machine()}", flush=True)
        print(_rounds(site, given.rounds, given.seconds))
    finally:
        for name in ("drilled", "spare"):
            lab.remove(name)
        shutil.rmtree(folder, ignore_errors=True)


def _rounds(site: Drilled, rounds: int, seconds: float) -> str:
    alone, beside = [], []
    for number in range(rounds):
        turns = (alone, beside) if number % 2 else (beside, alone)
        for into in turns:
            into.append(_measured(site, seconds, drill=into is beside))
    rows = []
    for name, key, unit in (
        ("requests a second", "rate", 1.0),
        ("median answer, ms", "middle", 1e3),
        ("99th percentile, ms", "late", 1e3),
    ):
        first, second = (statistics.median(one[key] for one in side) * unit for side in (alone, beside))
        rows.append((name, f"{first:.1f}", f"{second:.1f}", f"{second / first:.2f}"))
    failed = [str(int(sum(one["failed"] for one in side))) for side in (alone, beside)]
    return measure.table(("", "alone", "beside a drill", "ratio"), [*rows, ("requests failed", *failed, "")])


def _measured(site: Drilled, seconds: float, *, drill: bool) -> dict[str, float]:
    child = None
    if drill:
        child = site.repo.start("drill", "--host", "box", "--on", "box", "--beside-production", "--json")
        _until_filled(site)
    words = site.repo.lab.ssh_command(site.repo.vps, "sudo", "python3", "-", str(seconds))
    done = subprocess.run(words, input=_ASK.encode(), capture_output=True, check=True)
    if child:
        out, err = child.communicate(timeout=600)
        assert child.returncode == 0, (out, err)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _until_filled(site: Drilled) -> None:
    """Begin when the sandbox does: before that, a drill only reads."""
    deadline = time.monotonic() + 60
    while not site.repo.on_host("docker ps --quiet --filter label=toolkit.drill").strip():
        if time.monotonic() > deadline:
            raise SystemExit("the drill has made no container within a minute")
        time.sleep(0.2)


if __name__ == "__main__":
    main()
