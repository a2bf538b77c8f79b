"""A Docker Engine with Compose for tests of the driver: containers in a list, and a record of what was asked.

It answers the commands that the driver gives, no others, and can end the test's process before or after any of them
that changes something. `Killed` is no `Exception`: nothing that catches errors stops it, as nothing stops `kill -9`.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from toolkit.host.base import failed
from toolkit.host.fake import FakeHost
from toolkit.host.protocol import Follow
from toolkit.stack import containers, gate, images, preflight, proxies, prune, rolling, stopping
from toolkit.stack.manifest import Manifest
from toolkit.words.command import Command, Result


class Killed(BaseException):
    """The machine, or this process, is gone."""


@dataclass
class Box:
    """One container."""

    id: str
    service: str
    number: int
    image: str
    marks: dict[str, str]
    status: str = "running"
    exit_code: int = 0
    health: str = "healthy"
    restarts: int = 0
    host: dict[str, Any] = field(default_factory=dict)


@dataclass
class FakeDocker(FakeHost):
    """`sick` names images whose containers are never healthy; `broken` those whose containers end with exit code 1."""

    stack: str = "shop"
    manifests: dict[str, Manifest] = field(default_factory=dict)
    boxes: list[Box] = field(default_factory=list)
    pulled: set[str] = field(default_factory=set)
    sick: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)
    ports: dict[str, str] = field(default_factory=dict)
    """Lines of `ss` by what they stand for."""

    changes: list[str] = field(default_factory=list)
    kill_at: int = -1
    refuse: Callable[[str], str] = field(default=lambda change: "")
    """Returns why a change fails; nothing where it does not."""

    _made: int = 0

    def run(self, command: Command, *, check: bool = True, follow: Follow | None = None) -> Result:
        self.ran.append(command)
        out, complaint = self._answered(command)
        result = Result(command, 1 if complaint else 0, out.encode(), complaint.encode())
        if check and not result.ok:
            raise failed(self.name, result)
        return result

    def _answered(self, asked: Command) -> tuple[str, str]:
        argv = asked.argv
        if argv[:2] == ("sh", "-c"):
            return self._script(argv[2], argv[4:])
        if "compose" in argv:
            return self._compose(argv)
        if argv[:2] == ("docker", "rm"):
            return "", self._change(f"rm {len(argv) - 3}", lambda: self._remove(set(argv[3:])))
        if argv[:2] == ("docker", "start"):
            return "", self._change("start", lambda: self._set(set(argv[2:]), "running"))
        if argv[:2] == ("docker", "info"):
            return "4 8000000000 /var/lib/docker\n", ""
        if argv[:2] == ("docker", "ps"):
            return self._listed(argv[-1]), ""
        if "manifest" in argv:
            return json.dumps({"SchemaV2Manifest": {"layers": [{"size": 1000}]}}), ""
        if argv[0] == "ss":
            return "".join(self.ports.values()), ""
        raise AssertionError(f"nobody taught this Engine: {asked}")

    def _script(self, text: str, words: tuple[str, ...]) -> tuple[str, str]:
        known: dict[str, Callable[[], tuple[str, str]]] = {
            containers.read("").argv[2]: lambda: (self._inspected(), ""),
            preflight._LACKING: lambda: ("\n".join(image for image in words if image not in self.pulled), ""),
            preflight._HAS: lambda: ("", ""),
            images._PULL: lambda: ("", self._change("pull", lambda: self.pulled.update(words[1:]))),
            gate.DIED: lambda: ("die 1\nlast words\nwhat it said last\n", ""),
            images._CHECKS: lambda: ("null\n" * len(words), ""),
            stopping._STOP: lambda: ("", self._change("stop", lambda: self._set(set(words), "exited"))),
            prune._REMOVE: lambda: ("", self._change("rmi", lambda: self.pulled.difference_update(words))),
            proxies._RELOAD: lambda: ("", ""),
            rolling._REFUSE: lambda: ("", ""),
            rolling._COUNT: lambda: ("0\n", ""),
        }
        return known[text]()

    def _change(self, name: str, work: Callable[[], object]) -> str:
        """Do something, or die before it or after it, or refuse."""
        self.changes.append(name)
        moment = 2 * (len(self.changes) - 1)
        if self.kill_at == moment:
            raise Killed(name)
        if complaint := self.refuse(name):
            return complaint
        work()
        if self.kill_at == moment + 1:
            raise Killed(name)
        return ""

    def _compose(self, argv: tuple[str, ...]) -> tuple[str, str]:
        folder = argv[argv.index("--project-directory") + 1]
        manifest = self.manifests[folder.rpartition("/")[2]]
        if "down" in argv:
            return "", self._change("down", lambda: self.boxes.clear())
        pairs = (re.fullmatch(r"(\w+)=(\d+)", word) for word in argv)
        anew = "--force-recreate" in argv
        for name, count in (pair.groups() for pair in pairs if pair):
            work = partial(self._up, manifest, name, int(count), anew=anew)
            if complaint := self._change(f"up {name}", work):
                return "", complaint
        return "", ""

    def _up(self, manifest: Manifest, name: str, count: int, *, anew: bool) -> None:
        if anew:
            self.boxes = [one for one in self.boxes if one.service != name]
        there = [one for one in self.boxes if one.service == name]
        for one in there:
            one.status = "running"
        for _ in range(count - len(there)):
            self._made += 1
            image = manifest.pinned(name)
            box = Box(f"id-{self._made}", name, self._made, image, dict(manifest.marks[name]))
            if image not in self.pulled:
                raise AssertionError(f"{image} is used before it is there")
            if image in self.sick:
                box.health = "unhealthy"
            if manifest.services[name].one_shot or image in self.broken:
                box.status, box.health, box.exit_code = "exited", "", int(image in self.broken)
            self.boxes.append(box)

    def _remove(self, ids: set[str]) -> None:
        self.boxes = [one for one in self.boxes if one.id not in ids]

    def _set(self, ids: set[str], status: str) -> None:
        for one in self.boxes:
            if one.id in ids:
                one.status = status
                one.health = "unhealthy" if one.image in self.sick else one.health and "healthy"

    def _listed(self, form: str) -> str:
        if form == "{{.Image}}":
            return "".join(f"{one.image}\n" for one in self.boxes)
        return "".join(f"{self.stack}-{one.service}-{one.number}\t{self.stack}\n" for one in self.boxes)

    def _inspected(self) -> str:
        return "\n".join(["1800000000.0", *(json.dumps(self._one(box)) for box in self.boxes), ""])

    def _one(self, box: Box) -> dict[str, Any]:
        labels = {
            "com.docker.compose.service": box.service,
            "com.docker.compose.oneoff": "False",
            "com.docker.compose.container-number": str(box.number),
        }
        state: dict[str, Any] = {
            "Status": box.status,
            "ExitCode": box.exit_code,
            "OOMKilled": False,
            "StartedAt": "2026-01-01T00:00:00.0Z",
            "Pid": 100 + box.number if box.status == "running" else 0,
        }
        if box.health and box.status == "running":
            state["Health"] = {"Status": box.health, "Log": []}
        return {
            "id": box.id,
            "name": f"/{self.stack}-{box.service}-{box.number}",
            "state": state,
            "restarts": box.restarts,
            "image": box.image,
            "labels": labels | box.marks,
            "ports": {},
            "grace": None,
            "host": box.host,
            "networks": {"net": {}},
        }
