"""A backup on a host, started from here and followed over a connection that may break; and what it would capture."""

import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from typing import Any

from toolkit.host import Host
from toolkit.machine.agent import ENTRY
from toolkit.words.clock import Clock
from toolkit.words.command import command
from toolkit.words.errors import Detached, Error, HostError, Stopped, Unreachable
from toolkit.words.report import Listener
from toolkit.words.values import Size
from toolkit.workflows import agent, origin
from toolkit.workflows.interrupts import interrupts

# Seconds before each attempt to reach the host again.
AGAIN = (1.0, 3.0, 10.0, 30.0)

Run = Mapping[str, Any]
"""What the host's record says of a backup: `toolkit.agent.backup.record.Run`."""


def back_up(host: Host, *, listener: Listener, clock: Clock) -> Run:
    """Have a host backed up now; return how that went, where it left a snapshot.

    Raises Locked where somebody does already, what the run failed with, Stopped, Detached and Unreachable. In the
    last two it goes on.
    """
    return Following(host, _start(host), listener, clock).finish()


def sources(host: Host) -> Mapping[str, Any]:
    """Return what a backup would capture and why, what it leaves out, and warnings. Raises HostError."""
    return agent.asked(host, "backup", "sources")


def _start(host: Host) -> str:
    stream = agent.Stream(host, host.open(command(ENTRY, "backup", "start", "--who", origin.who())))
    try:
        agent.check(host, stream.hear())
        answer = stream.hear()
    finally:
        stream.close()
    if "fault" in answer:
        raise agent.fault(host, answer["fault"])
    return str(answer["journal"])


@dataclass
class Following:
    """A backup at work, seen through its journal."""

    host: Host
    journal: str
    listener: Listener
    clock: Clock
    _seen: int = field(default=0, init=False)

    def finish(self) -> Run:
        with self._interrupts():
            run = self._end()
        if run["snapshot"]:
            return run
        raise self._explained(run)

    def _explained(self, run: Run) -> Error:
        kind = Stopped if run["result"] == "stopped" else agent.kind_of(run["code"])
        return kind(f"{self.host.name}: {run['said']}", hint=str(run["hint"]))

    def _end(self) -> Run:
        for pause in (*AGAIN, None):
            with suppress(Unreachable):
                for event in self._events():
                    if event["kind"] == "end":
                        found: Run = event["run"]
                        return found
                    self._tell(event)
                hint = f"`invoke backup.status --host {self.host.name}` shows how its runs went"
                raise HostError(f"{self.host.name}: the backup ended without a word", hint=hint)
            if pause is not None:
                self.listener.warn(f"{self.host.name}: the connection was lost; the backup goes on there")
                self.clock.sleep(pause)
                with suppress(Error):
                    self.host.close()
        raise Unreachable(f"{self.host.name}: the connection was lost; the backup goes on there", hint=self._look)

    def _events(self) -> Iterator[Mapping[str, Any]]:
        process = self.host.open(command(ENTRY, "backup", "follow", "--journal", self.journal))
        process.finish()
        # Never closed: whoever lets go of it must not wait for what goes on.
        for number, line in enumerate(agent.Stream(self.host, process).lines()):
            if number < self._seen:
                continue
            self._seen += 1
            with suppress(ValueError):
                yield json.loads(line)

    def _tell(self, event: Mapping[str, Any]) -> None:
        kind = event["kind"]
        if kind == "progress":
            self.listener.progress(Size(event["done"]), Size(event["total"]), event["note"])
        elif kind in ("step", "line", "done", "warn"):
            getattr(self.listener, kind)(event["text"])

    @property
    def _look(self) -> str:
        return f"`invoke backup.status --host {self.host.name}` shows how it ends"

    def _interrupts(self) -> AbstractContextManager[None]:
        """Ctrl-C once asks the backup to stop, twice lets go of it."""
        return interrupts(
            first=lambda: self.listener.warn("asked to stop; once more to leave it to itself"),
            stop=self._stop,
            second=Detached(f"{self.host.name}: detached; the backup goes on there", hint=self._look),
        )

    def _stop(self) -> None:
        self.host.run(command(ENTRY, "backup", "stop"))
