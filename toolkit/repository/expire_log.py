"""Expiry of shipped logs: log is of use together with a base before it, so the oldest epochs go, and only those.

The days that are kept are counted by the bases: everything from the first base of the oldest kept day on stays, and
any moment from there to now can be restored.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from toolkit.repository.expire import NOBODY_LOOKED, Decision, Epoch, counted, not_yet
from toolkit.repository.layout import SnapshotName
from toolkit.repository.retention import Retention, keep


def decide_log(
    epochs: Sequence[Epoch],
    bases: Mapping[str, SnapshotName],
    days: int,
    *,
    now: datetime,
    believed: Collection[str] = (),
    doubted: Collection[SnapshotName] = (),
    drop: Collection[str] = (),
) -> Decision:
    """Decide about every epoch, oldest first. `bases` has the first base of each epoch that has one.

    What is `doubted` or disagrees with the store's clock does not count. An epoch that is not among the `believed` ones
    stays until a person has looked and names it in `drop`, and so does everything while no base counts at all.
    """
    decision = Decision()
    looked_at = {*bases.values(), *doubted}
    for epoch in epochs:
        seen = {name: info for name, info in epoch.snapshots.items() if name in looked_at}
        decision.counted += counted(replace(epoch, snapshots=seen), now, doubted, decision.warnings)
    oldest = _oldest(decision.counted, days)
    places = {epoch.name: place for place, epoch in enumerate(epochs)}
    for place, epoch in enumerate(epochs):
        newest = ["the newest epoch"] if place == len(epochs) - 1 else []
        reasons = newest + not_yet(epoch, now)
        if oldest and place >= places[oldest.epoch]:
            begins = f"{oldest}: the base that the last {days} days begin with"
            reasons = [begins if epoch.name == oldest.epoch else "log after a base that is kept", *reasons]
        elif not reasons and epoch.name not in drop and not oldest:
            reasons = ["no base counts: nothing says what is of use"]
        elif not reasons and epoch.name not in drop and epoch.snapshots and epoch.name not in believed:
            reasons = [NOBODY_LOOKED]
        if reasons:
            decision.kept[epoch.name] = reasons
        else:
            decision.expired[epoch.name] = (
                f"older than the oldest base that is kept, {oldest}" if oldest else "dropped by name: no base counts"
            )
    return decision


def _oldest(bases: Sequence[SnapshotName], days: int) -> SnapshotName | None:
    """The first base of the oldest day that is kept."""
    kept = keep(bases, Retention(daily=days, weekly=0, monthly=0))
    day = min(kept).when.date() if kept else None
    return min((name for name in bases if name.when.date() == day), default=None)
