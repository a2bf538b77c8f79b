"""A run: one backup of this host, from whoever asked for it to everybody who is told.

It holds the desk's lock as long as it lives, so that there are never two. However it ends, that is written down; one
that is killed leaves a mark, by which the next, or `settle`, writes it down and resumes what it had paused.
"""

import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from typing import Any, cast

from toolkit.agent.backup import access, gather, metrics, record, tell
from toolkit.agent.backup.access import Access
from toolkit.agent.backup.desk import Desk
from toolkit.agent.backup.listen import Both
from toolkit.agent.backup.odd import odd
from toolkit.agent.backup.record import CUT_OFF, FAILED, STOPPED, Run
from toolkit.agent.paths import Paths
from toolkit.repository import Options, Origin, Report, Terms, backup
from toolkit.repository.manifest import COMPLETE, SourceInfo
from toolkit.sources.barrier import barrier
from toolkit.sources.docker import Docker
from toolkit.sources.pause import Pause, heal
from toolkit.stack.duty import Duty
from toolkit.stack.journal import Journal
from toolkit.stack.place import HEAL, Place
from toolkit.store import Credentials, ObjectStore, open_store
from toolkit.store.pace import Pace
from toolkit.store.patient import PatientStore
from toolkit.words.clock import Clock, SystemClock
from toolkit.words.errors import Error, HostError, Stopped
from toolkit.words.report import Listener
from toolkit.words.values import Duration

SCHEDULE = "the schedule"
INCOMPLETE, ENDED = 3, 143
"""Exit codes of what is not all of it, and of a process that was ended by a signal."""

# A deploy makes databases anew while it works: it is waited for, seconds, and then not any longer.
DEPLOY_WITHIN = 900.0
SERVICE = "toolkit-backup.service"


def run(paths: Paths, *, who: str = SCHEDULE, journal: str = "") -> Run | None:
    """Back this host up and say how that went; None where systemd ended it.

    Raises Locked where somebody does already, HostError without a duty.
    """
    duty, desk = Duty.read(paths.duty), Desk(paths)
    with desk.held():
        _write_off(paths, duty, desk)
        desk.prune()
        name = journal or time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        mark = desk.begin(who, name)
        book = Journal(desk.journal(name))
        book.write("begin", who=who, host=duty.host)
        working = _Run(paths, duty, Both(book, sys.stderr), who, mark["since"])
        with _stoppable():
            done = working.perform()
        if done is not None:
            done = _settle(paths, duty, desk, done)
            # Last: whoever follows takes it for the end.
            book.write("end", run=asdict(done))
        book.close()
    return done


def settle(paths: Paths, *, again: bool = False) -> None:
    """End what was cut off: resume what is paused, write the run down, and with `again` have it begun anew.

    Raises HostError where services could not be resumed.
    """
    try:
        duty, desk = Duty.read(paths.duty), Desk(paths)
    except HostError:
        return
    if desk.busy():
        return
    with desk.held():
        _write_off(paths, duty, desk)
    if again and paths.real and due(duty, record.read(paths, 1), time.time()):
        subprocess.run(["systemctl", "start", "--no-block", SERVICE], check=False, timeout=30)


def due(duty: Duty, runs: Sequence[Run], now: float) -> bool:
    """Whether a host that has just booted should back up at once.

    The last run was cut off, perhaps by this very reboot; or one was missed while the host was down, which systemd's
    timer catches up with by itself and cron does not.
    """
    if not runs:
        return False
    return runs[-1].result == CUT_OFF or (duty.every > 0 and now - runs[-1].at > duty.every)


def _write_off(paths: Paths, duty: Duty, desk: Desk) -> None:
    """Say of a run that left its mark that it was cut off, and resume what it had paused."""
    mark = desk.read_mark()
    if duty.stack and (paths.paused / duty.stack).exists():
        heal(duty.stack, paths.paused)
    if not mark:
        return
    cut = Run(
        at=mark["since"], ended=time.time(), who=mark["who"], result=CUT_OFF, code=1,
        said="it was killed, or the host went down, before it ended",
        hint="the next run uses what is stored already",
    )  # fmt: skip
    _settle(paths, duty, desk, cut)


def _settle(paths: Paths, duty: Duty, desk: Desk, done: Run) -> Run:
    """Write a run down, with what is odd about it, and have it told. Nothing here can change how it ended."""
    past = record.read(paths)
    done = replace(done, odd=odd(done, past, duty.odd)) if done.good else done
    record.add(paths, done)
    metrics.write(paths, duty, [*past, done])
    tell.tell(paths, duty, done, past[-1] if past else None)
    with suppress(Error):
        tell.ping(access.read(paths).ping, "" if done.good else "/fail", tell.summary(done))
    desk.end()
    return done


class _Ending(BaseException):
    """This process is to end. Not an `Error`: nobody on the way may take it for a source that cannot be read.

    With `asked` a person wants it; otherwise it is systemd, and the mark stays for `settle`.
    """

    def __init__(self, *, asked: bool) -> None:
        self.asked = asked


@contextmanager
def _stoppable() -> Iterator[None]:
    """SIGUSR1 is a person who asks to stop; SIGTERM is systemd's, at a shutdown for one. Once is enough."""

    def asked(*_: object) -> None:
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        raise _Ending(asked=True)

    def ended(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise _Ending(asked=False)

    before = {number: signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGTERM)}
    signal.signal(signal.SIGUSR1, asked)
    signal.signal(signal.SIGTERM, ended)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@dataclass
