"""Packs: many frames sealed together as one object, written once and named by the hash of what is stored.

Chunks are spread over several packs that fill side by side, and packs are padded: neither the size of an object nor
its place tells which files went in. A pack is sealed while it fills, so its plaintext is never held.
"""

import secrets
import threading
from collections import deque
from collections.abc import Callable, Sequence

from toolkit.crypto import age
from toolkit.repository import compression
from toolkit.repository.layout import MIB
from toolkit.repository.listing import Ref

TARGET = 10 * MIB
SIDE_BY_SIDE, UNDER_WAY = 3, 3


class OpenPack:
    """A pack that still takes frames. A frame gets its place at once, and is sealed as soon as a thread has time."""

    def __init__(self, number: int, recipients: Sequence[str], spare: bytearray | None = None) -> None:
        self.number = number
        self.refs: list[Ref] = []
        self._size = 0
        self._sealer = age.Sealer(recipients, TARGET, spare)
        self._waiting: deque[bytes] = deque()
        self._sealing = threading.Lock()

    def takes(self, frame: bytes) -> bool:
        # The smallest padding is an empty skippable frame.
        return not self.refs or self._size + len(frame) + len(compression.EMPTY_PADDING) <= TARGET

    def add(self, chunk: bytes, frame: bytes, size: int) -> Ref:
        """Give a frame its place. For one thread at a time."""
        ref = Ref(chunk, self.number, self._size, len(frame), size)
        self._size += len(frame)
        self._waiting.append(frame)
        self.refs.append(ref)
        return ref

    def seal(self) -> None:
        """Seal what waits, in the order of the places. Any thread may do that at any time."""
        with self._sealing:
            while self._waiting:
                self._sealer.write(self._waiting.popleft())

    def close(self) -> bytearray:
        """Pad the pack and return it as it is stored."""
        self._waiting.append(compression.padding(self._size))
        self.seal()
        return self._sealer.finish()


class Packer:
    """Places frames into packs for the recipients. `ship` gets each full pack, in the thread that filled it."""

    def __init__(self, first_number: int, recipients: Sequence[str], ship: Callable[[OpenPack], None]) -> None:
        self._next = first_number
        self._recipients = recipients
        self._ship = ship
        self._open: list[OpenPack | None] = [None] * SIDE_BY_SIDE
        self._spare: list[bytearray] = []
        self._buffers = threading.Semaphore(SIDE_BY_SIDE + UNDER_WAY)
        self._lock = threading.Lock()
        self._fresh: dict[bytes, Ref] = {}

    def find(self, chunk: bytes) -> Ref | None:
        """Where a chunk is that was placed lately."""
        return self._fresh.get(chunk)

    def place(self, chunk: bytes, frame: bytes, size: int) -> Ref:
        """Give a frame its place, or the place that another thread gave the same chunk a moment ago."""
        full = pack = None
        with self._lock:
            ref = self._fresh.get(chunk)
            if ref is None:
                slot = secrets.randbelow(len(self._open))
                full = self._make_room(slot, frame)
                pack = self._open[slot] = self._open[slot] or self._begin()
                ref = self._fresh[chunk] = pack.add(chunk, frame, size)
        if pack:
            pack.seal()
        if full:
            self._ship(full)
        return ref

    def flush(self) -> None:
        """Close and ship every pack that has something in it."""
        with self._lock:
            packs = [pack for pack in self._open if pack]
            self._open = [None] * len(self._open)
        for pack in packs:
            self._ship(pack)

    def forget(self, pack: OpenPack) -> None:
        """Stop answering for the chunks of a pack that the state knows by now."""
        for ref in pack.refs:
            self._fresh.pop(ref.id, None)

    def reuse(self, sealed: bytearray) -> None:
        """Use the memory of a pack that is on its way no longer for another one."""
        self._spare.append(sealed)
        self._buffers.release()

    def _make_room(self, slot: int, frame: bytes) -> OpenPack | None:
        pack = self._open[slot]
        if pack is None or pack.takes(frame):
            return None
        self._open[slot] = None
        return pack

    def _begin(self) -> OpenPack:
        # Whoever fills packs faster than they can be stored waits here, so that memory stays bounded. Buffers are used
        # again because fresh memory costs as much as sealing does: the system has to clear it first.
        self._buffers.acquire()
        pack = OpenPack(self._next, self._recipients, self._spare.pop() if self._spare else None)
        self._next += 1
        return pack
