"""Who is told what happens on the host: their addresses, sealed there, and the units that send what waits for them."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

from toolkit.config.models import Notify
from toolkit.converge import Change, Fact, Facts, Fed, Operation, operation
from toolkit.machine import systemd
from toolkit.machine.agent import ENTRY
from toolkit.vault import addresses
from toolkit.words.command import command, script
from toolkit.words.values import Secret

FOLDER = "/var/lib/toolkit/notify"
SERVICE = "toolkit-notify.service"
PATH = "toolkit-notify.path"

# It ends when nothing waits any more; then the path unit watches again.
SENDER = f"""\
[Unit]
Description=Messages about this host, on their way
Documentation=file:/opt/toolkit
Wants=network-online.target
After=network-online.target

[Service]
ExecStart={ENTRY} notify send
Restart=on-failure
RestartSec=30
UMask=0077
LimitCORE=0
NoNewPrivileges=yes
ProtectSystem=strict
ReadWritePaths={FOLDER}
ProtectHome=yes
PrivateTmp=yes
"""
WATCH = f"""\
[Unit]
Description=Messages about this host that wait to be sent
Documentation=file:/opt/toolkit

[Path]
PathExistsGlob={FOLDER}/queue/[0-9]*.json

[Install]
WantedBy=multi-user.target
"""

Value = Callable[[str], Secret]
"""From a provider to what it gives."""

INDEX = Fact("who is told", script('cat -- "$1" 2>/dev/null || :', f"{FOLDER}/targets.json"), str)


def operations(host: str, targets: Sequence[Notify], value: Value) -> list[Operation]:
    """Return what it takes that these, and nobody else, are told."""
    if not targets:
        return [nobody_told(host)]
    units = systemd.units(systemd.Wanted(SERVICE, SENDER), systemd.Wanted(PATH, WATCH, enabled=True))
    return [told(host, targets, value), units, systemd.service(PATH)]


@operation
def told(facts: Facts, host: str, targets: Sequence[Notify], value: Value) -> Iterator[Change]:
    """Ensure that the host has exactly these addresses. Raises SecretError for a provider that gives none."""
    found = facts.get(INDEX)
    rows = [{"name": one.name, "kind": one.kind, "on": list(one.on)} for one in targets]
    body = addresses.pack(host, [(row, value(one.url)) for row, one in zip(rows, targets, strict=True)])
    if not _is_same(found, body):
        names = ", ".join(one.name for one in targets)
        yield Change(f"let {names} be told what happens here", Fed(command(ENTRY, "notify", "put"), lambda: body))


@operation
def nobody_told(facts: Facts, host: str) -> Iterator[Change]:
    """Ensure that nobody is told, where somebody was."""
    units = (systemd.state(SERVICE), systemd.state(PATH))
    facts.need(INDEX, *units)
    body = addresses.pack(host, [])
    if facts.get(INDEX) and not _is_same(facts.get(INDEX), body):
        yield Change("let nobody be told what happens here", Fed(command(ENTRY, "notify", "put"), lambda: body))
    if facts.get(units[1]).exists:
        yield from systemd.service(PATH, enabled=False, running=False)(facts)
        yield from systemd.service(SERVICE, enabled=False, running=False)(facts)


def _is_same(written: str, body: bytes) -> bool:
    """Whether the host has this very body; what is damaged is not."""
    with suppress(ValueError, KeyError, TypeError):
        found = json.loads(written)
        proof: str = addresses.proof(found["salt"], body)
        return found["format"] == addresses.FORMAT and bool(found["proof"] == proof)
    return False
