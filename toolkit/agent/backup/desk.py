"""The desk of backups: whose turn it is, where journals are, and the mark of a run that has not ended.

/var/lib/toolkit/backup/run.lock       held as long as a run lives
/var/lib/toolkit/backup/at-work.json   who runs, since when; still there after a run that was cut off
/var/lib/toolkit/backup/journals/      one file for each run, the newest fifty
"""

import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.agent.paths import Paths
from toolkit.stack.journal import KEEP, SUFFIX
from toolkit.words import atomic
from toolkit.words.errors import Locked
from toolkit.words.values import Duration

# Somebody who only looks whether the lock is free holds it for a moment: whoever wants it waits that long, seconds.
GLANCES = (0.002, 0.01, 0.05)


@dataclass(frozen=True)
class Desk:
    """All of it hangs from the host's paths."""

    paths: Paths

    @property
    def mark(self) -> Path:
        return self.paths.backup / "at-work.json"

    @property
    def journals(self) -> Path:
        return self.paths.backup / "journals"

    def journal(self, name: str) -> Path:
        return self.journals / f"{name}{SUFFIX}"

    def names(self) -> list[str]:
        """Return the journals there are, oldest first."""
        return sorted(path.name.removesuffix(SUFFIX) for path in self.journals.glob(f"*{SUFFIX}"))

    def prune(self) -> None:
        """Remove all but the newest journals."""
        for name in self.names()[:-KEEP]:
            self.journal(name).unlink(missing_ok=True)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Be the one who runs, as long as this process lives. Raises Locked, naming whoever is at work."""
        self.paths.backup.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self.paths.backup / "run.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._take(descriptor)
            yield
        finally:
            os.close(descriptor)

    def _take(self, descriptor: int) -> None:
        for pause in (*GLANCES, None):
            try:
                return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                if pause is None:
                    raise self._locked() from error
            time.sleep(pause)
        return None

    def _locked(self) -> Locked:
        told = self.read_mark()
        since = f" since {Duration(max(0.0, time.time() - told['since']))}" if told else ""
        who = f"{told['who']} is backing this host up" if told else "another backup of this host is at work"
        return Locked(f"{who}{since}", hint="wait for it to end; `invoke backup.status` shows when that is")

    def busy(self) -> bool:
        """Whether somebody runs now."""
        try:
            with self.held():
                return False
        except Locked:
            return True

    def refuse_busy(self) -> None:
        """Raises Locked where somebody runs."""
        with self.held():
            return

    def begin(self, who: str, journal: str) -> Mapping[str, Any]:
        """Leave the mark of a run, and return it."""
        made = {"who": who, "since": time.time(), "journal": journal, "pid": os.getpid()}
        atomic.replace(self.mark, json.dumps(made).encode(), mode=0o600)
        return made

    def end(self) -> None:
        self.mark.unlink(missing_ok=True)

    def read_mark(self) -> dict[str, Any]:
        """Return the mark; empty where there is none."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            found = json.loads(self.mark.read_bytes())
            return {
                "who": str(found["who"]),
                "since": float(found["since"]),
                "journal": str(found["journal"]),
                "pid": int(found["pid"]),
            }
        return {}
