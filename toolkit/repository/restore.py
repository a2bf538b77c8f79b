"""Restore: a snapshot, or what is below one path of it, into an empty directory.

The listing is read in windows. Inside a window every pack is fetched once, by several threads, and its chunks are
written wherever they belong; memory is bounded by the window and the threads, not by the snapshot.
"""

import errno
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

from toolkit.repository import memory
from toolkit.repository.fetch import Plaintext
from toolkit.repository.listing import Entry, Part, Ref
from toolkit.repository.pools import workers
from toolkit.repository.read import Snapshot
from toolkit.repository.select import below
from toolkit.repository.write_tree import Descent, SafeTree, fresh_directory
from toolkit.words.clock import Clock, SystemClock
from toolkit.words.errors import Error, RepositoryError
from toolkit.words.report import Listener, Silent
from toolkit.words.values import Size

WINDOW = 50_000
WORKERS = 3

Take = Callable[[Plaintext, Ref], bytes]


@dataclass(frozen=True, kw_only=True)
class Restored:
    """What a restore did. `lost` names what is damaged and not there, `withheld` what was left out on purpose."""

    entries: int
    bytes: int
    lost: tuple[tuple[str, str], ...]
    withheld: tuple[tuple[str, str], ...]
    seconds: float


@dataclass(frozen=True, kw_only=True)
class How:
    """How to restore. `below` takes one path of the snapshot; a directory's content then lands in the target itself.

    `durable` waits until everything is on the disk, for trees that are about to be moved into place.
    """

    below: str = ""
    best_effort: bool = False
    privileged: bool = False
    durable: bool = False
    owners: bool = field(default_factory=lambda: os.geteuid() == 0)


def restore(
    snapshot: Snapshot,
    target: Path,
    how: How | None = None,
    *,
    listener: Listener | None = None,
    clock: Clock | None = None,
) -> Restored:
    """Write a snapshot's tree. Raises RepositoryError for damage, or with best effort says what was lost."""
    memory.settle()
    how, clock = how or How(), clock or SystemClock()
    begun = clock.now()
    with fresh_directory(target) as root:
        _check_room(root, snapshot.manifest.bytes if not how.below else 0, target)
        tree = SafeTree(root, privileged=how.privileged, owners=how.owners)
        run = _Run(snapshot, tree, how, listener or Silent())
        run.perform()
        if how.durable:
            os.sync()
    return Restored(
        entries=run.entries,
        bytes=run.bytes,
        lost=tuple(run.lost.items()),
        withheld=tuple(tree.notes.withheld),
        seconds=clock.now() - begun,
    )


class _Write(NamedTuple):
    """One chunk's place in a file; `whole` if the file is nothing else."""

    ref: Ref
    entry: Entry
    offset: int
    whole: bool


