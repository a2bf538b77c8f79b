"""This machine as a host: `connection: local` in a host file."""

import os
import selectors
import signal
import subprocess
from contextlib import suppress

from toolkit.host.base import ShellHost
from toolkit.host.escalate import AskPassword
from toolkit.host.protocol import Process


class LocalProcess:
    """A child process with binary pipes."""

    def __init__(self, line: str) -> None:
        # A session of its own: Ctrl-C on the terminal is ours to handle, not the child's.
        self._child = subprocess.Popen(
            ["/bin/sh", "-c", line],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
        self._selector = selectors.DefaultSelector()
        for index, pipe in enumerate((self._child.stdout, self._child.stderr)):
            assert pipe is not None
            self._selector.register(pipe.fileno(), selectors.EVENT_READ, index)

    def write(self, data: bytes) -> None:
        assert self._child.stdin is not None
        view = memoryview(data)
        try:
            while view:
                view = view[self._child.stdin.write(view) or 0 :]
        except (BrokenPipeError, ValueError):
            # The child has ended; its exit code says why, and `wait` tells.
            return

    def finish(self) -> None:
        assert self._child.stdin is not None
        self._child.stdin.close()

    def read(self) -> tuple[bytes, bytes]:
        while self._selector.get_map():
            found = [b"", b""]
            for key, _ in self._selector.select():
                found[key.data] = os.read(key.fd, 1 << 16)
                if not found[key.data]:
                    self._selector.unregister(key.fd)
            if found[0] or found[1]:
                return found[0], found[1]
        return b"", b""

    def wait(self) -> int:
        return self._child.wait()

    def close(self) -> None:
        for pipe in (self._child.stdin, self._child.stdout, self._child.stderr):
            if pipe is not None:
                pipe.close()
        self._selector.close()
        self._child.wait()

    def kill(self) -> None:
        # Its own session is its own process group: everything it started goes with it.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._child.pid, signal.SIGKILL)
        self.close()


class LocalHost(ShellHost):
    """Runs everything here, through the same root shell a remote host has."""

    def __init__(self, name: str, ask: AskPassword) -> None:
        super().__init__(name, ask)

    def spawn(self, line: str) -> Process:
        return LocalProcess(line)

    def is_root(self) -> bool:
        return os.geteuid() == 0

    def prove_login(self, port: int | None = None) -> None:
        """There is no login to lose on this machine."""
