"""PostgreSQL and Redis behind the loop. A connection per question: nothing to heal after a store restarts."""

from typing import Any

import psycopg
import redis
from psycopg.conninfo import make_conninfo

from taskflow_worker.settings import Settings

QUEUE = "taskflow:tasks"
PATIENCE = 3  # seconds
MOMENT = 1  # second; a stop waits no longer than this for the queue


class PostgresTable:
    def __init__(self, settings: Settings) -> None:
        self._address = make_conninfo(
            settings.database_url, password=settings.database_password, connect_timeout=PATIENCE
        )

    def overdue(self) -> int | None:
        late = "SELECT id FROM tasks WHERE status = 'queued' AND created_at < now() - interval '1 minute'"
        return self._value(f"{late} ORDER BY created_at LIMIT 1")

    def title(self, number: int) -> str | None:
        return self._value("SELECT title FROM tasks WHERE id = %s AND status = 'queued'", number)

    def finish(self, number: int, result: str) -> bool:
        update = "UPDATE tasks SET status = 'done', result = %s, finished_at = now()"
        return self._value(f"{update} WHERE id = %s AND status = 'queued' RETURNING id", result, number) is not None

    def _value(self, query: str, *values: object) -> Any | None:
        with psycopg.connect(self._address) as connection:
            row = connection.execute(query, values).fetchone()
        return row[0] if row else None


class RedisQueue:
    def __init__(self, settings: Settings) -> None:
        pool = redis.ConnectionPool.from_url(settings.redis_url, socket_timeout=PATIENCE)
        if settings.redis_password:
            pool.connection_kwargs["password"] = settings.redis_password
        self._client = redis.Redis(connection_pool=pool)

    def take(self) -> int | None:
        taken = self._client.brpop([QUEUE], timeout=MOMENT)
        return int(taken[1]) if taken else None
