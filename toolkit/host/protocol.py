"""What every host can do, whatever carries it.

Commands run as root. One host is one connection: `run` and `send` share a persistent root shell, and only
`open`, which carries binary streams of any length, asks the connection for a further channel.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from toolkit.words.command import Command, Result
from toolkit.words.values import Secret

Follow = Callable[[str], None]
"""Called with each line of output while a command runs."""


@dataclass(frozen=True)
class File:
    """A file as it should be on the host: where, what, whose. It is written whole or not at all."""

    path: str
    content: bytes | Secret = field(repr=False)
    mode: int = 0o644
    owner: str = "root"
    group: str = "root"

    @property
    def body(self) -> bytes:
        return self.content.reveal() if isinstance(self.content, Secret) else self.content


class Process(Protocol):
    """A running command with binary pipes."""

    def write(self, data: bytes) -> None:
        """Feed standard input; blocks while the other side is not reading."""

    def finish(self) -> None:
        """Close standard input."""

    def read(self) -> tuple[bytes, bytes]:
        """Wait for output; return what came on (standard output, standard error), both empty at the end."""

    def wait(self) -> int:
        """Return the exit code; -1 when the connection was lost before there was one."""

    def close(self) -> None: ...

    def kill(self) -> None:
        """End it at once, as far as the connection reaches, and close."""


class Host(Protocol):
    """A machine with root."""

    @property
    def name(self) -> str: ...

    def run(self, command: Command, *, check: bool = True, follow: Follow | None = None) -> Result:
        """Run a command to its end. Raises HostError when it fails and `check` is set; Unreachable when cut."""

    def open(self, command: Command) -> Process:
        """Start a command with binary pipes; `command.stdin` is written first."""

    def send(self, files: Sequence[File]) -> None:
        """Write files, each replaced atomically, missing folders made; all travel in one archive."""

    def fetch(self, path: str) -> bytes:
        """Return a file's content. Raises HostError."""

    def prove_login(self, port: int | None = None) -> None:
        """Log in once more, from scratch, and leave. Raises Unreachable where nobody could get in now."""

    def close(self) -> None: ...
