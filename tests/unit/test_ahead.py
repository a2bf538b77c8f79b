"""Reading in order: every pack is fetched once however its file is spread, and memory ends at the horizon."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from tests.repository_setup import Host, noise
from toolkit.repository import Snapshot, Tree, ahead, browse, packs
from toolkit.repository.inputs import Stream
from toolkit.store import MemoryStore
from toolkit.words.errors import RepositoryError


class Counting(MemoryStore):
    """Counts how often each object was read."""

    def __init__(self) -> None:
        super().__init__(versioned=True)
        self.reads: Counter[str] = Counter()

    def get(self, key: str, **how: Any) -> bytes:
        self.reads[key] += 1
        return super().get(key, **how)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.setattr(packs, "TARGET", 1 << 20)
    return Host(tmp_path / "state", Counting())


def backed_up(host: Host, content: bytes) -> Snapshot:
    @contextmanager
    def opened() -> Iterator[BytesIO]:
        yield BytesIO(content)

    host.backup(Stream("dump", opened))
    host.store.reads.clear()
    return host.repository().newest()


def dumped(snapshot: Snapshot, name: str = "dump") -> bytes:
    found = bytearray()
    assert browse.dump(snapshot, name, found.extend) == len(found)
    return bytes(found)


def test_each_pack_is_fetched_once_though_chunks_alternate_between_them(host: Host) -> None:
    content = noise(20_000_000, 1)
    snapshot = backed_up(host, content)
    assert len(snapshot.manifest.packs) > 12
    assert dumped(snapshot) == content
    reads = {key: count for key, count in host.store.reads.items() if "/packs/" in key}
    # The listing's own pack is looked into before.
    assert sum(reads.values()) <= len(snapshot.manifest.packs) + 1


def test_a_file_that_changed_a_little_every_day_costs_each_days_packs_once(host: Host) -> None:
    content = bytearray(noise(12_000_000, 2))
    for day in range(6):
        for number in range(4):
            at = (number * 6 + day) * 480_000
            content[at : at + 1000] = noise(1000, 100 * day + number)
        snapshot = backed_up(host, bytes(content))
    assert dumped(snapshot) == bytes(content)
    reads = [count for key, count in host.store.reads.items() if "/packs/" in key]
    assert max(reads) <= 2


@pytest.mark.parametrize("spread", [False, True])
def test_memory_ends_at_the_horizon_and_the_order_is_kept(
    host: Host, monkeypatch: pytest.MonkeyPatch, spread: bool
) -> None:
    content = noise(16_000_000, 3)
    snapshot = backed_up(host, content)
    horizon, held = 3 << 20, [0]
    real = ahead._Ahead._collect

    def collect(self: Any) -> None:
        real(self)
        held.append(sum(len(piece.frame or b"") for piece in self._coming))

    monkeypatch.setattr(ahead._Ahead, "_collect", collect)
    refs = [ref for part in snapshot.parts() for ref in part.refs]
    by_place = {(ref.pack, ref.offset): ref for ref in refs}
    if spread:
        # As after years of small changes: neighbours lie in different packs, and each pack is wanted everywhere.
        refs.sort(key=lambda ref: (ref.offset // (1 << 18), ref.pack))
    host.store.reads.clear()
    pieces = list(ahead.in_order(snapshot.packs, iter(refs), horizon))
    assert [piece.ref for piece in pieces] == refs
    found = {
        (one.ref.pack, one.ref.offset): snapshot.packs.take(one.frame or b"", one.ref._replace(offset=0))
        for one in pieces
    }
    assert b"".join(bytes(found[place]) for place in by_place) == content
    assert 0 < max(held) <= horizon + max(ref.stored for ref in refs)
    if not spread:
        # Packs that fill side by side are wanted within the horizon, so that none is fetched for a chunk at a time.
        assert sum(host.store.reads.values()) <= 2 * len(snapshot.manifest.packs)


def test_holes_come_back_as_they_were_and_cost_no_pack(host: Host, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    with (tmp_path / "tree/sparse").open("wb") as file:
        file.truncate(40_000_000)
        file.seek(10_000_000)
        file.write(noise(300_000, 4))
    host.backup(Tree("data", tmp_path / "tree"))
    found = dumped(host.repository().newest(), "data/sparse")
    assert found == (tmp_path / "tree/sparse").read_bytes()


def test_a_pack_that_is_gone_ends_the_reading(host: Host) -> None:
    snapshot = backed_up(host, noise(8_000_000, 5))
    number = next(ref.pack for part in snapshot.parts() for ref in reversed(part.refs))
    gone = snapshot.manifest.packs[number].digest
    for info in list(host.store.list("prod/epochs/")):
        if gone in info.key:
            for version in list(host.store.versions(info.key)):
                host.store.delete(info.key, version=version.version)
    fresh = host.repository().newest()
    with pytest.raises(RepositoryError, match="missing"):
        dumped(fresh)


def test_whoever_has_read_enough_may_stop(host: Host) -> None:
    content = noise(8_000_000, 6)
    snapshot = backed_up(host, content)
    pieces = ahead.in_order(snapshot.packs, [ref for part in snapshot.parts() for ref in part.refs])
    first = next(pieces)
    assert first.frame is not None
    assert content.startswith(bytes(snapshot.packs.take(first.frame, first.ref._replace(offset=0))))
    pieces.close()
