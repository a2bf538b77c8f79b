"""Gathering: everything of a host that its backup is made of, and the facts that whoever reads it needs.

Beside the stack's sources: the paths of the backup file, the current release with the files it mounts, and its
secrets. `docs/backup.md` has the names and the facts; a restore and a drill go by them.
"""

import glob
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import toolkit
from toolkit.agent.paths import Paths
from toolkit.repository.inputs import Input, Tree
from toolkit.sources.barrier import failed
from toolkit.sources.corrections import Corrections, Wanted, corrected
from toolkit.sources.discover import Discovery, Found, discover
from toolkit.sources.docker import Docker, Inspected, service_of
from toolkit.stack.duty import Duty
from toolkit.stack.manifest import Manifest, secret_paths
from toolkit.stack.place import Place
from toolkit.words.errors import Error, HostError

FORMAT = "toolkit facts 1"
RELEASE, FILES, SECRETS = "stack/release", "stack/files", "stack/secrets"
"""Names in a snapshot: the current release's folder, the files of `/opt/<stack>/files` that it mounts, its secrets."""

LOST = "stack/lost"
"""Begins the names of what of the stack could not be looked at at all: a snapshot that has one is incomplete."""


@dataclass
class Gathered:
    """What is to be held at the barrier, what is read beside it, and facts so far."""

    discovery: Discovery = field(default_factory=Discovery)
    inputs: list[Input] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    containers: Sequence[Inspected] = ()


def gather(paths: Paths, duty: Duty, docker: Docker) -> Gathered:
    """Look at the host. What cannot be looked at becomes an input that cannot be read."""
    found = Gathered(facts={"format": FORMAT, "toolkit": toolkit.__version__, "stack": duty.stack, "release": ""})
    found.inputs += [Tree(one.name, paths.root / one.path.lstrip("/"), one.exclude) for one in duty.paths]
    found.facts["paths"] = {one.name: one.path for one in duty.paths}
    if duty.stack:
        place = Place(duty.stack, paths.root)
        _try(f"{LOST}/data", found, lambda: _stack(docker, duty, place, found))
        _try(f"{LOST}/release", found, lambda: _release(paths, place, found))
    return found


def _try(name: str, found: Gathered, action: Callable[[], None]) -> None:
    try:
        action()
    except (Error, OSError) as error:
        found.inputs.append(failed(name, "stack", error))


def look(docker: Docker, duty: Duty) -> tuple[Discovery, Sequence[Inspected]]:
    """Return the stack's sources as the backup file corrects them. Raises HostError, ConfigError."""
    discovery = discover(docker, duty.stack)
    containers = docker.containers(duty.stack)
    wanted = tuple(_wanted(one) for one in duty.sources)
    return corrected(discovery, Corrections(wanted, duty.leave), duty.stack, containers), containers


def _wanted(one: Mapping[str, Any]) -> Wanted:
    given: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in one.items()}
    return Wanted(**given)


def _stack(docker: Docker, duty: Duty, place: Place, found: Gathered) -> None:
    if not place.current_name() and not docker.containers(duty.stack):
        found.facts["left"] = [[duty.stack, "nothing of it was deployed yet"]]
        return
    found.discovery, found.containers = look(docker, duty)
    found.facts |= {
        "sources": {one.source.name: described(one, found.containers) for one in found.discovery.found},
        "left": [list(pair) for pair in found.discovery.left],
        "warnings": list(found.discovery.warnings),
        "images": dict(_images(docker, found.containers)),
        "docker": docker.run("version", "--format", "{{.Server.Version}}").text.strip(),
    }


def described(one: Found, containers: Sequence[Inspected]) -> dict[str, Any]:
    """Return where a source is, in names that mean the same in another project: service, volumes, path."""
    told: dict[str, Any] = {"kind": one.source.kind, "reason": one.reason}
    if one.place.container:
        container = next((each for each in containers if each["Id"] == one.place.container), None)
        if container is not None:
            mounts = [each for each in container.get("Mounts") or () if each.get("Type") == "volume"]
            told |= {
                "service": service_of(container),
                "volumes": {each["Destination"]: each["Name"] for each in mounts},
            }
    if one.place.volume:
        told["volume"] = one.place.volume
    if one.place.path:
        told["path"] = one.place.path
    return told


def _images(docker: Docker, containers: Sequence[Inspected]) -> Iterator[tuple[str, Mapping[str, str]]]:
    for container in containers:
        yield service_of(container), {"reference": container["Config"]["Image"], "digest": docker.digest(container)}


def _release(paths: Paths, place: Place, found: Gathered) -> None:
    name = place.current_name()
    if not name:
        return
    manifest = place.manifest(name)
    found.facts |= {"release": name, "manifest": json.loads(json.dumps(asdict(manifest)))}
    found.inputs.append(Tree(RELEASE, place.release(name), kind="release"))
    files, used = place.folder / "files", _used(place, manifest)
    if used:
        found.inputs.append(Tree(FILES, files, _others(files, used), kind="release"))
    _secrets(paths, place, manifest, found)


def _used(place: Place, manifest: Manifest) -> set[str]:
    """The folders below `files` that a release mounts from: its manifest names every file in them."""
    base = f"/opt/{place.stack}/files/"
    return {path.removeprefix(base).partition("/")[0] for path in manifest.content if path.startswith(base)}


def _secrets(paths: Paths, place: Place, manifest: Manifest, found: Gathered) -> None:
    wanted = {Path(path).name for path in secret_paths(place.stack, manifest.secrets).values()}
    folder = paths.memory / place.stack
    if missing := sorted(name for name in wanted if not (folder / name).is_file()):
        complaint = HostError(f"secrets are not in memory: {', '.join(missing)}")
        found.inputs.append(failed(f"{LOST}/secrets", "secrets", complaint))
    if wanted - set(missing):
        # Sealed for the operator as everything else is: nobody on this host can open a snapshot.
        found.inputs.append(Tree(SECRETS, folder, _others(folder, wanted), kind="secrets"))


def _others(folder: Path, wanted: set[str]) -> tuple[str, ...]:
    """Patterns that leave out everything in a folder but these names."""
    try:
        there = {path.name for path in folder.iterdir()}
    except OSError:
        return ()
    return tuple(glob.escape(name) for name in sorted(there - wanted))
