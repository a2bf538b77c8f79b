"""Kernel settings, swap, journal, time and updates, and the order in which a machine gets them."""

from pathlib import Path

import pytest

from toolkit.config.models import HostFile, Machine, Updates, User
from toolkit.converge import Change
from toolkit.converge.fake import FakeFacts
from toolkit.host import File
from toolkit.machine import apt, baseline, docker, files, journald, kernel, os, swap, systemd, time, updates
from toolkit.words.errors import Unsupported
from toolkit.words.values import Size

BARE = "debian\n13\ntrixie\nx86_64\nnone\n/usr/bin/python3.13\n"
CONTAINER = BARE.replace("none", "docker")
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKNusxJAE51pJbv3D0ciUAUHCJftm3izBXOSoKLRZPLe"
ON = "LoadState=loaded\nActiveState=active\nUnitFileState=enabled\nNeedDaemonReload=no\n" + (
    "ConditionResult=yes\nConditionTimestampMonotonic=1\n"
)


def said(*changes: Change) -> list[str]:
    return [change.summary for change in changes]


def as_file(content: str) -> str:
    return f"regular file|644|root|root\n{content}"


# Kernel settings


def kernel_facts(settings: dict[str, str], system: str = BARE, **now: str) -> FakeFacts:
    facts, wanted = FakeFacts(), kernel.DEFAULTS | settings
    found = {kernel.node(key): value for key, value in wanted.items()} | {
        kernel.node(key.replace("__", ".")): value for key, value in now.items()
    }
    facts.tell(os.SYSTEM, system)
    facts.tell(files.text(kernel.PATH), as_file(kernel.render(wanted)))
    facts.tell(
        kernel.values(tuple(wanted)), "".join(f"{node}:{value}\n" for node, value in found.items() if value != "gone")
    )
    return facts


def test_kernel_settings_that_count_are_left_alone() -> None:
    assert list(kernel.sysctl({})(kernel_facts({}))) == []


def test_a_kernel_setting_is_compared_as_the_kernel_has_it() -> None:
    [change] = kernel.sysctl({"vm.swappiness": "10"})(kernel_facts({"vm.swappiness": "10"}, vm__swappiness="60"))
    assert change.summary == "set vm.swappiness=10"
    assert change.action.argv[-2:] == ("vm/swappiness", "10")


def test_several_numbers_are_the_same_whatever_stands_between_them() -> None:
    ports = {"net.ipv4.ip_local_port_range": "1024 65000"}
    assert list(kernel.sysctl(ports)(kernel_facts(ports, net__ipv4__ip_local_port_range="1024\t65000"))) == []


def test_what_the_kernel_lacks_waits_in_the_file() -> None:
    later = {"net.netfilter.nf_conntrack_max": "262144"}
    assert list(kernel.sysctl(later)(kernel_facts(later, net__netfilter__nf_conntrack_max="gone"))) == []
    assert "-net.netfilter.nf_conntrack_max = 262144\n" in kernel.render(later)


def test_a_container_sets_only_what_is_its_own() -> None:
    facts = kernel_facts({}, CONTAINER, kernel__sysrq="438", net__ipv4__tcp_syncookies="0")
    [change] = kernel.sysctl({})(facts)
    assert change.summary == "set net.ipv4.tcp_syncookies=1"


def test_a_slash_first_keeps_the_dots_of_a_name() -> None:
    assert kernel.node("net.ipv4.tcp_syncookies") == "net/ipv4/tcp_syncookies"
    assert kernel.node("net/ipv4/conf/eth0.100/forwarding") == "net/ipv4/conf/eth0.100/forwarding"
    assert kernel.node("net.ipv4.conf.eth0/100.forwarding") == "net/ipv4/conf/eth0.100/forwarding"


def test_the_defaults_leave_containers_their_network() -> None:
    assert not any("forward" in key or "rp_filter" in key for key in kernel.DEFAULTS)


# Swap


def swap_facts(swaps: str, system: str = BARE, fstab: str = "/swapfile none swap sw 0 0\n") -> FakeFacts:
    facts = FakeFacts()
    facts.tell(swap.SWAPS, swaps)
    facts.tell(os.SYSTEM, system)
    facts.tell(files.text("/etc/fstab"), as_file(fstab))
    return facts


SIZE = Size(2_000_000_000)
REPORTED = SIZE // 4096 * 4096 - 4096


