"""A recovery's data: a stack that comes up on another host is filled from a snapshot before anything of it serves.

It is a phase of an ordinary deploy, between its secrets and its one-shots. What was loaded and proven is noted, so a
recovery that is cut off and begun again goes on behind it.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.agent.backup.desk import Desk as Backing
from toolkit.agent.paths import Paths
from toolkit.agent.restoring import choice
from toolkit.agent.restoring.restoration import believe, described
from toolkit.repository.reach import Reach
from toolkit.sources.docker import Docker, service_of
from toolkit.sources.refill import Layout, Refill
from toolkit.stack.manifest import Manifest
from toolkit.stack.restoring import Desk
from toolkit.stack.site import Site
from toolkit.words import atomic
from toolkit.words.errors import HostError
from toolkit.words.values import Secret

NOTES = "recovery.json"
AT_ONCE = 3
"""Databases that are loaded side by side: nothing else runs on the machine, and all of them will."""

# A backup of a machine without a stack is over in seconds.
BACKUP_WITHIN = 600.0


def fill(
    paths: Paths,
    site: Site,
    manifest: Manifest,
    refill: Mapping[str, Any],
    secret: Secret,
    *,
    phase: Callable[[str], None],
    docker: Docker | None = None,
) -> None:
    """Load and prove everything. Raises HostError, RepositoryError, with what is done already noted."""
    phase("data")
    docker, desk = docker or Docker(), Desk(site.stack, paths.root)
    desk.prepare()
    repository = Reach.parse(refill["reach"], secret).repository(desk.run, site.listener.warn)
    snapshot = repository.open(repository.find(str(refill["snapshot"])))
    site.listener.step("make containers and volumes")
    _compose(site, manifest, "create", "--pull", "never")
    site.listener.done()
    trees = {str(name): str(path) for name, path in dict(refill["trees"]).items()}
    for path in trees.values():
        Path(path).mkdir(parents=True, exist_ok=True)
    known = choice.described(paths, docker, site.stack, site.listener.warn)
    found = choice.chosen(snapshot, docker.containers(site.stack), (), trees, known)
    for name, why in found.unplaced:
        site.listener.warn(f"{name} is not recovered: {why}")
    own = _Own(site, manifest, docker)
    filling = Refill(docker, snapshot, own, {}, site.listener, site.clock, AT_ONCE)
    with _nobody_backs_up(paths, site):
        _fill(filling, found, _Notes.of(desk, str(snapshot.name)), site)


def _fill(filling: Refill, found: Layout, notes: "_Notes", site: Site) -> None:
    notes.unplaced = [list(pair) for pair in found.unplaced]
    # Closed at once where something is wrong: nothing may be loading any more when the stack is taken down.
    with closing(filling.run([part for part in found.parts if part.name not in notes.done])) as brought:
        for one in brought:
            believe(one, site.listener.warn, hint="recover from an older snapshot with --snapshot")
            notes.note(one.source, described(one))


@contextmanager
def _nobody_backs_up(paths: Paths, site: Site) -> Iterator[None]:
    """Keep the schedule, which the provision has just switched on, from capturing what is half there."""
    deadline = site.clock.now() + BACKUP_WITHIN
    while (desk := Backing(paths)).busy() and site.clock.now() < deadline:
        site.clock.sleep(1)
    with desk.held():
        yield


def told(paths: Paths, stack: str) -> dict[str, Any]:
    """What was loaded and how it was found, for whoever reports; empty where nothing was recovered here."""
    with suppress(OSError, ValueError):
        found = json.loads((Desk(stack, paths.root).state / NOTES).read_bytes())
        if isinstance(found, dict):
            return found
    return {}


@dataclass
class _Notes:
    """What of a snapshot was loaded and proven here. Another snapshot begins anew."""

    desk: Desk
    snapshot: str
    done: dict[str, Any]
    unplaced: list[list[str]]

    @classmethod
    def of(cls, desk: Desk, snapshot: str) -> "_Notes":
        found = told(Paths(desk.root), desk.stack)
        same = found.get("snapshot") == snapshot
        return cls(desk, snapshot, dict(found["done"]) if same else {}, [])

    def note(self, source: str, about: dict[str, Any]) -> None:
        self.done[source] = about
        content = {"snapshot": self.snapshot, "done": self.done, "unplaced": self.unplaced}
        atomic.replace(self.desk.state / NOTES, json.dumps(content).encode(), mode=0o600)


@dataclass
class _Own:
    """Starts the stack's own services, by themselves; they go on running, for the deploy that they are part of."""

    site: Site
    manifest: Manifest
    docker: Docker

    def start(self, service: str) -> str:
        _compose(self.site, self.manifest, "up", "--detach", "--no-deps", "--no-recreate", "--pull", "never", service)
        for container in self.docker.containers(self.site.stack):
            if service_of(container) == service:
                return str(container["Id"])
        raise HostError(f"{service} did not start", hint="look at `docker ps --all` on the host")

    def stop(self, service: str) -> None:
        """Nothing: what comes next needs it."""


def _compose(site: Site, manifest: Manifest, *words: str) -> None:
    result = site.host.run(site.compose(manifest)(*words), check=False)
    if not result.ok:
        raise HostError(f"Compose could not {words[0]}: {result.complaint}", hint="look at `docker ps --all` there")
