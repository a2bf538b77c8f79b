"""Plan: what a policy will store and cost over the coming months. Pure arithmetic over a calendar.

It plays the schedule day by day with the retention and the epochs of the real thing. Beside it stands the same policy
over a repository that collects garbage, so that the price of never repacking is on the table.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from toolkit.repository.expire import Epoch
from toolkit.repository.layout import SnapshotName, stamp
from toolkit.repository.retention import Retention, keep
from toolkit.words.errors import ConfigError
from toolkit.words.report import Table
from toolkit.words.values import Duration, Size

_DAY = 86400.0
_GB = 1e9

NOTHING, NIGHTLY, MONTHLY, NO_LOCK = Size(0), Duration(_DAY), Duration(30 * _DAY), Duration(0)


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What a host stores: a first backup, what a day's changes add, and by how much a first backup grows in a day."""

    first: Size
    daily: Size
    growth: Size = NOTHING


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """When backups run, and how long chunks are shared and locked."""

    every: Duration = NIGHTLY
    epoch: Duration = MONTHLY
    lock: Duration = NO_LOCK
    retention: Retention = field(default_factory=Retention)

    def __post_init__(self) -> None:
        if self.every <= 0 or self.epoch < self.every:
            raise ConfigError("an epoch is shorter than the time between backups", hint="epochs of 30d suit most")


@dataclass(frozen=True)
class Month:
    """The state at the end of one month of 30 days, and what the month cost."""

    number: int
    epochs: int
    snapshots: int
    stored: Size
    collected: Size
    uploaded: Size
    cost: float


@dataclass
class _Epoch:
    name: str
    begun: datetime
    stored: float
    snapshots: list[SnapshotName] = field(default_factory=list)


def observed(epochs: Sequence[Epoch]) -> Workload | None:
    """Return what a host has stored so far as a workload, None where there is no snapshot yet.

    The newest epoch tells how much a first backup is, all of them what changes, the oldest how fast it grows.
    """
    seen = [found for found in (_Seen.of(epoch) for epoch in epochs) if found]
    if not seen:
        return None
    oldest, newest = seen[0], seen[-1]
    days = sum(each.days for each in seen)
    apart = (newest.begun - oldest.begun).total_seconds() / _DAY
    return Workload(
        first=Size(newest.first),
        daily=Size(sum(each.later for each in seen) / days) if days >= 1 else NOTHING,
        growth=Size(max(0, newest.first - oldest.first) / apart) if apart >= 1 else NOTHING,
    )


@dataclass(frozen=True)
class _Seen:
    """What one epoch shows: when its first backup was there, how much that was, and what came in how many days."""

    begun: datetime
    first: int
    later: int
    days: float

    @classmethod
    def of(cls, epoch: Epoch) -> "_Seen | None":
        times = sorted(info.modified for info in epoch.snapshots.values())
        if not times:
            return None
        first = sum(info.size for info in epoch.objects if info.modified <= times[0])
        return cls(times[0], first, epoch.bytes - first, (times[-1] - times[0]).total_seconds() / _DAY)


def plan(work: Workload, schedule: Schedule, *, price: float, months: int = 24) -> list[Month]:
    """Return each month to come. `price` is for a gigabyte (10^9 bytes) and a month."""
    state = _State(work, schedule)
    return [state.month(number, price) for number in range(1, months + 1)]


class _State:
    """The repository while the calendar is played."""

    def __init__(self, work: Workload, schedule: Schedule) -> None:
        self._work, self._schedule = work, schedule
        self._now = self._start = datetime(2026, 1, 1, tzinfo=UTC)
        self._next = self._start
        self._epochs: list[_Epoch] = []
        self._sequence = 0
        self._kept: dict[SnapshotName, list[str]] = {}
        self._uploaded = 0.0

    def month(self, number: int, price: float) -> Month:
        self._uploaded, byte_days = 0.0, 0.0
        for _ in range(30):
            self._day()
            byte_days += sum(epoch.stored for epoch in self._epochs)
        stored = sum(epoch.stored for epoch in self._epochs)
        snapshots = sum(len(epoch.snapshots) for epoch in self._epochs)
        cost = byte_days / 30 / _GB * price
        collected = Size(self._collected())
        return Month(number, len(self._epochs), snapshots, Size(stored), collected, Size(self._uploaded), cost)

    def _day(self) -> None:
        self._now += timedelta(days=1)
        while self._next < self._now:
            self._back_up(self._next)
            self._next += timedelta(seconds=self._schedule.every)
        names = [name for epoch in self._epochs for name in epoch.snapshots]
        self._kept = keep(names, self._schedule.retention)
        self._epochs = [epoch for epoch in self._epochs if self._stays(epoch)]

    def _back_up(self, when: datetime) -> None:
        share = self._schedule.every / _DAY
        if not self._epochs or (when - self._epochs[-1].begun).total_seconds() >= self._schedule.epoch:
            size = self._size(when)
            self._epochs.append(_Epoch(f"{when:%Y%m%d}-{len(self._epochs):08x}", when, 0))
        else:
            size = self._work.daily * share
        self._epochs[-1].stored += size
        self._uploaded += size
        self._epochs[-1].snapshots.append(SnapshotName(self._sequence, self._epochs[-1].name, stamp(when)))
        self._sequence += 1

    def _size(self, when: datetime) -> float:
        return self._work.first + self._work.growth * (when - self._start).total_seconds() / _DAY

    def _stays(self, epoch: _Epoch) -> bool:
        under_way_or_locked = (self._now - epoch.begun).total_seconds() < self._schedule.epoch + self._schedule.lock
        return under_way_or_locked or any(name in self._kept for name in epoch.snapshots)

    def _collected(self) -> float:
        """What a repository would hold that shares everything and keeps only what a kept snapshot needs."""
        times = sorted(name.when for name in self._kept)
        if not times:
            return 0
        gaps = [(after - before).total_seconds() / _DAY for before, after in pairwise(times)]
        # What changed since an older snapshot replaces that much of it, and never more than all.
        return self._size(times[-1]) + sum(min(gap * self._work.daily, self._work.first) for gap in gaps)


def warnings(schedule: Schedule, work: Workload) -> Iterator[str]:
    """Yield what is odd about a policy, in sentences."""
    if work.daily * schedule.epoch / _DAY > 3 * work.first:
        yield "an epoch gathers more than three full copies of changes: a shorter epoch stores less"
    if work.daily * schedule.epoch / _DAY < work.first / 20:
        yield "little changes within an epoch: a longer epoch stores less"
    if schedule.lock and schedule.lock < schedule.every:
        yield "objects are locked for less than the time between two backups"


def table(months: Sequence[Month], currency: str = "") -> Table:
    """Show every month; the last row is the sum of costs."""
    rows = [
        (
            str(m.number),
            str(m.epochs),
            str(m.snapshots),
            str(m.stored),
            str(m.collected),
            str(m.uploaded),
            f"{m.cost:.2f}",
        )
        for m in months
    ]
    rows.append(
        ("sum", "", "", "", "", str(Size(sum(m.uploaded for m in months))), f"{sum(m.cost for m in months):.2f}")
    )
    unit = f"cost {currency}".strip()
    columns = ("month", "epochs", "snapshots", "stored", "with garbage collection", "uploaded", unit)
    return Table(columns, rows)


def chart(months: Sequence[Month], width: int = 60) -> list[str]:
    """Return one line of text per month, as long as what is stored."""
    most = max((month.stored for month in months), default=Size(0)) or 1
    return [f"{m.number:>3} {'█' * max(1, round(m.stored / most * width))} {m.stored}" for m in months]