class _Run:
    """One run at work."""

    paths: Paths
    duty: Duty
    listener: Listener
    who: str
    began: float
    clock: Clock = field(default_factory=SystemClock)
    docker: Docker = field(default_factory=Docker)

    def perform(self) -> Run | None:
        """Do it, and say how it went; None where systemd ended this process."""
        try:
            metrics.write(self.paths, self.duty, record.read(self.paths), self.began)
            return self._kept(*self._back_up())
        except Error as error:
            return self._failed(error)
        except OSError as error:
            told = f"{error.filename}: {error.strerror}" if error.filename else str(error)
            return self._failed(HostError(told, hint="look at this path on the host, and at the room on its disks"))
        except _Ending as ending:
            stopped = Stopped("stopped as asked", hint="what is stored already is used by the next run")
            return self._failed(stopped, STOPPED) if ending.asked else None
        except Exception as error:
            traceback.print_exc()
            return self._failed(Error(f"the backup broke: {type(error).__name__}: {error}", hint="report this"))

    def _back_up(self) -> tuple[Report, float]:
        reach = access.read(self.paths) if self.duty.url.startswith("s3:") else Access()
        if complaint := tell.ping(self._ping(), "/start"):
            self.listener.warn(complaint)
        self._after_deploy()
        self.listener.step("look at what there is")
        found = gather.gather(self.paths, self.duty, self.docker)
        for warning in found.discovery.warnings:
            self.listener.warn(warning)
        self.listener.done(", ".join(one.source.name for one in found.discovery.found))
        self.listener.step("hold it still")
        sources, project = found.discovery.found, self.duty.stack
        with barrier(
            self.docker, project, sources, pause=self._pause(), listener=self.listener, notes=self.paths.paused
        ) as held:
            self.listener.done()
            facts = {**found.facts, "barrier": held.facts}
            options = Options(facts=facts)
            inputs = [*held.inputs, *found.inputs]
            report = backup(self._origin(reach), inputs, options=options, listener=self.listener)
        return report, float(held.facts.get("skew_seconds", 0.0))

    def _ping(self) -> Any:
        with suppress(Error):
            return access.read(self.paths).ping
        return None

    def _after_deploy(self) -> None:
        """Wait for a deploy, or for the watchdog: either ends containers that are about to be read."""
        place = Place(self.duty.stack, self.paths.root)
        deadline = self.clock.now() + DEPLOY_WITHIN
        if not self.duty.stack or not place.busy():
            return
        self.listener.step(f"wait for whoever is at work on {self.duty.stack}, a deploy or a {HEAL}")
        while place.busy() and self.clock.now() < deadline:
            self.clock.sleep(1)
        self.listener.done()

    def _pause(self) -> Pause | None:
        said = self.duty.pause
        if said is None:
            return None
        return Pause(said.services, cast(Any, said.how), cast(Any, said.until), said.at_most)

    def _origin(self, reach: Access) -> Origin:
        duty = self.duty
        lock = Duration(duty.lock) if duty.lock else None
        return Origin(
            host=duty.host,
            store=PatientStore(store_of(duty, reach), told=self.listener.warn),
            state=self.paths.backup,
            recipients=duty.recipients,
            terms=Terms(Duration(duty.epoch), lock),
        )

    def _kept(self, report: Report, skew: float) -> Run:
        return Run(
            at=self.began, ended=self.clock.wall(), who=self.who, result=report.outcome,
            code=0 if report.outcome == COMPLETE else INCOMPLETE, snapshot=report.snapshot, sequence=report.sequence,
            epoch=report.epoch, fresh=report.reasons if report.fresh_epoch else (), bytes=report.bytes,
            stored=report.stored, entries=report.entries, changed=len(report.changed),
            unread=report.unread[: record.MOST_UNREAD], sources=grouped(report.sources), skew=skew,
            said=f"{len(report.unread)} could not be read" if report.unread else "",
        )  # fmt: skip

    def _failed(self, error: Error, result: str = FAILED) -> Run:
        return Run(
            at=self.began, ended=self.clock.wall(), who=self.who, result=result, code=error.exit_code,
            said=error.message, hint=error.hint,
        )  # fmt: skip


def store_of(duty: Duty, reach: Access) -> ObjectStore:
    """Return the store as the host may use it, no faster than it is to."""
    credentials = Credentials(reach.access_key, reach.secret_key, reach.session_token) if reach.access_key else None
    return open_store(duty.url, credentials, pace=Pace(duty.bandwidth) if duty.bandwidth else None)


def grouped(infos: Sequence[SourceInfo]) -> dict[str, dict[str, int]]:
    """Return bytes, entries and rows of each source, by the first two parts of its inputs' names."""
    found: dict[str, dict[str, int]] = {}
    for info in infos:
        one = found.setdefault("/".join(info.name.split("/")[:2]), {"bytes": 0, "entries": 0, "rows": 0})
        one["bytes"] += info.bytes
        one["entries"] += info.entries
        counts = info.facts.get("counts")
        one["rows"] += sum(_least(count) for count in counts.values()) if isinstance(counts, dict) else 0
    return found


def _least(count: Any) -> int:
    # One that could not be known exactly is a pair.
    number = count[0] if isinstance(count, list | tuple) and count else count
    return number if isinstance(number, int) else 0