def test_a_swap_file_of_this_size_is_left_alone() -> None:
    assert list(swap.file(SIZE)(swap_facts(f"/swapfile {REPORTED}\n"))) == []


def test_a_machine_without_swap_gets_a_file_that_comes_back() -> None:
    create, fstab = swap.file(SIZE)(swap_facts("", fstab="/dev/vda1 / ext4 defaults 0 1\n"))
    assert create.summary == "create /swapfile (1.9 GiB) and use it"
    assert fstab.action.body == b"/dev/vda1 / ext4 defaults 0 1\n/swapfile none swap sw 0 0\n"


def test_a_swap_file_of_another_size_is_released_first() -> None:
    summaries = said(*swap.file(SIZE)(swap_facts("/swapfile 1073737728\n")))
    assert summaries == ["release /swapfile (1 GiB)", "create /swapfile (1.9 GiB) and use it"]


def test_swap_the_machine_has_already_counts() -> None:
    assert list(swap.file(SIZE)(swap_facts("/dev/vda2 4294963200\n", fstab=""))) == []


def test_a_container_is_told_that_swap_is_not_its_own() -> None:
    with pytest.raises(Unsupported, match="a docker container has no swap of its own") as caught:
        list(swap.file(SIZE)(swap_facts("", CONTAINER)))
    assert "swap: false" in caught.value.hint


# The journal

READ = (
    "# /etc/systemd/journald.conf\n[Journal]\n#Storage=auto\n\n[Journal]\nStorage=persistent\nSystemMaxUse=500000000\n"
)


def journal_facts(config: str = READ, stale: str = "") -> FakeFacts:
    facts = FakeFacts()
    facts.tell(journald.CONFIG, config)
    facts.tell(files.text(journald.PATH), as_file("[Journal]\nStorage=persistent\nSystemMaxUse=500000000\n"))
    facts.tell(systemd.stale(journald.SERVICE, journald.PATH), stale)
    return facts


def test_a_capped_journal_is_left_alone() -> None:
    assert list(journald.capped(Size(500_000_000))(journal_facts())) == []


@pytest.mark.parametrize(
    "facts",
    [journal_facts(READ + "[Journal]\nSystemMaxUse=4G\n"), journal_facts(stale=journald.PATH)],
    ids=["overruled", "not read yet"],
)
def test_a_cap_that_does_not_count_is_seen(facts: FakeFacts) -> None:
    assert said(*journald.capped(Size(500_000_000))(facts)) == ["let journald keep at most 476.8 MiB"]


def test_another_cap_is_written_and_read() -> None:
    write, restart = journald.capped(Size(1_000_000_000))(journal_facts())
    assert b"SystemMaxUse=1000000000" in write.action.body
    assert "systemd-journald.service" in restart.action.argv


# Time


def test_another_time_zone_is_set() -> None:
    facts = FakeFacts()
    facts.tell(time.in_zone("Europe/Oslo"), "")
    assert said(*time.zone("Europe/Oslo")(facts)) == ["set the time zone to Europe/Oslo"]
    facts.tell(time.in_zone("Europe/Oslo"), "same\n")
    assert list(time.zone("Europe/Oslo")(facts)) == []


@pytest.mark.parametrize(("installed", "package"), [("chrony", "chrony"), ("bash", "systemd-timesyncd")])
def test_whoever_keeps_the_time_already_goes_on(installed: str, package: str) -> None:
    facts = FakeFacts()
    facts.tell(apt.INSTALLED, f"{installed} install installed 1\n")
    for service in set(time.KEEPERS.values()):
        facts.tell(systemd.state(service), ON)
    assert said(*time.synchronised()(facts)) == ([] if installed == package else [f"install {package}"])


# Updates


def updates_facts(spec: Updates, config: str | None = None) -> FakeFacts:
    facts, content = FakeFacts(), updates.render(updates.wanted(spec))
    dump = "".join(line + "\n" for line in content.splitlines() if not line.startswith(("//", "#clear")))
    facts.tell(apt.INSTALLED, "unattended-upgrades install installed 2.12\n")
    facts.tell(updates.CONFIG, dump if config is None else config)
    facts.tell(files.text(updates.PATH), as_file(content))
    for timer in updates.TIMERS:
        facts.tell(systemd.state(timer), ON)
    return facts


def test_unattended_upgrades_as_asked_are_left_alone() -> None:
    assert list(updates.configured(Updates())(updates_facts(Updates()))) == []


