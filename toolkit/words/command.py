"""Commands as values: what to run, compared in tests, redacted in logs, quoted here and nowhere else."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from toolkit.words.values import Secret


@dataclass(frozen=True)
class Command:
    """One program with its arguments, its standard input and additions to its environment.

    Nothing secret belongs in `argv` or `env`: both are visible to every user of the machine. `stdin` is not.
    `called` is what people read in place of the line, where that says less than its purpose.
    """

    argv: tuple[str, ...]
    stdin: Secret | bytes | None = field(default=None, repr=False)
    env: tuple[tuple[str, str], ...] = ()
    called: str = field(default="", compare=False)

    def line(self) -> str:
        """Return the command as one line of POSIX shell, without its standard input."""
        words = [f"{name}={shlex.quote(value)}" for name, value in self.env]
        return " ".join(words + [shlex.quote(word) for word in self.argv])

    def input(self) -> bytes:
        """Return the bytes for standard input; empty where there are none."""
        return self.stdin.reveal() if isinstance(self.stdin, Secret) else self.stdin or b""

    def __str__(self) -> str:
        line = self.called or self.line()
        return line if len(line) <= 200 else line[:197] + "…"


def command(*argv: str | int, stdin: Secret | bytes | None = None, env: Mapping[str, str] | None = None) -> Command:
    """Return the command value for one program: `command("docker", "ps", "--all")`."""
    return Command(tuple(str(word) for word in argv), stdin, tuple((env or {}).items()))


def script(text: str, *arguments: str | int, stdin: Secret | bytes | None = None, called: str = "") -> Command:
    """Return a POSIX shell script as a command. Values are passed as `$1`, `$2`…, never pasted into the text."""
    return replace(command("sh", "-c", text, "sh", *arguments, stdin=stdin), called=called)


@dataclass(frozen=True)
class Result:
    """What a finished command left behind."""

    command: Command
    code: int
    stdout: bytes = b""
    stderr: bytes = b""

    @property
    def ok(self) -> bool:
        return self.code == 0

    @property
    def text(self) -> str:
        """Standard output as text; bytes that are not UTF-8 are replaced."""
        return self.stdout.decode(errors="replace")

    @property
    def complaint(self) -> str:
        """The last words of a command that failed: the end of standard error, or of standard output."""
        lines = (self.stderr.strip() or self.stdout.strip()).decode(errors="replace").splitlines()
        return "\n".join(lines[-12:])
