"""Rules about Docker, images and what strangers reach."""

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from toolkit.stack.doctor.evidence import Evidence
from toolkit.stack.doctor.rule import Found, Rule, deploy, last, lately, there, verb

REFUSED = re.compile(
    r"pull access denied|manifest unknown|manifest for \S+ not found|unauthorized|toomanyrequests|denied: "
    r"|no basic auth|failed to resolve reference|repository does not exist",
    re.IGNORECASE,
)
# Where a deploy ended at one of these, images were what it lacked. The code is RegistryError's.
PULL_PHASES, REGISTRY = ("pull", "resolve"), 17


def _docker(evidence: Evidence) -> Iterator[Found]:
    fault = evidence.fault("docker")
    if fault:
        unit = evidence.body("units").get("known", {}).get("docker.service", {})
        seen: tuple[str, ...] = (
            (fault, f"docker.service is {unit['ActiveState']} ({unit['Result']})") if unit else (fault,)
        )
        seen += last(evidence.rows("docker journal"), 2)
        missing = unit.get("LoadState") == "not-found"
        fix = verb(evidence, "provision") if missing else there(evidence, "systemctl restart docker")
        yield Found("Docker is not installed" if missing else "Docker does not answer", seen, fix)


def _registries(evidence: Evidence) -> Iterator[Found]:
    for name, one in evidence.each("registry"):
        if one["said"] and not evidence.body("names").get(name[0]):
            cause = f"the host cannot talk to the registry {name[0]}: nothing can be pulled from it"
            yield Found(cause, (one["said"],), there(evidence, f"curl --include https://{name[0]}/v2/"))


def _pulls(evidence: Evidence) -> Iterator[Found]:
    ends = evidence.body("deploys").get("ends", [])
    if ends and ends[-1]["result"] != "deployed":
        end = ends[-1]
        if end["phase"] in PULL_PHASES or end["code"] == REGISTRY:
            cause = "the last deploy could not have its images"
            yield Found(cause, last(str(end["fault"]).splitlines()), deploy(evidence))
            return
    # Whatever was refused before, the deploy after it had all it wanted.
    since = float(ends[-1]["at"]) if ends else 0.0
    lines = [line for line in evidence.rows("docker journal") if REFUSED.search(line) and _written(line) > since]
    if lines:
        cause = "Docker was refused an image lately"
        yield Found(cause, last(lines, 2), deploy(evidence), severity=lately(evidence))


def _written(line: str) -> float:
    """Return when a line of the journal was written, by `--output short-iso`; 0 for one that does not say."""
    try:
        return datetime.strptime(line.split()[0], "%Y-%m-%dT%H:%M:%S%z").timestamp()
    except (ValueError, IndexError):
        return 0.0


def _firewall(evidence: Evidence) -> Iterator[Found]:
    rules = evidence.body("firewall")
    if not rules or not evidence.wanted.firewall:
        return
    if not rules["live"]:
        ports = sorted({one["port"] for one in _outward(evidence)}, key=int)
        listening = f"listening for everybody: {', '.join(ports)}"
        cause = "the firewall is not loaded: strangers reach every published port"
        yield Found(cause, ("the kernel has no table `inet toolkit`", listening), verb(evidence, "provision"))
    elif rules["live"] != rules["wanted"]:
        before, after = rules["wanted"].splitlines(), rules["live"].splitlines()
        seen = tuple(f"not as it should be: {line.strip()}" for line in after if line not in before)
        seen += tuple(f"missing: {line.strip()}" for line in before if line not in after)
        cause = "the firewall's rules are not those of the host file"
        yield Found(cause, seen[:6], verb(evidence, "provision"))


def _outward(evidence: Evidence) -> Iterator[Any]:
    for one in evidence.rows("listening"):
        if not one["address"].startswith("127.") and one["address"] not in ("::1",) and one["protocol"] == "tcp":
            yield one


def _closed(evidence: Evidence) -> Iterator[Found]:
    if not evidence.wanted.firewall:
        return
    wanted = {port.partition("/")[0] for port in evidence.wanted.open}
    for port, services in sorted(_published(evidence).items()):
        if port not in wanted:
            cause = f"port {port} is published for everybody, and the firewall lets nobody in"
            seen = (f"published by {', '.join(sorted(services))}", "not among machine.firewall.open of the host file")
            again = verb(evidence, "provision")
            fix = f"publish it on 127.0.0.1, or add {port} to machine.firewall.open and run `{again}`"
            yield Found(cause, seen, fix, min(services))


def _published(evidence: Evidence) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for one in evidence.containers:
        for port in one.ports:
            address = port.partition("→")[0]
            if not address.startswith(("127.", "::1", "[::1]")) and "/udp" not in port:
                found.setdefault(address.rpartition(":")[2], set()).add(one.service)
    return found


RULES = (
    Rule(
        "docker-down",
        "error",
        97,
        ("everything is down", "cannot connect to the docker daemon", "nothing answers", "site down"),
        "Docker does not answer; with live-restore, containers that ran go on.",
        "Restart it; its journal says why it ended.",
        _docker,
    ),
    Rule(
        "registry-unreachable",
        "error",
        86,
        ("image pull failure", "cannot pull images", "deploy fails"),
        "The host cannot talk to an image registry: nobody listens, a proxy is between, or TLS fails.",
        "Ask the registry by hand from the host; the answer names what is between.",
        _registries,
    ),
    Rule(
        "image-not-pulled",
        "error",
        83,
        ("image pull failure", "cannot pull images", "pull access denied", "manifest unknown", "deploy fails"),
        "A registry refused an image, or does not have it.",
        "Push the image, or give the registry's token the right to read it; then `invoke deploy`.",
        _pulls,
    ),
    Rule(
        "firewall-open",
        "error",
        76,
        ("strangers reach a port", "database reachable from outside", "port open", "firewall hole"),
        "The firewall in the kernel is not the one that the host file asks for.",
        "`invoke provision` loads it again, under a guard.",
        _firewall,
    ),
    Rule(
        "port-not-opened",
        "info",
        25,
        ("cannot reach the site", "connection times out", "port closed"),
        "A port is published for everybody, and the firewall lets nobody in.",
        "Add it to `machine.firewall.open`, or publish it on 127.0.0.1.",
        _closed,
    ),
)
