"""Drilling: a drill on this host for somebody on the control side, who lends it a way to the backups for that time.

All of it lives in this process: an identity that was lent is never on a disk, and the sandbox goes when the process
does, also when the connection is cut. What a killed one leaves is removed by the next drill, or by `drill clean`.
"""

import json
import os
import signal
import sys
import threading
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from typing import Any, BinaryIO

from toolkit.agent import audit, memory
from toolkit.agent.paths import Paths
from toolkit.drill import box
from toolkit.drill.rehearsal import Drill, perform
from toolkit.drill.report import Report
from toolkit.drill.wish import parse
from toolkit.host.local import LocalHost
from toolkit.machine import registry
from toolkit.repository.reach import Reach
from toolkit.sources.docker import Docker
from toolkit.words.clock import SystemClock
from toolkit.words.errors import HostError
from toolkit.words.values import Secret

_IDLE_CLASS = 3
_NICE = 15


class Lines:
    """A listener that writes JSON lines. Once nobody reads them any more, it is silent: the work is being ended."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._gone = False
        self._lock = threading.Lock()

    def write(self, kind: str, **fields: Any) -> None:
        """Write one event. Raises BrokenPipeError once where nobody reads."""
        with self._lock:
            if self._gone:
                return
            try:
                self._stream.write(json.dumps({"kind": kind, **fields}).encode() + b"\n")
                self._stream.flush()
            except BrokenPipeError:
                self._gone = True
                raise KeyboardInterrupt from None

    def step(self, title: str) -> None:
        self.write("step", text=title)

    def line(self, text: str) -> None:
        self.write("line", text=text)

    def progress(self, done: float, total: float, note: str = "") -> None:
        # A size is told in bytes; whoever renders it knows by `size`.
        self.write("progress", done=float(done), total=float(total), note=note, size=type(done).__name__ == "Size")

    def done(self, note: str = "") -> None:
        self.write("done", text=note)

    def warn(self, text: str) -> None:
        self.write("warn", text=text)


def run(paths: Paths, header: Mapping[str, Any], body: bytes, stream: BinaryIO) -> Report:
    """Carry out one drill and return its report. Raises what says nothing of the backup: Locked, HostError."""
    wish = parse(header["wish"])
    memory.ensure(paths)
    given = json.loads(body)
    reach = Reach.parse(header["reach"], Secret(json.dumps(given["reach"]).encode()))
    logins = [registry.Login(one["registry"], one["user"], Secret.of(one["token"])) for one in given["logins"]]
    if wish.beside:
        _step_back()
    _end_with_the_connection()
    lines = Lines(stream)

    def login() -> AbstractContextManager[str]:
        # Without logins, the host's own configuration counts, as it does for `docker pull`.
        return registry.logged_in(LocalHost("drill", _nobody_to_ask), logins) if logins else nullcontext("")

    docker, others = Docker(), tuple(Secret.of(text) for text in given["others"])
    # The store's certificate lies in a box of its own, so that it goes as everything else does.
    place = box.Box.drawn(docker, paths.root)
    with place.opened() if reach.ca else nullcontext():
        repository = reach.repository(place.memory, lines.warn)
        report = perform(Drill(wish, repository, docker, SystemClock(), lines, login, others, paths.root))
    audit.record(paths, "drill", host=wish.host, level=wish.level, who=wish.who, result=report.verdict)
    return report


def clean(paths: Paths) -> list[str]:
    """Remove what killed drills left."""
    return box.clean_up(Docker(), paths.root)


def told(report: Report) -> dict[str, Any]:
    return asdict(report)


def _step_back() -> None:
    """Let production go first: the processor and the disk are this process's when nobody else wants them."""
    os.nice(_NICE)
    # ioprio_set(2) has no wrapper in Python; a host without ionice has the first half.
    import shutil
    import subprocess

    if program := shutil.which("ionice"):
        subprocess.run([program, "--class", str(_IDLE_CLASS), "--pid", str(os.getpid())], check=False)


def _end_with_the_connection() -> None:
    """Take the sandbox away when the control side goes: its end of our standard input closes."""

    def asked(_signal: int, _frame: object) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, asked)

    def watch() -> None:
        if not sys.stdin.buffer.read(1):
            os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def _nobody_to_ask() -> Secret:
    raise HostError("the drill does not run as root", hint="log in as root, or with sudo")
