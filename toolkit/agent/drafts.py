"""Files that take their names together: all are written beside their places first, and only then renamed.

A full disk, a cut stream or a wrong value then leaves everything as it was.
"""

import os
from pathlib import Path

from toolkit.words.atomic import sync
from toolkit.words.errors import HostError

SUFFIX = ".draft"


class Drafts:
    """As a context it removes on the way out what was not committed."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Path, Path]] = []

    def __enter__(self) -> "Drafts":
        return self

    def __exit__(self, *_exception: object) -> None:
        for draft, _ in self._waiting:
            draft.unlink(missing_ok=True)

    def add(self, path: Path, content: bytes, *, mode: int = 0o600, uid: int = 0, gid: int = 0) -> None:
        """Write what path is to hold. Raises HostError, naming the file, where there is no room."""
        refuse_directory(path)
        draft = path.with_name(f".{path.name}{SUFFIX}")
        # What a run that was killed left behind; nobody else writes here, because the caller holds the lock.
        draft.unlink(missing_ok=True)
        self._waiting.append((draft, path))
        try:
            _write(draft, content, mode, uid, gid)
        except OSError as error:
            raise HostError(
                f"cannot write {path}: {error.strerror}", hint="nothing was changed; make room and run the same again"
            ) from error

    def commit(self) -> None:
        """Let every file take its name, in the order in which they were added."""
        folders = dict.fromkeys(path.parent for _, path in self._waiting)
        while self._waiting:
            draft, path = self._waiting[0]
            draft.replace(path)
            del self._waiting[0]
        for folder in folders:
            sync(folder)


def refuse_directory(path: Path) -> None:
    """Raise HostError for a directory where a file belongs: Docker makes one for a mount whose file is missing."""
    if path.is_dir():
        raise HostError(
            f"{path} is a directory where a secret belongs",
            hint=f"Docker makes one for a mount whose file is missing: `rmdir {path}`, and run it again",
        )


def _write(draft: Path, content: bytes, mode: int, uid: int, gid: int) -> None:
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        # The owner first: changing it drops bits of the mode.
        os.fchown(descriptor, uid, gid)
        os.fchmod(descriptor, mode)
        os.fsync(descriptor)


def wipe(path: Path) -> None:
    """Overwrite a file and remove it. A disk that moves its blocks may keep the old ones: they are sealed there."""
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))
        file.flush()
        os.fsync(file.fileno())
    path.unlink()
