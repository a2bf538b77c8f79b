"""Questions to what came back: the queries of the backup file, each asked of its source's own server.

A query is the team's own text, run in a sandbox; its answer is data of the installation, so no more than its beginning
is told, and only where it is not as expected.
"""

import json
import sqlite3
import urllib.parse
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from toolkit.drill.captured import seconds
from toolkit.drill.report import Check
from toolkit.drill.wish import Query
from toolkit.sources import mysql_client, paths, postgres_client
from toolkit.sources.clickhouse import ClickHouse
from toolkit.sources.clickhouse_client import Client as ClickHouseClient
from toolkit.sources.docker import Docker
from toolkit.sources.mysql import Mysql
from toolkit.sources.postgres import Postgres
from toolkit.sources.protocol import Place, Source
from toolkit.sources.redis import Redis
from toolkit.sources.redis_client import RedisClient
from toolkit.sources.sqlite import Sqlite
from toolkit.words.errors import ConfigError, Error
from toolkit.words.values import Duration

Places = Mapping[str, tuple[Source, Place]]
"""Every source that came back, by name, and where it is now."""

_SHOWN = 60


def check(docker: Docker, places: Places, query: Query, moment: float | None) -> Check:
    """Ask one query; what cannot be asked is bad, for it was to be answered."""
    try:
        answer = ask(docker, places, query)
    except Error as error:
        return Check(query.source, query.title, "bad", error.message)
    return _judged(query, answer, moment)


def ask(docker: Docker, places: Places, query: Query) -> str:
    """Return the first field of the first row. Raises ConfigError, HostError."""
    if query.source not in places:
        raise ConfigError(f"the snapshot has no source {query.source}", hint=f"there are: {', '.join(sorted(places))}")
    source, place = places[query.source]
    if isinstance(source, Postgres):
        to = postgres_client.client(docker, place.container, user=source.user, login=source.login)
        return _first(to.rows(query.ask, query.database or "postgres"))
    if isinstance(source, Mysql):
        with mysql_client.client(docker, place.container, source.login).session() as session:
            if query.database:
                session.ask(f"USE {mysql_client.name(query.database)}")
            return _first(session.ask(query.ask))
    if isinstance(source, ClickHouse):
        rows = ClickHouseClient(docker, place.container, source.login).rows(query.ask)
        return _first([[str(field) for field in row.values()] for row in rows])
    if isinstance(source, Redis):
        return RedisClient(docker, place.container, source.login).ask(*query.ask.split()).partition("\n")[0]
    if isinstance(source, Sqlite):
        return _sqlite(docker, place, source.file, query.ask)
    raise ConfigError(f"{query.source} answers no queries", hint="only databases do")


def _sqlite(docker: Docker, place: Place, file: str, sql: str) -> str:
    """Ask a file that no application has opened yet; by its descriptor, for a link there leads nowhere."""
    root = paths.mountpoint(docker, place.volume) if place.volume else Path(place.path)
    with paths.beneath(root, str(PurePosixPath(file).parent)) as folder:
        name = urllib.parse.quote(str(folder / paths.plain(PurePosixPath(file).name)))
        try:
            with sqlite3.connect(f"file:{name}?mode=ro&immutable=1", uri=True) as database:
                return _first([[str(field) for field in row] for row in database.execute(sql).fetchmany(1)])
        except sqlite3.Error as error:
            raise ConfigError(f"SQLite refuses the query: {error}") from error


def _first(rows: list[list[str]]) -> str:
    if not rows or not rows[0]:
        raise ConfigError("the query has no row")
    return rows[0][0]


def _judged(query: Query, answer: str, moment: float | None) -> Check:
    shown = json.dumps(answer[:_SHOWN], ensure_ascii=False)
    if query.equals is not None:
        good, wanted = answer == query.equals, f"exactly {query.equals!r}"
    elif query.at_least is not None:
        number = _number(answer)
        good, wanted = number is not None and number >= query.at_least, f"at least {query.at_least:g}"
    else:
        found, now = seconds(answer), moment or 0.0
        within = query.within or 0.0
        good = found is not None and now - found <= within
        wanted = f"not older than {Duration(within)} at the time of the backup"
    told = f"as expected: {wanted}" if good else f"expected {wanted}, found {shown}"
    return Check(query.source, query.title, "good" if good else "bad", told)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
