"""Discovery: which sources a stack has, why, what is left out, and what a person should know of.

It looks at every container of the Compose project, running or not: a database that is down is a source that cannot be
captured, never one that is not there.
"""

import glob
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from toolkit.sources.docker import Docker, Inspected, service_of
from toolkit.sources.paths import mountpoint
from toolkit.sources.protocol import Place, Source
from toolkit.sources.recognise import Kind, forgets, recognise
from toolkit.sources.sqlite import Sqlite
from toolkit.sources.volume import Volume
from toolkit.words.errors import HostError

_SQLITE = b"SQLite format 3\0"
_SUFFIXES = (".db", ".db3", ".sqlite", ".sqlite3")
_LOOK = 20_000
# What the toolkit and Docker themselves put into containers.
_OURS = ("/run/secrets/", "/opt/", "/var/run/docker.sock", "/run/docker.sock", "/etc/localtime", "/etc/timezone")
_ANONYMOUS = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Found:
    """A source, where it is now, and why it is one."""

    source: Source
    place: Place
    reason: str


@dataclass(frozen=True)
class Discovery:
    """What a stack has. `left` is what is not captured, with reasons; `warnings` are for a person to act on."""

    found: tuple[Found, ...] = ()
    left: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass
class _Notes:
    found: list[Found] = field(default_factory=list)
    left: list[tuple[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def discover(docker: Docker, project: str) -> Discovery:
    """Look at a stack. Raises HostError where the Engine does not answer, or knows no such project."""
    containers = docker.containers(project)
    if not containers:
        raise HostError(f"there is no container of {project} on this host", hint="deploy it first, or check its name")
    proposed = propose(project, containers)
    found = [each for one in proposed.found for each in _with_sqlite(docker, one)]
    return replace(proposed, found=tuple(found))


def propose(project: str, containers: Sequence[Inspected]) -> Discovery:
    """The same from recorded answers of `docker inspect`, without looking into volumes."""
    notes = _Notes()
    covered: dict[str, str] = {}
    for service, group in _services(containers).items():
        if known := recognise(group[0]):
            covered |= _database(service, group, *known, notes)
    _volumes(project, containers, covered, notes)
    _binds(containers, covered, notes)
    return Discovery(tuple(notes.found), tuple(notes.left), tuple(notes.warnings))


def _services(containers: Sequence[Inspected]) -> dict[str, list[Inspected]]:
    """Containers by service, those that run first; one-off containers of `docker compose run` are left out."""
    groups: dict[str, list[Inspected]] = {}
    for container in containers:
        labels = container["Config"].get("Labels") or {}
        if labels.get("com.docker.compose.oneoff") != "True":
            groups.setdefault(service_of(container), []).append(container)
    for group in groups.values():
        group.sort(key=lambda container: not container["State"].get("Running"))
    return dict(sorted(groups.items()))


def _database(service: str, group: list[Inspected], kind: Kind, reason: str, notes: _Notes) -> dict[str, str]:
    """Note a database, and return the mounts that hold nothing but its data."""
    container, name = group[0], f"{kind.kind}/{service}"
    held = {
        str(mount.get("Name") or mount["Source"]): name
        for mount in container.get("Mounts") or ()
        if mount["Destination"].rstrip("/") in kind.data or (kind.kind == "redis" and mount["Destination"] == "/data")
    }
    if kind.kind == "redis" and (why := forgets(container)):
        notes.left.append((name, why))
        return held
    if len(group) > 1:
        notes.warnings.append(
            f"{service} has {len(group)} containers: only {container['Name'].lstrip('/')} is captured"
        )
    if not held:
        notes.warnings.append(f"{service} keeps its data in no volume: it is lost when the container is made anew")
    notes.found.append(
        Found(kind.make(name, container), Place(container=container["Id"], image=container["Image"]), reason)
    )
    return held


def _mounts(containers: Iterable[Inspected], kind: str) -> Iterator[tuple[str, dict[str, object]]]:
    for container in containers:
        for mount in container.get("Mounts") or ():
            if mount.get("Type") == kind:
                yield service_of(container), mount


def _volumes(project: str, containers: Sequence[Inspected], covered: dict[str, str], notes: _Notes) -> None:
    users: dict[str, list[str]] = {}
    writers: dict[str, list[str]] = {}
    where: dict[str, str] = {}
    for service, mount in _mounts(containers, "volume"):
        volume = str(mount["Name"])
        users.setdefault(volume, []).append(service)
        where[volume] = str(mount["Destination"])
        if mount.get("RW", True):
            writers.setdefault(volume, []).append(service)
    for volume, services in sorted(users.items()):
        shown = f"volume {volume}"
        if volume in covered:
            notes.left.append((shown, f"its data is in {covered[volume]}"))
        elif volume not in writers:
            notes.left.append((shown, f"{services[0]} only reads it"))
        elif _ANONYMOUS.fullmatch(volume):
            told = f"{writers[volume][0]} writes to {where[volume]} in a volume without a name"
            notes.warnings.append(f"{told}: it is not captured, and lost when the container is made anew; name it")
        else:
            source = Volume(name=f"volume/{volume.removeprefix(f'{project}_')}")
            reason = f"written by {', '.join(sorted(set(writers[volume])))}"
            notes.found.append(Found(source, Place(volume=volume), reason))


def _binds(containers: Sequence[Inspected], covered: dict[str, str], notes: _Notes) -> None:
    told = set()
    for service, mount in _mounts(containers, "bind"):
        path = str(mount["Source"])
        if not mount.get("RW", True) or path in covered or path.startswith(_OURS) or (service, path) in told:
            continue
        told.add((service, path))
        notes.warnings.append(f"{service} writes to {path} on this host: it is captured only if you list it as a path")


def _with_sqlite(docker: Docker, one: Found) -> Iterator[Found]:
    """Yield a source, and the SQLite files in it as sources of their own."""
    if not isinstance(one.source, Volume):
        yield one
        return
    try:
        files = sqlite_files(mountpoint(docker, one.place.volume))
    except HostError:
        files = []
    label = one.source.name.partition("/")[2]
    patterns = [glob.escape(file) + suffix for file in files for suffix in ("", "-wal", "-shm", "-journal")]
    yield replace(one, source=replace(one.source, exclude=(*one.source.exclude, *patterns)))
    for file in files:
        source = Sqlite(name=f"sqlite/{label}.{re.sub(r'[^A-Za-z0-9._-]', '-', file)}", file=file)
        yield Found(source, one.place, f"{file} in {one.source.name} is an SQLite database")


def sqlite_files(root: Path) -> list[str]:
    """Find SQLite files by their usual endings and their first bytes."""
    found = []
    for number, path in enumerate(root.rglob("*")):
        if number > _LOOK:
            break
        if path.suffix.lower() in _SUFFIXES and not path.is_symlink() and path.is_file():
            with path.open("rb") as file:
                if file.read(len(_SQLITE)) == _SQLITE:
                    found.append(str(path.relative_to(root)))
    return sorted(found)
