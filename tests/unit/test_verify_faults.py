"""Damage: every stored object in turn is changed in every way, and the exact list of files it touches is told."""

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.repository_setup import RECIPIENTS, Host, look, noise
from toolkit.repository import How, restore
from toolkit.repository.fetch import object_with
from toolkit.repository.layout import place
from toolkit.repository.verify import Share, verify, verify_hashes
from toolkit.store import MemoryStore
from toolkit.words.errors import RepositoryError
from toolkit.words.report import Silent

Damage = Callable[[MemoryStore, str], None]


def flip(store: MemoryStore, key: str) -> None:
    body = bytearray(store.get(key))
    body[len(body) // 2] ^= 1
    store.overwrite(key, bytes(body))


def truncate(store: MemoryStore, key: str) -> None:
    store.overwrite(key, store.get(key)[:-1])


def empty(store: MemoryStore, key: str) -> None:
    store.overwrite(key, b"")


def delete(store: MemoryStore, key: str) -> None:
    store.delete(key)


def swap(store: MemoryStore, key: str) -> None:
    """Lay another object of the same kind over it; for packs of one snapshot that is a swap."""
    kind = key.split("/")[3]
    other = next(info.key for info in store.list() if f"/{kind}/" in info.key and info.key != key)
    store.overwrite(key, store.get(other))


DAMAGES = (flip, truncate, empty, delete, swap)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Host, Path, dict[str, bytes]]:
    """Two snapshots that share some packs and not others; the objects are given as bytes to start over from."""
    base = tmp_path_factory.mktemp("damage")
    tree = base / "tree"
    tree.mkdir()
    for number in range(4):
        (tree / f"old{number}").write_bytes(noise(500_000, number))
    host = Host(base / "state", MemoryStore())
    host.backup(tree)
    for number in range(3):
        (tree / f"new{number}").write_bytes(noise(400_000, 10 + number))
    (tree / "old0").unlink()
    host.backup(tree)
    return host, tree, {info.key: host.store.get(info.key) for info in host.store.list()}


def fresh(objects: dict[str, bytes]) -> MemoryStore:
    store = MemoryStore()
    for key, body in objects.items():
        store.put_new(key, body)
    return store


def truth(host: Host, objects: dict[str, bytes], key: str) -> dict[str, set[str]]:
    """What a damaged pack touches, by reading the listings of the undamaged repository."""
    repository = host.repository(fresh(objects))
    touched: dict[str, set[str]] = {}
    for name in repository.snapshots():
        snapshot = repository.open(name)
        for part in snapshot.parts():
            if any(snapshot.packs.info(ref.pack).digest == place("prod", key).pack for ref in part.refs):
                touched.setdefault(str(name), set()).add(part.entry.path)
    return touched


def holds_listing(host: Host, objects: dict[str, bytes], key: str) -> set[str]:
    repository = host.repository(fresh(objects))
    found = set()
    for name in repository.snapshots():
        snapshot = repository.open(name)
        if any(snapshot.packs.info(ref.pack).digest == place("prod", key).pack for ref in snapshot.manifest.listing):
            found.add(str(name))
    return found


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_to_any_pack_is_told_with_exactly_the_files_it_touches(
    kept: tuple[Host, Path, dict[str, bytes]], damage: Damage
) -> None:
    host, _, objects = kept
    packs = [key for key in objects if "/packs/" in key]
    assert len(packs) >= 4
    for key in packs:
        store = fresh(objects)
        damage(store, key)
        findings = verify(host.repository(store))
        assert not findings.sound
        assert place("prod", key).pack in findings.damaged
        hurt = holds_listing(host, objects, key)
        told = {touched.snapshot: set(touched.files) for touched in findings.touched}
        expected = truth(host, objects, key)
        for snapshot in told.keys() - hurt:
            assert told[snapshot] == expected[snapshot]
        assert told.keys() == expected.keys() | hurt
        for touched in findings.touched:
            if touched.snapshot in hurt:
                assert "its listing is damaged" in touched.complaint


