"""What the pipeline works with: PostgreSQL, Redis, and the neighbour that draws."""

import json
import urllib.request
from collections.abc import Mapping
from typing import Any

from standin import stores

from viraclip.pipeline import Clip

KEEP = 24 * 3600
PATIENCE = 30


class ClipTable:
    def __init__(self, database: stores.Postgres) -> None:
        self._database = database

    def ping(self) -> None:
        self._database.rows("SELECT id FROM clips LIMIT 1")

    def add(self, title: str, frames: int) -> Clip:
        return self._database.rows("INSERT INTO clips (title, frames) VALUES (%s, %s) RETURNING *", title, frames)[0]

    def find(self, number: int) -> Clip | None:
        return next(iter(self._database.rows("SELECT * FROM clips WHERE id = %s::numeric", number)), None)

    def finish(self, number: int, file: str, size: int) -> None:
        update = "UPDATE clips SET status = 'done', file = %s, size = %s, finished_at = now()"
        self._database.rows(f"{update} WHERE id = %s AND status = 'queued'", file, size, number)


class RedisProgress:
    def __init__(self, client: Any) -> None:
        self._client = client

    def begin(self, job: str, step: str) -> None:
        pipe = self._client.pipeline()
        pipe.hset(f"viraclip:steps:{job}", step, "begun")
        pipe.hincrby(f"viraclip:begun:{job}", step, 1)
        pipe.expire(f"viraclip:begun:{job}", KEEP)
        pipe.execute()

    def done(self, job: str, step: str) -> None:
        pipe = self._client.pipeline()
        pipe.hset(f"viraclip:steps:{job}", step, "done")
        pipe.expire(f"viraclip:steps:{job}", KEEP)
        pipe.execute()

    def steps(self, job: str) -> Mapping[str, str]:
        found: Mapping[str, str] = self._client.hgetall(f"viraclip:steps:{job}")
        return found


class Painter:
    """ComfyUI's stand-in, over HTTP."""

    def __init__(self, url: str) -> None:
        self._url = url

    def paint(self, seed: int, frame: int) -> bytes:
        body = json.dumps({"seed": seed, "frame": frame}).encode()
        with urllib.request.urlopen(f"{self._url}/paint", body, timeout=PATIENCE) as response:  # noqa: S310 - our own setting
            return bytes(response.read())
