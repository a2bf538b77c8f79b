"""The post office: what a message is, how one is accepted, and how one is sent. Pure; the stores are behind protocols.

A message is a row, and its number a job. Whoever handles a job changes a row only where it is still queued, so handling
one twice changes nothing; each attempt is written down all the same.
"""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

RECOVER_AFTER = 30.0
"""Seconds after which a job whose worker went silent is another's."""

Message = dict[str, object]


class Table(Protocol):
    """Where messages are kept."""

    def ping(self) -> None: ...

    def add(self, recipient: str, subject: str) -> Message: ...

    def find(self, number: int) -> Message | None: ...

    def latest(self, count: int) -> Sequence[Message]: ...

    def deliver(self, number: int, worker: str, token: str) -> bool:
        """Write an attempt down, and mark the message sent; return whether this attempt was the first."""

    def counts(self) -> Mapping[str, int]: ...

    def digest(self, counts: Mapping[str, int]) -> None: ...


class Jobs(Protocol):
    """The queue that must not forget."""

    def ping(self) -> None: ...

    def put(self, job: str) -> None: ...

    def take(self) -> str | None: ...

    def finish(self, job: str) -> None: ...

    def recover(self, older_than: float) -> list[str]: ...

    def lengths(self) -> Mapping[str, int]: ...


class Cache(Protocol):
    """What may be lost at any time."""

    def count(self, client: str) -> int:
        """Count one more request of a client in this minute, and return how many there were."""

    def keep(self, name: str, text: str) -> None: ...

    def get(self, name: str) -> str | None: ...


@dataclass(frozen=True)
class PostOffice:
    table: Table
    jobs: Jobs
    cache: Cache
    key: bytes = field(repr=False)
    worker: str = "worker"

    def accept(self, recipient: str, subject: str) -> Message:
        """Keep a message and queue it: a refusal by the queue is the client's to know, so that it sends again."""
        message = self.table.add(recipient, subject)
        self.jobs.put(str(message["id"]))
        return message

    def send_one(self) -> int | None:
        """Take one job and send its message; return its number where this was the first time."""
        job = self.jobs.take()
        if job is None:
            return None
        first = self.table.deliver(int(job), self.worker, self.token(int(job)))
        self.jobs.finish(job)
        return int(job) if first else None

    def token(self, number: int) -> str:
        """Return what a recipient proves with that the message was meant for them."""
        return hmac.digest(self.key, str(number).encode(), hashlib.sha256).hex()[:32]

    def recover(self) -> list[str]:
        return self.jobs.recover(RECOVER_AFTER)

    def take_stock(self) -> None:
        """Count everything, for whoever scrapes, and keep a row of it."""
        counts, lengths = self.table.counts(), self.jobs.lengths()
        self.table.digest(counts)
        rows = [f'relay_messages{{status="{name}"}} {count}' for name, count in sorted(counts.items())]
        rows += [f'relay_jobs{{state="{name}"}} {count}' for name, count in sorted(lengths.items())]
        self.cache.keep("metrics", "\n".join([*rows, ""]))
