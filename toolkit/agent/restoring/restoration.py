"""A restoration: one restore from its request to data that is proven, swapped in and serving.

    open → load → prove → stop → swap → start → gate

Up to the swap nothing in use is touched, so whatever goes wrong there costs nothing but time. What goes wrong after it
puts the old data back.
"""

import os
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing, nullcontext, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from toolkit.agent.paths import Paths
from toolkit.agent.restoring import aside, choice, excerpt, mark, moment, swap
from toolkit.agent.restoring.mark import LOADING, PASSED, SWAPPING, Mark
from toolkit.repository.manifest import COMPLETE
from toolkit.repository.reach import Reach
from toolkit.repository.read import Snapshot
from toolkit.repository.restore import How, restore
from toolkit.sources import excerpts
from toolkit.sources.discover import Found
from toolkit.sources.docker import Docker, Inspected
from toolkit.sources.excerpts import Excerpt
from toolkit.sources.refill import Layout, Refill, Refilled
from toolkit.sources.wal_choose import Chosen
from toolkit.sources.wal_recover import Reached
from toolkit.stack import stopping
from toolkit.stack.containers import Verdict
from toolkit.stack.driver import Driver, Work
from toolkit.stack.restoring import Desk, Wish
from toolkit.stack.site import Site
from toolkit.words.errors import DeployFailed, Error, HostError, Mixed, RepositoryError
from toolkit.words.values import Secret, Size

RESTORED, ASIDE, UNDONE, FORGOTTEN = "restored", "aside", "undone", "forgotten"
FAILED, PUT_BACK, MIXED = "failed", "put back", "mixed"
INCOMPLETE = 3


