"""The bucket behind backups: made ready for its hosts, and attacked with a host's own credentials."""

import math

from toolkit.config import backup_files
from toolkit.config.backups import BackupFile
from toolkit.repository.audit import Audit, audit
from toolkit.repository.init import Readiness, Wishes, init
from toolkit.stack.duty import SHIPPED
from toolkit.words.clock import Clock
from toolkit.words.report import Listener
from toolkit.workflows.backups import Backups

_DAY = 86400


def prepare(backups: Backups, *, create: bool = False, fix: bool = False) -> Readiness:
    """Make the store ready for every host of this repository that backs up there. Raises StoreError, ConfigError."""
    operator = backups.file.repository.operator
    files = _sharing(backups.file)
    wishes = Wishes(
        hosts={file.name: _user(file) for file in files},
        also={file.name: [f"{file.name}{SHIPPED}"] for file in files if any(one.wal for one in file.sources)},
        owner=operator.name if operator else None,
        lock_days=max((_lock_days(file) for file in files), default=0) or None,
        create=create,
        fix=fix,
    )
    return init(backups.owner, wishes)


def _sharing(file: BackupFile) -> list[BackupFile]:
    """The backup files that name the same store: a bucket has one policy for all hosts that have a name there."""
    folder = file.root / backup_files.FOLDER
    files = [backup_files.load(folder / f"{name}.yml") for name in backup_files.names(file.root) if name != file.name]
    if _user(file) is None:
        return [file]
    others = [other for other in files if other.repository.url == file.repository.url and _user(other)]
    return sorted([file, *others], key=lambda each: each.name)


def _user(file: BackupFile) -> str | None:
    return file.repository.host.name if file.repository.host else None


def _lock_days(file: BackupFile) -> int:
    # An object of an epoch's first day is locked for the epoch and the lock; a day more forgives a clock.
    return math.ceil((file.epoch + file.lock) / _DAY) + 1 if file.lock else 0


def attack(backups: Backups, listener: Listener, clock: Clock) -> Audit:
    """Try everything that a thief of the host's credentials would. Raises RepositoryError where they do not work."""
    return audit(backups.thief, backups.owner, backups.host, clock=clock, listener=listener)
