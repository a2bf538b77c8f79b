"""What a stack means, as `docker compose config` resolved it, for rules to look at.

Newer Compose versions know keys that we do not, and an extension may hold anything: every look inside is tolerant, and
what has another shape than the specification gives it counts as not there.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from toolkit.config.models import Machine, Stack
from toolkit.words.errors import ConfigError
from toolkit.words.values import Size

LOOPBACK = ("127.", "::1", "[::1]", "localhost")


@dataclass(frozen=True)
class Mount:
    """One entry of `volumes`."""

    kind: str
    source: str
    """A named volume, or a path; one inside the project begins with a dot."""

    target: str
    read_only: bool
    place: int
    """Where it stands in the service's list."""


@dataclass(frozen=True)
class Port:
    """One published port; `published` is empty where the Engine chooses."""

    target: str
    published: str
    address: str
    protocol: str

    @property
    def public(self) -> bool:
        """Whether it is bound to more than this machine's own loopback."""
        return not self.address.startswith(LOOPBACK)

    def __str__(self) -> str:
        return self.published or f"for {self.target}"


@dataclass(frozen=True)
class Service:
    """One service: its name, its body as it came, and the project's folder."""

    name: str
    body: Mapping[str, Any]
    directory: str = ""

    def at(self, *keys: str) -> Any:
        """Return what these keys lead to; None where one of them is missing or leads nowhere."""
        return at(self.body, *keys)

    @cached_property
    def image(self) -> str:
        return text(self.at("image"))

    @cached_property
    def environment(self) -> Mapping[str, str]:
        return {str(name): text(value) for name, value in mapping(self.at("environment")).items()}

    @cached_property
    def command(self) -> tuple[str, ...]:
        """Entrypoint and command as words, those of an inner shell line too."""
        return tuple(word for key in ("entrypoint", "command") for word in _words(self.at(key)))

    @cached_property
    def mounts(self) -> tuple[Mount, ...]:
        entries = enumerate(sequence(self.at("volumes")))
        return tuple(_mount(place, entry, self.directory) for place, entry in entries if isinstance(entry, Mapping))

    @cached_property
    def ports(self) -> tuple[Port, ...]:
        return tuple(_port(entry) for entry in sequence(self.at("ports")) if isinstance(entry, Mapping))

    @cached_property
    def networks(self) -> frozenset[str]:
        if self.at("network_mode"):
            return frozenset()
        named = self.at("networks")
        names = mapping(named) or (named if isinstance(named, list) else ())
        return frozenset(str(name) for name in names) or frozenset({"default"})

    @cached_property
    def waits_for(self) -> Mapping[str, str]:
        """The services it depends on, with the condition of each."""
        return {str(name): text(at(how, "condition")) for name, how in mapping(self.at("depends_on")).items()}

    @cached_property
    def restart(self) -> str:
        """The restart policy, in the words of `restart`; empty where there is none."""
        written = text(self.at("restart"))
        swarm = {"any": "unless-stopped", "on-failure": "on-failure", "none": "no"}
        return written or swarm.get(text(self.at("deploy", "restart_policy", "condition")), "")

    @cached_property
    def replicas(self) -> int:
        """How many containers are wanted; 1 where nothing says so."""
        for wanted in (self.at("scale"), self.at("deploy", "replicas")):
            if (count := number(wanted)) is not None:
                return int(min(max(count, 0), 10_000))
        return 1

    @cached_property
    def memory(self) -> float | None:
        """The memory limit of one container, in bytes."""
        return number(self.at("deploy", "resources", "limits", "memory")) or number(self.at("mem_limit")) or None

    @cached_property
    def cpus(self) -> float | None:
        """The CPU limit of one container, in cores."""
        cores = number(self.at("deploy", "resources", "limits", "cpus")) or number(self.at("cpus"))
        quota, period = number(self.at("cpu_quota")), number(self.at("cpu_period")) or 100_000
        return cores or (quota / period if quota and quota > 0 and period > 0 else None)


@dataclass(frozen=True)
class Capacity:
    """What the host has; None where nobody knows."""

    memory: Size | None = None
    cpus: float | None = None


