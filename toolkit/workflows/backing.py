"""Backing up: what a host is told, and a backup on it started, followed and looked at."""

import os
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from toolkit.config import backup_files
from toolkit.config.backup_duty import SourceOf
from toolkit.config.models import HostFile
from toolkit.machine import backup as machine
from toolkit.stack.duty import Duty, Odd, Pausing, Tree
from toolkit.words.errors import ConfigError
from toolkit.words.values import Duration

if TYPE_CHECKING:
    from toolkit.workflows.backups import Backups


def is_wanted(host_file: HostFile) -> bool:
    """Whether a host has a backup file."""
    return (host_file.root / backup_files.FOLDER / f"{host_file.name}.yml").is_file()


def orders(host_file: HostFile) -> machine.Orders | None:
    """Return what a host is told of its backups; None where it has no backup file. Raises ConfigError, SecretError."""
    if not is_wanted(host_file):
        return None
    # Who has no backups does not pay for the engine's import.
    from toolkit.vault.identity import Keyring
    from toolkit.workflows.backups import Backups

    backups = Backups.of(host_file, Keyring(os.environ))
    said = backups.file
    return machine.Orders(
        duty=duty(backups),
        schedule=said.schedule,
        jitter=said.jitter,
        cron=said.cron,
        nice=said.nice,
        ca=_ca(backups),
        access=cache(backups.access),
    )


def duty(backups: "Backups") -> Duty:
    """Return a host's duty as its backup file has it. Raises ConfigError, SecretError for recipients."""
    said, stack = backups.file, backups.described.stack
    if stack is None and (said.sources or said.leave or said.pause):
        raise ConfigError(
            f"backups/{said.name}.yml corrects the sources of a stack, and hosts/{said.name}.yml has none",
            hint="name directories under `paths`, or add a `stack:` part to the host file",
        )
    pause, alarm = said.pause, said.alarm
    return Duty(
        host=said.name,
        url=_url(said.repository.url),
        recipients=backups.recipients,
        stack=stack.name if stack else "",
        epoch=float(said.epoch),
        lock=float(said.lock) if said.lock else None,
        paths=tuple(Tree(one.path, one.called, one.exclude) for one in said.paths),
        sources=tuple(_source(one) for one in said.sources),
        leave=said.leave,
        wal=tuple(backups.shipping),
        pause=Pausing(pause.services, pause.how, pause.until, float(pause.at_most)) if pause else None,
        bandwidth=int(said.bandwidth) if said.bandwidth else None,
        odd=Odd(alarm.size, alarm.count) if alarm else None,
        every=float(said.schedule.gap) if said.schedule else 0.0,
        stale=float(said.stale_after or 0),
    )


def _source(one: SourceOf) -> Mapping[str, Any]:
    given = {key: value for key, value in one.model_dump(exclude={"wal"}).items() if value not in (None, ())}
    return {key: float(value) if isinstance(value, Duration) else value for key, value in given.items()}


def _url(url: str) -> str:
    """The store's address as the host has it: its certificate lies at another place there."""
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query))
    if "ca" not in options:
        return url
    return urlunsplit(parts._replace(query=urlencode({**options, "ca": machine.CA}, safe="/:", quote_via=quote)))


def _ca(backups: "Backups") -> str:
    url = backups.file.repository.url
    named = dict(parse_qsl(urlsplit(url).query)).get("ca", "")
    try:
        return (backups.file.root / named).read_text() if named else ""
    except OSError as error:
        told = f"backups/{backups.host}.yml: repository.url: ca: {named}: {error.strerror}"
        raise ConfigError(told, hint="name the file relative to the repository") from error
