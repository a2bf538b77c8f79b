"""A visit: a host is asked for all evidence in one round trip; one that cannot be reached is looked at from here."""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from toolkit.config import backup_files
from toolkit.config.backups import BackupFile
from toolkit.config.models import HostFile
from toolkit.config.providers import is_provider
from toolkit.config.values import Port
from toolkit.host import Host
from toolkit.machine.firewall_rules import replacing, table
from toolkit.stack.doctor.evidence import Evidence, Wanted
from toolkit.stack.doctor.gather.main import FORMAT
from toolkit.words import frames
from toolkit.words.command import Result
from toolkit.words.errors import ConfigError, HostError, Unreachable, UntrustedHost
from toolkit.workflows import backing
from toolkit.workflows.doctor import reach, ship
from toolkit.workflows.provision import builds

# Lines of each log in a bundle.
LINES = 400
_NAME = re.compile(r"(?:[a-z0-9-]+\.)+[a-z]{2,}|localhost", re.IGNORECASE)


@dataclass(frozen=True)
class Visit:
    """What was found. `files` and `redacted` are for others to read: their texts were cleaned on the host."""

    evidence: Evidence
    files: Mapping[str, str] = field(default_factory=dict)
    redacted: Evidence | None = None


def visit(host_file: HostFile, host: Host, *, bundle: bool = False, now: Callable[[], float] = time.time) -> Visit:
    """Look at a host, as far as it can be reached. Raises HostError where what answers is no evidence."""
    asked = request(host_file, lines=LINES if bundle else 0)
    begun = now()
    try:
        result = host.run(ship.examine(asked), check=False)
    except (Unreachable, UntrustedHost) as error:
        return Visit(Evidence(_wanted(host_file), {"reach": {"value": reach.reach(host_file, host, error)}}, now()))
    ended = now()
    if result.code == ship.NO_PYTHON:
        return Visit(Evidence(_wanted(host_file), {"no python": {"value": True}}, ended))
    told = _checked(host, result)
    skew = min(0.0, told["now"] - begun) + max(0.0, told["now"] - ended)
    wanted = _wanted(host_file, skew, told["sections"])
    return _visit(wanted, told)


def _visit(wanted: Wanted, told: Mapping[str, Any]) -> Visit:
    bundle = told.get("bundle")
    if not isinstance(bundle, Mapping):
        return Visit(Evidence(wanted, told["sections"], told["now"]))
    files = {str(name): str(text) for name, text in bundle["files"].items()}
    cleaned = Evidence(wanted, bundle["evidence"]["sections"], told["now"])
    return Visit(Evidence(wanted, told["sections"], told["now"]), files, cleaned)


def request(host_file: HostFile, *, lines: int = 0) -> dict[str, Any]:
    """Return what the host is asked: names to look up, registries to talk to, rules to compare. No secret is in it."""
    registries = sorted({one.host for one in host_file.registries})
    return {
        "stack": host_file.stack.name if host_file.stack else "",
        "names": sorted({*(name.partition(":")[0] for name in registries), *_stores(host_file)}),
        "registries": registries,
        "firewall": _rules(host_file),
        "tls": list(dict.fromkeys(_tls(host_file))),
        "lines": lines,
    }


def _stores(host_file: HostFile) -> Iterator[str]:
    """Yield the name of where backups go."""
    found = _backups(host_file)
    if found is not None:
        query = parse_qs(urlsplit(found.repository.url).query)
        yield from (name for url in query.get("endpoint", ()) if (name := urlsplit(url).hostname))


def _backups(host_file: HostFile) -> BackupFile | None:
    path = host_file.root / backup_files.FOLDER / f"{host_file.name}.yml"
    try:
        return backup_files.load(path) if backing.is_wanted(host_file) else None
    except ConfigError:
        # Whoever backs up is told what is wrong in it; here it is there, and that is all that counts.
        return None


def _rules(host_file: HostFile) -> str:
    """Return the wanted table; nothing where the toolkit does not keep it, or where sshd's port is not its own."""
    machine = host_file.machine
    if machine.firewall is None or machine.sshd is None:
        return ""
    return replacing(table({*machine.firewall.open, Port(machine.sshd.port)}))


def _tls(host_file: HostFile) -> Iterator[str]:
    """Yield names that a certificate may be for: a server with several shows none to whoever names none."""
    if host_file.stack is None:
        return
    for probe in host_file.stack.gate.probes:
        if (name := urlsplit(probe.url).hostname) and _NAME.fullmatch(name):
            yield name
    for value in host_file.stack.variables.values():
        if not is_provider(value) and _NAME.fullmatch(value):
            yield value
    yield "localhost"


def _wanted(host_file: HostFile, skew: float = 0.0, sections: Mapping[str, Any] | None = None) -> Wanted:
    machine = host_file.machine
    opened = machine.firewall.open if machine.firewall else ()
    return Wanted(
        host=host_file.name,
        stack=host_file.stack.name if host_file.stack else "",
        agent=_agent(host_file, (sections or {}).get("agent", {}).get("value")),
        open=tuple(str(port) for port in (*opened, *([Port(machine.sshd.port)] if machine.sshd else ()))),
        firewall=machine.firewall is not None,
        time=machine.time is not None,
        backups=backing.is_wanted(host_file),
        drills=float(found.drill.every) if (found := _backups(host_file)) else 0.0,
        skew=skew,
    )


def _agent(host_file: HostFile, found: object) -> str:
    """Return the release that provisioning would install beside the one that is there."""
    if not isinstance(found, Mapping) or not found.get("python") or not found.get("architecture"):
        return ""
    return builds(host_file)(str(found["python"]), str(found["architecture"])).name


def _checked(host: Host, result: Result) -> dict[str, Any]:
    """Return the answer, once it has the form of one. Raises HostError."""
    complaint = result.complaint if not result.ok else ""
    try:
        told = frames.parse(result.stdout)
        sections = told["sections"]
        good = told["format"] == FORMAT and isinstance(told["now"], int | float)
        if not good or not all(isinstance(one, Mapping) for one in sections.values()):
            raise HostError("it is not in the form of evidence")
    except (HostError, KeyError, TypeError, AttributeError) as error:
        raise HostError(
            f"{host.name}: looking at the host failed: {complaint or error}",
            hint="run it again with --debug; `invoke ssh` shows the host as it is",
        ) from error
    return told
