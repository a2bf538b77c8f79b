"""Backups on a host: what it is told, what it lacks of that, and what it takes back when nobody wants backups."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.repository_setup import RECIPIENTS
from tests.unit.test_machine_watchdog import RUNNING, UNKNOWN, changes, said
from toolkit.config import load
from toolkit.config.schedule import Schedule
from toolkit.converge.changes import Fed
from toolkit.converge.fake import FakeFacts
from toolkit.machine import apt, backup, files, systemd
from toolkit.stack.duty import Duty, Odd, Pausing, Tree
from toolkit.vault import access, addresses
from toolkit.words.errors import ConfigError, SecretError
from toolkit.words.values import Duration, Secret
from toolkit.workflows import backing, provision

ACCESS = {"access_key": Secret.of("AKIA"), "secret_key": Secret.of("secret-canary")}
ORDERS = backup.Orders(
    duty=Duty(host="prod", url="s3://acme", recipients=RECIPIENTS),
    schedule=Schedule.parse("daily"), jitter=Duration(300), cron=False, nice=10, ca="", access=lambda: ACCESS,
)  # fmt: skip
UNITS = "/etc/systemd/system"


def converged(orders: backup.Orders = ORDERS) -> FakeFacts:
    facts = FakeFacts()
    facts.tell(files.text("/etc/toolkit"), "directory|755|root|root\n")
    facts.tell(files.text(backup.STATE), "directory|700|root|root\n")
    facts.tell(files.text(backup.CA), said(orders.ca) if orders.ca else "absent\n")
    facts.tell(files.text(backup.DUTY), said(orders.duty.dumps()))
    salt = "ab" * 16
    body = access.pack(ACCESS)
    index = {"format": access.FORMAT, "salt": salt, "proof": addresses.proof(salt, body)}
    facts.tell(backup.INDEX, json.dumps(index))
    unit = backup.UNIT.format(folder="/opt/toolkit", entry=backup.ENTRY, nice=orders.nice)
    facts.tell(files.text(f"{UNITS}/{backup.SERVICE}"), said(unit))
    facts.tell(files.text(f"{UNITS}/{backup.SETTLE}"), said(backup.SETTLES))
    facts.tell(files.text(f"{UNITS}/{backup.CHECK}"), said(backup.CHECKS))
    facts.tell(files.text(f"{UNITS}/{backup.CHECK_TIMER}"), said(backup.HOURLY))
    for name in (backup.SERVICE, backup.SETTLE, backup.CHECK):
        facts.tell(systemd.state(name), RUNNING)
    facts.tell(systemd.state(backup.SHIP), UNKNOWN)
    facts.tell(systemd.state(backup.CHECK_TIMER), RUNNING if orders.duty.stale else UNKNOWN)
    facts.tell(apt.INSTALLED, "")
    times = backup.TIMES.format(
        text="daily", folder="/opt/toolkit", calendar="*-*-* 0:0:00", jitter=int(orders.jitter or 0)
    )
    facts.tell(files.text(f"{UNITS}/{backup.TIMER}"), said(times))
    facts.tell(systemd.state(backup.TIMER), RUNNING)
    facts.tell(files.text(backup.CRON), "absent\n")
    return facts


def test_a_host_that_has_everything_lacks_nothing() -> None:
    assert changes(backup.operations(ORDERS), converged()) == []


def test_a_missed_run_is_caught_up_with_and_hosts_do_not_begin_together() -> None:
    assert "Persistent=true\n" in backup.TIMES
    facts = converged()
    facts.tell(files.text(f"{UNITS}/{backup.TIMER}"), "absent\n")
    facts.tell(systemd.state(backup.TIMER), UNKNOWN)
    [write, *rest] = [change for one in backup.operations(ORDERS) for change in one(facts)]
    assert b"OnCalendar=*-*-* 0:0:00\nRandomizedDelaySec=300\n" in write.action.body  # type: ignore[union-attr]
    # Both operations look at the same moment here, and want it enabled.
    assert [change.summary for change in rest] == [
        f"enable {backup.TIMER}", f"let systemd read {backup.TIMER}", f"enable {backup.TIMER}", f"start {backup.TIMER}",
    ]  # fmt: skip


def test_a_host_that_knows_how_old_a_backup_may_be_looks_every_hour_by_a_timer_of_its_own() -> None:
    orders = replace(ORDERS, duty=replace(ORDERS.duty, stale=3600.0))
    assert changes(backup.operations(orders), converged(orders)) == []
    facts = converged(orders)
    facts.tell(files.text(f"{UNITS}/{backup.CHECK_TIMER}"), "absent\n")
    facts.tell(systemd.state(backup.CHECK_TIMER), UNKNOWN)
    told = changes(backup.operations(orders), facts)
    assert f"write {UNITS}/{backup.CHECK_TIMER}" in told
    assert f"start {backup.CHECK_TIMER}" in told
    # Nobody looks any more where nobody says how old one may be.
    facts = converged()
    facts.tell(systemd.state(backup.CHECK_TIMER), RUNNING)
    assert changes(backup.operations(ORDERS), facts) == [
        f"disable {backup.CHECK_TIMER}",
        f"stop {backup.CHECK_TIMER}",
    ]


def test_access_that_changed_is_handed_over_and_never_shown() -> None:
    other = replace(ORDERS, access=lambda: {**ACCESS, "secret_key": Secret.of("another-canary")})
    [change] = [change for one in backup.operations(other) for change in one(converged())]
    assert change.summary == "let this host add to its backups"
    assert "canary" not in change.summary + change.diff + str(change.action)
    assert isinstance(change.action, Fed)
    assert b"another-canary" in change.action.make()


def test_access_that_was_damaged_is_handed_over_again() -> None:
    facts = converged()
    facts.tell(backup.INDEX, "{")
    assert changes(backup.operations(ORDERS), facts) == ["let this host add to its backups"]


def test_cron_takes_the_place_of_the_timer() -> None:
    orders = replace(ORDERS, cron=True)
    found = [change for one in backup.operations(orders) for change in one(converged())]
    assert [change.summary for change in found] == [
        "install cron", f"write {backup.CRON}", f"disable {backup.TIMER}", f"stop {backup.TIMER}",
    ]  # fmt: skip
    tab = found[1].action.body.decode()  # type: ignore[union-attr]
    line = f"0 0 * * * root nice -n 10 {backup.ENTRY} backup run --jitter 300 2>&1 | logger --tag toolkit-backup"
    assert tab.splitlines()[-1] == line


def test_a_log_that_is_to_be_shipped_has_a_service_that_reads_what_changes() -> None:
    orders = replace(ORDERS, duty=replace(ORDERS.duty, wal=("postgres/db",)))
    facts = converged(orders)
    facts.tell(files.text(f"{UNITS}/{backup.SHIP}"), said(backup.SHIPS))
    facts.tell(systemd.state(backup.SHIP), RUNNING)
    read = (backup.DUTY, f"{backup.STATE}/access.json", "/opt/toolkit/current")
    facts.tell(systemd.stale(backup.SHIP, *read), f"{backup.DUTY}\n")
    assert changes(backup.operations(orders), facts) == [f"restart {backup.SHIP}, which has not read {backup.DUTY}"]
    facts = converged()
    facts.tell(systemd.state(backup.SHIP), RUNNING)
    assert changes(backup.operations(ORDERS), facts) == [f"disable {backup.SHIP}", f"stop {backup.SHIP}"]


def test_without_a_schedule_nothing_starts_it() -> None:
    found = changes(backup.operations(replace(ORDERS, schedule=None)), converged())
    assert found == [f"disable {backup.TIMER}", f"stop {backup.TIMER}"]


def test_a_host_without_a_backup_file_is_left_alone_and_one_that_had_one_stops() -> None:
    facts = converged()
    facts.tell(files.text(backup.DUTY), "absent\n")
    for name in (backup.TIMER, backup.SETTLE):
        facts.tell(systemd.state(name), UNKNOWN)
    assert changes(backup.operations(None), facts) == []
    assert changes(backup.operations(None), converged()) == [
        f"disable {backup.TIMER}", f"stop {backup.TIMER}", f"disable {backup.SETTLE}", f"stop {backup.SETTLE}",
        f"remove {backup.DUTY}",
    ]  # fmt: skip


FILE = """
repository:
  url: s3://acme/site?endpoint=https://s3.example.com&ca=ca.pem
  operator: {access_key: "env:OP", secret_key: "env:OP"}
  host: {access_key: "env:HOST_KEY", secret_key: "command:echo secret-canary"}
