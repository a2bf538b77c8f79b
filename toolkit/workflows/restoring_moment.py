"""A restore of a database to a moment, from the control side: the base and the log that reach it, and what it replaces.

Everything that can be wrong with the moment is found here, before the host hears of it.
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime

from toolkit.host import Host
from toolkit.repository import Snapshot
from toolkit.repository.reach import Reach
from toolkit.sources.docker import Inspected, service_of
from toolkit.sources.refill import Part, served
from toolkit.sources.wal import utc
from toolkit.sources.wal_choose import Chosen, choose
from toolkit.stack.restoring import RESTORE, Wish
from toolkit.words.clock import Clock
from toolkit.words.command import script
from toolkit.words.errors import ConfigError
from toolkit.words.report import Listener
from toolkit.workflows import origin
from toolkit.workflows.attempt import required
from toolkit.workflows.backups import Backups
from toolkit.workflows.restoring import CONTAINERS, Plan, Restore, Row, stopped_by


def parse(text: str, clock: Clock) -> datetime:
    """Read a moment: ISO 8601, and UTC where it names no zone. Raises ConfigError, also for one that is to come."""
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError as error:
        hint = "write it as 2026-11-28T03:00:00Z or 2026-11-28 03:00:00+01:00; without a zone it is taken as UTC"
        raise ConfigError(f"--at {text!r} is no moment", hint=hint) from error
    zoned = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    if zoned.timestamp() > clock.wall():
        said = "" if moment.tzinfo else ": a time without a zone is UTC"
        raise ConfigError(f"{utc(zoned)} is in the future{said}", hint=f"it is {_now(clock)} now")
    return zoned


def _now(clock: Clock) -> str:
    return utc(datetime.fromtimestamp(int(clock.wall()), UTC))


def prepare(
    backups: Backups, host: Host, *, at: str, sources: Sequence[str], listener: Listener, clock: Clock
) -> Restore:
    """Choose the base and the log, and say what a restore of them would do. Nothing on the host is touched.

    Raises ConfigError for a moment or a source that cannot be meant, RepositoryError for one that cannot be reached.
    """
    to = parse(at, clock)
    stack = required(backups.described).name
    source = source_of(backups, sources)
    listener.step(f"look for the log of {source} up to {utc(to)}")
    found = choose(backups.log_repository(listener.warn), source, to)
    listener.done(f"a base and {len(found.log)} shippings")
    containers: list[Inspected] = json.loads(host.run(script(CONTAINERS, stack)).text)
    reach = reach_of_log(backups)
    base = found.open_base()
    wish = Wish(RESTORE, stack, origin.who(), str(base.name), (source,), at=utc(to), reach=reach.header())
    plan = _plan(host.name, stack, found, base, backups.shipping.get(source, ""), containers, clock)
    return Restore(backups, host, base, plan, wish, reach)


def reach_of_log(backups: Backups) -> Reach:
    """Return what a host is lent to read the logs that it shipped."""
    repository = backups.file.repository
    pin, identities = backups.pin().of_log(), backups.keyring.identities()
    return Reach.of(repository.url, backups.file.root, backups.log_host, pin, identities, backups.operator)


def source_of(backups: Backups, named: Sequence[str]) -> str:
    """The database that is meant. Raises ConfigError."""
    shipping = sorted(backups.shipping)
    if len(named) > 1:
        raise ConfigError("--at takes one source", hint="restore them one after the other")
    if named and not named[0].startswith("postgres/"):
        hint = f"only a PostgreSQL ships its log; {_ships(shipping)}; other sources come back without --at"
        raise ConfigError(f"{named[0]} cannot be restored to a moment", hint=hint)
    if named:
        return named[0]
    if not shipping:
        hint = "write `wal: true` at a PostgreSQL in the backup file; meanwhile restore a snapshot, without --at"
        raise ConfigError(f"{backups.host} ships no log, so there is no moment to restore", hint=hint)
    if len(shipping) > 1:
        raise ConfigError(f"{backups.host} ships several logs", hint=f"add --source, one of {', '.join(shipping)}")
    return shipping[0]


def _ships(shipping: Sequence[str]) -> str:
    return f"this host ships {', '.join(shipping)}" if shipping else "this host ships none"


def _plan(
    host: str, stack: str, found: Chosen, base: Snapshot, service: str, containers: Sequence[Inspected], clock: Clock
) -> Plan:
    label = found.source.partition("/")[2]
    serving = {service_of(container): container for container in reversed(containers)}
    part = served(found.source, "postgres", service or label, serving.get(service or label), None)
    document, at = base.manifest, utc(found.to)
    rows: tuple[Row, ...] = ()
    left: tuple[tuple[str, str], ...] = ()
    stops: tuple[str, ...] = ()
    if isinstance(part, Part):
        replaces = ", ".join(f"volume {volume}" for volume in part.volumes)
        rows = (Row(found.source, replaces, part.service, found.bytes, at),)
        stops = stopped_by(containers, set(part.volumes))
    else:
        left = ((found.source, part),)
    return Plan(
        host=host,
        stack=stack,
        snapshot=str(base.name),
        taken=document.started,
        age_seconds=round(max(0.0, clock.wall() - found.to.timestamp()), 1),
        outcome=document.outcome,
        sources=rows,
        left=left,
        stops=stops,
        at=at,
        shippings=len(found.log),
    )
