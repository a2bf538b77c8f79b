"""Refill: what a snapshot holds of a stack, back in its place and proven there, source by source.

Files are written before anything starts, and Redis before its server does. Then each database is started by itself,
waited for, loaded and proven. Who starts a service, and which volumes are meant, is the caller's affair: a restore
fills volumes beside those in use, a recovery the stack's own, a drill those of a sandbox. Databases have nothing in
common but the machine, so where that has nothing else to do, several are loaded side by side.
"""

import threading
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Protocol

from toolkit.repository.manifest import SourceInfo
from toolkit.repository.pools import workers
from toolkit.repository.read import Snapshot
from toolkit.sources import ready
from toolkit.sources.discover import Found
from toolkit.sources.docker import Docker, Inspected, service_of
from toolkit.sources.protocol import Facts, Place, Probe, Source, Verdict
from toolkit.sources.recognise import recognise
from toolkit.sources.sqlite import COPY, Sqlite
from toolkit.sources.stored import Followed, FromSnapshot, facts_of
from toolkit.sources.together import Together
from toolkit.sources.volume import Directory, Volume
from toolkit.words.clock import Clock, SystemClock
from toolkit.words.errors import Error
from toolkit.words.report import Listener, Silent

ORDER = ("volume", "path", "sqlite", "redis", "clickhouse", "mysql", "postgres")
"""What is a file to its server comes before any server starts; an SQLite file lies in a volume."""

SERVED = ("redis", "clickhouse", "mysql", "postgres")
_NOTHING: Mapping[str, str] = MappingProxyType({})


class Servers(Protocol):
    """How services are started by themselves, here or in a sandbox."""

    def start(self, service: str) -> str:
        """Start one service and nothing else; return its container. Raises HostError. One is started at a time."""

    def stop(self, service: str) -> None:
        """Its data was loaded and proven: stop it, or leave it running for what comes next. Any thread may call it."""


@dataclass(frozen=True)
class Part:
    """One source of a snapshot and where it goes.

    `service` is whose server it is, empty for files. `volumes` has the names that hold its data in the stack, before
    they are renamed; a server's place has no container before it is started.
    """

    source: Source
    place: Place
    service: str = ""
    volumes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.source.name


@dataclass(frozen=True)
class Layout:
    """Where everything goes. `unplaced` has sources of the snapshot that have no place here, with reasons."""

    parts: tuple[Part, ...]
    unplaced: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Refilled:
    """One source that is back: how long its load and its probe took, in seconds, and what the probe found."""

    source: str
    kind: str
    load_seconds: float
    probe_seconds: float
    probe: Probe

    @property
    def good(self) -> bool:
        return self.probe.good


def sources_in(infos: Sequence[SourceInfo], trees: Collection[str] = ()) -> dict[str, str]:
    """The sources that a snapshot holds, by name, with their kinds: `postgres/db`, whatever lies below that.

    `trees` names directories of the host that are captured beside the stack; they count as paths.
    """
    found: dict[str, str] = {}
    for info in infos:
        if info.name in trees:
            found[info.name] = "path"
        elif info.kind in ORDER and "/" in info.name:
            found.setdefault("/".join(info.name.split("/")[:2]), info.kind)
    return found


def services_in(snapshot: Snapshot) -> dict[str, str]:
    """The service of each source, as whoever captured it wrote it down."""
    told = snapshot.manifest.facts.get("sources")
    found = told if isinstance(told, Mapping) else {}
    return {
        str(name): str(one["service"]) for name, one in found.items() if isinstance(one, Mapping) and "service" in one
    }


def layout(
    snapshot: Snapshot,
    containers: Sequence[Inspected],
    *,
    found: Sequence[Found] = (),
    trees: Mapping[str, str] = _NOTHING,
    only: Collection[str] = (),
) -> Layout:
    """Find the place of each source of a snapshot among a project's containers, which need not run.

    `found` has sources as a person corrected them; `trees` where directories of the host belong, by their names in the
    snapshot; `only` the sources that are wanted. A path of the host is taken from these two alone: whoever had the host
    that was backed up could have named any.
    """
    paths = [Found(Directory(name=name), Place(path=path), "listed") for name, path in trees.items()]
    by_name = {one.source.name: one for one in (*found, *paths)}
    services = services_in(snapshot)
    by_service = {service_of(container): container for container in reversed(containers)}
    parts, unplaced = [], []
    for name, kind in sources_in(snapshot.manifest.sources, trees).items():
        if only and name not in only:
            continue
        facts = facts_of(snapshot.manifest.sources, name)
        if kind in SERVED:
            service = services.get(name, name.partition("/")[2])
            part = served(name, kind, service, by_service.get(service), by_name.get(name))
        else:
            part = _files(name, kind, facts, containers, by_name.get(name))
        if isinstance(part, Part):
            parts.append(part)
        else:
            unplaced.append((name, part))
    order = sorted(parts, key=lambda part: (ORDER.index(part.source.kind), part.name))
    return Layout(tuple(order), tuple(unplaced))


def served(name: str, kind: str, service: str, container: Inspected | None, found: Found | None) -> Part | str:
    """Where a database belongs, by the container that serves it; or why it has no place."""
    if container is None:
        return f"the stack has no service {service}"
    known = recognise(container)
    if known is None or known[0].kind != kind:
        return f"{service} is no {kind} any more"
    data = set(known[0].data) | ({"/data"} if kind == "redis" else set())
    mounts = [mount for mount in container.get("Mounts") or () if mount["Destination"].rstrip("/") in data]
    volumes = tuple(str(mount["Name"]) for mount in mounts if mount.get("Type") == "volume")
    if not volumes:
        return f"{service} keeps its data in no volume"
    source = found.source if found else known[0].make(name, container)
    return Part(source, Place(volume=volumes[0], image=container["Image"], replace=True), service, volumes)


