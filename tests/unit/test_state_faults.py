"""The host's memory: lost, set back, damaged or out of room, it costs a new epoch or an error, and never data."""

import shutil
import sqlite3
from pathlib import Path

import pytest

from tests.repository_setup import RECIPIENTS, Host, look, noise, plain_tree
from toolkit.crypto import age
from toolkit.repository import Origin, Terms, backup, restore
from toolkit.repository.backup import Options
from toolkit.repository.inputs import Tree
from toolkit.repository.listing import Ref
from toolkit.repository.manifest import PackInfo
from toolkit.repository.state import State
from toolkit.store import MemoryStore
from toolkit.words.clock import FakeClock
from toolkit.words.errors import RepositoryError
from toolkit.words.report import Silent
from toolkit.words.values import Duration


class Hears(Silent):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        self.warnings.append(text)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return plain_tree(tmp_path / "tree")


@pytest.fixture
def host(tmp_path: Path, tree: Path) -> Host:
    host = Host(tmp_path / "state")
    host.backup(tree)
    return host


def all_restore(host: Host, tree: Path, out: Path) -> None:
    repository = host.repository()
    for name in repository.snapshots():
        restore(repository.open(name), out / str(name))
        assert look(out / str(name) / "data") == look(tree)


def test_lost_state_begins_a_new_epoch_and_says_so(host: Host, tree: Path, tmp_path: Path) -> None:
    for name in ("state.db", "files.db"):
        (host.directory / name).unlink()
    hears = Hears()
    report = backup(host.origin, [Tree("data", tree)], listener=hears)
    assert (report.fresh_epoch, report.sequence) == (True, 2)
    assert hears.warnings == ["a new epoch begins: this host remembers no backup, but the store has some"]
    assert host.repository().newest().manifest.previous is None
    all_restore(host, tree, tmp_path / "out")


def test_state_from_an_old_copy_begins_a_new_epoch_and_says_so(host: Host, tree: Path, tmp_path: Path) -> None:
    shutil.copytree(host.directory, tmp_path / "copy")
    host.backup(tree)
    shutil.rmtree(host.directory)
    shutil.copytree(tmp_path / "copy", host.directory)
    report = host.backup(tree)
    assert report.fresh_epoch
    assert report.reasons == ("the store has snapshot 2, which this host does not remember",)
    assert report.sequence == 3
    all_restore(host, tree, tmp_path / "out")


@pytest.mark.parametrize("where", [0, 0.3, 0.6, 0.9])
def test_corrupted_state_never_makes_a_snapshot_that_cannot_be_restored(
    host: Host, tree: Path, tmp_path: Path, where: float
) -> None:
    for name in ("state.db", "files.db"):
        path = host.directory / name
        content = bytearray(path.read_bytes())
        for at in range(int(len(content) * where), len(content), 97):
            content[at] ^= 0xFF
        path.write_bytes(content)
    try:
        host.backup(tree)
    except RepositoryError:
        # Seen in the middle of the work: the next run begins anew.
        host.backup(tree)
    all_restore(host, tree, tmp_path / "out")


def test_every_single_flipped_byte_of_the_chunk_table_is_harmless(tmp_path: Path) -> None:
    """A damaged row is a chunk that is stored again, never a wrong place."""
    state, _ = State.open(tmp_path)
    ref = Ref(bytes(range(32)), 1, 2, 3, 4)
    state.add_pack(1, PackInfo("ab" * 32, 5), [ref])
    assert state.find(ref.id) == ref
    database = sqlite3.connect(tmp_path / "state.db")
    (place,) = database.execute("SELECT place FROM chunks").fetchone()
    for at in range(len(place)):
        broken = bytearray(place)
        broken[at] ^= 0x10
        database.execute("UPDATE chunks SET place = ?", (bytes(broken),))
        database.commit()
        assert state.find(ref.id) is None


