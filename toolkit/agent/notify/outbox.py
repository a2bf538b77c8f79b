"""The outbox: messages that wait on the disk, one file for each message and each who is to get it.

Writing into it is all that posting does, so nobody ever waits for somebody else's server. It is bounded: where nobody
takes messages for long, the oldest go, and the next one that arrives says how many.
"""

import json
import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.agent.notify import targets
from toolkit.agent.notify.event import TEST, Event
from toolkit.agent.paths import Paths
from toolkit.words import atomic

MOST = 500
"""Messages that wait for one target."""


@dataclass(frozen=True)
class Waiting:
    """One message on its way. Older ones have smaller paths."""

    path: Path
    target: str

    @property
    def posted(self) -> float:
        """Seconds since 1970."""
        return int(self.path.name.partition("-")[0]) / 1e9

    def message(self) -> dict[str, Any] | None:
        """Return what is to be sent; None for what cannot be read."""
        with suppress(OSError, ValueError):
            found = json.loads(self.path.read_bytes())
            return found if isinstance(found, dict) else None
        return None


def post(paths: Paths, event: Event) -> None:
    """Queue an event for everybody who wants it. It never waits and never raises: a full disk costs the message."""
    host, known = targets.index(paths)
    message = json.dumps(event.message(host), default=str, ensure_ascii=False).encode()
    for target in known:
        if event.kind == TEST or event.wanted(target.on):
            with suppress(OSError):
                _add(paths, target.name, message)


def _add(paths: Paths, target: str, message: bytes) -> None:
    there = [one for one in waiting(paths) if one.target == target]
    for one in there[: max(0, len(there) - MOST + 1)]:
        drop(paths, one)
    path = paths.queue / f"{time.time_ns():020d}-{secrets.token_hex(4)}.{target}.json"
    atomic.replace(path, message, mode=0o600)


def waiting(paths: Paths) -> list[Waiting]:
    """Return what waits, oldest first."""
    return list(_waiting(paths))


def _waiting(paths: Paths) -> Iterator[Waiting]:
    for path in sorted(paths.queue.glob("[0-9]*-*.*.json")):
        yield Waiting(path, path.name.partition(".")[2].removesuffix(".json"))


def drop(paths: Paths, one: Waiting) -> None:
    """Give a message up. Whoever was to get it will be told how many were."""
    one.path.unlink(missing_ok=True)
    with (paths.queue / f".{one.target}.dropped").open("ab") as tally:
        tally.write(b".")


def dropped(paths: Paths, target: str) -> int:
    """Return how many messages were given up since the last one arrived."""
    with suppress(OSError):
        return (paths.queue / f".{target}.dropped").stat().st_size
    return 0


def arrived(paths: Paths, one: Waiting) -> None:
    one.path.unlink(missing_ok=True)
    (paths.queue / f".{one.target}.dropped").unlink(missing_ok=True)
