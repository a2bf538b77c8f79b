"""The one process that opens an application's SQLite file: `capture` and `probe`, run as `python -c <this text>`.

A database file can be made to harm whoever opens it, and a link beside it to lead elsewhere. So this runs with the
rights of the file's owner and with the file's folder as all the world that there is. Standard library only.
"""

import json
import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

_BLOCK = 1 << 20
_BUSY = 60.0


def main() -> None:
    verb, folder, file, user, group = sys.argv[1:]
    _confine(int(folder), int(user), int(group))
    {"capture": capture, "probe": probe}[verb](file)


def _confine(folder: int, user: int, group: int) -> None:
    # What is looked up late in the life of a process must be there before the world shrinks.
    "".encode("idna")
    os.fchdir(folder)
    if os.geteuid() == 0:
        os.chroot(".")
        os.setgroups([])
        os.setgid(group)
        os.setuid(user)


def capture(file: str) -> None:
    """Copy by the online backup, then write one line of facts and the copy's bytes. The copy has no name by then."""
    copy = f".toolkit-capture.{file}"
    Path(copy).unlink(missing_ok=True)
    try:
        with closing(_open(file, "ro")) as source, closing(_open(copy, "rwc")) as target:
            source.backup(target)
            facts = {**about(source), "counts": counts(target)}
        descriptor = os.open(copy, os.O_RDONLY)
    finally:
        for suffix in ("", "-journal", "-wal", "-shm"):
            Path(copy + suffix).unlink(missing_ok=True)
    _say(facts)
    while block := os.read(descriptor, _BLOCK):
        view = memoryview(block)
        while view:
            view = view[os.write(1, view) :]


def probe(file: str) -> None:
    """Write one line: what the integrity check says, rows that point nowhere, and counts."""
    with closing(_reading(file)) as database:
        faults = [row[0] for row in database.execute("PRAGMA integrity_check(20)")]
        orphans = database.execute("SELECT count(*) FROM pragma_foreign_key_check").fetchone()[0]
        _say({"integrity": faults, "orphans": orphans, "counts": counts(database)})


def about(database: sqlite3.Connection) -> dict[str, Any]:
    names = ("page_size", "page_count", "journal_mode", "user_version")
    return {name: database.execute(f"PRAGMA {name}").fetchone()[0] for name in names}


def counts(database: sqlite3.Connection) -> dict[str, int]:
    """Count the rows of ordinary tables; virtual ones would run code that the file names."""
    listed = database.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' "
        "AND sql NOT LIKE 'CREATE VIRTUAL TABLE%' ORDER BY name"
    )
    names = [row[0] for row in listed.fetchall()]
    quoted = {name: '"' + name.replace('"', '""') + '"' for name in names}
    return {name: database.execute(f"SELECT count(*) FROM {sql}").fetchone()[0] for name, sql in quoted.items()}  # noqa: S608


def _reading(file: str) -> sqlite3.Connection:
    """Open for reading; where nothing may be written beside the file and no log is there, as a file that rests."""
    database = _open(file, "ro")
    try:
        database.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError:
        if Path(f"{file}-wal").exists():
            raise
        return _open(file, "ro&immutable=1")
    return database


def _open(file: str, mode: str) -> sqlite3.Connection:
    name = file.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    database = sqlite3.connect(f"file:./{name}?mode={mode}", uri=True, timeout=_BUSY)
    database.execute("PRAGMA trusted_schema = OFF")
    database.execute("PRAGMA cell_size_check = ON")
    return database


def _say(facts: dict[str, Any]) -> None:
    line = json.dumps(facts).encode() + b"\n"
    os.write(1, len(line).to_bytes(4, "big") + line)


if __name__ == "__main__":
    try:
        main()
    except (sqlite3.Error, OSError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