@dataclass(frozen=True)
class Deployed:
    """What the host runs now: where each service's mounts come from, and which volumes hold data."""

    sources: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """Service and target to the path on the host, which is named by its content."""

    volumes: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Model:
    """Everything a rule may look at."""

    services: Mapping[str, Service]
    off: frozenset[str] = frozenset()
    """Services of profiles that are off."""

    volumes: Mapping[str, str] = field(default_factory=dict)
    """Top-level volumes, and the name of each on the host."""

    env_files: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False)
    """Env files by path; variables whose values nobody knows here are left out."""

    layers: frozenset[tuple[str, str]] = frozenset()
    """Pairs of env files that one service reads on top of each other."""

    stack: Stack | None = None
    machine: Machine | None = None
    """Of the host file, where one is looked at."""

    used: frozenset[str] = frozenset()
    """Secrets that something else in the host file is made of."""

    capacity: Capacity = field(default_factory=Capacity)
    deployed: Deployed | None = None
    sources: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """Where each service's mounts would come from with this stack, as in `Deployed`."""

    @cached_property
    def awaited(self) -> frozenset[str]:
        """Services whose completion another one waits for."""
        waits = (service.waits_for for service in self.services.values())
        return frozenset(name for one in waits for name, how in one.items() if how == "service_completed_successfully")

    def one_shot(self, service: Service) -> bool:
        """Whether a service does its work and ends: somebody waits for that, or it says `restart: "no"`."""
        return service.name in self.awaited or service.restart == "no"

    def replicas(self, service: Service) -> int:
        """How many containers are wanted, the host file's `scale` included."""
        return self.stack.scale.get(service.name, service.replicas) if self.stack else service.replicas


def read(resolved: Mapping[str, Any], whole: Mapping[str, Any] | None = None, *, directory: str = "") -> Model:
    """Make a model of what Compose resolved in the project's folder. Raises ConfigError where it has no services.

    `whole` is the same with every profile on.
    """
    services = mapping(resolved.get("services"))
    if not services:
        raise ConfigError("the stack has no services", hint="name Compose files with `services:`, or turn a profile on")
    everything = mapping((whole or resolved).get("services"))
    volumes = mapping(resolved.get("volumes"))
    return Model(
        services={str(name): Service(str(name), mapping(body), directory) for name, body in sorted(services.items())},
        off=frozenset(map(str, everything.keys() - services.keys())),
        volumes={str(name): text(at(body, "name")) or str(name) for name, body in volumes.items()},
    )


def of_host(model: Model, stack: Stack, machine: Machine, used: frozenset[str]) -> Model:
    """Return the model with the host file it belongs to."""
    return replace(model, stack=stack, machine=machine, used=used)


def at(value: object, *keys: str) -> Any:
    """Return what these keys lead to; None where one is missing."""
    for key in keys:
        if not isinstance(value, Mapping):
            return None
        value = value.get(key)
    return value


def mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def sequence(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def text(value: object) -> str:
    """Return a plain value as text; anything else is empty."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, str | int | float) else ""


def number(value: object) -> float | None:
    """Return a plain number, which Compose writes as text where it is a size; None for anything else."""
    if isinstance(value, bool) or not re.fullmatch(r"-?\d{1,18}(\.\d{1,9})?", text(value)):
        return None
    return float(text(value))


def _words(value: object) -> Iterator[str]:
    for part in value if isinstance(value, list) else [value]:
        yield from text(part).split()


def _mount(place: int, entry: Mapping[str, Any], directory: str) -> Mount:
    source = text(entry.get("source"))
    inside = directory and (source == directory or source.startswith(f"{directory}/"))
    return Mount(
        kind=text(entry.get("type")),
        source=f".{source.removeprefix(directory)}" if inside else source,
        target=text(entry.get("target")),
        read_only=entry.get("read_only") is True,
        place=place,
    )


def _port(entry: Mapping[str, Any]) -> Port:
    return Port(
        target=text(entry.get("target")),
        published=text(entry.get("published")),
        address=text(entry.get("host_ip")),
        protocol=text(entry.get("protocol")) or "tcp",
    )
