"""The sandbox of a drill: what `docker compose config` says of a stack, made harmless.

The Compose files come out of a snapshot, so whoever had the host may have written them. Therefore only what is known
to be harmless is taken over; the rest is left out and told. What comes out can name no project, volume, network or
container but its own, publishes nothing, starts nothing again, and reaches nothing outside of itself.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from toolkit.words.errors import ConfigError

Model = Mapping[str, Any]

LABEL = "toolkit.drill"
NAME = re.compile(r"drill-[0-9a-f]{12}")
NETWORK = "inside"

# Whose only purpose is to act on something outside, by the names that people give them.
_WORKER = re.compile(
    r"(^|[-_.])(workers?|consumers?|scheduler|cron|beat|sidekiq|celery|mailer|mail|smtp|jobs?|backup|certbot)([-_.]|$)"
)

_KEPT = (
    *("image", "command", "entrypoint", "environment", "healthcheck", "user", "working_dir", "hostname"),
    *("read_only", "tmpfs", "shm_size", "ulimits", "stop_grace_period", "stop_signal", "init", "tty", "stdin_open"),
    *(
        "mem_limit",
        "mem_reservation",
        "memswap_limit",
        "cpus",
        "pids_limit",
        "cap_drop",
        "group_add",
        "platform",
        "expose",
    ),
)
# A service that names none of them gets them from the Engine anyway.
_CAPABILITIES = frozenset(
    {
        *("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE"),
        *("SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"),
    }
)
_LEFT_OUT = (
    *(
        "privileged",
        "network_mode",
        "pid",
        "ipc",
        "uts",
        "userns_mode",
        "cgroup",
        "cgroup_parent",
        "devices",
        "device_cgroup_rules",
    ),
    *("extra_hosts", "dns", "external_links", "links", "volumes_from", "sysctls", "runtime", "gpus", "isolation"),
)
_HARMLESS_FILES = frozenset({"/etc/localtime", "/etc/timezone"})


@dataclass(frozen=True)
class Bounds:
    """What a sandbox may know of the host: its own name, what stands for the stack's folders, and what stays off."""

    project: str
    stack: str
    folders: Mapping[str, str]
    """Folders of the host that was backed up, and what has their content here."""

    off: Collection[str] = ()
    on: Collection[str] = ()
    nice: bool = False
    """Whether production runs beside: then the sandbox gets a small share of the processor and the disk."""


@dataclass(frozen=True)
class Sandbox:
    """A model to start, what is off and why, what was left out, and which container port a published one stood for."""

    model: dict[str, Any]
    off: Mapping[str, str]
    notes: tuple[str, ...]
    ports: Mapping[int, tuple[str, int]] = field(default_factory=dict)


def sandbox(model: Model, bounds: Bounds) -> Sandbox:
    """Return the sandbox of a resolved model. Raises ConfigError where nothing would be left, or it is no model."""
    if not NAME.fullmatch(bounds.project):
        raise ConfigError(f"{bounds.project!r} cannot name a sandbox", hint="it is drawn, never given")
    try:
        made = _made(model, bounds)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ConfigError(f"the Compose files of the snapshot make no sense: {error}") from error
    refuse_strangers(made.model, bounds.project, bounds.stack)
    return made


def _made(model: Model, bounds: Bounds) -> Sandbox:
    services: Mapping[str, Any] = model["services"]
    off = dict(_off(services, bounds))
    running = {name: body for name, body in services.items() if name not in off}
    if not running:
        raise ConfigError("no service of the stack would run in the drill", hint="name fewer under drill.workers")
    notes: list[str] = []
    made = {name: _service(name, body, running, bounds, notes) for name, body in running.items()}
    found: dict[str, Any] = {"name": bounds.project, "services": made, "networks": {NETWORK: _network(bounds)}}
    for section, bodies in (
        ("volumes", _volumes(made, model, bounds)),
        ("secrets", _files("secrets", model, made, bounds)),
        ("configs", _files("configs", model, made, bounds)),
    ):
        if bodies:
            found[section] = bodies
    return Sandbox(found, off, tuple(dict.fromkeys(notes)), dict(_ports(running)))


def refuse_strangers(model: Model, project: str, stack: str) -> None:
    """Raise ConfigError where a model names anything that is not the sandbox's own. Asked before anything starts."""
    named = [model.get("name", "")]
    for section in ("volumes", "networks"):
        named += [str(body.get("name", "")) for body in (model.get(section) or {}).values()]
    strange = [name for name in named if name != project and not name.startswith(f"{project}_")]
    for section in ("volumes", "networks", "secrets", "configs"):
        strange += [name for name, body in (model.get(section) or {}).items() if body.get("external")]
    for name, body in model["services"].items():
        strange += [f"{name}: {key}" for key in (*_LEFT_OUT, "ports", "container_name") if key in body]
        strange += [f"{name}: restart" for _ in (1,) if body.get("restart") != "no"]
        strange += [f"{name}: network" for _ in (1,) if list(body.get("networks") or ()) != [NETWORK]]
    if not NAME.fullmatch(project) or project == stack or strange:
        told = f": {', '.join(strange)}" if strange else ""
        raise ConfigError(
            f"the sandbox {project} would touch what is not its own{told}", hint="this is a fault of ours"
        )


