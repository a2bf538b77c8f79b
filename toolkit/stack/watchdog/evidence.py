"""Evidence: what is to be seen of a service that is not well, gathered before anything is done about it."""

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.stack import redact
from toolkit.stack.containers import Container
from toolkit.stack.manifest import Manifest
from toolkit.stack.place import Place
from toolkit.stack.redact import Redactor
from toolkit.stack.watchdog.examine import Health
from toolkit.stack.watchdog.look import Asked, Look
from toolkit.words.errors import HostError

LINES = 20
LONGEST = 500


@dataclass(frozen=True)
class Scene:
    """Where evidence comes from: two looks, for what was used between them, and the release that runs."""

    place: Place
    manifest: Manifest
    look: Look
    before: Look | None

    def gather(self, asked: Asked, health: Health) -> dict[str, Any]:
        """Return what is to be seen, without secrets. Whatever cannot be had is left out."""
        found = {
            "containers": [self._container(asked, one) for one in health.containers],
            "host": host(self.place.root),
            "release": {key: getattr(self.manifest, key) for key in ("id", "created", "who", "commit")},
        }
        redactor = Redactor(redact.known(self.place.root, self.place.stack))
        cleaned: dict[str, Any] = redactor.value(found)
        return cleaned

    def _container(self, asked: Asked, one: Container) -> dict[str, Any]:
        found: dict[str, Any] = {
            "name": one.name,
            "image": one.image,
            "status": one.status,
            "health": one.health,
            "exit_code": one.exit_code,
            "oom_killed": one.oom_killed,
            "restarts": one.restarts,
            "age": round(one.age, 1),
            "health_log": [line[:LONGEST] for line in one.health_log],
        }
        if use := self.look.uses.get(one.id):
            found |= {"memory": use.memory, "memory_limit": use.limit}
        if (share := self._cpu(one)) is not None:
            found["cpu"] = share
        with suppress(HostError):
            found["last_lines"] = [line[:LONGEST] for line in asked.logs(one.id, LINES)]
        return found

    def _cpu(self, one: Container) -> float | None:
        """Return the share of one processor that a container took since the look before."""
        if self.before is None or one.id not in self.look.uses or one.id not in self.before.uses:
            return None
        seconds = self.look.at - self.before.at
        used = self.look.uses[one.id].cpu - self.before.uses[one.id].cpu
        return round(used / seconds, 2) if seconds > 0 and used >= 0 else None


def host(root: Path = Path("/")) -> dict[str, Any]:
    """Return memory, load and room of the machine; sizes are bytes."""
    found: dict[str, Any] = {}
    with suppress(OSError, ValueError):
        found |= memory()
        found["load"] = round(os.getloadavg()[0], 2)
    for name, path in (("root", root), ("docker", root / "var/lib/docker")):
        with suppress(OSError):
            room = os.statvfs(path)
            found[f"disk_free_{name}"] = room.f_bavail * room.f_frsize
            found[f"inodes_free_{name}"] = room.f_favail
    return found


def memory() -> Mapping[str, int]:
    """Return the machine's memory, and how much of it is to be had, in bytes."""
    lines = dict(line.partition(":")[::2] for line in Path("/proc/meminfo").read_text().splitlines())
    return {
        name: int(lines[key].split()[0]) * 1024
        for name, key in (("memory_total", "MemTotal"), ("memory_available", "MemAvailable"))
    }
