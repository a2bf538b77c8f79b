"""Examining: which services are not well, and how, from what was seen. Pure; what has to be remembered is passed on."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from toolkit.stack.containers import CRASHES, STEADY, Container
from toolkit.stack.manifest import Manifest
from toolkit.stack.service import Service
from toolkit.stack.watchdog.look import Look
from toolkit.stack.watchdog.policy import Policy
from toolkit.words.values import Size

Kind = Literal["gone", "dead", "crashing", "hung", "leaking", "silent"]
"""Removed; ended and not started again; ending again and again; unhealthy; taking ever more memory; not answering."""

State = Literal["well", "starting", "paused", "sick"]

# Without a health check nobody says when a service is ready to answer: it gets this long, seconds.
UNCHECKED = 60.0
# One that has just become healthy may still be opening its ports.
JUST = 5.0


@dataclass(frozen=True)
class Health:
    """How one service is. `containers` are those that are not well."""

    service: str
    state: State
    kind: Kind | None = None
    reason: str = ""
    containers: tuple[Container, ...] = ()


@dataclass(frozen=True)
class Past:
    """What earlier looks found, by a container's id: looks in a row with too much memory; restarts, and since when."""

    high: Mapping[str, int] = field(default_factory=dict)
    restarts: Mapping[str, tuple[float, int]] = field(default_factory=dict)


def watched(manifest: Manifest, policy: Policy) -> dict[str, Service]:
    """Return the services that have to run, and are not left alone."""
    return {
        name: one
        for name, one in manifest.services.items()
        if not one.one_shot and one.replicas and name not in policy.leave
    }


def remember(past: Past, look: Look, policy: Policy, machine: int) -> Past:
    """Return the past as of this look. `machine` is the host's memory in bytes; 0 where nobody knows."""
    running = [one for one in look.containers if one.status in ("running", "restarting")]
    high = {one.id: past.high.get(one.id, 0) + 1 for one in running if _is_high(look, one, policy, machine)}
    restarts = {one.id: _since(past.restarts.get(one.id), one, look.at, policy) for one in running}
    return Past(high, restarts)


def _since(before: tuple[float, int] | None, one: Container, now: float, policy: Policy) -> tuple[float, int]:
    # Counting starts again after a while: three crashes in a year are no crash loop.
    if before is None or now - before[0] > policy.within or one.restarts < before[1]:
        return now, one.restarts
    return before


def _is_high(look: Look, one: Container, policy: Policy, machine: int) -> bool:
    use = look.uses.get(one.id)
    if use is None:
        return False
    own = use.limit * policy.memory / 100
    # A container without a limit has the machine's memory as one.
    limits = [own] if machine and use.limit < machine else []
    return use.memory >= min([*limits, machine * policy.host_memory / 100 if machine else own])


def examine(
    services: Mapping[str, Service],
    look: Look,
    past: Past,
    policy: Policy,
    complaints: Mapping[str, str] | None = None,
) -> dict[str, Health]:
    """Return how each service is. `past` includes this look; `complaints` say by service what does not answer."""
    found: dict[str, list[Container]] = {name: [] for name in services}
    for one in look.containers:
        if one.service in found:
            found[one.service].append(one)
    health = {name: _service(name, services[name], found[name], look, past, policy) for name in services}
    return {name: _heard(one, found[name], (complaints or {}).get(name, "")) for name, one in health.items()}


def _service(name: str, service: Service, found: Sequence[Container], look: Look, past: Past, policy: Policy) -> Health:
    judged = [(one, *_container(one, look, past, policy)) for one in found]
    for kind in ("crashing", "dead", "hung", "leaking"):
        if sick := [one for one, its, _ in judged if its == kind]:
            reason = next(why for _, its, why in judged if its == kind)
            return Health(name, "sick", kind, reason, tuple(sick))
    if len(found) < service.replicas:
        return Health(name, "sick", "gone", f"{len(found)} of {service.replicas} containers are there")
    if any(one.status == "paused" for one in found):
        return Health(name, "paused", reason="paused")
    starting = any(not _is_up(one) for one in found)
    return Health(name, "starting" if starting else "well")


def _container(one: Container, look: Look, past: Past, policy: Policy) -> tuple[Kind | None, str]:
    before = past.restarts.get(one.id, (look.at, one.restarts))[1]
    again = one.restarts if one.status == "restarting" else one.restarts - before
    if again >= CRASHES:
        return "crashing", f"ended {one.restarts} times with exit code {one.exit_code}{_by_kernel(one)}"
    if one.status in ("exited", "dead", "created"):
        failed = look.ended.get(one.id, "")
        return "dead", failed or f"ended with exit code {one.exit_code}{_by_kernel(one)}"
    if one.status == "running" and one.health == "unhealthy":
        return "hung", "its health check fails"
    if past.high.get(one.id, 0) >= policy.polls:
        use = look.uses[one.id]
        return "leaking", f"takes {Size(use.memory)} of memory, of {Size(use.limit)}"
    return None, ""


def _by_kernel(one: Container) -> str:
    return ": the kernel killed it for memory" if one.oom_killed else ""


def _is_up(one: Container) -> bool:
    return one.status == "running" and (one.health == "healthy" if one.health else one.age >= STEADY)


def ready(found: Iterable[Container]) -> list[Container]:
    """Return containers that should answer by now."""
    return [one for one in found if _is_up(one) and one.age >= (JUST if one.health else UNCHECKED)]


def _heard(health: Health, found: Sequence[Container], complaint: str) -> Health:
    """Take into account what does not answer; whoever is not well in another way is that first."""
    if not complaint or health.state != "well" or len(ready(found)) < len(found):
        return health
    return replace(health, state="sick", kind="silent", reason=complaint, containers=tuple(found))
