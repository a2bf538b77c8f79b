"""The post office's stores: PostgreSQL, a Redis that must not forget, and a Redis that may."""

import socket
import time
from collections.abc import Mapping, Sequence
from typing import Any

from standin import stores
from standin.settings import value

from relay.office import Message, PostOffice

MINUTE = 60


class MessageTable:
    def __init__(self, database: stores.Postgres) -> None:
        self._database = database

    def ping(self) -> None:
        # Of every table, so that a database nobody has migrated is not ready.
        self._database.rows("SELECT 1 FROM messages, deliveries, digests LIMIT 1")

    def add(self, recipient: str, subject: str) -> Message:
        query = "INSERT INTO messages (recipient, subject) VALUES (%s, %s) RETURNING *"
        return self._database.rows(query, recipient, subject)[0]

    def find(self, number: int) -> Message | None:
        query = """SELECT messages.*, (SELECT count(*) FROM deliveries WHERE message_id = messages.id) AS attempts
                   FROM messages WHERE id = %s::numeric"""
        return next(iter(self._database.rows(query, number)), None)

    def latest(self, count: int) -> Sequence[Message]:
        return self._database.rows("SELECT * FROM messages ORDER BY id DESC LIMIT %s", count)

    def deliver(self, number: int, worker: str, token: str) -> bool:
        query = """WITH attempt AS (INSERT INTO deliveries (message_id, worker, token) VALUES (%s, %s, %s))
                   UPDATE messages SET status = 'sent', sent_at = now()
                   WHERE id = %s AND status = 'queued' RETURNING id"""
        return bool(self._database.rows(query, number, worker, token, number))

    def counts(self) -> Mapping[str, int]:
        rows = self._database.rows("SELECT status, count(*) AS count FROM messages GROUP BY status")
        return {"queued": 0, "sent": 0} | {row["status"]: row["count"] for row in rows}

    def digest(self, counts: Mapping[str, int]) -> None:
        self._database.rows("INSERT INTO digests (queued, sent) VALUES (%s, %s)", counts["queued"], counts["sent"])


class RedisCache:
    def __init__(self, client: Any) -> None:
        self._client = client

    def count(self, client: str) -> int:
        key = f"rate:{client}:{int(time.time()) // MINUTE}"
        pipe = self._client.pipeline()
        pipe.incr(key)
        pipe.expire(key, 2 * MINUTE)
        return int(pipe.execute()[0])

    def keep(self, name: str, text: str) -> None:
        self._client.set(name, text, ex=2 * MINUTE)

    def get(self, name: str) -> str | None:
        found: str | None = self._client.get(name)
        return found


def post_office(environment: Mapping[str, str]) -> PostOffice:
    """Return the post office that the environment describes. Raises BadSettings."""
    database = stores.Postgres(value(environment, "DATABASE_URL"), value(environment, "DATABASE_PASSWORD"))
    return PostOffice(
        table=MessageTable(database),
        jobs=stores.Queue(stores.client(value(environment, "QUEUE_URL")), "relay:jobs"),
        cache=RedisCache(stores.client(value(environment, "CACHE_URL"))),
        key=value(environment, "SIGNING_KEY").encode(),
        worker=socket.gethostname(),
    )
