"""The baseline: what every machine has before Docker is set up, in the order in which it can be had."""

from collections.abc import Iterator

from toolkit.config.models import HostFile, Machine
from toolkit.converge import Change, Facts, Operation, operation
from toolkit.machine import apt, docker, journald, kernel, os, sshd, swap, time, updates, users

NEEDED = ("ca-certificates", "python3", "python3-venv", "tzdata")


def operations(host_file: HostFile) -> list[Operation]:
    """Return the wanted states of a host file's `machine` part, but for Docker and the firewall."""
    return [*foundation(host_file), *hardening(host_file)]


def foundation(host_file: HostFile) -> list[Operation]:
    """Return what all else stands on: a machine we carry, its packages, its people."""
    machine = host_file.machine
    wanted = [os.supported(), packages(machine)]
    for user in machine.users:
        wanted.append(users.present(user.name))
        if user.keys:
            wanted.append(users.authorized(user.name, user.keys))
        wanted.append(users.sudo(user.name, allowed=user.sudo))
    return wanted


def hardening(host_file: HostFile) -> list[Operation]:
    """Return what makes the machine safe to leave alone; a part that is turned off is left out."""
    machine = host_file.machine
    parts = [
        machine.sshd and [sshd.hardened(machine.sshd)],
        machine.sysctl is not None and [kernel.sysctl(machine.sysctl)],
        machine.swap and [swap.file(machine.swap.size)],
        machine.journald and [journald.capped(machine.journald.max_size)],
        machine.time and [time.zone(machine.time.timezone), time.synchronised()],
        machine.updates and [updates.unattended(machine.updates)],
    ]
    return [wanted for part in parts if part for wanted in part]


@operation
def packages(facts: Facts, machine: Machine) -> Iterator[Change]:
    """Ensure all packages that can be had by now at once: each call of apt costs a second, even for nothing."""
    facts.need(os.SYSTEM, apt.INSTALLED, docker.APPARMOR)
    installed = facts.get(apt.INSTALLED)
    names = [*NEEDED, *machine.packages]
    if machine.docker:
        names += docker.early(facts, machine.docker)
    if machine.firewall:
        names.append("nftables")
    if machine.updates:
        names.append("unattended-upgrades")
    if machine.time:
        names.append(time.keeper(installed))
    yield from apt.packages(*dict.fromkeys(names))(facts)