@pytest.mark.parametrize("damage", [flip, truncate, empty, swap])
def test_damage_to_any_pack_is_seen_without_keys(kept: tuple[Host, Path, dict[str, bytes]], damage: Damage) -> None:
    _host, _, objects = kept
    for key in (key for key in objects if "/packs/" in key):
        store = fresh(objects)
        damage(store, key)
        assert list(verify_hashes(store, "prod").damaged) == [key]
    assert verify_hashes(fresh(objects), "prod").sound


@pytest.mark.parametrize("damage", [flip, truncate, empty, swap])
def test_damage_to_any_manifest_is_told_and_the_other_snapshot_is_whole(
    kept: tuple[Host, Path, dict[str, bytes]], damage: Damage, tmp_path: Path
) -> None:
    host, _, objects = kept
    for number, key in enumerate(key for key in objects if "/snapshots/" in key):
        store = fresh(objects)
        damage(store, key)
        repository = host.repository(store)
        name = place("prod", key).snapshot
        assert [touched.snapshot for touched in verify(repository).touched] == [str(name)]
        (other,) = [each for each in repository.snapshots() if each != name]
        assert restore(repository.open(other), tmp_path / str(number)).lost == ()


def test_a_manifest_missing_between_two_is_a_gap(kept: tuple[Host, Path, dict[str, bytes]], tmp_path: Path) -> None:
    host, tree, objects = kept
    clone = Host(tmp_path / "state", fresh(objects))
    # A third snapshot by a host that lost its state: the chain says so, and says more once the second is gone.
    clone.directory.mkdir()
    (clone.directory / "signing.key").write_bytes((host.directory / "signing.key").read_bytes())
    clone.backup(tree)
    findings = verify(clone.repository())
    assert findings.notes == ["snapshot 3 does not know the one before it: the host had lost its state"]
    assert findings.sound
    clone.store.delete(clone.repository().snapshots()[1].key("prod"))
    assert verify(clone.repository()).gaps == ["between snapshots 1 and 3 something is missing, or added"]


def test_the_deleted_newest_manifest_is_missed_by_the_pin(kept: tuple[Host, Path, dict[str, bytes]]) -> None:
    host, _, objects = kept
    store = fresh(objects)
    store.delete(max(key for key in objects if "/snapshots/" in key))
    with pytest.raises(RepositoryError, match="lacks snapshot 2"):
        verify(host.repository(store, pin=_pinned(host, objects)))


def _pinned(host: Host, objects: dict[str, bytes]):
    newest = host.repository(fresh(objects)).newest()
    return host.pin().moved(newest.name.sequence, newest.digest)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_best_effort_restore_saves_the_rest_and_says_what_is_lost(
    kept: tuple[Host, Path, dict[str, bytes]], damage: Damage, tmp_path: Path
) -> None:
    host, tree, objects = kept
    whole = look(tree)
    for number, key in enumerate(key for key in objects if "/packs/" in key):
        store = fresh(objects)
        damage(store, key)
        snapshot = host.repository(store).newest()
        lost = truth(host, objects, key).get(str(snapshot.name), set())
        listing_hurt = str(snapshot.name) in holds_listing(host, objects, key)
        out = tmp_path / str(number)
        restored = restore(snapshot, out, How(best_effort=True))
        if listing_hurt:
            # Small listings are one chunk: nothing is left to go by, and nothing is claimed.
            assert restored.entries == 0
            continue
        assert {path for path, _ in restored.lost} == lost
        saved = {f"data/{os.fsdecode(name)}" for name in look(out / "data") if name != b"."}
        assert saved == {f"data/{os.fsdecode(name)}" for name in whole if name != b"."} - lost
        if lost:
            with pytest.raises(RepositoryError):
                restore(snapshot, tmp_path / f"strict{number}")


