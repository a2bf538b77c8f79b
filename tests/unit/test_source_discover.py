"""Discovery from recorded answers of `docker inspect`, and what a person may correct."""

from pathlib import Path
from typing import Any

import pytest

from toolkit.sources.clickhouse import ClickHouse
from toolkit.sources.corrections import Corrections, Wanted, corrected
from toolkit.sources.discover import propose, sqlite_files
from toolkit.sources.login import Login
from toolkit.sources.mysql import Mysql
from toolkit.sources.postgres import Postgres
from toolkit.sources.recognise import forgets, recognise
from toolkit.sources.redis import Redis
from toolkit.sources.sqlite import Sqlite
from toolkit.sources.volume import Directory, Volume
from toolkit.words.errors import ConfigError

ANONYMOUS = "ab" * 32


def volume(name: str, target: str, *, write: bool = True) -> dict[str, Any]:
    source = f"/var/lib/docker/volumes/{name}/_data"
    return {"Type": "volume", "Name": name, "Source": source, "Destination": target, "RW": write}


def bind(source: str, target: str, *, write: bool = True) -> dict[str, Any]:
    return {"Type": "bind", "Source": source, "Destination": target, "RW": write}


def container(service: str, image: str, *mounts: dict[str, Any], **more: Any) -> dict[str, Any]:
    """One container as `docker inspect` shows it, with what discovery may look at."""
    labels = {"com.docker.compose.project": "shop", "com.docker.compose.service": service, **more.get("labels", {})}
    config = {"Image": image, "Env": more.get("env", []), "Cmd": more.get("cmd"), "Entrypoint": None, "Labels": labels}
    running = more.get("running", True)
    return {
        "Id": more.get("id", f"id-{service}"),
        "Name": f"/shop-{service}-1",
        "Image": f"sha256:{service}",
        "Config": config,
        "State": {"Running": running, "Status": "running" if running else "exited", "Pid": 7},
        "Mounts": list(mounts),
    }


REDIS = ["sh", "-c", 'printf "requirepass" "$(cat /run/secrets/redis_password)" | redis-server - --appendonly yes']
STACK = [
    container(
        "db",
        "postgres:17@sha256:00",
        volume("shop_db_data", "/var/lib/postgresql/data"),
        bind("/run/secrets/shop/postgres_password-1", "/run/secrets/postgres_password", write=False),
        env=["POSTGRES_USER=taskflow", "POSTGRES_PASSWORD_FILE=/run/secrets/postgres_password", "PGDATA=/x"],
    ),
    container("queue", "redis:7", volume("shop_queue_data", "/data"), cmd=REDIS),
    container(
        "cache",
        "redis:7",
        volume("shop_cache_data", "/data"),
        cmd=["redis-server", "--maxmemory", "10mb", "--maxmemory-policy", "allkeys-lru"],
    ),
    container(
        "events",
        "ghcr.io/acme/shop-clickhouse:1",
        volume("shop_ch", "/var/lib/clickhouse"),
        env=["CLICKHOUSE_USER=web", "CLICKHOUSE_PASSWORD=canary-0123"],
    ),
    container(
        "legacy",
        "mariadb:11",
        volume("shop_my", "/var/lib/mysql"),
        env=["MARIADB_ROOT_PASSWORD_FILE=/run/secrets/maria"],
    ),
    container("api", "ghcr.io/acme/shop:1", volume("shop_uploads", "/srv/uploads"), volume(ANONYMOUS, "/tmp/work")),
    container(
        "proxy",
        "nginx:1",
        volume("shop_uploads", "/srv", write=False),
        volume("shared_certs", "/certs", write=False),
        bind("/srv/www", "/www"),
        bind("/opt/shop/files/1", "/etc/nginx", write=False),
        bind("/var/run/docker.sock", "/var/run/docker.sock"),
    ),
    container("metrics", "oliver006/redis_exporter:v1"),
]


def test_every_kind_of_source_is_found_with_its_reason() -> None:
    found = propose("shop", STACK)
    sources = {one.source.name: one for one in found.found}
    assert {name: one.reason for name, one in sources.items()} == {
        "clickhouse/events": "image ghcr.io/acme/shop-clickhouse:1",
        "mysql/legacy": "image mariadb:11",
        "postgres/db": "image postgres:17@sha256:00",
        "redis/queue": "image redis:7",
        "volume/uploads": "written by api",
    }
    assert sources["postgres/db"].source == Postgres(name="postgres/db", user="taskflow")
    assert sources["postgres/db"].place.container == "id-db"
    assert sources["redis/queue"].source == Redis(
        name="redis/queue", login=Login("redis", "default", "file:/run/secrets/redis_password")
    )
    assert sources["clickhouse/events"].source == ClickHouse(
        name="clickhouse/events", login=Login("clickhouse", "web", "env:CLICKHOUSE_PASSWORD")
    )
    assert sources["mysql/legacy"].source == Mysql(
        name="mysql/legacy", login=Login("mysql", "root", "file:/run/secrets/maria")
    )
    assert sources["volume/uploads"].place.volume == "shop_uploads"


