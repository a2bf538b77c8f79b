"""How soon the watchdog notices what is not well, and how soon it is back, on a lab host with the trial stack.

    python -m benchmarks.watchdog [--rounds 3] [--every 5]

"Noticed" is from when a service was made ill to the beginning of the look that saw it: one poll at most, and for what a
health check has to find first, as long as the check takes. "Back" is from there to when it was healthy again, which
includes its own start and its health check. Times are the host's own, read in whole seconds where it notes them so.
"""

import argparse
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks import measure
from tests.steps import until
from tests.trial import Trial, trial
from toolkit.faces import render
from toolkit.lab import Lab

ROOT = Path(__file__).parents[1]
NAME = "bench-watchdog"
UNIT = "toolkit-watchdog.service"
PID = f"$(systemctl show --value --property=MainPID {UNIT})"
ADDRESS = "$(docker inspect --format '{{(index .NetworkSettings.Networks \"trial_front\").IPAddress}}' trial-web-1)"
LONGEST = 90.0
# Seconds over which the idle watchdog's processor time is taken.
IDLE = 60.0

ILLS = {
    "killed": "docker kill trial-nginx-1 >/dev/null",
    "hung": "curl --silent --max-time 1 --request POST http://127.0.0.1:8100/hang >/dev/null || :",
    "leaking": f"curl --silent --request POST http://{ADDRESS}:8000/leak >/dev/null",
    "port dead": "pkill --full 'docker-proxy.*-host-port 8081'",
    "removed": "docker rm --force trial-fixed-1 >/dev/null",
}


@dataclass(frozen=True)
class Heal:
    """One heal, in seconds."""

    noticed: float
    back: float
    did: str


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--every", type=int, default=5)
    given = arguments.parse_args()
    with TemporaryDirectory() as folder, _host(Path(folder), given.every) as watched:
        resident, share = _idle(watched)
        rows = [_row(name, [_heal(watched, ill) for _ in range(given.rounds)]) for name, ill in ILLS.items()]
    print(measure.machine())
    print(f"a look every {given.every} s; medians of {given.rounds}, the worst in brackets")
    print(measure.table(("service", "noticed after", "back after", "how"), rows))
    print(f"\nidle: {resident} MiB resident, {share:.2f} % of one core")


@contextmanager
def _host(folder: Path, every: int) -> Iterator[Trial]:
    lab = Lab.of(ROOT, render.listener())
    lab.home.folder.mkdir(mode=0o700, exist_ok=True)
    lab.up(hosts=0, services=("registry",))
    try:
        made = trial(folder / "repo", lab, lab.host(NAME, "debian12"))
        # Heals are counted over a moment only, so that one after the other is at once.
        policy = {"every": f"{every}s", "restarts": 100, "within": "1s", "memory": 50, "polls": 2}
        made.repo.change(lambda content: content.update(watchdog=policy))
        made.repo.done("provision", "--host", "box")
        until('grep -q \'"aside": ""\' /run/toolkit/trial/watchdog.json', made.repo, 60)
        yield made
    finally:
        lab.remove(NAME)


def _idle(watched: Trial) -> tuple[int, float]:
    """Return MiB that are resident, and percent of one core, with nothing to heal."""
    read = f"""cd /proc/{PID}
    awk '/^VmRSS/ {{ print $2 }}' status; cut -d ' ' -f 14,15 stat; getconf CLK_TCK"""

    def used() -> tuple[int, float]:
        resident, user, system, ticks = map(int, watched.repo.on_host(read).split())
        return resident, (user + system) / ticks

    _, before = used()
    begun = time.monotonic()
    time.sleep(IDLE)
    resident, after = used()
    return resident // 1024, 100 * (after - before) / (time.monotonic() - begun)


def _heal(watched: Trial, ill: str) -> Heal:
    before = len(_incidents(watched))
    begun = float(watched.repo.on_host(f"date +%s.%N; {ill}"))
    deadline = time.monotonic() + LONGEST
    while len(found := _incidents(watched)) == before:
        if time.monotonic() > deadline:
            raise SystemExit(f"nothing was healed after: {ill}")
        time.sleep(0.5)
    one = found[-1]
    if one["result"] != "healed":
        raise SystemExit(f"not healed: {one}")
    # Containers settle, and checks of those that were just started begin to count.
    time.sleep(6)
    noticed = datetime.fromisoformat(one["at"].replace("Z", "+00:00")).timestamp()
    return Heal(max(0.0, noticed - begun), float(one["took"]), ", ".join(one["did"]))


def _incidents(watched: Trial) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = watched.repo.done(
        "watchdog.history", "--host", "box", "--json", "--lines", "1000"
    ).data
    return found


def _row(name: str, heals: Sequence[Heal]) -> tuple[str, ...]:
    return name, _times([one.noticed for one in heals]), _times([one.back for one in heals]), heals[-1].did


def _times(seconds: Sequence[float]) -> str:
    return f"{statistics.median(seconds):.1f} s ({max(seconds):.1f} s)"


if __name__ == "__main__":
    main()
