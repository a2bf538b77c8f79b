"""What a host's watchdog sees and did, and who is told of it, asked from the control side."""

from collections.abc import Mapping, Sequence
from typing import Any

from toolkit.config.models import HostFile
from toolkit.host import Host
from toolkit.workflows import agent
from toolkit.workflows.attempt import required


def status(host_file: HostFile, host: Host) -> Mapping[str, Any]:
    """Return whether the watchdog watches, what it saw last, and who is told. Raises HostError."""
    return agent.asked(host, "watchdog", "status", required(host_file).name)


def history(host_file: HostFile, host: Host, count: int) -> Sequence[Mapping[str, Any]]:
    """Return the last incidents, oldest first. Raises HostError."""
    asked = agent.asked(host, "watchdog", "history", required(host_file).name, "--lines", str(count))
    incidents: Sequence[Mapping[str, Any]] = asked["incidents"]
    return incidents


def told(host: Host) -> Sequence[Mapping[str, Any]]:
    """Return who is told what happens on a host, what waits for them and how it went last."""
    targets: Sequence[Mapping[str, Any]] = agent.asked(host, "notify", "list")["targets"]
    return targets


def test(host: Host) -> Sequence[Mapping[str, Any]]:
    """Have everybody sent a test message; return how that went."""
    targets: Sequence[Mapping[str, Any]] = agent.asked(host, "notify", "test")["targets"]
    return targets
