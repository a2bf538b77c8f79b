"""Processes as streams: bytes come or go until the program's own exit code says that they were all.

A pipe's end proves nothing: a dump that dies half-way ends its pipe as well. And a program that hangs would hang us;
whoever waits for it here gives up after a while without a byte, and ends it.
"""

import fcntl
import os
import select
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from toolkit.words.errors import HostError

PATIENCE = 600.0
"""Seconds without a byte after which a program counts as hung."""
SLOW = 36
"""So many times longer for work that says nothing while it goes on: making an index, counting, checking."""

_PIPE = 1 << 20
_TICK = 0.5
_TAIL = 8192
_GRACE = 10.0
_LEAVE = 1.0


class Process:
    """A child with binary pipes, watched while somebody waits for it. `what` names it in errors.

    `end` ends what the child started elsewhere (in a container); it is called when the child is given up.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        what: str,
        patience: float = PATIENCE,
        end: Callable[["Process"], None] | None = None,
        env: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self.what = what
        self.patience = patience
        self._end = end
        self._child = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            # A session of its own: Ctrl-C on the terminal is ours to handle, not the child's.
            start_new_session=True,
            pass_fds=pass_fds,
            env=env,
        )
        self._in, self._out, self._err = (_descriptor(self._child, name) for name in ("stdin", "stdout", "stderr"))
        for pipe in (self._in, self._out):
            with suppress(OSError):
                fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE)
        self.head = b""
        self._said = bytearray()
        self._waiting = threading.Event()
        self._ended = threading.Event()
        self._beat = 0
        self.hung = False
        self._drain = threading.Thread(target=self._watch, name=f"watch {what}", daemon=True)
        self._drain.start()

    def read(self, size: int) -> bytes:
        """Return `size` bytes, fewer only at the end of the stream. Raises HostError where the program hangs."""
        pieces, left = [], size
        while left and (piece := self.some(left)):
            pieces.append(piece)
            left -= len(piece)
        return b"".join(pieces)

    def some(self, size: int = 1 << 20) -> bytes:
        """Return what there is, at least one byte; empty at the end. Raises HostError where the program hangs."""
        with self._waited():
            piece = os.read(self._out, size)
        if not piece and self.hung:
            raise self._hung()
        return piece

    def ready(self, seconds: float) -> bool:
        """Whether there is something to read, or the end, within so many seconds."""
        return bool(select.select([self._out], [], [], max(0.0, seconds))[0])

    def write(self, data: bytes) -> None:
        """Feed standard input. Raises HostError where the program hangs, or has ended before it took everything."""
        view = memoryview(data)
        while view:
            try:
                with self._waited():
                    view = view[os.write(self._in, view) :]
            except BrokenPipeError:
                self.check()
                raise HostError(f"{self.what} ended before it had read everything") from None

    def finish(self) -> None:
        """Close standard input."""
        if self._in >= 0 and self._child.stdin:
            self._child.stdin.close()
            self._in = -1

    def check(self) -> None:
        """Wait for the end. Raises HostError unless the program itself said that it succeeded."""
        self.finish()
        with self._waited():
            code = self._child.wait()
        self._ended.set()
        self._drain.join(_GRACE)
        if self.hung:
            raise self._hung()
        if (found := self.verdict(code)) != 0:
            raise HostError(f"{self.what} failed with exit code {found}{_quote(self.complaint)}", hint=self.hint)

    def verdict(self, code: int) -> int:
        """The exit code that counts: the child's own."""
        return code

    @property
    def said(self) -> bytes:
        """The end of standard error so far."""
        return bytes(self._said)

    @property
    def complaint(self) -> str:
        """The last lines of standard error, for people."""
        return "\n".join(self.said.decode(errors="replace").strip().splitlines()[-6:])

    @property
    def hint(self) -> str:
        """The way out that the program's last words suggest."""
        return way_out(self.complaint)

    def close(self) -> None:
        """End the program where it still runs, and let go of everything."""
        if self._in < 0:
            # It was told that nothing more comes, which ends most of them.
            with suppress(subprocess.TimeoutExpired):
                self._child.wait(_LEAVE)
        if self._child.poll() is None:
            self._give_up()
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe:
                with suppress(OSError):
                    pipe.close()
        with suppress(subprocess.TimeoutExpired):
            self._child.wait(_GRACE)
            self._ended.set()
        self._drain.join(_GRACE)
        if self._child.stderr and not self._drain.is_alive():
            self._child.stderr.close()

    @contextmanager
    def _waited(self) -> Iterator[None]:
        """Around what may block: only meanwhile does the watch count."""
        self._beat += 1
        self._waiting.set()
        try:
            yield
        finally:
            self._waiting.clear()

    def _watch(self) -> None:
        """Collect standard error until its end and the child's, and end the program when one wait lasts too long."""
        silent, beat, quiet = False, 0, 0.0
        while not silent or self._child.poll() is None:
            if silent:
                # Its end comes a moment after its last word; who has seen it says so, and nobody sleeps over it.
                self._ended.wait(_TICK)
            elif select.select([self._err], [], [], _TICK)[0]:
                silent = not self._hear(os.read(self._err, 1 << 16))
                # Progress that a program tells is progress.
                quiet = 0.0
                continue
            quiet = quiet + _TICK if self._waiting.is_set() and beat == self._beat else 0.0
            beat = self._beat
            if quiet >= self.patience and not self.hung:
                self.hung = True
                self._give_up()

    def _hear(self, piece: bytes) -> bool:
        self.head = self.head or piece[:64]
        self._said += piece
        del self._said[:-_TAIL]
        return bool(piece)

    def _give_up(self) -> None:
        if self._end:
            self._end(self)
        self._child.kill()

    def _hung(self) -> HostError:
        return HostError(
            f"{self.what} hung: nothing moved for {self.patience:.0f} s{_quote(self.complaint)}",
            hint="look at what it waits for: a lock, a dead disk, a stopped container",
        )


def _descriptor(child: "subprocess.Popen[bytes]", name: str) -> int:
    return int(getattr(child, name).fileno())


def _quote(complaint: str) -> str:
    return f":\n{complaint}" if complaint else ""


_LOGIN = (
    "noauth", "wrongpass", "access denied", "authentication failed", "no password", "wrong password", "cannot read /",
    "password required", "password is incorrect",
)  # fmt: skip


def way_out(complaint: str) -> str:
    """Return the hint for a program's last words."""
    lower = complaint.lower()
    if "no space left" in lower or "disk full" in lower:
        return "the disk is full: free some space and run the same again"
    if any(words in lower for words in _LOGIN):
        return "say where its password lies, as seen in the container: file:/run/secrets/… or env:NAME"
    if "no such container" in lower or "is not running" in lower:
        return "the container is gone or stopped: bring the stack up and run the same again"
    return "the lines above are the program's own words"
