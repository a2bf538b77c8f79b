"""Status: how the stack on a host is now, service by service."""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from toolkit.config.models import HostFile
from toolkit.host import Host
from toolkit.stack import containers, record
from toolkit.stack.containers import Verdict
from toolkit.stack.manifest import parse_manifest
from toolkit.words.command import script
from toolkit.words.errors import HostError
from toolkit.workflows.attempt import required

_READ = """
one() { cat "$1" 2>/dev/null | tr -d '\\n'; echo; }
one "/opt/$1/current/release.json"
one "/var/lib/toolkit/deploys/$1/record.json"
one "/var/lib/toolkit/deploys/$1/transaction.json"
flock --nonblock "/run/toolkit/$1/lock" true 2>/dev/null && echo || echo busy
"""


@dataclass(frozen=True)
class Status:
    """The release that counts and a verdict for each of its services."""

    host: str
    stack: str
    release: str
    created: str
    unfinished: str
    """A release whose deploy began and has not reached its end; empty otherwise."""

    at_work: bool
    """Whether somebody is deploying right now."""

    services: Sequence[Verdict]

    @property
    def good(self) -> bool:
        return not self.unfinished and all(verdict.good for verdict in self.services)


def status(host_file: HostFile, host: Host) -> Status:
    """Read how the stack is. Raises HostError when none was deployed yet."""
    stack = required(host_file)
    both = f"{script(_READ, stack.name).line()}\n{containers.read(stack.name).line()}"
    written, found, mark, busy, rest = host.run(script(both)).text.split("\n", 4)
    manifest = parse_manifest(written)
    if manifest is None:
        raise HostError(
            f"{host.name}: {stack.name} was never deployed to its end",
            hint=f"run `invoke deploy --host {host.name}`",
        )
    finished = record.parse(found).finished
    verdicts = containers.judge(manifest.services, containers.parse(rest), finished=finished)
    return Status(host.name, stack.name, manifest.id, manifest.created, _target(mark), bool(busy), verdicts)


def _target(mark: str) -> str:
    with suppress(ValueError, KeyError, TypeError):
        return str(json.loads(mark)["target"])
    return "?" if mark else ""
