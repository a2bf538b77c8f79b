"""`invoke backup`, `backup.sources` and `backup.status`: backups where they are made."""

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from invoke.context import Context

from toolkit.verbs.face import connected, host_file, listener, verb
from toolkit.words.report import Table

if TYPE_CHECKING:
    from toolkit.workflows.backup_status import Status

NOT_WELL, INCOMPLETE = 1, 3


@verb(name="run", default=True)
def run(_: Context, host: str = "", json: bool = False) -> int:
    """Back a host up now, on the host itself, and follow it. Exit code 3 when something could not be read."""
    from toolkit.faces import data, render
    from toolkit.words.clock import SystemClock
    from toolkit.workflows import backup_now as workflow

    with connected(host) as (_described, machine):
        done = workflow.back_up(machine, listener=listener(json), clock=SystemClock())
        name = machine.name
    if json:
        render.say(data.dumps(done))
    else:
        _show(name, done)
    return 0 if done["result"] == "complete" else INCOMPLETE


def _show(name: str, done: Mapping[str, Any]) -> None:
    from toolkit.faces import render
    from toolkit.words.report import printable
    from toolkit.words.values import Duration, Size

    rows = [
        (source, str(Size(one["bytes"])), str(one["entries"]), str(one["rows"] or "-"))
        for source, one in sorted(done["sources"].items())
    ]
    render.table(Table(("source", "read", "files", "rows"), rows))
    for path, why in done["unread"]:
        render.say(printable(f"not read: {path}: {why}"))
    for told in done["odd"]:
        render.say(printable(f"out of the ordinary: {told}"))
    for reason in done["fresh"]:
        render.say(printable(f"a new epoch began: {reason}"))
    took = Duration(done["ended"] - done["at"])
    sizes = f"{Size(done['bytes'])} read, {Size(done['stored'])} stored in {took}"
    render.say(f"{name}: {done['result']} as {done['snapshot']}: {sizes}")


@verb()
def sources(_: Context, host: str = "", json: bool = False) -> None:
    """Show what a backup captures and why, what it leaves out, and what somebody should look at."""
    from toolkit.faces import data, render
    from toolkit.workflows import backup_now as workflow

    with connected(host) as (_described, machine):
        found = workflow.sources(machine)
    if json:
        render.say(data.dumps({key: found[key] for key in ("stack", "sources", "left", "warnings")}))
        return
    rows = [(one["name"], one["kind"], _where(one), one["reason"]) for one in found["sources"]]
    render.table(Table(("source", "kind", "where", "because"), rows))
    if found["stack"]:
        render.say(
            f"and the current release of {found['stack']}, the files it mounts, its image digests and its secrets"
        )
    for name, why in found["left"]:
        render.say(f"left out: {name}: {why}")
    for warning in found["warnings"]:
        render.say(f"look at this: {warning}")


def _where(one: Mapping[str, Any]) -> str:
    if "service" in one:
        return f"service {one['service']}"
    return f"volume {one['volume']}" if "volume" in one else str(one.get("path", ""))


@verb(help={"host": "only this host; all that have a backup file without it"})
def status(_: Context, host: str = "", json: bool = False) -> int:
    """Show how old backups are and how the last ones went. Exit code 1 when one is stale, failed or incomplete."""
    from pathlib import Path

    from toolkit.config import load
    from toolkit.faces import data, render
    from toolkit.workflows import backup_status as workflow

    described = [host_file(host)] if host else workflow.hosts(load.find_root(Path.cwd()))
    found = workflow.status(described, time.time)
    if json:
        render.say(data.dumps([{**vars(one), "good": one.good} for one in found]))
    elif not found:
        render.say("no host has a backup file: write backups/<host>.yml, see docs/backup.md")
    else:
        _tell(found)
    return 0 if all(one.good for one in found) else NOT_WELL


def _tell(found: "Sequence[Status]") -> None:
    from toolkit.faces import render

    render.table(Table(("host", "newest", "age", "may be", "last run", "next"), [_row(one) for one in found]))
    for one in found:
        for text in one.complaints:
            render.say(f"{one.host}: {text}")
        for text in one.notes:
            render.say(f"{one.host}: note: {text}")


def _row(one: "Status") -> tuple[str, ...]:
    from toolkit.words.values import Duration

    age = "-" if one.age is None else str(Duration(round(one.age)))
    limit = str(Duration(one.stale_after)) if one.stale_after else "-"
    result = "at work now" if one.working else one.record["result"] if one.record else "-"
    following = f"in {Duration(max(0, round(one.next - time.time())))}" if one.next else "-"
    return one.host, one.newest or "-", age, limit, result, following
