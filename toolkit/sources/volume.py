"""Volumes and paths: trees of files, walked as they lie there.

Nothing is held still. A file that changes while it is read is noticed and said in the snapshot; what must be of one
piece is a database's affair, or is written by services that are paused meanwhile.
"""

import os
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from toolkit.repository.capture import kind_of
from toolkit.repository.inputs import Tree
from toolkit.repository.walk import walk
from toolkit.sources.docker import Docker
from toolkit.sources.paths import mountpoint
from toolkit.sources.protocol import Capture, Facts, Into, Place, Probe, Stored, Verdict, iso
from toolkit.words.errors import HostError


@dataclass(frozen=True, kw_only=True)
class Volume:
    """A volume's files. `exclude` has shell patterns, matched against the path inside the volume."""

    name: str
    exclude: Sequence[str] = ()
    kind: ClassVar[str] = "volume"
    loads_into: ClassVar[Into] = "volume"

    @contextmanager
    def capture(self, docker: Docker, place: Place) -> Iterator[Capture]:
        """Walk the volume or the path that the place names."""
        root = _root(docker, place)
        began = time.time()

        def facts() -> Facts:
            # Asked when the walk is over: the files are as of some moment between the two.
            times = {"began": iso(began), "ended": iso(time.time()), "live": True}
            return {"place": place.volume or place.path, "exclude": list(self.exclude), **times}

        yield Capture([Tree(self.name, root, tuple(self.exclude), self.kind, facts)], None)

    def load(self, docker: Docker, stored: Stored, place: Place) -> None:
        """Write everything into an empty volume or path. Raises HostError where something was withheld."""
        root = _root(docker, place)
        if place.replace:
            clear(root)
        if withheld := stored.lay("", root):
            first = ", ".join(f"{path} ({what})" for path, what in withheld[:5])
            hint = "restore as privileged if this stack needs setuid bits and devices in its data"
            raise HostError(f"{len(withheld)} things were left out of {self.name}: {first}", hint=hint)

    def probe(self, docker: Docker, place: Place, facts: Mapping[str, Facts]) -> Probe:
        """Count files and bytes."""
        return _look(self.name, _root(docker, place), facts, self.exclude)


@dataclass(frozen=True, kw_only=True)
class Directory(Volume):
    """A directory of the host that containers write to. The place names it by `path`."""

    kind: ClassVar[str] = "path"


def _root(docker: Docker, place: Place) -> Path:
    if place.path:
        return Path(place.path)
    place.need("volume")
    return mountpoint(docker, place.volume)


def clear(folder: Path) -> None:
    """Remove what is in a directory, by descriptors and without leaving its file system."""
    at = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        device = os.fstat(at).st_dev
        for base, folders, files, here in os.fwalk(".", topdown=False, follow_symlinks=False, dir_fd=at):
            if os.fstat(here).st_dev != device:
                raise HostError(f"{folder}/{base} is a mount of its own", hint="unmount it, or choose another place")
            for name in files:
                os.unlink(name, dir_fd=here)
            for name in folders:
                # To a walk that follows nothing, a link to a directory is a directory's name.
                remove = os.rmdir if stat.S_ISDIR(os.lstat(name, dir_fd=here).st_mode) else os.unlink
                remove(name, dir_fd=here)
    finally:
        os.close(at)


def _look(source: str, path: Path, facts: Mapping[str, Facts], exclude: Sequence[str]) -> Probe:
    counts, problems = _count(path, exclude)
    told = facts.get("", {})
    verdicts = [Verdict(path, "bad", text) for path, text in problems]
    if "entries" not in told:
        verdicts.append(Verdict("files", "unknown", "the manifest does not count them"))
        return Probe(source, tuple(verdicts), counts)
    # A manifest counts the directories above a tree with whichever source came first below them.
    same = (
        counts["bytes"] == told["bytes"] and told["entries"] - source.count("/") <= counts["entries"] <= told["entries"]
    )
    evidence = f"{counts['entries']} entries, {counts['bytes']} bytes; {told['bytes']} bytes in the manifest"
    verdicts.append(Verdict("files", "good" if same else "bad", evidence))
    return Probe(source, tuple(verdicts), counts)


def _count(path: Path, exclude: Sequence[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Count as a capture does: sockets are nothing, and a second name of a file has no bytes."""
    problems: list[tuple[str, str]] = []
    seen: set[tuple[int, int]] = set()
    entries = size = 0
    for node in walk(path, "tree", lambda *problem: problems.append(problem), exclude=exclude):
        kind, inode = kind_of(node.status), (node.status.st_dev, node.status.st_ino)
        entries += kind is not None
        size += node.status.st_size if kind == "file" and inode not in seen else 0
        if node.status.st_nlink > 1:
            seen.add(inode)
    return {"entries": entries, "bytes": size}, problems
