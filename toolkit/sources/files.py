"""Files held open: read as far as they were long, whatever happens to their names meanwhile."""

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from toolkit.repository.inputs import Readable
from toolkit.sources.paths import open_file, plain
from toolkit.sources.protocol import Write
from toolkit.words.errors import HostError


@dataclass(frozen=True)
class OpenFile:
    """A regular file, open for reading."""

    name: str
    descriptor: int
    status: os.stat_result

    @classmethod
    @contextmanager
    def of(cls, folder: Path, name: str) -> Iterator["OpenFile"]:
        """Open a file of a directory. Raises HostError where it is none."""
        descriptor = open_file(folder, name)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise HostError(f"{name} is no file")
            yield cls(name, descriptor, status)
        finally:
            os.close(descriptor)

    @property
    def owner(self) -> dict[str, list[int]]:
        """Whose it is, as facts."""
        return {"owner": [self.status.st_uid, self.status.st_gid]}

    @contextmanager
    def read(self) -> Iterator[Readable]:
        """Give the content to read from its beginning, as long as it was when it was opened."""
        yield _Reader(self.descriptor, self.status.st_size)

    def content(self) -> bytes:
        """The whole of a small file."""
        return os.pread(self.descriptor, self.status.st_size, 0)


def write_new(
    folder: Path, name: str, pour: Callable[[Write], object], *, owner: tuple[int, int] | None = None, mode: int = 0o600
) -> None:
    """Write a file that is not there yet, whole and on the disk, or not at all. Raises HostError where it cannot be.

    `owner` is user and group; by default whoever runs this.
    """
    path = folder / plain(name)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                pour(file.write)
                file.flush()
                if owner:
                    os.fchown(descriptor, *owner)
                os.fchmod(descriptor, mode)
                os.fsync(descriptor)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
    except OSError as error:
        hint = "make room, or load into a larger volume"
        raise HostError(f"cannot write {name}: {error.strerror}", hint=hint) from error


def owner_of(told: object) -> tuple[int, int] | None:
    """The user and group that facts speak of; None where they speak of none."""
    match told:
        case [int(user), int(group)] if 0 <= user < 1 << 31 and 0 <= group < 1 << 31:
            return user, group
    return None


class _Reader:
    """Reads by position: several readers of one descriptor do not meet."""

    def __init__(self, descriptor: int, end: int) -> None:
        self._descriptor = descriptor
        self._position = 0
        self._end = end

    def read(self, size: int, /) -> bytes:
        left = self._end - self._position
        piece = os.pread(self._descriptor, min(size, left), self._position)
        if left and not piece:
            raise HostError("a file became shorter while it was read")
        self._position += len(piece)
        return piece
