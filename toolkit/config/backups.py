"""What a backup file says, as frozen values: `backups/<name>.yml`, beside the host file of the same name.

The descriptions here are the ones in `docs/backup.schema.json` and `docs/backup-file.md`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, ConfigDict, Field

from toolkit.config import values as v
from toolkit.config.backup_duty import Duties, DutyKeys
from toolkit.config.drills import Drill
from toolkit.config.models import Part, TextForPart
from toolkit.words.values import Duration

DAY = 86400


class User(Part):
    """A user of the bucket's server."""

    access_key: v.Provider = Field(description="provider of the access key")
    secret_key: v.Provider = Field(description="provider of the secret key")
    session_token: v.Provider | None = Field(
        default=None, description="provider of a session token, where the server gives them"
    )
    name: v.Principal | None = Field(
        default=None, description="the user's name in the bucket's policy, where the server has such names"
    )


class Repository(Part):
    """Where the backups live, and who may do what there."""

    url: v.StoreUrl = Field(
        description="`s3://bucket/prefix?endpoint=https://…` or `file:///path`: docs/backup-store.md"
    )
    operator: User | None = Field(
        default=None, description="the control side's user, who may do everything; buckets need one"
    )
    host: User | None = Field(default=None, description="the host's user, who may add and list; buckets need one")


class Keep(Part):
    """How many snapshots to keep: the newest ones, and the newest of each day, week, month and year."""

    last: v.Count = Field(default=0, description="the newest snapshots")
    daily: v.Count = Field(default=7, description="days")
    weekly: v.Count = Field(default=4, description="weeks")
    monthly: v.Count = Field(default=6, description="months")
    yearly: v.Count = Field(default=0, description="years")


class Tree(Part):
    """A directory of the host, with everything below it."""

    path: v.TreePath = Field(description="where it is on the host")
    name: v.TreeName | None = Field(
        default=None, description="what it is called in snapshots; by default its path without the first slash"
    )
    exclude: tuple[v.Pattern, ...] = Field(
        default=(),
        description="patterns of what to leave out, matched against the path below this one; `*` crosses slashes",
    )

    @property
    def called(self) -> str:
        return self.name or self.path.removeprefix("/")


def _tree_of(written: object) -> object:
    return {"path": written} if isinstance(written, str) else written


class Price(Part):
    """What the store's provider asks for, as `backup.plan` reckons."""

    month: float = Field(ge=0, le=1_000_000, description="for a gigabyte (10^9 bytes) and a month")
    currency: v.Word = Field(default="USD", description="in which currency")


class KeepingKeys(Part):
    """The keys of the repository: where backups live, for whom, and for how long."""

    repository: Repository = Field(description="where the backups live")
    recipients: tuple[v.Recipient, ...] = Field(
        default=(), description="who can open the backups, two at least; by default those of `secrets/recipients.txt`"
    )
    epoch: v.Span = Field(
        default=Duration(30 * DAY),
        description="how long data is shared between snapshots before a full backup begins anew",
    )
    lock: v.OrNone[v.Span] = Field(
        default=Duration(30 * DAY),
        description="how long after its epoch the bucket keeps an object from being deleted by anybody; `false` for a "
        "bucket without object lock",
    )
    keep: Keep = Field(default_factory=Keep, description="which snapshots `backup.expire` keeps")
    paths: tuple[Annotated[Tree, BeforeValidator(_tree_of), TextForPart()], ...] = Field(
        default=(), description="directories of the host: a path, or a mapping"
    )
    price: Price | None = Field(default=None, description="what a gigabyte costs")
    drill: Drill = Field(default_factory=Drill, description="how restore drills prove the backups: docs/drill.md")


class BackupDocument(DutyKeys, KeepingKeys):
    """A backup file: what of a host is backed up, when and where to, and how long it is kept."""

    model_config = ConfigDict(defer_build=False)


@dataclass(frozen=True, kw_only=True)
class BackupFile(Duties):
    """A backup file with the name of its host and the repository of the installation that it belongs to."""

    name: str
    root: Path
    repository: Repository
    recipients: tuple[str, ...]
    epoch: Duration
    lock: Duration | None
    keep: Keep
    paths: tuple[Tree, ...]
    price: Price | None
    drill: Drill