@dataclass
class Restoration:
    """Works on one stack; its caller holds the stack's locks. `phase` hears where it is."""

    site: Site
    desk: Desk
    wish: Wish
    secret: Secret = field(repr=False)
    phase: Callable[[str], None] = field(repr=False)
    docker: Docker = field(default_factory=Docker)

    def __post_init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._notes: list[str] = []
        self._moment: Chosen | None = None
        self._excerpt: Excerpt | None = None
        self._reached: list[Reached] = []

    def restore(self) -> dict[str, Any]:
        """Put a snapshot's data in the place of what is there. Whatever goes wrong is told in the outcome."""
        try:
            snapshot = self._timed("open", self._open)
            if self.wish.to:
                return self._aside(snapshot)
            made = self._prepared(snapshot)
            done = self._timed("load", lambda: self._load(snapshot, *made))
            current = self._go(made[0])
        except (Error, OSError) as error:
            self._discard()
            return self._told(FAILED, error)
        try:
            verdicts = self._enter(current, one_shots=True)
        except (Error, OSError) as error:
            return self._put_back(current, error)
        mark.keep(self.desk, [*mark.kept(self.desk), current])
        mark.end(self.desk)
        return self._finished(snapshot, current, done, verdicts)

    def undo(self) -> dict[str, Any]:
        """Let what a restore kept and what it brought change places again."""
        try:
            before = mark.find(self.desk, self.wish.kept)
            swaps = tuple(replace(one, inode=one.now()) for one in before.swaps)
            current = replace(before, swaps=swaps, undoes=before.id, who=self.wish.who, phase=LOADING)
            current = self._go(mark.write(self.desk, current))
        except (Error, OSError) as error:
            self._discard()
            return self._told(FAILED, error)
        try:
            verdicts = self._enter(current, one_shots=False)
        except (Error, OSError) as error:
            return self._put_back(current, error)
        mark.end(self.desk)
        return {**self._told(UNDONE), "kept": before.id, "services": _services(verdicts)}

    def forget(self) -> dict[str, Any]:
        """Remove what restores kept: one's, or all of it."""
        try:
            marks = [mark.find(self.desk, self.wish.kept)] if self.wish.kept else mark.kept(self.desk)
            for one in marks:
                aside.remove(self.docker, one.swaps)
                mark.keep(self.desk, [each for each in mark.kept(self.desk) if each.id != one.id])
        except (Error, OSError) as error:
            return self._told(FAILED, error)
        return {**self._told(FORGOTTEN), "forgotten": [one.id for one in marks]}

    def settle(self) -> dict[str, Any] | None:
        """End what a crash or a reboot left half-way; None where there is nothing."""
        current = mark.read(self.desk)
        if current is None:
            return None
        cause = HostError("the restore was cut off on the host", hint="run it again; the old data is in its place")
        if current.phase == LOADING:
            self._discard()
            return self._told(FAILED, cause)
        if current.phase == PASSED:
            if not current.undoes and current.id not in [one.id for one in mark.kept(self.desk)]:
                mark.keep(self.desk, [*mark.kept(self.desk), current])
            mark.end(self.desk)
            told = {"kept": current.id, "snapshot": current.snapshot, "taken": current.taken}
            return {**self._told(RESTORED), **told}
        return self._put_back(current, cause)

    def _open(self) -> Snapshot:
        repository = Reach.parse(self.wish.reach, self.secret).repository(self.desk.run, self.site.listener.warn)
        if self.wish.at:
            self._moment = moment.chosen(repository, self.wish)
            return self._moment.open_base()
        snapshot = repository.open(repository.find(self.wish.snapshot))
        if snapshot.manifest.outcome != COMPLETE:
            first = next(iter(snapshot.manifest.problems), ("something", "could not be read"))
            self._note(f"the snapshot is incomplete: {first[0]}: {first[1]}")
        return snapshot

    def _aside(self, snapshot: Snapshot) -> dict[str, Any]:
        """Write files into a directory of the host; the stack is left alone."""
        how = How(below=self.wish.path, durable=True)
        done = restore(snapshot, Path(self.wish.to), how, listener=self.site.listener)
        told = {"to": self.wish.to, "entries": done.entries, "bytes": done.bytes, "withheld": list(done.withheld)}
        return {**self._told(ASIDE), **told, "snapshot": str(snapshot.name), "taken": snapshot.manifest.started}

    def _prepared(self, snapshot: Snapshot) -> tuple[Mark, Layout]:
        """Choose what goes where, and leave a mark of it. Nothing is made before the mark is on the disk."""
        release = self.site.place.current_name()
        manifest = self.site.place.manifest(release)
        containers = self.docker.containers(self.site.stack)
        known = choice.described(Paths(self.desk.root), self.docker, self.site.stack, self.site.listener.warn)
        restore_id = f"{datetime.now(UTC):%Y%m%dt%H%M%S}-{os.urandom(2).hex()}"
        chosen, swaps, wanted = self._chosen(snapshot, containers, known, restore_id)
        for name, why in chosen.unplaced:
            self._note(f"{name} is not restored: {why}")
        _check_room(swaps, wanted)
        stopped = aside.with_dependents(manifest, aside.used_by(containers, swaps))
        names = (self._excerpt.path,) if self._excerpt else tuple(part.name for part in chosen.parts)
        began = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        what, taken = str(snapshot.name), self.wish.at or snapshot.manifest.started
        current = Mark(restore_id, what, taken, release, self.wish.who, began, swaps, stopped, names)
        return mark.write(self.desk, current), chosen

    def _chosen(
        self, snapshot: Snapshot, containers: Sequence[Inspected], known: Sequence[Found], restore_id: str
    ) -> tuple[Layout, tuple[swap.Swap, ...], int]:
        """What is filled, what it is exchanged for, and how many bytes that is."""
        trees = self.wish.trees
        if self.wish.path:
            self._excerpt = excerpts.find(snapshot, self.wish.path, trees)
            part = excerpt.placed(snapshot, self._excerpt, containers, trees, known)
            one = aside.swap_within(self.docker, part, self._excerpt.below, restore_id)
            return Layout((part,)), (one,), self._excerpt.bytes
        if self._moment:
            chosen = moment.placed(self._moment, containers, known, self.site.listener, self._reached.append)
            wanted = self._moment.bytes
        else:
            chosen = choice.chosen(snapshot, containers, self.wish.sources, trees, known)
            wanted = choice.size(snapshot, chosen)
        return chosen, aside.swaps_for(self.docker, chosen.parts, restore_id), wanted

    def _load(self, snapshot: Snapshot, current: Mark, chosen: Layout) -> list[Refilled]:
        """Load everything beside, and prove it there. Raises HostError where something is not as it was captured."""
        aside.make(self.docker, current.swaps, current.id)
        done, hint = {}, "nothing in use was touched; try an older snapshot, or leave this source out"
        # Closed at once where something is wrong: nothing may be loading any more when what is beside is removed.
        with closing(self._filled(snapshot, current, chosen)) as found:
            for one in found:
                done[one.source] = one
                believe(one, self._note, hint=hint)
        os.sync()
        return [done[name] for name in current.sources]

    def _filled(self, snapshot: Snapshot, current: Mark, chosen: Layout) -> Generator[Refilled, None, None]:
        if self._excerpt:
            yield excerpt.load(snapshot, self._excerpt, current.swaps[0], self.site.listener)
            return
        volumes = {one.volume: one.beside_volume for one in current.swaps if one.volume}
        paths = {one.live: one.beside for one in current.swaps if not one.volume}
        manifest, containers = self.site.place.manifest(current.release), self.docker.containers(self.site.stack)
        beside = aside.Beside(self.docker, self.site, manifest, containers, volumes, current.id)
        parts = [replace(one, place=choice.moved(one.place, paths)) for one in chosen.parts]
        yield from Refill(self.docker, snapshot, beside, volumes, self.site.listener, self.site.clock).run(parts)

    def _go(self, current: Mark) -> Mark:
        """Pass the last point at which somebody may stop it for nothing. Raises Stopped, OSError."""
        self.site.pause()
        return mark.entered(self.desk, current, SWAPPING)

    def _enter(self, current: Mark, *, one_shots: bool) -> Sequence[Verdict]:
        """Stop, swap, and bring the release up through its gate."""
        site = self.site.unstoppable()
        self._timed("stop", lambda: self._stop(current))
        self._timed("swap", lambda: swap.there(current.swaps))
        driver = self._driver(site, one_shots=one_shots)
        verdicts: Sequence[Verdict] = self._timed("start", lambda: driver.again(current.release))
        mark.entered(self.desk, current, PASSED)
        return verdicts

    def _put_back(self, current: Mark, cause: Exception) -> dict[str, Any]:
        """Have the old data in its place and serving again, after whatever went wrong."""
        self.phase("put back")
        self.site.listener.warn(f"putting the old data back: {str(cause).partition(chr(10))[0]}")
        try:
            self._stop(current)
            swap.back(current.swaps)
            if not current.undoes:
                aside.remove(self.docker, current.swaps)
            mark.end(self.desk)
        except (Error, OSError) as error:
            return self._told(
                MIXED, Mixed(f"{cause}\nputting the old data back failed: {error}", hint=_by_hand(current))
            )
        try:
            verdicts = self._driver(self.site.unstoppable(), one_shots=False).again(current.release)
        except (Error, OSError) as error:
            told = f"{cause}\nthe old data is in its place again, and the stack is not healthy: {error}"
            return self._told(PUT_BACK, DeployFailed(told, hint="`invoke status`, then `invoke deploy`"))
        return {**self._told(PUT_BACK, cause), "services": _services(verdicts)}

    def _stop(self, current: Mark) -> None:
        found = [one for one in self.site.containers() if one.service in current.services]
        self.site.listener.step("stop")
        stopping.stop(self.site, found)
        self.site.listener.done(", ".join(sorted({one.service for one in found})) or "nothing ran")

    def _driver(self, site: Site, *, one_shots: bool) -> Driver:
        nothing = lambda _manifest: None  # noqa: E731
        return Driver(site, Work(lambda: nullcontext(""), nothing, self.phase, one_shots=one_shots))

    def _discard(self) -> None:
        """Remove what was made beside; a removal that fails leaves the mark, and the next look tries again."""
        with suppress(Error, OSError):
            if (current := mark.read(self.desk)) and current.phase == LOADING:
                if not current.undoes:
                    aside.remove(self.docker, current.swaps)
                mark.end(self.desk)

    def _timed(self, name: str, work: Callable[[], Any]) -> Any:
        self.phase(name)
        begun = time.monotonic()
        try:
            return work()
        finally:
            self._seconds[name] = round(time.monotonic() - begun, 1)

    def _note(self, text: str) -> None:
        self._notes.append(text)
        self.site.listener.warn(text)

    def _finished(
        self, snapshot: Snapshot, current: Mark, done: Sequence[Refilled], verdicts: Sequence[Verdict]
    ) -> dict[str, Any]:
        told = {**self._told(RESTORED), "snapshot": str(snapshot.name), "taken": current.taken}
        for reached in self._reached:
            told |= {"at": reached.moment, "last_commit": reached.last_commit}
        kept = [
            {"volume": one.volume or one.live, "kept": one.beside_volume or one.beside, "within": one.within}
            for one in current.swaps
        ]
        return {
            **told,
            "kept": current.id,
            "replaced": kept,
            "sources": [described(one) for one in done],
            "services": _services(verdicts),
        }

    def _told(self, result: str, cause: Exception | None = None) -> dict[str, Any]:
        code = 0 if cause is None else cause.exit_code if isinstance(cause, Error) else HostError.exit_code
        return {
            "result": result,
            "code": code or (INCOMPLETE if self._notes else 0),
            "fault": "" if cause is None else str(cause),
            "hint": cause.hint if isinstance(cause, Error) else "",
            "notes": list(self._notes),
            "seconds": dict(self._seconds),
        }


