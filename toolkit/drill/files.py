"""Files that came back, compared with the snapshot's list: kind, mode, owner, size, target, and content by chunks."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from toolkit.crypto.ids import chunk_id
from toolkit.drill.report import Check
from toolkit.repository.listing import Entry, Part
from toolkit.repository.read import Snapshot
from toolkit.repository.restore import How, Restored, restore
from toolkit.repository.select import below
from toolkit.words.report import Listener

_MOST = 50
_KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink", stat.S_IFIFO: "fifo"}


def bring_back(snapshot: Snapshot, target: Path, path: str, listener: Listener) -> Restored:
    """Write what is at and below a path. Raises RepositoryError for damage."""
    return restore(snapshot, target, How(below=path), listener=listener)


def compare(snapshot: Snapshot, target: Path, path: str, done: Restored) -> Check:
    """Compare a folder with the list, byte by byte, in the memory of one chunk."""
    withheld = {name for name, _ in done.withheld}
    entries, faults = 0, list[str]()
    for part in below(snapshot, path, lenient=False) if path else snapshot.parts():
        entries += part.offset == 0
        if part.entry.path not in withheld and len(faults) < _MOST:
            faults += _faults(snapshot, target, part)
    subject = path or "files"
    if faults:
        return Check(subject, "files as listed", "bad", "\n".join(faults))
    left = f"; {len(withheld)} with a setuid bit, capability or device were left out" if withheld else ""
    return Check(subject, "files as listed", "good", f"{entries} entries, {done.bytes} bytes, each compared{left}")


def _faults(snapshot: Snapshot, target: Path, part: Part) -> Iterator[str]:
    entry = part.entry
    path = target / entry.path if entry.path else target
    try:
        status = path.lstat()
    except OSError as error:
        yield f"{entry.path}: {error.strerror}"
        return
    if part.offset == 0:
        yield from (f"{entry.path}: {what}" for what in _differs(entry, status, path))
    if entry.kind == "file" and stat.S_ISREG(status.st_mode):
        yield from _content(snapshot, path, part)


def _differs(entry: Entry, status: os.stat_result, path: Path) -> Iterator[str]:
    kind = _KINDS.get(stat.S_IFMT(status.st_mode), "other")
    wanted = "file" if entry.kind == "link" else entry.kind
    if kind != wanted:
        yield f"is a {kind}, not a {wanted}"
        return
    if entry.kind in ("file", "directory") and stat.S_IMODE(status.st_mode) & 0o777 != entry.mode & 0o777:
        yield f"has mode {stat.S_IMODE(status.st_mode):04o}, not {entry.mode:04o}"
    if os.geteuid() == 0 and entry.kind != "link" and (status.st_uid, status.st_gid) != (entry.uid, entry.gid):
        yield f"belongs to {status.st_uid}:{status.st_gid}, not {entry.uid}:{entry.gid}"
    if entry.kind == "file" and status.st_size != entry.size:
        yield f"has {status.st_size} bytes, not {entry.size}"
    if entry.kind == "symlink" and str(path.readlink()) != entry.target:
        yield "points elsewhere"


def _content(snapshot: Snapshot, path: Path, part: Part) -> Iterator[str]:
    key, offset = snapshot.manifest.chunk_key.reveal(), part.offset
    with path.open("rb") as file:
        for ref in part.refs:
            file.seek(offset)
            offset += ref.size
            if not ref.hole and chunk_id(key, file.read(ref.size)) != ref.id:
                yield f"{part.entry.path}: its bytes from {offset - ref.size} on are others"
                return
