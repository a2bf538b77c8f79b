"""PostgreSQL's log shipped, and a database recovered to a moment between two rows."""

import subprocess
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.source_boxes import DOCKER, Boxes, Vault, boxes, until, within
from toolkit.lab import Lab
from toolkit.sources.protocol import Place
from toolkit.sources.stored import FromSnapshot
from toolkit.sources.wal import Wal
from toolkit.sources.wal_choose import choose
from toolkit.sources.wal_recover import recover
from toolkit.words.errors import HostError

pytestmark = pytest.mark.lab

DATA = "/var/lib/postgresql/data"
WAL = Wal(name="wal/db", user="app")


def sql(container: str, text: str) -> str:
    return within(container, "psql", "--no-psqlrc", "-qAt", "-v", "ON_ERROR_STOP=1", "-U", "app", stdin=text).strip()


def server(made: Boxes, volume: str, *words: str) -> str:
    env = ("--env", "POSTGRES_USER=app", "--env", "POSTGRES_PASSWORD_FILE=/run/secrets/password")
    container = made.start("postgres", *words, options=(*env, *made.secret()), mount=DATA, volume=volume)
    until(lambda: within(container, "pg_isready", "-q", "-h", "127.0.0.1") == "")
    return container


def ship(vault: Vault, container: str) -> int:
    """Ship what was written since the last time, and return how many files that took."""
    with WAL.segments(DOCKER, Place(container=container)) as capture:
        if capture.skipped:
            return 0
        report = vault.save(list(capture.inputs))
        assert (report.outcome, report.unread) == ("complete", ())
        WAL.shipped(DOCKER, Place(container=container), capture.inputs[0].facts())
        return len(capture.inputs)


def now(container: str) -> datetime:
    return datetime.fromisoformat(sql(container, "SELECT to_char(clock_timestamp(), 'YYYY-MM-DD\"T\"HH24:MI:SS.USOF')"))


@pytest.fixture(scope="module")
def made(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Boxes]:
    with boxes(lab, tmp_path_factory.mktemp("wal")) as found:
        yield found


@pytest.fixture(scope="module")
def shipped(made: Boxes, tmp_path_factory: pytest.TempPathFactory) -> tuple[Vault, datetime, str]:
    """A vault with a base and shippings after it, the moment between two rows, and a server that was then destroyed."""
    vault = Vault(tmp_path_factory.mktemp("vault"))
    # More than a server allows for by itself: whoever plays its log has to allow for as much.
    db = server(made, made.volume(), "postgres", "-c", "max_connections=250", "-c", "max_prepared_transactions=9")
    sql(db, "CREATE TABLE rows (word text); INSERT INTO rows VALUES ('before the base')")
    with WAL.base(DOCKER, Place(container=db)) as capture:
        sql(db, "INSERT INTO rows SELECT md5(i::text) FROM generate_series(1, 50000) i")
        assert vault.save(list(capture.inputs)).outcome == "complete"
    assert ship(vault, db) >= 1
    # More than one segment, and one that grows while it is shipped twice.
    sql(db, "INSERT INTO rows SELECT repeat(md5(i::text), 10) FROM generate_series(1, 100000) i")
    assert ship(vault, db) >= 2
    # A base serves the moments after the second in which it was finished.
    time.sleep(1.1)
    sql(db, "INSERT INTO rows VALUES ('the last one wanted')")
    between = now(db)
    sql(db, "INSERT INTO rows VALUES ('the first one not wanted')")
    assert ship(vault, db) >= 1
    sql(db, "DELETE FROM rows")
    assert ship(vault, db) >= 1
    # A server at rest has nothing to ship, once its own housekeeping is over.
    until(lambda: ship(vault, db) == 0)
    assert [verdict.state for verdict in WAL.status(DOCKER, Place(container=db))] == ["good"]
    subprocess.run(["docker", "rm", "--force", "--volumes", db], check=True, capture_output=True)
    return vault, between, made.image("postgres")


def stored(vault: Vault) -> list[FromSnapshot]:
    repository = vault.host.repository()
    return [FromSnapshot(repository.open(name), WAL.name) for name in repository.snapshots()]


