"""Pieces: where the bytes of one file are, in their order, while some of them are still on their way.

A file's line is written when all of it has a place, and a dump may be larger than memory many times over: what has its
place is kept in a few bytes.
"""

import struct
from collections import deque
from collections.abc import Iterable, Iterator

from toolkit.repository.listing import Ref, hole
from toolkit.repository.pipeline import Slot

Piece = Slot | int
"""A slot of a chunk, or the length of a hole."""

_PLACE = struct.Struct("<32sIIIQ")
_HOLE = bytes(32)
_COMING = 1024


class Pieces:
    """The pieces of one file."""

    __slots__ = ("_coming", "_placed")

    def __init__(self, pieces: Iterable[Piece] = ()) -> None:
        self._coming = deque(pieces)
        self._placed = bytearray()

    def add(self, pieces: Iterable[Piece]) -> None:
        """Take the next ones. Raises what went wrong with earlier ones."""
        self._coming.extend(pieces)
        while len(self._coming) > _COMING and _has_place(self._coming[0]):
            ref = _ref(self._coming.popleft())
            self._placed += _PLACE.pack(ref.id or _HOLE, max(ref.pack, 0), ref.offset, ref.stored, ref.size)

    @property
    def ready(self) -> bool:
        """Whether every piece has its place."""
        return all(_has_place(piece) for piece in self._coming)

    def refs(self) -> Iterator[Ref]:
        """Yield the places, waiting for those that are not known yet. Raises what went wrong with a piece."""
        for name, pack, offset, stored, size in _PLACE.iter_unpack(self._placed):
            yield Ref(name, pack, offset, stored, size) if name != _HOLE else hole(size)
        yield from map(_ref, self._coming)


def _has_place(piece: Piece) -> bool:
    return isinstance(piece, int) or piece[0].done


def _ref(piece: Piece) -> Ref:
    if isinstance(piece, int):
        return hole(piece)
    batch, index = piece
    return batch.refs()[index]
