"""MariaDB 11.8 as a source: a round trip while it works, accounts included, and what must be noticed."""

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

import pytest

from tests.source_boxes import DOCKER, PASSWORD, Boxes, Vault, boxes, interrupted, until, watching, within
from toolkit.drill import ask
from toolkit.drill.wish import Query
from toolkit.lab import Lab
from toolkit.repository.inputs import Input
from toolkit.sources import mysql
from toolkit.sources.login import Login
from toolkit.sources.mysql import Mysql
from toolkit.sources.paths import mountpoint
from toolkit.sources.protocol import Place
from toolkit.words.errors import HostError

pytestmark = pytest.mark.lab

SOURCE = Mysql(name="mysql/db", login=Login("mysql", "root", "file:/run/secrets/password"))
SAY = """
umask 077
printf '[client]\\npassword="%s"\\n' "$(sed 's/[\\\\"]/\\\\&/g' /run/secrets/password)" >/dev/shm/test.cnf
exec mariadb --defaults-extra-file=/dev/shm/test.cnf --user=root --batch --skip-column-names
"""
CONTENT = """
CREATE DATABASE shop; USE shop;
CREATE TABLE orders (id int PRIMARY KEY AUTO_INCREMENT, body varchar(200)) ENGINE=InnoDB;
INSERT INTO orders (body) SELECT repeat(md5(seq), 4) FROM seq_1_to_100000;
CREATE TABLE old (a int, b blob) ENGINE=MyISAM;
INSERT INTO old VALUES (1, x'00ff0a5c27'), (2, NULL);
CREATE VIEW newest AS SELECT * FROM orders ORDER BY id DESC LIMIT 3;
DELIMITER //
CREATE PROCEDURE answer() BEGIN SELECT 42; END//
CREATE TRIGGER shout BEFORE INSERT ON orders FOR EACH ROW SET new.body = upper(new.body)//
DELIMITER ;
CREATE EVENT tidy ON SCHEDULE EVERY 1 DAY DO DELETE FROM orders WHERE id < 0;
CREATE DATABASE `odd ``name`;
CREATE TABLE `odd ``name`.`ta.ble` (x int);
CREATE ROLE reporting;
GRANT SELECT ON shop.* TO reporting;
CREATE USER app@'%' IDENTIFIED BY 'the app''s own';
GRANT SELECT, INSERT ON shop.* TO app@'%';
GRANT reporting TO app@'%';
"""


def sql(container: str, text: str) -> str:
    return within(container, "sh", "-c", SAY, stdin=text).strip()


def server(made: Boxes, volume: str = "") -> str:
    options = ("--env", "MARIADB_ROOT_PASSWORD_FILE=/run/secrets/password", *made.secret())
    container = made.start("mariadb", options=options, mount="/var/lib/mysql", volume=volume)
    until(lambda: sql(container, "SELECT 1") == "1")
    return container


@pytest.fixture(scope="module")
def made(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Boxes]:
    with boxes(lab, tmp_path_factory.mktemp("mysql")) as found:
        yield found


@pytest.fixture(scope="module")
def db(made: Boxes) -> str:
    container = server(made)
    sql(container, CONTENT)
    return container


def write_until(over: threading.Event, client: IO[str]) -> None:
    """Rows go on coming, and some of them come after what the event says is over."""
    more = True
    while more:
        more = not over.is_set()
        client.write("INSERT INTO orders (body) VALUES ('meanwhile');\n" * 50)
        client.flush()


@pytest.fixture(scope="module")
def restored(made: Boxes, db: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, Vault]:
    """A fresh server with what was captured while somebody wrote."""
    vault = Vault(tmp_path_factory.mktemp("vault"))
    line = ["docker", "exec", "-i", db, "sh", "-c", SAY]
    with subprocess.Popen(line, stdin=subprocess.PIPE, text=True) as client, ThreadPoolExecutor(1) as pool:
        assert client.stdin
        client.stdin.write("USE shop;\n")
        over = threading.Event()
        writing = pool.submit(write_until, over, client.stdin)
        try:
            report = vault.capture(SOURCE, Place(container=db))
        finally:
            over.set()
            writing.result()
    assert (report.outcome, report.unread) == ("complete", ())
    volume = made.volume()
    fresh = server(made, volume)
    SOURCE.load(DOCKER, vault.stored(SOURCE), Place(container=fresh))
    return fresh, volume, vault


def test_everything_comes_back_into_a_fresh_server(db: str, restored: tuple[str, str, Vault]) -> None:
    fresh, _, vault = restored
    probe = SOURCE.probe(DOCKER, Place(container=fresh), vault.facts(SOURCE))
    assert probe.good, probe
    assert probe.counts["odd `name.ta.ble"] == 0
    # Rows went on coming after the moment of the capture, so the same counts mean the same snapshot.
    assert int(sql(db, "SELECT count(*) FROM shop.orders")) > probe.counts["shop.orders"] >= 100000
    for text in (
        "SELECT md5(group_concat(hex(b))), count(*) FROM shop.old",
        "SELECT sum(crc32(body)) FROM shop.orders WHERE id <= 100000",
        "CALL shop.answer()",
        "SELECT trigger_name, action_statement FROM information_schema.triggers WHERE trigger_schema = 'shop'",
        "SELECT event_name, event_definition FROM information_schema.events",
        "SHOW CREATE USER app@'%'; SHOW GRANTS FOR app@'%'; SHOW GRANTS FOR reporting",
        "SHOW CREATE VIEW shop.newest",
        "SELECT @@global.net_write_timeout",
    ):
        assert sql(fresh, text) == sql(db, text)


