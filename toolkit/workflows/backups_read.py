"""Reading backups: what there is, where a file was, what changed, one file's bytes, and a tree brought back."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from toolkit.repository import How, Repository, Restored, Snapshot, browse
from toolkit.repository import restore as bring_back
from toolkit.repository.browse import Difference
from toolkit.repository.layout import SnapshotName
from toolkit.repository.listing import Entry
from toolkit.repository.manifest import COMPLETE
from toolkit.words.clock import Clock
from toolkit.words.errors import RepositoryError
from toolkit.words.report import Listener
from toolkit.workflows.backups import Backups, Heard


@dataclass(frozen=True)
class Row:
    """One snapshot as `backup.snapshots` shows it. Times are UTC; `complaint` says why one cannot be opened."""

    snapshot: str
    sequence: int
    epoch: str
    taken: str
    outcome: str = ""
    entries: int = 0
    bytes: int = 0
    sources: tuple[str, ...] = ()
    problems: int = 0
    complaint: str = ""


def snapshots(backups: Backups, heard: Heard) -> list[Row]:
    """Return all snapshots, oldest first. Raises RepositoryError where the store is older than what was seen."""
    repository = backups.repository(heard)
    return [_row(repository, name) for name in repository.snapshots()]


def _row(repository: Repository, name: SnapshotName) -> Row:
    taken = f"{name.when:%Y-%m-%dT%H:%M:%SZ}"
    try:
        document = repository.open(name).manifest
    except RepositoryError as error:
        return Row(str(name), name.sequence, name.epoch, taken, complaint=error.message)
    return Row(
        snapshot=str(name),
        sequence=name.sequence,
        epoch=name.epoch,
        taken=taken,
        outcome=document.outcome,
        entries=document.entries,
        bytes=document.bytes,
        sources=tuple(source.name for source in document.sources),
        problems=len(document.problems),
    )


def entries(backups: Backups, which: str, path: str, heard: Heard) -> Iterator[Entry]:
    """Yield what a snapshot has at and below a path. Raises RepositoryError where there is no such path."""
    snapshot = _opened(backups.repository(heard), which)
    empty = True
    for entry in browse.entries(snapshot, path):
        empty = False
        yield entry
    if empty and path:
        raise browse.missing(snapshot, path)


def find(backups: Backups, pattern: str, which: str, heard: Heard) -> Iterator[tuple[SnapshotName, Entry]]:
    """Yield what matches a shell pattern in one snapshot, or in all of them, the newest first."""
    repository = backups.repository(heard)
    names = [repository.find(which)] if which else repository.snapshots()[::-1]
    return browse.find(repository, pattern, names)


def diff(backups: Backups, before: str, after: str, heard: Heard) -> Iterator[Difference]:
    """Yield how two snapshots differ; without `before`, the one that precedes `after` is meant."""
    repository = backups.repository(heard)
    newer = _opened(repository, after)
    older = repository.open(repository.find(before) if before else _preceding(repository, newer.name))
    return browse.diff(older, newer)


def _preceding(repository: Repository, name: SnapshotName) -> SnapshotName:
    names = repository.snapshots()
    place = names.index(name)
    if not place:
        raise RepositoryError(f"{name} is the oldest snapshot", hint="name two snapshots: --before S --after S")
    return names[place - 1]


def dump(backups: Backups, which: str, path: str, write: Callable[[bytes], object], heard: Heard) -> int:
    """Write one file's bytes in order; return how many. Raises RepositoryError for damage."""
    return browse.dump(_opened(backups.repository(heard), which), path.strip("/"), write)


@dataclass(frozen=True)
class Restoration:
    """What a restore brought back, from which snapshot. `healed` names damage that did no harm."""

    host: str
    snapshot: str
    taken: str
    outcome: str
    target: Path
    entries: int
    bytes: int
    seconds: float
    lost: Mapping[str, str]
    withheld: Sequence[tuple[str, str]]
    problems: Sequence[tuple[str, str]]
    healed: Sequence[str]

    @property
    def whole(self) -> bool:
        """Everything that was to be backed up is there, and nothing had to be worked around."""
        return self.outcome == COMPLETE and not self.lost and not self.healed


def restore(backups: Backups, which: str, target: Path, how: How, listener: Listener, clock: Clock) -> Restoration:
    """Write a snapshot, or what is below one path of it, into a directory. Raises RepositoryError."""
    heard = Heard(listener.warn)
    snapshot = _opened(backups.repository(heard), which)
    done = bring_back(snapshot, target, how, listener=listener, clock=clock)
    return _restoration(backups.host, snapshot, target, done, heard)


def _restoration(host: str, snapshot: Snapshot, target: Path, done: Restored, heard: Heard) -> Restoration:
    document = snapshot.manifest
    return Restoration(
        host=host,
        snapshot=str(snapshot.name),
        taken=document.started,
        outcome=document.outcome,
        target=target.absolute(),
        entries=done.entries,
        bytes=done.bytes,
        seconds=done.seconds,
        lost=dict(done.lost),
        withheld=done.withheld,
        problems=document.problems,
        healed=heard.texts,
    )


def _opened(repository: Repository, which: str) -> Snapshot:
    return repository.newest() if which == "latest" else repository.open(repository.find(which))


def shape(entry: Entry) -> dict[str, object]:
    """Return an entry as JSON shows it; its time is in UTC."""
    found: dict[str, object] = {"path": entry.path, "type": entry.kind}
    if entry.kind != "link":
        found |= {"mode": f"{entry.mode:04o}", "uid": entry.uid, "gid": entry.gid, "mtime": _iso(entry.mtime)}
    if entry.kind == "file":
        found["size"] = entry.size
    if entry.target:
        found["target"] = entry.target
    return found | ({"changed": True} if entry.changed else {})


def _iso(nanoseconds: int) -> str:
    """A time far outside of the calendar is given as a number: a hostile listing may claim any."""
    try:
        return datetime.fromtimestamp(nanoseconds // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return str(nanoseconds // 10**9)