def test_what_is_left_out_has_a_reason() -> None:
    assert dict(propose("shop", STACK).left) == {
        "redis/cache": "a cache: it evicts any key when memory is short (allkeys-lru)",
        "volume shop_db_data": "its data is in postgres/db",
        "volume shop_queue_data": "its data is in redis/queue",
        "volume shop_cache_data": "its data is in redis/cache",
        "volume shop_ch": "its data is in clickhouse/events",
        "volume shop_my": "its data is in mysql/legacy",
        "volume shared_certs": "proxy only reads it",
    }


def test_what_would_be_lost_is_told() -> None:
    assert propose("shop", STACK).warnings == (
        "api writes to /tmp/work in a volume without a name: it is not captured, and lost when the container is made "
        "anew; name it",
        "proxy writes to /srv/www on this host: it is captured only if you list it as a path",
    )


def test_no_secret_is_in_what_discovery_says() -> None:
    assert "canary-0123" not in repr(propose("shop", STACK))


def test_a_database_that_is_down_is_still_a_source() -> None:
    found = propose("shop", [container("db", "postgres:17", running=False)])
    assert [one.source.name for one in found.found] == ["postgres/db"]
    assert found.warnings == ("db keeps its data in no volume: it is lost when the container is made anew",)


def test_of_several_containers_one_that_runs_is_taken() -> None:
    two = [container("db", "postgres:17", running=False, id="old"), container("db", "postgres:17", id="new")]
    found = propose("shop", two)
    assert found.found[0].place.container == "new"
    assert found.warnings[0].startswith("db has 2 containers")


@pytest.mark.parametrize(
    ("image", "words", "mounts", "kind"),
    [
        ("docker.io/library/postgres:17", (), (), "postgres"),
        ("pgvector/pgvector:pg17", (), (), "postgres"),
        ("ghcr.io/acme/oneglanse-db:latest", (), (volume("x", "/var/lib/postgresql/data"),), "postgres"),
        ("ghcr.io/acme/queue:1", ("redis-server", "/etc/redis.conf"), (), "redis"),
        ("valkey/valkey:8", (), (), "redis"),
        ("acme/thing:1", ("/usr/sbin/mariadbd",), (), "mysql"),
        ("percona:8", (), (), "mysql"),
        ("clickhouse/clickhouse-server:25", (), (), "clickhouse"),
        ("prometheuscommunity/postgres-exporter", (), (), None),
        ("rediscommander/redis-commander", (), (), None),
        ("phpmyadmin:5", (), (), None),
        ("edoburu/pgbouncer", (), (), None),
        ("ghcr.io/acme/web:1", ("node", "server.js"), (volume("x", "/data"),), None),
    ],
)
def test_databases_are_known_by_image_program_or_data(
    image: str, words: tuple[str, ...], mounts: tuple[dict[str, Any], ...], kind: str | None
) -> None:
    found = recognise(container("x", image, *mounts, cmd=list(words)))
    assert (found[0].kind if found else None) == kind


@pytest.mark.parametrize(
    ("words", "cache"),
    [
        (["redis-server", "--maxmemory-policy", "allkeys-lfu"], True),
        (["redis-server", "--save", "", "--appendonly", "no"], True),
        (["redis-server", "--save", ""], True),
        (["redis-server", "--save", "", "--appendonly", "yes"], False),
        (["redis-server", "--appendonly", "yes", "--maxmemory-policy", "noeviction"], False),
        (["sh", "-c", "redis-server --save '' --maxmemory 5mb"], True),
        (["redis-server", "--maxmemory-policy", "volatile-lru"], False),
        (["redis-server"], False),
    ],
)
def test_a_cache_is_one_that_may_forget(words: list[str], cache: bool) -> None:
    assert bool(forgets(container("c", "redis:7", cmd=words))) is cache


