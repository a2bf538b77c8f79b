"""Retention: which snapshots a policy keeps, and why. Pure: names and times in, reasons out.

Periods are counted where there are snapshots, so a host that stops writing loses nothing to the passing of time.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import lru_cache

from toolkit.repository.layout import SnapshotName
from toolkit.words.errors import ConfigError

_CALENDAR = {"daily": "%Y-%m-%d", "weekly": "%G-W%V", "monthly": "%Y-%m", "yearly": "%Y"}


@dataclass(frozen=True, kw_only=True)
class Retention:
    """How many of the newest snapshots to keep, and of how many days, weeks, months and years one each."""

    last: int = 0
    daily: int = 7
    weekly: int = 4
    monthly: int = 6
    yearly: int = 0

    def __post_init__(self) -> None:
        counts = {field.name: getattr(self, field.name) for field in fields(self)}
        for name, count in counts.items():
            if count < 0:
                raise ConfigError(f"retention.{name} is {count}", hint="write zero or a positive number")
        if not any(counts.values()):
            raise ConfigError("retention keeps nothing", hint="set last, daily, weekly, monthly or yearly above zero")


def keep(snapshots: Iterable[SnapshotName], policy: Retention) -> dict[SnapshotName, list[str]]:
    """Map each snapshot worth keeping to why it is kept: the newest of each period, periods from the newest back."""
    # By sequence, not by time: the order in which a host wrote cannot be changed by its clock.
    newest_first = sorted(snapshots, key=lambda snapshot: snapshot.sequence, reverse=True)
    reasons: dict[SnapshotName, list[str]] = {name: ["last"] for name in newest_first[: policy.last]}
    for period, form in _CALENDAR.items():
        newest_of: dict[str, SnapshotName] = {}
        for snapshot in newest_first:
            newest_of.setdefault(_label(snapshot.time, form), snapshot)
        labels = sorted(newest_of, reverse=True)[: getattr(policy, period)]
        for label in labels:
            reasons.setdefault(newest_of[label], []).append(f"{period} {label}")
    return reasons


@lru_cache(maxsize=1 << 17)
def _label(time: str, form: str) -> str:
    return SnapshotName(0, "", time).when.strftime(form)