def _files(
    name: str, kind: str, facts: Mapping[str, Facts], containers: Sequence[Inspected], found: Found | None
) -> Part | str:
    if found is not None:
        volume = found.place.volume
        return Part(found.source, replace(found.place, replace=True), volumes=(volume,) if volume else ())
    if kind == "path":
        return "this host's settings name no such path"
    label = name.partition("/")[2]
    file = str(facts.get(COPY, {}).get("file", "")) if kind == "sqlite" else ""
    volume = _volume(label, containers)
    if not volume:
        return "no container of the stack has this volume"
    source = Sqlite(name=name, file=file) if file else Volume(name=name, exclude=_excluded(facts))
    return Part(source, Place(volume=volume, replace=True), volumes=(volume,))


def _excluded(facts: Mapping[str, Facts]) -> tuple[str, ...]:
    told = facts.get("", {}).get("exclude", ())
    return tuple(map(str, told)) if isinstance(told, list | tuple) else ()


def _volume(label: str, containers: Sequence[Inspected]) -> str:
    """The volume of a label: itself, or what Compose made of it; an SQLite file's label begins with its volume's."""
    names: dict[str, str] = {}
    for container in containers:
        project = str((container["Config"].get("Labels") or {}).get("com.docker.compose.project", ""))
        for mount in container.get("Mounts") or ():
            if mount.get("Type") == "volume":
                names[str(mount["Name"])] = names[str(mount["Name"]).removeprefix(f"{project}_")] = str(mount["Name"])
    fitting = [name for name in names if label == name or label.startswith(f"{name}.")]
    return names[max(fitting, key=len)] if fitting else ""


@dataclass(frozen=True)
class Refill:
    """One filling of a stack's places from one snapshot. `volumes` renames: to each volume the one that is filled.

    `at_once` is how many databases are loaded side by side. Each of them has a server running and reads ahead in
    memory, which a machine with production on it may not have to spare.
    """

    docker: Docker
    snapshot: Snapshot
    servers: Servers
    volumes: Mapping[str, str] = field(default_factory=dict)
    listener: Listener = field(default_factory=Silent)
    clock: Clock = field(default_factory=SystemClock)
    at_once: int = 1
    _starting: threading.Lock = field(default_factory=threading.Lock)

    def run(self, parts: Sequence[Part]) -> Generator[Refilled, None, None]:
        """Load and prove each part, and yield it once it is done; in their order, but for databases side by side.

        Raises what stops a load. One that fails ends the others at their next step.
        """
        served = [part for part in parts if part.service]
        together = served if self.at_once > 1 and len(served) > 1 else []
        for part in (part for part in parts if part not in together):
            self.listener.step(f"load {part.name}")
            done = self._served(part, self.listener) if part.service else self._files(part)
            self.listener.done(_found(done))
            yield done
        if together:
            yield from self._side_by_side(together)

    def _side_by_side(self, parts: Sequence[Part]) -> Iterator[Refilled]:
        self.listener.step(f"load {', '.join(part.name for part in parts)}")
        told, found = Together(self.listener), []
        with workers(self.at_once, "load") as pool:
            running = [pool.submit(self._served, part, told.part(part.name)) for part in parts]
            try:
                for future in as_completed(running):
                    done = future.result()
                    found.append(f"{done.source}: {_found(done)}")
                    yield done
            finally:
                told.end()
        self.listener.done("; ".join(found))

    def _files(self, part: Part) -> Refilled:
        place = self._renamed(part.place)
        loaded = self._load(part, place, self.listener)
        return self._probe(part, place, loaded)

    def _served(self, part: Part, listener: Listener) -> Refilled:
        before = part.source.loads_into == "volume"
        seconds = self._load(part, self._renamed(part.place), listener) if before else 0.0
        with self._starting:
            container = self.servers.start(part.service)
        ready.wait(self.docker, part.source, container, clock=self.clock, listener=listener)
        place = Place(container=container, image=part.place.image, replace=True)
        done = self._probe(part, place, seconds if before else self._load(part, place, listener))
        self.servers.stop(part.service)
        return done

    def _load(self, part: Part, place: Place, listener: Listener) -> float:
        begun = self.clock.now()
        stored = Followed(FromSnapshot(self.snapshot, part.name), listener)
        part.source.load(self.docker, stored, place)
        return self.clock.now() - begun

    def _probe(self, part: Part, place: Place, load_seconds: float) -> Refilled:
        begun = self.clock.now()
        facts = facts_of(self.snapshot.manifest.sources, part.name)
        try:
            probe = part.source.probe(self.docker, place, facts)
        except Error as error:
            # What could not be looked at is never taken for good, and stops nothing by itself.
            probe = Probe(part.name, (Verdict("probe", "unknown", error.message),))
        return Refilled(part.name, part.source.kind, load_seconds, self.clock.now() - begun, probe)

    def _renamed(self, place: Place) -> Place:
        return replace(place, volume=self.volumes.get(place.volume, place.volume))


def _found(done: Refilled) -> str:
    """What is told of a source that is done: the first thing that is wrong with it, or what was counted."""
    probe = done.probe
    if bad := next((verdict for verdict in probe.verdicts if verdict.state != "good"), None):
        return f"{bad.what}: {bad.evidence}"
    numbers = [value for value in probe.counts.values() if isinstance(value, int)]
    return f"{len(probe.verdicts)} checks, {sum(numbers)} counted" if numbers else f"{len(probe.verdicts)} checks"