def test_an_older_version_is_taken_where_the_newest_was_laid_over_it(
    kept: tuple[Host, Path, dict[str, bytes]], tmp_path: Path
) -> None:
    """Anybody with put rights can do that on a versioned bucket; nothing may be lost by it."""
    host, tree, objects = kept
    store = MemoryStore(versioned=True)
    for key, body in objects.items():
        store.put_new(key, body)
        store.overwrite(key, b"laid over")
    told: list[str] = []
    repository = host.repository(store, told=told.append)
    restore(repository.newest(), tmp_path / "out")
    assert look(tmp_path / "out" / "data") == look(tree)
    assert "an older version was taken" in told[0]
    findings = verify(host.repository(store))
    assert findings.sound
    assert len(findings.healed) >= len(objects) - 4
    hashes = verify_hashes(store, "prod")
    assert hashes.sound
    assert len(hashes.healed) == hashes.packs + 2


def test_versions_that_cannot_be_it_are_not_fetched(kept: tuple[Host, Path, dict[str, bytes]]) -> None:
    """Anybody with put rights can lay a thousand versions over a pack: looking at each would be his weapon."""
    _, _, objects = kept
    key = next(key for key in objects if "/packs/" in key)
    store = MemoryStore(versioned=True)
    store.put_new(key, objects[key])
    for number in range(50):
        store.overwrite(key, b"x" * number)
    fetched: list[str | None] = []
    real = store.get

    def counted(key: str, **named: Any) -> bytes:
        fetched.append(named.get("version"))
        return real(key, **named)

    store.get = counted  # type: ignore[method-assign]
    digest = place("prod", key).pack
    assert object_with(store, key, digest, len(objects[key])) == objects[key]
    assert len(fetched) == 2


def test_a_verification_that_is_interrupted_lets_go_at_once(tmp_path: Path) -> None:
    store = MemoryStore()
    for number in range(300):
        store.put_new(f"prod/epochs/20260101-00000000/packs/{number:064x}.age", b"x")
    fetched: list[str] = []
    real = store.get

    def slow(key: str, **named: Any) -> bytes:
        fetched.append(key)
        time.sleep(0.001)
        return real(key, **named)

    store.get = slow  # type: ignore[method-assign]

    class Impatient(Silent):
        def progress(self, done: float, total: float, note: str = "") -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        verify_hashes(store, "prod", listener=Impatient())
    assert len(fetched) < 200


def test_strange_objects_are_told(kept: tuple[Host, Path, dict[str, bytes]]) -> None:
    host, _, objects = kept
    store = fresh(objects)
    epoch = host.repository(store).newest().name.epoch
    strange = [f"prod/epochs/{epoch}/packs/readme.txt", f"prod/epochs/{epoch}/snapshots/x.age", "prod/epochs/zzz/a"]
    for key in strange:
        store.put_new(key, b"?")
    assert verify_hashes(store, "prod").strange == strange


@pytest.mark.parametrize("damage", [flip, truncate, empty, delete])
def test_damage_to_any_public_document_is_told_with_and_without_keys_and_touches_no_file(
    kept: tuple[Host, Path, dict[str, bytes]], damage: Damage
) -> None:
    host, _, objects = kept
    documents = [key for key in objects if key.endswith(".json")]
    assert len(documents) == 2
    for key in documents:
        store = fresh(objects)
        damage(store, key)
        for findings in (verify(host.repository(store)), verify_hashes(store, "prod")):
            assert not findings.sound
            assert (findings.damaged, findings.touched) == ({}, [])
            (gap,) = findings.gaps
            assert gap.startswith(f"{key} is ")


def test_a_host_document_with_another_signing_key_than_the_pinned_one_is_told(
    kept: tuple[Host, Path, dict[str, bytes]], tmp_path: Path
) -> None:
    host, _, objects = kept
    other = Host(tmp_path / "other").pin()
    assert verify_hashes(fresh(objects), "prod", pin=host.pin()).sound
    told = verify_hashes(fresh(objects), "prod", pin=other).gaps
    assert told == ["prod/host.json is not what the host wrote: see its signing_key"]


