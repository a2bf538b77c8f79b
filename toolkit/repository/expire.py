"""Expiry: the only deletion there is. It removes whole epochs, from the control side, and says why for each.

What a host wrote is evidence, not truth. A snapshot counts only if it was believed by whoever opened it and if the time
in its name agrees with the store's own clock, so that a host taken over cannot crowd good snapshots out with invented
ones. Inside an epoch manifests go first, then packs, then `epoch.json`: an interruption anywhere leaves snapshots that
are whole, or packs that nobody refers to, and the next run ends the work.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby
from statistics import median

from toolkit.repository.layout import SnapshotName, epochs_prefix, place
from toolkit.repository.read import Repository
from toolkit.repository.retention import Retention, keep
from toolkit.store import AdminStore, ObjectInfo
from toolkit.words.errors import Denied, RepositoryError
from toolkit.words.report import Listener, Table
from toolkit.words.values import Size

# A backup is named for its start and stored at its end, which on a thin line is days later.
AGREEMENT = timedelta(days=7)
GRACE = timedelta(days=7)
_CROWD = 4
NOBODY_LOOKED = "none of its snapshots counts: look at them, then drop it by name"


@dataclass(frozen=True)
class Epoch:
    """One epoch as the store shows it: its objects, and until when the store itself keeps them from going."""

    name: str
    objects: Sequence[ObjectInfo]
    snapshots: Mapping[SnapshotName, ObjectInfo]
    locked_until: datetime | None = None

    @property
    def bytes(self) -> int:
        return sum(found.size for found in self.objects)

    @property
    def touched(self) -> datetime:
        return max(found.modified for found in self.objects)


@dataclass
class Decision:
    """Which epochs stay and go, each with its reasons, and what looks odd."""

    kept: dict[str, list[str]] = field(default_factory=dict)
    expired: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    counted: list[SnapshotName] = field(default_factory=list)

    @property
    def leaves_nothing(self) -> bool:
        return bool(self.expired) and not any(name.epoch in self.kept for name in self.counted)


@dataclass
class Expired:
    """What was done: objects and bytes removed, and epochs that the store did not let go."""

    objects: int = 0
    bytes: int = 0
    held: dict[str, str] = field(default_factory=dict)


def survey(store: AdminStore, host: str) -> list[Epoch]:
    """Look at all epochs of a host, oldest first."""
    found = (info for info in store.list(epochs_prefix(host)) if place(host, info.key).epoch)
    epochs = [
        _epoch(store, host, name, tuple(group))
        for name, group in groupby(found, key=lambda info: place(host, info.key).epoch)
    ]
    # Names tell the day only.
    return sorted(epochs, key=lambda epoch: min(info.modified for info in epoch.objects))


def _epoch(store: AdminStore, host: str, name: str, objects: Sequence[ObjectInfo]) -> Epoch:
    named = ((place(host, info.key).snapshot, info) for info in objects)
    snapshots = {snapshot: info for snapshot, info in named if snapshot}
    # All objects of an epoch carry the same lock: one of each kind tells it.
    samples = [*list(snapshots.values())[-1:], objects[0], objects[-1]]
    locks = [lock for info in samples if (lock := store.head(info.key).retain_until)]
    return Epoch(name, objects, snapshots, max(locks, default=None))


def doubts(repository: Repository) -> set[SnapshotName]:
    """Open every snapshot and return those that are not the host's own, or cannot be read."""
    found = set()
    for name in repository.snapshots():
        try:
            repository.open(name)
        except RepositoryError:
            found.add(name)
    return found


def decide(
    epochs: Sequence[Epoch],
    policy: Retention,
    *,
    now: datetime,
    proven: Collection[SnapshotName] = (),
    doubted: Collection[SnapshotName] = (),
    drop: Collection[str] = (),
) -> Decision:
    """Decide about every epoch.

    `proven` snapshots came through a drill, `doubted` ones are those of `doubts`. An epoch with nothing but
    snapshots that do not count stays until a person has looked and names it in `drop`.
    """
    decision = Decision()
    for epoch in epochs:
        decision.counted += counted(epoch, now, doubted, decision.warnings)
    decision.warnings += [*_crowds(decision.counted), *_bulks(epochs)]
    wanted = _wanted(decision.counted, policy, proven)
    for epoch in epochs:
        reasons = wanted.get(epoch.name, []) + not_yet(epoch, now)
        if not reasons and epoch.name not in drop and not _speaks(epoch, decision.counted):
            reasons = [NOBODY_LOOKED]
        if reasons:
            decision.kept[epoch.name] = reasons
        else:
            decision.expired[epoch.name] = _why_gone(epoch)
    return decision


def carry_out(
    store: AdminStore,
    epochs: Sequence[Epoch],
    decision: Decision,
    listener: Listener,
    *,
    allow_empty: bool = False,
) -> Expired:
    """Delete the expired epochs. Raises RepositoryError where no epoch with a snapshot would be left."""
    refuse_to_empty(decision, allow_empty=allow_empty)
    done = Expired()
    for epoch in epochs:
        if epoch.name in decision.expired:
            listener.step(f"expire {epoch.name}")
            _remove(store, epoch, done, listener)
            listener.done(done.held.get(epoch.name, str(Size(epoch.bytes))))
    return done


