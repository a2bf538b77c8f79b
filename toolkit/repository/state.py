"""What a host remembers between backups: the chunks and packs of its epoch, and the head of its chain.

One SQLite file. Every row carries a checksum, because SQLite's pages do not: a chunk whose row is damaged is stored
again. Losing the file costs a new epoch, never data.
"""

import json
import sqlite3
import struct
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from toolkit.repository.listing import Ref
from toolkit.repository.manifest import PackInfo
from toolkit.words.errors import RepositoryError
from toolkit.words.values import Secret

Connect = Callable[[Path], sqlite3.Connection]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL, crc INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS packs (number INTEGER PRIMARY KEY, digest TEXT NOT NULL, size INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS chunks (id BLOB PRIMARY KEY, place BLOB NOT NULL) WITHOUT ROWID;
"""
_PLACE = struct.Struct("<IIII")


@dataclass(frozen=True, kw_only=True)
class EpochFacts:
    """The epoch that a host is writing."""

    name: str
    created: str
    kept_until: str | None
    previous: str | None
    recipients: tuple[str, ...]
    chunk_key: Secret
    seed: int


@dataclass(frozen=True)
class Head:
    """The newest snapshot: its sequence, the hash of its stored bytes, its key and its size."""

    sequence: int
    digest: str
    key: str
    size: int
    bytes: int


def connect(path: Path) -> sqlite3.Connection:
    # One connection serves all threads, under the lock below; isolation is by explicit commits.
    return sqlite3.connect(path, check_same_thread=False, timeout=30)


@contextmanager
def translated(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        hint = "make room on its disk" if "full" in str(error) else "a new epoch will begin if it cannot be read"
        raise RepositoryError(f"the backup state {path} failed: {error}", hint=hint) from error


class State:
    """The open state. All methods may be called from any thread; writes are durable when they return."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._path = path
        self._connection = connection
        self._lock = threading.Lock()

    @classmethod
    def open(cls, directory: Path, connect: Connect = connect) -> tuple[Self, str]:
        """Open the state in a directory; say why it is a new one if an old one could not be used."""
        path = directory / "state.db"
        with translated(path):
            try:
                return cls(path, _prepared(connect(path))), ""
            except sqlite3.OperationalError:
                raise
            except sqlite3.DatabaseError as error:
                set_aside(path)
                return cls(path, _prepared(connect(path))), f"the backup state was damaged ({error})"

    def close(self) -> None:
        self._connection.close()

    def epoch(self) -> EpochFacts | None:
        fields = self._fact("epoch")
        if not fields:
            return None
        key = Secret(bytes.fromhex(fields.pop("chunk_key")))
        return EpochFacts(**{**fields, "recipients": tuple(fields["recipients"]), "chunk_key": key})

    def begin(self, epoch: EpochFacts) -> None:
        """Forget the chunks and packs of the epoch before, and remember this one."""
        fields = {**asdict(epoch), "chunk_key": epoch.chunk_key.reveal().hex()}
        with self._writing() as database:
            database.execute("DELETE FROM chunks")
            database.execute("DELETE FROM packs")
            _write_fact(database, "epoch", fields)

    def head(self) -> Head | None:
        fields = self._fact("head")
        return Head(**fields) if fields else None

    def intent(self) -> Head | None:
        """The snapshot that was about to be written when the state was last told."""
        fields = self._fact("intent")
        return Head(**fields) if fields else None

    def intend(self, head: Head) -> None:
        with self._writing() as database:
            _write_fact(database, "intent", asdict(head))

    def settle(self, head: Head) -> None:
        """Remember the newest snapshot, now that it is stored."""
        with self._writing() as database:
            _write_fact(database, "head", asdict(head))
            database.execute("DELETE FROM facts WHERE name = 'intent'")

    def packs(self) -> dict[int, PackInfo]:
        with self._reading() as database:
            rows = database.execute("SELECT number, digest, size FROM packs").fetchall()
        return {number: PackInfo(digest, size) for number, digest, size in rows}

    def add_pack(self, number: int, pack: PackInfo, refs: Sequence[Ref]) -> None:
        """Remember a stored pack and where its chunks are."""
        rows = [(ref.id, _place(ref)) for ref in refs]
        with self._writing() as database:
            database.execute("INSERT INTO packs VALUES (?, ?, ?)", (number, pack.digest, pack.size))
            database.executemany("INSERT OR REPLACE INTO chunks VALUES (?, ?)", rows)

    def find(self, chunk: bytes) -> Ref | None:
        """Where a chunk of this epoch is stored, if it is."""
        with self._reading() as database:
            row = database.execute("SELECT place FROM chunks WHERE id = ?", (chunk,)).fetchone()
        if not row or len(row[0]) != _PLACE.size + 4:
            return None
        ref = Ref(chunk, *_PLACE.unpack_from(row[0]))
        return ref if _place(ref) == row[0] else None

    def _fact(self, name: str) -> dict[str, Any]:
        with self._reading() as database:
            row = database.execute("SELECT value, crc FROM facts WHERE name = ?", (name,)).fetchone()
        if not row or zlib.crc32(str(row[0]).encode()) != row[1]:
            return {}
        return dict(json.loads(row[0]))

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock, translated(self._path):
            yield self._connection

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock, translated(self._path):
            try:
                yield self._connection
                self._connection.commit()
            except BaseException:
                with suppress(sqlite3.Error):
                    self._connection.rollback()
                raise


def set_aside(path: Path) -> None:
    """Move a database that cannot be used out of the way, with its journals."""
    path.replace(path.with_suffix(".broken"))
    for suffix in ("-wal", "-shm", "-journal"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _prepared(connection: sqlite3.Connection) -> sqlite3.Connection:
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
        connection.executescript(_SCHEMA)
    except BaseException:
        connection.close()
        raise
    return connection


def _write_fact(database: sqlite3.Connection, name: str, fields: Mapping[str, Any]) -> None:
    value = json.dumps(fields)
    database.execute("INSERT OR REPLACE INTO facts VALUES (?, ?, ?)", (name, value, zlib.crc32(value.encode())))


def _place(ref: Ref) -> bytes:
    place = _PLACE.pack(ref.pack, ref.offset, ref.stored, ref.size)
    return place + zlib.crc32(ref.id + place).to_bytes(4, "little")
