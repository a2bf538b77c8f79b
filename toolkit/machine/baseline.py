"""The baseline: what every machine has before Docker is set up, in the order in which it can be had.

apt begins with the packages first of all. While it is at work, everything else is done that does not need them.
"""

from collections.abc import Iterator

from toolkit.config.models import HostFile, Machine
from toolkit.converge import Change, Facts, Operation, operation
from toolkit.machine import apt, docker, journald, kernel, os, sshd, swap, time, updates, users

NEEDED = ("ca-certificates", "python3", "python3-venv", "tzdata")


def operations(host_file: HostFile) -> list[Operation]:
    """Return the wanted states of a host file's `machine` part, but for Docker and the firewall."""
    return [*foundation(host_file), *hardening(host_file), *packaged(host_file)]


def foundation(host_file: HostFile) -> list[Operation]:
    """Return what all else stands on: a machine we carry, its packages on their way, its people."""
    machine = host_file.machine
    wanted = [os.supported(), packages(machine)]
    if any(user.sudo for user in machine.users):
        wanted.append(apt.packages("sudo"))
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
        machine.sshd and sshd.hardened(machine.sshd),
        machine.sysctl is not None and kernel.sysctl(machine.sysctl),
        machine.swap and swap.file(machine.swap.size),
        machine.journald and journald.capped(machine.journald.max_size),
        machine.updates and updates.configured(machine.updates),
    ]
    return [part for part in parts if part]


def packaged(host_file: HostFile) -> list[Operation]:
    """Return what can be had once the packages are there: a clock in time, and updates at night."""
    machine = host_file.machine
    parts = [
        [arrived(machine)],
        machine.time and [time.zone(machine.time.timezone), time.synchronised()],
        machine.updates and [updates.unattended()],
    ]
    return [wanted for part in parts if part for wanted in part]


@operation
def packages(facts: Facts, machine: Machine) -> Iterator[Change]:
    """Ensure that apt is at work on all packages that can be had by now: each call costs a second, even for nothing."""
    yield from apt.begun(*_names(facts, machine))(facts)


@operation
def arrived(facts: Facts, machine: Machine) -> Iterator[Change]:
    """Ensure that those packages are there."""
    yield from apt.ended(*_names(facts, machine))(facts)


def _names(facts: Facts, machine: Machine) -> tuple[str, ...]:
    facts.need(os.SYSTEM, apt.INSTALLED, apt.WORK, docker.APPARMOR)
    installed = facts.get(apt.INSTALLED)
    names = [*NEEDED, *machine.packages]
    if any(user.sudo for user in machine.users):
        names.append("sudo")
    if machine.docker:
        names += docker.early(facts, machine.docker)
    if machine.firewall:
        names.append("nftables")
    if machine.updates:
        names.append("unattended-upgrades")
    if machine.time:
        names.append(time.keeper(installed))
    return tuple(dict.fromkeys(names))
