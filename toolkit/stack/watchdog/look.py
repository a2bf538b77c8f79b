"""A look: every container of the stack as it is now, and the memory and processor that it takes."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from toolkit.stack import containers, engine
from toolkit.stack.containers import Container
from toolkit.stack.engine import Gone


class Asked(Protocol):
    """What of the Engine is needed here; `toolkit.stack.engine.Engine` is one."""

    def containers(self, project: str) -> list[dict[str, Any]]: ...

    def stats(self, container: str) -> dict[str, Any]: ...

    def logs(self, container: str, lines: int) -> list[str]: ...

    def restart(self, container: str, *, within: float) -> None: ...

    def kill(self, container: str) -> None: ...

    def start(self, container: str) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Use:
    """What a container takes: bytes that it cannot give back, its limit, and seconds of processor since its start."""

    memory: int
    limit: int
    cpu: float


@dataclass(frozen=True)
class Look:
    """What was seen, and when: seconds since 1970."""

    at: float
    containers: Sequence[Container]
    uses: Mapping[str, Use] = field(default_factory=dict)
    """By the container's id; one is missing where the Engine cannot tell."""

    ended: Mapping[str, str] = field(default_factory=dict)
    """What the Engine says of a start that failed, by the container's id."""


def look(asked: Asked, stack: str, at: float, beat: Callable[[], None] = lambda: None) -> Look:
    """Ask the Engine. `beat` is called between its answers. Raises Silent."""
    bodies = asked.containers(stack)
    found = [one for body in bodies if (one := containers.from_api(body, at)) is not None]
    uses: dict[str, Use] = {}
    for one in found:
        beat()
        if one.status == "running":
            with suppress(Gone):
                stats = asked.stats(one.id)
                if memory := engine.memory(stats):
                    uses[one.id] = Use(*memory, engine.cpu(stats) or 0.0)
    ended = {body["Id"]: error for body in bodies if (error := body["State"].get("Error"))}
    return Look(at, sorted(found, key=lambda one: (one.service, one.name)), uses, ended)
