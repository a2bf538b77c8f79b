"""Steer: a backup is started, followed, stopped and looked at from a connection that may break at any time."""

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, BinaryIO

from toolkit.agent.backup import gather, record, ship
from toolkit.agent.backup.desk import Desk
from toolkit.agent.paths import Paths
from toolkit.agent.steer import ENTRY
from toolkit.sources.docker import Docker
from toolkit.stack import journal
from toolkit.stack.duty import Duty
from toolkit.words.errors import HostError

UNIT = "toolkit-backup-now"
TIMER = "toolkit-backup.timer"
# Seconds in which a run has to take the lock.
BEGINS_WITHIN = 20.0
# As those that the timer starts, whose unit has the reasons: toolkit/machine/backup.py.
PROPERTIES = (
    *("--property=Type=exec", "--property=Nice=10", "--property=IOSchedulingClass=best-effort"),
    *("--property=IOSchedulingPriority=7", "--property=OOMScoreAdjust=300", "--property=LimitCORE=0"),
    *("--property=UMask=0077", f"--property=ExecStopPost={ENTRY} backup settle"),
)


def start(paths: Paths, who: str) -> str:
    """Start a backup as a unit of its own; return its journal. Raises Locked, HostError."""
    desk = Desk(paths)
    Duty.read(paths.duty)
    desk.refuse_busy()
    name = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{secrets.token_hex(3)}"
    desk.journals.mkdir(mode=0o700, parents=True, exist_ok=True)
    desk.journal(name).touch(mode=0o600)
    _launch(paths, ["backup", "run", "--who", who, "--journal", name])
    return name


def _launch(paths: Paths, words: list[str]) -> None:
    if not paths.real:
        program = [sys.executable, "-m", "toolkit.agent", "--root", str(paths.root), *words]
        subprocess.Popen(program, start_new_session=True, stdin=subprocess.DEVNULL)
        return
    made = ["systemd-run", "--quiet", "--collect", f"--unit={UNIT}", "--description=A backup that somebody asked for"]
    done = subprocess.run([*made, *PROPERTIES, ENTRY, *words], capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        raise HostError(f"systemd did not start the backup: {done.stderr.strip()}", hint=f"systemctl status {UNIT}")


def follow(paths: Paths, name: str, out: BinaryIO) -> None:
    """Copy a journal's lines as they come, to its end. Raises HostError where there is no such journal."""
    desk = Desk(paths)
    names = desk.names()
    chosen = name or (names[-1] if names else "")
    if chosen not in names:
        raise HostError("there was no such backup on this host", hint="`invoke backup` makes one")
    for line in journal.follow(desk.journal(chosen), alive=_alive(desk)):
        out.write(line + b"\n")
        out.flush()


def _alive(desk: Desk) -> Callable[[], bool]:
    begun = time.monotonic()

    def alive() -> bool:
        nonlocal begun
        if desk.busy():
            # One that works has begun: once it no longer does, nobody will write on.
            begun = time.monotonic() - BEGINS_WITHIN + 2
            return True
        return time.monotonic() - begun < BEGINS_WITHIN

    return alive


def stop(paths: Paths) -> None:
    """Ask the backup at work to stop. Raises HostError where there is none."""
    desk = Desk(paths)
    mark = desk.read_mark()
    if not mark or not desk.busy():
        raise HostError("nobody is backing this host up", hint="there is nothing to stop")
    with suppress(ProcessLookupError):
        os.kill(mark["pid"], signal.SIGUSR1)


def state(paths: Paths, count: int) -> dict[str, Any]:
    """Return what is to be backed up, who is at work, how the last runs went and when the next one comes."""
    desk = Desk(paths)
    duty = Duty.read(paths.duty)
    mark = desk.read_mark()
    return {
        "host": duty.host,
        "stack": duty.stack,
        "every": duty.every,
        "now": time.time(),
        "working": mark if mark and desk.busy() else None,
        "next": _next(paths),
        "wal": ship.read(paths) if duty.wal else {},
        "runs": [asdict(run) for run in record.read(paths, count)],
    }


def _next(paths: Paths) -> float | None:
    """When the timer elapses next, in seconds since 1970; None where there is none, or systemd does not say."""
    if not paths.real:
        return None
    words = ["systemctl", "show", "--value", "--property=NextElapseUSecRealtime", TIMER]
    with suppress(OSError, subprocess.TimeoutExpired, ValueError):
        utc = {**os.environ, "TZ": "UTC"}
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=20, env=utc)
        # As in `Wed 2026-11-25 00:00:31 UTC`; systemd 252 ignores --timestamp=unix here.
        found = datetime.strptime(" ".join(done.stdout.split()[1:3]), "%Y-%m-%d %H:%M:%S")  # noqa: DTZ007 - UTC, see above
        return found.replace(tzinfo=UTC).timestamp()
    return None


def sources(paths: Paths) -> dict[str, Any]:
    """Return what a backup would capture and why, what it leaves out, and warnings. Raises HostError, ConfigError."""
    duty = Duty.read(paths.duty)
    found: list[dict[str, Any]] = []
    left: list[list[str]] = []
    warnings: list[str] = []
    if duty.stack:
        discovery, containers = gather.look(Docker(), duty)
        found = [{"name": one.source.name, **gather.described(one, containers)} for one in discovery.found]
        left, warnings = [list(pair) for pair in discovery.left], list(discovery.warnings)
    for tree in duty.paths:
        found.append({"name": tree.name, "kind": "tree", "reason": "listed in the backup file", "path": tree.path})
    return {"stack": duty.stack, "sources": found, "left": left, "warnings": warnings}
