"""A store in memory, for unit tests and trials: everything is gone with the process.

It can be versioned, as a bucket with object lock is.
"""

import itertools
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

from toolkit.store.keys import checked, checked_prefix
from toolkit.store.protocol import Body, ObjectInfo
from toolkit.words.clock import Clock, SystemClock
from toolkit.words.errors import Denied, Exists, Missing, StoreError


class MemoryStore:
    """An `AdminStore` in a dictionary."""

    def __init__(self, *, versioned: bool = False, clock: Clock | None = None) -> None:
        self._versioned = versioned
        self._clock = clock or SystemClock()
        self._kept: dict[str, list[tuple[ObjectInfo, bytes]]] = {}  # newest first
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    def put_new(
        self,
        key: str,
        body: Body,
        *,
        retain_until: datetime | None = None,
        content_sha256: bytes | None = None,  # noqa: ARG002 - nothing can happen to it on the way
    ) -> None:
        with self._lock:
            if checked(key) in self._kept:
                raise Exists(f"{key} exists already")
            self._add(key, body, retain_until)

    def overwrite(self, key: str, body: bytes) -> None:
        with self._lock:
            if not self._versioned:
                self._kept.pop(key, None)
            self._add(checked(key), body, None)

    def get(self, key: str, *, version: str | None = None, limit: int | None = None) -> bytes:
        info, body = self._find(key, version)
        if limit is not None and info.size > limit:
            raise StoreError(f"{key} has {info.size} bytes, more than the {limit} expected")
        return body

    def head(self, key: str) -> ObjectInfo:
        return self._find(key, None)[0]

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        checked_prefix(prefix)
        with self._lock:
            found = sorted((key, kept[0][0]) for key, kept in self._kept.items() if key.startswith(prefix))
        yield from (info for _, info in found)

    def versions(self, key: str) -> Iterator[ObjectInfo]:
        with self._lock:
            found = [info for info, _ in self._kept.get(checked(key), [])]
        yield from found

    def delete(self, key: str, *, version: str | None = None) -> None:
        with self._lock:
            kept = self._kept.get(checked(key), [])
            going = [info for info, _ in kept if version in (None, info.version)]
            for info in going:
                self._refuse_locked(info)
            left = [pair for pair in kept if pair[0] not in going]
            if left:
                self._kept[key] = left
            else:
                self._kept.pop(key, None)

    def extend_lock(self, key: str, until: datetime) -> None:
        self._find(key, None)
        if self._versioned:
            with self._lock:
                self._kept[key] = [(_locked(info, until), body) for info, body in self._kept[key]]

    def _add(self, key: str, body: Body, retain_until: datetime | None) -> None:
        now = datetime.fromtimestamp(self._clock.wall(), UTC)
        number = f"v{next(self._numbers)}" if self._versioned else None
        info = ObjectInfo(key, len(body), now, number, retain_until if self._versioned else None)
        self._kept.setdefault(key, []).insert(0, (info, bytes(body)))

    def _find(self, key: str, version: str | None) -> tuple[ObjectInfo, bytes]:
        with self._lock:
            for info, body in self._kept.get(checked(key), []):
                if version in (None, info.version):
                    return info, body
        raise Missing(f"{key} is not in the store")

    def _refuse_locked(self, info: ObjectInfo) -> None:
        if info.retain_until and info.retain_until.timestamp() > self._clock.wall():
            raise Denied(f"{info.key} is locked until {info.retain_until:%Y-%m-%d %H:%M} UTC")


def _locked(info: ObjectInfo, until: datetime) -> ObjectInfo:
    later = max(until, info.retain_until) if info.retain_until else until
    return replace(info, retain_until=later)
