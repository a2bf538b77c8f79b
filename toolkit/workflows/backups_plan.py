"""Planning backups: what a backup file will store and cost, from what a host has stored so far or from a guess."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from toolkit.config.backups import BackupFile, Price
from toolkit.repository.expire import survey
from toolkit.repository.plan import NIGHTLY, Month, Schedule, Workload, observed, warnings
from toolkit.repository.plan import plan as play
from toolkit.repository.retention import Retention
from toolkit.words.errors import ConfigError
from toolkit.words.values import Duration, Size
from toolkit.workflows.backups import Backups


@dataclass(frozen=True)
class Plan:
    """What is expected. `measured` says whether the workload was seen in the store; the price is for a gigabyte."""

    host: str
    workload: Workload
    measured: bool
    price: Price
    months: Sequence[Month]
    warnings: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Guess:
    """What a person says of a host's data, in place of what the store shows."""

    first: Size | None = None
    daily: Size | None = None
    growth: Size | None = None

    def over(self, seen: Workload) -> Workload:
        told = {key: value for key, value in vars(self).items() if value is not None}
        return replace(seen, **told)


def plan(backups: Backups, guess: Guess, price: Price, *, every: Duration = NIGHTLY, months: int = 24) -> Plan:
    """Play the backup file over the months to come. Raises ConfigError where nothing tells how much data there is."""
    guessed = guess.first is not None and guess.daily is not None
    seen = None if guessed else observed(survey(backups.owner, backups.host))
    if seen is None and guess.first is None:
        hint = "say how much it will be, such as --first 20GB --daily 200MB"
        raise ConfigError(f"{backups.host} has no backup yet to go by", hint=hint)
    work = guess.over(seen or Workload(first=Size(0), daily=Size(0)))
    schedule = _schedule(backups.file, every)
    odd = list(warnings(schedule, work))
    if not work.daily:
        odd.append("changes count as nothing so far: back up for some days, or say --daily")
    if not price.month:
        odd.append("costs count as nothing: say --price, or write `price` into the backup file")
    return Plan(
        backups.host, work, seen is not None, price, play(work, schedule, price=price.month, months=months), odd
    )


def priced(file: BackupFile, month: float | None, currency: str) -> Price:
    """Return the price to reckon with, the backup file's or nothing where none is given. Raises ValueError."""
    base = file.price or Price(month=0)
    told = {"month": base.month if month is None else month, "currency": currency or base.currency}
    return Price.model_validate(told)


def retention(file: BackupFile) -> Retention:
    """Return which snapshots the backup file keeps."""
    return Retention(**file.keep.model_dump())


def _schedule(file: BackupFile, every: Duration) -> Schedule:
    return Schedule(every=every, epoch=file.epoch, lock=file.lock or Duration(0), retention=retention(file))
