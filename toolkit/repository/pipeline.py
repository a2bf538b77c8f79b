"""The pipeline between cutting and storing: workers name, look up, compress and place chunks, a batch at a time.

One thread reads and cuts, because order matters there; everything that costs is done by the workers, without the
interpreter's lock. What is under way is bounded in bytes, so memory does not grow with the data.
"""

from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

from toolkit.repository.layout import MIB
from toolkit.repository.listing import Ref

BATCH = MIB
UNDER_WAY = 16 * MIB
_PIECES = 256


class Keeper(Protocol):
    """Who finds or makes the place of a chunk."""

    def keep(self, chunk: memoryview) -> Ref: ...


class Batch:
    """Chunks that travel together."""

    def __init__(self) -> None:
        self.pieces: list[memoryview] = []
        self.size = 0
        self.work: Future[list[Ref]] | None = None

    @property
    def done(self) -> bool:
        return self.work is not None and self.work.done()

    def refs(self) -> list[Ref]:
        """Wait for the places of the chunks. Raises what went wrong with them."""
        assert self.work is not None, "a batch is waited for after it was sent"
        return self.work.result()


Slot = tuple[Batch, int]


class Pipeline:
    """Takes chunks in order and gives each a slot, in which its place will be found."""

    def __init__(self, keeper: Keeper, *, workers: int) -> None:
        self._keeper = keeper
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="chunks")
        self._batch = Batch()
        self._under_way: deque[Batch] = deque()
        self._bytes = 0

    def add(self, chunks: Iterable[memoryview]) -> list[Slot]:
        """Take chunks; waits while too much is under way. Raises what went wrong with earlier ones."""
        slots = []
        for chunk in chunks:
            slots.append((self._batch, len(self._batch.pieces)))
            self._batch.pieces.append(chunk)
            self._batch.size += len(chunk)
            if self._batch.size >= BATCH or len(self._batch.pieces) >= _PIECES:
                self.send()
        return slots

    def send(self) -> None:
        """Let the workers have what was added so far."""
        batch, self._batch = self._batch, Batch()
        if not batch.pieces:
            return
        while self._under_way and (self._bytes + batch.size > UNDER_WAY or self._under_way[0].done):
            oldest = self._under_way.popleft()
            oldest.refs()
            self._bytes -= oldest.size
        self._bytes += batch.size
        self._under_way.append(batch)
        batch.work = self._pool.submit(self._work, batch)

    def finish(self) -> None:
        """Wait for everything. Raises what went wrong."""
        self.send()
        while self._under_way:
            self._under_way.popleft().refs()
        self._bytes = 0

    def close(self) -> None:
        """Stop the workers, whatever is under way."""
        self._pool.shutdown(cancel_futures=True)

    def _work(self, batch: Batch) -> list[Ref]:
        refs = [self._keeper.keep(piece) for piece in batch.pieces]
        # The buffers behind the chunks are free from here on.
        batch.pieces.clear()
        return refs
