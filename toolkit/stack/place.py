"""Where everything of one stack is on its host; under another root in tests."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from toolkit.stack.manifest import Manifest, parse_manifest
from toolkit.words.errors import HostError, Locked

HEAL = "heal"
"""The action of whoever holds the lock, where that is the watchdog."""

# Somebody who only looks whether a lock is free holds it for a moment: whoever wants it waits that long, seconds.
GLANCES = (0.002, 0.005, 0.01)


@dataclass(frozen=True)
class Place:
    """All paths hang from one root."""

    stack: str
    root: Path = Path("/")

    @property
    def folder(self) -> Path:
        return self.root / "opt" / self.stack

    @property
    def releases(self) -> Path:
        return self.folder / "releases"

    @property
    def current(self) -> Path:
        """Link to the release that passed its gate last."""
        return self.folder / "current"

    @property
    def run(self) -> Path:
        """In memory, root's alone: the lock, requests, drafts."""
        return self.root / "run/toolkit" / self.stack

    @property
    def state(self) -> Path:
        """What outlives a reboot: journals, the mark of a deploy under way, what was found after the last one."""
        return self.root / "var/lib/toolkit/deploys" / self.stack

    @property
    def driver(self) -> Path:
        """What whoever holds the lock says of itself: a deploy's driver, or the watchdog."""
        return self.run / "driver.json"

    def release(self, name: str) -> Path:
        return self.releases / name

    def absolute(self, path: str) -> Path:
        """Return a path of the host, from its own root."""
        return self.root / path.lstrip("/")

    def prepare(self) -> None:
        """Have the folders that everything else writes into."""
        self.releases.mkdir(parents=True, exist_ok=True)
        for folder in (self.run, self.state):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def manifest(self, name: str) -> Manifest:
        """Return a release's manifest. Raises HostError where there is none, or it cannot be read."""
        try:
            found = parse_manifest((self.release(name) / "release.json").read_bytes())
        except OSError as error:
            raise HostError(
                f"{self.stack} has no release {name} on this host", hint="`invoke releases` lists those there are"
            ) from error
        if found is None:
            raise HostError(f"the manifest of release {name} is empty", hint="deploy again")
        return found

    def current_name(self) -> str:
        """Return the id of the current release; empty where none ever passed."""
        try:
            return self.current.readlink().name
        except OSError:
            return ""

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the stack's lock as long as this process lives. Raises Locked where somebody else does."""
        with self._held("lock", f"somebody else is at work on {self.stack}"):
            yield

    @contextmanager
    def restoring(self) -> Iterator[None]:
        """Say that data is being put back, as long as this process lives: the watchdog stands aside.

        It is a `flock` on `<run>/restore`, which anybody may hold. Raises Locked where somebody else does.
        """
        with self._held("restore", f"somebody else restores {self.stack}"):
            yield

    def busy(self) -> bool:
        """Whether somebody holds the lock now."""
        return self._is_held("lock")

    def is_restoring(self) -> bool:
        """Whether somebody puts data back now."""
        return self._is_held("restore")

    def _is_held(self, name: str) -> bool:
        # To take a lock makes it: one that is not there is held by nobody, and whoever asks leaves nothing.
        if not (self.run / name).exists():
            return False
        try:
            with self._held(name, ""):
                return False
        except Locked:
            return True

    @contextmanager
    def _held(self, name: str, complaint: str) -> Iterator[None]:
        self.prepare()
        descriptor = os.open(self.run / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _take(descriptor, complaint)
            yield
        finally:
            os.close(descriptor)


def _take(descriptor: int, complaint: str) -> None:
    for pause in (*GLANCES, None):
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if pause is None:
                raise Locked(complaint, hint="wait until that is done") from error
        time.sleep(pause)
    return None
