"""Backups on the host: its duty, its sealed access to the store, and the timer or cron line that starts a run."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

from toolkit.config.schedule import Schedule
from toolkit.converge import Change, Fact, Facts, Fed, Operation, operation
from toolkit.machine import apt, files, systemd
from toolkit.machine.agent import ENTRY, FOLDER
from toolkit.stack.duty import Duty
from toolkit.vault import access, addresses
from toolkit.words.command import command, script
from toolkit.words.values import Duration, Secret

DUTY = "/etc/toolkit/backup.json"
CA = "/etc/toolkit/backup-ca.pem"
STATE = "/var/lib/toolkit/backup"
SERVICE, TIMER, SETTLE = "toolkit-backup.service", "toolkit-backup.timer", "toolkit-backup-settle.service"
SHIP = "toolkit-backup-wal.service"
CHECK, CHECK_TIMER = "toolkit-backup-check.service", "toolkit-backup-check.timer"
CRON = "/etc/cron.d/toolkit-backup"

# 24 is no failure of this one: somebody else backs up already. It is killed before a database is when memory is short.
UNIT = """\
[Unit]
Description=Backup of this host
Documentation=file:{folder}
Wants=network-online.target
After=network-online.target docker.service toolkit-settle.service

[Service]
Type=oneshot
ExecStart={entry} backup run
ExecStopPost={entry} backup settle
SuccessExitStatus=24
Nice={nice}
IOSchedulingClass=best-effort
IOSchedulingPriority=7
OOMScoreAdjust=300
UMask=0077
LimitCORE=0
"""
TIMES = """\
[Unit]
Description=When this host is backed up: {text}
Documentation=file:{folder}

[Timer]
OnCalendar={calendar}
RandomizedDelaySec={jitter}
Persistent=true
AccuracySec=1s

[Install]
WantedBy=timers.target
"""
# What a crash of the machine left: services that were paused go on, and a run that was cut off begins anew.
SETTLES = f"""\
[Unit]
Description=Backups that a reboot cut off
Documentation=file:{FOLDER}
Wants=network-online.target
After=network-online.target docker.service toolkit-settle.service

[Service]
Type=oneshot
ExecStart={ENTRY} backup settle --again
Restart=on-failure
RestartSec=30
UMask=0077
LimitCORE=0

[Install]
WantedBy=multi-user.target
"""
# Beside the timer of backups, which may be what does not work.
CHECKS = f"""\
[Unit]
Description=Whether this host's newest backup is young enough
Documentation=file:{FOLDER}

[Service]
Type=oneshot
ExecStart={ENTRY} backup check
UMask=0077
LimitCORE=0
"""
HOURLY = f"""\
[Unit]
Description=When this host looks at how old its newest backup is
Documentation=file:{FOLDER}

[Timer]
OnCalendar=hourly
RandomizedDelaySec=300
Persistent=true

[Install]
WantedBy=timers.target
"""
# Cron would mail what is said; the journal is where everything else is.
TAB = """\
# Backups of this host: {text}. Provisioning writes this file.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
{cron} root nice -n {nice} {entry} backup run --jitter {jitter} 2>&1 | logger --tag toolkit-backup
"""

# It ships every half a minute: whoever is asked to start it each time would cost more than it does by staying.
SHIPS = f"""\
[Unit]
Description=PostgreSQL's log on its way to the backups
Documentation=file:{FOLDER}
Wants=network-online.target
After=network-online.target docker.service toolkit-settle.service
StartLimitIntervalSec=0

[Service]
ExecStart={ENTRY} backup ship
Restart=always
RestartSec=10
OOMScoreAdjust=200
UMask=0077
LimitCORE=0

[Install]
WantedBy=multi-user.target
"""

INDEX = Fact("access to backups", script('cat -- "$1" 2>/dev/null || :', f"{STATE}/access.json"), str)


@dataclass(frozen=True, kw_only=True)
class Orders:
    """What a host is told. `access` is asked only where it is needed; `ca` is the store's own certificate authority."""

    duty: Duty
    schedule: Schedule | None
    jitter: Duration | None
    cron: bool
    nice: int
    ca: str
    access: Callable[[], Mapping[str, Secret]]