def test_a_drills_queries_are_answered(db: str) -> None:
    places = {SOURCE.name: (SOURCE, Place(container=db))}
    asked = (
        ("shop", "SELECT count(*) FROM old", "2"),
        ("odd `name", "SELECT database()", "odd `name"),
        ("", "SELECT 1", "1"),
    )
    for database, query, answer in asked:
        assert ask.ask(DOCKER, places, Query(SOURCE.name, query, database)) == answer
    assert ask.check(DOCKER, places, Query(SOURCE.name, "SELECT nonsense", equals="1"), None).state == "bad"


def test_the_manifest_says_what_was_captured(restored: tuple[str, str, Vault]) -> None:
    facts = restored[2].facts(SOURCE)
    assert facts["databases.sql"]["engine"] == "MariaDB"
    assert facts["databases.sql"]["databases"] == ["odd `name", "shop"]
    assert facts["databases.sql"]["counts"]["shop.old"] == 2
    # Accounts of hosts that a server without name resolution cannot show are told, and not in the way.
    assert all("@" in account for account in facts["users.sql"]["unshown"])


def test_a_server_without_backup_stages_is_counted_under_a_read_lock(
    db: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mysql, "_HOLD", {"MariaDB": mysql._HOLD["MySQL"]})
    monkeypatch.setattr(mysql, "_RELEASE", {"MariaDB": mysql._RELEASE["MySQL"]})
    assert Vault(tmp_path).capture(SOURCE, Place(container=db)).outcome == "complete"
    assert "counts" in Vault(tmp_path).facts(SOURCE)["databases.sql"]
    assert sql(db, "INSERT INTO shop.old VALUES (3, NULL); DELETE FROM shop.old WHERE a = 3; SELECT 'free'") == "free"


def test_a_store_may_be_slower_than_the_server_is_patient(db: str, tmp_path: Path) -> None:
    sql(db, "SET GLOBAL net_write_timeout = 1")
    try:
        with SOURCE.capture(DOCKER, Place(container=db)) as capture:
            # What the server cannot send meanwhile is more than all buffers on the way hold.
            time.sleep(4)
            report = Vault(tmp_path).save(list(capture.inputs))
        assert (report.outcome, report.unread) == ("complete", ())
        assert sql(db, "SELECT @@global.net_write_timeout") == "1"
    finally:
        sql(db, "SET GLOBAL net_write_timeout = 60")


def test_a_password_shows_nowhere_and_a_wrong_one_is_told(db: str, tmp_path: Path) -> None:
    with watching() as seen:
        assert Vault(tmp_path).capture(SOURCE, Place(container=db)).outcome == "complete"
    assert seen == set()
    assert ".toolkit" not in within(db, "ls", "-A", "/dev/shm")
    for login in (None, Login("mysql", "root", "file:/etc/hostname")):
        with (
            pytest.raises(HostError) as caught,
            Mysql(name="mysql/db", login=login).capture(DOCKER, Place(container=db)),
        ):
            pass
        assert "Access denied" in caught.value.message
        assert "file:/run/secrets" in caught.value.hint
        assert PASSWORD not in str(caught.value)


def test_a_server_with_databases_is_not_written_over_by_accident(restored: tuple[str, str, Vault]) -> None:
    fresh, _, vault = restored
    with pytest.raises(HostError, match="has odd `name, shop already"):
        SOURCE.load(DOCKER, vault.stored(SOURCE), Place(container=fresh))


def test_a_dump_that_loses_its_server_is_a_failed_source(db: str, tmp_path: Path) -> None:
    def kill() -> None:
        dump = "info LIKE 'SELECT /*!40001 SQL_NO_CACHE%' AND id <> connection_id()"
        sql(db, f"SELECT id FROM information_schema.processlist WHERE {dump} INTO @id; KILL @id")

    def change(given: Input) -> Input:
        return interrupted(given, kill, after=1 << 20) if given.name.endswith("databases.sql") else given

    report = Vault(tmp_path).capture(SOURCE, Place(container=db), change)
    assert report.outcome == "incomplete"
    assert [path for path, _ in report.unread] == ["mysql/db/databases.sql"]
    assert "mariadb-dump failed with exit code" in report.unread[0][1]
    assert Vault(tmp_path).stored(SOURCE).names == ["users.sql"]


def test_a_damaged_table_is_found_by_the_probe(restored: tuple[str, str, Vault]) -> None:
    fresh, volume, vault = restored
    sql(fresh, "FLUSH TABLES shop.old")
    data = mountpoint(DOCKER, volume) / "shop/old.MYD"
    os.truncate(data, data.stat().st_size - 10)
    probe = SOURCE.probe(DOCKER, Place(container=fresh), vault.facts(SOURCE))
    assert not probe.good
    assert "shop.old" in next(verdict.evidence for verdict in probe.verdicts if verdict.what == "CHECK TABLE")
