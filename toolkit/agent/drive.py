"""Drive: the process that carries out a deploy, and the one that ends what a crash left half-way.

It runs as a transient unit of systemd, so nobody has to stay connected. Killed, it is started again and finds by the
mark of the transaction that the way is back.
"""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from toolkit.agent import audit, deliver, inbox, notify
from toolkit.agent.paths import Paths
from toolkit.host import Host
from toolkit.host.local import LocalHost
from toolkit.machine import registry
from toolkit.stack import journal, prune, readers, redact, transaction
from toolkit.stack.driver import Driver, Work, no_data
from toolkit.stack.journal import Journal, Scribe
from toolkit.stack.manifest import Manifest
from toolkit.stack.outcome import FAILED, MIXED, ROLLED_BACK, Outcome, explain
from toolkit.stack.place import Place
from toolkit.stack.request import DEPLOY, Request
from toolkit.stack.site import Site
from toolkit.vault.delivery import Delivery
from toolkit.words.atomic import replace
from toolkit.words.clock import SystemClock
from toolkit.words.command import command
from toolkit.words.errors import Error, HostError, Stopped
from toolkit.words.values import Secret

DOCKER_WITHIN = 120


def run(paths: Paths, stack: str, name: str) -> int:
    """Carry out a request to its end. What went wrong on the way is in the journal, not in the exit code."""
    place = Place(stack, paths.root)
    place.prepare()
    path = journal.path_of(place, name)
    resumed = any(event["kind"] == "step" for event in journal.read(path))
    book = Journal(path)
    began = time.monotonic()
    try:
        with place.locked(), inbox.taken(paths, name, Request.parse) as (request, body):
            drive = _Drive(paths, place, book, request, body, name)
            outcome = drive.resume() if resumed else drive.deploy()
            _end(paths, book, request, outcome, began)
    except Error as error:
        book.write("end", outcome=explain(FAILED, "", error).dumps(), took=0.0)
    return 0


def settle(paths: Paths) -> int:
    """End what a crash or a reboot left half-way, of every stack. Exit code 1 where one could not be."""
    failed = 0
    for place in prune.stacks(Place("", paths.root)):
        with suppress(Error):
            failed |= _settle(paths, place)
    return failed


def _settle(paths: Paths, place: Place) -> int:
    mark = transaction.read(place)
    if mark is None:
        return 0
    request = Request(DEPLOY, place.stack, mark.target, "the host itself")
    name = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-settle"
    began = time.monotonic()
    with place.locked():
        book = Journal(journal.path_of(place, name))
        drive = _Drive(paths, place, book, request, b"", name)
        drive.wait_for_docker()
        outcome = drive.resume()
        _end(paths, book, request, outcome, began)
    return 1 if outcome.result == "mixed" else 0


def _end(paths: Paths, book: Journal, request: Request, outcome: Outcome, began: float) -> None:
    took = round(time.monotonic() - began, 1)
    told = {"result": outcome.result, "runs": outcome.release, "took": took, "code": outcome.code}
    audit.record(
        paths,
        request.action,
        stack=request.stack,
        release=request.release,
        who=request.who,
        said=outcome.fault.partition("\n")[0],
        **told,
    )
    with suppress(OSError, ValueError):
        _notify(paths, request, outcome)
    # Last: whoever follows takes it for the end.
    book.write("end", outcome=outcome.dumps(), took=took)
    book.close()


def _notify(paths: Paths, request: Request, outcome: Outcome) -> None:
    """Have people told of a deploy that did not go as asked: whoever started it may have gone."""
    if outcome.result not in (ROLLED_BACK, MIXED):
        return
    title = f"{request.stack}: the {request.action} of {request.release} was rolled back"
    if outcome.result == MIXED:
        title = f"{request.stack} is neither the old nor the new release: going back failed too"
    details = {"release": request.release, "who": request.who, "runs": outcome.release, "code": outcome.code}
    kind = "-".join(outcome.result.split())
    text = redact.cleaned(paths.root, request.stack, outcome.fault)
    notify.post(paths, notify.Event(f"deploy.{kind}", "error", request.stack, title, text, details))