def test_a_database_comes_back_as_it_was_between_two_rows(made: Boxes, shipped: tuple[Vault, datetime, str]) -> None:
    vault, between, image = shipped
    chosen = choose(vault.host.repository(), "postgres/db", between)
    base, log = chosen.stored(chosen.base), [chosen.stored(link) for link in chosen.log]
    assert 0 < len(log) < len(stored(vault)) - 1
    volume = made.volume()
    reached = recover(DOCKER, base, log, Place(volume=volume, image=image), to=between, user="app", beyond=4)
    assert datetime.fromisoformat(reached.moment) == between
    assert (
        datetime.fromisoformat(base.facts("base.tar")["moment"])
        < datetime.fromisoformat(reached.last_commit)
        <= between
    )
    back = server(made, volume)
    assert sql(back, "SELECT count(*) FROM rows") == "150002"
    assert sql(back, "SELECT word FROM rows WHERE word LIKE 'the %'") == "the last one wanted"
    assert sql(back, "SELECT pg_is_in_recovery()") == "f"
    assert "toolkit" not in within(back, "ls", "-A", DATA)
    # It is an ordinary server: its log can be shipped from here on.
    with WAL.base(DOCKER, Place(container=back)) as capture:
        # Behind those that other lives of it are known to have.
        assert capture.inputs[0].facts()["timeline"] == 5


def test_the_end_of_the_log_is_the_last_thing_that_happened(made: Boxes, shipped: tuple[Vault, datetime, str]) -> None:
    vault, _, image = shipped
    base, *log = stored(vault)
    volume = made.volume()
    recover(DOCKER, base, log, Place(volume=volume, image=image), user="app")
    assert sql(server(made, volume), "SELECT count(*) FROM rows") == "0"


def test_a_gap_in_the_chain_and_a_moment_beyond_it_are_told_before_anything_is_done(
    made: Boxes, shipped: tuple[Vault, datetime, str]
) -> None:
    vault, between, image = shipped
    base, first, _, *rest = stored(vault)
    place = Place(volume=made.volume(), image=image)
    with pytest.raises(HostError, match=r"gap: the log from 0/\w+ to 0/\w+ was never shipped"):
        recover(DOCKER, base, [first, *rest], place, to=between, user="app")
    with pytest.raises(HostError, match="the log reaches to"):
        recover(DOCKER, *_base_and_log(vault), place, to=between + timedelta(days=1), user="app")


def _base_and_log(vault: Vault) -> tuple[FromSnapshot, list[FromSnapshot]]:
    base, *log = stored(vault)
    return base, log


def test_log_that_the_server_dropped_is_an_alarm(made: Boxes, tmp_path: Path) -> None:
    db = server(made, made.volume())
    place = Place(container=db)
    assert [verdict.state for verdict in WAL.status(DOCKER, place)] == ["bad"]
    WAL.enable(DOCKER, place)
    assert sql(db, "SHOW max_slot_wal_keep_size") == "4GB"
    assert [verdict.state for verdict in WAL.status(DOCKER, place)] == ["good"]
    sql(db, "ALTER SYSTEM SET max_slot_wal_keep_size = '16MB'; ALTER SYSTEM SET max_wal_size = '32MB'")
    sql(db, "SELECT pg_reload_conf()")
    sql(db, "CREATE TABLE t AS SELECT repeat(md5(i::text), 10) FROM generate_series(1, 300000) i")
    sql(db, "SELECT pg_switch_wal(); CHECKPOINT; CHECKPOINT")
    until(lambda: sql(db, "SELECT wal_status FROM pg_replication_slots") == "lost")
    (verdict,) = WAL.status(DOCKER, place)
    assert verdict.state == "bad"
    assert "gap" in verdict.evidence
    assert "take a new base" in verdict.evidence
    with pytest.raises(HostError, match="gap"), WAL.segments(DOCKER, place):
        pass
    # Enabling it again would only hide the gap; a base ends it.
    WAL.enable(DOCKER, place)
    assert [verdict.state for verdict in WAL.status(DOCKER, place)] == ["bad"]
    with WAL.base(DOCKER, place):
        assert [verdict.state for verdict in WAL.status(DOCKER, place)] == ["good"]
    WAL.disable(DOCKER, place)
    assert sql(db, "SELECT count(*) FROM pg_replication_slots") == "0"
