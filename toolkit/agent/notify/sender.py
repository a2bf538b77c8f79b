"""The sender: a process that lives as long as messages wait, and gives none up before its time.

systemd starts it whenever there is a message in the outbox. One who does not answer is asked again after a growing
pause, and holds up nobody else.
"""

import json
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter
from typing import Any

from toolkit.agent.notify import outbox, targets
from toolkit.agent.notify.outbox import Waiting
from toolkit.agent.notify.targets import Target
from toolkit.agent.notify.ways import NotSent, send
from toolkit.agent.paths import Paths
from toolkit.words import atomic
from toolkit.words.clock import Clock, SystemClock
from toolkit.words.errors import Error

PAUSES = (5.0, 15.0, 60.0, 300.0, 900.0)
KEEP = 3 * 24 * 3600.0
"""Seconds after which a message is given up that nobody took."""

TICK = 1.0
STATUS = "status.json"

Send = Callable[[Target, Mapping[str, Any]], None]


@dataclass
class Pace:
    """How it goes with one target: failed tries since the last success, and when the next one is due."""

    tries: int = 0
    due: float = 0.0


@dataclass
class Sender:
    """Sends what waits."""

    paths: Paths
    clock: Clock = field(default_factory=SystemClock)
    send: Send = send
    paces: dict[str, Pace] = field(default_factory=dict)

    def run(self) -> None:
        """Send until nothing waits any more."""
        while found := outbox.waiting(self.paths):
            self.round(found)
            if outbox.waiting(self.paths):
                self.clock.sleep(TICK)

    def round(self, found: list[Waiting]) -> None:
        """Try everybody whose turn it is once, oldest message first."""
        now = self.clock.now()
        ready = [one for one in found if self.paces.setdefault(one.target, Pace()).due <= now]
        known = self._known() if ready else {}
        for name, group in groupby(sorted(ready, key=attrgetter("target", "path")), attrgetter("target")):
            for one in group:
                if known is None or not self._try(known.get(name), one):
                    break

    def _known(self) -> dict[str, Target] | None:
        try:
            return targets.read(self.paths)
        except Error as error:
            for name, pace in self.paces.items():
                self._note(name, error.message)
                pace.due = self.clock.now() + PAUSES[-1]
            return None

    def _try(self, target: Target | None, one: Waiting) -> bool:
        """Send one message; return whether the next one may follow."""
        message = one.message()
        if target is None or message is None:
            # Nobody of this name any more, or a file that a full disk left empty.
            one.path.unlink(missing_ok=True)
            return True
        if self.clock.wall() - one.posted > KEEP:
            outbox.drop(self.paths, one)
            return True
        if lost := outbox.dropped(self.paths, target.name):
            message["text"] = f"{message['text']}\n({lost} older messages could not be sent)"
        try:
            self.send(target, message)
        except NotSent as error:
            return self._failed(target, one, error)
        outbox.arrived(self.paths, one)
        self.paces[target.name] = Pace()
        self._note(target.name, "")
        return True

    def _failed(self, target: Target, one: Waiting, error: NotSent) -> bool:
        pace = self.paces[target.name]
        pace.due = self.clock.now() + PAUSES[min(pace.tries, len(PAUSES) - 1)]
        pace.tries += 1
        self._note(target.name, str(error))
        if error.final:
            outbox.drop(self.paths, one)
        return False

    def _note(self, target: str, fault: str) -> None:
        found = status(self.paths)
        before = found.get(target, {})
        now = int(self.clock.wall())
        if fault:
            found[target] = before | {"fault": fault, "since": before.get("since") or now, "tried": now}
        else:
            found[target] = {"sent": now, "tried": now}
        with suppress(OSError):
            atomic.replace(self.paths.notify / STATUS, json.dumps(found).encode(), mode=0o600)


def status(paths: Paths) -> dict[str, dict[str, Any]]:
    """Return how it went with each target last: when one was sent, and since when that fails and why."""
    with suppress(OSError, ValueError):
        found = json.loads((paths.notify / STATUS).read_bytes())
        if isinstance(found, dict):
            return found
    return {}


def overview(paths: Paths) -> list[dict[str, Any]]:
    """Return everybody who is told, with what waits for them and how it went last."""
    host, known = targets.index(paths)
    waiting, past = outbox.waiting(paths), status(paths)
    return [
        {
            "name": one.name,
            "kind": one.kind,
            "on": list(one.on),
            "host": host,
            "waiting": sum(each.target == one.name for each in waiting),
            "dropped": outbox.dropped(paths, one.name),
            **past.get(one.name, {}),
        }
        for one in known
    ]


def settle(paths: Paths, *, within: float, sleep: Callable[[float], None] = time.sleep) -> list[dict[str, Any]]:
    """Wait until everything was tried that waits now, or the time is over; return the overview."""
    begun = time.time()
    while time.time() - begun < within:
        if not any(one["waiting"] and not _failed_since(one, begun) for one in overview(paths)):
            break
        sleep(0.2)
    return overview(paths)


def _failed_since(one: Mapping[str, Any], begun: float) -> bool:
    # That one took a message is not enough: it may have been the one before, within the same second.
    return bool(one.get("fault")) and one.get("tried", 0) >= int(begun)
