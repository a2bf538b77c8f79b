from collections.abc import Iterator
from pathlib import Path

import pytest

from toolkit.repository.audit import BAIT, Audit, audit
from toolkit.store import MemoryStore, ObjectInfo
from toolkit.store.directory import DirectoryStore
from toolkit.words.clock import FakeClock
from toolkit.words.errors import Denied, RepositoryError, StoreError
from toolkit.words.report import Silent


class HostSide:
    """A store as a host with the least rights meets it: it adds and lists under its own name."""

    def __init__(self, store: MemoryStore, host: str) -> None:
        self.store, self.host = store, host

    def put_new(self, key: str, body: bytes, **_: object) -> None:
        self.refuse_foreign(key)
        self.store.put_new(key, body)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        self.refuse_foreign(prefix)
        return self.store.list(prefix)

    def refuse_foreign(self, key: str) -> None:
        if not key.startswith(f"{self.host}/"):
            raise Denied(f"{key} is not of {self.host}")

    def get(self, key: str, **_: object) -> bytes:
        raise Denied(f"{key} may not be read")

    def overwrite(self, key: str, _: bytes) -> None:
        raise Denied(f"{key} may not be overwritten")

    def delete(self, key: str, **_: object) -> None:
        raise Denied(f"{key} may not be deleted")


def tried(thief: object, owner: object) -> Audit:
    return audit(thief, owner, "web", clock=FakeClock(), listener=Silent())


def test_a_store_that_guards_itself_has_no_holes() -> None:
    store = MemoryStore()
    found = tried(HostSide(store, "web"), store)
    assert found.holes == []
    assert [row[1] for row in found.table().rows] == ["held"] * 5
    assert list(store.list()) == []


def test_an_open_directory_has_every_hole_and_keeps_no_bait(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    found = tried(store, store)
    assert [hole.attempt for hole in found.holes] == [
        "read an object",
        "list another host's objects",
        "add to another host's objects",
        "put over an object",
        "delete an object",
    ]
    assert found.table().rows[0] == ("read an object", "HOLE", "allowed")
    assert list(store.list()) == []


def test_a_newer_version_on_top_is_no_hole_while_the_older_is_whole() -> None:
    store = MemoryStore(versioned=True)
    (finding,) = [finding for finding in tried(store, store).findings if finding.attempt == "put over an object"]
    assert finding.held
    assert "the older one is whole" in finding.note


def test_an_answer_nobody_understands_counts_as_a_hole() -> None:
    store = MemoryStore()
    thief = HostSide(store, "web")

    def confused(key: str, **_: object) -> None:
        raise StoreError(f"{key}: the server is confused")

    thief.delete = confused
    assert [hole.note.partition(":")[0] for hole in tried(thief, store).holes] == ["not clear"]


def test_credentials_that_cannot_put_prove_nothing() -> None:
    store = MemoryStore()
    with pytest.raises(RepositoryError, match="these credentials cannot back up web: web/evidence/audit-"):
        tried(HostSide(store, "other"), store)


def test_a_store_that_does_not_list_what_was_put_proves_nothing() -> None:
    store = MemoryStore()
    thief = HostSide(store, "web")
    thief.list = lambda prefix="": iter(())
    with pytest.raises(RepositoryError, match="does not list what web has just put"):
        tried(thief, store)


def test_what_the_control_side_cannot_read_is_no_backup() -> None:
    store = MemoryStore()
    with pytest.raises(RepositoryError, match="the control side cannot read") as caught:
        tried(HostSide(store, "web"), HostSide(store, "web"))
    assert "backup.init" in caught.value.hint


def test_the_bait_is_named_for_what_it_is() -> None:
    store = MemoryStore()
    seen: list[tuple[str, bytes]] = []
    put = store.put_new
    store.put_new = lambda key, body, **rest: (seen.append((key, body)), put(key, body, **rest))[1]
    tried(HostSide(store, "web"), store)
    ((key, body),) = seen
    assert key.startswith("web/evidence/audit-20231114T221320Z-")
    assert body == BAIT
