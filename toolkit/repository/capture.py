"""Capturing one file: what it is, and its bytes as chunks, while others may be changing it.

A file is opened without following links and without waiting, looked at before and after, and read no further than it
was long at first: what grows, shrinks or is replaced meanwhile is noticed and said, never waited for.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

from toolkit.repository.chunking import Cutter
from toolkit.repository.layout import MIB
from toolkit.repository.listing import Entry
from toolkit.repository.pieces import Pieces
from toolkit.repository.pipeline import Pipeline
from toolkit.repository.walk import Node

READ = 4 * MIB
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_BLOCK = 512

_KINDS = {
    stat.S_IFDIR: "directory",
    stat.S_IFREG: "file",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
    stat.S_IFCHR: "character",
    stat.S_IFBLK: "block",
}


def kind_of(status: os.stat_result) -> str | None:
    """The kind of entry, None for a socket, which has nothing to keep."""
    return _KINDS.get(stat.S_IFMT(status.st_mode))


def describe(node: Node, kind: str) -> Entry:
    """Everything about a name but its content. Raises OSError."""
    target = os.readlink(node.name, dir_fd=node.at) if kind == "symlink" else ""
    # There is no listxattr relative to a descriptor; this path leads through the open one.
    return _entry(node.path, kind, node.status, f"/proc/self/fd/{node.at}/{node.name}", target)


def _entry(path: str, kind: str, status: os.stat_result, where: str | int, target: str = "") -> Entry:
    device = None
    if kind in ("character", "block"):
        device = (os.major(status.st_rdev), os.minor(status.st_rdev))
    return Entry(
        path,
        kind,
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        mtime=status.st_mtime_ns,
        target=target,
        device=device,
        xattrs=_xattrs(where),
    )


def _xattrs(where: str | int) -> dict[str, bytes]:
    follow = isinstance(where, int)
    attributes = {}
    # Not every file system has them, and one may vanish between the two calls.
    with suppress(OSError):
        for name in sorted(os.listxattr(where, follow_symlinks=follow)):
            attributes[name] = os.getxattr(where, name, follow_symlinks=follow)
    return attributes


class Reader:
    """Reads files into a pipeline."""

    def __init__(self, pipeline: Pipeline, seed: int) -> None:
        self._pipeline = pipeline
        self._cutter = Cutter(seed)

    def file(self, node: Node) -> tuple[Entry, Pieces, os.stat_result] | None:
        """Read one regular file. None where it is one no longer. Raises OSError."""
        descriptor = _open(node)
        try:
            before = os.fstat(descriptor)
            if not stat.S_ISREG(before.st_mode):
                return None
            pieces, size = self._content(descriptor, before)
            after = os.fstat(descriptor)
            entry = _entry(node.path, "file", after, descriptor)
        finally:
            os.close(descriptor)
        same = size == before.st_size and _face(before) == _face(after) and before.st_ino == node.status.st_ino
        return replace(entry, size=size, changed=not same), pieces, after

    def stream(self, blocks: Iterator[bytes], pieces: Pieces) -> int:
        """Read blocks until they end, and add their pieces; return the number of bytes."""
        size = 0
        for block in blocks:
            size += len(block)
            pieces.add(self._pipeline.add(self._cutter.feed(block)))
        pieces.add(self._pipeline.add(self._cutter.finish()))
        return size

    def reset(self) -> None:
        """Forget the beginning of a stream whose end will not come."""
        for _ in self._cutter.finish():
            continue

    def _content(self, descriptor: int, status: os.stat_result) -> tuple[Pieces, int]:
        if status.st_blocks * _BLOCK < status.st_size:
            return self._sparse(descriptor, status.st_size)
        if status.st_size <= READ:
            content = os.read(descriptor, status.st_size) if status.st_size else b""
            return Pieces(self._pipeline.add(self._cutter.whole(content))), len(content)
        pieces = Pieces()
        return pieces, self.stream(_blocks(descriptor, 0, status.st_size), pieces)

    def _sparse(self, descriptor: int, size: int) -> tuple[Pieces, int]:
        """Read the parts of a file that the file system stored, and count the holes between them."""
        pieces = Pieces()
        position = 0
        while position < size:
            start, end = _extent(descriptor, position, size)
            if start > position:
                pieces.add([start - position])
            count = self.stream(_blocks(descriptor, start, end), pieces)
            position = start + count
            if count < end - start:
                break
        return pieces, position


def _open(node: Node) -> int:
    # Reading for a backup should not count as use; only an owner may ask for that.
    with suppress(PermissionError):
        return os.open(node.name, _OPEN | os.O_NOATIME, dir_fd=node.at)
    return os.open(node.name, _OPEN, dir_fd=node.at)


def _blocks(descriptor: int, position: int, end: int) -> Iterator[bytes]:
    while position < end and (block := os.pread(descriptor, min(READ, end - position), position)):
        position += len(block)
        yield block


def _extent(descriptor: int, position: int, size: int) -> tuple[int, int]:
    """The next stored part of a file; an empty one at its end where only a hole is left."""
    try:
        start = os.lseek(descriptor, position, os.SEEK_DATA)
        end = os.lseek(descriptor, start, os.SEEK_HOLE)
    except OSError:
        return size, size
    return min(start, size), min(end, size)


def _face(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns
