"""The product's stores: PostgreSQL, ClickHouse over HTTP, Redis."""

import json
import time
from collections.abc import Mapping
from typing import Any

from standin import stores

from oneglanse.product import Run, literal, names


class RunTable:
    def __init__(self, database: stores.Postgres) -> None:
        self._database = database

    def ping(self) -> None:
        self._database.rows("SELECT 1 FROM runs, sites LIMIT 1")

    def add(self, site: str) -> Run:
        self._database.rows("INSERT INTO sites (name) VALUES (%s) ON CONFLICT DO NOTHING", site)
        return self._database.rows("INSERT INTO runs (site) VALUES (%s) RETURNING *", site)[0]

    def find(self, number: int) -> Run | None:
        return next(iter(self._database.rows("SELECT * FROM runs WHERE id = %s::numeric", number)), None)

    def finish(self, number: int, file: str, size: int) -> bool:
        query = """UPDATE runs SET status = 'done', file = %s, size = %s, finished_at = now()
                   WHERE id = %s AND status = 'queued' RETURNING id"""
        return bool(self._database.rows(query, file, size, number))


class EventTable:
    def __init__(self, server: stores.ClickHouse) -> None:
        self._server = server

    def ping(self) -> None:
        self._server.rows("SELECT count() FROM events WHERE day = today()")

    def add(self, site: str, kind: str, path: str) -> None:
        self._server.insert("events", [{"time": int(time.time()), "site": site, "kind": kind, "path": path}])

    def counts(self, site: str) -> Mapping[str, int]:
        query = f"SELECT kind, count() AS count FROM events WHERE site = {literal(site)} GROUP BY kind"  # noqa: S608
        return names(self._server.rows(query))


class RedisCache:
    def __init__(self, client: Any) -> None:
        self._client = client

    def get(self, name: str) -> Mapping[str, int] | None:
        found = self._client.get(name)
        return json.loads(found) if found else None

    def keep(self, name: str, counts: Mapping[str, int], seconds: int) -> None:
        self._client.set(name, json.dumps(dict(counts)), ex=seconds)
