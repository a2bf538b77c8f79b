"""Expiring backups: which epochs may go and why, and the deletion itself, from the control side."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from toolkit.repository.expire import Decision, Epoch, Expired, carry_out, decide, doubts, refuse_to_empty, survey
from toolkit.repository.pins import Pin
from toolkit.words.clock import Clock
from toolkit.words.errors import ConfigError
from toolkit.words.report import Listener
from toolkit.workflows import drill_reports
from toolkit.workflows.backups import Backups
from toolkit.workflows.backups_plan import retention


@dataclass(frozen=True)
class Fate:
    """One epoch, and why it stays or goes."""

    epoch: str
    snapshots: int
    bytes: int
    goes: bool
    reasons: Sequence[str]


@dataclass(frozen=True)
class Plan:
    """What would go, decided and not yet done. The fates are for people, the rest is what to do it with."""

    backups: Backups
    pin: Pin
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


def plan(backups: Backups, listener: Listener, clock: Clock, *, drop: Collection[str] = ()) -> Plan:
    """Decide about every epoch; those in `drop` have no snapshot that counts, and a person has looked at them.

    Raises RepositoryError where the store was set back, ConfigError for an epoch that is not there.
    """
    listener.step(f"look at the epochs of {backups.host}")
    repository = backups.repository(listener.warn)
    epochs = survey(backups.owner, backups.host)
    if unknown := sorted(set(drop) - {epoch.name for epoch in epochs}):
        raise ConfigError(f"{backups.host} has no epoch {unknown[0]}", hint="backup.expire --plan shows their names")
    proven = drill_reports.proven(backups, listener)
    now = datetime.fromtimestamp(clock.wall(), UTC)
    decision = decide(epochs, retention(backups.file), now=now, doubted=doubts(repository), drop=drop, proven=proven)
    listener.done()
    return Plan(backups, repository.pin, epochs, decision)


def apply(decided: Plan, listener: Listener, *, allow_empty: bool = False) -> Expired:
    """Delete what goes. Raises RepositoryError where no snapshot would be left, unless that is allowed."""
    refuse_to_empty(decided.decision, allow_empty=allow_empty)
    # Noted before it is done: a run that is cut off leaves nothing that a later verification would miss.
    pin = decided.pin.without(decided.sequences)
    if pin != decided.pin:
        pin.save(decided.backups.pin_path)
    return carry_out(decided.backups.owner, decided.epochs, decided.decision, listener, allow_empty=allow_empty)
