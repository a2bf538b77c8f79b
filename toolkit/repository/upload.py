"""From chunks to stored packs: names and compresses chunks, drops those already stored, and puts full packs.

Order is the whole safety of it: a pack is stored, then remembered, and only then may anything refer to it for good.
"""

import hashlib
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from toolkit.crypto.ids import chunk_id
from toolkit.repository import compression, layout
from toolkit.repository.listing import Ref
from toolkit.repository.manifest import PackInfo
from toolkit.repository.packs import UNDER_WAY, OpenPack, Packer
from toolkit.repository.state import State
from toolkit.store import ObjectStore
from toolkit.words.errors import Exists


@dataclass(frozen=True)
class Destination:
    """Where an epoch's packs go, and for whom."""

    store: ObjectStore
    host: str
    epoch: str
    recipients: Sequence[str]
    retain_until: datetime | None


class Uploader:
    """Keeps chunks: finds them among those of the epoch, or packs and stores them."""

    def __init__(self, destination: Destination, state: State, key: bytes) -> None:
        self._to = destination
        self._state = state
        self._key = key
        self._packer = Packer(max(state.packs(), default=-1) + 1, destination.recipients, self._ship)
        self._pool = ThreadPoolExecutor(UNDER_WAY, thread_name_prefix="uploads")
        self._room = threading.BoundedSemaphore(UNDER_WAY)
        self._uploads: deque[Future[None]] = deque()
        self._lock = threading.Lock()
        self._stored = 0

    @property
    def stored(self) -> int:
        """Bytes put so far."""
        return self._stored

    def keep(self, chunk: memoryview) -> Ref:
        """Return where the chunk is or will be. Called by many threads at once."""
        name = chunk_id(self._key, chunk)
        known = self._packer.find(name) or self._state.find(name)
        return known or self._packer.place(name, compression.compress(chunk), len(chunk))

    def finish(self) -> None:
        """Store what is still open, and wait until every pack is stored and remembered. Raises what went wrong."""
        self._packer.flush()
        while self._uploads:
            self._uploads.popleft().result()

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def _ship(self, pack: OpenPack) -> None:
        """Close a pack and pass it on; waits while too many are on their way."""
        with self._lock:
            while self._uploads and self._uploads[0].done():
                self._uploads.popleft().result()
        self._room.acquire()
        try:
            sealed = pack.close()
            self._uploads.append(self._pool.submit(self._put, pack, sealed))
        except BaseException:
            self._room.release()
            raise

    def _put(self, pack: OpenPack, sealed: bytearray) -> None:
        try:
            digest = hashlib.sha256(sealed)
            key = layout.pack_key(self._to.host, self._to.epoch, digest.hexdigest())
            # The name is the hash of random-looking bytes: if it exists, an earlier try of this very put got through.
            with suppress(Exists):
                retain = self._to.retain_until
                self._to.store.put_new(key, sealed, retain_until=retain, content_sha256=digest.digest())
            self._state.add_pack(pack.number, PackInfo(digest.hexdigest(), len(sealed)), pack.refs)
            self._stored += len(sealed)
            self._packer.forget(pack)
        finally:
            self._packer.reuse(sealed)
            self._room.release()
