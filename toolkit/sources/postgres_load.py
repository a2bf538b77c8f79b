"""PostgreSQL's way back: roles, then each database from its dump, then statistics.

Tables and rows come in one stream. What is made after them (indexes, constraints, triggers) needs the dump's table of
contents only, so several workers make it from the dump's beginning, which waits in the container's memory. A small dump
waits there whole.
"""

import os
import secrets
from collections.abc import Collection, Iterator

from toolkit.sources.postgres_client import JOBS, Client, conninfo, identifier
from toolkit.sources.protocol import Stored
from toolkit.sources.streams import feed
from toolkit.words.command import command, script
from toolkit.words.errors import HostError

GLOBALS = "globals.sql"
# These are part of every server: they are filled, never dropped.
_OWN = frozenset({"postgres", "template1"})
_THERE = "SELECT 'database', datname FROM pg_database UNION ALL SELECT 'role', quote_ident(rolname) FROM pg_roles"
_HEAD = 16 << 20
# What waits in memory goes with the program that reads it, also where that is ended from outside.
_KEPT = """
kept=$1; shift
trap 'rm -f -- "$kept"' EXIT
trap 'exit 143' HUP INT TERM
umask 077
cat >"$kept" && "$@" "$kept"
"""
_CUT_SHORT = "end of file"


class _Enough(Exception):
    """Stops a pour whose beginning was all that is wanted."""


def load(to: Client, stored: Stored, *, replace: bool) -> None:
    """Bring everything back. Raises HostError at the first thing that fails, and for databases that are in the way."""
    try:
        _load(to, stored, replace=replace)
    except HostError as error:
        # A server that finds no room for its log goes down without a word to its clients.
        if to.docker.complained(to.container, "No space left on device"):
            hint = "make room: a larger disk, or less on it"
            raise HostError(f"{error.message}\nthe server's disk is full", hint=hint) from error
        raise


def _load(to: Client, stored: Stored, *, replace: bool) -> None:
    dumps = {_database(stored, name): name for name in stored.names if name.endswith(".dump")}
    rows = to.rows(_THERE)
    in_the_way = sorted(({name for kind, name in rows if kind == "database"} & dumps.keys()) - _OWN)
    if in_the_way and not replace:
        hint = "load into a fresh server, or say that what is there may be replaced"
        raise HostError(f"{to.container[:12]} has {', '.join(in_the_way)} already", hint=hint)
    roles = _roles(stored, {name for kind, name in rows if kind == "role"})
    drops = "".join(f"\nDROP DATABASE {identifier(database)} WITH (FORCE);\n" for database in in_the_way)
    feed(to.start(to.psql("postgres"), what="psql"), roles + drops.encode(errors="surrogateescape"))
    for database, name in dumps.items():
        _restore(to, stored, database, name)
    words = ("vacuumdb", "--all", "--analyze-only", "--quiet", f"--jobs={JOBS}", "--no-password")
    to.run(command(*words, f"--username={to.user}"), what="vacuumdb")


def _database(stored: Stored, name: str) -> str:
    return str(stored.facts(name).get("name") or name.removeprefix("databases/").removesuffix(".dump"))


def _roles(stored: Stored, known: Collection[str]) -> bytes:
    """The globals for this server: a role that is there already, as the first one always is, is altered only."""
    text = bytearray()
    stored.pour(GLOBALS, text.extend)
    there = {f"CREATE ROLE {name};" for name in known}

    def kept() -> Iterator[str]:
        for line in text.decode().splitlines(keepends=True):
            # The guards against backslash commands are younger than many servers.
            if line.rstrip("\n") not in there and not line.startswith(("\\restrict ", "\\unrestrict ")):
                yield line

    return "".join(kept()).encode()


def _restore(to: Client, stored: Stored, database: str, name: str) -> None:
    words = ["pg_restore", "--exit-on-error", "--no-password", f"--username={to.user}"]
    into = [f"--dbname={conninfo(database)}"]
    first = [*into, "--clean", "--if-exists"] if database in _OWN else ["--create", "--dbname=postgres"]
    if stored.size(name) <= _HEAD:
        # All of it has room in memory: read once, and rows come by several workers as well.
        _from_memory(to, stored, name, [*words, f"--jobs={JOBS}", *first])
        return
    _pour(to, stored, name, [*words, "--section=pre-data", "--section=data", *first])
    try:
        _from_memory(to, stored, name, [*words, "--section=post-data", f"--jobs={JOBS}", *into])
    except HostError as error:
        if _CUT_SHORT not in error.message:
            raise
        # A table of contents longer than that: the stream once more, by one worker.
        _pour(to, stored, name, [*words, "--section=post-data", *into])


def _from_memory(to: Client, stored: Stored, name: str, words: list[str]) -> None:
    """Restore from a dump's beginning, which waits in the container's memory."""
    kept = f"/dev/shm/.toolkit-restore-{os.getpid()}-{secrets.token_hex(4)}"  # noqa: S108
    feed(to.start(script(_KEPT, kept, *words), what=f"pg_restore of {name}"), _beginning(stored, name))


def _pour(to: Client, stored: Stored, name: str, words: list[str]) -> None:
    process = to.start(command(*words), what=f"pg_restore of {name}")
    try:
        stored.pour(name, process.write)
        process.check()
    finally:
        process.close()


def _beginning(stored: Stored, name: str) -> bytes:
    head = bytearray()

    def take(block: bytes) -> None:
        head.extend(block)
        if len(head) >= _HEAD:
            raise _Enough

    try:
        stored.pour(name, take)
    except _Enough:
        del head[_HEAD:]
    return bytes(head)