def said(*wanted: Wanted, leave: tuple[str, ...] = ()) -> dict[str, Any]:
    done = corrected(propose("shop", STACK), Corrections(wanted, leave), "shop", STACK)
    return {one.source.name: one for one in done.found} | {"left": dict(done.left)}


def test_a_listed_source_takes_the_place_of_the_one_that_was_found() -> None:
    found = said(
        Wanted(kind="postgres", service="db", user="admin", password="file:/run/secrets/db", count=False),
        Wanted(kind="redis", service="cache", method="aof"),
        Wanted(kind="volume", volume="uploads", exclude=("*.tmp",)),
    )
    login = Login("postgres", "admin", "file:/run/secrets/db")
    assert found["postgres/db"].source == Postgres(name="postgres/db", user="admin", login=login, count=False)
    assert found["redis/cache"].source == Redis(name="redis/cache", method="aof", always=True)
    assert "redis/cache" not in found["left"]
    assert found["volume/uploads"].source == Volume(name="volume/uploads", exclude=("*.tmp",))
    assert found["volume/uploads"].place.volume == "shop_uploads"


def test_paths_and_files_are_captured_when_listed() -> None:
    found = said(
        Wanted(kind="path", path="/srv/www", exclude=("cache/*",)),
        Wanted(kind="sqlite", volume="shop_uploads", file="db/app.sqlite"),
        Wanted(kind="clickhouse", service="events", label="main"),
    )
    assert found["path/srv-www"].source == Directory(name="path/srv-www", exclude=("cache/*",))
    assert found["path/srv-www"].place.path == "/srv/www"
    sqlite = found["sqlite/shop_uploads.db-app.sqlite"]
    assert (sqlite.source, sqlite.place.volume) == (
        Sqlite(name="sqlite/shop_uploads.db-app.sqlite", file="db/app.sqlite"),
        "shop_uploads",
    )
    assert found["clickhouse/main"].place.container == "id-events"


def test_a_source_can_be_left_out() -> None:
    found = said(leave=("volume/uploads",))
    assert "volume/uploads" not in found
    assert found["left"]["volume/uploads"] == "left out, as the configuration says"


@pytest.mark.parametrize(
    ("wanted", "leave", "message", "hint"),
    [
        ((Wanted(kind="postgres", service="dbb"),), (), "no service 'dbb'", "did you mean db?"),
        ((Wanted(kind="volume", volume="upload"),), (), "no volume 'upload'", "did you mean uploads?"),
        ((Wanted(kind="oracle", service="db"),), (), "no kind of source called oracle", "there are: clickhouse"),
        ((Wanted(kind="redis", service="queue", method="rdb"),), (), "no method 'rdb'", "save or aof"),
        ((Wanted(kind="sqlite", volume="uploads"),), (), "which file", "relative to the volume"),
        ((Wanted(kind="redis", service="queue", password="hunter2"),), (), "no place for a password", "env:NAME"),
        ((), ("volume/upload",), "no source volume/upload to leave out", "did you mean volume/uploads?"),
    ],
)
def test_what_is_not_there_is_told_with_what_is(
    wanted: tuple[Wanted, ...], leave: tuple[str, ...], message: str, hint: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        said(*wanted, leave=leave)
    assert hint in caught.value.hint


def test_sqlite_files_are_found_by_name_and_first_bytes(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/app.sqlite3").write_bytes(b"SQLite format 3\0" + bytes(84))
    (tmp_path / "plain.db").write_bytes(b"Berkeley, not SQLite")
    (tmp_path / "named.txt").write_bytes(b"SQLite format 3\0")
    (tmp_path / "link.db").symlink_to(tmp_path / "deep/app.sqlite3")
    assert sqlite_files(tmp_path) == ["deep/app.sqlite3"]


def test_who_speaks_to_a_listed_source_stays_as_discovered_unless_it_is_said() -> None:
    found = said(
        Wanted(kind="postgres", service="db"),
        Wanted(kind="redis", service="queue", method="aof"),
        Wanted(kind="mysql", service="legacy", user="backup"),
        Wanted(kind="clickhouse", service="events", password="env:OTHER"),
    )
    assert found["postgres/db"].source.user == "taskflow"
    assert found["redis/queue"].source.login.place == "file:/run/secrets/redis_password"
    assert found["redis/queue"].source.method == "aof"
    assert (found["mysql/legacy"].source.login.user, found["mysql/legacy"].source.login.place) == (
        "backup", "file:/run/secrets/maria",
    )  # fmt: skip
    assert found["clickhouse/events"].source.login.place == "env:OTHER"