recipients: [%s, %s]
schedule: every 6h
epoch: 7d
lock: false
bandwidth: 1MB
pause: {services: [worker], at_most: 1m}
sources: [{kind: redis, service: cache, exclude: ["x"]}]
leave: [volume/tmp]
alarm: {size: 20}
paths: [/srv/files]
ping: "command:echo https://hc.example.com/ping-canary"
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for folder in ("hosts", "backups"):
        (tmp_path / folder).mkdir()
    (tmp_path / "hosts/prod.yml").write_text("connection: local\nstack: {name: shop, directory: .}\n")
    (tmp_path / "compose.yaml").write_text("services: {}\n")
    (tmp_path / "backups/prod.yml").write_text(FILE % RECIPIENTS)
    (tmp_path / "ca.pem").write_text("the authority")
    monkeypatch.setenv("HOST_KEY", "AKIA")
    return tmp_path


def told(root: Path) -> backup.Orders:
    found = backing.orders(load.named(root, "prod"))
    assert found is not None
    return found


def test_a_backup_file_becomes_what_its_host_is_told(root: Path) -> None:
    orders = told(root)
    assert orders.duty == Duty(
        host="prod",
        url=f"s3://acme/site?endpoint=https://s3.example.com&ca={backup.CA}",
        recipients=RECIPIENTS,
        stack="shop",
        epoch=7 * 86400.0,
        lock=None,
        paths=(Tree("/srv/files", "srv/files"),),
        sources=({"kind": "redis", "service": "cache", "exclude": ("x",), "count": True, "patience": 600.0},),
        leave=("volume/tmp",),
        pause=Pausing(("worker",), "pause", "held", 60.0),
        bandwidth=1_000_000,
        odd=Odd(20, 50),
        every=21600.0,
        stale=43200.0,
    )
    assert orders.ca == "the authority"
    assert {name: value.reveal() for name, value in orders.access().items()} == {
        "access_key": b"AKIA", "secret_key": b"secret-canary", "ping": b"https://hc.example.com/ping-canary",
    }  # fmt: skip
    assert "canary" not in orders.duty.dumps()


