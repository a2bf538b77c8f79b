"""PostgreSQL 17 as a source: round trips while it works, and every way in which a dump can fail."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.source_boxes import DOCKER, PASSWORD, Boxes, Vault, boxes, interrupted, until, watching, within
from toolkit.lab import Lab
from toolkit.repository import restore
from toolkit.repository.inputs import Input
from toolkit.repository.restore import How
from toolkit.sources.barrier import barrier
from toolkit.sources.discover import Found
from toolkit.sources.login import Login
from toolkit.sources.postgres import Postgres
from toolkit.sources.protocol import Place
from toolkit.sources.stored import FromFolder
from toolkit.words.errors import HostError

pytestmark = pytest.mark.lab

DATA = "/var/lib/postgresql/data"
SOURCE = Postgres(name="postgres/db", user="app")
CONTENT = """
CREATE ROLE reader LOGIN PASSWORD 'reader''s own';
CREATE TABLE events (id bigserial PRIMARY KEY, body text NOT NULL);
INSERT INTO events (body) SELECT repeat(md5(i::text), 4) FROM generate_series(1, 120000) i;
CREATE INDEX ON events (body);
CREATE TABLE "odd ""name"", with.dots" (x int);
CREATE SCHEMA shop;
CREATE TABLE shop.orders (id int PRIMARY KEY, event bigint REFERENCES public.events);
INSERT INTO shop.orders SELECT i, i FROM generate_series(1, 100) i;
GRANT SELECT ON shop.orders TO reader;
CREATE MATERIALIZED VIEW totals AS SELECT count(*) FROM events;
CREATE VIEW newest AS SELECT * FROM events ORDER BY id DESC LIMIT 10;
CREATE FUNCTION twice(n int) RETURNS int LANGUAGE sql AS 'SELECT n * 2';
SELECT lo_from_bytea(0, 'a large object');
CREATE DATABASE "we'ird /db" ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0;
\\connect "we'ird /db"
CREATE EXTENSION pg_trgm;
CREATE TABLE small (word text);
INSERT INTO small VALUES ('one'), ('two');
"""


def sql(container: str, text: str, database: str = "app") -> str:
    words = ("psql", "--no-psqlrc", "-qAt", "-v", "ON_ERROR_STOP=1", "-U", "app", "-d", database)
    return within(container, *words, stdin=text).strip()


def server(made: Boxes, volume: str = "", *options: str) -> str:
    env = ("--env", "POSTGRES_USER=app", "--env", "POSTGRES_PASSWORD_FILE=/run/secrets/password")
    # Sessions that wait are not everywhere as welcome as by default.
    strict = ("postgres", "-c", "idle_in_transaction_session_timeout=200ms", "-c", "statement_timeout=60s")
    container = made.start("postgres", *strict, options=(*env, *made.secret(), *options), mount=DATA, volume=volume)
    # Over TCP: on the socket it answers while it is still being made.
    until(lambda: within(container, "pg_isready", "-q", "-h", "127.0.0.1") == "")
    return container


@pytest.fixture(scope="module")
def made(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Boxes]:
    with boxes(lab, tmp_path_factory.mktemp("postgres")) as found:
        yield found


@pytest.fixture(scope="module")
def db(made: Boxes) -> str:
    container = server(made)
    sql(container, CONTENT)
    return container


@pytest.fixture(scope="module")
def restored(made: Boxes, db: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, Vault]:
    """A fresh server with what was captured while somebody wrote."""
    vault = Vault(tmp_path_factory.mktemp("vault"))
    with SOURCE.capture(DOCKER, Place(container=db)) as capture:
        # After the moment, before the dump has begun, and while it runs: none of it belongs to the capture.
        write = (
            "INSERT INTO events (body) SELECT 'later' FROM generate_series(1, 20); DELETE FROM shop.orders WHERE id < 3"
        )
        sql(db, write)
        report = vault.save([interrupted(given, lambda: sql(db, write), after=1) for given in capture.inputs])
    assert (report.outcome, report.unread) == ("complete", ())
    volume = made.volume()
    fresh = server(made, volume)
    SOURCE.load(DOCKER, vault.stored(SOURCE), Place(container=fresh, replace=True))
    return fresh, volume, vault


def test_everything_comes_back_into_a_fresh_server(db: str, restored: tuple[str, str, Vault]) -> None:
    fresh, _, vault = restored
    probe = SOURCE.probe(DOCKER, Place(container=fresh), vault.facts(SOURCE))
    assert probe.good, [verdict for verdict in probe.verdicts if verdict.state != "good"]
    assert probe.counts["we'ird /db: public.small"] == 2
    assert (probe.counts["app: public.events"], probe.counts["app: shop.orders"]) == (120000, 100)
    assert int(sql(db, "SELECT count(*) FROM events")) > 120000
    for text in (
        "SELECT rolname, rolpassword FROM pg_authid WHERE rolname IN ('app', 'reader') ORDER BY 1",
        "SELECT indexdef FROM pg_indexes WHERE schemaname IN ('public', 'shop') ORDER BY 1",
        "SELECT twice(21), convert_from(lo_get((SELECT oid FROM pg_largeobject_metadata)), 'UTF8')",
        "SELECT has_table_privilege('reader', 'shop.orders', 'SELECT')",
        "SELECT datname, pg_encoding_to_char(encoding), datcollate FROM pg_database ORDER BY 1",
        "SELECT md5(string_agg(body, '' ORDER BY id)) FROM events WHERE id <= 120000",
    ):
        assert sql(fresh, text) == sql(db, text)
    assert sql(fresh, "SELECT extname FROM pg_extension ORDER BY 1", "we'ird /db") == "pg_trgm\nplpgsql"


def test_the_manifest_says_what_was_captured(db: str, restored: tuple[str, str, Vault]) -> None:
    facts = restored[2].facts(SOURCE)["databases/app.dump"]
    assert facts["version"].startswith("17.")
    assert facts["image"].startswith("sha256:")
    assert facts["counts"]['public.odd "name", with.dots'] == 0
    assert facts["counts"]["large objects"] == 1
    assert facts["extensions"] == ["plpgsql 1.0"]
    assert int(sql(db, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")) == 1


def test_a_server_with_databases_is_not_written_over_by_accident(restored: tuple[str, str, Vault]) -> None:
    fresh, _, vault = restored
    with pytest.raises(HostError, match="has app, we'ird /db already"):
        SOURCE.load(DOCKER, vault.stored(SOURCE), Place(container=fresh))


def terminate(container: str) -> None:
    sql(container, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pg_dump'")


def docker(*words: str) -> None:
    subprocess.run(["docker", *words], check=True, capture_output=True)


def meanwhile(*words: str) -> None:
    """The Engine waits for whoever does not read on, so it is not waited for."""
    subprocess.Popen(["docker", *words], stdout=subprocess.DEVNULL)


def awake(container: str) -> None:
    """Have a server running again that was killed, restarted or neither."""

    def ready() -> bool:
        docker("start", container)
        return within(container, "pg_isready", "-q", "-h", "127.0.0.1") == ""

    until(ready)


@pytest.mark.parametrize(
    "action",
    [
        pytest.param(lambda container: meanwhile("kill", container), id="killed"),
        pytest.param(lambda container: meanwhile("restart", container), id="restarted"),
        pytest.param(terminate, id="session ended"),
    ],
)
def test_a_database_that_goes_during_its_dump_is_a_failed_source(db: str, tmp_path: Path, action) -> None:
    vault = Vault(tmp_path)

    def change(given: Input) -> Input:
        return interrupted(given, lambda: action(db)) if given.name.endswith("/app.dump") else given

    try:
        report = vault.capture(SOURCE, Place(container=db), change)
    finally:
        awake(db)
    assert report.outcome == "incomplete"
    assert report.unread[0][0] == "postgres/db/databases/app.dump"
    assert "databases/app.dump" not in vault.stored(SOURCE).names
    assert dumping(db) == ""


def dumping(container: str) -> str:
    return within(container, "sh", "-c", "grep -l pg_dump /proc/[0-9]*/comm || true")


def test_a_database_that_is_down_is_a_failed_source_and_the_rest_is_captured(
    made: Boxes, db: str, tmp_path: Path
) -> None:
    down = Found(Postgres(name="postgres/down"), Place(container=made.lab.home.name("no-such")), "")
    with barrier(DOCKER, "none", [down, Found(SOURCE, Place(container=db), "")], notes=tmp_path / "notes") as held:
        report = Vault(tmp_path).save(held.inputs, facts={"barrier": held.facts})
    assert report.outcome == "incomplete"
    assert [path for path, _ in report.unread] == ["postgres/down"]
    facts = Vault(tmp_path).newest().manifest.facts["barrier"]
    assert facts["moments"].keys() == {"postgres/db"}
    assert facts["skew_seconds"] == 0


def test_a_dump_that_hangs_is_given_up_and_ended(db: str, tmp_path: Path) -> None:
    source = Postgres(name="postgres/db", user="app", patience=2, count=False)
    holding = [
        "docker",
        "exec",
        "-i",
        db,
        "env",
        "PGOPTIONS=-c idle_in_transaction_session_timeout=0",
        "psql",
        "-qU",
        "app",
    ]
    with subprocess.Popen(holding, stdin=subprocess.PIPE, text=True) as session:
        assert session.stdin
        session.stdin.write("BEGIN; LOCK shop.orders IN ACCESS EXCLUSIVE MODE;\n")
        session.stdin.flush()
        until(lambda: sql(db, "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock'") != "0")
        report = Vault(tmp_path).capture(source, Place(container=db))
        session.stdin.close()
    assert [path for path, _ in report.unread] == ["postgres/db/databases/app.dump"]
    assert "nothing moved for 2 s" in report.unread[0][1]
    assert dumping(db) == ""


def test_a_damaged_dump_is_not_loaded(restored: tuple[str, str, Vault], tmp_path: Path) -> None:
    fresh, _, vault = restored
    restore(vault.newest(), tmp_path / "out", How(below=SOURCE.name))
    folder = FromFolder(tmp_path / "out", vault.facts(SOURCE))
    assert folder.names == vault.stored(SOURCE).names
    dump = tmp_path / "out/databases/app.dump"
    os.truncate(dump, dump.stat().st_size // 2)
    with pytest.raises(HostError, match=r"pg_restore of databases/app\.dump failed with exit code 1"):
        SOURCE.load(DOCKER, folder, Place(container=fresh, replace=True))
    # It can be loaded over, once there is a whole one.
    SOURCE.load(DOCKER, vault.stored(SOURCE), Place(container=fresh, replace=True))
    assert SOURCE.probe(DOCKER, Place(container=fresh), vault.facts(SOURCE)).good


def test_a_full_disk_ends_a_load_with_its_reason(made: Boxes, restored: tuple[str, str, Vault]) -> None:
    small = made.volume("--opt", "type=tmpfs", "--opt", "device=tmpfs", "--opt", "o=size=72m")
    container = server(made, small)
    with pytest.raises(HostError) as caught:
        SOURCE.load(DOCKER, restored[2].stored(SOURCE), Place(container=container, replace=True))
    assert "the server's disk is full" in caught.value.message
    assert "make room" in caught.value.hint


def test_a_password_is_read_in_the_container_and_shows_nowhere(db: str, tmp_path: Path) -> None:
    hba = f"{DATA}/pg_hba.conf"
    within(db, "sh", "-c", f"cp {hba} {hba}.before; echo 'local all all scram-sha-256' > {hba}")
    try:
        within(db, "sh", "-c", f"kill -HUP $(head -1 {DATA}/postmaster.pid)")
        right = Postgres(name="postgres/db", user="app", login=Login("postgres", "app", "file:/run/secrets/password"))
        with watching() as seen:
            report = Vault(tmp_path / "right").capture(right, Place(container=db))
        assert report.outcome == "complete"
        assert seen == set()
        assert ".toolkit" not in within(db, "ls", "-A", "/dev/shm")
        for login in (None, Login("postgres", "app", "file:/etc/hostname"), Login("postgres", "app", "file:/no/such")):
            wrong = Postgres(name="postgres/db", user="app", login=login)
            with pytest.raises(HostError) as caught, wrong.capture(DOCKER, Place(container=db)):
                pass
            assert "file:/run/secrets" in caught.value.hint
            assert PASSWORD not in str(caught.value)
    finally:
        within(db, "sh", "-c", f"mv {hba}.before {hba}; kill -HUP $(head -1 {DATA}/postmaster.pid)")


def test_what_looks_for_passwords_would_find_one() -> None:
    with watching() as seen:
        subprocess.run(["sleep", "0.5"], env={"PGPASSWORD": PASSWORD}, check=True)
    assert len(seen) == 1


def test_a_corrupt_page_is_found_by_the_probe_and_breaks_a_dump(
    restored: tuple[str, str, Vault], tmp_path: Path
) -> None:
    fresh, volume, vault = restored
    file = sql(fresh, "CHECKPOINT; SELECT pg_relation_filepath('events')").split("\n")[-1]
    docker("stop", fresh)
    mountpoint = DOCKER.inspect("volume", volume)[0]["Mountpoint"]
    with (Path(mountpoint) / file).open("r+b") as pages:
        pages.seek(1000 * 8192)
        pages.write(os.urandom(8192))
    docker("start", fresh)
    until(lambda: within(fresh, "pg_isready", "-q", "-h", "127.0.0.1") == "")
    probe = SOURCE.probe(DOCKER, Place(container=fresh), vault.facts(SOURCE))
    assert not probe.good
    bad = {verdict.what for verdict in probe.verdicts if verdict.state == "bad"}
    assert {"app: pg_amcheck", "app: counts"} <= bad
    report = Vault(tmp_path).capture(SOURCE, Place(container=fresh))
    assert report.outcome == "incomplete"
    assert "invalid page" in report.unread[0][1]
    assert "databases/app.dump" not in Vault(tmp_path).stored(SOURCE).names