def test_a_full_disk_under_the_state_is_an_error_that_says_so(host: Host, tree: Path, tmp_path: Path) -> None:
    (tree / "more").write_bytes(noise(3_000_000, 30))

    def full(path: Path) -> sqlite3.Connection:
        connection = sqlite3.connect(path, check_same_thread=False)
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")
        return connection

    with pytest.raises(RepositoryError, match="full") as caught:
        for number in range(200):
            (tree / f"more{number}").write_bytes(noise(200, 100 + number))
        host.backup(tree, connect=full)
    assert caught.value.hint == "make room on its disk"
    host.backup(tree)
    repository = host.repository()
    restore(repository.newest(), tmp_path / "out")
    assert look(tmp_path / "out" / "data") == look(tree)


def test_a_pack_that_left_the_store_begins_a_new_epoch(host: Host, tree: Path, tmp_path: Path) -> None:
    pack = next(info.key for info in host.store.list() if "/packs/" in info.key)
    host.store.delete(pack)
    report = host.backup(tree)
    assert report.fresh_epoch
    assert "packs are not in the store as they were written" in report.reasons[0]
    restore(host.repository().newest(), tmp_path / "out")
    assert look(tmp_path / "out" / "data") == look(tree)


def test_a_bucket_from_last_week_is_noticed_by_the_host_and_by_the_pin(host: Host, tree: Path, tmp_path: Path) -> None:
    old = {info.key: host.store.get(info.key) for info in host.store.list()}
    report = host.backup(tree)
    pin = host.pin().moved(report.sequence, report.digest)
    host.store = MemoryStore()
    for key, body in old.items():
        host.store.put_new(key, body)
    with pytest.raises(RepositoryError, match="lacks snapshot 2, which was seen before"):
        host.repository(pin=pin).newest()
    again = host.backup(tree)
    assert again.fresh_epoch
    assert "is not in the store as it was written" in again.reasons[0]
    assert again.sequence == 3


def test_an_epoch_ends_by_age_and_knows_its_parent(tmp_path: Path, tree: Path) -> None:
    host = Host(tmp_path / "state", terms=Terms(length=Duration.parse("30d"), lock_for=Duration.parse("60d")))
    clock = FakeClock(epoch=1_763_844_240)
    first = backup(host.origin, [Tree("data", tree)], clock=clock)
    clock.sleep(29 * 86400)
    second = backup(host.origin, [Tree("data", tree)], clock=clock)
    clock.sleep(86400)
    third = backup(host.origin, [Tree("data", tree)], clock=clock)
    assert first.epoch == second.epoch != third.epoch
    assert third.stored > 5_000_000
    newest = host.repository().newest().manifest
    assert newest.previous == second.digest
    assert newest.sequence == 3


def test_changed_recipients_begin_a_new_epoch_that_only_they_open(host: Host, tree: Path) -> None:
    newcomer = age.new_identity()
    origin = Origin(
        host="prod",
        store=host.store,
        state=host.directory,
        recipients=(RECIPIENTS[1], age.recipient_of(newcomer)),
    )
    report = backup(origin, [Tree("data", tree)], options=Options(settle_within=0))
    assert report.fresh_epoch
    assert report.reasons == ("the recipients changed",)
    repository = type(host.repository())(host.store, "prod", (newcomer,), host.pin())
    assert repository.newest().manifest.entries == 9
    with pytest.raises(RepositoryError, match="no identity opens"):
        host.repository().newest()


def test_objects_are_locked_until_the_epoch_may_go(tmp_path: Path, tree: Path) -> None:
    host = Host(tmp_path / "state", terms=Terms(length=Duration.parse("30d"), lock_for=Duration.parse("60d")))
    host.backup(tree)
    locks = {host.store.head(info.key).retain_until for info in host.store.list()}
    assert len(locks) == 1
    (lock,) = locks
    created = host.store.head(next(iter(host.store.list())).key).modified
    assert 89 < (lock - created).total_seconds() / 86400 <= 90


def test_a_file_touched_this_moment_is_read_again(host: Host, tree: Path) -> None:
    """Times have a grain: a change right after the backup may not show, so what is young is not trusted."""
    report = host.backup(tree, settle_within=3600.0)
    with sqlite3.connect(host.directory / "files.db") as database:
        assert report.stored == 0
        host.backup(tree, settle_within=3600.0)
        (tree / "young").write_text("x")
        host.backup(tree, settle_within=3600.0)
        assert database.execute("SELECT count(*) FROM lines WHERE path = ?", (b"data\0young",)).fetchone() == (0,)