def operations(orders: Orders | None) -> list[Operation]:
    """Return what it takes that a host backs up as it is told; that it does not, where it is told nothing."""
    if orders is None:
        return [nobody_backs_up()]
    service = UNIT.format(folder=FOLDER, entry=ENTRY, nice=orders.nice)
    return [
        files.directory("/etc/toolkit"),
        files.directory(STATE, 0o700),
        files.file(CA, orders.ca) if orders.ca else files.absent(CA),
        files.file(DUTY, orders.duty.dumps()),
        let_in(orders.access),
        systemd.units(
            systemd.Wanted(SERVICE, service, restarts=False),
            systemd.Wanted(SETTLE, SETTLES, enabled=True, restarts=False),
        ),
        systemd.service(SETTLE, running=None),
        *_schedule(orders),
        *(_checks() if orders.duty.stale else [none_of(CHECK_TIMER)]),
        *(_ships() if orders.duty.wal else [none_of(SHIP)]),
    ]


def _ships() -> list[Operation]:
    read = (DUTY, f"{STATE}/access.json", f"{FOLDER}/current")
    return [
        systemd.units(systemd.Wanted(SHIP, SHIPS, enabled=True)),
        systemd.service(SHIP),
        systemd.current(SHIP, *read),
    ]


def _checks() -> list[Operation]:
    units = systemd.units(systemd.Wanted(CHECK, CHECKS), systemd.Wanted(CHECK_TIMER, HOURLY, enabled=True))
    return [units, systemd.service(CHECK_TIMER)]


def _schedule(orders: Orders) -> Iterator[Operation]:
    schedule, jitter = orders.schedule, int(orders.jitter or 0)
    by_cron = orders.cron and schedule is not None
    if schedule is not None and by_cron:
        yield apt.packages("cron")
        tab = TAB.format(text=schedule.text, cron=schedule.cron, nice=orders.nice, entry=ENTRY, jitter=jitter)
        yield files.file(CRON, tab)
    else:
        yield files.absent(CRON)
    if schedule is not None and not by_cron:
        times = TIMES.format(text=schedule.text, folder=FOLDER, calendar=schedule.calendar, jitter=jitter)
        yield systemd.units(systemd.Wanted(TIMER, times, enabled=True))
        yield systemd.service(TIMER)
    else:
        yield none_of(TIMER)


@operation
def let_in(facts: Facts, values: Callable[[], Mapping[str, Secret]]) -> Iterator[Change]:
    """Ensure that the host has exactly this access. Raises SecretError for a provider that gives none."""
    found = facts.get(INDEX)
    body = access.pack(values())
    if not _is_same(found, body):
        yield Change("let this host add to its backups", Fed(command(ENTRY, "backup", "put"), lambda: body))


@operation
def none_of(facts: Facts, name: str) -> Iterator[Change]:
    """Ensure that a unit of ours neither runs nor starts, where there is one."""
    if facts.get(systemd.state(name)).exists:
        yield from systemd.service(name, enabled=False, running=False)(facts)


@operation
def nobody_backs_up(facts: Facts) -> Iterator[Change]:
    """Ensure that nothing starts backups any more. What was remembered of them stays, for whoever begins again."""
    facts.need(
        *(systemd.state(unit) for unit in (TIMER, SETTLE, SHIP, CHECK_TIMER)), files.text(CRON), files.text(DUTY)
    )
    for unit in (TIMER, SETTLE, SHIP, CHECK_TIMER):
        yield from none_of(unit)(facts)
    yield from files.absent(CRON)(facts)
    yield from files.absent(DUTY)(facts)


def _is_same(written: str, body: bytes) -> bool:
    """Whether the host has this very body; what is damaged is not."""
    with suppress(ValueError, KeyError, TypeError):
        found = json.loads(written)
        proof: str = addresses.proof(found["salt"], body)
        return found["format"] == access.FORMAT and bool(found["proof"] == proof)
    return False