def refuse_to_empty(decision: Decision, *, allow_empty: bool) -> None:
    """Raise RepositoryError where no epoch with a snapshot that counts would be left."""
    if decision.leaves_nothing and not allow_empty:
        hint = "look at what the newest backups say; if you mean it, add --allow-empty"
        raise RepositoryError("refusing to delete the last epoch that holds a snapshot", hint=hint)


def table(epochs: Iterable[Epoch], decision: Decision) -> Table:
    """Show every epoch with its fate and the reasons."""
    rows = [
        (
            epoch.name,
            str(len(epoch.snapshots)),
            str(Size(epoch.bytes)),
            "keep" if epoch.name in decision.kept else "expire",
            "; ".join(decision.kept.get(epoch.name, [])) or decision.expired[epoch.name],
        )
        for epoch in epochs
    ]
    return Table(("epoch", "snapshots", "stored", "", "why"), rows)


def counted(
    epoch: Epoch, now: datetime, doubted: Collection[SnapshotName], warnings: list[str]
) -> Iterator[SnapshotName]:
    """Yield the snapshots that may speak for keeping or dropping something; warn about the others."""
    for name, info in sorted(epoch.snapshots.items()):
        ignored = f"{name} in {epoch.name} does not count"
        if name in doubted:
            warnings.append(f"{ignored}: it could not be opened or believed")
        elif name.when > now + AGREEMENT:
            warnings.append(f"{ignored}: its time is in the future")
        elif abs(name.when - info.modified) > AGREEMENT:
            warnings.append(f"{ignored}: the store received it at {info.modified:%Y-%m-%d %H:%M} UTC")
        else:
            yield name


def _crowds(counted: Iterable[SnapshotName]) -> Iterator[str]:
    days = Counter(f"{name.when:%Y-%m-%d}" for name in counted)
    usual = median(days.values()) if days else 0
    for day, count in sorted(days.items()):
        if count > usual * _CROWD:
            yield f"{count} snapshots on {day}, where {usual:g} are usual: somebody may be crowding others out"


def _bulks(epochs: Sequence[Epoch]) -> Iterator[str]:
    usual = median(epoch.bytes for epoch in epochs) if epochs else 0
    for epoch in epochs:
        if epoch.bytes > usual * _CROWD:
            stored = f"{Size(epoch.bytes)} in {epoch.name}, where {Size(usual)} are usual"
            yield f"{stored}: somebody may be filling the store, or much has changed"


def _wanted(
    counted: Collection[SnapshotName], policy: Retention, proven: Collection[SnapshotName]
) -> dict[str, list[str]]:
    """Map epochs to why they must stay, from the snapshots that count."""
    reasons: dict[str, list[str]] = {}
    for name, why in sorted(keep(counted, policy).items()):
        reasons.setdefault(name.epoch, []).append(f"{name}: {', '.join(why)}")
    if newest := max(counted, default=None):
        reasons.setdefault(newest.epoch, []).append("the newest epoch")
    if tried := max((name for name in proven if name in counted), default=None):
        reasons.setdefault(tried.epoch, []).append(f"{tried}: the newest that a drill has proven")
    return reasons


def not_yet(epoch: Epoch, now: datetime) -> list[str]:
    """Why an epoch cannot go now, whatever it holds."""
    reasons = []
    if epoch.locked_until and epoch.locked_until > now:
        reasons.append(f"locked by the store until {epoch.locked_until:%Y-%m-%d %H:%M} UTC")
    if not epoch.snapshots and now - epoch.touched < GRACE:
        reasons.append("no snapshot yet: a first backup may be under way")
    return reasons


def _speaks(epoch: Epoch, counted: Collection[SnapshotName]) -> bool:
    return not epoch.snapshots or any(name in counted for name in epoch.snapshots)


def _why_gone(epoch: Epoch) -> str:
    if not epoch.snapshots:
        return f"no snapshot, and nothing added since {epoch.touched:%Y-%m-%d}"
    return f"the policy keeps none of its {len(epoch.snapshots)} snapshots; the newest is {max(epoch.snapshots)}"


def _remove(store: AdminStore, epoch: Epoch, done: Expired, listener: Listener) -> None:
    manifests = {info.key for info in epoch.snapshots.values()}
    in_order = sorted(epoch.objects, key=lambda info: (info.key not in manifests, info.key.endswith("/epoch.json")))
    for number, info in enumerate(in_order, 1):
        try:
            store.delete(info.key)
        except Denied as error:
            done.held[epoch.name] = error.message
            listener.warn(f"{epoch.name} stays: {error.message}")
            return
        done.objects, done.bytes = done.objects + 1, done.bytes + info.size
        listener.progress(number, len(in_order), epoch.name)
