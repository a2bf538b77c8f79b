"""A persistent root shell: many commands over one pair of pipes, each with its own input, output and exit code.

The far side is a POSIX `sh` in a loop. A request is a line with three words (bytes of script, bytes of input, a
token), then the script, then the input. `read` takes its line byte by byte and `head -c` takes exactly what it was
told, so nothing reads ahead into the next request. The answer ends with the token and the exit code on standard
output, and with the token on standard error.
"""

import secrets
from collections.abc import Iterator
from threading import Thread

from toolkit.host.protocol import Follow, Process
from toolkit.words.command import Command, Result
from toolkit.words.errors import Unreachable

READY = "toolkit-shell-ready"

LOOP = f"""
export LC_ALL=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HISTFILE=/dev/null
umask 022
cd /
echo {READY}
while read -r size input token; do
  text=$(head -c "$size")
  head -c "$input" | {{ ( eval "$text" ); code=$?; cat >/dev/null; exit "$code"; }}
  printf '\\n%s %s\\n' "$token" "$?"
  printf '%s' "$token" >&2
done
"""

# Beyond this the input is fed from a thread: the far side may want to be read before it goes on reading.
INLINE_INPUT = 32 * 1024


class Shell:
    """Runs commands one after the other over a process that executes `LOOP` and has said `READY`."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def run(self, command: Command, follow: Follow | None = None) -> Result:
        """Run one command. Raises Unreachable when the shell ends before it answered."""
        token = secrets.token_hex(8)
        text, given = command.line().encode(), command.input()
        self._feed(f"{len(text)} {len(given)} {token}\n".encode() + text + given)
        return self._answer(command, token, follow)

    def _feed(self, request: bytes) -> None:
        if len(request) <= INLINE_INPUT:
            self._process.write(request)
        else:
            Thread(target=self._process.write, args=(request,), daemon=True).start()

    def _answer(self, command: Command, token: str, follow: Follow | None) -> Result:
        out, err = bytearray(), bytearray()
        mark, lines = f"\n{token} ".encode(), _Lines(token, follow)
        while not (err.endswith(token.encode()) and mark in out[-64:] and out.endswith(b"\n")):
            more_out, more_err = self._process.read()
            if not more_out and not more_err:
                raise Unreachable(
                    f"the connection ended while running: {command}", hint="run the same again: it continues from there"
                )
            out += more_out
            err += more_err
            lines.add(more_out, more_err)
        body, _, code = bytes(out).rpartition(mark)
        return Result(command, int(code), body, bytes(err[: -len(token)]))

    def close(self) -> None:
        self._process.close()

    def kill(self) -> None:
        """End it with whatever it is running."""
        self._process.kill()


class _Lines:
    """Cuts the two streams into lines for a follower, and keeps the framing to itself."""

    def __init__(self, token: str, follow: Follow | None) -> None:
        self._token = token
        self._follow = follow
        self._held: list[str] = []
        self._rest = [b"", b""]

    def add(self, out: bytes, err: bytes) -> None:
        if self._follow is None:
            return
        for line in [*self._cut(0, out), *self._cut(1, err)]:
            # One line is held back: the empty one before the token is framing, not output.
            if line.startswith(self._token):
                self._held.clear()
                continue
            self._release()
            self._held.append(line)

    def _cut(self, stream: int, data: bytes) -> Iterator[str]:
        *whole, self._rest[stream] = (self._rest[stream] + data).split(b"\n")
        for line in whole:
            yield line.decode(errors="replace").rstrip("\r")

    def _release(self) -> None:
        for line in self._held:
            if self._follow:
                self._follow(line)
        self._held.clear()
