"""The listing as it is being written: lines in order, though the chunks they speak of are placed out of order.

A line can be written once all its chunks have a place, and not before the lines above it. Meanwhile it waits here.
"""

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from toolkit.repository.chunking import Cutter
from toolkit.repository.layout import MIB
from toolkit.repository.listing import Entry, Ref, encode
from toolkit.repository.pieces import Pieces
from toolkit.repository.pipeline import Pipeline

_WAITING = 10_000
_BLOCK = MIB
# Of a file over some hundred gigabytes the lines are not remembered: they would not fit into memory.
_LONGEST = 64 * MIB

Written = Callable[[bytes], None]


class _Waiting(NamedTuple):
    entry: Entry
    pieces: Pieces
    written: Written | None


class Lines:
    """Takes entries in order and turns them into the chunks of a listing."""

    def __init__(self, pipeline: Pipeline, seed: int) -> None:
        self._pipeline = pipeline
        self._cutter = Cutter(seed)
        self._waiting: deque[_Waiting | bytes] = deque()
        self._block: list[bytes] = []
        self._size = 0
        self._listing = Pieces()

    def add(self, entry: Entry, pieces: Pieces | None = None, written: Written | None = None) -> None:
        """Take an entry; `written` is told its lines once there are any, unless they are too long to keep."""
        self._waiting.append(_Waiting(entry, pieces or Pieces(), written))
        self._move_on()

    def add_line(self, line: bytes) -> None:
        """Take a line that is known already."""
        if self._waiting:
            self._waiting.append(line)
            self._move_on()
        else:
            self._write(line)

    def finish(self) -> list[Ref]:
        """Wait for all lines, and return where the listing is."""
        self._pipeline.send()
        while self._waiting:
            self._write_first()
        self._spill()
        self._listing.add(self._pipeline.add(self._cutter.finish()))
        self._pipeline.finish()
        return list(self._listing.refs())

    def _move_on(self) -> None:
        """Write what can be written, and more if too much is waiting."""
        while self._waiting:
            first = self._waiting[0]
            if len(self._waiting) > _WAITING:
                self._pipeline.send()
            elif isinstance(first, _Waiting) and not first.pieces.ready:
                return
            self._write_first()

    def _write_first(self) -> None:
        first = self._waiting.popleft()
        if isinstance(first, bytes):
            self._write(first)
            return
        lines: list[bytes] = []
        size = 0
        for line in encode(first.entry, first.pieces.refs()):
            self._write(line)
            size += len(line)
            if first.written and size <= _LONGEST:
                lines.append(line)
        if first.written and size <= _LONGEST:
            first.written(b"".join(lines))

    def _write(self, line: bytes) -> None:
        self._block.append(line)
        self._size += len(line)
        if self._size >= _BLOCK:
            self._spill()

    def _spill(self) -> None:
        block, self._block, self._size = b"".join(self._block), [], 0
        self._listing.add(self._pipeline.add(self._cutter.feed(block)))
