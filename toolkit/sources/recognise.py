"""Recognising databases by what `docker inspect` says of their containers: image, command line, variables, mounts.

Pure: nothing is asked, and of variables only names are looked at, and values that are a path or a user's name.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from toolkit.sources.clickhouse import ClickHouse
from toolkit.sources.docker import Inspected, variables, words_of
from toolkit.sources.login import Login
from toolkit.sources.mysql import Mysql
from toolkit.sources.postgres import Postgres
from toolkit.sources.protocol import Source
from toolkit.sources.redis import Redis

# Such images speak of a database and are none.
_BESIDE = re.compile("exporter|admin|commander|insight|backup|bouncer|proxy|operator|sentinel|client")
_SECRET_FILE = re.compile(r"/run/secrets/[\w.-]+")


@dataclass(frozen=True)
class Kind:
    """How one kind of database shows itself."""

    kind: str
    images: Sequence[str]
    programs: Sequence[str]
    data: Sequence[str]
    """Where its data lies in a container."""

    make: Callable[[str, Inspected], Source]


def recognise(container: Inspected) -> tuple[Kind, str] | None:
    """Return what kind of database a container runs and what tells so; None for everything else."""
    image = _image(container)
    programs = {word.rpartition("/")[2] for word in _programs(container)}
    for kind in KINDS:
        if not _BESIDE.search(image) and any(name in image for name in kind.images):
            return kind, f"image {container['Config']['Image']}"
        if found := sorted(programs & set(kind.programs)):
            return kind, f"runs {found[0]}"
        for mount in container.get("Mounts") or ():
            if mount["Destination"].rstrip("/") in kind.data:
                return kind, f"has data at {mount['Destination']}"
    return None


def forgets(container: Inspected) -> str:
    """Why a Redis is a cache by its command line; empty where it does not say so."""
    line = " ".join(words_of(container))
    if policy := re.search(r"--maxmemory-policy\s+(allkeys-\w+)", line):
        return f"a cache: it evicts any key when memory is short ({policy[1]})"
    words = list(words_of(container))
    nothing = any(word == "--save" and following == "" for word, following in pairwise(words))
    if (nothing or re.search(r"--save\s+(\"\"|'')", line)) and not re.search(r"--appendonly\s+yes", line):
        return "a cache: it keeps nothing on disk (no save points, no append-only file)"
    return ""


def _image(container: Inspected) -> str:
    """The last part of an image's name, without tag and digest, in small letters."""
    return str(container["Config"]["Image"]).partition("@")[0].rpartition("/")[2].partition(":")[0].lower()


def _programs(container: Inspected) -> list[str]:
    return [part for word in words_of(container) for part in re.split(r"[\s;|&]+", word)]


def _postgres(name: str, container: Inspected) -> Source:
    return Postgres(name=name, user=variables(container).get("POSTGRES_USER") or "postgres")


def _mysql(name: str, container: Inspected) -> Source:
    place = _place(container, "MARIADB_ROOT_PASSWORD", "MYSQL_ROOT_PASSWORD")
    return Mysql(name=name, login=Login("mysql", "root", place) if place else None)


def _redis(name: str, container: Inspected) -> Source:
    # redis-cli takes this one from the container's environment by itself.
    if "REDISCLI_AUTH" in variables(container):
        return Redis(name=name)
    place = _place(container, "REDIS_PASSWORD", "VALKEY_PASSWORD") or _secret(container)
    return Redis(name=name, login=Login("redis", "default", place) if place else None)


def _clickhouse(name: str, container: Inspected) -> Source:
    place = _place(container, "CLICKHOUSE_PASSWORD")
    user = variables(container).get("CLICKHOUSE_USER") or "default"
    return ClickHouse(name=name, login=Login("clickhouse", user, place) if place else None)


def _place(container: Inspected, *names: str) -> str:
    """Where a password lies that the image's own variables speak of."""
    given = variables(container)
    for name in names:
        if path := given.get(f"{name}_FILE"):
            return f"file:{path}"
        if given.get(name):
            return f"env:{name}"
    return ""


def _secret(container: Inspected) -> str:
    """The one secret that the command line reads, or else the only one whose name speaks of Redis."""
    read = set(_SECRET_FILE.findall(" ".join(words_of(container))))
    mounted = {mount["Destination"] for mount in container.get("Mounts") or ()}
    named = {path for path in mounted if _SECRET_FILE.fullmatch(path) and re.search("redis|valkey", path)}
    for candidates in (read, named):
        if len(candidates) == 1:
            return f"file:{candidates.pop()}"
    return ""


KINDS = (
    Kind(
        "postgres",
        ("postgres", "postgis", "timescale", "pgvector"),
        ("postgres",),
        ("/var/lib/postgresql/data", "/var/lib/postgresql"),
        _postgres,
    ),
    Kind("redis", ("redis", "valkey"), ("redis-server", "valkey-server"), (), _redis),
    Kind("clickhouse", ("clickhouse",), ("clickhouse-server",), ("/var/lib/clickhouse",), _clickhouse),
    Kind("mysql", ("mysql", "mariadb", "percona"), ("mysqld", "mariadbd"), ("/var/lib/mysql",), _mysql),
)