def _off(services: Mapping[str, Any], bounds: Bounds) -> Iterator[tuple[str, str]]:
    awaited = {
        name
        for body in services.values()
        for name, how in (body.get("depends_on") or {}).items()
        if how.get("condition") == "service_completed_successfully"
    }
    for name, body in services.items():
        if name in bounds.off:
            yield name, "named in the backup file"
        elif name in bounds.on:
            continue
        elif name in awaited or body.get("restart") == "no":
            yield name, "a one-shot: its work is in the data already"
        elif _WORKER.search(name):
            yield name, "a worker, by its name"


def _service(name: str, body: Model, running: Mapping[str, Any], bounds: Bounds, notes: list[str]) -> dict[str, Any]:
    made = {key: body[key] for key in _KEPT if body.get(key) not in (None, [], {})}
    notes += [f"{name}: {key} is left out" for key in _LEFT_OUT if body.get(key)]
    if added := sorted(_CAPABILITIES & {str(one).removeprefix("CAP_") for one in body.get("cap_add") or ()}):
        made["cap_add"] = added
    needs = {one: how for one, how in (body.get("depends_on") or {}).items() if one in running}
    if needs:
        made["depends_on"] = {one: {"condition": how.get("condition", "service_started")} for one, how in needs.items()}
    if mounts := list(_mounts(name, body, bounds, notes)):
        made["volumes"] = mounts
    for section in ("secrets", "configs"):
        if body.get(section):
            made[section] = [dict(grant) for grant in body[section]]
    limits = ((body.get("deploy") or {}).get("resources") or {}).get("limits")
    if limits:
        made["deploy"] = {
            "resources": {"limits": {key: limits[key] for key in ("cpus", "memory", "pids") if key in limits}}
        }
    if any("no-new-privileges" in str(one) for one in body.get("security_opt") or ()):
        made["security_opt"] = ["no-new-privileges:true"]
    if bounds.nice:
        made |= {"cpu_shares": 64, "blkio_config": {"weight": 10}}
    return made | {
        "restart": "no",
        "networks": {NETWORK: {"aliases": _aliases(name, body)}},
        "labels": {LABEL: bounds.project},
        "logging": {"driver": "json-file", "options": {"max-size": "1m", "max-file": "1"}},
    }


def _aliases(name: str, body: Model) -> list[str]:
    own = [alias for one in (body.get("networks") or {}).values() for alias in ((one or {}).get("aliases") or ())]
    # Whoever was found by a fixed name is found by it here as well, without having it.
    fixed = [str(body["container_name"])] if body.get("container_name") else []
    return list(dict.fromkeys([name, *map(str, own), *fixed]))


def _mounts(name: str, body: Model, bounds: Bounds, notes: list[str]) -> Iterator[dict[str, Any]]:
    for mount in body.get("volumes") or ():
        kind, target = mount.get("type"), mount["target"]
        if kind == "volume" and mount.get("source"):
            yield {
                "type": "volume",
                "source": mount["source"],
                "target": target,
                "read_only": bool(mount.get("read_only")),
            }
        elif kind in ("volume", "tmpfs"):
            yield {"type": kind, "target": target}
        elif kind == "bind" and (found := _inside(str(mount["source"]), bounds)):
            yield {"type": "bind", "source": found, "target": target, "read_only": True}
        else:
            notes.append(f"{name}: {mount.get('source') or kind} is not mounted at {target}")


def _inside(path: str, bounds: Bounds) -> str:
    """Return what has the content of a path of the backed-up host here; empty where nothing has."""
    wanted = PurePosixPath(path)
    if ".." in wanted.parts:
        return ""
    if path in _HARMLESS_FILES:
        return path
    for folder, here in bounds.folders.items():
        if wanted.is_relative_to(folder):
            return str(PurePosixPath(here) / wanted.relative_to(folder))
    return ""


def _network(bounds: Bounds) -> dict[str, Any]:
    return {
        "name": f"{bounds.project}_{NETWORK}",
        "internal": True,
        "driver_opts": {"com.docker.network.bridge.name": bridge(bounds.project)},
        "labels": {LABEL: bounds.project},
    }


def bridge(project: str) -> str:
    """The name of the sandbox's network interface on the host, known before there is one: at most 15 letters."""
    return f"dr{project.removeprefix('drill-')}"


def _volumes(made: Mapping[str, Any], model: Model, bounds: Bounds) -> dict[str, Any]:
    """Return the named volumes of what runs. One keeps its label: its name without the project's before it."""
    used = {
        mount["source"]
        for body in made.values()
        for mount in body.get("volumes", ())
        if mount["type"] == "volume" and "source" in mount
    }
    known = model.get("volumes") or {}
    found = {}
    for key in sorted(used):
        label = str((known.get(key) or {}).get("name") or key).removeprefix(f"{bounds.stack}_")
        found[key] = {"name": f"{bounds.project}_{label}", "labels": {LABEL: bounds.project}}
    return found


def _files(section: str, model: Model, made: Mapping[str, Any], bounds: Bounds) -> dict[str, Any]:
    used = {str(grant["source"]) for body in made.values() for grant in body.get(section, ())}
    found = {}
    for key in sorted(used):
        body = (model.get(section) or {}).get(key, {})
        if section == "configs" and isinstance(body.get("content"), str):
            found[key] = {"content": body["content"]}
        elif here := _inside(str(body.get("file", "")), bounds):
            found[key] = {"file": here}
        else:
            raise ConfigError(f"the {section[:-1]} {key} is not in the snapshot", hint="look at its problems")
    return found


def _ports(running: Mapping[str, Any]) -> Iterator[tuple[int, tuple[str, int]]]:
    for name, body in running.items():
        for port in body.get("ports") or ():
            if str(port.get("published") or "").isdigit():
                yield int(port["published"]), (name, int(port["target"]))
