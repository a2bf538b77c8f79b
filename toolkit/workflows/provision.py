"""Provision: a bare machine becomes the host its file describes, and is proven to be."""

from collections.abc import Iterator
from functools import cache

from toolkit.config.models import HostFile
from toolkit.converge import Facts, Operation, Outcome
from toolkit.converge import apply as converge_apply
from toolkit.converge import plan as converge_plan
from toolkit.host import Host
from toolkit.machine import agent, backup, baseline, docker, firewall, notify, watchdog
from toolkit.words.report import Listener
from toolkit.workflows import backing, wheelhouse
from toolkit.workflows.ahead import Ahead
from toolkit.workflows.attempt import Values


def operations(host_file: HostFile, builds: agent.Builds) -> Iterator[Operation]:
    """Yield everything a host file asks of its machine, in the order in which it is applied.

    apt is at work from the foundation to the packages: what is between them needs nothing that is only being installed,
    but for the firewall where `nft` is missing, which then waits for it.
    """
    yield from baseline.foundation(host_file)
    # Before sshd may move: its second login has to get through rules that stand from an earlier run.
    yield from firewall.before_sshd(host_file)
    yield from baseline.hardening(host_file)
    yield from docker.before_packages(host_file)
    # Before Docker, which waits for it: a secret that is missing is then told as such, not as a Docker that fails.
    # systemd reads the units of others in the same go: each go costs as much as all else they need.
    others = [*docker.units(host_file), *watchdog.units(host_file), *firewall.units(host_file)]
    yield from agent.operations(builds, docker=host_file.machine.docker is not None, others=others)
    # On a bare machine before Docker: it looks at nothing as long as nothing is deployed.
    yield from watchdog.operations(host_file)
    # Before Docker is provisioned: nothing it publishes can ever be reached that is not open.
    yield from firewall.operations(host_file)
    yield from baseline.packaged(host_file)
    yield from docker.operations(host_file)
    yield from notify.operations(host_file.name, host_file.notify, cache(Values(host_file).of))
    yield from backup.operations(backing.orders(host_file))


def builds(host_file: HostFile) -> agent.Builds:
    """Return the build of the agent that a host file asks for, by Python and architecture."""
    extras = {str(one.kind) for one in host_file.notify} & wheelhouse.EXTRAS.keys()
    if backing.is_wanted(host_file):
        extras |= {wheelhouse.BACKUP}
    return lambda python, architecture: wheelhouse.release(python, architecture, *sorted(extras))


def plan(host_file: HostFile, host: Host) -> Outcome:
    """Return what `provision` would change. Raises Unsupported for a machine the toolkit does not carry,
    and SecretError where nobody can tell whether an address that is to be told is the one that the host has.
    """
    facts = Facts(host)
    return converge_plan(facts, list(operations(host_file, builds(host_file))))


def provision(host_file: HostFile, host: Host, *, listener: Listener) -> Outcome:
    """Bring the machine to where its file wants it.

    Raises Unsupported before anything is changed, HostError when a change fails and NotConverged when one does not
    last. A run that was cut is continued by the next.
    """
    facts = Facts(host)
    going_ahead = Ahead(host, builds(host_file))
    wanted = list(operations(host_file, going_ahead.build))
    # Planned first: nothing is sent to a machine that is refused.
    if converge_plan(facts, wanted).changes:
        going_ahead.begin(facts)
    return converge_apply(facts, wanted, listener)
