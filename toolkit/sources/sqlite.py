"""SQLite: a file in a volume, copied by the online backup while its application goes on writing.

The copy is the one thing that a capture puts on a disk, beside the database and for as long as it is read: reading the
file itself for as long as an upload takes would keep the application from writing.
"""

import json
import os
import stat
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from toolkit.repository.inputs import Readable, Stream
from toolkit.sources import sqlite_child
from toolkit.sources.docker import Docker
from toolkit.sources.files import owner_of, write_new
from toolkit.sources.paths import beneath, mountpoint, plain
from toolkit.sources.process import PATIENCE, Process
from toolkit.sources.protocol import Capture, Facts, Into, Place, Probe, Stored, Verdict, compare, iso, uncounted
from toolkit.sources.streams import streamed
from toolkit.words.errors import HostError

COPY = "database.sqlite"
_LIMIT = 16 << 20


@dataclass(frozen=True, kw_only=True)
class Sqlite:
    """One database file; `file` is its path inside the volume, or the path, that the place names."""

    name: str
    file: str
    patience: float = PATIENCE
    kind: ClassVar[str] = "sqlite"
    loads_into: ClassVar[Into] = "volume"

    @contextmanager
    def capture(self, docker: Docker, place: Place) -> Iterator[Capture]:
        """Make the copy; it is read from a descriptor and has no name any more."""
        with self._child("capture", docker, place) as (process, owners):
            begun = time.time()
            told = _heard(process)
            facts = {**told, "engine": "SQLite", "moment": iso(begun), "file": self.file, **owners}

            @contextmanager
            def read() -> Iterator[Readable]:
                with streamed(process) as copy:
                    yield copy

            yield Capture([Stream(f"{self.name}/{COPY}", read, self.kind, lambda: facts)], begun)

    def load(self, docker: Docker, stored: Stored, place: Place) -> None:
        """Write the file into the volume, beside what is there; one of this name is replaced if the place says so."""
        facts = stored.facts(COPY)
        _make(_root(docker, place), str(PurePosixPath(self.file).parent), facts)
        with self._folder(docker, place) as folder:
            name = self._name
            if (folder / name).exists() and not place.replace:
                raise HostError(f"{self.file} is there already", hint="say that what is there may be replaced")
            draft = folder / f".toolkit-load.{name}"
            draft.unlink(missing_ok=True)
            owner, mode = owner_of(facts.get("owner")), _mode(facts.get("mode"), 0o600)
            write_new(folder, draft.name, partial(stored.pour, COPY), owner=owner, mode=mode)
            # What belongs to the old file would be taken for the new one's.
            for suffix in ("-wal", "-shm", "-journal"):
                (folder / f"{name}{suffix}").unlink(missing_ok=True)
            draft.rename(folder / name)

    def probe(self, docker: Docker, place: Place, facts: Mapping[str, Facts]) -> Probe:
        """Run `PRAGMA integrity_check`, look for rows that point nowhere, and count."""
        with self._child("probe", docker, place) as (process, _):
            try:
                found = _heard(process)
                process.check()
            except HostError as error:
                return Probe(self.name, (Verdict("PRAGMA integrity_check", "bad", error.message),))
        told = facts.get(COPY, {})
        return Probe(self.name, tuple(_verdicts(found, told)), found["counts"])

    @property
    def _name(self) -> str:
        return plain(PurePosixPath(self.file).name)

    def _folder(self, docker: Docker, place: Place) -> AbstractContextManager[Path]:
        return beneath(_root(docker, place), str(PurePosixPath(self.file).parent))

    @contextmanager
    def _child(self, verb: str, docker: Docker, place: Place) -> Iterator[tuple[Process, Facts]]:
        with self._folder(docker, place) as folder:
            try:
                status = os.lstat(folder / self._name)
            except FileNotFoundError as error:
                raise HostError(f"there is no {self.file} in {place.volume or place.path}") from error
            if not stat.S_ISREG(status.st_mode):
                raise HostError(f"{self.file} is no file", hint="a link there is never followed")
            descriptor = int(folder.name)
            words = (verb, str(descriptor), self._name, str(status.st_uid), str(status.st_gid))
            program = (sys.executable, "-I", "-S", "-c", Path(sqlite_child.__file__).read_text(), *words)
            process = Process(
                program, what=f"SQLite {verb} of {self.file}", patience=self.patience, pass_fds=(descriptor,)
            )
            try:
                yield process, _owners(status, folder.stat())
            finally:
                process.close()


def _root(docker: Docker, place: Place) -> Path:
    return Path(place.path) if place.path else mountpoint(docker, place.volume)


def _heard(process: Process) -> dict[str, Any]:
    """Read the child's line of facts. Raises HostError with its last words where there is none."""
    head = process.read(4)
    size = int.from_bytes(head, "big")
    if len(head) < 4 or size > _LIMIT:
        process.check()
        raise HostError(f"{process.what} said nothing")
    found: dict[str, Any] = json.loads(process.read(size))
    return found


def _owners(file: os.stat_result, folder: os.stat_result) -> Facts:
    return {
        "owner": [file.st_uid, file.st_gid],
        "mode": file.st_mode & 0o777,
        "folder_owner": [folder.st_uid, folder.st_gid],
        "folder_mode": folder.st_mode & 0o777,
    }


def _make(root: Path, above: str, facts: Facts) -> None:
    """Make the directories of the file's path, each below one that no link leads to."""
    parts = PurePosixPath(above).parts
    for depth, part in enumerate(parts):
        with beneath(root, "/".join(parts[:depth])) as folder, suppress(FileExistsError):
            (folder / plain(part)).mkdir(mode=0o700)
            if owner := owner_of(facts.get("folder_owner")):
                os.chown(folder / part, *owner)
            (folder / part).chmod(_mode(facts.get("folder_mode"), 0o700))


def _mode(told: object, default: int) -> int:
    return (told if isinstance(told, int) else default) & 0o777


def _verdicts(found: Mapping[str, Any], told: Facts) -> Iterator[Verdict]:
    sound = found["integrity"] == ["ok"]
    yield Verdict("PRAGMA integrity_check", "good" if sound else "bad", "; ".join(found["integrity"][:5]))
    if found["orphans"]:
        yield Verdict("PRAGMA foreign_key_check", "bad", f"{found['orphans']} rows point nowhere")
    yield from compare(told["counts"], found["counts"]) if "counts" in told else uncounted(told)
