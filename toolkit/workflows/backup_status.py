"""How backups stand, of one host or of all: judged from here by what the store has, since a dead host is silent.

Where a host answers, its own record says how its last run went. A snapshot's time is its host's claim; the store's
time of arrival is what counts.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from toolkit.config import backup_files, load
from toolkit.config.models import HostFile
from toolkit.host.connect import connect
from toolkit.repository import layout
from toolkit.store import ObjectInfo
from toolkit.vault.identity import Keyring
from toolkit.words.errors import Error
from toolkit.words.values import Duration
from toolkit.workflows import agent
from toolkit.workflows.backups import Backups

# A host and a store wait for the network, not for this machine.
_AT_ONCE = 8
# Clocks differ: a claim may be so much later than the arrival, seconds, before somebody is told.
_TOLERANCE = 600.0


@dataclass(frozen=True, kw_only=True)
class Status:
    """How one host's backups stand. Times are seconds since 1970; `complaints` is empty where all is well.

    `newest` is the newest snapshot and `stored` when the store took it; `record` the host's last run, as it says.
    """

    host: str
    newest: str = ""
    stored: float | None = None
    age: float | None = None
    snapshots: int = 0
    stale_after: float | None = None
    record: Mapping[str, Any] | None = None
    working: Mapping[str, Any] | None = None
    next: float | None = None
    complaints: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def good(self) -> bool:
        return not self.complaints


@dataclass
class _Seen:
    """What was found out of a host, before it is judged."""

    newest: str = ""
    claimed: float = 0.0
    stored: float | None = None
    snapshots: int = 0
    told: Mapping[str, Any] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def hosts(root: Path) -> list[HostFile]:
    """Return every host with a backup file. Raises ConfigError."""
    return [load.named(root, name) for name in backup_files.names(root) if (root / f"hosts/{name}.yml").is_file()]


def status(described: Sequence[HostFile], now: Callable[[], float]) -> list[Status]:
    """Look at all of these at once. One that cannot be looked at is told as such and spoils nobody else's."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(lambda one: _of(one, now), described))


def _of(described: HostFile, now: Callable[[], float]) -> Status:
    seen = _Seen()
    try:
        backups = Backups.of(described, Keyring(os.environ))
    except Error as error:
        return Status(host=described.name, complaints=(error.message,))
    _ask_store(backups, seen)
    _ask_host(described, seen)
    return judge(backups, seen, now())


def _ask_store(backups: Backups, seen: _Seen) -> None:
    url = urlsplit(backups.file.repository.url)
    if url.scheme == "file" and not Path(url.path).is_dir():
        seen.notes.append("its store is a directory that is not here: the host's own record is all there is")
        return
    try:
        _newest(backups.host, backups.owner.list(layout.epochs_prefix(backups.host)), seen)
    except Error as error:
        seen.complaints.append(f"the store: {error.message}")


def _newest(host: str, objects: Iterable[ObjectInfo], seen: _Seen) -> None:
    found = [(place.snapshot, info) for info in objects if (place := layout.place(host, info.key)).snapshot]
    seen.snapshots = len(found)
    for name, info in found:
        assert name is not None
        if seen.stored is None or info.modified.timestamp() > seen.stored:
            seen.newest, seen.claimed, seen.stored = str(name), name.when.timestamp(), info.modified.timestamp()


def _ask_host(described: HostFile, seen: _Seen) -> None:
    try:
        host = connect(described)
        try:
            seen.told = agent.asked(host, "backup", "state", "--lines", "1")
        finally:
            host.close()
    except Error as error:
        seen.complaints.append(f"the host: {error.message}")


def judge(backups: Backups, seen: _Seen, now: float) -> Status:
    """Say whether that is well. Pure."""
    limit = backups.file.stale_after
    runs = seen.told.get("runs") or ()
    record = runs[-1] if runs else None
    stored = seen.stored
    if stored is None and record and record["snapshot"] and seen.notes:
        stored = float(record["ended"])
    complaints, notes = list(seen.complaints), list(seen.notes)
    age = None if stored is None else max(0.0, now - stored)
    if age is None:
        complaints.append("there is no backup yet")
    elif limit and age > limit:
        complaints.append(f"stale: the newest backup is {Duration(age)} old, more than {limit}")
    if seen.stored is not None and seen.claimed - seen.stored > _TOLERANCE:
        complaints.append(
            f"the newest snapshot says of itself that it is {Duration(seen.claimed - seen.stored)} younger"
        )
    if record and record["result"] not in ("complete", "stopped"):
        complaints.append(f"the last run: {record['result']}{f', {said}' if (said := record['said']) else ''}")
    if not limit:
        notes.append("nothing says how old a backup may be: set `schedule` or `targets.rpo`")
    return Status(
        host=backups.host, newest=seen.newest, stored=stored, age=age, snapshots=seen.snapshots,
        stale_after=float(limit) if limit else None, record=record, working=seen.told.get("working"),
        next=seen.told.get("next"), complaints=tuple(complaints), notes=tuple(notes),
    )  # fmt: skip
