"""Packs: frames that can be read alone, a length that tells little, and a place for each chunk, once."""

import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.repository_setup import OPERATOR, RECIPIENTS, noise
from toolkit.crypto import age
from toolkit.crypto.ids import chunk_id
from toolkit.repository import compression
from toolkit.repository.listing import Ref
from toolkit.repository.packs import TARGET, OpenPack, Packer
from toolkit.words.errors import RepositoryError


@settings(deadline=None)
@given(st.binary(max_size=5000))
def test_a_frame_gives_its_chunk_back(chunk: bytes) -> None:
    assert compression.decompress(compression.compress(chunk), len(chunk)) == chunk


@pytest.mark.parametrize("size", [0, 999, 1001, 1 << 40])
def test_a_frame_of_another_size_than_promised_is_refused(size: int) -> None:
    with pytest.raises(RepositoryError):
        compression.decompress(compression.compress(bytes(1000)), size)


def test_a_bomb_does_not_get_to_grow() -> None:
    """A few kilobytes that claim to be a gigabyte: no more than what was promised is ever produced."""
    bomb = compression.zstd.compress(bytes(1 << 30), 1)
    assert len(bomb) < 200_000
    with pytest.raises(RepositoryError, match=r"as long as it should be|zstd cannot read"):
        compression.decompress(bomb, 1 << 20)
    with pytest.raises(RepositoryError, match="larger than it may be"):
        compression.expand(bomb, 64 << 20)


@pytest.mark.parametrize("frame", [b"", b"\x28\xb5\x2f\xfd", b"garbage" * 9, compression.compress(b"a") + b"more"])
def test_what_is_no_single_frame_is_refused(frame: bytes) -> None:
    with pytest.raises(RepositoryError):
        compression.decompress(frame, 1)


@pytest.mark.parametrize(("length", "padded"), [(1, 1), (9, 10), (1000, 1024), (1025, 1088), (TARGET - 1, TARGET)])
def test_lengths_are_those_of_the_published_padme(length: int, padded: int) -> None:
    assert compression.padme(length) == padded


@settings(deadline=None)
@given(st.integers(2, 1 << 40))
def test_padding_costs_at_most_an_eighth_and_always_fits(length: int) -> None:
    assert length <= compression.padme(length) <= length * 1.125


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 300_000))
def test_a_padded_plaintext_is_still_zstd(length: int) -> None:
    content = noise(length, length)
    frame = compression.compress(content)
    plaintext = frame + compression.padding(len(frame))
    assert len(plaintext) == compression.padme(len(frame) + 8)
    assert compression.zstd.decompress(plaintext) == content


def test_chunks_of_one_file_are_spread_over_several_packs() -> None:
    packer = Packer(0, RECIPIENTS, lambda pack: None)
    refs = [packer.place(bytes([number]) * 32, b"frame", 5) for number in range(60)]
    assert {ref.pack for ref in refs} == {0, 1, 2}


def test_a_pack_is_shipped_before_it_grows_over_its_target() -> None:
    shipped: list[tuple[OpenPack, bytes]] = []

    def ship(pack: OpenPack) -> None:
        sealed = pack.close()
        shipped.append((pack, bytes(sealed)))
        # The next pack is sealed into the same memory, which must not show.
        packer.reuse(sealed)

    packer = Packer(7, RECIPIENTS, ship)
    for number in range(400):
        packer.place(number.to_bytes(32, "big"), noise(200_000, number), 1)
    packer.flush()
    for pack, sealed in shipped:
        plaintext = age.unseal(sealed, [OPERATOR])
        assert len(plaintext) == compression.padme(len(plaintext)) <= TARGET
        for ref in pack.refs:
            assert plaintext[ref.offset : ref.offset + ref.stored] == noise(200_000, int.from_bytes(ref.id, "big"))
    assert sum(len(pack.refs) for pack, _ in shipped) == 400
    assert sorted(pack.number for pack, _ in shipped) == list(range(7, 7 + len(shipped)))


def test_who_fills_packs_faster_than_they_are_stored_has_to_wait() -> None:
    closed: list[bytearray] = []
    packer = Packer(0, RECIPIENTS, lambda pack: closed.append(pack.close()))

    def fill() -> None:
        for number in range(600):
            packer.place(number.to_bytes(32, "big"), noise(200_000, number), 1)

    thread = threading.Thread(target=fill, daemon=True)
    thread.start()
    while len(closed) < 3:
        time.sleep(0.01)
    # Three are open, three more may wait to be stored; the next one has to wait for memory.
    thread.join(timeout=0.5)
    assert thread.is_alive()
    while thread.is_alive():
        if closed:
            packer.reuse(closed.pop())
        thread.join(timeout=0.01)


def test_the_same_chunk_from_many_threads_gets_one_place() -> None:
    packer = Packer(0, RECIPIENTS, lambda pack: None)
    refs: list[Ref] = []
    barrier = threading.Barrier(8)

    def place() -> None:
        barrier.wait()
        for number in range(50):
            refs.append(packer.place(number.to_bytes(32, "big"), b"frame", 5))

    threads = [threading.Thread(target=place) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(refs)) == 50


def test_ids_are_keyed_blake3() -> None:
    # BLAKE3's published test vectors: key, and the keyed hash of the bytes 0, 1, 2 … 250, 0, 1 …
    key = b"whats the Elvish word for friend"
    content = bytes(number % 251 for number in range(1024))
    assert chunk_id(key, b"").hex() == "92b2b75604ed3c761f9d6f62392c8a9227ad0ea3f09573e783f1498a4ed60d26"
    assert chunk_id(key, content).hex() == "75c46f6f3d9eb4f55ecaaee480db732e6c2105546f1e675003687c31719c7ba4"
