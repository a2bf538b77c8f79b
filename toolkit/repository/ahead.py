"""Reading ahead: the chunks of a file in their order, its packs fetched once while the chunks before are in use.

Chunks are spread over packs that fill side by side, and a file that changes a little every day lies in packs of many
days. So whoever reads in order looks at what comes next: of a fetched pack, the frames that are wanted soon are kept
as they are stored, and the pack is let go. Memory is bounded by the horizon and one pack, not by the file.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from toolkit.repository.fetch import Packs, Plaintext
from toolkit.repository.listing import Ref
from toolkit.repository.pools import workers

HORIZON = 64 << 20
"""How far to look ahead, in stored bytes: several times what fills side by side."""

# What one chunk costs beside its bytes, so that a file of nothing but holes is bounded too.
_OVERHEAD = 512


@dataclass(slots=True)
class Piece:
    """One chunk on its way: its frame as it is stored, once that was fetched. A hole needs none."""

    ref: Ref
    frame: bytes | None = None


def in_order(packs: Packs, refs: Iterable[Ref], horizon: int = HORIZON) -> Iterator[Piece]:
    """Yield each chunk's frame. Raises RepositoryError where a pack cannot be had."""
    with workers(1, "read ahead") as pool:
        yield from _Ahead(packs, pool, iter(refs), horizon).pieces()


class _Ahead:
    """What comes next. One pack at a time is fetched, beside whoever uses what is there."""

    def __init__(self, packs: Packs, pool: ThreadPoolExecutor, refs: Iterator[Ref], horizon: int) -> None:
        self._packs, self._pool, self._refs, self._horizon = packs, pool, refs, horizon
        self._coming: deque[Piece] = deque()
        self._weight = 0
        # By pack, the pieces that wait for it; whose turn comes first is the first.
        self._missing: dict[int, list[Piece]] = {}
        self._under_way: tuple[int, Future[Plaintext]] | None = None

    def pieces(self) -> Iterator[Piece]:
        self._look()
        while self._coming:
            piece = self._coming.popleft()
            while piece.frame is None and not piece.ref.hole:
                self._fetch()
                self._collect()
            if self._under_way and self._under_way[1].done():
                self._collect()
            self._fetch()
            yield piece
            self._weight -= piece.ref.stored + _OVERHEAD
            self._look()

    def _look(self) -> None:
        """Take note of what is wanted as far as the horizon, and of one chunk at least."""
        while not self._coming or self._weight < self._horizon:
            ref = next(self._refs, None)
            if ref is None:
                return
            piece = Piece(ref)
            self._coming.append(piece)
            self._weight += ref.stored + _OVERHEAD
            if not ref.hole:
                self._missing.setdefault(ref.pack, []).append(piece)

    def _fetch(self) -> None:
        if self._under_way is None and self._missing:
            number = next(iter(self._missing))
            self._under_way = number, self._pool.submit(self._packs.plaintext, number)

    def _collect(self) -> None:
        assert self._under_way
        number, fetched = self._under_way
        self._under_way = None
        with memoryview(fetched.result()) as plaintext:
            for piece in self._missing.pop(number):
                piece.frame = bytes(plaintext[piece.ref.offset : piece.ref.offset + piece.ref.stored])