def test_a_source_that_ships_its_log_is_named_in_the_duty(root: Path) -> None:
    path = root / "backups/prod.yml"
    path.write_text(path.read_text().replace("kind: redis, service: cache", "kind: postgres, service: db, wal: true"))
    duty = told(root).duty
    assert duty.wal == ("postgres/db",)
    assert "wal" not in duty.sources[0]


def test_a_host_without_a_backup_file_is_told_nothing(root: Path) -> None:
    (root / "backups/prod.yml").unlink()
    assert backing.orders(load.named(root, "prod")) is None
    prod = load.named(root, "prod")
    names = [one.name for one in provision.operations(prod, provision.builds(prod))]
    assert any("nobody_backs_up" in name or "nobody backs up" in name for name in names), names


@pytest.mark.parametrize(
    ("change", "error", "said_"),
    [
        (lambda root: (root / "ca.pem").unlink(), ConfigError, "ca.pem: No such file"),
        (lambda root: (root / "hosts/prod.yml").write_text("connection: local\n"), ConfigError, "has none"),
        (
            lambda root: (root / "backups/prod.yml").write_text((FILE % RECIPIENTS).replace("HOST_KEY", "NO_KEY")),
            SecretError,
            "NO_KEY is not set",
        ),
    ],
)
def test_what_cannot_be_told_is_said_before_anything_changes(
    root: Path, change: Any, error: type[Exception], said_: str
) -> None:
    change(root)
    with pytest.raises(error, match=said_):
        told(root).access()
