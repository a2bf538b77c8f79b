"""The baseline on real machines: applied once, then silence; and what apt does when something is in the way."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from toolkit.config.models import Connection, HostFile, Machine
from toolkit.converge import Facts, Outcome, apply, plan
from toolkit.host.ssh import SshHost
from toolkit.lab import Lab
from toolkit.lab.hosts import Vps
from toolkit.machine import apt, baseline
from toolkit.words.command import Command, command, script
from toolkit.words.errors import HostError
from toolkit.words.report import Silent
from toolkit.words.values import Secret

pytestmark = pytest.mark.lab

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIrfI9/ofOnLNd0Edr9V66dhPbsTENP5jRDM/fQNvqVP someone@laptop"


class Hears(Silent):
    """Keeps what was said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)


def no_password() -> Secret:
    raise AssertionError("nobody was to be asked for a password")


class Guest:
    """A machine of the lab with a connection that can be made anew."""

    def __init__(self, vps: Vps) -> None:
        connection = Connection(
            address="127.0.0.1", port=vps.port, user=vps.user, identity=str(vps.identity), host_key=vps.host_key
        )
        machine = Machine.model_validate(
            {
                "swap": False,
                "packages": ("sl",),
                "users": ({"name": "deploy", "keys": (KEY,), "sudo": True},),
                "time": {"timezone": "Europe/Oslo"},
                "sysctl": {"net.ipv4.ip_local_port_range": "10240 65000"},
            }
        )
        self.file = HostFile(name=vps.name, root=Path("/"), connection=connection, machine=machine)
        self.host = SshHost(vps.name, connection, root=Path("/"), ask=no_password)

    def apply(self) -> Outcome:
        return apply(Facts(self.host), baseline.operations(self.file), Silent())

    def plan(self) -> Outcome:
        return plan(Facts(self.host), baseline.operations(self.file))

    def says(self, wanted: Command) -> str:
        return self.host.run(wanted).text.strip()


@pytest.fixture
def guest(fresh_host: Callable[..., Vps]) -> Iterator[Guest]:
    guest = Guest(fresh_host())
    yield guest
    guest.host.close()


@pytest.mark.parametrize("os", ["debian12", "debian13"])
def test_a_second_run_and_a_run_after_a_reboot_change_nothing(
    lab: Lab, fresh_host: Callable[..., Vps], os: str
) -> None:
    vps = fresh_host(os=os)
    guest = Guest(vps)
    planned = guest.plan()
    assert planned.changes > 10
    assert not any(step.note for step in planned.steps), "a plan for a bare machine tells everything"
    guest.apply()
    again = guest.apply()
    assert again.changes == 0
    assert again.round_trips <= 2
    assert "(ALL : ALL) NOPASSWD: ALL" in guest.says(command("sudo", "-l", "-U", "deploy"))
    assert guest.says(command("date", "-d", "2026-07-01T00:00Z", "+%Z")) == "CEST"
    assert guest.says(command("cat", "/proc/sys/net/ipv4/ip_local_port_range")).split() == ["10240", "65000"]
    guest.host.close()
    lab.reboot(vps.name)
    guest = Guest(vps)
    assert guest.plan().changes == 0
    guest.host.close()


def test_what_somebody_changed_by_hand_is_seen_and_put_right(guest: Guest) -> None:
    guest.apply()
    for harm in (
        "echo 'APT::Periodic::Unattended-Upgrade \"0\";' >/etc/apt/apt.conf.d/99toolkit-updates",
        "echo 1 >/proc/sys/net/ipv4/conf/all/send_redirects",
        "echo ssh-ed25519 AAAA stranger >>/home/deploy/.ssh/authorized_keys",
        "systemctl disable --now apt-daily-upgrade.timer",
        "sed -i s/no/yes/ /etc/ssh/sshd_config.d/00-toolkit.conf",
    ):
        guest.host.run(script(harm))
    seen = {step.name.split()[0] for step in guest.plan().steps}
    assert seen == {"updates.configured", "updates.unattended", "kernel.sysctl", "users.authorized", "sshd.hardened"}
    guest.apply()
    assert guest.plan().changes == 0


def test_apt_waits_for_whoever_holds_the_lock_and_says_who(guest: Guest) -> None:
    hold = (
        "import fcntl, time\n"
        "lock = open('/var/lib/dpkg/lock-frontend', 'w')\n"
        "fcntl.lockf(lock, fcntl.LOCK_EX)\n"
        "print('held', flush=True)\n"
        "time.sleep(4)\n"
    )
    holder = guest.host.open(command("python3", "-c", hold))
    assert holder.read()[0].strip() == b"held"
    listener = Hears()
    apply(Facts(guest.host), [apt.packages("sl")], listener)
    holder.close()
    assert any(
        line.startswith("waiting for python3") and "/var/lib/dpkg/lock-frontend" in line for line in listener.lines
    )


BROKEN = {
    "mirror": (
        "find /etc/apt -name '*.list' -o -name '*.sources' | xargs sed -i -E 's!https?://[^ /]+!http://127.0.0.1:9!'"
        "; rm -rf /var/lib/apt/lists/*",
        "the package mirror did not answer",
    ),
    "disk": (
        "mount -t tmpfs -o size=16k tmpfs /var/cache/apt/archives && mkdir /var/cache/apt/archives/partial",
        "No space left on device",
    ),
    "name": ("true", "a package has another name here"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_stands_in_apts_way_is_named(guest: Guest, what: str) -> None:
    breakage, said = BROKEN[what]
    guest.host.run(script(breakage))
    before = guest.says(script("dpkg-query --show | sha256sum"))
    with pytest.raises(HostError, match=said) as caught:
        names = ("sl", "no-such-package") if what == "name" else ("sl",)
        apply(Facts(guest.host), [apt.begun(*names), apt.ended(*names)], Silent())
    assert caught.value.exit_code == 12
    assert "apt-get install sl" in caught.value.message
    assert guest.says(script("dpkg-query --show | sha256sum")) == before


def test_apt_goes_on_when_the_connection_is_cut_and_whoever_comes_next_waits_for_it(guest: Guest) -> None:
    guest.host.run(script("echo 'DPkg::Pre-Invoke {\"sleep 5\";};' >/etc/apt/apt.conf.d/99slow"))
    apply(Facts(guest.host), [apt.begun("sl")], Silent())
    assert "sl" not in installed(guest)
    guest.host.close()
    listener = Hears()
    apply(Facts(guest.host), [apt.packages("sl")], listener)
    assert any(line.startswith("Setting up sl") for line in listener.lines)
    assert "sl" in installed(guest)
    assert apply(Facts(guest.host), [apt.begun("sl"), apt.ended("sl")], Silent()).steps == ()


def test_a_run_that_was_killed_in_the_middle_is_finished_by_the_next(guest: Guest) -> None:
    apply(Facts(guest.host), [apt.packages("sl")], Silent())
    guest.host.run(script("apt-get -qq download tzdata-legacy && dpkg --unpack ./tzdata-legacy_*.deb && rm ./*.deb"))
    assert "tzdata-legacy" not in installed(guest)
    apply(Facts(guest.host), [apt.packages("tzdata-legacy")], Silent())
    assert "tzdata-legacy" in installed(guest)


def installed(guest: Guest) -> dict[str, apt.Package]:
    facts = Facts(guest.host)
    facts.ask([apt.INSTALLED])
    return facts.get(apt.INSTALLED)
