"""Moves: what bringing up a release does to each service, and why. Decided from values before anything is touched."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from toolkit.stack.containers import Container
from toolkit.stack.manifest import Manifest
from toolkit.stack.record import Record
from toolkit.stack.service import Service

Kind = Literal["keep", "start", "recreate", "roll", "run", "restart", "remove"]


@dataclass(frozen=True)
class Move:
    """What happens to one service. `downtime` is what its users notice, in words."""

    service: str
    kind: Kind
    why: str
    downtime: str = "none"

    @property
    def touches(self) -> bool:
        return self.kind != "keep"


def plan(manifest: Manifest, found: Sequence[Container], record: Record, *, one_shots: bool = True) -> tuple[Move, ...]:
    """Return a move for each service of a release, and for what runs beside it, in the order of names."""
    running: dict[str, list[Container]] = {}
    for container in found:
        running.setdefault(container.service, []).append(container)
    moves = {
        name: _move(manifest, name, running.get(name, []), record, one_shots=one_shots) for name in manifest.services
    }
    for name in sorted(running.keys() - manifest.services.keys()):
        moves[name] = Move(name, "remove", "the release does not have it", "it ends")
    moves |= dict(_dragged(manifest, moves))
    return tuple(moves[name] for name in sorted(moves))


def _move(manifest: Manifest, name: str, found: list[Container], record: Record, *, one_shots: bool) -> Move:
    service = manifest.services[name]
    if service.one_shot:
        return _one_shot(manifest, name, found, one_shots=one_shots)
    if not service.replicas:
        return Move(name, "remove", "no containers wanted", "it ends") if found else Move(name, "keep", "none wanted")
    changed = next((why for one in found if (why := _changed(manifest, name, one, record))), "")
    if not found:
        return Move(name, "start", "not running")
    if changed and any(one.anonymous for one in found):
        return Move(name, "recreate", changed, "until it is up again: it keeps data in a volume without a name")
    if changed and can_roll(manifest, name):
        return Move(name, "roll", changed)
    if changed:
        return Move(name, "recreate", changed, _downtime(manifest, name))
    if len(found) != service.replicas:
        return Move(name, "start", f"{len(found)} of {service.replicas} containers")
    if any(one.status != "running" for one in found):
        return Move(name, "start", f"is {next(one.status for one in found if one.status != 'running')}")
    if any(one.health == "unhealthy" for one in found):
        return Move(name, "restart", "it is unhealthy", "while it restarts")
    return Move(name, "keep", "unchanged")


def _one_shot(manifest: Manifest, name: str, found: list[Container], *, one_shots: bool) -> Move:
    if one_shots and manifest.services[name].replicas:
        return Move(name, "run", "a one-shot runs with each deploy")
    # Going back, its work is not done twice; what is left of another release's run goes.
    stale = [one for one in found if one.marks != manifest.marks.get(name)]
    return Move(name, "remove", "of another release") if stale else Move(name, "keep", "did its work")


def _changed(manifest: Manifest, name: str, container: Container, record: Record) -> str:
    """Return why a container has to be made anew; empty where it is as the release says."""
    wanted = manifest.marks.get(name, {})
    if container.image != manifest.pinned(name):
        return "another image"
    for label, why in (("toolkit.secrets", "a changed secret"), ("toolkit.files", "a changed file")):
        if container.marks.get(label) != wanted.get(label):
            return why
    if container.marks.get("toolkit.service") != wanted.get("toolkit.service"):
        return "a changed definition"
    return "changed by hand" if record.edited(container) else ""


def can_roll(manifest: Manifest, name: str) -> bool:
    """Whether new copies may run beside the old ones until they are healthy."""
    return why_not_roll(manifest, name) == ""


def why_not_roll(manifest: Manifest, name: str) -> str:
    """Return what forbids a service to run twice for a moment; empty where nothing does."""
    service = manifest.services[name]
    reasons = (
        (name in manifest.terms.exclusive, "it is exclusive"),
        (service.stateful, "it keeps data"),
        (bool(service.fixed_name), "its container name is fixed"),
        (bool(service.ports), "it publishes a port of the host"),
        (bool(service.joins), "it lives in another service's namespace"),
        (any(name in other.joins for other in manifest.services.values()), "another service lives in its namespace"),
        (not _checked(service), "it has no health check"),
    )
    return next((why for forbids, why in reasons if forbids), "")


def _checked(service: Service) -> bool:
    return service.check is not None and not service.check.off


def _downtime(manifest: Manifest, name: str) -> str:
    return f"until it is up again: {why_not_roll(manifest, name)}"


def _dragged(manifest: Manifest, moves: Mapping[str, Move]) -> Iterable[tuple[str, Move]]:
    """Yield services that cannot stay as they are because one that they hang on does not."""
    fresh = {name for name, move in moves.items() if move.kind in ("recreate", "roll")}
    for name, service in manifest.services.items():
        if moves[name].kind != "keep" or service.one_shot:
            continue
        if joined := fresh & set(service.joins):
            yield name, Move(name, "recreate", f"lives in the namespace of {min(joined)}", _downtime(manifest, name))
        elif followed := fresh & set(service.follows):
            yield name, Move(name, "restart", f"follows {min(followed)}", "while it restarts")


def levels(services: Mapping[str, Service], names: Iterable[str]) -> list[list[str]]:
    """Return the named services in the order in which they may start; each level waits for those before it."""
    left, ordered = set(names), list[list[str]]()
    while left:
        ready = sorted(name for name in left if not (set(services[name].needs) | set(services[name].joins)) & left)
        # Compose refuses circles; should one get here, names decide.
        level = ready or sorted(left)
        ordered.append(level)
        left -= set(level)
    return ordered
