"""Shipping: PostgreSQL's log is stored every half a minute, and a base once a day, by a process that stays.

    <host>-wal in the store                       bases and shippings, each a snapshot, in epochs of a day
    /var/lib/toolkit/backup/wal/                  the engine's state for it, with the host's own signing key
    /var/lib/toolkit/backup/wal.json              how it goes with each database

A server that dropped log which was not shipped yet has left a gap: that is told at once, and only a new base closes it.
"""

import json
import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event as Wake
from typing import Any

from toolkit.agent import notify
from toolkit.agent.backup import access, gather, metrics
from toolkit.agent.backup.run import store_of
from toolkit.agent.notify import Event
from toolkit.agent.paths import Paths
from toolkit.crypto.signing import SigningKey
from toolkit.repository import Options, Origin, Report, Terms, backup
from toolkit.repository.manifest import COMPLETE
from toolkit.sources.discover import Found
from toolkit.sources.docker import Docker
from toolkit.sources.postgres import Postgres
from toolkit.sources.protocol import Capture, Place
from toolkit.sources.wal import Wal
from toolkit.stack.duty import SHIPPED, Duty
from toolkit.words import atomic
from toolkit.words.clock import Clock, SystemClock
from toolkit.words.errors import Error, HostError
from toolkit.words.values import Duration

EVERY = 30.0
DAY = 86400.0
# One that fails this often in a row is told; a server that is just being restarted is not.
PATIENCE = 4


@dataclass
class Line:
    """How it goes with one database. Times are seconds since 1970."""

    base: float = 0.0
    shipped: float = 0.0
    failures: int = 0
    told: bool = False
    said: str = ""


@dataclass
class Shipper:
    """Ships until it is told to stop."""

    paths: Paths
    duty: Duty
    clock: Clock = field(default_factory=SystemClock)
    docker: Docker = field(default_factory=Docker)
    wake: Wake = field(default_factory=Wake)

    def __post_init__(self) -> None:
        self.lines = {name: Line(**known) for name, known in read(self.paths).items() if name in self.duty.wal}
        self._found: dict[str, Found] = {}

    def run(self) -> None:
        """Ship every half a minute. Raises nothing: what fails is told and tried again."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.wake.set())
        while not self.wake.is_set():
            begun = self.clock.now()
            self.round()
            self.wake.wait(max(1.0, begun + EVERY - self.clock.now()))

    def round(self) -> None:
        """Ship what each database has written since, or take the base that is due."""
        for name in self.duty.wal:
            line = self.lines.setdefault(name, Line())
            try:
                self._ship(name, line)
            except (Error, OSError) as error:
                self._failed(name, line, error)
            else:
                self._well(name, line)
        with suppress(OSError):
            body = {name: vars(line) for name, line in self.lines.items()}
            atomic.replace(self.paths.backup / "wal.json", json.dumps(body).encode(), mode=0o600)
            metrics.write_wal(self.paths, body)

    def _ship(self, name: str, line: Line) -> None:
        wal, place = self._wal(name)
        now = self.clock.wall()
        if now - line.base >= DAY:
            self._base(name, line, wal, place)
        with wal.segments(self.docker, place) as capture:
            report = None if capture.skipped else self._store(name, capture)
            if report:
                # Told to the server once it is stored, and never before.
                wal.shipped(self.docker, place, capture.inputs[0].facts())
        line.shipped = now
        if report and report.fresh_epoch:
            # Another store, or one that lost what was in it: log without a base is of no use.
            self._base(name, line, wal, place)

    def _base(self, name: str, line: Line, wal: Wal, place: Place) -> None:
        now = self.clock.wall()
        with wal.base(self.docker, place) as capture:
            self._store(name, capture)
        line.base = now

    def _wal(self, name: str) -> tuple[Wal, Place]:
        """The log of a source, at the container that it has now. Raises HostError where there is none."""
        found = self._found.get(name)
        if found is None or not self.docker.ask("container", "inspect", found.place.container).ok:
            discovery, _ = gather.look(self.docker, self.duty)
            self._found = {one.source.name: one for one in discovery.found}
            found = self._found.get(name)
        if found is None or not isinstance(found.source, Postgres):
            raise HostError(f"{name} is not there", hint="`invoke backup.sources` shows what is")
        source = found.source
        return Wal(name=f"wal/{name.partition('/')[2]}", user=source.user, login=source.login), found.place

    def _store(self, name: str, capture: Capture) -> Report:
        facts = {"format": gather.FORMAT, "stack": self.duty.stack, "source": name}
        report = backup(self._origin(), capture.inputs, options=Options(facts=facts))
        if report.outcome != COMPLETE:
            raise HostError(f"{report.unread[0][0]}: {report.unread[0][1]}", hint="it is tried again")
        return report

    def _origin(self) -> Origin:
        reach = access.read(self.paths) if self.duty.url.startswith("s3:") else access.Access()
        lock = Duration(self.duty.lock) if self.duty.lock else None
        return Origin(
            host=f"{self.duty.host}{SHIPPED}",
            store=store_of(self.duty, reach),
            state=_state(self.paths),
            recipients=self.duty.recipients,
            terms=Terms(Duration(DAY), lock),
        )

    def _failed(self, name: str, line: Line, error: Error | OSError) -> None:
        said = error.message if isinstance(error, Error) else str(error)
        gap = said.startswith("gap:")
        if gap:
            # Only a new base can be followed from here.
            line.base = 0.0
        line.failures, line.said = line.failures + 1, said
        if (gap or line.failures >= PATIENCE) and not line.told:
            line.told = True
            kind, title = ("gap", "has a gap in its shipped log") if gap else ("failed", "cannot ship its log")
            self._tell(Event(f"backup.{kind}", "error", f"{self.duty.stack}/{name}", f"{name} {title}", said))

    def _well(self, name: str, line: Line) -> None:
        if line.told:
            title = f"the log of {name} is shipped again"
            self._tell(Event("backup.recovered", "info", f"{self.duty.stack}/{name}", title))
        line.failures, line.told, line.said = 0, False, ""

    def _tell(self, event: Event) -> None:
        with suppress(OSError, ValueError):
            notify.post(self.paths, event)


def _state(paths: Paths) -> Path:
    """The engine's state for shippings. It signs with the host's own key, which the control side pins once."""
    state = paths.backup / "wal"
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = state / "signing.key"
    if not key.exists():
        SigningKey.keep(paths.backup / "signing.key")
        os.link(paths.backup / "signing.key", key)
    return state


def read(paths: Paths) -> Mapping[str, dict[str, Any]]:
    """Return how it goes with each database; nothing where that cannot be read."""
    with suppress(OSError, ValueError):
        found = json.loads((paths.backup / "wal.json").read_bytes())
        if isinstance(found, dict):
            return found
    return {}


def run(paths: Paths) -> None:
    """Ship as the host's duty says. Raises HostError without one."""
    duty = Duty.read(paths.duty)
    if not duty.wal:
        raise HostError("no source of this host ships its log", hint="write `wal: true` at a source in the backup file")
    Shipper(paths, duty).run()
