"""MariaDB and MySQL: one dump of all databases in one transaction, and the accounts as statements.

While the dump begins, commits wait for some tenths of a second, so that rows can be counted in the very state that it
sees. A dump that begins and is then read slowly, because a store is slow, would be cut off by the server after a
minute; the server is told to be patient with it.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

from toolkit.repository.inputs import Input, Readable, Stream
from toolkit.sources import mysql_load, mysql_probe
from toolkit.sources.docker import Docker, Inside
from toolkit.sources.login import Login
from toolkit.sources.mysql_client import DATABASES, Client, Session, client
from toolkit.sources.mysql_users import statements
from toolkit.sources.process import PATIENCE, SLOW
from toolkit.sources.protocol import Capture, Facts, Into, Place, Probe, Stored, iso
from toolkit.sources.streams import streamed, text
from toolkit.words.errors import HostError

DUMP, USERS = "databases.sql", "users.sql"
# Both kinds of client take these; what only one of them knows is `loose`.
_DUMP = (
    "--single-transaction", "--quick", "--skip-lock-tables", "--routines", "--triggers", "--events", "--hex-blob",
    "--skip-dump-date", "--no-tablespaces", "--default-character-set=utf8mb4", "--loose-set-gtid-purged=OFF",
    "--loose-column-statistics=0", "--databases",
)  # fmt: skip
_BEGUN = b"-- Current Database"
_WHOLE = b"-- Dump completed"
# Holds commits back and nothing else (MariaDB from 10.4); elsewhere, a read lock that gives up rather than wait.
_HOLD = {
    "MariaDB": ("BACKUP STAGE START", "BACKUP STAGE BLOCK_COMMIT"),
    "MySQL": ("FLUSH TABLES WITH READ LOCK",),
}
_SLOW = 86400
_RELEASE = {"MariaDB": "BACKUP STAGE END", "MySQL": "UNLOCK TABLES"}
_SNAPSHOT = (
    "SET SESSION wait_timeout = 604800",
    "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
    "START TRANSACTION WITH CONSISTENT SNAPSHOT",
)
# Commits are held back for no longer than this, in seconds: a dump that cannot begin must not stop the application.
_AT_MOST = 10.0


@dataclass(frozen=True, kw_only=True)
class Mysql:
    """All databases of one server. Tables of engines without transactions are dumped as they are when it gets there.

    `login` is the account that dumps: root without a password where none is given.
    """

    name: str
    login: Login | None = None
    count: bool = True
    patience: float = PATIENCE
    kind: ClassVar[str] = "mysql"
    loads_into: ClassVar[Into] = "container"

    @contextmanager
    def capture(self, docker: Docker, place: Place) -> Iterator[Capture]:
        """Begin the dump; it waits in its pipe until it is read. Needs a container."""
        place.need("container")
        inspected = docker.inspect("container", place.container)[0]
        to = client(docker, place.container, self.login, self.patience)
        with ExitStack() as stack:
            counting = stack.enter_context(to.session())
            version = counting.ask("SELECT VERSION()")[0][0]
            engine = "MariaDB" if "MariaDB" in version else "MySQL"
            databases = [row[0] for row in counting.ask(DATABASES)]
            accounts, unshown = statements(to)
            dump = _begin(stack, to, counting, engine, databases) if databases else None
            moment = dump.moment if dump else time.time()
            about = {"engine": engine, "version": version, "image": docker.digest(inspected), "moment": iso(moment)}
            about["reference"] = inspected["Config"]["Image"]
            shown = {**about, "unshown": unshown}
            inputs: list[Input] = [Stream(f"{self.name}/{USERS}", partial(text, accounts), self.kind, lambda: shown)]
            if dump:
                facts = partial(dump.facts, {**about, "databases": databases}, count=self.count)
                inputs.append(Stream(f"{self.name}/{DUMP}", dump.read, self.kind, facts))
            yield Capture(inputs, moment)

    def load(self, docker: Docker, stored: Stored, place: Place) -> None:
        """Run the dump, then the accounts. What is there is dropped, if the place says `replace`."""
        place.need("container")
        to = client(docker, place.container, self.login, self.patience * SLOW)
        mysql_load.load(to, stored, replace=place.replace)

    def probe(self, docker: Docker, place: Place, facts: Mapping[str, Facts]) -> Probe:
        """Run the server's own check over every table, and count."""
        place.need("container")
        return mysql_probe.probe(client(docker, place.container, self.login, self.patience * SLOW), self.name, facts)


@dataclass
class _Dump:
    """A dump that has begun, and a session that sees what it sees, if one does."""

    process: Inside
    counting: Session | None
    moment: float
    first: bytes = field(repr=False)

    @contextmanager
    def read(self) -> Iterator[Readable]:
        with streamed(self.process, says=_WHOLE, first=self.first) as whole:
            yield whole

    def facts(self, about: Facts, *, count: bool) -> Facts:
        if self.counting is None or not count:
            return about
        self.counting.take_time()
        return {**about, "counts": mysql_probe.count(self.counting)}


def _begin(stack: ExitStack, to: Client, counting: Session, engine: str, databases: list[str]) -> _Dump:
    """Start the dump while commits wait, so that the counting session begins in the same state."""
    with _patient(to), to.session() as holding:
        held = _held(holding, engine)
        try:
            for statement in _SNAPSHOT:
                counting.ask(statement)
            moment = time.time()
            process = stack.enter_context(_closing(to.start("dump", *_DUMP, *databases)))
            first = _until_begun(process)
        finally:
            if held:
                holding.ask(_RELEASE[engine])
    return _Dump(process, counting if held and _BEGUN in first else None, moment, first)


def _held(holding: Session, engine: str) -> bool:
    """Hold commits back; False where the server would make us wait, or does not let us."""
    with suppress(HostError):
        for statement in ("SET SESSION lock_wait_timeout = 5", *_HOLD[engine]):
            holding.ask(statement)
        return True
    return False


@contextmanager
def _patient(to: Client) -> Iterator[None]:
    """Let connections made inside the context wait a day for their reader, where we may say so."""
    with ExitStack() as stack:
        with suppress(HostError):
            session = stack.enter_context(to.session())
            before = int(session.ask("SELECT @@global.net_write_timeout")[0][0])
            # A connection takes the server's setting when it is made; a dump has no other way to be told.
            session.ask(f"SET GLOBAL net_write_timeout = {max(before, _SLOW)}")
            stack.callback(session.ask, f"SET GLOBAL net_write_timeout = {before}")
        yield


def _until_begun(process: Inside) -> bytes:
    """Read until the first database is named: by then the dump's transaction is open. Gives up after a while."""
    process.finish()
    first, deadline = b"", time.monotonic() + _AT_MOST
    while _BEGUN not in first and process.ready(deadline - time.monotonic()):
        if not (piece := process.some()):
            process.check()
            break
        first += piece
    return first


@contextmanager
def _closing(process: Inside) -> Iterator[Inside]:
    try:
        yield process
    finally:
        process.close()
