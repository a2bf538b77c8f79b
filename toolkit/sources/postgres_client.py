"""PostgreSQL's clients inside the container: rows of one query, programs, and sessions that stay open."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from toolkit.sources.docker import Docker, Inside
from toolkit.sources.login import Login
from toolkit.sources.process import PATIENCE, SLOW, Process
from toolkit.words.command import Command, command, script
from toolkit.words.errors import HostError

Row = list[str]

JOBS = max(1, min(4, os.cpu_count() or 1))
"""Workers of the programs that can have several."""

_MARK = "toolkit: end of answer"
# Fields end in a unit separator and rows in a zero byte: names and values may hold anything else.
_FORM = ("--no-align", "--tuples-only", "--field-separator=\x1f", "--record-separator-zero")
_PSQL = ("psql", "--no-psqlrc", "--quiet", "--no-password", "--set=ON_ERROR_STOP=1", *_FORM)
# Who owns the data may connect by `peer`, where the image's own rules do not trust everybody on the socket.
_OWNER = 'stat -c %u:%g -- "${PGDATA:-/var/lib/postgresql/data}" 2>/dev/null || echo postgres'


@dataclass(frozen=True)
class Client:
    """One server, as one role on its local socket."""

    docker: Docker
    container: str
    user: str
    owner: str
    login: Login | None
    patience: float

    def start(self, wanted: Command, *, what: str = "") -> Inside:
        """Start one of PostgreSQL's programs."""
        options = {"user": self.owner, "login": self.login, "patience": self.patience}
        return self.docker.start(self.container, wanted, what=what, **options)  # type: ignore[arg-type]

    def run(self, wanted: Command, *, what: str = "") -> bytes:
        """Run one of PostgreSQL's programs and return its output. Raises HostError unless it succeeds."""
        process = self.start(wanted, what=what)
        try:
            process.finish()
            output = b"".join(iter(process.some, b""))
            process.check()
            return output
        finally:
            process.close()

    def rows(self, sql: str, database: str = "postgres") -> list[Row]:
        """Return the rows of one query. Raises HostError."""
        return _rows(self.run(self.psql(database, f"--command={sql}"), what="psql"))

    def psql(self, database: str, *more: str) -> Command:
        return command(*_PSQL, f"--username={self.user}", f"--dbname={conninfo(database)}", *more)

    @contextmanager
    def session(self, database: str) -> Iterator["Session"]:
        """Open a session that ends with the context, or with us, whatever ends us."""
        process = self.start(self.psql(database), what=f"psql to {database}")
        try:
            yield Session(process)
            with suppress(HostError):
                process.finish()
        finally:
            process.close()


class Session:
    """One open session: questions go in, rows come out in the same order."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._rest = b""

    def send(self, sql: str) -> None:
        """Ask without waiting. Raises HostError where the session has ended."""
        self._process.write(f"{sql};\nSELECT '{_MARK}';\n".encode())

    def answer(self) -> list[Row]:
        """Wait for the rows of the oldest question. Raises HostError where it failed, and the session with it."""
        mark = f"{_MARK}\0".encode()
        while mark not in self._rest:
            if not (piece := self._process.some()):
                self._process.check()
                raise HostError(f"{self._process.what} ended while it was needed")
            self._rest += piece
        found, _, self._rest = self._rest.partition(mark)
        return _rows(found)

    def take_time(self) -> None:
        """From here on, answers may take hours."""
        self._process.patience *= SLOW

    def ask(self, sql: str) -> list[Row]:
        """Ask one question and wait for its rows."""
        self.send(sql)
        return self.answer()


def client(docker: Docker, container: str, *, user: str, login: Login | None, patience: float = PATIENCE) -> Client:
    """Return the client for a server; without a login, as the user who owns the data."""
    owner = "" if login else docker.inside(container, script(_OWNER)).decode().strip()
    return Client(docker, container, user, owner, login, patience)


def conninfo(database: str) -> str:
    """A database's name where libpq would otherwise read a connection string in it."""
    escaped = database.replace("\\", "\\\\").replace("'", "\\'")
    return f"dbname='{escaped}'"


def literal(text: str) -> str:
    """A text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def identifier(text: str) -> str:
    """A text as an SQL name."""
    return '"' + text.replace('"', '""') + '"'


def _rows(output: bytes) -> list[Row]:
    records = output.decode(errors="surrogateescape").split("\0")
    return [record.lstrip("\n").split("\x1f") for record in records if record.strip("\n")]