def test_what_upgrades_at_night_is_installed() -> None:
    facts = updates_facts(Updates())
    assert list(updates.unattended()(facts)) == []
    facts.tell(apt.INSTALLED, "tzdata install installed 1\n")
    assert [change.summary for change in updates.unattended()(facts)] == ["install unattended-upgrades"]


def test_a_reboot_time_is_asked_of_apt() -> None:
    [change] = updates.configured(Updates(reboot_at="04:30"))(updates_facts(Updates()))
    assert b'Unattended-Upgrade::Automatic-Reboot "true";' in change.action.body
    assert b'Unattended-Upgrade::Automatic-Reboot-Time "04:30";' in change.action.body


def test_a_later_file_that_overrules_ours_is_seen() -> None:
    dump = 'APT::Periodic::Unattended-Upgrade "0";\nUnattended-Upgrade::Package-Blacklist:: "docker";\n'
    [change] = updates.configured(Updates())(updates_facts(Updates(), dump))
    assert "APT::Periodic::Unattended-Upgrade" in change.summary
    assert "Package-Blacklist" in change.summary
    assert isinstance(change.action, File)


def test_docker_is_left_alone_and_only_security_is_upgraded() -> None:
    content = updates.render(updates.wanted(Updates()))
    assert '#clear Unattended-Upgrade::Package-Blacklist;\nUnattended-Upgrade::Package-Blacklist:: "docker";' in content
    assert all("security" in origin.lower() for origin in updates.ORIGINS)


# All of it


def host_file(machine: Machine) -> HostFile:
    return HostFile(name="web", root=Path("/"), connection="local", machine=machine)


def names(machine: Machine) -> list[str]:
    return [operation.name for operation in baseline.operations(host_file(machine))]


def test_the_baseline_comes_in_the_order_in_which_it_can_be_had() -> None:
    user = User(name="deploy", keys=(KEY,), sudo=True)
    assert [name.split()[0] for name in names(Machine(users=(user,)))] == [
        "os.supported", "baseline.packages", "apt.packages", "users.present", "users.authorized", "users.sudo",
        "sshd.hardened", "kernel.sysctl", "swap.file", "journald.capped", "updates.configured", "baseline.arrived",
        "time.zone", "time.synchronised", "updates.unattended",
    ]  # fmt: skip


def test_what_is_turned_off_is_left_out() -> None:
    off = Machine.model_validate(dict.fromkeys(("sshd", "sysctl", "swap", "journald", "time", "updates"), False))
    assert [name.split()[0] for name in names(off)] == ["os.supported", "baseline.packages", "baseline.arrived"]


def test_keys_are_left_alone_where_none_are_given() -> None:
    assert "users.authorized deploy" not in names(Machine(users=(User(name="deploy"),)))


def test_all_packages_are_installed_at_once() -> None:
    facts = FakeFacts()
    facts.tell(apt.INSTALLED, "tzdata install installed 1\npython3 install installed 1\nchrony install installed 1\n")
    facts.tell(os.SYSTEM, "debian\n13\ntrixie\nx86_64\nnone\n/usr/bin/python3.13\n")
    facts.tell(docker.APPARMOR, "Y\n")
    facts.tell(apt.WORK, "")

    def installs(**more) -> str:
        [change] = baseline.packages(Machine.model_validate({"packages": ("htop",), **more}))(facts)
        return change.summary.removeprefix("begin to install ca-certificates, python3-venv, htop, ")

    assert installs(docker=False, firewall=False) == "unattended-upgrades"
    assert "sudo" in installs(users=({"name": "deploy", "sudo": True},)).split(", ")
    # A repository has to be set up first, or a version to be chosen: Docker comes later.
    assert installs(docker={"source": "official"}) == "curl, apparmor, gnupg, nftables, unattended-upgrades"
    assert installs(docker={"source": "distro", "suite": "forky"}) == "curl, apparmor, nftables, unattended-upgrades"
    assert installs(docker={"source": "distro", "version": "26.1"}) == "curl, apparmor, nftables, unattended-upgrades"
    assert installs(docker={"source": "distro"}) == (
        "curl, apparmor, docker.io, docker-cli, docker-compose, nftables, unattended-upgrades"
    )
    # One that is held at its version is not named with the others.
    facts.tell(apt.INSTALLED, "docker.io hold installed 26.1\nchrony install installed 1\n")
    assert "docker" not in installs(docker={"source": "distro"})
