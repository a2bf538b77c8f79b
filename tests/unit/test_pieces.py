"""Pieces: places in order, whatever comes late, and little memory for a dump larger than it."""

import tracemalloc
from concurrent.futures import Future
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from tests.repository_setup import Host, noise
from toolkit.repository import Stream, browse
from toolkit.repository.capture import Reader
from toolkit.repository.listing import Ref, hole
from toolkit.repository.pieces import Pieces
from toolkit.repository.pipeline import Batch
from toolkit.repository.walk import Node


def batch(*refs: Ref, late: bool = False) -> Batch:
    made = Batch()
    made.work = Future()
    if not late:
        made.work.set_result(list(refs))
    return made


def ref(number: int) -> Ref:
    return Ref(number.to_bytes(32, "big"), number % 7, number, number + 1, number + 2)


def test_places_come_in_the_order_of_the_pieces() -> None:
    pieces = Pieces([5_000_000_000])
    # Far more than are kept waiting, so that most were packed away meanwhile.
    for number in range(1, 3001):
        pieces.add([(batch(ref(number)), 0), number])
    expected = [hole(5_000_000_000), *(each for number in range(1, 3001) for each in (ref(number), hole(number)))]
    assert pieces.ready
    assert list(pieces.refs()) == expected
    assert list(pieces.refs()) == expected


def test_a_piece_that_is_late_keeps_those_behind_it_waiting() -> None:
    late = batch(late=True)
    pieces = Pieces([(late, 1)])
    pieces.add((batch(ref(number)), 0) for number in range(2000))
    assert not pieces.ready
    assert late.work is not None
    late.work.set_result([ref(7), ref(8)])
    assert pieces.ready
    assert list(pieces.refs()) == [ref(8), *map(ref, range(2000))]


def test_what_went_wrong_with_a_piece_is_raised() -> None:
    broken = batch(late=True)
    assert broken.work is not None
    broken.work.set_exception(OSError("the store is gone"))
    with pytest.raises(OSError, match="the store is gone"):
        list(Pieces([(broken, 0)]).refs())
    with pytest.raises(OSError, match="the store is gone"):
        Pieces([(broken, 0)]).add((batch(ref(number)), 0) for number in range(2000))


def test_pieces_of_a_long_dump_take_some_bytes_each() -> None:
    tracemalloc.start()
    try:
        pieces = Pieces()
        for number in range(50_000):
            pieces.add([(batch(ref(number)), 0)])
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size < 50_000 * 100 + 2_000_000


def test_a_file_of_many_lines_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A listing line holds so many references; a larger file goes on in the lines after it."""
    monkeypatch.setattr("toolkit.repository.layout.REFERENCES_IN_LINE", 10)
    monkeypatch.setattr("toolkit.repository.pieces._COMING", 5)
    content = noise(12_000_000, 1)

    @contextmanager
    def opened() -> Any:
        yield BytesIO(content)

    host = Host(tmp_path / "state")
    host.backup(Stream("dump", opened))
    snapshot = host.repository().newest()
    assert len(list(snapshot.parts())) >= 3
    found: list[bytes] = []
    browse.dump(snapshot, "dump", found.append)
    assert b"".join(found) == content


def test_a_file_whose_lines_are_too_long_to_remember_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "large").write_bytes(noise(6_000_000, 1))
    (tmp_path / "tree" / "small").write_bytes(b"x")
    host = Host(tmp_path / "state")
    reads: list[str] = []
    real = Reader.file

    def read(self: Reader, node: Node) -> object:
        reads.append(node.name)
        return real(self, node)

    monkeypatch.setattr(Reader, "file", read)
    host.backup(tmp_path / "tree")
    host.backup(tmp_path / "tree")
    assert reads == ["large", "small"]
    monkeypatch.setattr("toolkit.repository.lines._LONGEST", 500)
    (tmp_path / "tree" / "large").touch()
    host.backup(tmp_path / "tree")
    reads.clear()
    assert host.backup(tmp_path / "tree").stored == 0
    assert reads == ["large"]
