"""Remembered lines: the listing of the last backup, kept on the host so that unchanged files are not read again.

Rows are in the order of the walk, so one pass over the tree is one pass over the table and memory does not grow with
it. A row counts only for the epoch it was written in, for the same inode with the same times and size, and while its
checksum is right. Losing the file costs reading everything once.
"""

import os
import sqlite3
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from toolkit.repository.state import Connect, connect, set_aside, translated

_SCHEMA = """
CREATE TABLE IF NOT EXISTS epoch (name TEXT);
CREATE TABLE IF NOT EXISTS lines (path BLOB PRIMARY KEY, stamp BLOB NOT NULL, line BLOB NOT NULL) WITHOUT ROWID;
"""
_STAMP = struct.Struct("<QqqqI")
_BATCH, _LARGE = 2000, 2 << 20


class Remembered:
    """The lines of one run: those of the last one to look up, and the changes to keep for the next one."""

    def __init__(self, path: Path, reader: sqlite3.Connection, writer: sqlite3.Connection) -> None:
        self._path = path
        self._reader = reader
        self._writer = writer
        self._rows: Iterator[tuple[bytes, bytes, bytes]] = reader.execute("SELECT * FROM lines ORDER BY path")
        self._next: tuple[bytes, bytes, bytes] | None = next(self._rows, None)
        self._new: list[tuple[bytes, bytes, bytes]] = []
        self._gone: list[tuple[bytes]] = []
        self._size = 0

    @classmethod
    def open(cls, directory: Path, epoch: str, connect: Connect = connect) -> "Remembered":
        path = directory / "files.db"
        with translated(path):
            try:
                return cls(path, *_prepared(path, epoch, connect))
            except sqlite3.OperationalError:
                raise
            except sqlite3.DatabaseError:
                set_aside(path)
                return cls(path, *_prepared(path, epoch, connect))

    def line(self, key: bytes, status: os.stat_result) -> bytes | None:
        """The line of the last backup if this is the same, unchanged file. Keys must come in ascending order."""
        while self._next is not None and self._next[0] < key:
            self._drop()
        if self._next is None or self._next[0] != key:
            return None
        _, stamp, line = self._next
        if stamp != _stamp(status, line):
            self._drop()
            return None
        self._advance()
        return line

    def keep(self, key: bytes, status: os.stat_result, line: bytes) -> None:
        """Remember a line for the next backup."""
        self._new.append((key, _stamp(status, line), line))
        self._size += len(line)
        if len(self._new) >= _BATCH or self._size >= _LARGE:
            self._write()

    def commit(self) -> None:
        """Make the changes of this run last."""
        while self._next is not None:
            self._drop()
        self._write()
        with translated(self._path):
            self._writer.commit()

    def close(self) -> None:
        for connection in (self._reader, self._writer):
            with suppress(sqlite3.Error):
                connection.close()

    def _drop(self) -> None:
        """Pass a row that is no longer true; it goes, unless it is kept anew."""
        assert self._next is not None
        self._gone.append((self._next[0],))
        self._advance()
        if len(self._gone) >= _BATCH:
            self._write()

    def _advance(self) -> None:
        try:
            self._next = next(self._rows, None)
        except sqlite3.DatabaseError:
            # A damaged table is no reason to fail: the rest of the tree is read anew.
            self._next = None

    def _write(self) -> None:
        with translated(self._path):
            # Deleted first: a path that was passed may have been kept since.
            self._writer.executemany("DELETE FROM lines WHERE path = ?", self._gone)
            self._writer.executemany("INSERT OR REPLACE INTO lines VALUES (?, ?, ?)", self._new)
        self._gone.clear()
        self._new.clear()
        self._size = 0


def row_key(path: str) -> bytes:
    """Paths in an order that sorts like the walk: a directory's children come before its longer-named siblings."""
    return os.fsencode(path).replace(b"/", b"\0")


def _stamp(status: os.stat_result, line: bytes) -> bytes:
    size = status.st_size
    return _STAMP.pack(status.st_ino, status.st_ctime_ns, status.st_mtime_ns, size, zlib.crc32(line))


def _prepared(path: Path, epoch: str, connect: Connect) -> tuple[sqlite3.Connection, sqlite3.Connection]:
    writer = connect(path)
    try:
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("PRAGMA synchronous = NORMAL")
        writer.executescript(_SCHEMA)
        if writer.execute("SELECT name FROM epoch").fetchone() != (epoch,):
            writer.execute("DELETE FROM lines")
            writer.execute("DELETE FROM epoch")
            writer.execute("INSERT INTO epoch VALUES (?)", (epoch,))
            writer.commit()
        return connect(path), writer
    except BaseException:
        writer.close()
        raise
