"""Fetching: objects whose hash is known, and chunks out of them, checked at every step.

A bucket may hold several versions under one name, and anybody with put rights may have added the newest. What does not
match is not an error yet: the older versions are asked, and the one that matches is taken and told of.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress

from toolkit.crypto import age
from toolkit.crypto.ids import chunk_id
from toolkit.repository import compression, layout
from toolkit.repository.listing import Ref
from toolkit.repository.manifest import PackInfo
from toolkit.store import ObjectStore
from toolkit.words.errors import Missing, RepositoryError, SecretError
from toolkit.words.values import Secret

_HINT = "verify the repository to see what is touched; a best-effort restore saves the rest"
_KEPT = 2

Told = Callable[[str], None]
Plaintext = bytes | bytearray


def ignore(_text: str) -> None:
    """Be told, and say nothing."""


def bodies(store: ObjectStore, key: str, limit: int, *, size: int | None = None) -> Iterator[tuple[str | None, bytes]]:
    """Yield an object's body, then those of all its versions; the first has None for a version.

    Where the size is known, versions of another one are not even fetched: anybody may have laid many on top.
    """
    with suppress(Missing):
        yield None, store.get(key, limit=limit)
    for info in store.versions(key):
        if info.version is not None and info.size <= limit and size in (None, info.size):
            with suppress(Missing):
                yield info.version, store.get(key, version=info.version, limit=limit)


def object_with(store: ObjectStore, key: str, digest: str, size: int, told: Told = ignore) -> bytes:
    """Return the version of an object that has this hash. Raises RepositoryError where there is none."""
    seen = 0
    for version, body in bodies(store, key, layout.SEALED_LIMIT, size=size):
        if len(body) == size and hashlib.sha256(body).hexdigest() == digest:
            if version is not None:
                told(f"{key}: an older version was taken, the newest is not what the host wrote")
            return body
        seen += 1
    raise RepositoryError(f"{key} is {'damaged' if seen else 'missing'}", hint=_HINT)


class Kept:
    """The last few opened packs, by hash, shared by all snapshots of one reader."""

    def __init__(self, count: int = _KEPT) -> None:
        self._count = count
        self._kept: OrderedDict[str, Plaintext] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, digest: str) -> Plaintext | None:
        with self._lock:
            if digest in self._kept:
                self._kept.move_to_end(digest)
            return self._kept.get(digest)

    def put(self, digest: str, plaintext: Plaintext) -> None:
        with self._lock:
            self._kept[digest] = plaintext
            while len(self._kept) > self._count:
                self._kept.popitem(last=False)


class Packs:
    """The packs that one snapshot names."""

    def __init__(
        self,
        store: ObjectStore,
        prefix: Callable[[str], str],
        packs: Mapping[int, PackInfo],
        identities: Sequence[Secret],
        key: bytes,
        *,
        kept: Kept | None = None,
        told: Told = ignore,
    ) -> None:
        self._store = store
        self._prefix = prefix
        self._packs = packs
        self._identities = identities
        self._key = key
        self._told = told
        self._kept = kept or Kept()

    def info(self, number: int) -> PackInfo:
        """What the signed manifest says of a pack. Raises RepositoryError for a number that it does not know."""
        if number not in self._packs:
            raise RepositoryError(f"the listing refers to pack {number}, which its snapshot does not name", hint=_HINT)
        return self._packs[number]

    def plaintext(self, number: int) -> Plaintext:
        """Fetch, check and open a pack. Raises RepositoryError."""
        return self._kept.get(self.info(number).digest) or self._open(number)

    def chunk(self, ref: Ref) -> bytes:
        """Return a chunk's bytes, and keep its pack at hand for the next one. Raises RepositoryError."""
        plaintext = self.plaintext(ref.pack)
        self._kept.put(self.info(ref.pack).digest, plaintext)
        return self.take(plaintext, ref)

    def take(self, plaintext: Plaintext, ref: Ref) -> bytes:
        """Return a chunk out of its opened pack, checked against its name. Raises RepositoryError."""
        with memoryview(plaintext) as view:
            content = compression.decompress(view[ref.offset : ref.offset + ref.stored], ref.size)
        if chunk_id(self._key, content) != ref.id:
            raise RepositoryError(
                f"a chunk in pack {self.info(ref.pack).digest} is not the one it should be", hint=_HINT
            )
        return content

    def _open(self, number: int) -> Plaintext:
        info = self.info(number)
        body = object_with(self._store, self._prefix(info.digest), info.digest, info.size, self._told)
        try:
            return age.unseal_large(body, self._identities)
        except SecretError as error:
            raise RepositoryError(f"pack {info.digest} cannot be opened: {error.message}", hint=error.hint) from error
