"""Epochs: how long chunks are shared, and whether a host may go on with the one it remembers.

The decision is pure: from what the host remembers and what the store lists to either the same epoch or a new one with
the reasons for it. A new epoch costs one full backup; going on with a wrong one could cost data.
"""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from toolkit.repository import chunking, layout
from toolkit.repository.layout import SnapshotName
from toolkit.repository.manifest import PackInfo
from toolkit.repository.state import EpochFacts, Head
from toolkit.store import ObjectInfo
from toolkit.words.values import Duration, Secret

DAY = 86400


@dataclass(frozen=True)
class Terms:
    """How long an epoch is written to, and how long its objects are locked after that; None locks nothing."""

    length: Duration = field(default_factory=lambda: Duration(30 * DAY))
    lock_for: Duration | None = None


@dataclass(frozen=True)
class Remembered:
    """What the host's state says."""

    epoch: EpochFacts | None
    head: Head | None
    intent: Head | None
    packs: Mapping[int, PackInfo]
    damage: str = ""


@dataclass(frozen=True)
class Listed:
    """What the store shows of a host."""

    packs: Mapping[str, int] = field(default_factory=dict)
    snapshots: Sequence[SnapshotName] = ()
    sizes: Mapping[str, int] = field(default_factory=dict)
    epochs: frozenset[str] = frozenset()

    @classmethod
    def of(cls, host: str, objects: Iterable[ObjectInfo]) -> "Listed":
        packs, sizes, snapshots, epochs = {}, {}, [], set()
        for info in objects:
            found = layout.place(host, info.key)
            epochs.add(found.epoch)
            if found.pack:
                packs[f"{found.epoch}/{found.pack}"] = info.size
            if found.snapshot:
                snapshots.append(found.snapshot)
                sizes[info.key] = info.size
        return cls(packs, tuple(sorted(snapshots)), sizes, frozenset(epochs - {""}))


@dataclass(frozen=True)
class Decision:
    """The epoch to write to and the head to follow; `reasons` say why it is a new one, none if it is not."""

    epoch: EpochFacts
    sequence: int
    previous: str | None
    fresh: bool
    reasons: tuple[str, ...] = ()


def decide(
    remembered: Remembered, listed: Listed, *, recipients: Sequence[str], now: datetime, terms: Terms
) -> Decision:
    """Go on with the remembered epoch, or begin one."""
    head = _head(remembered, listed)
    newest = max((name.sequence for name in listed.snapshots), default=0)
    sequence = max(newest, head.sequence if head else 0) + 1
    doubts = _doubts(remembered, listed, head, newest)
    over = _over(remembered.epoch, recipients, now, terms)
    epoch = remembered.epoch
    if epoch and not doubts and not over:
        return Decision(epoch, sequence, head.digest if head else None, fresh=False)
    fresh = _begin(recipients, now, terms)
    if doubts or not epoch:
        return Decision(fresh, sequence, None, fresh=True, reasons=doubts)
    fresh = replace(fresh, previous=epoch.name)
    return Decision(fresh, sequence, head.digest if head else None, fresh=True, reasons=over)


def _head(remembered: Remembered, listed: Listed) -> Head | None:
    """The newest snapshot that this host knows it wrote: the last run may have died before it could say so."""
    intent = remembered.intent
    if intent and listed.sizes.get(intent.key) == intent.size:
        return intent
    return remembered.head


def _doubts(remembered: Remembered, listed: Listed, head: Head | None, newest: int) -> tuple[str, ...]:
    """Reasons not to trust what is remembered."""
    doubts = [remembered.damage] if remembered.damage else []
    epoch = remembered.epoch
    if not epoch:
        return (*doubts, "this host remembers no backup, but the store has some") if listed.snapshots else tuple(doubts)
    if newest > (head.sequence if head else 0):
        doubts.append(f"the store has snapshot {newest}, which this host does not remember")
    if head and listed.sizes.get(head.key) != head.size:
        doubts.append(f"the newest snapshot, {head.key}, is not in the store as it was written")
    wrong = [pack for pack in remembered.packs.values() if listed.packs.get(f"{epoch.name}/{pack.digest}") != pack.size]
    if wrong:
        doubts.append(f"{len(wrong)} of {len(remembered.packs)} packs are not in the store as they were written")
    return tuple(doubts)


def _over(epoch: EpochFacts | None, recipients: Sequence[str], now: datetime, terms: Terms) -> tuple[str, ...]:
    """Reasons for an epoch to have ended in the ordinary way."""
    if not epoch:
        return ()
    age = (now - datetime.fromisoformat(epoch.created)).total_seconds()
    reasons = []
    if age >= terms.length:
        reasons.append(f"the epoch {epoch.name} is {Duration(age)} old")
    if age < -DAY:
        reasons.append(f"the epoch {epoch.name} began in the future; a clock was wrong")
    if set(epoch.recipients) != set(recipients):
        reasons.append("the recipients changed")
    return tuple(reasons)


def _begin(recipients: Sequence[str], now: datetime, terms: Terms) -> EpochFacts:
    kept = now + timedelta(seconds=terms.length + terms.lock_for) if terms.lock_for else None
    return EpochFacts(
        name=f"{now.astimezone(UTC):%Y%m%d}-{secrets.token_hex(4)}",
        created=layout.iso(now),
        kept_until=layout.iso(kept) if kept else None,
        previous=None,
        recipients=tuple(recipients),
        chunk_key=Secret(secrets.token_bytes(32)),
        seed=secrets.randbits(chunking.SEED_BITS),
    )
