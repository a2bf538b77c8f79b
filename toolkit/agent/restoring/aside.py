"""Aside: fresh volumes beside those in use, and a stack's own databases started once more on them.

Nothing here touches what runs: a server beside has no name on the stack's networks and publishes no port.
"""

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from toolkit.agent.restoring.swap import Swap
from toolkit.sources.docker import Docker, Inspected, service_of
from toolkit.sources.paths import mountpoint
from toolkit.sources.refill import Part
from toolkit.stack.manifest import Manifest
from toolkit.stack.site import Site
from toolkit.words.errors import HostError

LABEL = "toolkit.restore"
_GRACE = 120


def swaps_for(docker: Docker, parts: Sequence[Part], restore_id: str) -> tuple[Swap, ...]:
    """Name what will be exchanged for what. Raises HostError for a volume that is no directory of its own."""
    volumes = dict.fromkeys(name for part in parts for name in part.volumes)
    paths = dict.fromkeys(part.place.path for part in parts if part.place.path)
    swaps = [_volume(docker, volume, f"{volume}.restore-{restore_id}") for volume in volumes]
    return (*swaps, *(_path(Path(path), restore_id) for path in paths))


def swap_within(docker: Docker, part: Part, within: str, restore_id: str) -> Swap:
    """Name one path of a source and what will be in its place. Raises HostError where its folder is not there."""
    (whole,) = swaps_for(docker, [part], restore_id)
    one = replace(whole, within=within, inode=0)
    folder = within.rpartition("/")[0]
    with suppress(FileNotFoundError), one.folder():
        return replace(one, inode=one.now())
    hint = f"put a folder further up back, such as --path {part.name}/{within.partition('/')[0]}"
    raise HostError(f"{folder} is not there in {part.name}, so nothing can be put into it", hint=hint)


def _volume(docker: Docker, volume: str, beside: str) -> Swap:
    found = docker.inspect("volume", volume)[0]
    if found["Driver"] != "local" or (found.get("Options") or {}).get("device"):
        hint = "restore it with `--to DIR` and copy, or without its sources by --source"
        raise HostError(f"volume {volume} lies on a device of its own: it cannot be exchanged", hint=hint)
    live = mountpoint(docker, volume)
    return Swap(str(live), str(live.parent.parent / beside / live.name), live.stat().st_ino, volume, beside)


def _path(path: Path, restore_id: str) -> Swap:
    path.mkdir(parents=True, exist_ok=True)
    if path.is_mount():
        hint = "restore it with `--to DIR` and copy, or without it by --source"
        raise HostError(f"{path} is a mount of its own: it cannot be exchanged", hint=hint)
    return Swap(str(path), f"{path}.restore-{restore_id}", path.stat().st_ino)


def make(docker: Docker, swaps: Iterable[Swap], restore_id: str) -> None:
    """Make the fresh volumes and directories. Raises HostError."""
    for swap in swaps:
        if swap.volume:
            labels = ("--label", f"{LABEL}={restore_id}", "--label", f"{LABEL}.of={swap.volume}")
            docker.run("volume", "create", *labels, swap.beside_volume)
        else:
            Path(swap.beside).mkdir(mode=0o700)


def remove(docker: Docker, swaps: Iterable[Swap]) -> None:
    """Remove what lies beside, and whatever container still uses it. Raises HostError where it stays."""
    for swap in swaps:
        if not swap.beside_volume:
            shutil.rmtree(swap.beside, ignore_errors=True)
            continue
        found = docker.run("ps", "--all", "--quiet", "--filter", f"volume={swap.beside_volume}").text.split()
        if found:
            docker.run("rm", "--force", "--volumes", *found)
        docker.run("volume", "rm", "--force", swap.beside_volume)


def used_by(containers: Sequence[Inspected], swaps: Sequence[Swap]) -> set[str]:
    """The services whose containers mount what will be exchanged."""
    volumes = {swap.volume for swap in swaps if swap.volume}
    paths = [Path(swap.live) for swap in swaps if not swap.volume]
    found = set()
    for container in containers:
        for mount in container.get("Mounts") or ():
            source = Path(str(mount.get("Source") or "/nowhere"))
            near = any(source.is_relative_to(path) or path.is_relative_to(source) for path in paths)
            if mount.get("Name") in volumes or (mount.get("Type") == "bind" and near):
                found.add(service_of(container))
    return found


def with_dependents(manifest: Manifest, services: Iterable[str]) -> tuple[str, ...]:
    """Those services and all that need them: whoever writes to a database is stopped with it."""
    found, grown = set(services) & manifest.services.keys(), True
    while grown:
        more = {
            name
            for name, one in manifest.services.items()
            if name not in found and not one.one_shot and (set(one.needs) | set(one.joins)) & found
        }
        grown = bool(more)
        found |= more
    return tuple(sorted(found))


@dataclass
class Beside:
    """Starts a service's container once more, on the fresh volumes."""

    docker: Docker
    site: Site
    manifest: Manifest
    containers: Sequence[Inspected]
    volumes: Mapping[str, str]
    restore_id: str
    _names: dict[str, str] = field(default_factory=dict)

    def start(self, service: str) -> str:
        """Raises HostError, in Compose's words, where it does not start."""
        name = self._names[service] = f"toolkit-restore-{self.restore_id}-{service}"
        one = next(each for each in self.containers if service_of(each) == service)
        mounts = [
            f"{self.volumes[str(mount['Name'])]}:{mount['Destination']}"
            for mount in one.get("Mounts") or ()
            if mount.get("Name") in self.volumes
        ]
        options = [word for mount in mounts for word in ("--volume", mount)]
        run = self.site.compose(self.manifest)("run", "--detach", "--no-deps", "--name", name, *options, service)
        result = self.site.host.run(run, check=False)
        if not result.ok:
            raise HostError(f"{service} cannot be started beside: {result.complaint}", hint="look at its image")
        return name

    def stop(self, service: str) -> None:
        """Let it end in its own time, so that its files are whole."""
        name = self._names.pop(service)
        self.docker.run("stop", "--time", _GRACE, name, timeout=_GRACE + 30)
        self.docker.run("rm", "--force", "--volumes", name)
        os.sync()
