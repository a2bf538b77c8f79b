"""What a host over SSH and the local machine share: everything but how a line of shell is started."""

import shlex
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property

from toolkit.host import archive
from toolkit.host.escalate import AskPassword, Escalation, root_shell
from toolkit.host.protocol import File, Follow, Process
from toolkit.host.shell import Shell
from toolkit.words.command import Command, Result, command
from toolkit.words.errors import HostError


class ShellHost(ABC):
    """A host whose commands all travel through one persistent root shell."""

    def __init__(self, name: str, ask: AskPassword) -> None:
        self._name = name
        self._ask = ask

    @property
    def name(self) -> str:
        return self._name

    @abstractmethod
    def spawn(self, line: str) -> Process:
        """Start a line of shell as the login user."""

    @abstractmethod
    def is_root(self) -> bool:
        """Whether the login user is root already."""

    @cached_property
    def _root(self) -> tuple[Shell, Escalation]:
        return root_shell(self.spawn, is_root=self.is_root(), name=self.name, ask=self._ask)

    def run(self, command: Command, *, check: bool = True, follow: Follow | None = None) -> Result:
        try:
            result = self._root[0].run(command, follow)
        except BaseException:
            # The shell is in the middle of a command whose answer nobody will read: the next one gets its own.
            self._abandon()
            raise
        if check and not result.ok:
            raise failed(self.name, result)
        return result

    def open(self, command: Command) -> Process:
        _, escalation = self._root
        process = escalation.spawn(self.spawn, f"exec {_environment(command)}")
        if given := command.input():
            process.write(given)
        return process

    def send(self, files: Sequence[File]) -> None:
        if files:
            result = self._root[0].run(archive.send(files))
            if not result.ok:
                raise _not_written(self.name, files, result)

    def fetch(self, path: str) -> bytes:
        return self.run(command("cat", "--", path)).stdout

    @abstractmethod
    def prove_login(self, port: int | None = None) -> None: ...

    def _abandon(self) -> None:
        # Taken out in one step: a second thread may be at it too.
        if root := self.__dict__.pop("_root", None):
            with suppress(Exception):
                root[0].kill()

    def close(self) -> None:
        if root := self.__dict__.pop("_root", None):
            root[0].close()


def _environment(command: Command) -> str:
    # `exec` takes no assignments before it: env carries them.
    words = [f"{name}={value}" for name, value in command.env]
    return shlex.join(["env", *words, *command.argv] if words else command.argv)


def failed(name: str, result: Result) -> HostError:
    """Return the error for a command that failed, with its last words."""
    said = f":\n{result.complaint}" if result.complaint else ""
    return HostError(f"{name}: exit code {result.code} from `{result.command}`{said}", hint=_way_out(result.complaint))


def _not_written(name: str, files: Sequence[File], result: Result) -> HostError:
    first = files[0].path + (f" and {len(files) - 1} more" if len(files) > 1 else "")
    return HostError(f"{name}: cannot write {first}:\n{result.complaint}", hint=_way_out(result.complaint))


def _way_out(complaint: str) -> str:
    if "No space left on device" in complaint:
        return "the disk is full: free some space (`df -h`, `df -i`) and run the same again"
    if "Read-only file system" in complaint:
        return "the file system is read-only: look at `dmesg` on the host before anything else"
    return "the lines above are the host's own words; `--debug` shows the whole command"
