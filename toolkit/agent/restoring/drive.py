"""The process that carries out a restore, as a unit of systemd, and the end of what a crash left half-way.

It is killed, and starts again: then it finds by its mark that the way is back. The same at boot.
"""

import json
import os
import secrets
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from toolkit.agent import audit, inbox, memory, notify, steer
from toolkit.agent.backup.desk import Desk as Backing
from toolkit.agent.paths import Paths
from toolkit.agent.restoring import mark
from toolkit.agent.restoring.restoration import FAILED, MIXED, PUT_BACK, Restoration
from toolkit.host.local import LocalHost
from toolkit.stack import hold, journal, prune, transaction
from toolkit.stack.journal import Journal, Scribe
from toolkit.stack.place import Place
from toolkit.stack.restoring import FORGET, RESTORE, Desk, Wish
from toolkit.stack.site import Site
from toolkit.words.atomic import replace
from toolkit.words.clock import SystemClock
from toolkit.words.command import command
from toolkit.words.errors import Error, HostError, Stopped
from toolkit.words.values import Secret

DOCKER_WITHIN = 120


def start(paths: Paths, wish: Wish, body: bytes) -> str:
    """Start a restore's unit and return the name of its journal. Raises Locked where somebody else is at work."""
    desk = Desk(wish.stack, paths.root)
    desk.prepare()
    hold.refuse(Place(wish.stack, paths.root), time.time())
    steer.after_heal(desk)
    steer.refuse_busy(desk)
    _refuse_unfinished(paths, desk)
    Backing(paths).refuse_busy()
    name = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{secrets.token_hex(3)}"
    inbox.put(paths, name, wish, body)
    journal.path_of(desk, name).touch(mode=0o600)
    try:
        steer.launch(paths, desk, "restore", f"Restore of {wish.stack}", ["restore", "run", wish.stack, name])
    except Error:
        inbox.drop(paths, name)
        journal.path_of(desk, name).unlink(missing_ok=True)
        raise
    return name


def _refuse_unfinished(paths: Paths, desk: Desk) -> None:
    """Raise HostError while a deploy or a restore that was cut off has not been settled: one thing at a time."""
    if transaction.read(Place(desk.stack, paths.root)) is not None:
        raise HostError(f"a deploy of {desk.stack} was left half-way", hint="`invoke deploy` first, then restore")
    if mark.read(desk) is not None:
        hint = "`systemctl start toolkit-settle` on the host ends it"
        raise HostError(f"a restore of {desk.stack} was left half-way", hint=hint)


def run(paths: Paths, stack: str, name: str) -> int:
    """Carry out a request to its end. What went wrong on the way is in the journal, not in the exit code."""
    desk = Desk(stack, paths.root)
    desk.prepare()
    path = journal.path_of(desk, name)
    resumed = any(event["kind"] == "step" for event in journal.read(path))
    book = Journal(path)
    began = time.monotonic()
    try:
        # A backup that is taken meanwhile would be of neither data: both wait for each other.
        with (
            desk.locked(),
            desk.restoring(),
            Backing(paths).held(),
            inbox.taken(paths, name, Wish.parse) as (wish, body),
        ):
            memory.ensure(paths)
            process = _Process(paths, desk, book, wish, body, name)
            outcome = process.resume() if resumed else process.work()
            _end(paths, book, wish, outcome, began)
    except Error as error:
        told = {"result": FAILED, "code": error.exit_code, "fault": error.message, "hint": error.hint}
        book.write("end", outcome=told, took=0.0)
    journal.prune(desk)
    return 0


def settle(paths: Paths) -> int:
    """End what a crash or a reboot left half-way, of every stack. Exit code 1 where one could not be."""
    failed = 0
    for place in prune.stacks(Place("", paths.root)):
        desk = Desk(place.stack, paths.root)
        with suppress(Error):
            if mark.read(desk) is not None:
                failed |= _settle(paths, desk)
    return failed


