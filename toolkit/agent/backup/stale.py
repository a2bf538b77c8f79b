"""Staleness: a host notices that its newest complete backup is too old, and has it told, once each time.

    /var/lib/toolkit/backup/stale      since when there is none that is newer; gone with the next complete backup

Whatever starts backups may be what is broken, so a timer of its own asks. A host that is dead tells nothing: for that
`invoke backup.status` looks from outside.
"""

import time
from contextlib import suppress

from toolkit.agent import audit, notify
from toolkit.agent.backup import record
from toolkit.agent.notify import Event
from toolkit.agent.paths import Paths
from toolkit.stack.duty import Duty
from toolkit.words import atomic
from toolkit.words.errors import HostError
from toolkit.words.values import Duration

MARK = "stale"


def check(paths: Paths, now: float) -> str:
    """Return what is to be complained of at `now`, seconds since 1970; empty where the newest backup is young enough.

    Raises HostError where nobody said what to back up.
    """
    duty = Duty.read(paths.duty)
    runs = record.read(paths)
    good = next((run for run in reversed(runs) if run.good), None)
    # Before the first one, the time counts from when it was asked for.
    since = good.at if good else paths.duty.stat().st_mtime
    if not duty.stale or now - since <= duty.stale:
        return ""
    what = "the newest complete backup is" if good else "there is no complete backup yet, and it was asked for"
    told = f"{what} {Duration(now - since)} {'old' if good else 'ago'}, and {Duration(duty.stale)} are allowed"
    if _told(paths) != (mark := f"{since:.0f}\n"):
        last = f"the last run {runs[-1].result}: {runs[-1].said}" if runs and not runs[-1].good else ""
        _tell(paths, duty, told, last)
        # On a full disk it is told once more in an hour.
        with suppress(OSError):
            paths.backup.mkdir(mode=0o700, parents=True, exist_ok=True)
            atomic.replace(paths.backup / MARK, mark.encode(), mode=0o600)
    return told


def over(paths: Paths) -> bool:
    """Whether it was told that backups are too old; with a complete one it is so no more."""
    try:
        (paths.backup / MARK).unlink()
    except OSError:
        return False
    return True


def _told(paths: Paths) -> str:
    try:
        return (paths.backup / MARK).read_text()
    except OSError:
        return ""


def _tell(paths: Paths, duty: Duty, told: str, last: str) -> None:
    audit.record(paths, "backup", stack=duty.stack, who="the clock", result="stale", code=1, said=told)
    with suppress(OSError, ValueError):
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        details = {"allowed": duty.stale, "at": when}
        notify.post(paths, Event("backup.stale", "error", duty.stack or duty.host, told, last, details))


def ask(paths: Paths, now: float) -> None:
    """As `check`, for a unit: raises HostError for what is to be complained of."""
    if told := check(paths, now):
        raise HostError(told, hint="invoke backup --host, and `invoke doctor` where that fails too")
