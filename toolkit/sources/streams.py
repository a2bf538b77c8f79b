"""Streams out of programs: whole only if the program's own exit code says so."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from toolkit.repository.inputs import Readable
from toolkit.sources.process import Process
from toolkit.words.errors import HostError

_TAIL = 1024


@dataclass
class _Watched:
    """Passes bytes on, those that were read before first, and keeps the last of them."""

    process: Process
    first: bytes = field(default=b"", repr=False)
    last: bytes = field(default=b"", repr=False)

    def read(self, size: int, /) -> bytes:
        piece, self.first = self.first[:size], self.first[size:]
        piece = piece or self.process.read(size)
        if piece:
            self.last = (self.last + piece[-_TAIL:])[-_TAIL:]
        return piece


@contextmanager
def streamed(process: Process, *, says: bytes = b"", first: bytes = b"") -> Iterator[Readable]:
    """Give a started program's output to read; leaving raises HostError unless it succeeded.

    With `says`, the last bytes must hold these words: the mark that a text dump ends with. `first` is what somebody
    read from it already.
    """
    try:
        process.finish()
        watched = _Watched(process, first)
        yield watched
        process.check()
        if says not in watched.last:
            raise HostError(f"{process.what} ended without the mark of a whole dump")
    finally:
        process.close()


@contextmanager
def text(content: str) -> Iterator[Readable]:
    """Give a text to read."""
    yield io.BytesIO(content.encode(errors="surrogateescape"))


def feed(process: Process, content: bytes) -> bytes:
    """Give a started program its whole input, and return what it says. Raises HostError unless it succeeds."""
    try:
        process.write(content)
        process.finish()
        output = b"".join(iter(process.some, b""))
        process.check()
        return output
    finally:
        process.close()