def believe(one: Refilled, note: Callable[[str], object], *, hint: str) -> None:
    """Raise RepositoryError where something is not as it was captured; note what could not be looked at."""
    for verdict in one.probe.verdicts:
        if verdict.state == "bad":
            raise RepositoryError(f"{one.source}: {verdict.what}: {verdict.evidence}", hint=hint)
        if verdict.state == "unknown":
            note(f"{one.source}: {verdict.what} could not be looked at: {verdict.evidence}")


def described(one: Refilled) -> dict[str, Any]:
    """One source that is back, for people and programs."""
    verdicts = [vars(verdict) for verdict in one.probe.verdicts]
    times = {"load_seconds": round(one.load_seconds, 1), "probe_seconds": round(one.probe_seconds, 1)}
    return {"source": one.source, "kind": one.kind, "good": one.good, **times, "verdicts": verdicts}


def _services(verdicts: Sequence[Verdict]) -> list[Mapping[str, str]]:
    return [{"service": one.service, "state": one.state, "reason": one.reason} for one in verdicts]


def _by_hand(current: Mark) -> str:
    moves = "; ".join(" <-> ".join(one.places) for one in current.swaps)
    return f"with {', '.join(current.services)} stopped, let these change places where they are not right: {moves}"


def _check_room(swaps: Sequence[swap.Swap], wanted: int) -> None:
    """Raise HostError where what is to be loaded will hardly fit beside what is there."""
    for one in swaps:
        found = os.statvfs(Path(one.live).parent)
        free = found.f_bavail * found.f_frsize
        if free < wanted:
            told = f"{one.live} has room for {Size(free)}, and {Size(wanted)} are to be loaded beside it"
            raise HostError(told, hint="nothing was touched; make room, or restore fewer sources with --source")