class _Run:
    def __init__(self, snapshot: Snapshot, tree: SafeTree, how: How, listener: Listener) -> None:
        self.entries = 0
        self.bytes = 0
        self.lost: dict[str, str] = {}
        self._snapshot = snapshot
        self._tree = tree
        self._how = how
        self._listener = listener
        self._descent = Descent(tree.root)
        self._lock = threading.Lock()

    def perform(self) -> None:
        self._listener.step(f"restore {self._snapshot.name}")
        try:
            with workers(WORKERS, "restore") as pool:
                for window in _windows(self._parts()):
                    self._window(window, pool)
            for path, error in self._tree.finish():
                self._fail(path, error)
        finally:
            self._descent.close()
        self._listener.done()

    def _parts(self) -> Iterator[Part]:
        if self._how.below:
            return below(self._snapshot, self._how.below, lenient=self._how.best_effort)
        return self._snapshot.parts(lenient=self._how.best_effort)

    def _window(self, parts: Sequence[Part], pool: ThreadPoolExecutor) -> None:
        """Make the names of one window, write its chunks pack by pack, then finish its files."""
        packs: dict[int, list[_Write]] = {}
        finished: list[Entry] = []
        for part in parts:
            try:
                self._begin(part, packs, finished)
            except OSError as error:
                self._fail(part.entry.path, error)
        for work in [pool.submit(self._pack, number, writes) for number, writes in packs.items()]:
            work.result()
        for entry in finished:
            self._finish(entry)

    def _begin(self, part: Part, packs: dict[int, list[_Write]], finished: list[Entry]) -> None:
        entry = part.entry
        if part.offset == 0:
            self.entries += 1
            if self._how.best_effort:
                self._tree.make_parents(self._descent, entry.path)
        if entry.kind == "directory":
            self._tree.directory(self._descent, entry)
        elif entry.kind != "file":
            self._tree.later(entry)
        elif not entry.size:
            self._tree.whole_file(self._descent, entry, b"")
        elif len(part.refs) == 1 and part.refs[0].size == entry.size and not part.refs[0].hole:
            packs.setdefault(part.refs[0].pack, []).append(_Write(part.refs[0], entry, 0, whole=True))
        else:
            self._pieces(part, packs)
            if part.last:
                finished.append(entry)

    def _pieces(self, part: Part, packs: dict[int, list[_Write]]) -> None:
        if part.offset == 0:
            self._tree.empty_file(self._descent, part.entry)
        offset = part.offset
        for ref in part.refs:
            if not ref.hole:
                packs.setdefault(ref.pack, []).append(_Write(ref, part.entry, offset, whole=False))
            offset += ref.size

    def _pack(self, number: int, writes: list[_Write]) -> None:
        """Write all chunks of one pack wherever they belong. Runs in several threads at once."""
        packs, descent = self._snapshot.packs, Descent(self._tree.root)
        try:
            plaintext = packs.plaintext(number)
            for ref, group in groupby(sorted(writes, key=_place), key=attrgetter("ref")):
                self._chunk(packs.take, plaintext, ref, list(group), descent)
        except RepositoryError as error:
            for write in writes:
                self._fail(write.entry.path, error)
        finally:
            descent.close()

    def _chunk(self, take: Take, plaintext: Plaintext, ref: Ref, writes: list[_Write], descent: Descent) -> None:
        try:
            content = take(plaintext, ref)
        except RepositoryError as error:
            for write in writes:
                self._fail(write.entry.path, error)
            return
        for write in writes:
            try:
                if write.whole:
                    self._tree.whole_file(descent, write.entry, content)
                else:
                    self._tree.write(descent, write.entry.path, write.offset, content)
            except OSError as error:
                self._fail(write.entry.path, error)
        self._written(len(content) * len(writes))

    def _finish(self, entry: Entry) -> None:
        try:
            if entry.path in self.lost:
                self._tree.remove_file(self._descent, entry.path)
            else:
                self._tree.finish_file(self._descent, entry)
        except OSError as error:
            self._fail(entry.path, error)

    def _written(self, size: int) -> None:
        with self._lock:
            self.bytes += size
            whole = self._snapshot.manifest.bytes if not self._how.below else 0
            self._listener.progress(Size(self.bytes), Size(whole))

    def _fail(self, path: str, error: Exception) -> None:
        """Take note of a loss, or give up."""
        text = error.message if isinstance(error, Error) else os.strerror(getattr(error, "errno", 0) or 0)
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        if not self._how.best_effort or full:
            hint = error.hint if isinstance(error, Error) else "make room, or restore elsewhere" if full else ""
            raise RepositoryError(f"cannot restore {path}: {text}", hint=hint) from error
        with self._lock:
            self.lost[path] = text


def _place(write: _Write) -> tuple[int, int]:
    return write.ref.offset, write.ref.size


def _windows(parts: Iterator[Part]) -> Iterator[list[Part]]:
    window: list[Part] = []
    weight = 0
    for part in parts:
        window.append(part)
        weight += 1 + len(part.refs)
        if weight >= WINDOW:
            yield window
            window, weight = [], 0
    if window:
        yield window


def _check_room(root: int, size: int, target: Path) -> None:
    status = os.fstatvfs(root)
    free = status.f_bavail * status.f_frsize
    if size > free:
        raise RepositoryError(
            f"{target} has room for {Size(free)}, the snapshot has {Size(size)}", hint="choose a larger disk"
        )
