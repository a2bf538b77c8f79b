"""The journal of a deploy: JSON lines on the host's disk, written by the driver and followed from anywhere.

The first line says what was asked for; the last has the kind `end` and the outcome. What a listener hears is between
them, so whoever attaches later sees what everybody saw.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from toolkit.stack.place import Place

SUFFIX = ".jsonl"
KEEP = 50
# A service that talks without end must not fill the disk through us.
LONGEST = 4000
MOST = 8 << 20
POLL = 0.05

Event = Mapping[str, Any]


class Journal:
    """Appends events. A full disk costs lines, never the deploy."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path = path
        self._stream = path.open("ab", buffering=0)
        self._size = path.stat().st_size

    def write(self, kind: str, **fields: Any) -> None:
        line = json.dumps({"at": round(time.time(), 3), "kind": kind, **fields}, ensure_ascii=False).encode() + b"\n"
        if self._size + len(line) > MOST and kind == "line":
            return
        with suppress(OSError):
            self._size += self._stream.write(line) or 0

    def close(self) -> None:
        self._stream.close()


class Scribe:
    """A listener that writes what it hears into a journal."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._told = ""

    def step(self, title: str) -> None:
        self._journal.write("step", text=title)

    def line(self, text: str) -> None:
        self._journal.write("line", text=text[:LONGEST])

    def progress(self, done: float, total: float, note: str = "") -> None:
        # The same again is no news, and a gate looks every second.
        if note != self._told:
            self._told = note
            self._journal.write("progress", done=done, total=total, note=note[:LONGEST])

    def done(self, note: str = "") -> None:
        self._journal.write("done", text=note)

    def warn(self, text: str) -> None:
        self._journal.write("warn", text=text[:LONGEST])


def path_of(place: Place, name: str) -> Path:
    return place.state / f"{name}{SUFFIX}"


def names(place: Place) -> list[str]:
    """Return the journals of a stack, oldest first."""
    return sorted(path.name.removesuffix(SUFFIX) for path in place.state.glob(f"*{SUFFIX}"))


def read(path: Path) -> Iterator[Event]:
    """Yield the events that are there. Half a line at the end, or a damaged one, is passed over."""
    with suppress(FileNotFoundError):
        for line in path.read_bytes().split(b"\n"):
            with suppress(ValueError):
                yield json.loads(line)


def follow(path: Path, *, alive: Callable[[], bool], sleep: Callable[[float], None] = time.sleep) -> Iterator[bytes]:
    """Yield each line as it is written, to the end; stops early where nobody is alive to write on."""
    rest = b""
    with path.open("rb") as stream:
        while True:
            was_alive = alive()
            while piece := stream.read(1 << 16):
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    yield line
                    if b'"kind": "end"' in line:
                        return
            if not was_alive:
                return
            sleep(POLL)


def prune(place: Place) -> None:
    """Remove all but the newest journals."""
    for name in names(place)[:-KEEP]:
        path_of(place, name).unlink(missing_ok=True)
