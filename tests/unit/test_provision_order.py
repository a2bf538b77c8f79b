"""In which order a machine is provisioned: what apt is at work on is not needed before it is waited for."""

from pathlib import Path

import pytest

from toolkit.config.models import HostFile, Machine, Stack
from toolkit.workflows import provision


@pytest.fixture
def names() -> list[str]:
    described = HostFile(
        name="web",
        root=Path("/"),
        connection="local",
        machine=Machine.model_validate({"users": ({"name": "deploy", "sudo": True},)}),
        stack=Stack(name="shop", directory="."),
    )
    wanted = provision.operations(described, lambda *_: pytest.fail("no build is asked for"))
    return [operation.name for operation in wanted]


def test_what_needs_no_package_is_done_while_apt_is_at_work(names: list[str]) -> None:
    begun, arrived = names.index("baseline.packages"), names.index("baseline.arrived")
    beside = {name.split()[0] for name in names[begun:arrived]}
    assert beside >= {
        "users.present", "sshd.hardened", "kernel.sysctl", "journald.capped", "updates.configured",
        "docker.one_origin", "docker_daemon.awaited", "agent.installed", "systemd.units",
    }  # fmt: skip
    assert not beside & {"docker.engine", "time.synchronised", "updates.unattended"}


def test_docker_finds_its_settings_and_its_secrets_when_it_starts(names: list[str]) -> None:
    engine = names.index("docker.engine")
    for before in ("docker_daemon.awaited", "systemd.service toolkit-secrets.service", "baseline.arrived"):
        assert names.index(before) < engine, before
    assert engine < names.index("docker_daemon.configured")


def test_the_firewall_stands_before_docker_and_lets_sshd_move_first(names: list[str]) -> None:
    assert names.index("firewall.admits") < names.index("sshd.hardened")
    first = names.index("firewall.alone")
    assert [name.split()[0] for name in names[first : names.index("baseline.arrived")]] == [
        "firewall.alone", "apt.fetched", "firewall.guarded_rules", "firewall.kept_rules",
        "systemd.units", "systemd.service",
    ]  # fmt: skip


def test_what_systemd_reads_at_once_has_the_units_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    monkeypatch.setattr(
        "toolkit.machine.agent.operations",
        lambda _, docker, others: read.extend(one.path.removeprefix("/etc/systemd/system/") for one in others) or [],
    )
    described = HostFile(
        name="web", root=Path("/"), connection="local", machine=Machine(), stack=Stack(name="shop", directory=".")
    )
    list(provision.operations(described, lambda *_: pytest.fail("no build is asked for")))
    assert read == [
        "docker.service.d/toolkit-daemon.conf",
        "toolkit-watchdog.service",
        "toolkit-firewall.service",
        "nftables.service.d/toolkit.conf",
    ]
