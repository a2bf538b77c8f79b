"""PostgreSQL, Redis and ClickHouse. A connection per question: nothing to heal after a store restarts."""

import json
import time
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import psycopg
import redis
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row

PATIENCE = 3  # seconds; health checks allow five
MOMENT = 1  # second; a stop waits no longer than this for a queue

Row = dict[str, Any]


class Postgres:
    def __init__(self, url: str, password: str) -> None:
        self._address = make_conninfo(url, password=password, connect_timeout=PATIENCE)

    def rows(self, query: str, *values: object) -> list[Row]:
        with psycopg.connect(self._address, row_factory=dict_row) as connection:
            cursor = connection.execute(query, values)
            return cursor.fetchall() if cursor.description else []

    def script(self, text: str) -> None:
        """Run several statements, all or none."""
        with psycopg.connect(self._address) as connection:
            connection.execute(text)


def client(url: str, password: str = "") -> Any:
    """Return a Redis client that answers with text."""
    pool = redis.ConnectionPool.from_url(url, socket_timeout=PATIENCE + MOMENT, decode_responses=True)
    if password:
        pool.connection_kwargs["password"] = password
    return redis.Redis(connection_pool=pool)


class Queue:
    """Jobs in Redis that survive whoever took them: a job is either waiting, or taken and written down as such."""

    def __init__(self, connection: Any, name: str) -> None:
        self._redis = connection
        self._waiting, self._taken, self._since = name, f"{name}:taken", f"{name}:since"

    def ping(self) -> None:
        self._redis.ping()

    def put(self, job: str) -> None:
        self._redis.lpush(self._waiting, job)

    def take(self) -> str | None:
        """Wait a moment for a job; it stays written down until `finish`."""
        job = self._redis.blmove(self._waiting, self._taken, MOMENT, "RIGHT", "LEFT")
        if job is None:
            return None
        self._redis.hset(self._since, job, str(time.time()))
        return str(job)

    def touch(self, job: str) -> None:
        """Say that a job goes on, so that nobody else takes it."""
        self._redis.hset(self._since, job, str(time.time()))

    def finish(self, job: str) -> None:
        pipe = self._redis.pipeline()
        pipe.lrem(self._taken, 1, job)
        pipe.hdel(self._since, job)
        pipe.execute()

    def recover(self, older_than: float) -> list[str]:
        """Put jobs back whose taker has been silent for this many seconds; return them."""
        since, now = self._redis.hgetall(self._since), time.time()
        lost = [job for job in self._redis.lrange(self._taken, 0, -1) if now - float(since.get(job, 0)) > older_than]
        for job in lost:
            pipe = self._redis.pipeline()
            pipe.lrem(self._taken, 1, job)
            pipe.hdel(self._since, job)
            pipe.rpush(self._waiting, job)
            pipe.execute()
        return lost

    def lengths(self) -> Mapping[str, int]:
        return {"waiting": self._redis.llen(self._waiting), "taken": self._redis.llen(self._taken)}


class ClickHouse:
    """Over HTTP; the password travels in a header, never in the address."""

    def __init__(self, url: str, database: str, password: str) -> None:
        self._url, self._database, self._password = url, database, password

    def rows(self, query: str) -> list[Row]:
        return [json.loads(line) for line in self._ask(f"{query} FORMAT JSONEachRow").splitlines()]

    def insert(self, table: str, rows: Sequence[Row]) -> None:
        # Columns are named: what others have by default is reckoned only then.
        lines = "\n".join(json.dumps(row) for row in rows)
        self._ask(f"INSERT INTO {table} ({', '.join(rows[0])}) FORMAT JSONEachRow\n{lines}")

    def _ask(self, text: str) -> str:
        address = f"{self._url}/?{urlencode({'database': self._database})}"
        headers = {"X-ClickHouse-User": "default", "X-ClickHouse-Key": self._password}
        request = urllib.request.Request(address, text.encode(), headers)  # noqa: S310 - our own setting
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:  # noqa: S310
            return str(response.read().decode())
