"""Recording inputs into a listing: which files are read, which lines are taken over, and what could not be had."""

import errno
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from toolkit.repository.capture import READ, Reader, describe, kind_of
from toolkit.repository.inputs import Input, Readable, Stream, Tree, parents
from toolkit.repository.layout import LINE_LIMIT
from toolkit.repository.lines import Lines, Written
from toolkit.repository.listing import Entry
from toolkit.repository.manifest import SourceInfo
from toolkit.repository.pieces import Pieces
from toolkit.repository.remembered import Remembered, row_key
from toolkit.repository.walk import Node, walk
from toolkit.words.errors import Error

Heard = Callable[[int, str], None]


@dataclass
class Tally:
    """What a backup saw."""

    entries: int = 0
    bytes: int = 0
    unread: list[tuple[str, str]] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)

    def miss(self, path: str, reason: str) -> None:
        self.unread.append((path, reason))

    def count(self, size: int) -> None:
        self.entries += 1
        self.bytes += size


class Recorder:
    """Records one backup's inputs, in the order of the listing."""

    def __init__(
        self, lines: Lines, reader: Reader, remembered: Remembered, heard: Heard, *, settle_within: float
    ) -> None:
        self.tally = Tally()
        self._lines = lines
        self._reader = reader
        self._remembered = remembered
        self._heard = heard
        self._settle_ns = int(settle_within * 1e9)
        self._links: dict[tuple[int, int], str] = {}
        self._above: set[str] = set()

    def record(self, given: Input) -> SourceInfo:
        """Record one input; what cannot be read is tallied, never raised."""
        before = (self.tally.entries, self.tally.bytes)
        for path in parents(given.name):
            if path not in self._above:
                self._above.add(path)
                self._add(Entry(path, "directory", mode=0o700))
        facts = self._stream(given) if isinstance(given, Stream) else self._tree(given)
        entries, size = self.tally.entries - before[0], self.tally.bytes - before[1]
        return SourceInfo(given.name, given.kind, entries, size, facts)

    def _tree(self, tree: Tree) -> dict[str, Any]:
        try:
            for node in walk(tree.path, tree.name, self.tally.miss, exclude=tree.exclude):
                self._node(node)
            return dict(tree.facts())
        except OSError as error:
            self.tally.miss(tree.name, error.strerror or str(error))
        except Error as error:
            self.tally.miss(tree.name, error.message)
        return {}

    def _stream(self, stream: Stream) -> dict[str, Any]:
        now, pieces = time.time_ns(), Pieces()
        try:
            with stream.open() as source:
                size = self._reader.stream(self._blocks(source, stream.name), pieces)
            facts = dict(stream.facts())
        except (OSError, Error) as error:
            # Half a dump is worse than none: it is left out, and the backup says that it is incomplete.
            self.tally.miss(stream.name, error.message if isinstance(error, Error) else str(error))
            self._reader.reset()
            return {}
        self._add(Entry(stream.name, "file", mode=0o600, mtime=now, size=size), pieces)
        return facts

    def _blocks(self, source: Readable, name: str) -> Iterator[bytes]:
        while block := source.read(READ):
            self._heard(len(block), name)
            yield block

    def _node(self, node: Node) -> None:
        kind = kind_of(node.status)
        if kind is None:
            return
        if node.status.st_nlink > 1 and kind != "directory":
            first = self._links.setdefault((node.status.st_dev, node.status.st_ino), node.path)
            if first != node.path:
                self._add(Entry(node.path, "link", target=first))
                return
        line = self._remembered.line(row_key(node.path), node.status)
        if line is None:
            self._new(node, kind)
            return
        size = node.status.st_size if kind == "file" else 0
        self.tally.count(size)
        self._heard(size, node.path)
        self._lines.add_line(line)

    def _new(self, node: Node, kind: str) -> None:
        try:
            if kind == "file":
                self._file(node)
            else:
                self._add(describe(node, kind), written=self._keep(node.path, node.status))
        except FileNotFoundError:
            self._links.pop((node.status.st_dev, node.status.st_ino), None)
        except OSError as error:
            self._links.pop((node.status.st_dev, node.status.st_ino), None)
            self.tally.miss(node.path, error.strerror or str(error))

    def _file(self, node: Node) -> None:
        try:
            found = self._reader.file(node)
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            found = None
        if found is None:
            self._replaced(node)
            return
        entry, pieces, status = found
        self._heard(entry.size, node.path)
        if entry.changed:
            self.tally.changed.append(entry.path)
        self._add(entry, pieces, None if entry.changed else self._keep(entry.path, status))

    def _replaced(self, node: Node) -> None:
        """Record what stands where a file was a moment ago."""
        status = os.stat(node.name, dir_fd=node.at, follow_symlinks=False)
        kind = kind_of(status)
        if kind in (None, "file", "directory"):
            self.tally.miss(node.path, "replaced while it was looked at")
            return
        self.tally.changed.append(node.path)
        self._add(describe(node._replace(status=status), str(kind)))

    def _add(self, entry: Entry, pieces: Pieces | None = None, written: Written | None = None) -> None:
        if entry.xattrs and sum(len(value) for value in entry.xattrs.values()) > LINE_LIMIT // 2:
            self.tally.miss(entry.path, "extended attributes too large to be kept")
            entry = replace(entry, xattrs={})
        self.tally.count(entry.size)
        self._lines.add(entry, pieces, written)

    def _keep(self, path: str, status: os.stat_result) -> Written | None:
        # A file touched this very moment may be touched again without its times showing it.
        if time.time_ns() - status.st_ctime_ns < self._settle_ns:
            return None
        return lambda line: self._remembered.keep(row_key(path), status, line)
