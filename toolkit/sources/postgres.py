"""PostgreSQL: roles, and a dump of each database, all as of one moment, read while the database goes on working.

The moment is an exported snapshot per database: pg_dump and the counting of rows both read in it. The dump's format is
`custom` without compression, so that a change of a few rows is a change of a few chunks; the repository compresses.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from toolkit.repository.inputs import Readable, Stream
from toolkit.sources import postgres_load, postgres_probe
from toolkit.sources.docker import Docker
from toolkit.sources.login import Login
from toolkit.sources.postgres_client import Client, Session, client, conninfo
from toolkit.sources.postgres_load import GLOBALS
from toolkit.sources.postgres_sql import COUNTS, DATABASES, EXTENSIONS, SERVER, UNLIMITED
from toolkit.sources.process import PATIENCE, SLOW
from toolkit.sources.protocol import Capture, Facts, Into, Place, Probe, Stored, iso
from toolkit.sources.streams import streamed
from toolkit.words.command import command


@dataclass(frozen=True, kw_only=True)
class Postgres:
    """The databases of one server.

    `login` only where the socket inside the container asks for a password. `count` reads every table once more, for
    the proof that the same rows came back. Passwords of roles are in the backup, as the hashes the server keeps.
    """

    name: str
    user: str = "postgres"
    login: Login | None = None
    count: bool = True
    patience: float = PATIENCE
    kind: ClassVar[str] = "postgres"
    loads_into: ClassVar[Into] = "container"

    @contextmanager
    def capture(self, docker: Docker, place: Place) -> Iterator[Capture]:
        """Export a snapshot of every database, and stream dumps of them. Needs a container."""
        place.need("container")
        inspected = docker.inspect("container", place.container)[0]
        to = client(docker, place.container, user=self.user, login=self.login, patience=self.patience)
        with ExitStack() as stack:
            version, _ = to.rows(SERVER)[0]
            databases = [json.loads(row[0]) for row in to.rows(DATABASES)]
            held = {about["name"]: stack.enter_context(to.session(about["name"])) for about in databases}
            snapshots = {name: _export(session) for name, session in held.items()}
            moment = time.time()
            head = {"engine": "PostgreSQL", "version": version, "image": docker.digest(inspected)}
            head |= {"reference": inspected["Config"]["Image"], "moment": iso(moment)}
            inputs = [Stream(f"{self.name}/{GLOBALS}", partial(_globals, to), self.kind, lambda: head)]
            for about in databases:
                dump = _Dump(to, held[about["name"]], snapshots[about["name"]], head | about, count=self.count)
                inputs.append(Stream(f"{self.name}/{dump_name(about['name'])}", dump.open, self.kind, dump.facts))
            yield Capture(inputs, moment)

    def load(self, docker: Docker, stored: Stored, place: Place) -> None:
        """Create roles and databases and restore each. What is there is dropped, if the place says `replace`."""
        place.need("container")
        to = client(docker, place.container, user=self.user, login=self.login, patience=self.patience * SLOW)
        postgres_load.load(to, stored, replace=place.replace)

    def probe(self, docker: Docker, place: Place, facts: Mapping[str, Facts]) -> Probe:
        """Run pg_amcheck over every database, and count."""
        place.need("container")
        to = client(docker, place.container, user=self.user, login=self.login, patience=self.patience * SLOW)
        dumps = {each["name"]: each for name, each in facts.items() if name.endswith(".dump")}
        return postgres_probe.probe(to, self.name, dumps)


def dump_name(database: str) -> str:
    """The input's name below the source. A name that cannot be part of a path is written in percent signs."""
    safe = "".join(c if c.isalnum() or c in "-_." else "".join(f"%{b:02x}" for b in c.encode()) for c in database)
    return f"databases/{'%2e' + safe[1:] if safe.startswith('.') else safe}.dump"


def _export(session: Session) -> str:
    session.ask(UNLIMITED)
    session.ask("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    return str(session.ask("SELECT pg_export_snapshot()")[0][0])


@contextmanager
def _globals(to: Client) -> Iterator[Readable]:
    words = command("pg_dumpall", "--globals-only", "--no-password", f"--username={to.user}", "--lock-wait-timeout=60s")
    with streamed(to.start(words, what="pg_dumpall"), says=b"dump complete") as process:
        yield process


@dataclass
class _Dump:
    """One database's dump, and the counts in the same snapshot."""

    to: Client
    session: Session
    snapshot: str
    about: Mapping[str, Any]
    count: bool

    @contextmanager
    def open(self) -> Iterator[Readable]:
        name = self.about["name"]
        options = ("--format=custom", "--compress=0", f"--snapshot={self.snapshot}", "--lock-wait-timeout=60s")
        dump = command("pg_dump", "--no-password", f"--username={self.to.user}", *options, f"--dbname={conninfo(name)}")
        with streamed(self.to.start(dump, what=f"pg_dump of {name}")) as stream:
            yield _Begun(stream, self._send_count if self.count else lambda: None)

    def _send_count(self) -> None:
        # The server counts while it dumps; the answers wait in the pipe until `facts` wants them.
        self.session.send(COUNTS)

    def facts(self) -> Facts:
        self.session.take_time()
        counts = {row[0]: int(row[1]) for row in self.session.answer()} if self.count else {}
        extensions = [row[0] for row in self.session.ask(EXTENSIONS)]
        return {**self.about, "extensions": extensions, **({"counts": counts} if self.count else {})}


@dataclass
class _Begun:
    """Passes a dump on. With its first byte the dump has taken the snapshot over, and nothing can take it away."""

    stream: Readable
    tell: Callable[[], None]
    told: bool = False

    def read(self, size: int, /) -> bytes:
        piece = self.stream.read(size)
        if not self.told:
            self.told = True
            self.tell()
        return piece
