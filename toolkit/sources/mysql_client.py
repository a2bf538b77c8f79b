"""MariaDB's and MySQL's clients inside the container, under whichever names the image has them."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from toolkit.sources.docker import Docker, Inside
from toolkit.sources.login import Login
from toolkit.sources.process import PATIENCE, SLOW, Process
from toolkit.words.command import command, script
from toolkit.words.errors import HostError

Row = list[str]

_MARK = "toolkit: end of answer"
_NAMES = "for name in mariadb mysql; do command -v $name >/dev/null && { echo $name; exit; }; done; exit 127"
_PROGRAMS = {
    "mariadb": {"dump": "mariadb-dump", "check": "mariadb-check"},
    "mysql": {"dump": "mysqldump", "check": "mysqlcheck"},
}
_BATCH = ("--batch", "--skip-column-names", "--unbuffered", "--default-character-set=utf8mb4")

SYSTEM = "('information_schema', 'performance_schema', 'mysql', 'sys')"
DATABASES = f"SELECT schema_name FROM information_schema.schemata WHERE schema_name NOT IN {SYSTEM} ORDER BY 1"  # noqa: S608


@dataclass(frozen=True)
class Client:
    """One server, by its local socket."""

    docker: Docker
    container: str
    login: Login | None
    patience: float
    program: str

    def start(self, program: str, *words: str) -> Inside:
        """Start `client`, `dump` or `check`."""
        name = _PROGRAMS[self.program].get(program, self.program)
        user = () if self.login else ("--user=root",)
        wanted = command(name, *user, *words)
        return self.docker.start(self.container, wanted, login=self.login, patience=self.patience, what=name)

    @contextmanager
    def session(self, *more: str) -> Iterator["Session"]:
        """Open a session that ends with the context, or with us, whatever ends us."""
        process = self.start("client", *_BATCH, *more)
        try:
            yield Session(process)
            with suppress(HostError):
                process.finish()
        finally:
            process.close()


class Session:
    """One open session."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._rest = b""

    def take_time(self) -> None:
        """From here on, answers may take hours."""
        self._process.patience *= SLOW

    def ask(self, sql: str) -> list[Row]:
        """Run one statement and return its rows. Raises HostError where it fails, and the session with it."""
        self._process.write(f"{sql};\nSELECT '{_MARK}';\n".encode())
        mark = f"{_MARK}\n".encode()
        while mark not in self._rest:
            if not (piece := self._process.some()):
                self._process.check()
                raise HostError(f"{self._process.what} ended while it was needed")
            self._rest += piece
        found, _, self._rest = self._rest.partition(mark)
        lines = found.decode(errors="surrogateescape").split("\n")
        return [[_plain(field) for field in line.split("\t")] for line in lines if line]


def client(docker: Docker, container: str, login: Login | None, patience: float = PATIENCE) -> Client:
    """Return the client for a server. Raises HostError where the image has none."""
    return Client(docker, container, login, patience, docker.inside(container, script(_NAMES)).decode().strip())


def name(text: str) -> str:
    """A text as an SQL name."""
    return "`" + text.replace("`", "``") + "`"


def literal(text: str) -> str:
    """A text as an SQL literal."""
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def _plain(field: str) -> str:
    """Undo the escapes of batch output."""
    pieces = field.split("\\\\")
    return "\\".join(piece.replace("\\n", "\n").replace("\\t", "\t").replace("\\0", "\0") for piece in pieces)
