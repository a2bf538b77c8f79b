"""Looking into snapshots without restoring them: what is there, where a file was, what changed, one file's bytes."""

import difflib
import fnmatch
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from toolkit.repository import ahead
from toolkit.repository.ahead import Piece
from toolkit.repository.layout import SnapshotName
from toolkit.repository.listing import Entry
from toolkit.repository.read import Repository, Snapshot
from toolkit.repository.remembered import row_key
from toolkit.repository.select import one
from toolkit.words.errors import RepositoryError
from toolkit.words.report import printable

_SUGGESTED = 3


class Item(NamedTuple):
    """An entry, and what stands for its content; the same content has the same mark inside an epoch."""

    entry: Entry
    mark: bytes


@dataclass(frozen=True)
class Difference:
    """How one path differs: `added`, `removed`, `changed` (its content) or `touched` (its owner, mode, times)."""

    path: str
    how: str


def entries(snapshot: Snapshot, below: str = "") -> Iterator[Entry]:
    """Yield what a snapshot has, or what it has at and below one path."""
    root = below.strip("/")
    for part in snapshot.parts():
        path = part.entry.path
        if part.offset == 0 and (not root or path == root or path.startswith(f"{root}/")):
            yield part.entry


def missing(snapshot: Snapshot, path: str) -> RepositoryError:
    """What is said of a path that a snapshot does not have."""
    close = near(snapshot, path)
    meant = f"did you mean {' or '.join(map(printable, close))}? " if close else ""
    hint = f"{meant}`invoke backup.ls` shows all paths, `invoke backup.find` looks through all snapshots"
    return RepositoryError(f"snapshot {snapshot.name} has no {path!r}", hint=hint)


def near(snapshot: Snapshot, path: str) -> list[str]:
    """Name what somebody may have meant by a path that is not there: of the same name elsewhere, or close to it."""
    wanted = path.strip("/")
    last = wanted.rpartition("/")[2]
    there, beside, same = "", list[str](), list[str]()
    for entry in entries(snapshot):
        above, _, name = entry.path.rpartition("/")
        # A directory comes before what is in it: the deepest one on the way is known when its names come.
        if wanted.startswith(f"{entry.path}/"):
            there, beside = entry.path, []
        elif above == there:
            beside.append(name)
        if name == last and len(same) < _SUGGESTED:
            same.append(entry.path)
    step = wanted.removeprefix(there).strip("/").partition("/")[0]
    close = difflib.get_close_matches(step, beside, _SUGGESTED)
    return same or [f"{there}/{name}".lstrip("/") for name in close]


def find(repository: Repository, pattern: str, names: Sequence[SnapshotName]) -> Iterator[tuple[SnapshotName, Entry]]:
    """Yield every entry whose path or last name matches a shell pattern, snapshot by snapshot."""
    for name in names:
        for entry in entries(repository.open(name)):
            last = entry.path.rpartition("/")[2]
            if fnmatch.fnmatchcase(last, pattern) or fnmatch.fnmatchcase(entry.path, pattern):
                yield name, entry


def diff(before: Snapshot, after: Snapshot) -> Iterator[Difference]:
    """Yield how two snapshots differ, in the order of the listing.

    Across epochs contents have no common names, so sizes and times decide there.
    """
    comparable = before.manifest.epoch == after.manifest.epoch
    old, new = _items(before), _items(after)
    left, right = next(old, None), next(new, None)
    while left or right:
        order = _order(left, right)
        if order < 0 and left:
            yield Difference(left.entry.path, "removed")
        elif order > 0 and right:
            yield Difference(right.entry.path, "added")
        elif left and right and (how := _compare(left, right, comparable)):
            yield Difference(right.entry.path, how)
        left = next(old, None) if order <= 0 else left
        right = next(new, None) if order >= 0 else right


def dump(snapshot: Snapshot, path: str, write: Callable[[bytes], object]) -> int:
    """Write one file's bytes in order; return how many. Raises RepositoryError for damage, and for what is no file."""
    size = 0
    for piece in ahead.in_order(snapshot.packs, (ref for part in one(snapshot, path) for ref in part.refs)):
        for block in _blocks(snapshot, piece):
            write(block)
            size += len(block)
    return size


def _blocks(snapshot: Snapshot, piece: Piece) -> Iterator[bytes]:
    if piece.frame is not None:
        yield snapshot.packs.take(piece.frame, piece.ref._replace(offset=0))
        return
    left, step = piece.ref.size, 1 << 20
    while left:
        yield bytes(min(left, step))
        left -= min(left, step)


def _items(snapshot: Snapshot) -> Iterator[Item]:
    """Yield entries with the parts of large files put together."""
    entry, content = None, hashlib.sha256()
    for part in snapshot.parts():
        if part.offset == 0:
            if entry:
                yield Item(entry, content.digest())
            entry, content = part.entry, hashlib.sha256()
        for ref in part.refs:
            content.update(ref.id or b"hole %d" % ref.size)
    if entry:
        yield Item(entry, content.digest())


def _order(left: Item | None, right: Item | None) -> int:
    """Which of two comes first in a listing: less than 0 for the left one, more than 0 for the right one."""
    if left is None or right is None:
        return 1 if left is None else -1
    first, second = row_key(left.entry.path), row_key(right.entry.path)
    return (first > second) - (first < second)


def _compare(left: Item, right: Item, comparable: bool) -> str:
    before, after = left.entry, right.entry
    if (before.kind, before.target, before.device, before.size) != (after.kind, after.target, after.device, after.size):
        return "changed"
    if comparable and left.mark != right.mark:
        return "changed"
    if not comparable and before.kind == "file" and before.mtime != after.mtime:
        return "changed"
    return "" if before == after else "touched"
