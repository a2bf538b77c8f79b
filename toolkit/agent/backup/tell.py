"""Telling: who is told how a run went. What is said is of this host's own making, and holds no secret."""

import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from http.client import HTTPException
from typing import Any

from toolkit.agent import audit, notify
from toolkit.agent.backup.record import FAILED, STOPPED, Run
from toolkit.agent.backup.stale import over
from toolkit.agent.notify import Event
from toolkit.agent.paths import Paths
from toolkit.repository.manifest import COMPLETE, INCOMPLETE
from toolkit.stack.duty import Duty
from toolkit.words.values import Duration, Secret, Size

PING_WITHIN = 10.0


def events(duty: Duty, run: Run, before: Run | None, *, stale: bool = False) -> list[Event]:
    """Return what people are told: failures, what is missing, what is odd, and the first success after trouble.

    `stale` says that they were told of backups that had become too old.
    """
    subject, found = duty.stack or duty.host, []
    details: Mapping[str, Any] = {
        "result": run.result, "code": run.code, "snapshot": run.snapshot, "who": run.who,
        "unread": [list(pair) for pair in run.unread], "bytes": run.bytes, "took": round(run.ended - run.at, 1),
    }  # fmt: skip

    def event(kind: str, severity: Any, title: str, text: str = "") -> None:
        found.append(Event(f"backup.{kind}", severity, subject, title, text, details))

    if run.result == INCOMPLETE:
        event(
            "incomplete", "error", "the backup is incomplete", "\n".join(f"{path}: {why}" for path, why in run.unread)
        )
    elif run.result not in (COMPLETE, STOPPED):
        title = "the backup failed" if run.result == FAILED else "the backup was cut off"
        event("failed", "error", title, f"{run.said}\n{run.hint}".strip())
    elif run.good and (stale or (before is not None and before.result not in (COMPLETE, STOPPED))):
        event("recovered", "info", f"backups work again: {run.snapshot}, {Size(run.bytes)}")
    if run.odd:
        event("anomaly", "warning", "the backup is not like the ones before", "\n".join(run.odd))
    return found


def tell(paths: Paths, duty: Duty, run: Run, before: Run | None) -> None:
    """Write a run into the audit log, and have whoever wants to know be told."""
    took = round(run.ended - run.at, 1)
    about = {"stack": duty.stack, "who": run.who, "result": run.result, "code": run.code, "took": took}
    audit.record(paths, "backup", **about, snapshot=run.snapshot, bytes=run.bytes, said=run.said.partition("\n")[0])
    for event in events(duty, run, before, stale=run.good and over(paths)):
        with suppress(OSError, ValueError):
            notify.post(paths, event)


def summary(run: Run) -> str:
    """One line of how a run went."""
    if run.kept:
        took = Duration(run.ended - run.at)
        missing = f", {len(run.unread)} could not be read" if run.unread else ""
        return f"{run.result}: {run.snapshot}, {Size(run.bytes)} read, {Size(run.stored)} stored in {took}{missing}"
    return f"{run.result}: {run.said}"


def ping(address: Secret | None, ending: str = "", text: str = "") -> str:
    """Tell a watcher of a start (`/start`), a success or a failure (`/fail`), as healthchecks.io has it.

    Returns what went wrong, without the address: it lets anybody speak for this host.
    """
    if address is None:
        return ""
    url = address.reveal().decode().rstrip("/") + ending
    try:
        # The scheme is looked at first: urllib would read a file for `file:`.
        if not url.startswith(("https://", "http://")):
            return "the address of pings is no http address"
        request = urllib.request.Request(url, text.encode()[:10_000], method="POST")  # noqa: S310
        with urllib.request.urlopen(request, timeout=PING_WITHIN) as answer:  # noqa: S310
            answer.read(1000)
    except urllib.error.HTTPError as error:
        return f"whoever is pinged answers {error.code}"
    except (OSError, ValueError, HTTPException) as error:
        reason = getattr(error, "reason", "")
        return f"nobody takes the ping: {reason if isinstance(reason, OSError) else type(error).__name__}"
    return ""