def test_the_pinned_head_is_missed_and_compared_without_keys(kept: tuple[Host, Path, dict[str, bytes]]) -> None:
    host, _, objects = kept
    pin, newest = _pinned(host, objects), max(key for key in objects if "/snapshots/" in key)
    assert verify_hashes(fresh(objects), "prod", pin=pin).sound
    store = fresh(objects)
    flip(store, newest)
    assert verify_hashes(store, "prod", pin=pin).gaps == ["snapshot 2 is not the one that was pinned"]
    store.delete(newest)
    (told,) = verify_hashes(store, "prod", pin=pin).gaps
    assert told.startswith("snapshot 2 is missing, which was seen before")


def test_what_was_expired_on_purpose_is_missed_by_nobody(kept: tuple[Host, Path, dict[str, bytes]]) -> None:
    host, tree, _ = kept
    clone = Host(host.directory.with_name("expired"), MemoryStore())
    for _ in range(4):
        clone.backup(tree)
    pin = clone.pin()
    for name in clone.repository().snapshots()[1:3]:
        clone.store.delete(name.key("prod"))
    gap = ["between snapshots 1 and 4 something is missing, or added"]
    assert verify(clone.repository()).gaps == verify_hashes(clone.store, "prod", pin=pin).gaps == gap
    assert verify(clone.repository(pin=pin.without([2]))).gaps == gap
    known = pin.without([3]).without([2])
    assert known.expired == ((2, 3),)
    assert verify(clone.repository(pin=known)).sound
    assert verify_hashes(clone.store, "prod", pin=known).sound


def test_a_snapshot_that_a_pinned_recipient_could_not_open_is_told(kept: tuple[Host, Path, dict[str, bytes]]) -> None:
    host, _, objects = kept
    repository = host.repository(fresh(objects), pin=replace(host.pin(), recipients=(*RECIPIENTS, "age1third")))
    assert verify(repository).gaps == ["snapshot 2 is sealed for 2 recipients instead of 3"]
    assert verify(repository, recipients=RECIPIENTS).sound


def test_the_calendar_comes_round_to_every_pack(kept: tuple[Host, Path, dict[str, bytes]]) -> None:
    host, _, objects = kept
    store = fresh(objects)
    packs = [key for key in objects if "/packs/" in key]
    checked = sum(verify_hashes(store, "prod", share=Share.today(30, day * 86400.0)).packs for day in range(100, 130))
    assert checked == len(packs)
    keyed = [verify(host.repository(store), share=Share(5, day)).packs for day in range(5)]
    assert sum(keyed) == len(packs)


def test_a_listing_that_cannot_be_read_is_told_whatever_the_day(kept: tuple[Host, Path, dict[str, bytes]]) -> None:
    """Its pack is not due, but every run reads the listings: what it cannot read it has to tell."""
    host, _, objects = kept
    snapshot = host.repository(fresh(objects)).newest()
    digest = snapshot.packs.info(snapshot.manifest.listing[0].pack).digest
    key = next(key for key in objects if digest in key)
    for day in range(5):
        store = fresh(objects)
        flip(store, key)
        findings = verify(host.repository(store), share=Share(5, day))
        assert digest in findings.damaged
        assert str(snapshot.name) in [touched.snapshot for touched in findings.touched]


def test_a_missing_pack_is_told_whatever_the_day(kept: tuple[Host, Path, dict[str, bytes]]) -> None:
    host, _, objects = kept
    key = next(key for key in objects if "/packs/" in key)
    for day in range(5):
        store = fresh(objects)
        store.delete(key)
        assert place("prod", key).pack in verify(host.repository(store), share=Share(5, day)).damaged


def test_a_manifest_under_another_name_is_refused(kept: tuple[Host, Path, dict[str, bytes]]) -> None:
    """A replayed snapshot: an older manifest under a newer name, which its signature does not cover."""
    host, _, objects = kept
    store = fresh(objects)
    newest = max(key for key in objects if "/snapshots/" in key)
    store.put_new(newest.replace("-00000002.age", "-00000009.age"), objects[newest])
    with pytest.raises(RepositoryError, match="a name that is not its own"):
        host.repository(store).newest()
