"""A store in a directory: another disk, a mounted share, a stick in a safe.

A put is on the disk, with its name, before it returns; a crash leaves at most a file under `.partial/`, which no
listing shows. Symbolic links are never followed below the root. There are no versions and no locks.
"""

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from toolkit.store.keys import checked, checked_prefix
from toolkit.store.protocol import Body, ObjectInfo
from toolkit.words.errors import Denied, Exists, Missing, StoreError

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PARTIAL = ".partial"


class DirectoryStore:
    """An `AdminStore` in a directory, which is made where it is missing."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put_new(
        self,
        key: str,
        body: Body,
        *,
        retain_until: datetime | None = None,  # noqa: ARG002 - a directory has no locks
        content_sha256: bytes | None = None,  # noqa: ARG002 - nothing can happen to it on the way
    ) -> None:
        # A link, unlike a rename, refuses a name that is taken.
        self._place(key, body, os.link)

    def overwrite(self, key: str, body: bytes) -> None:
        self._place(key, body, os.rename)

    def get(self, key: str, *, version: str | None = None, limit: int | None = None) -> bytes:
        with _translated(key), self._file(key, version) as descriptor:
            size = os.fstat(descriptor).st_size
            if limit is not None and size > limit:
                raise StoreError(f"{key} has {size} bytes, more than the {limit} expected")
            with os.fdopen(descriptor, "rb", buffering=0, closefd=False) as file:
                return file.readall()

    def head(self, key: str) -> ObjectInfo:
        with _translated(key), self._file(key, None) as descriptor:
            return _info(key, os.fstat(descriptor))

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        checked_prefix(prefix)
        with _translated(prefix or str(self._root)):
            yield from _walk(self._root, "", prefix)

    def versions(self, key: str) -> Iterator[ObjectInfo]:
        with contextlib.suppress(Missing):
            yield self.head(key)

    def delete(self, key: str, *, version: str | None = None) -> None:
        if version is not None:
            return
        folder, _, name = checked(key).rpartition("/")
        with contextlib.suppress(Missing), _translated(key):
            with self._opened(folder) as home:
                os.unlink(name, dir_fd=home)
                os.fsync(home)
            self._remove_empty(folder)

    def extend_lock(self, key: str, until: datetime) -> None:  # noqa: ARG002 - a directory has no locks
        self.head(key)

    def _place(self, key: str, body: Body, move: Callable[..., None]) -> None:
        folder, _, name = checked(key).rpartition("/")
        with _translated(key), self._opened(_PARTIAL, make=True) as partial, self._opened(folder, make=True) as home:
            draft = secrets.token_hex(16)
            try:
                _write(draft, body, partial)
                move(draft, name, src_dir_fd=partial, dst_dir_fd=home)
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(draft, dir_fd=partial)
            os.fsync(home)

    @contextmanager
    def _opened(self, folder: str, *, make: bool = False) -> Iterator[int]:
        """Open a folder below the root, name by name so that no link on the way is followed."""
        if make:
            with contextlib.suppress(FileExistsError):
                self._root.mkdir(mode=0o700, parents=True)
        current = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for name in folder.split("/") if folder else ():
                if make:
                    _make(name, current)
                deeper = os.open(name, _DIRECTORY, dir_fd=current)
                os.close(current)
                current = deeper
            yield current
        finally:
            os.close(current)

    @contextmanager
    def _file(self, key: str, version: str | None) -> Iterator[int]:
        folder, _, name = checked(key).rpartition("/")
        if version is not None:
            raise Missing(f"{key} has no version {version}: a directory keeps one")
        with self._opened(folder) as home:
            # Without O_NONBLOCK somebody's named pipe would hold the reader for ever.
            descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=home)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise Missing(f"{key} is not a file")
            yield descriptor
        finally:
            os.close(descriptor)

    def _remove_empty(self, folder: str) -> None:
        while folder:
            above, _, name = folder.rpartition("/")
            with self._opened(above) as home:
                try:
                    os.rmdir(name, dir_fd=home)
                except OSError:
                    return
            folder = above


def _make(name: str, home: int) -> None:
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=home)
        os.fsync(home)


def _write(name: str, body: Body, home: int) -> None:
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=home)
    try:
        view = memoryview(body)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _walk(folder: Path, above: str, prefix: str) -> Iterator[ObjectInfo]:
    """Yield in the order of whole keys: a folder sorts as its name with the slash, as it does on a bucket."""
    try:
        entries = [entry for entry in os.scandir(folder) if not entry.name.startswith(".")]
    except FileNotFoundError:
        return
    names = {entry.name + "/" * entry.is_dir(follow_symlinks=False): entry for entry in entries}
    for name, entry in sorted(names.items()):
        key = above + name
        if name.endswith("/") and (key.startswith(prefix) or prefix.startswith(key)):
            yield from _walk(folder / entry.name, key, prefix)
        elif key.startswith(prefix) and entry.is_file(follow_symlinks=False):
            with contextlib.suppress(FileNotFoundError):
                yield _info(key, entry.stat(follow_symlinks=False))


def _info(key: str, found: os.stat_result) -> ObjectInfo:
    return ObjectInfo(key, found.st_size, datetime.fromtimestamp(found.st_mtime, UTC))


@contextmanager
def _translated(key: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        kind, hint = _MEANINGS.get(error.errno or 0, (StoreError, ""))
        raise kind(f"{key}: {(error.strerror or str(error)).lower()}", hint=hint) from error


_MEANINGS: dict[int, tuple[type[StoreError], str]] = {
    errno.EEXIST: (Exists, ""),
    errno.ENOENT: (Missing, ""),
    errno.EACCES: (Denied, "check the owner and mode of the store's directory"),
    errno.EROFS: (Denied, "the store's disk is mounted read-only"),
    errno.EPERM: (StoreError, "the store's file system must have hard links"),
    errno.EOPNOTSUPP: (StoreError, "the store's file system must have hard links"),
    errno.ENOSPC: (StoreError, "make room on the store's disk"),
    errno.EDQUOT: (StoreError, "raise the quota of the store's disk"),
    errno.ELOOP: (StoreError, "a symbolic link stands where an object belongs: remove it"),
    errno.ENOTDIR: (StoreError, "a link or a file stands where a folder belongs: remove it"),
}
