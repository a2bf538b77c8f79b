"""The part of a backup file that the host itself carries out: when, what of the stack, and what is out of the ordinary.

The descriptions here are the ones in `docs/backup.schema.json` and `docs/backup-file.md`.
"""

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from toolkit.config import values as v
from toolkit.config.models import Part
from toolkit.config.schedule import Schedule
from toolkit.words.values import Duration, Size


class Paused(Part):
    """Services that are paused while sources are held still; they are resumed whatever happens."""

    services: tuple[v.ServiceName, ...] = Field(min_length=1, description="which services")
    how: Literal["pause", "stop"] = Field(
        default="pause", description="freeze them as they are, or stop them, which lets them finish their work"
    )
    until: Literal["held", "read"] = Field(
        default="held", description="until everything is held still, which takes seconds, or until everything is read"
    )
    at_most: v.Seconds = Field(default=Duration(300), description="when a timer of the host resumes them in any case")


class SourceOf(Part):
    """A source that discovery does not find, or not as it should be: it replaces the one of the same name."""

    kind: Literal["postgres", "redis", "clickhouse", "mysql", "sqlite", "volume", "path"] = Field(
        description="what it is"
    )
    service: v.ServiceName | None = Field(default=None, description="the service of a database")
    volume: v.Word | None = Field(default=None, description="a volume, by its name in the Compose file")
    path: v.TreePath | None = Field(default=None, description="a directory of the host")
    file: v.Filled | None = Field(default=None, description="an SQLite file, below the volume or path")
    label: v.Word | None = Field(default=None, description="the second half of its name")
    user: v.Login | None = Field(default=None, description="the database's user")
    password: v.PasswordPlace | None = Field(
        default=None, description="where its password is, seen inside the container"
    )
    method: Literal["save", "aof"] | None = Field(default=None, description="how Redis is captured")
    exclude: tuple[v.Pattern, ...] = Field(default=(), description="patterns of files to leave out")
    wal: bool = Field(
        default=False, description="ship PostgreSQL's log every 30 seconds too, for recovery to any moment"
    )
    count: bool = Field(default=True, description="count rows, for drills to compare")
    patience: v.Seconds = Field(default=Duration(600), description="how long a dump may stand still")


class Targets(Part):
    """What the installation is to keep to, as judged by `backup.status` and by drills."""

    rpo: v.Span | None = Field(default=None, description="how much work may be lost at most, as time")
    rto: v.Span | None = Field(default=None, description="how long until everything is back at most")


class Alarm(Part):
    """How far a backup may differ from the ones before, in percent of their median, before somebody is told."""

    size: v.Percent = Field(default=50, description="bytes read, up or down")
    count: v.Percent = Field(default=50, description="files, and rows of each source, up or down")


class DutyKeys(Part):
    """The keys themselves, as a part of the backup file."""

    schedule: v.OrNone[v.When] = Field(
        default=Schedule.parse("daily"),
        description="when the host backs up, in its own time: `daily`, `every 6h`, five fields of cron, or a calendar "
        "event of systemd; `false`: only when told to",
    )
    jitter: v.OrNone[v.Span] = Field(
        default=Duration(300), description="a random delay of up to this, so that hosts do not begin together"
    )
    cron: bool = Field(default=False, description="write /etc/cron.d/toolkit-backup in place of a timer of systemd")
    nice: int = Field(default=10, ge=0, le=19, description="how much it stands back for others, as nice(1) counts")
    bandwidth: v.Bytes | None = Field(default=None, description="bytes a second that are sent to the store at most")
    pause: Paused | None = Field(default=None, description="services paused while the stack is held still")
    sources: tuple[SourceOf, ...] = Field(default=(), description="sources to add or to correct")
    leave: tuple[v.SourceName, ...] = Field(default=(), description="discovered sources to leave out")
    targets: Targets = Field(default_factory=Targets, description="what has to be kept to")
    alarm: v.OrOff[Alarm] = Field(default_factory=Alarm, description="what counts as out of the ordinary")
    ping: v.Provider | None = Field(
        default=None, description="provider of an address that is told of start, success and failure (healthchecks.io)"
    )


@dataclass(frozen=True, kw_only=True)
class Duties:
    """The same as values."""

    schedule: Schedule | None
    jitter: Duration | None
    cron: bool
    nice: int
    bandwidth: Size | None
    pause: Paused | None
    sources: tuple[SourceOf, ...]
    leave: tuple[str, ...]
    targets: Targets
    alarm: Alarm | None
    ping: str | None

    @property
    def stale_after(self) -> Duration | None:
        """How old the newest backup may be: the target, or twice the schedule; None where neither says."""
        if self.targets.rpo:
            return self.targets.rpo
        return Duration(2 * self.schedule.gap) if self.schedule else None
