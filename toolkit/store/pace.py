"""Pace: how many bytes a second may go to a store, over all of its connections together."""

import threading
from dataclasses import dataclass, field

from toolkit.store.protocol import Body
from toolkit.words.clock import Clock, SystemClock

_PIECE = 64 * 1024


@dataclass
class Pace:
    """A limit in bytes a second. Any thread may spend; whoever would be too early waits."""

    limit: float
    clock: Clock = field(default_factory=SystemClock)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._free_at = self.clock.now()

    def spend(self, size: int) -> None:
        """Wait until so many bytes may go."""
        with self._lock:
            begin = max(self._free_at, self.clock.now())
            self._free_at = begin + size / self.limit
        if (wait := begin - self.clock.now()) > 0:
            self.clock.sleep(wait)


class PacedBody:
    """A body that is read no faster than a pace allows: what an HTTP client takes for a file."""

    def __init__(self, body: Body, pace: Pace) -> None:
        self._view = memoryview(body)
        self._pace = pace
        self._at = 0

    def __len__(self) -> int:
        return len(self._view)

    def read(self, size: int = -1) -> bytes:
        left = len(self._view) - self._at
        piece = self._view[self._at : self._at + min(left if size < 0 else size, max(_PIECE, 1))]
        self._at += len(piece)
        self._pace.spend(len(piece))
        return bytes(piece)

    def seek(self, place: int, whence: int = 0) -> int:
        self._at = {0: 0, 1: self._at, 2: len(self._view)}[whence] + place
        return self._at

    def tell(self) -> int:
        return self._at
