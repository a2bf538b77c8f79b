"""sshd on real machines: what wins, what is refused, and that nobody is locked out."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from toolkit.config.models import Connection, Sshd
from toolkit.converge import Change, Facts, Outcome, apply, operation
from toolkit.host import Host
from toolkit.host.ssh import SshHost
from toolkit.lab.hosts import Vps
from toolkit.machine import files, guard, sshd, systemd
from toolkit.words.command import script
from toolkit.words.errors import ConfigError, HostError, Unreachable
from toolkit.words.report import Silent
from toolkit.words.values import Secret

pytestmark = pytest.mark.lab


def no_password() -> Secret:
    raise AssertionError("nobody was to be asked for a password")


class Guest:
    """A machine of the lab, reached on its own address, so that sshd's port is the one that is knocked at."""

    def __init__(self, vps: Vps) -> None:
        self.vps = vps
        self.host = self.reach(22)

    def reach(self, port: int) -> SshHost:
        vps = self.vps
        connection = Connection(
            address=vps.address, port=port, user=vps.user, identity=str(vps.identity), host_key=vps.host_key
        )
        return SshHost(vps.name, connection, root=Path("/"), ask=no_password)

    def apply(self, **spec: Any) -> Outcome:
        return apply(Facts(self.host), [sshd.hardened(Sshd(**spec))], Silent())

    def says(self, text: str) -> list[str]:
        return self.host.run(script(text)).text.splitlines()


@pytest.fixture
def guest(fresh_host: Callable[..., Vps]) -> Iterator[Guest]:
    guest = Guest(fresh_host())
    yield guest
    guest.host.close()


def test_what_cloud_init_and_the_main_file_say_loses(guest: Guest) -> None:
    guest.host.run(
        script(
            "echo 'PasswordAuthentication yes' >/etc/ssh/sshd_config.d/50-cloud-init.conf\n"
            "sed -i '/^Include/d' /etc/ssh/sshd_config\n"
            "printf 'AllowUsers admin stranger\\nMatch User guest\\nAllowUsers guest\\n' >>/etc/ssh/sshd_config"
        )
    )
    assert guest.apply(allow_users=("admin",)).changes
    settings = guest.says("sshd -T")
    assert "passwordauthentication no" in settings
    assert "permitrootlogin no" in settings
    assert [line for line in settings if line.startswith("allowusers")] == ["allowusers admin"]
    assert "AllowUsers guest" in guest.says("cat /etc/ssh/sshd_config"), "what stands behind a Match stays"
    assert guest.apply(allow_users=("admin",)).changes == 0


def test_a_setting_that_locks_out_is_taken_back_and_said(guest: Guest) -> None:
    before = guest.says("cat /etc/ssh/sshd_config; ls /etc/ssh/sshd_config.d; sshd -T")
    with pytest.raises(HostError, match="sshd would lock you out, and was taken back") as caught:
        guest.apply(allow_users=("nobody",))
    assert caught.value.exit_code == 12
    assert guest.says("cat /etc/ssh/sshd_config; ls /etc/ssh/sshd_config.d; sshd -T") == before
    guest.host.prove_login()
    assert guest.says("ls /run/toolkit/guard") == []


class Gone(Exception):
    """The control side's end, in the middle of a run."""


def vanish(host: Host) -> None:
    raise Gone


@operation
def locked(facts: Facts) -> Iterator[Change]:
    """Lock everybody out, under a guard of a few seconds."""
    changes = [
        Change("keep", script(sshd.KEEP)),
        *files.file(sshd.OURS, "AllowUsers nobody\n")(facts),
        Change("restart", systemd.restart(sshd.SERVICE)),
    ]
    back = script(sshd.BACK, "service")
    yield from guard.guarded("sshd", changes, revert=back, prove=vanish, within=4)(facts)


def test_the_host_goes_back_by_itself_when_the_control_side_is_gone(guest: Guest) -> None:
    with pytest.raises(Gone):
        apply(Facts(guest.host), [locked()], Silent())
    guest.host.close()
    guest.host = guest.reach(22)
    with pytest.raises(Unreachable, match="login was refused"):
        guest.host.prove_login()
    time.sleep(7)
    guest.host.prove_login()
    assert not any("allowusers" in line for line in guest.says("sshd -T"))


def test_a_setting_sshd_does_not_know_changes_nothing(guest: Guest) -> None:
    before = guest.says("ls -l --time-style=full-iso /etc/ssh /etc/ssh/sshd_config.d")
    with pytest.raises(ConfigError, match="Bad configuration option: Foo"):
        guest.apply(settings={"Foo": "bar"})
    assert guest.says("ls -l --time-style=full-iso /etc/ssh /etc/ssh/sshd_config.d") == before


def test_a_new_port_counts_also_where_a_socket_listened_for_sshd(guest: Guest) -> None:
    guest.host.run(script("systemctl disable --now --quiet ssh; systemctl enable --now --quiet ssh.socket"))
    guest.host.run(script("sed -i '1i Port 22' /etc/ssh/sshd_config"))
    guest.apply(port=2022)
    guest.host.close()
    guest.host = guest.reach(2022)
    assert guest.says("systemctl is-enabled ssh.socket ssh.service || true") == ["disabled", "enabled"]
    assert guest.apply(port=2022).changes == 0
    with pytest.raises(Unreachable, match="nobody listens there"):
        guest.reach(22).prove_login()


def test_values_are_compared_as_sshd_writes_them(guest: Guest) -> None:
    settings = {"LoginGraceTime": "1m", "ClientAliveInterval": "5m", "Ciphers": "+aes256-cbc"}
    spec = {"root_login": "prohibit-password", "settings": settings}
    assert guest.apply(**spec).changes
    assert guest.apply(**spec).changes == 0
