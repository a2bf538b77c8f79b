"""A host for tests: files in memory, programs in Python, and a record of everything that was asked.

It is held to the same contract suite as the real hosts.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from toolkit.host.base import failed
from toolkit.host.protocol import File, Follow
from toolkit.words.command import Command, Result
from toolkit.words.errors import HostError, Unreachable

Program = Callable[[Command], Result]


@dataclass
class FakeHost:
    """`programs` are looked up by the whole command line first, then by the program's name."""

    name: str = "fake"
    programs: dict[str, Program] = field(default_factory=dict)
    files: dict[str, File] = field(default_factory=dict)
    ran: list[Command] = field(default_factory=list)
    cut: bool = False

    def answer(self, program: str, stdout: str | bytes = "", *, code: int = 0, stderr: str = "") -> None:
        """Let a program, or one exact command line, answer always the same."""
        out = stdout.encode() if isinstance(stdout, str) else stdout
        self.programs[program] = lambda command: Result(command, code, out, stderr.encode())

    def run(self, command: Command, *, check: bool = True, follow: Follow | None = None) -> Result:
        if self.cut:
            raise Unreachable(f"the connection ended while running: {command}")
        self.ran.append(command)
        result = self._program(command)(command)
        for line in result.text.splitlines() if follow else ():
            assert follow is not None
            follow(line)
        if check and not result.ok:
            raise failed(self.name, result)
        return result

    def _program(self, command: Command) -> Program:
        program = self.programs.get(command.line()) or self.programs.get(command.argv[0])
        if program is None:
            return lambda command: Result(command, 127, b"", f"{command.argv[0]}: not found".encode())
        return program

    def open(self, command: Command) -> "FakeProcess":
        self.ran.append(command)
        return FakeProcess(self._program(command), command)

    def send(self, files: Sequence[File]) -> None:
        if self.cut:
            raise Unreachable("the connection ended while sending files")
        self.files.update({file.path: file for file in files})

    def fetch(self, path: str) -> bytes:
        if path not in self.files:
            raise HostError(f"{self.name}: cat: {path}: No such file or directory")
        return self.files[path].body

    def prove_login(self, port: int | None = None) -> None:
        if self.cut:
            raise Unreachable(f"{self.name}: cannot log in (port {port})")

    def close(self) -> None:
        self.cut = True


class FakeProcess:
    """Gathers what is written, then runs the program once and plays back its output."""

    def __init__(self, program: Program, command: Command) -> None:
        self._program = program
        self._command = command
        self._given = command.input()
        self._result: Result | None = None
        self._read = False

    def write(self, data: bytes) -> None:
        self._given += data

    def finish(self) -> None:
        self._result = self._program(Command(self._command.argv, self._given, self._command.env))

    def read(self) -> tuple[bytes, bytes]:
        if self._read:
            return b"", b""
        self._read = True
        return self._outcome().stdout, self._outcome().stderr

    def wait(self) -> int:
        return self._outcome().code

    def close(self) -> None:
        self._read = True

    def kill(self) -> None:
        self.close()

    def _outcome(self) -> Result:
        if self._result is None:
            self.finish()
        assert self._result is not None
        return self._result
