"""Care: what is done about a service that is not well, and when. Pure, and remembered across restarts of the watchdog.

The first heal comes at once; the next ones by force, and after a pause that doubles. After so many within a time, or so
many of no use in a row however long they took, the service is given up: it is told once, and left alone until it has
been healthy for a while by itself, or somebody deploys.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from toolkit.stack.service import Service
from toolkit.stack.watchdog.examine import Health
from toolkit.stack.watchdog.policy import Policy
from toolkit.words import atomic

FORMAT = "toolkit care 1"

Step = Literal["restart", "force", "recreate"]
Do = Literal["nothing", "wait", "heal", "give up", "recovered"]


@dataclass(frozen=True)
class Care:
    """The heals of a service, as times of their ends; how many of the last ones were of no use; when it was given up,
    under which release; since when it is well. Times are seconds since 1970.
    """

    heals: tuple[float, ...] = ()
    failed: int = 0
    given_up: float = 0.0
    release: str = ""
    well_since: float = 0.0


@dataclass(frozen=True)
class Decision:
    """What to do now, why, and the care as it is afterwards."""

    do: Do
    care: Care
    step: Step = "restart"
    why: str = ""


def decide(care: Care, health: Health, policy: Policy, now: float, release: str) -> Decision:
    """Return what to do about one service."""
    if care.given_up and care.release != release:
        # Somebody deployed since: it is another service now.
        care = Care()
    if health.state != "sick":
        return _not_sick(care, health, policy, now)
    care = replace(care, well_since=0.0)
    if care.given_up:
        return Decision("nothing", care, why="given up")
    recent = tuple(one for one in care.heals if now - one < policy.within)
    care = replace(care, heals=recent)
    if max(len(recent), care.failed) >= policy.restarts:
        return Decision("give up", replace(care, given_up=now, release=release))
    if recent and (left := recent[-1] + policy.pause(len(recent)) - now) > 0:
        return Decision("wait", care, why=f"the next try is due in {left:.0f} s")
    return Decision("heal", care, _step(health, len(recent) + care.failed))


def _step(health: Health, heals: int) -> Step:
    if health.kind == "gone":
        return "recreate"
    return "force" if heals else "restart"


def _not_sick(care: Care, health: Health, policy: Policy, now: float) -> Decision:
    if not care.given_up:
        return Decision("nothing", care)
    if health.state != "well":
        return Decision("nothing", replace(care, well_since=0.0), why="given up")
    since = care.well_since or now
    if now - since >= policy.healthy_after:
        return Decision("recovered", Care())
    return Decision("nothing", replace(care, well_since=since), why="given up, and well again since a moment ago")


def healed(care: Care, now: float, *, well: bool) -> Care:
    """Return the care after a heal."""
    return replace(care, heals=(*care.heals, now), failed=0 if well else care.failed + 1)


def in_the_way(name: str, services: Mapping[str, Service], ill: Mapping[str, Health]) -> str:
    """Return a service that has to be well first, because this one needs it; empty where none has."""
    seen, left = {name}, list(services[name].needs) if name in services else []
    while left:
        one = left.pop()
        if one in ill and ill[one].state in ("sick", "starting"):
            return one
        if one in services and one not in seen:
            seen.add(one)
            left.extend(services[one].needs)
    return ""


def read(path: Path) -> dict[str, Care]:
    """Return what was remembered; nothing where that is missing or damaged: then counting starts again."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        body = json.loads(path.read_bytes())
        if body["format"] == FORMAT:
            rows = body["services"].items()
            return {name: Care(**(one | {"heals": tuple(map(float, one["heals"]))})) for name, one in rows}
    return {}


def write(path: Path, cares: Mapping[str, Care]) -> None:
    """Keep it. A full disk costs the memory, not the watch."""
    body = {"format": FORMAT, "services": {name: asdict(one) for name, one in sorted(cares.items()) if one != Care()}}
    with suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        atomic.replace(path, json.dumps(body).encode(), mode=0o600)
