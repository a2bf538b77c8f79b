"""ClickHouse 18.16 as a source: frozen parts into a fresh server, and what must be noticed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.source_boxes import DOCKER, PASSWORD, Boxes, Vault, boxes, until, watching, within
from toolkit.drill import ask
from toolkit.drill.wish import Query
from toolkit.lab import Lab
from toolkit.sources.clickhouse import ClickHouse
from toolkit.sources.login import Login
from toolkit.sources.paths import mountpoint
from toolkit.sources.protocol import Place
from toolkit.words.errors import HostError

pytestmark = pytest.mark.lab

SOURCE = ClickHouse(name="clickhouse/ch", login=Login("clickhouse", "default", "file:/run/secrets/password"))
SAY = 'exec clickhouse-client --multiquery --password "$(cat /run/secrets/password)"'
CONTENT = """
CREATE DATABASE shop;
CREATE TABLE shop.events (day Date, id UInt64, body String) ENGINE = MergeTree PARTITION BY toYYYYMM(day) ORDER BY id;
CREATE MATERIALIZED VIEW shop.daily ENGINE = SummingMergeTree ORDER BY day AS
    SELECT day, count() AS events FROM shop.events GROUP BY day;
INSERT INTO shop.events SELECT toDate('2024-01-01') + number % 90, number, toString(number) FROM numbers(200000);
CREATE TABLE shop.`odd.na``me` (a UInt8) ENGINE = ReplacingMergeTree ORDER BY a;
INSERT INTO shop.`odd.na``me` SELECT number % 5 FROM numbers(10);
CREATE TABLE shop.notes (a UInt32) ENGINE = Log;
INSERT INTO shop.notes SELECT number FROM numbers(100);
CREATE TABLE shop.old (day Date, a UInt32) ENGINE = MergeTree(day, a, 8192);
INSERT INTO shop.old SELECT toDate('2024-01-01') + number, number FROM numbers(90);
INSERT INTO shop.old SELECT toDate('2024-01-01'), number FROM numbers(10);
CREATE TABLE shop.empty (a UInt32) ENGINE = MergeTree ORDER BY a;
CREATE TABLE shop.gone (a UInt32) ENGINE = Memory;
CREATE VIEW shop.newest AS SELECT * FROM shop.events ORDER BY id DESC LIMIT 10;
"""


def sql(container: str, text: str) -> str:
    return within(container, "sh", "-c", SAY, stdin=text).strip()


def server(made: Boxes, volume: str) -> str:
    options = ("--env", "CLICKHOUSE_PASSWORD_FILE=/run/secrets/password", *made.secret())
    container = made.start("clickhouse", options=options, mount="/var/lib/clickhouse", volume=volume)
    until(lambda: sql(container, "SELECT 1") == "1")
    return container


@pytest.fixture(scope="module")
def made(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Boxes]:
    with boxes(lab, tmp_path_factory.mktemp("clickhouse")) as found:
        yield found


@pytest.fixture(scope="module")
def volume(made: Boxes) -> str:
    return made.volume()


@pytest.fixture(scope="module")
def db(made: Boxes, volume: str) -> str:
    container = server(made, volume)
    sql(container, CONTENT)
    return container


@pytest.fixture(scope="module")
def restored(made: Boxes, db: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, Vault]:
    vault = Vault(tmp_path_factory.mktemp("vault"))
    with SOURCE.capture(DOCKER, Place(container=db)) as capture:
        # What comes after the freeze is not in it.
        sql(db, "INSERT INTO shop.events SELECT toDate('2025-01-01'), number, 'later' FROM numbers(1000)")
        report = vault.save(list(capture.inputs))
    assert (report.outcome, report.unread, report.changed) == ("complete", (), ())
    volume = made.volume()
    fresh = server(made, volume)
    SOURCE.load(DOCKER, vault.stored(SOURCE), Place(container=fresh))
    return fresh, volume, vault


def test_everything_comes_back_into_a_fresh_server(db: str, volume: str, restored: tuple[str, str, Vault]) -> None:
    fresh, target, vault = restored
    probe = SOURCE.probe(DOCKER, Place(container=fresh), vault.facts(SOURCE))
    assert probe.good, probe
    assert probe.counts["shop.events"] == 200000
    for text in (
        "SELECT sum(cityHash64(id, body)) FROM shop.events WHERE day < '2025-01-01'",
        "SELECT sum(events) FROM shop.daily WHERE day < '2025-01-01'",
        "SELECT sum(a), count() FROM shop.notes",
        "SELECT DISTINCT a FROM shop.`odd.na``me` ORDER BY a",
        "SELECT name, engine FROM system.tables WHERE database = 'shop' ORDER BY name",
        "SELECT count(), sum(a) FROM shop.old",
        "SELECT count() FROM shop.empty",
        "SELECT max(id) FROM shop.newest WHERE id < 200000",
    ):
        assert sql(fresh, text) == sql(db, text)
    # The view goes on working: it was made after the rows were there, and counts what comes.
    before = int(sql(fresh, "SELECT sum(events) FROM shop.daily"))
    sql(fresh, "INSERT INTO shop.events VALUES ('2026-01-01', 1, 'new')")
    assert int(sql(fresh, "SELECT sum(events) FROM shop.daily")) == before + 1
    for name in (volume, target):
        assert not [*(mountpoint(DOCKER, name) / "shadow").glob("toolkit/*")]
        assert not (mountpoint(DOCKER, name) / "toolkit-load").exists()


def test_a_drills_queries_are_answered(db: str) -> None:
    places = {SOURCE.name: (SOURCE, Place(container=db))}
    assert ask.ask(DOCKER, places, Query(SOURCE.name, "SELECT count() FROM shop.notes")) == "100"
    assert ask.ask(DOCKER, places, Query(SOURCE.name, "SELECT toDateTime(1700000000) AS at")).startswith("2023-11-1")
    assert ask.check(DOCKER, places, Query(SOURCE.name, "SELECT nonsense", equals="1"), None).state == "bad"


def test_the_manifest_says_what_was_captured_and_what_was_not(restored: tuple[str, str, Vault]) -> None:
    facts = restored[2].facts(SOURCE)["schema.json"]
    assert facts["version"].startswith("18.16")
    assert set(facts["schema_only"]) == {"shop.daily", "shop.gone", "shop.newest"}
    assert facts["counts"]["shop.odd.na`me"] == [1, 10]
    assert facts["counts"]["shop.notes"] == [100, 100]
    # Its parts have no record of their own.
    assert facts["counts"]["shop.old"] == 100
    assert facts["counts"]["shop.empty"] == 0


def test_a_second_capture_stores_parts_only_once(db: str, tmp_path: Path) -> None:
    vault = Vault(tmp_path)
    first = vault.capture(SOURCE, Place(container=db))
    second = vault.capture(SOURCE, Place(container=db))
    assert second.outcome == "complete"
    assert second.stored < first.stored / 20


def test_a_server_with_tables_is_written_over_only_if_told_to(restored: tuple[str, str, Vault]) -> None:
    fresh, _, vault = restored
    with pytest.raises(HostError, match=r"has shop\.\.inner\.daily already"):
        SOURCE.load(DOCKER, vault.stored(SOURCE), Place(container=fresh))
    SOURCE.load(DOCKER, vault.stored(SOURCE), Place(container=fresh, replace=True))
    assert SOURCE.probe(DOCKER, Place(container=fresh), vault.facts(SOURCE)).good


def test_a_password_shows_nowhere_and_a_wrong_one_is_told(db: str, tmp_path: Path) -> None:
    with watching() as seen:
        assert Vault(tmp_path).capture(SOURCE, Place(container=db)).outcome == "complete"
    assert seen == set()
    assert ".toolkit" not in within(db, "ls", "-A", "/dev/shm")
    for login in (None, Login("clickhouse", "default", "file:/etc/hostname")):
        with (
            pytest.raises(HostError) as caught,
            ClickHouse(name="clickhouse/ch", login=login).capture(DOCKER, Place(container=db)),
        ):
            pass
        assert "password" in caught.value.message.lower()
        assert "file:/run/secrets" in caught.value.hint
        assert PASSWORD not in str(caught.value)


def test_a_damaged_part_is_found_by_the_probe(restored: tuple[str, str, Vault]) -> None:
    fresh, volume, vault = restored
    column = next((mountpoint(DOCKER, volume) / "data/shop/events").glob("202402*/body.bin"))
    content = bytearray(column.read_bytes())
    content[len(content) // 2] ^= 1
    column.write_bytes(content)
    probe = SOURCE.probe(DOCKER, Place(container=fresh), vault.facts(SOURCE))
    assert [verdict.what for verdict in probe.verdicts if verdict.state == "bad"] == ["read shop.events"]
    assert "Checksum doesn't match" in next(each.evidence for each in probe.verdicts if each.state == "bad")
