"""PostgreSQL and Redis behind the board. A connection per request: nothing to heal after a store restarts."""

from collections.abc import Mapping, Sequence
from typing import Any

import psycopg
import redis
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row

from taskflow_api.board import Task
from taskflow_api.settings import Settings

QUEUE = "taskflow:tasks"
PATIENCE = 3  # seconds; the health check allows five


class PostgresTable:
    def __init__(self, settings: Settings) -> None:
        self._address = make_conninfo(
            settings.database_url, password=settings.database_password, connect_timeout=PATIENCE
        )

    def ping(self) -> None:
        self._rows("SELECT id FROM tasks LIMIT 1")

    def add(self, title: str) -> Task:
        return self._rows("INSERT INTO tasks (title) VALUES (%s) RETURNING *", title)[0]

    def find(self, number: int) -> Task | None:
        return next(iter(self._rows("SELECT * FROM tasks WHERE id = %s::numeric", number)), None)

    def latest(self, count: int) -> Sequence[Task]:
        return self._rows("SELECT * FROM tasks ORDER BY id DESC LIMIT %s", count)

    def counts(self) -> Mapping[str, int]:
        rows = self._rows("SELECT status, count(*) AS count FROM tasks GROUP BY status")
        return {"queued": 0, "done": 0} | {row["status"]: row["count"] for row in rows}

    def _rows(self, query: str, *values: object) -> list[dict[str, Any]]:
        with psycopg.connect(self._address, row_factory=dict_row) as connection:
            return connection.execute(query, values).fetchall()


class RedisQueue:
    def __init__(self, settings: Settings) -> None:
        pool = redis.ConnectionPool.from_url(settings.redis_url, socket_timeout=PATIENCE)
        if settings.redis_password:
            pool.connection_kwargs["password"] = settings.redis_password
        self._client = redis.Redis(connection_pool=pool)

    def ping(self) -> None:
        self._client.ping()

    def announce(self, number: object) -> None:
        self._client.lpush(QUEUE, str(number))
