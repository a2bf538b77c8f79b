"""Expiring backups: which epochs may go and why, and the deletion itself, from the control side.

A host's shipped logs are a repository of their own: how much of them is of use follows from their bases, and they go
along in the same run.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from toolkit.config import backup_files
from toolkit.repository.expire import Decision, Epoch, Expired, carry_out, decide, doubts, refuse_to_empty, survey
from toolkit.repository.expire_log import decide_log
from toolkit.repository.pins import Pin
from toolkit.sources.wal_bases import bases_in
from toolkit.words.clock import Clock
from toolkit.words.errors import ConfigError
from toolkit.words.report import Listener
from toolkit.workflows import drill_reports
from toolkit.workflows.backups import Backups
from toolkit.workflows.backups_plan import retention

LOG_DAYS = 7
"""How many days of log are kept where the backup file keeps no snapshot of each day."""


@dataclass(frozen=True)
class Fate:
    """One epoch, and why it stays or goes."""

    epoch: str
    snapshots: int
    bytes: int
    goes: bool
    reasons: Sequence[str]


@dataclass(frozen=True)
class Part:
    """One repository of a host, and what was decided about its epochs. The fates are for people."""

    host: str
    epochs: Sequence[Epoch]
    decision: Decision

    @property
    def fates(self) -> list[Fate]:
        return [self._fate(epoch) for epoch in self.epochs]

    @property
    def sequences(self) -> Iterator[int]:
        """The snapshots that go."""
        for epoch in self.epochs:
            if epoch.name in self.decision.expired:
                yield from (name.sequence for name in epoch.snapshots)

    def _fate(self, epoch: Epoch) -> Fate:
        goes = epoch.name in self.decision.expired
        reasons = [self.decision.expired[epoch.name]] if goes else self.decision.kept[epoch.name]
        return Fate(epoch.name, len(epoch.snapshots), epoch.bytes, goes, reasons)


@dataclass(frozen=True)
class Plan:
    """What would go, decided and not yet done. `log` is None for a host that never shipped one."""

    backups: Backups
    pin: Pin
    snapshots: Part
    log: Part | None

    @property
    def parts(self) -> tuple[Part, ...]:
        return (self.snapshots, self.log) if self.log else (self.snapshots,)

    @property
    def anything(self) -> bool:
        return any(part.decision.expired for part in self.parts)


def plan(backups: Backups, listener: Listener, clock: Clock, *, drop: Collection[str] = ()) -> Plan:
    """Decide about every epoch; those in `drop` have no snapshot that counts, and a person has looked at them.

    Raises RepositoryError where the store was set back, ConfigError for an epoch that is not there.
    """
    listener.step(f"look at the epochs of {backups.host}")
    repository = backups.repository(listener.warn)
    epochs, shipped = survey(backups.owner, backups.host), _shipped(backups)
    if unknown := sorted(set(drop) - {epoch.name for epoch in (*epochs, *shipped)}):
        raise ConfigError(f"{backups.host} has no epoch {unknown[0]}", hint="backup.expire --plan shows their names")
    proven = drill_reports.proven(backups, listener)
    now = datetime.fromtimestamp(clock.wall(), UTC)
    decision = decide(epochs, retention(backups.file), now=now, doubted=doubts(repository), drop=drop, proven=proven)
    listener.done()
    log = _log(backups, shipped, now, drop, listener) if shipped else None
    return Plan(backups, repository.pin, Part(backups.host, epochs, decision), log)


def _shipped(backups: Backups) -> list[Epoch]:
    """The epochs of a host's logs; none where another host has their name."""
    taken = backups.log_host in backup_files.names(backups.file.root)
    return [] if taken else survey(backups.owner, backups.log_host)


def _log(backups: Backups, epochs: Sequence[Epoch], now: datetime, drop: Collection[str], listener: Listener) -> Part:
    listener.step(f"look for the bases of {backups.log_host}")
    looked = bases_in(backups.log_repository(listener.warn), epochs)
    days = retention(backups.file).daily or LOG_DAYS
    decision = decide_log(
        epochs, looked.first, days, now=now, believed=looked.believed, doubted=looked.doubted, drop=drop
    )
    listener.done(f"{len(looked.first)} bases")
    return Part(backups.log_host, epochs, decision)


def apply(decided: Plan, listener: Listener, *, allow_empty: bool = False) -> list[Expired]:
    """Delete what goes. Raises RepositoryError where no snapshot would be left, unless that is allowed."""
    for part in decided.parts:
        refuse_to_empty(part.decision, allow_empty=allow_empty)
    # Noted before it is done: a run that is cut off leaves nothing that a later verification would miss.
    pin = decided.pin.without(decided.snapshots.sequences)
    if pin != decided.pin:
        pin.save(decided.backups.pin_path)
    owner = decided.backups.owner
    return [carry_out(owner, part.epochs, part.decision, listener, allow_empty=allow_empty) for part in decided.parts]