@dataclass
class _Drive:
    """One request in the hands of a driver."""

    paths: Paths
    place: Place
    book: Journal
    request: Request
    body: bytes
    name: str

    def __post_init__(self) -> None:
        self._stop = False
        self._interruptible = False
        self._since = time.time()
        self.host: Host = LocalHost(self.place.stack, _nobody_to_ask)
        signal.signal(signal.SIGUSR1, self._asked_to_stop)
        self.book.write("begin", action=self.request.action, release=self.request.release, who=self.request.who)

    def deploy(self) -> Outcome:
        return self._driver().deploy(self.request.release)

    def resume(self) -> Outcome:
        """Go on after this process was killed, or the machine was."""
        settled = self._driver().settle()
        cause = HostError("the deploy was cut off before anything was touched", hint="deploy again")
        return settled or explain(FAILED, self.place.current_name(), cause)

    def wait_for_docker(self) -> None:
        deadline = time.monotonic() + DOCKER_WITHIN
        while not self.host.run(command("docker", "version"), check=False).ok and time.monotonic() < deadline:
            time.sleep(1)

    def _driver(self) -> Driver:
        site = Site(self.host, self.place, SystemClock(), Scribe(self.book), self._pause, self._may_interrupt)
        one_shots = self.request.action == DEPLOY
        work = Work(self._login, self._deliver, self._phase, one_shots=one_shots, fill=self._fill(site))
        return Driver(site, work)

    def _login(self) -> AbstractContextManager[str]:
        _, tokens = self.request.cut(self.body)
        logins = [
            registry.Login(one.registry, one.user, token)
            for one, token in zip(self.request.accounts, tokens[: len(self.request.accounts)], strict=True)
        ]
        return registry.logged_in(self.host, logins)

    def _deliver(self, manifest: Manifest) -> None:
        values, _ = self.request.cut(self.body)
        retained = prune.manifests(self.place, prune.retained(self.place, manifest.id))
        keep = {tag for one in (*retained, manifest) for tag in one.secrets.values()}
        sizes = {name: len(value) for name, value in values.items()}
        # Going back needs no values: the host still has those of every release that it keeps.
        files = readers.entries(self.host, manifest, sizes) if self.request.action == DEPLOY else ()
        delivery = Delivery(self.place.stack, manifest.id, files, frozenset(keep))
        receipt = deliver.put(self.paths, delivery, b"".join(values[entry.name] for entry in files))
        if lost := set(receipt.lost) & set(manifest.secrets.values()):
            names = sorted(name for name, tag in manifest.secrets.items() if tag in lost)
            raise HostError(
                f"the host has lost {', '.join(names)} as release {manifest.id} had it",
                hint="deploy instead: the vault has today's value",
            )
        if receipt.written or receipt.removed:
            audit.record(
                self.paths, "secrets", stack=self.place.stack, release=manifest.id, who=self.request.who,
                written=list(receipt.written), removed=list(receipt.removed),
            )  # fmt: skip

    def _fill(self, site: Site) -> Callable[[Manifest], None]:
        """Return what brings the data of a stack that is recovered; of any other, nothing does."""
        refill = self.request.refill
        if not refill:
            return no_data
        # The engine of backups is only on hosts that have some.
        from toolkit.agent.restoring import recovery

        secret = self.request.cut(self.body)[1][-1]
        return lambda manifest: recovery.fill(self.paths, site, manifest, refill, secret, phase=self._phase)

    def _phase(self, phase: str) -> None:
        self.book.write("phase", name=phase)
        state: dict[str, Any] = {
            "pid": os.getpid(),
            "journal": self.name,
            "phase": phase,
            "since": self._since,
            **{key: getattr(self.request, key) for key in ("action", "release", "who")},
        }
        with suppress(OSError):
            replace(self.place.driver, json.dumps(state).encode(), mode=0o600)

    def _asked_to_stop(self, *_: object) -> None:
        self._stop = True
        if self._interruptible:
            self._pause()

    def _pause(self) -> None:
        if self._stop:
            raise Stopped("stopped as asked", hint="deploy again when it suits")

    @contextmanager
    def _may_interrupt(self) -> Iterator[None]:
        self._pause()
        self._interruptible = True
        try:
            yield
        finally:
            self._interruptible = False


def _nobody_to_ask() -> Secret:
    raise HostError("the driver does not run as root", hint="provision again")
