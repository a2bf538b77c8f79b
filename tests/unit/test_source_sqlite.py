"""SQLite as a source: copies of a file that is being written to, in both ways of journaling."""

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.repository_setup import Host
from toolkit.repository import Report
from toolkit.sources.docker import Docker
from toolkit.sources.protocol import Place
from toolkit.sources.sqlite import Sqlite
from toolkit.sources.stored import FromSnapshot, facts_of
from toolkit.words.errors import HostError

DOCKER = Docker()
SOURCE = Sqlite(name="sqlite/app", file="data/what?.sqlite3")


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path / "state")


def database(root: Path, mode: str = "wal") -> Path:
    path = root / SOURCE.file
    path.parent.mkdir(parents=True)
    with closing(sqlite3.connect(path)) as made:
        made.execute(f"PRAGMA journal_mode = {mode}")
        made.execute("CREATE TABLE event (id INTEGER PRIMARY KEY, body TEXT)")
        made.execute('CREATE TABLE "odd ""name" (x)')
        made.execute("CREATE VIRTUAL TABLE words USING fts5(word)")
        made.execute("INSERT INTO words VALUES ('found')")
        made.executemany("INSERT INTO event (body) VALUES (?)", ((f"{number}" * 20,) for number in range(20000)))
        made.commit()
    return path


@contextmanager
def written_to(path: Path) -> Iterator[None]:
    """Pairs of rows, each pair in one transaction: a copy in between would have an odd number of them."""
    over = threading.Event()

    def write() -> None:
        with closing(sqlite3.connect(path, timeout=60)) as writer:
            while not over.is_set():
                writer.execute("INSERT INTO event (body) VALUES ('one')")
                writer.execute("INSERT INTO event (body) VALUES ('two')")
                writer.commit()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def captured(host: Host, place: Place, source: Sqlite = SOURCE) -> tuple[Report, dict[str, Any]]:
    with source.capture(DOCKER, place) as capture:
        report = host.backup(*capture.inputs)
    return report, dict(facts_of(host.repository().newest().manifest.sources, source.name))


def stored(host: Host) -> FromSnapshot:
    return FromSnapshot(host.repository().newest(), SOURCE.name)


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_a_file_that_is_written_to_comes_back_as_of_one_moment(tmp_path: Path, host: Host, mode: str) -> None:
    path = database(tmp_path / "volume", mode)
    with written_to(path):
        report, facts = captured(host, Place(path=str(tmp_path / "volume")))
    assert (report.outcome, report.unread) == ("complete", ())
    (tmp_path / "fresh").mkdir()
    place = Place(path=str(tmp_path / "fresh"))
    SOURCE.load(DOCKER, stored(host), place)
    probe = SOURCE.probe(DOCKER, place, facts)
    assert probe.good, probe
    assert probe.counts["event"] % 2 == 0
    assert probe.counts['odd "name'] == 0
    with closing(sqlite3.connect(tmp_path / "fresh" / SOURCE.file)) as back:
        assert back.execute("SELECT count(*) FROM words WHERE word MATCH 'found'").fetchone() == (1,)
    assert not [*path.parent.glob(".toolkit*")]


def test_owners_and_modes_come_back(tmp_path: Path, host: Host) -> None:
    path = database(tmp_path / "volume")
    path.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(path, 1234, 2345)
        os.chown(path.parent, 1234, 2345)
    captured(host, Place(path=str(tmp_path / "volume")))
    (tmp_path / "fresh").mkdir()
    SOURCE.load(DOCKER, stored(host), Place(path=str(tmp_path / "fresh")))
    for name in (SOURCE.file, "data"):
        before, after = (tmp_path / "volume" / name).stat(), (tmp_path / "fresh" / name).stat()
        assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)


def test_a_file_in_the_way_is_replaced_only_if_told_to_with_all_that_belonged_to_it(tmp_path: Path, host: Host) -> None:
    path = database(tmp_path / "volume")
    place = Place(path=str(tmp_path / "volume"))
    _, facts = captured(host, place)
    with closing(sqlite3.connect(path)) as used:
        used.execute("DELETE FROM event")
        used.commit()
        with pytest.raises(HostError, match="is there already"):
            SOURCE.load(DOCKER, stored(host), place)
        assert (path.parent / f"{path.name}-wal").exists()
        SOURCE.load(DOCKER, stored(host), Place(path=place.path, replace=True))
        assert not (path.parent / f"{path.name}-wal").exists()
    assert SOURCE.probe(DOCKER, place, facts).good


def test_a_damaged_page_is_found_by_the_probe(tmp_path: Path, host: Host) -> None:
    path = database(tmp_path / "volume", "delete")
    place = Place(path=str(tmp_path / "volume"))
    _, facts = captured(host, place)
    with path.open("r+b") as file:
        file.seek(40 * 4096)
        file.write(os.urandom(4096))
    probe = SOURCE.probe(DOCKER, place, facts)
    assert probe.verdicts[0].state == "bad"


def test_a_link_to_a_file_elsewhere_is_not_followed(tmp_path: Path) -> None:
    secret = database(tmp_path / "elsewhere")
    (tmp_path / "volume/data").mkdir(parents=True)
    (tmp_path / "volume" / SOURCE.file).symlink_to(secret)
    place = Place(path=str(tmp_path / "volume"))
    with pytest.raises(HostError, match="is no file"), SOURCE.capture(DOCKER, place):
        pass
    (tmp_path / "volume/data").rename(tmp_path / "volume/other")
    (tmp_path / "volume/data").symlink_to(secret.parent)
    with pytest.raises(HostError, match="Not a directory"), SOURCE.capture(DOCKER, place):
        pass


def test_a_file_that_is_no_database_or_not_there_is_a_failed_source(tmp_path: Path) -> None:
    path = tmp_path / SOURCE.file
    path.parent.mkdir()
    with pytest.raises(HostError, match="there is no data/what"), SOURCE.capture(DOCKER, Place(path=str(tmp_path))):
        pass
    path.write_text("not a database, though it is called one" * 100)
    with pytest.raises(HostError, match="file is not a database"), SOURCE.capture(DOCKER, Place(path=str(tmp_path))):
        pass
