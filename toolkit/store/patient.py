"""Patience: a store that is away for a while is waited for, up to a limit, instead of losing a backup half-way.

Only what passes by itself is tried again. What somebody has to put right is raised at once.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from toolkit.store.protocol import Body, ObjectInfo, ObjectStore
from toolkit.store.s3_errors import Unavailable
from toolkit.words.clock import Clock, SystemClock
from toolkit.words.errors import Exists
from toolkit.words.values import Duration

PAUSES = (2.0, 5.0, 10.0, 20.0, 30.0)
WITHIN = 900.0
"""Seconds for one action; longer than a server takes to be restarted or moved."""

Done = TypeVar("Done")


def _unheard(_text: str) -> None: ...


@dataclass
class PatientStore:
    """A host's store, with patience. `told` hears of every time that it has to wait. Any thread may call."""

    store: ObjectStore
    within: float = WITHIN
    clock: Clock = field(default_factory=SystemClock)
    told: Callable[[str], object] = _unheard

    def put_new(
        self, key: str, body: Body, *, retain_until: datetime | None = None, content_sha256: bytes | None = None
    ) -> None:
        tries = 0

        def put() -> None:
            nonlocal tries
            tries += 1
            try:
                self.store.put_new(key, body, retain_until=retain_until, content_sha256=content_sha256)
            except Exists:
                # An earlier try may have got through although its answer did not.
                if tries == 1 or self._stored(key) != len(body):
                    raise

        self._again(put)

    def get(self, key: str, *, version: str | None = None, limit: int | None = None) -> bytes:
        return self._again(lambda: self.store.get(key, version=version, limit=limit))

    def head(self, key: str) -> ObjectInfo:
        return self._again(lambda: self.store.head(key))

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        return iter(self._again(lambda: tuple(self.store.list(prefix))))

    def versions(self, key: str) -> Iterator[ObjectInfo]:
        return iter(self._again(lambda: tuple(self.store.versions(key))))

    def _stored(self, key: str) -> int | None:
        return next((info.size for info in self.store.list(key) if info.key == key), None)

    def _again(self, action: Callable[[], Done]) -> Done:
        begun, pauses = self.clock.now(), iter(PAUSES)
        while True:
            try:
                return action()
            except Unavailable as error:
                pause = next(pauses, PAUSES[-1])
                waited = self.clock.now() - begun
                if waited + pause > self.within:
                    raise
                with suppress(OSError):
                    self.told(f"{error.message}; waiting, for another {Duration(self.within - waited)} at most")
                self.clock.sleep(pause)
