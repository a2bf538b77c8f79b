"""The rehearsal: one drill from its wish to its report, beside whichever Engine it runs.

What goes wrong on the way is a verdict of the report, never the end of it: a drill that found nothing to restore has
found out a lot. Only what says nothing of the backup (somebody else at work, a wish that makes no sense) is raised.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from toolkit import __version__
from toolkit.drill import box, files, objects
from toolkit.drill.captured import Captured
from toolkit.drill.report import Check, Loss, Phase, Report, State, promised
from toolkit.drill.wish import Wish
from toolkit.repository.manifest import COMPLETE, INCOMPLETE
from toolkit.repository.read import Repository, Snapshot
from toolkit.sources.docker import Docker
from toolkit.words.clock import Clock
from toolkit.words.errors import Error
from toolkit.words.report import Listener
from toolkit.words.values import Secret

Login = Callable[[], AbstractContextManager[str]]
"""Gives a folder with registry logins for a while; an empty name stands for the machine's own."""


@dataclass
class Drill:
    """Everything that one drill works with, and what it has found so far."""

    wish: Wish
    repository: Repository = field(repr=False)
    docker: Docker
    clock: Clock
    listener: Listener
    login: Login = field(default=lambda: nullcontext(""), repr=False)
    others: Sequence[Secret] = field(default=(), repr=False)
    """Identities that each must open the snapshot as well, such as the escrow's."""

    root: Path = Path("/")
    phases: list[Phase] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    able: list[str] = field(default_factory=list)
    loss: Loss | None = None
    begun: float = 0.0
    broke_in: str = ""
    """The phase that something ended first."""

    clean: Callable[[str], str] = str
    """Takes out of a text what must not be in a report: set once the secrets of the stack are known."""

    @contextmanager
    def phase(self, name: str, *, recovers: bool = True) -> Iterator[None]:
        """Measure one part of the drill, also one that fails."""
        begun = self.clock.now()
        self.listener.step(name)
        try:
            yield
        except BaseException:
            self.broke_in = self.broke_in or name
            raise
        finally:
            self.phases.append(Phase(name, round(self.clock.now() - begun, 3), recovers))
        self.listener.done()

    def check(self, subject: str, what: str, state: State, evidence: str) -> None:
        evidence = self.clean(evidence)
        self.checks.append(Check(subject, what, state, evidence))
        if state != "good":
            self.listener.warn(f"{subject}: {what}: {evidence.partition(chr(10))[0]}")

    def add(self, checks: Sequence[Check]) -> None:
        for one in checks:
            self.check(one.subject, one.what, one.state, one.evidence)

    def lost_since(self, moment: float, told_by: str) -> None:
        """Say how much would have been lost, had production gone when this drill began."""
        self.loss = Loss(round(max(0.0, self.begun - moment), 3), _iso(moment), told_by)


def perform(drill: Drill) -> Report:
    """Drill, and return the report. Raises Locked where another is at work here, Unfit where this place will not do."""
    drill.begun = drill.clock.wall()
    wish = drill.wish
    if wish.level >= 2:
        box.refuse_second(drill.root)
        for name in box.clean_up(drill.docker, drill.root):
            drill.listener.warn(f"removed what the drill {name} left when it was killed")
    snapshot = _guarded(drill)
    report = Report(
        host=wish.host,
        level=wish.level,
        started=_iso(drill.begun),
        ended=_iso(drill.clock.wall()),
        where=wish.where,
        who=wish.who,
        toolkit=__version__,
        snapshot=str(snapshot.name) if snapshot else "",
        digest=snapshot.digest if snapshot else "",
        taken=snapshot.manifest.started if snapshot else "",
        outcome=snapshot.manifest.outcome if snapshot else "",
        opened_with=tuple(drill.able),
        phases=tuple(drill.phases),
        checks=tuple(drill.checks),
        loss=drill.loss,
        targets=wish.targets,
        sizes=drill.sizes,
        versions=drill.versions,
    )
    return replace(report, checks=(*report.checks, *promised(wish.targets, report.rto, report.loss)))


def _guarded(drill: Drill) -> Snapshot | None:
    """Go through the levels; what stops the drill is its last verdict."""
    seen: list[Snapshot] = []
    try:
        _levels(drill, seen)
    except box.Unfit:
        raise
    except (Error, OSError) as error:
        text = error.message if isinstance(error, Error) else str(error)
        drill.check("drill", drill.broke_in or "begin", "bad", text)
    return seen[0] if seen else None


def _levels(drill: Drill, seen: list[Snapshot]) -> None:
    wish = drill.wish
    if wish.level == 0:
        with drill.phase("look at every object", recovers=False):
            found, checks = objects.audited(drill.repository, drill.listener)
        drill.sizes |= {"stored": found.bytes, "objects": found.packs + found.snapshots}
        drill.add(checks)
        return
    with drill.phase("open the snapshot"):
        snapshot = _open(drill)
        seen.append(snapshot)
    _of_the_snapshot(drill, snapshot)
    with drill.phase("signatures, chain and a share of the packs", recovers=False):
        found, checks = objects.sampled(drill.repository, drill.clock, drill.listener)
    drill.add(checks)
    if wish.level == 2:
        _all_files(drill, snapshot)
    elif wish.level > 2:
        from toolkit.drill.data import rehearse

        rehearse(drill, snapshot)


def _open(drill: Drill) -> Snapshot:
    repository = drill.repository
    name = repository.find(drill.wish.snapshot)
    drill.able, checks = objects.opened(repository, name, drill.others)
    drill.add(checks)
    return repository.open(name)


def _of_the_snapshot(drill: Drill, snapshot: Snapshot) -> None:
    manifest = snapshot.manifest
    drill.sizes |= {
        "stored": sum(pack.size for pack in manifest.packs.values()),
        "restored": manifest.bytes,
        "files": manifest.entries,
    }
    captured = Captured.of(snapshot)
    if captured.moment is not None:
        drill.lost_since(captured.moment, "barrier")
    for source in manifest.sources:
        if isinstance(engine := source.facts.get("engine"), str):
            version = str(source.facts.get("version") or source.facts.get("engine_version") or "")
            drill.versions["/".join(source.name.split("/")[:2])] = f"{engine} {version}".strip()
    if manifest.outcome == COMPLETE:
        drill.check("snapshot", "complete", "good", f"{manifest.entries} entries, {manifest.bytes} bytes")
    else:
        told = "\n".join(f"{path}: {text}" for path, text in manifest.problems[:20])
        drill.check("snapshot", "complete", "unknown", told or f"the backup itself was {INCOMPLETE}")


def _all_files(drill: Drill, snapshot: Snapshot) -> None:
    """Level 2: everything into a folder, compared there, and gone."""
    made = box.Box.drawn(drill.docker, drill.root)
    with made.opened():
        target = made.disk / "files"
        with drill.phase("restore every file"):
            done = files.bring_back(snapshot, target, "", drill.listener)
        with drill.phase("compare with the list", recovers=False):
            drill.add([files.compare(snapshot, target, "", done)])


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