def _settle(paths: Paths, desk: Desk) -> int:
    wish = Wish(RESTORE, desk.stack, "the host itself")
    name = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-settle"
    began = time.monotonic()
    with desk.locked(), desk.restoring():
        book = Journal(journal.path_of(desk, name))
        process = _Process(paths, desk, book, wish, b"", name)
        process.wait_for_docker()
        outcome = process.resume()
        _end(paths, book, wish, outcome, began)
    return 1 if outcome["result"] == MIXED else 0


def _end(paths: Paths, book: Journal, wish: Wish, outcome: dict[str, Any], began: float) -> None:
    took = round(time.monotonic() - began, 1)
    audit.record(
        paths,
        wish.action,
        stack=wish.stack,
        snapshot=outcome.get("snapshot", wish.snapshot),
        who=wish.who,
        result=outcome["result"],
        code=outcome["code"],
        took=took,
        said=str(outcome["fault"]).partition("\n")[0],
    )
    if outcome["result"] in (PUT_BACK, MIXED):
        title = f"{wish.stack}: a restore did not go through: {outcome['result']}"
        with suppress(OSError, ValueError):
            kind = "-".join(outcome["result"].split())
            notify.post(paths, notify.Event(f"restore.{kind}", "error", wish.stack, title, outcome["fault"], {}))
    # Last: whoever follows takes it for the end.
    book.write("end", outcome=outcome, took=took)
    book.close()


@dataclass
class _Process:
    """One request in the hands of this process."""

    paths: Paths
    desk: Desk
    book: Journal
    wish: Wish
    body: bytes = field(repr=False)
    name: str

    def __post_init__(self) -> None:
        self._stop = False
        self._since = time.time()
        self.host = LocalHost(self.desk.stack, _nobody_to_ask)
        signal.signal(signal.SIGUSR1, self._asked_to_stop)
        self.book.write("begin", action=self.wish.action, release=self.wish.release, who=self.wish.who)

    def work(self) -> dict[str, Any]:
        restoration = self._restoration()
        if self.wish.action == RESTORE:
            return restoration.restore()
        return restoration.forget() if self.wish.action == FORGET else restoration.undo()

    def resume(self) -> dict[str, Any]:
        """Go on after this process was killed, or the machine was."""
        settled = self._restoration().settle()
        if settled:
            return settled
        told = {"result": FAILED, "code": HostError.exit_code, "hint": "run it again", "notes": [], "seconds": {}}
        return {**told, "fault": "the restore was cut off before anything was touched"}

    def wait_for_docker(self) -> None:
        deadline = time.monotonic() + DOCKER_WITHIN
        while not self.host.run(command("docker", "version"), check=False).ok and time.monotonic() < deadline:
            time.sleep(1)

    def _restoration(self) -> Restoration:
        place = Place(self.desk.stack, self.paths.root)
        listener = _Heeding(self.book, self._pause)
        site = Site(self.host, place, SystemClock(), listener, self._pause, self._may_interrupt)
        return Restoration(site, self.desk, self.wish, Secret(self.body), self._phase)

    def _phase(self, phase: str) -> None:
        self.book.write("phase", name=phase)
        state = {
            "pid": os.getpid(),
            "journal": self.name,
            "phase": phase,
            "since": self._since,
            **{key: getattr(self.wish, key) for key in ("action", "release", "who")},
        }
        with suppress(OSError):
            replace(self.desk.driver, json.dumps(state).encode(), mode=0o600)

    def _asked_to_stop(self, *_: object) -> None:
        self._stop = True

    def _pause(self) -> None:
        if self._stop:
            raise Stopped("stopped as asked; nothing in use was touched", hint="restore again when it suits")

    @contextmanager
    def _may_interrupt(self) -> Iterator[None]:
        self._pause()
        yield


class _Heeding(Scribe):
    """Writes what it hears, and notices between two pieces of a load that somebody asked to stop."""

    def __init__(self, book: Journal, pause: Any) -> None:
        super().__init__(book)
        self._heed = pause
        self.heeds = True

    def progress(self, done: float, total: float, note: str = "") -> None:
        super().progress(done, total, note)
        if self.heeds:
            self._heed()


def _nobody_to_ask() -> Secret:
    raise HostError("the agent does not run as root", hint="provision again")
