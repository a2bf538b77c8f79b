"""A service as `docker compose config` resolved it: what a deploy has to know, and nothing else."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from toolkit.words.errors import HostError

# What Compose gives a service that says nothing.
GRACE = 10.0


@dataclass(frozen=True)
class Grant:
    """One top-level secret that a service uses, and the reader that the long syntax names; empty where it does not."""

    name: str
    uid: str = ""
    gid: str = ""
    mode: str = ""


@dataclass(frozen=True)
class Check:
    """A health check: its test as Compose has it, empty where the image brings its own; times are seconds."""

    test: tuple[str, ...] = ()
    interval: float = 30.0
    timeout: float = 30.0
    retries: int = 3
    start: float = 0.0

    @property
    def off(self) -> bool:
        return self.test[:1] == ("NONE",)

    @property
    def patience(self) -> float:
        """Seconds until Docker itself would call a container unhealthy that never answers."""
        return self.start + self.retries * (self.interval + self.timeout)


@dataclass(frozen=True)
class Limits:
    """Most that one container may take, and what is set aside for it; 0 where nothing is said. Memory is bytes."""

    memory: int = 0
    cpus: float = 0.0
    reserved_memory: int = 0
    reserved_cpus: float = 0.0


@dataclass(frozen=True)
class Service:
    """One service of a stack."""

    image: str
    replicas: int = 1
    one_shot: bool = False
    """It does its work and exits with 0: somebody waits for that, or it says `restart: "no"`."""

    configs: tuple[str, ...] = ()
    """Top-level configs it uses."""

    secrets: tuple[Grant, ...] = ()
    user: str = ""
    """Who it runs as, where the Compose files say so; otherwise its image does."""

    volumes: tuple[str, ...] = ()
    """Volumes it mounts, by name or by what says that they have none."""

    ports: tuple[str, ...] = ()
    """Published ports, such as `0.0.0.0:443/tcp`."""

    networks: tuple[str, ...] = ()
    needs: Mapping[str, str] = field(default_factory=dict)
    """Services it waits for, and until when: Compose's own conditions."""

    follows: tuple[str, ...] = ()
    """Services after whose change it is restarted: `depends_on` with `restart: true`."""

    joins: tuple[str, ...] = ()
    """Services whose network or process space it lives in: it cannot outlive their containers."""

    fixed_name: str = ""
    grace: float = GRACE
    check: Check | None = None
    """None where the Compose files say nothing: then the image decides."""

    limits: Limits = Limits()

    @property
    def stateful(self) -> bool:
        """Whether it keeps something: such a service is never run twice at a time."""
        return bool(self.volumes) and not self.one_shot


def parse_model(text: str) -> dict[str, Service]:
    """Read `docker compose config --format json`. Raises HostError where it is none."""
    services = bodies(text)
    awaited = {name for body in services.values() for name in _awaited(body)}
    return {name: _service(name, body, name in awaited) for name, body in services.items()}


def bodies(text: str) -> dict[str, dict[str, Any]]:
    """Return each service as Compose wrote it. Raises HostError."""
    try:
        return dict(json.loads(text)["services"])
    except (ValueError, KeyError, TypeError) as error:
        raise HostError("`docker compose config` gave no services", hint="run it by hand with --debug") from error


def _awaited(body: Mapping[str, Any]) -> list[str]:
    wanted = body.get("depends_on") or {}
    return [name for name, how in wanted.items() if how.get("condition") == "service_completed_successfully"]


def _service(name: str, body: Mapping[str, Any], awaited: bool) -> Service:
    if not body.get("image"):
        raise HostError(
            f"service {name} has no image", hint="add `image:` beside `build:`; a server runs images, it builds none"
        )
    needed = body.get("depends_on") or {}
    return Service(
        image=body["image"],
        replicas=int(body.get("scale", (body.get("deploy") or {}).get("replicas", 1))),
        one_shot=awaited or body.get("restart") == "no",
        configs=tuple(grant["source"] for grant in body.get("configs") or ()),
        secrets=tuple(_grant(grant) for grant in body.get("secrets") or ()),
        user=str(body.get("user") or ""),
        volumes=tuple(_volumes(body)),
        ports=tuple(_ports(body)),
        networks=tuple(sorted(body.get("networks") or ())),
        needs={name: how.get("condition", "service_started") for name, how in needed.items()},
        follows=tuple(name for name, how in needed.items() if how.get("restart")),
        joins=tuple(_joined(body)),
        fixed_name=body.get("container_name", ""),
        grace=seconds(body["stop_grace_period"]) if "stop_grace_period" in body else GRACE,
        check=_check(body["healthcheck"]) if body.get("healthcheck") else None,
        limits=_limits(body),
    )


def _grant(body: Mapping[str, Any]) -> Grant:
    # Compose writes a mode as text ("0440") or, in older versions, as the number it stands for.
    mode = body.get("mode") or ""
    return Grant(
        name=body["source"],
        uid=str(body.get("uid") or ""),
        gid=str(body.get("gid") or ""),
        mode=f"{mode:04o}" if isinstance(mode, int) else mode,
    )


def _volumes(body: Mapping[str, Any]) -> Iterator[str]:
    for mount in body.get("volumes") or ():
        # An anonymous one is kept too, as long as Compose itself makes the container anew.
        if mount.get("type") == "volume":
            yield mount.get("source") or f"anonymous at {mount.get('target')}"


def _ports(body: Mapping[str, Any]) -> Iterator[str]:
    for port in body.get("ports") or ():
        published = str(port.get("published") or "")
        first, _, last = published.partition("-")
        for number in range(int(first), int(last or first) + 1) if first.isdigit() else ():
            yield f"{port.get('host_ip') or '0.0.0.0'}:{number}/{port.get('protocol', 'tcp')}"  # noqa: S104


def _joined(body: Mapping[str, Any]) -> Iterator[str]:
    for key in ("network_mode", "ipc", "pid"):
        kind, _, name = str(body.get(key) or "").partition(":")
        if kind == "service":
            yield name


def _check(body: Mapping[str, Any]) -> Check:
    if body.get("disable"):
        return Check(test=("NONE",))
    usual = Check()
    test = body.get("test") or ()
    return Check(
        test=("CMD-SHELL", test) if isinstance(test, str) else tuple(test),
        interval=seconds(body.get("interval", usual.interval)),
        timeout=seconds(body.get("timeout", usual.timeout)),
        retries=int(body.get("retries", usual.retries)),
        start=seconds(body.get("start_period", usual.start)),
    )


def _limits(body: Mapping[str, Any]) -> Limits:
    resources = (body.get("deploy") or {}).get("resources") or {}
    most, least = resources.get("limits") or {}, resources.get("reservations") or {}
    quota, period = float(body.get("cpu_quota") or 0), float(body.get("cpu_period") or 100_000)
    return Limits(
        memory=int(most.get("memory") or body.get("mem_limit") or 0),
        cpus=float(most.get("cpus") or body.get("cpus") or max(quota, 0) / period),
        reserved_memory=int(least.get("memory") or body.get("mem_reservation") or 0),
        reserved_cpus=float(least.get("cpus") or 0),
    )


_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


def seconds(written: str | float) -> float:
    """Read a duration as Go writes it: `1h0m10s`, `500ms`; Engines give nanoseconds as a number elsewhere, not here."""
    if isinstance(written, int | float):
        return float(written)
    return sum(float(number) * _UNITS[unit] for number, unit in re.findall(r"([0-9.]+)(ms|us|µs|ns|h|m|s)", written))
