"""What a snapshot holds of one source: read from the repository as it is needed, or from a folder restored before."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from toolkit.repository.browse import dump, entries
from toolkit.repository.manifest import SourceInfo
from toolkit.repository.read import Snapshot
from toolkit.repository.restore import How, restore
from toolkit.sources.protocol import Facts, Stored, Withheld, Write
from toolkit.words.errors import HostError, RepositoryError
from toolkit.words.report import Listener

_BLOCK = 1 << 20


def facts_of(sources: Sequence[SourceInfo], source: str) -> dict[str, Facts]:
    """The manifest's facts for each input of one source, by its name below the source; the source itself is `""`."""
    found: dict[str, Facts] = {}
    for info in sources:
        if info.name == source or info.name.startswith(f"{source}/"):
            found[info.name[len(source) + 1 :]] = {**info.facts, "entries": info.entries, "bytes": info.bytes}
    return found


@dataclass(frozen=True)
class FromSnapshot:
    """Reads from a repository: nothing touches a disk on the way. `privileged` brings setuid bits and devices too."""

    snapshot: Snapshot
    source: str
    privileged: bool = False

    @property
    def names(self) -> Sequence[str]:
        return list(self._sizes)

    def size(self, name: str) -> int:
        return self._sizes.get(name, 0)

    def facts(self, name: str = "") -> Facts:
        return self._facts.get(name, {})

    def pour(self, name: str, write: Write) -> int:
        return dump(self.snapshot, self._path(name), write)

    def lay(self, name: str, target: Path) -> Withheld:
        how = How(below=self._path(name), durable=True, privileged=self.privileged)
        return restore(self.snapshot, target, how).withheld

    @cached_property
    def _sizes(self) -> Mapping[str, int]:
        cut = len(self.source) + 1
        files = (entry for entry in entries(self.snapshot, self.source) if entry.kind in ("file", "link"))
        return {entry.path[cut:]: entry.size for entry in files}

    @cached_property
    def _facts(self) -> Mapping[str, Facts]:
        return facts_of(self.snapshot.manifest.sources, self.source)

    def _path(self, name: str) -> str:
        return f"{self.source}/{name}".rstrip("/")


@dataclass(frozen=True)
class FromFolder:
    """Reads what was restored into a folder: `invoke backup.restore` with the source's name, then this."""

    folder: Path
    known: Mapping[str, Facts] = field(default_factory=dict)

    @cached_property
    def names(self) -> Sequence[str]:
        files = (path for path in self.folder.rglob("*") if path.is_file() and not path.is_symlink())
        return sorted(str(path.relative_to(self.folder)) for path in files)

    def size(self, name: str) -> int:
        path = self.folder / name
        return path.lstat().st_size if path.is_file() else 0

    def facts(self, name: str = "") -> Facts:
        return self.known.get(name, {})

    def pour(self, name: str, write: Write) -> int:
        size = 0
        try:
            descriptor = os.open(self.folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise RepositoryError(f"{self.folder / name}: {error.strerror}", hint="restore the source again") from error
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            while block := file.read(_BLOCK):
                write(block)
                size += len(block)
        return size

    def lay(self, name: str, target: Path) -> Withheld:
        done = subprocess.run(
            ["cp", "--archive", "--no-target-directory", "--", str(self.folder / name), str(target)],
            capture_output=True,
            check=False,
        )
        if done.returncode:
            raise HostError(f"cannot copy {name}: {done.stderr.decode(errors='replace').strip()}")
        return ()


@dataclass(frozen=True)
class Followed:
    """The same, with a listener that hears how far each file is: for loads that somebody watches."""

    stored: Stored
    listener: Listener

    @property
    def names(self) -> Sequence[str]:
        return self.stored.names

    def size(self, name: str) -> int:
        return self.stored.size(name)

    def facts(self, name: str = "") -> Facts:
        return self.stored.facts(name)

    def pour(self, name: str, write: Write) -> int:
        total, done = self.stored.size(name), 0

        def told(block: bytes) -> None:
            nonlocal done
            write(block)
            done += len(block)
            self.listener.progress(done, total, name)

        return self.stored.pour(name, told)

    def lay(self, name: str, target: Path) -> Withheld:
        self.listener.line(f"write {name or 'files'}")
        return self.stored.lay(name, target)
