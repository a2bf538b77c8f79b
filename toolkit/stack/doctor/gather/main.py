"""The whole of gathering: a request comes in as JSON, evidence goes out as JSON."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from toolkit.stack import redact
from toolkit.stack.doctor.gather import bundle, containers, machine, state, stores, web
from toolkit.stack.doctor.gather.containers import Body
from toolkit.stack.doctor.gather.tasks import Task, answers
from toolkit.stack.engine import Engine
from toolkit.stack.place import Place
from toolkit.stack.redact import Known, Redactor

FORMAT = "toolkit evidence 1"
# The Engine's own list first, then everything at once: a healthy host is done in a second, a busy one gets its time.
FIRST, WITHIN = 4.0, 8.0
OOM_WITHIN = 3600.0


def main(given: bytes) -> None:
    """Answer one request on standard output."""
    request = json.loads(given)
    root = Path(request.get("root", "/"))
    found = gather(root, request)
    sys.stdout.write(json.dumps(found))
    sys.stdout.flush()
    # Whatever still hangs is left behind.
    os._exit(0)


def gather(root: Path, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the evidence, section by section: `{"value": …}` or `{"fault": …}`; with a bundle where one is wanted."""
    place = Place(request["stack"], root)
    bodies, docker = _first(root, request["stack"])
    secrets = [*redact.known(root, request["stack"]), *_of_environments(bodies)]
    described = containers.described(root, bodies)
    sections = docker | answers(dict(_tasks(root, place, request, bodies, described)), WITHIN)
    sections["described"] = {"value": described}
    found = {"format": FORMAT, "stack": request["stack"], "now": time.time(), "sections": _said(sections, secrets)}
    if request.get("lines"):
        told = bundle.files(root, place, bodies, request["lines"])
        cleaner = Redactor([*secrets, *redact.settings(root, request["stack"])])
        found["bundle"] = {"files": cleaner.value(told), "evidence": cleaner.value(found)}
    return found


def _first(root: Path, stack: str) -> tuple[list[Body], dict[str, Any]]:
    """Return what the Engine says of the stack, and how the Engine is; nothing where it does not answer."""

    def ask() -> dict[str, Any]:
        engine = Engine(root, patience=FIRST)
        info, found = engine.get("/info"), engine.containers(stack) if stack else []
        mirrors = (info.get("RegistryConfig") or {}).get("Mirrors") or []
        kept = {"version": info["ServerVersion"], "root": info["DockerRootDir"], "mirrors": mirrors}
        return {"bodies": found, "engine": kept | {"driver": info["Driver"], "warnings": info.get("Warnings") or []}}

    told = answers({"docker": ask}, FIRST + 0.5)["docker"]
    if "value" not in told:
        return [], {"docker": told}
    return told["value"]["bodies"], {"docker": told | {"value": told["value"]["engine"]}}


def _of_environments(bodies: Sequence[Body]) -> Iterator[Known]:
    for body in bodies:
        yield from redact.of_environment(body["Config"].get("Env") or ())


def _tasks(
    root: Path, place: Place, request: Mapping[str, Any], bodies: Sequence[Body], described: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[str, Task]]:
    yield from _of_machine(root, request)
    if not request["stack"]:
        return
    kept: dict[str, Task] = {
        "deploys": partial(state.deploys, place),
        "manifest": partial(state.manifest, place),
        "record": partial(state.record, place),
        "watchdog": partial(state.watchdog, place),
    }
    yield from kept.items()
    if bodies:
        yield from _of_stack(root, place, request, bodies, described)


def _of_machine(root: Path, request: Mapping[str, Any]) -> Iterator[tuple[str, Task]]:
    tasks: dict[str, Callable[[], Any]] = {
        "clock": machine.clock,
        "disks": partial(
            machine.disks, root, ("/", "/var/lib/docker", "/var/lib/toolkit", "/opt", "/var/log", "/boot")
        ),
        "memory": machine.memory,
        "killed": machine.killed,
        "names": partial(machine.names, request["names"]),
        "units": machine.units,
        "reboot": partial(machine.reboot, root),
        "listening": machine.listening,
        "agent": partial(machine.agent, root),
        "secrets": partial(machine.secrets, root),
        "notify": partial(state.told, root),
        "backups": partial(state.backups, root),
        "docker journal": partial(machine.journal, "docker.service", 60, "-1h"),
    }
    yield from tasks.items()
    for host in request["registries"]:
        yield f"registry {host}", partial(web.registry, root, host)
    if request["firewall"]:
        yield "firewall", partial(machine.firewall, request["firewall"])


def _of_stack(
    root: Path, place: Place, request: Mapping[str, Any], bodies: Sequence[Body], described: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[str, Task]]:
    now = time.time()
    owners = {one["ip"]: each["service"] for each in described for one in each["networks"].values() if one["ip"]}
    yield "inspected", partial(containers.inspected, place.stack)
    yield "events", lambda: containers.events(Engine(root), now, OOM_WITHIN)
    yield "certificates", partial(web.certificates, bodies, request["tls"])
    yield "kept certificates", partial(web.kept, root, bodies)
    yield "probes", lambda: web.probed(_probes(place))
    for name, address, port in web.ports(bodies, described):
        for path in ("/health", "/metrics"):
            yield f"http {name} {port} {path}", partial(web.answer, address, port, path)
    keys = stores.passwords(root, place.stack, bodies)
    for body, one in zip(bodies, described, strict=True):
        yield f"log {one['name']}", partial(_log, root, body)
        address = next((each["ip"] for each in one["networks"].values() if each["ip"]), "")
        if body["State"]["Status"] == "running" and one["kind"] == "redis" and address:
            yield f"redis {one['service']}", partial(stores.redis, address, keys, owners)
        if body["State"]["Status"] == "running" and one["kind"] == "postgres":
            yield f"postgres {one['service']}", partial(stores.postgres, one["id"])


def _probes(place: Place) -> list[dict[str, Any]]:
    text = state.manifest(place)
    return list(json.loads(text)["terms"]["probes"]) if text else []


def _log(root: Path, body: Body) -> dict[str, Any]:
    running = body["State"]["Status"] == "running"
    lines = Engine(root).logs(body["Id"], containers.LINES, minutes=RECENT if running else 0)
    return {
        "words": containers.words(lines),
        "last": [line[: containers.LONGEST] for line in lines[-containers.LAST :]],
    }


# Of a service that runs, only what it wrote lately counts; minutes.
RECENT = 5


def _said(sections: Mapping[str, dict[str, Any]], secrets: Sequence[Known]) -> dict[str, Any]:
    """Return the sections without secrets in what services, programs and the Engine said.

    What rules compare, such as names of services and databases, is not touched: it holds no secret by its making.
    """
    cleaner = Redactor(secrets)
    free = ("log ", "http ", "probes", "docker journal", "deploys", "watchdog", "registry ", "inspected", "notify")
    found = {}
    for name, section in sections.items():
        if "fault" in section:
            section = section | {"fault": cleaner.text(section["fault"])}
        elif name.startswith(free):
            section = section | {"value": cleaner.value(section["value"])}
        found[name] = section
    with suppress(KeyError):
        for one in found["described"]["value"]:
            one["error"] = cleaner.text(one["error"])
    for name, section in found.items():
        # Keys of a Redis may be made of anything.
        if name.startswith("redis ") and "value" in section:
            section["value"]["lists"] = cleaner.value(section["value"].get("lists", []))
    return found
