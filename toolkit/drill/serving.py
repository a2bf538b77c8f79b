"""Level 4: the whole stack up on the data that came back, asked as its own gate would ask, and watched."""

import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from toolkit.drill.box import Project
from toolkit.drill.rehearsal import Drill
from toolkit.drill.report import Check
from toolkit.drill.stage import Stage
from toolkit.host.local import LocalHost
from toolkit.sources.docker import service_of
from toolkit.stack import gate, probes
from toolkit.stack.containers import Verdict
from toolkit.stack.gate import Patience
from toolkit.stack.manifest import Probe, Terms
from toolkit.stack.service import Service
from toolkit.words.errors import HostError
from toolkit.words.values import Secret

_LINES = 6


def serve(drill: Drill, stage: Stage, project: Project) -> None:
    """Start what is not running yet, wait until all is healthy, ask, and watch for a while."""
    expected = _expected(stage)
    host = LocalHost(project.box.name, _nobody_to_ask)
    try:
        with drill.phase("bring up the stack"):
            complaint = _up(project, expected)
            passed = gate.wait(
                lambda: gate.look(host, project.box.name, expected),
                Patience(min(drill.wish.within, stage.manifest.terms.within), stage.manifest.terms.steady),
                clock=drill.clock,
                listener=drill.listener,
            )
        if complaint and not passed.good:
            drill.check("stack", "docker compose up", "bad", complaint)
        said = {one.service: str(one) for one in gate.diagnose(host, passed.verdicts)}
        for verdict in passed.verdicts:
            evidence = verdict.reason if verdict.good else _short(said.get(verdict.service, verdict.reason))
            drill.check(verdict.service, "healthy", "good" if verdict.good else "bad", evidence)
        with drill.phase("ask the stack", recovers=False):
            drill.add(list(_asked(drill, stage, project, host, passed.verdicts)))
            drill.clock.sleep(drill.wish.watch)
    finally:
        host.close()


def _expected(stage: Stage) -> dict[str, Service]:
    on = stage.sandbox.model["services"]
    unknown = sorted(set(on) - set(stage.manifest.services))
    if unknown:
        raise HostError(f"the release's Compose files have {', '.join(unknown)}, which its manifest does not know")
    # One copy of each is enough to see whether it works.
    return {name: replace(stage.manifest.services[name], replicas=1, one_shot=False) for name in on}


def _up(project: Project, services: Mapping[str, Service]) -> str:
    """Start everything in the order that its own conditions ask for; return Compose's complaint."""
    try:
        project.compose("up", "--detach", "--no-recreate", *sorted(services))
    except HostError as error:
        # Why a service is not healthy is told by the gate, with its own last words.
        return error.message
    return ""


def _asked(
    drill: Drill, stage: Stage, project: Project, host: LocalHost, verdicts: Sequence[Verdict]
) -> Iterator[Check]:
    addresses = _addresses(project)
    for probe in (*stage.manifest.terms.probes, *drill.wish.probes):
        yield _probed(probe, addresses, stage.sandbox.ports)
    on = {verdict.service for verdict in verdicts}
    for one in stage.manifest.terms.assertions:
        if one.service in on:
            said = list(probes.complaints(host, Terms(files=(), assertions=(one,)), verdicts))
            what = f"assertion: {one.variable or ' '.join(one.command)}"[:120]
            yield Check(one.service, what, "bad" if said else "good", "\n".join(said) or "holds")


def _probed(probe: Probe, addresses: Mapping[str, str], ports: Mapping[int, tuple[str, int]]) -> Check:
    """Ask what a probe asks, at the container that stands behind its address here."""
    parts = urllib.parse.urlsplit(probe.url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    service, inner = (parts.hostname, port) if parts.hostname in addresses else ports.get(port, ("", 0))
    if not service or service not in addresses:
        return Check("stack", f"probe {probe.url}", "good", "not asked: what answers there is off in the sandbox")
    there = parts._replace(netloc=f"{addresses[service]}:{inner}")
    # Nobody vouches for an address inside of the sandbox.
    said = probes.ask(replace(probe, url=there.geturl(), insecure=True))
    return Check(
        service, f"probe {probe.url}", "bad" if said else "good", said or f"answered {probe.status}, as expected"
    )


def _addresses(project: Project) -> dict[str, str]:
    found = {}
    for container in project.box.docker.containers(project.box.name):
        for name, network in ((container.get("NetworkSettings") or {}).get("Networks") or {}).items():
            if name.startswith(project.box.name) and network.get("IPAddress"):
                found[service_of(container)] = str(network["IPAddress"])
    return found


def _short(text: str) -> str:
    lines = text.splitlines()
    return "\n".join([lines[0], *lines[1:][-_LINES:]]) if lines else text


def _nobody_to_ask() -> Secret:
    raise HostError("a drill of level 3 or 4 needs root", hint="run it with sudo, or on a host: --on HOST")
