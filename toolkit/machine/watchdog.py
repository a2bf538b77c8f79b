"""The watchdog on the host: its policy, and the unit that runs it and notices when it hangs."""

from collections.abc import Iterator

from toolkit.config.models import HostFile
from toolkit.converge import Change, Facts, Operation, operation
from toolkit.machine import files, systemd
from toolkit.machine.agent import ENTRY, FOLDER
from toolkit.stack.watchdog.policy import Policy

SERVICE = "toolkit-watchdog.service"
POLICY = "/etc/toolkit/watchdog.json"

# It says every ten seconds that it is alive. It is spared when memory is short: it is what heals then.
UNIT = f"""\
[Unit]
Description=Watchdog of the stack: brings back services that are not well
Documentation=file:{FOLDER}
After=docker.service toolkit-settle.service
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart={ENTRY} watchdog run
WatchdogSec=30
WatchdogSignal=SIGKILL
Restart=always
RestartSec=2
KillMode=mixed
TimeoutStopSec=20
OOMScoreAdjust=-500
UMask=0077
LimitCORE=0

[Install]
WantedBy=multi-user.target
"""


def operations(host_file: HostFile) -> list[Operation]:
    """Return what a host's watchdog needs; that there is none, where nobody wants one or there is nothing to watch."""
    policy = wanted(host_file)
    if policy is None:
        return [nobody_watches()]
    return [
        files.directory("/etc/toolkit"),
        files.file(POLICY, policy.dumps()),
        systemd.units(*units(host_file)),
        systemd.service(SERVICE),
        # A new agent is new code, and a new policy is read at the start.
        systemd.current(SERVICE, POLICY, f"{FOLDER}/current"),
    ]


def units(host_file: HostFile) -> list[systemd.Wanted]:
    """Return the watchdog's unit, where somebody is to watch."""
    return [systemd.Wanted(SERVICE, UNIT, enabled=True)] if wanted(host_file) else []


def wanted(host_file: HostFile) -> Policy | None:
    """Return the policy that a host file asks for; None where nobody is to watch."""
    said, stack = host_file.watchdog, host_file.stack
    if said is None or stack is None or host_file.machine.docker is None:
        return None
    return Policy(
        stack=stack.name,
        every=float(said.every),
        restarts=said.restarts,
        within=float(said.within),
        healthy_after=float(said.healthy_after),
        memory=said.memory,
        host_memory=said.host_memory,
        polls=said.polls,
        leave=said.leave,
    )


@operation
def nobody_watches(facts: Facts) -> Iterator[Change]:
    """Ensure that no watchdog runs, where one was there."""
    facts.need(systemd.state(SERVICE), files.text(POLICY))
    if facts.get(systemd.state(SERVICE)).exists:
        yield from systemd.service(SERVICE, enabled=False, running=False)(facts)
    yield from files.absent(POLICY)(facts)
