"""The Engine's API for tests of the watchdog: containers in a list, a record of what was asked, and faults to order."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from toolkit.stack.engine import Gone, Silent
from toolkit.words.errors import HostError


@dataclass
class Box:
    """One container. `ends_as` is what it becomes when it is started: `healthy`, `unhealthy`, `exited`."""

    service: str
    id: str
    status: str = "running"
    health: str = "healthy"
    exit_code: int = 0
    oom: bool = False
    restarts: int = 0
    started: float = 0.0
    ports: dict[str, Any] = field(default_factory=dict)
    memory: int = 10_000_000
    limit: int = 100_000_000
    grace: int | None = None
    ends_as: str = "healthy"
    error: str = ""


@dataclass
class FakeEngine:
    """`refuse` returns why a request fails, by its name and the container's service; nothing where it does not."""

    now: Callable[[], float]
    boxes: list[Box] = field(default_factory=list)
    did: list[str] = field(default_factory=list)
    silent: bool = False
    refuse: Callable[[str, str], str] = field(default=lambda what, service: "")
    _ids: Any = field(default_factory=lambda: itertools.count(1))

    def add(self, service: str, **more: Any) -> Box:
        box = Box(service, f"id-{service}-{next(self._ids)}", **more)
        self.boxes.append(box)
        return box

    def of(self, service: str) -> Box:
        return next(one for one in self.boxes if one.service == service)

    def containers(self, project: str) -> list[dict[str, Any]]:
        self._answer()
        return [self._body(one) for one in self.boxes]

    def stats(self, container: str) -> dict[str, Any]:
        one = self._find(container)
        return {
            "memory_stats": {"limit": one.limit, "stats": {"anon": one.memory, "file": 10**12}},
            "cpu_stats": {"cpu_usage": {"total_usage": 5 * 10**9}},
        }

    def logs(self, container: str, lines: int) -> list[str]:
        return [f"last words of {self._find(container).service}"]

    def restart(self, container: str, *, within: float) -> None:
        self._start("restart", container)

    def kill(self, container: str) -> None:
        one = self._find(container)
        self.did.append(f"kill {one.service}")
        if one.status != "running":
            raise HostError("docker: container is not running")
        one.status, one.health = "exited", ""

    def start(self, container: str) -> None:
        self._start("start", container)

    def close(self) -> None: ...

    def _start(self, what: str, container: str) -> None:
        one = self._find(container)
        self.did.append(f"{what} {one.service}")
        if said := self.refuse(what, one.service):
            raise HostError(f"docker: {said}")
        self.revive(one)

    def revive(self, one: Box) -> None:
        one.started, one.restarts, one.memory = self.now(), 0, 10_000_000
        one.status = "exited" if one.ends_as == "exited" else "running"
        one.health = "" if one.ends_as == "exited" else one.ends_as
        one.exit_code = 3 if one.ends_as == "exited" else 0

    def _find(self, container: str) -> Box:
        self._answer()
        for one in self.boxes:
            if one.id == container:
                return one
        raise Gone("docker: No such container")

    def _answer(self) -> None:
        if self.silent:
            raise Silent("docker does not run")

    def _body(self, one: Box) -> dict[str, Any]:
        state: dict[str, Any] = {
            "Status": one.status,
            "ExitCode": one.exit_code,
            "OOMKilled": one.oom,
            "StartedAt": f"{datetime.fromtimestamp(one.started, tz=UTC):%Y-%m-%dT%H:%M:%S.%f}Z",
            "Pid": 7,
            "Error": one.error,
        }
        if one.health:
            state["Health"] = {"Status": one.health, "Log": [{"Output": f"{one.service} says no"}]}
        labels = {"com.docker.compose.service": one.service, "com.docker.compose.container-number": "1"}
        return {
            "Id": one.id,
            "Name": f"/shop-{one.service}-1",
            "State": state,
            "RestartCount": one.restarts,
            "Config": {"Image": f"{one.service}:1", "Labels": labels, "StopTimeout": one.grace},
            "NetworkSettings": {"Ports": one.ports, "Networks": {}},
            "Mounts": [],
        }
